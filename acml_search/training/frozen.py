"""Features of frozen encoders: computed once, for several variations of each record, and kept on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from acml_search import modalities
from acml_search.encoders.model import Tower
from acml_search.errors import InvalidRecord
from acml_search.modalities.blocks import TensorBatch
from acml_search.progress import progress
from acml_search.training.config import TrainingConfig
from acml_search.training.corpus import Corpus

_CHUNK = 4_096


@dataclass
class FrozenSpace:
    """One modality's frozen side: features (len(rows), views, width) float16 for the corpus rows `rows`, of
    which those at `readable` may be used.
    """

    rows: np.ndarray
    readable: np.ndarray
    features: np.ndarray


@torch.inference_mode()
def frozen_features(
    config: TrainingConfig, corpus: Corpus, name: str, tower: Tower, space: dict[str, Any]
) -> FrozenSpace:
    """Features of the chosen rows, computed once per encoder and kept beside the run; an interrupted
    computation goes on. Molecules with a record that the modality cannot read are left out.
    """
    chosen = np.random.default_rng([config.seed, 1]).permutation(len(corpus))
    rows = np.sort(chosen[: space.get("molecules", len(corpus))])
    views = int(space["views"])
    stamp = {
        "encoder": sha256(
            (config.root / space["pretrained"] / "encoder.safetensors").read_bytes()
        ).hexdigest(),
        "rows": len(rows),
        "views": views,
        "seed": config.seed,
    }
    path = config.out / f"features-{name}.npy"
    note = path.with_suffix(".json")
    state = json.loads(note.read_text()) if note.exists() and path.exists() else {}
    done, unread = (state["done"], state["unread"]) if state.get("of") == stamp else (0, [])
    config.out.mkdir(parents=True, exist_ok=True)
    shape = (len(rows), views, tower.width)
    mode: Any = "r+" if done else "w+"
    features = np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)
    for start in progress(range(done, len(rows), _CHUNK), desc=f"features of {name}", unit="chunk"):
        part = rows[start : start + _CHUNK]
        for view in range(views):
            features[start : start + _CHUNK, view], failed = _read_and_encode(name, tower, corpus, part, view)
            unread += [start + i for i in failed]
        features.flush()
        note.write_text(json.dumps({"of": stamp, "done": start + len(part), "unread": unread}))
    readable = np.ones(len(rows), bool)
    readable[unread] = False
    return FrozenSpace(rows, np.flatnonzero(readable), np.load(path, mmap_mode="r"))


def _read_and_encode(
    name: str, tower: Tower, corpus: Corpus, rows: np.ndarray, view: int
) -> tuple[np.ndarray, list[int]]:
    """Features (n, width) float16 of one view of some rows, zeros for those whose places come second."""
    modality = modalities.get(name)
    out = np.zeros((len(rows), tower.width), np.float16)
    items, places, failed = [], [], []
    for place, row in enumerate(rows):
        try:
            items.append(modality.read(corpus.view(int(row), view)))
            places.append(place)
        except InvalidRecord:
            failed.append(place)
    for at in range(0, len(items), 64):
        batch = TensorBatch.of(modality.collate(items[at : at + 64]))
        out[places[at : at + 64]] = tower.encoder(batch).numpy()
    return out, failed
