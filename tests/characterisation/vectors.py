"""Vectors and predicted shifts of the shipped weights, small enough to be stored.

Of a vector its length and its product with 8 fixed random directions are stored. The directions have entries
of unit variance, so that a change of the vector by some length shows as a change of about that size in each
of the 8 numbers.
"""

from __future__ import annotations

import random

import numpy as np
from characterisation import inputs
from characterisation.adapter import PLACES, encode_records, predicted_shifts

import acml_search

DIRECTIONS = 8


def projected(vectors: np.ndarray) -> np.ndarray:
    """(n, 9) float32: length, and the product with each direction."""
    # RandomState, not Generator: its numbers are promised to stay the same
    directions = np.random.RandomState(0).standard_normal((vectors.shape[1], DIRECTIONS))
    wide = vectors.astype(np.float64)
    return np.column_stack([np.linalg.norm(wide, axis=1), wide @ directions]).astype(np.float32)


def molecules() -> list[str]:
    """300 molecules: 220 of NCI and 80 of WEHI, and a few with stereo, charges and isotopes."""
    odd = ["C[C@H](N)C(=O)O", "C/C=C/C", "C/C=C\\C", "C[N+](C)(C)CC(=O)[O-]", "[13CH3]O", "[Na+].CC(=O)[O-]"]
    return [*odd, *inputs.rdkit_smiles(214), *inputs.screening_smiles(80)]


def records() -> dict[str, list[object]]:
    """Records by modality: 10 each, 5 of pictures."""
    rng = random.Random(5)
    tandem = [
        {"mzs": [p[0] for p in peaks], "intensities": [p[1] for p in peaks], "precursor_mz": precursor,
         "adduct": adduct, "collision_energy": energy}
        for _, precursor, adduct, energy, peaks in inputs.TANDEM
    ]  # fmt: skip
    impact = [
        {"mzs": [float(p[0]) for p in peaks], "intensities": [float(p[1]) for p in peaks]}
        for _, peaks in inputs.ELECTRON_IMPACT
    ]
    carbon: list[object] = [{"shifts": shifts} for shifts in inputs.CARBON.values()]
    kinds = ["C", "CH", "CH2", "CH3"]
    carbon[5:] = [
        {"shifts": shifts, "multiplicity": [rng.choice(kinds) for _ in shifts]}
        for shifts in list(inputs.CARBON.values())[5:]
    ]
    proton = [{"shifts": [peak[0] for peak in peaks]} for peaks in inputs.PROTON.values()]
    return {
        "smiles": list(inputs.MOLECULES.values())[10:20],
        "c_nmr": carbon,
        "h_nmr": list(proton),
        "lc_ms": list(tandem),
        "gc_ms": list(impact),
        "image": [inputs.picture(inputs.MOLECULES[name]) for name in inputs.DRAWN],
    }


def all_vectors() -> dict[str, np.ndarray]:
    """What is stored: of both models the graph side, the record side and the predicted shifts."""
    found: dict[str, np.ndarray] = {}
    smiles = molecules()
    for model, n in (("acml-base", len(smiles)), ("acml-research", 20)):
        for space, vectors in acml_search.encode(smiles[:n], model=PLACES.get(model, model)).items():
            assert vectors.dtype == np.float32
            found[f"{model} graph {space}"] = projected(vectors)
    for modality, items in records().items():
        model = "acml-research" if modality == "gc_ms" else "acml-base"
        found[f"{model} records {modality}"] = projected(encode_records(model, modality, items))
    found["acml-research records lc_ms"] = projected(
        encode_records("acml-research", "lc_ms", records()["lc_ms"])
    )
    for modality in ("c_nmr", "h_nmr"):
        found |= _shifts("acml-base", modality, smiles[:50])
        found |= _shifts("acml-research", modality, smiles[:10])
    return found


def _shifts(model: str, modality: str, smiles: list[str]) -> dict[str, np.ndarray]:
    peaks = predicted_shifts(model, modality, smiles)
    about = f"{model} shifts {modality}"
    found = {
        f"{about} {name}": np.concatenate([one[name] for one in peaks]).astype(np.float32)
        for name in ("position", "spread", "present")
    }
    found[f"{about} atoms"] = np.concatenate([one["atoms"] for one in peaks]).astype(np.int16)
    found[f"{about} peaks"] = np.array([len(one["atoms"]) for one in peaks], np.int16)
    return found
