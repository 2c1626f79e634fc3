"""ACML's own metric: top-k within shuffled batches. **Not comparable with recall in a pool.**

ACML (arXiv 2311.06456) reports how often a pair's other half is among the first k of its batch of 128, a pool
of 128 random molecules. It stands in a side table, so that our models can be set beside the official code.
A batch holds a molecule once; the last, incomplete batch is left out; ties lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.typing import Float32s
from acml_search.evaluation.metrics import TIE_TOLERANCE, hits_at_k

BATCH = 128
SHUFFLES = 10
KS = (1, 5)
NOTE = "candidates are the 128 molecules of a random batch; not comparable with recall in a pool"


def within_batches(
    records: Float32s,
    graphs: Float32s,
    molecules: Sequence[int],
    *,
    batch: int = BATCH,
    shuffles: int = SHUFFLES,
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Top-k in both directions over several shuffles, with the spread between these; None below one batch.

    `records`, `graphs` (n, d): the two sides of each pair; `molecules` (n,): equal for records of one
    molecule, of which every shuffle draws one.
    """
    labels = np.asarray(molecules)
    rng = np.random.default_rng(seed)
    found: dict[str, list[list[float]]] = {"to-molecule": [], "to-record": []}
    n_molecules = len(np.unique(labels))
    if n_molecules < batch:
        return None
    for _ in range(shuffles):
        mixed = rng.permutation(len(labels))
        _, first = np.unique(labels[mixed], return_index=True)
        pairs = rng.permutation(mixed[first])
        ranks: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in found}
        for low in range(0, len(pairs) - batch + 1, batch):
            chosen = pairs[low : low + batch]
            scores = records[chosen] @ graphs[chosen].T
            ranks["to-molecule"].append(_ranks(scores))
            ranks["to-record"].append(_ranks(scores.T))
        for name, seen in ranks.items():
            every = np.concatenate(seen)
            found[name].append([float(hits_at_k(every, k).mean()) for k in ks])
    result: dict[str, Any] = {
        "batch": batch,
        "shuffles": shuffles,
        "n_molecules": n_molecules,
        "note": NOTE if batch == BATCH else NOTE.replace("128", str(batch)),
        "chance": {str(k): min(k / batch, 1.0) for k in ks},
        "seed": seed,
    }
    for name, values in found.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1 if shuffles > 1 else 0)
        result[name] = {
            "top": {str(k): float(x) for k, x in zip(ks, mean, strict=True)},
            "spread": {str(k): float(x) for k, x in zip(ks, spread, strict=True)},
        }
    return result


def _ranks(scores: Float32s) -> npt.NDArray[np.int64]:
    """1 + how many others score at least as high as the pair on the diagonal, per row."""
    own = np.diag(scores)[:, None]
    return np.count_nonzero(scores >= own - TIE_TOLERANCE, axis=1).astype(np.int64)
