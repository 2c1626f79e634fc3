"""Chains with end groups, labels of them, and a small untrained model."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdkit import Chem

from acml_search.encoders.checkpoint import Model, load_model

CHAINS = [f"{'C' * n}{end}" for n in range(1, 13) for end in ("O", "N", "C(=O)O", "c1ccccc1", "Cl")]


@pytest.fixture(scope="session")
def mols() -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(smiles) for smiles in CHAINS]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heavy atoms counted, and whether there is an oxygen, with what goes wrong in real files."""
    rows = ["smiles,size,oxygen,vendor"]
    for i, smiles in enumerate(CHAINS):
        size = "" if i == 4 else str(Chem.MolFromSmiles(smiles).GetNumHeavyAtoms())
        rows.append(f"{smiles},{size},{int('O' in smiles)},V{i % 3}")
    rows += ["C1CC,3,0,V0", "CCCCCCCCCCCCCCO,big,1,V0", "OCC,5,1,V1"]  # ring, text, a duplicate of CCO
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    return path
