"""A library of some hundred small molecules, and an untrained model that has an NMR space."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from untrained import PART, SHIFTS, save_untrained

from acml_search.encoders.checkpoint import Model, load_model

HEADS = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "c1ccsc1", "C1CCNC1", "c1ccoc1", "CC(C)", "C1CCOC1")
CHAINS = ("C", "CC", "OC", "C(=O)C", "C(=O)NC", "NC", "SC", "C(=O)OC")
ENDS = ("O", "N", "C(=O)O", "C#N", "Cl", "OC", "C(F)(F)F")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """448 molecules with a column of numbers, one of names and one of few values."""
    lines = ["smiles,name,price,maker"]
    for i, (head, chain, end) in enumerate(itertools.product(HEADS, CHAINS, ENDS)):
        lines.append(f"{head}{chain}{end},m{i},{i * 0.5},{'<b>A</b>' if i % 3 else 'B & C'}")
    path = tmp_path_factory.mktemp("interpret") / "library.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def nmr_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small, untrained checkpoint with the spaces smiles and c_nmr."""
    spaces = {"smiles": ({**PART, "layers": 3}, 10.0), "c_nmr": (SHIFTS, 10.0)}
    return save_untrained(tmp_path_factory.mktemp("models") / "nmr", spaces, seed=5, d=16, layers=3)


@pytest.fixture
def nmr_model(nmr_directory: Path) -> Model:
    return load_model(nmr_directory)
