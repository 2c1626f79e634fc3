"""A hand-made answer for the tests of writers and tables, and small indexes with untrained models."""

import json
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from untrained import PART, SHIFTS, save_untrained

import acml_search
from acml_search.search.pipeline import Index
from acml_search.search.results import Answer, HitList, Hits

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
STEREO = "C[C@H](N)C(=O)O"


def molecules() -> pa.Table:
    return pa.table(
        {
            "key": pa.array([12, 3], pa.int64()),
            "smiles": [ASPIRIN, STEREO],
            "inchikey": ["BSYNRYMUTXBXSQ-UHFFFAOYSA-N", "QNAYBMKLOCPYGJ-REOHCLBHSA-N"],
            "formula": ["C9H8O4", "C3H7NO2"],
            "exact_mass": [180.0422587, 89.0476785],
            "source_row": pa.array([12, 3], pa.int64()),
            "name": ["aspirin\x1b[31m\nline", None],
            "score": [1.5, float("nan")],  # the user's own, which clashes with ours
            "price": [Decimal("9.90"), None],
            "seen": [date(2024, 2, 1), None],
            "tags": [["a", "b"], None],
        }
    )


@pytest.fixture
def answer() -> Answer:
    records = HitList(
        "smiles", "records", Hits([[12, 3, -1]], [[0.75, 0.5, 0]]), np.array([0.9, 0.1]), 10.0, molecules()
    )
    graph = HitList(
        "smiles", "graph", Hits([[-1, -1, -1]], [[0, 0, 0]]), np.array([]), 10.0, molecules().slice(0, 0)
    )
    query = {
        "smiles": "OC(=O)c1ccccc1OC(C)=O",
        "standardised": ASPIRIN,
        "formula": "C9H8O4",
        "exact_mass": 180.0422587,
        "k": 3,
        "filter": {"where": "exact_mass < 300"},
        "passed": 2,
    }
    return Answer(query, "indexes/x", [records, graph], {"total": 0.0123456789}, ["2 of 3"])


LIBRARY = [
    *(f"{'C' * n}{end}" for n in range(1, 9) for end in ("O", "N", "C(=O)O", "S")),
    "Cc1ccccc1",
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(=O)Nc1ccc(O)cc1",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "C[N+](C)(C)CCO.[Cl-]",
]
BAD = ["not-a-smiles", "C1CC"]


@pytest.fixture(scope="session")
def small_index(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of LIBRARY, built for real with an untrained model; it has a record side and metadata."""
    folder = tmp_path_factory.mktemp("small")
    library = folder / "library.csv"
    lines = ["smiles,name,price,score"]
    lines += [f"{smiles},m{i},{i * 1.5},{i}" for i, smiles in enumerate([*LIBRARY, *BAD])]
    library.write_text("\n".join(lines) + "\n", encoding="utf-8")
    acml_search.build_index([library], out=folder / "index", model=str(tiny_model), workers=1)
    return folder / "index"


@pytest.fixture(scope="session")
def spectral_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint with the spaces `c_nmr`, `h_nmr` and `lc_ms`, d = 32."""
    nmr = {**SHIFTS, "curve": 16}
    spaces = {"c_nmr": (nmr, 14.0), "h_nmr": (nmr, 7.0), "lc_ms": (PART, 10.0)}
    return save_untrained(tmp_path_factory.mktemp("models") / "spectral", spaces, seed=7)


@pytest.fixture(scope="session")
def spectral_index(spectral_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spectral")
    library = folder / "library.smi"
    library.write_text("\n".join(LIBRARY) + "\n", encoding="utf-8")
    out = folder / "index"
    acml_search.build_index([library], out=out, modalities=[], model=str(spectral_model), workers=1)
    return folder / "index"


@pytest.fixture(scope="session")
def reranked_model(spectral_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, whose card has weights for re-ranking 13C and 1H."""
    copy = Path(shutil.copytree(spectral_model, tmp_path_factory.mktemp("weights") / "spectral"))
    card = json.loads((copy / "card.json").read_text())
    card["spaces"]["c_nmr"]["rerank"] = {"cosine": 3.0, "evidence": 0.5}
    card["spaces"]["h_nmr"]["rerank"] = {"cosine": 2.0, "evidence": 0.25}
    (copy / "card.json").write_text(json.dumps(card))
    return copy


@pytest.fixture(scope="session")
def reranking(spectral_index: Path, reranked_model: Path) -> Index:
    """The same index, asked with that model."""
    return acml_search.open_index(spectral_index, model=reranked_model)
