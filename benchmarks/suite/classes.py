"""Which kinds of molecules are missed: recall by element, size and similarity to molecules of training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.typing import Float32s
from acml_search.core.workers import Workers, chunks
from acml_search.evaluation.metrics import bootstrap_interval, hits_at_k, per_molecule

BITS = 1024
SIZES = ((1, 10), (11, 15), (16, 20), (21, 30), (31, 50), (51, 1_000))
SIMILARITIES = ((0.0, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 1.0))
COMMON = ("F", "Cl", "Br", "I", "S", "P", "B", "Si")
MIN_MOLECULES = 20  # of a class that gets a figure


def fingerprints(smiles: list[str]) -> npt.NDArray[np.uint8]:
    """Worker task: canonical SMILES -> (n, 128) uint8, packed Morgan bits of radius 2."""
    from rdkit import Chem

    from acml_search.chem.fingerprints import packed_morgan

    return packed_morgan([Chem.MolFromSmiles(text) for text in smiles], BITS)


def nearest_training(
    smiles: Sequence[str | None], training: Sequence[str], workers: Workers
) -> list[float | None]:
    """Tanimoto similarity (Morgan, radius 2, 1,024 bits) of each molecule to the most similar of `training`.

    None where there is no molecule; 0 where there are no training molecules.
    """
    distinct = list(dict.fromkeys(text for text in smiles if text is not None))
    known, asked = _unpacked(workers, training), _unpacked(workers, distinct)
    n_known = known.sum(axis=1)
    best: dict[str, float] = {}
    for low in range(0, len(distinct), 512):
        part = asked[low : low + 512]
        common = part @ known.T
        union = part.sum(axis=1)[:, None] + n_known[None, :] - common
        similarity = (common / np.maximum(union, 1)).max(axis=1, initial=0.0)
        best.update(zip(distinct[low : low + 512], similarity.tolist(), strict=True))
    return [None if text is None else best[text] for text in smiles]


def _unpacked(workers: Workers, smiles: Sequence[str]) -> Float32s:
    parts = list(workers.map(fingerprints, chunks(smiles, 1_000)))
    packed = np.concatenate(parts) if parts else np.zeros((0, BITS // 8), np.uint8)
    return np.unpackbits(packed, axis=1).astype(np.float32)


def by_class(rows: Sequence[dict[str, Any]], *, seed: int = 0) -> list[dict[str, Any]]:
    """Recall@1 and @10 of classes of molecules, from the rows of a per-query file.

    Each `{"by", "class", "n_molecules", "recall": {"1", "10"}, "ci95": {...}}`; classes of fewer than 20
    molecules are left out, queries that could not be read too, for nobody knows their class.
    """
    known = [row for row in rows if row["smiles"] is not None]
    found = []
    for by, name, members in _classes(known):
        molecules = [row["molecule"] for row in members]
        if len(set(molecules)) < MIN_MOLECULES:
            continue
        ranks = [np.inf if row["rank"] is None else row["rank"] for row in members]
        values = {str(k): per_molecule(hits_at_k(ranks, k), molecules) for k in (1, 10)}
        found.append(
            {
                "by": by,
                "class": name,
                "n_molecules": len(set(molecules)),
                "recall": {k: float(v.mean()) for k, v in values.items()},
                "ci95": {k: list(bootstrap_interval(v, seed=seed)) for k, v in values.items()},
            }
        )
    return found


def class_figures(rows: Sequence[dict[str, Any]], *, seed: int = 0) -> list[dict[str, Any]]:
    """As `by_class`, in the layout of results: `{"class", "value", "n_molecules", "recall_at_1",
    "recall_at_10", "ci95"}`, the interval that of recall at 1.
    """
    return [
        {
            "class": one["by"],
            "value": one["class"],
            "n_molecules": one["n_molecules"],
            "recall_at_1": one["recall"]["1"],
            "recall_at_10": one["recall"]["10"],
            "ci95": one["ci95"]["1"],
        }
        for one in by_class(rows, seed=seed)
    ]


def failures(classes: Sequence[dict[str, Any]], overall: float, modality: str) -> list[str]:
    """Sentences on the classes whose recall@1 lies clearly below `overall`: their interval ends under it."""
    worse = [one for one in classes if one["ci95"]["1"][1] < overall - 0.02]
    worse.sort(key=lambda one: one["recall"]["1"])
    return [
        f"{modality}: {one['class']}: R@1 {one['recall']['1']:.3f} over {one['n_molecules']:,} molecules, "
        f"against {overall:.3f} of all"
        for one in worse
    ]


@lru_cache(maxsize=50_000)  # one query is asked with several filters
def _elements_and_size(smiles: str) -> tuple[frozenset[str], int]:
    from rdkit import Chem

    mol = Chem.MolFromSmiles(smiles)
    return frozenset(atom.GetSymbol() for atom in mol.GetAtoms()), mol.GetNumHeavyAtoms()


def _classes(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    composed = [_elements_and_size(row["smiles"]) for row in rows]
    elements, sizes = [held for held, _ in composed], [size for _, size in composed]
    found: list[tuple[str, str, list[dict[str, Any]]]] = []
    usual = {"C", "H", "N", "O"}

    def add(by: str, name: str, wanted: Sequence[bool]) -> None:
        found.append((by, name, [row for row, yes in zip(rows, wanted, strict=True) if yes]))

    add("element", "C, H, N, O only", [held <= usual for held in elements])
    for element in COMMON:
        add("element", f"with {element}", [element in held for held in elements])
    rare = usual | set(COMMON)
    add("element", "with any other element", [not held <= rare for held in elements])
    for low, high in SIZES:
        name = f"{low} to {high} heavy atoms" if high < 1_000 else f"{low} or more heavy atoms"
        add("size", name, [low <= size <= high for size in sizes])
    nearest = [row.get("nearest_training") for row in rows]
    for least, most in SIMILARITIES:
        within = [x is not None and least <= x and (x < most or most == x == 1.0) for x in nearest]
        add("similarity", f"Tanimoto {least:g} to {most:g} to the nearest training molecule", within)
    return found
