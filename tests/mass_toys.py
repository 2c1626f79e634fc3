"""A toy world of mass spectra: benzenes with three substituents, whose spectra show what each can lose."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt

from acml_search.encoders.checkpoint import DualEncoder, save_model

PARTS = ["C", "CC", "CCC", "C(C)C", "OC", "OCC", "COC", "N", "NC", "CN", "Cl", "F"]
HYPER: dict[str, Any] = {
    "trunk": {"width": 16, "hidden": 16, "layers": 2},
    "spaces": {
        "gc_ms": {
            "encoder": {"width": 16, "hidden": 16, "layers": 1},
            "projection": {"hidden": 16, "d": 8},
            "head": {"hidden": 16, "d": 8},
        },
        "smiles": {
            "encoder": {"width": 8, "hidden": 8, "layers": 1},
            "projection": {"hidden": 8, "d": 8},
            "head": {"hidden": 8, "d": 8},
        },
    },
}


def write_spectra(path: Path, unmeasured: int, twice: int = 0) -> None:
    """Nominal spectra as Parquet: one molecule in `unmeasured` has none, one in `twice` two."""
    rows = []
    for n, parts in enumerate(itertools.combinations(PARTS, 3)):
        mol = Chem.MolFromSmiles("c1({})cc({})c({})cc1".format(*parts))
        mass = ExactMolWt(mol)
        lost = {round(mass - ExactMolWt(Chem.MolFromSmiles(part))) for part in parts}
        pieces = sorted(lost | {round(mass)})
        for again in range(2 if twice and n % twice == 0 else 1):
            rows.append(
                {
                    "smiles": Chem.MolToSmiles(mol),
                    "inchikey14": Chem.MolToInchiKey(mol)[:14],
                    "mzs": pieces if n % unmeasured else None,
                    "intensities": [1.0 + again + i for i in range(len(pieces))],
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), path)


def save_untrained(directory: Path) -> None:
    """A model of `HYPER` with random weights, the same each time."""
    torch.manual_seed(0)
    about = {"training": {"space": {}}, "records": {}, "licence": "none"}
    scales = {"gc_ms": 10.0, "smiles": 20.0}
    save_model(directory, "toy", DualEncoder(HYPER).eval(), HYPER, scales, about, half=True)
