"""Features of frozen encoders: computed once, for several variations of each record, and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acml_search import modalities
from acml_search.core.errors import InvalidRecord
from acml_search.core.progress import progress
from acml_search.encoders.model import Tower
from acml_search.networks import tensors
from acml_search.training.corpus import Corpus
from acml_search.training.synth.ocsr_noise import misread

_CHUNK = 4_096
_POSITIVE = 2**63 - 1
"""of a hash that may be negative, what a generator takes as a seed"""


@dataclass
class Derived:
    """Records made from the structures of corpus rows: a variation is another of the corpus's SMILES, and
    from number `right` on the structure as a reader of pictures may get it wrong (`synth.ocsr_noise`).
    """

    modality: str
    corpus: Corpus
    rows: np.ndarray
    right: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def item(self, number: int, view: int) -> Any:
        row = int(self.rows[number])
        if self.right is not None and view >= self.right:
            structure = str(self.corpus.smiles[row].as_py())
            wrong = misread(
                structure, np.random.default_rng([view, int(self.corpus.blocks[row]) & _POSITIVE])
            )
            return modalities.get(self.modality).read(wrong)
        return modalities.get(self.modality).read(self.corpus.view(row, view))


@dataclass
class Frozen:
    """Features (n, views, width) float16 of n records, of which those in `readable` may be used."""

    features: np.ndarray
    readable: np.ndarray


@torch.inference_mode()
def frozen_features(path: Path, stamp: dict[str, Any], records: Derived, tower: Tower, views: int) -> Frozen:
    """Features of all records, kept in `path` (.npy); an interrupted computation goes on.

    `stamp` says what they depend on: with another one they are computed anew. A record that the modality
    cannot read is left out of `readable`.
    """
    stamp = {**stamp, "records": len(records), "views": views}
    note = path.with_suffix(".json")
    state = json.loads(note.read_text()) if note.exists() and path.exists() else {}
    done, unread = (state["done"], state["unread"]) if state.get("of") == stamp else (0, [])
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(records), views, tower.width)
    mode: Any = "r+" if done else "w+"
    features = np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)
    for start in progress(range(done, len(records), _CHUNK), desc=path.stem, unit="chunk"):
        numbers = range(start, min(start + _CHUNK, len(records)))
        for view in range(views):
            features[start : start + _CHUNK, view], failed = _encode(tower, records, numbers, view)
            unread += [start + i for i in failed]
        features.flush()
        note.write_text(json.dumps({"of": stamp, "done": numbers[-1] + 1, "unread": unread}))
    readable = np.ones(len(records), bool)
    readable[unread] = False
    return Frozen(np.load(path, mmap_mode="r"), np.flatnonzero(readable))


def _encode(
    tower: Tower, records: Derived, numbers: Sequence[int], view: int
) -> tuple[np.ndarray, list[int]]:
    """Features (n, width) float16 of one view of some records, zeros for those whose places come second."""
    modality = modalities.get(tower.modality)
    out = np.zeros((len(numbers), tower.width), np.float16)
    items, places, failed = [], [], []
    for place, number in enumerate(numbers):
        try:
            items.append(records.item(number, view))
            places.append(place)
        except InvalidRecord:
            failed.append(place)
    for at in range(0, len(items), 64):
        batch = tensors(modality.collate(items[at : at + 64]))
        out[places[at : at + 64]] = tower.encoder(batch).numpy()
    return out, failed
