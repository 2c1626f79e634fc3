"""Queries of `bench` on a fixed pool: made once, by the predictions of the weights then, and stored."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from characterisation.adapter import predicted_shifts
from characterisation.inputs import rdkit_smiles
from rdkit import Chem
from rdkit.Chem import Descriptors

POOL = 400
ASKING = 50
PROTON_MASS = 1.007276
NOISE = {"c_nmr": (3.0, 1), "h_nmr": (0.25, 2)}  # ppm, and decimals


def make_queries(seed: int = 11) -> dict[str, list[dict[str, Any]]]:
    """Queries by modality: predicted shifts with noise, and masses of the pieces that a bond cut leaves."""
    rng = random.Random(seed)
    smiles = rng.sample(rdkit_smiles(POOL, least=8, most=30), ASKING)
    found: dict[str, list[dict[str, Any]]] = {}
    for modality, (noise, decimals) in NOISE.items():
        found[modality] = []
        for text, peaks in zip(smiles, predicted_shifts("acml-base", modality, smiles), strict=True):
            shifts = sorted({round(float(x), 3) for x in peaks["position"]})
            noisy = [round(x + rng.gauss(0.0, noise), decimals) for x in shifts if rng.random() < 0.9]
            if noisy:
                found[modality].append({"smiles": text, "shifts": noisy})
    found["lc_ms"] = [one for text in smiles if (one := fragmented(text, rng)) is not None]
    return found


def fragmented(smiles: str, rng: random.Random) -> dict[str, Any] | None:
    """A spectrum whose peaks are the protonated pieces of a molecule cut at each single bond."""
    mol = Chem.MolFromSmiles(smiles)
    precursor = Descriptors.ExactMolWt(mol) + PROTON_MASS
    masses = {round(precursor, 4)}
    for bond in mol.GetBonds():
        if bond.IsInRing() or bond.GetBondType() != Chem.BondType.SINGLE:
            continue
        pieces = Chem.GetMolFrags(Chem.FragmentOnBonds(mol, [bond.GetIdx()], addDummies=False), asMols=True)
        masses |= {round(Descriptors.ExactMolWt(piece) + PROTON_MASS, 4) for piece in pieces}
    kept = sorted(mass for mass in masses if mass > 35)
    if len(kept) < 3:
        return None
    heights = [round(rng.uniform(5, 100), 1) for _ in kept]
    return {
        "smiles": smiles,
        "mzs": kept,
        "intensities": heights,
        "precursor_mz": round(precursor, 4),
        "adduct": "[M+H]+",
        "collision_energy": "30 eV",
    }


def write_bench(folder: Path, queries: dict[str, list[dict[str, Any]]]) -> None:
    """The pool and one file of queries for each modality."""
    pool = rdkit_smiles(POOL, least=8, most=30)
    (folder / "pool.smi").write_text("\n".join(pool) + "\n")
    for modality, rows in queries.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"ask-{modality}.parquet")
