"""Calls of the public Python names, whose answers must stay as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from characterisation.adapter import working_in
from characterisation.inputs import CARBON, TANDEM, VANILLIN_C, VANILLIN_H

import acml_search

_PEAKS = {
    "mzs": [peak[0] for peak in TANDEM[0][4]],
    "intensities": [peak[1] for peak in TANDEM[0][4]],
    "precursor_mz": TANDEM[0][1],
    "adduct": "[M+H]+",
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "search": lambda index: index.search("OCC", k=3),
    "search with conditions": lambda index: index.search("CCO", k=3, modality="smiles", formula="C8H8O3"),
    "search many": lambda index: index.search_batch(["CCO", "Cc1ccccc1"], k=2),
    "search many, one broken": lambda index: index.search_batch(["CCO", "C1CC"], k=2, on_error="keep"),
    "shifts": lambda index: index.identify({"c_nmr": CARBON["vanillin"]}, k=4),
    "shifts, plain": lambda index: index.identify({"c_nmr": CARBON["coumarin"]}, k=4, rerank=False),
    "lines": lambda index: index.identify({"c_nmr": VANILLIN_C, "h_nmr": VANILLIN_H}, k=4),
    "a record": lambda index: index.identify({"lc_ms": _PEAKS}, k=4, occlude=True),
    "a record of any mass": lambda index: index.identify({"lc_ms": _PEAKS}, k=4, by_precursor=False),
    "explain": lambda index: index.explain({"h_nmr": VANILLIN_H}, [25, 26]),
    "length and spaces": lambda index: [len(index), sorted(index.spaces)],
}


def call(name: str, folder: Path) -> Any:
    """The answer of one call on the index `screen`, as JSON has it."""
    with working_in(folder), acml_search.open_index("screen") as index:
        return json.loads(json.dumps(_plain(CALLS[name](index))))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Exception):
        return {"error": str(value), "kind": type(value).__name__}
    return value.to_dict() if hasattr(value, "to_dict") else value
