"""ACML's own recipe, re-made from its description (arXiv 2311.06456)."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from acml_search.chem import molecule
from acml_search.chem.graph import featurise
from acml_search.errors import InvalidMolecule
from acml_search.evaluation.baselines.base import Baseline, Material, Rows, Score, Scores, register
from acml_search.evaluation.baselines.observed import MASSES, SHIFTS, dense
from acml_search.evaluation.workers import chunks
from acml_search.progress import progress

WIDTH, LAYERS, D = 64, 5, 256
BATCH, EPOCHS, RATES = 128, 8, (1e-3, 3e-4)
AUTOENCODER_EPOCHS = 10
CHUNK = 1_024


class _Task(NamedTuple):
    weights: str
    d_record: int
    smiles: list[str]


@register
class Acml(Baseline):
    """A GIN of width 64 and a frozen convolutional encoder of binned spectra, pretrained as an autoencoder,
    meet by a symmetric cross-entropy over inner products in batches of 128, temperature 1, vectors
    layer-normalised and not of unit length. Learning rate and epoch are chosen on the inner part.
    """

    name = "acml"
    about = "ACML as described: GIN of width 64, frozen convolutional encoder, temperature 1, batches of 128."

    def why_not(self, modality: str) -> str | None:
        if modality in (*SHIFTS, *MASSES):
            return None
        return (
            f"its {modality} encoder is a pretrained network we do not have; a small one trained here would "
            "be a straw man"
        )

    def prepare(self, material: Material) -> Score:
        from acml_search.evaluation.baselines.networks import autoencoder, encoded

        train, inner = material.train, material.inner
        x = dense(material.modality, train.items)
        encoder = autoencoder(x, epochs=AUTOENCODER_EPOCHS, batch=BATCH, seed=material.seed)
        features, inner_features = (
            encoded(encoder, x),
            encoded(encoder, dense(material.modality, inner.items)),
        )
        sides, told = _aligned(train, features, inner, inner_features, material.seed)
        material.told["chosen_on_inner"] = told
        items = [train.items[0] if one is None else one for one in material.items]  # unread ones fail anyway
        queries = _records(sides, encoded(encoder, dense(material.modality, items)))
        table = _pool(material, sides, features.shape[1])

        def score(low: int, high: int) -> Scores:
            return np.asarray(queries @ table[low:high].T, np.float32)

        return score


def _aligned(
    train: Rows, features: np.ndarray, inner: Rows, inner_features: np.ndarray, seed: int
) -> tuple[Any, dict[str, Any]]:
    """The sides at the rate and epoch that find most inner molecules first among the inner ones."""
    from acml_search.evaluation.baselines.networks import gin, graph_vectors_of

    graphs = [_graph(text) for text in train.smiles]
    held = [_graph(text) for text in inner.smiles]
    tried: dict[str, list[float]] = {}
    best: tuple[float, Any, dict[str, Any]] = (-1.0, None, {})
    for rate in RATES:
        import torch

        torch.manual_seed(seed)
        sides = gin(WIDTH, LAYERS, D, features.shape[1])
        optimiser = torch.optim.Adam(sides.parameters(), lr=rate)
        rng = np.random.default_rng(seed)
        tried[f"rate {rate:g}"] = found = []
        for epoch in progress(range(EPOCHS), desc=f"ACML at {rate:g}", unit="epoch"):
            _epoch(sides, optimiser, graphs, features, rng)
            scores = _records(sides, inner_features) @ graph_vectors_of(sides, held).T
            own = np.diagonal(scores)[:, None]
            found.append(float(((scores >= own - 1e-6).sum(axis=1) == 1).mean()))
            if found[-1] > best[0]:
                best = found[-1], copy.deepcopy(sides), {"rate": rate, "epoch": epoch + 1}
    return best[1], {**best[2], "inner_pool": len(inner), "recall_at_1_by_epoch": tried}


def _epoch(sides: Any, optimiser: Any, graphs: Sequence[Any], features: np.ndarray, rng: Any) -> None:
    import torch
    from torch.nn import functional as F

    from acml_search.chem.graph import collate
    from acml_search.modalities.blocks import TensorBatch

    sides.train()
    order = rng.permutation(len(graphs))
    for low in range(0, max(1, len(order) - BATCH + 1), BATCH):
        rows = order[low : low + BATCH].tolist()
        a = sides.graphs(TensorBatch.of(collate([graphs[i] for i in rows])))
        b = sides.records(torch.from_numpy(features[rows]))
        logits, at = a @ b.T, torch.arange(len(rows))
        loss = (F.cross_entropy(logits, at) + F.cross_entropy(logits.T, at)) / 2
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def _records(sides: Any, features: np.ndarray) -> np.ndarray:
    import torch

    sides.eval()
    with torch.inference_mode():
        return np.asarray(sides.records(torch.from_numpy(features)).numpy())


def _pool(material: Material, sides: Any, d_record: int) -> np.ndarray:
    """(n_pool, D) float32 graph vectors, made in the workers."""
    from safetensors.torch import save_file

    folder = material.cache / "acml"
    folder.mkdir(parents=True, exist_ok=True)
    writing = folder / f"{material.modality}.{os.getpid()}.safetensors"
    save_file({k: v.contiguous() for k, v in sides.state_dict().items()}, writing)
    digest = sha256(writing.read_bytes()).hexdigest()[:24]
    weights = folder / f"{material.modality}.{digest}.safetensors"
    os.replace(writing, weights)
    (folder / f"{material.modality}.{digest}.json").write_text(json.dumps(material.told), encoding="utf-8")
    smiles = [one.smiles for one in material.pool.structures]
    out = np.empty((len(smiles), D), np.float32)
    tasks = (_Task(str(weights), d_record, part) for part in chunks(smiles, CHUNK))
    low = 0
    with progress(total=len(smiles), desc="ACML's graphs", unit="mol") as bar:
        for part in material.workers.map(vectors, tasks):
            out[low : low + len(part)] = part
            low += len(part)
            bar.update(len(part))
    return out


@cache
def _sides(weights: str, d_record: int) -> Any:
    from safetensors.torch import load_file

    from acml_search.evaluation.baselines.networks import gin

    sides = gin(WIDTH, LAYERS, D, d_record)
    sides.load_state_dict(load_file(Path(weights)))
    return sides.eval()


def vectors(task: _Task) -> np.ndarray:
    """Task: canonical SMILES -> (n, D) float32; zeros for a molecule that is refused."""
    from acml_search.evaluation.baselines.networks import graph_vectors_of

    graphs, where = [], []
    for i, text in enumerate(task.smiles):
        try:
            graphs.append(_graph(text))
            where.append(i)
        except InvalidMolecule:  # RDKit wrote this SMILES and refuses it
            continue
    out = np.zeros((len(task.smiles), D), np.float32)
    if where:
        out[where] = graph_vectors_of(_sides(task.weights, task.d_record), graphs)
    return out


def _graph(smiles: str) -> Any:
    return featurise(molecule.parse(smiles)[0], stereo=False)
