"""Small files to measure on: 13C spectra of ten molecules, and a library with isomers of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.evaluation.results import Result
from acml_search.evaluation.retrieval import Filter, Question, measure_files

SHIFTS = {
    "CCO": [58.0, 18.1],
    "COC": [59.6],
    "CC(=O)O": [178.1, 20.8],
    "CCCC": [13.1, 24.9],
    "CC(C)C": [24.3, 24.9],
    "CCCCO": [62.3, 34.9, 19.0, 13.9],
    "CCC(C)O": [69.2, 32.0, 22.7, 9.9],
    "CC(C)(C)O": [68.9, 31.2],
    "CCOCC": [65.9, 15.4],
    "c1ccccc1O": [155.1, 129.8, 121.1, 115.6],
}
ISOMERS = ["CC(C)CO", "COC(C)C", "CCCOC", "CCN", "c1ccncc1", "CC(=O)Nc1ccc(O)cc1", "not a molecule"]


def write_measured(folder: Path) -> Path:
    """`spectra.parquet` (two spectra of each molecule, a third of them valid; one row without shifts, one
    without a structure) and `library.smi`.
    """
    rows = []
    for i, (smiles, shifts) in enumerate(SHIFTS.items()):
        for rank in (0, 1):
            moved = [x + 0.3 * rank for x in shifts]
            split = "valid" if i % 3 == 0 else "train"
            rows.append({"smiles": smiles, "shifts": moved, "spectrum_rank": rank, "split": split})
    rows.append({"smiles": "CCCO", "shifts": [], "spectrum_rank": 0, "split": "valid"})
    rows.append({"smiles": "C1CC", "shifts": [20.0], "spectrum_rank": 0, "split": "valid"})
    pq.write_table(pa.Table.from_pylist(rows), folder / "spectra.parquet")
    (folder / "library.smi").write_text("\n".join(ISOMERS) + "\n")
    return folder


def recall(
    folder: Path, model: Path, *, out: Path | None = None, isomers: bool = False, cache: Path | None = None,
    workers: int = 1, command: str | None = None, **question: Any,
) -> Result:  # fmt: skip
    """`bench recall` (or `isomers`) of the files of `write_measured`, or of others."""
    queries = question.pop("queries", folder / "spectra.parquet")
    wanted = question.pop("filter", Filter(formula=isomers))
    defaults = {
        "name": str(queries), "modality": "c_nmr", "queries": queries, "library": (folder / "library.smi",),
        "leakage": "report", "filters": (wanted,), "isomers_only": isomers,
    }  # fmt: skip
    asked = Question(**(defaults | question))
    options = {"model": str(model), "workers": workers, "cache": cache, "command": command}
    return measure_files(asked, out or folder / "out.json", **options)
