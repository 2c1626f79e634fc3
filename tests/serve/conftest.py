"""A server of a small index with an untrained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from untrained import PART, SHIFTS, save_untrained

import acml_search
from acml_search.serve.app import create_app
from acml_search.serve.gate import Limits

LIBRARY = ["CCO", "CCCO", "CC(=O)O", "Cc1ccccc1", "CC(=O)Nc1ccc(O)cc1", "CC(=O)Oc1ccccc1C(=O)O", "CCCCN"]
LIMITS = Limits(body=2 << 20, unpacked=1 << 20, k=50, sql_seconds=0.5)


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has the spaces `c_nmr`, `h_nmr`, `lc_ms` and `smiles`, the last with records."""
    nmr = {**SHIFTS, "curve": 16}
    spaces = {"c_nmr": (nmr, 14.0), "h_nmr": (nmr, 7.0), "lc_ms": (PART, 10.0), "smiles": (PART, 9.0)}
    folder = tmp_path_factory.mktemp("served")
    model = save_untrained(folder / "model", spaces, seed=7)
    library = folder / "library.csv"
    names = ["<script>alert(1)</script>", "=cmd", *map(str, range(2, len(LIBRARY)))]
    rows = [f"{smiles},{name}" for smiles, name in zip(LIBRARY, names, strict=True)]
    library.write_text("\n".join(["smiles,vendor", *rows]) + "\n", encoding="utf-8")
    acml_search.build_index([library], out=folder / "mine", model=str(model), workers=1)
    return folder / "mine"


@pytest.fixture(scope="session")
def client(index: Path) -> Iterator[TestClient]:
    app = create_app([index], hosts=None, workers=2, limits=LIMITS)
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made
