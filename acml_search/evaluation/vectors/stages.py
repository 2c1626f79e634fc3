"""Where the time of one process goes: microseconds per molecule of each step from text to vector."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from acml_search.evaluation import workers as processes

REPEATS = 3
COLLATED = 64


def time_stages(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Task: `{stage: {"microseconds": per molecule, "share": of end to end, null where not part of it}}`.

    Standardising and the network are differences: a standardised parse less RDKit's, and the encoding of
    graphs less collating. Canonical SMILES and InChIKey belong to building an index, not to embedding.
    """
    from rdkit import Chem

    from acml_search.chem import molecule
    from acml_search.chem.graph import MolGraph, collate

    def standardised() -> list[Chem.Mol]:
        return [molecule.parse(text)[0] for text in texts]

    def graphs() -> list[MolGraph]:
        return [model.featurise(mol) for mol in standardised()]

    def nothing() -> None:
        return None

    def collate_all(given: list[MolGraph]) -> None:
        for low in range(0, len(given), COLLATED):
            collate(given[low : low + COLLATED])

    model = processes.model()
    n = len(texts)
    parse = _time(nothing, lambda _: [Chem.MolFromSmiles(text) for text in texts], n)
    prepare = _time(nothing, lambda _: standardised(), n)
    featurising = _time(standardised, lambda mols: [model.featurise(mol) for mol in mols], n)
    collating = _time(graphs, collate_all, n)
    encoding = _time(graphs, model.encode_graphs, n)
    spelling = _time(standardised, lambda mols: [Chem.MolToSmiles(mol) for mol in mols], n)
    naming = _time(standardised, lambda mols: [Chem.MolToInchiKey(mol) for mol in mols], n)
    steps = {
        "parse": parse,
        "standardise": max(prepare - parse, 0.0),
        "featurise": featurising,
        "collate": collating,
        "network": max(encoding - collating, 0.0),
    }
    whole = prepare + featurising + encoding
    stages: dict[str, dict[str, Any]] = {
        name: {"microseconds": spent, "share": spent / whole} for name, spent in steps.items()
    }
    stages["canonical SMILES"] = {"microseconds": spelling, "share": None}
    stages["InChIKey"] = {"microseconds": naming, "share": None}
    return stages


def _time(prepare: Callable[[], Any], work: Callable[[Any], Any], n: int) -> float:
    """Median microseconds per molecule of `work`, on fresh input each time, since RDKit remembers."""
    seconds = []
    for _ in range(REPEATS):
        given = prepare()
        began = time.perf_counter()
        work(given)
        seconds.append(time.perf_counter() - began)
    return median(seconds) / n * 1e6
