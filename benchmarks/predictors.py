"""Set errors of our predicted shifts and of another program's, on the same spectra.

    python -m benchmarks.predictors ../shared/data/nmr_c13.parquet other.parquet \
        --modality c_nmr --where "split = 'valid' AND spectrum_rank = 0" --name csp5

`other.parquet` has the columns `smiles` and `shifts`: one value in ppm for each heavy atom in the order of
the SMILES (of 1H, the mean over its hydrogens), null where there is none. Spectra are joined by molecule;
those count that both programs predict and that show as many peaks as there are classes of atoms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer
from rdkit import Chem

from acml_search.evaluation.metrics import bootstrap_interval
from acml_search.evaluation.pool import read_queries
from acml_search.evaluation.workers import model_workers
from acml_search.nmr.predicted import symmetry_classes
from benchmarks.shared import finish
from benchmarks.suite.measures import AtomShifts, predict, set_error


def of_others(path: Path) -> dict[str, AtomShifts]:
    """By InChIKey first block, what a file of predictions has."""
    found = {}
    for row in pq.read_table(path, columns=["smiles", "shifts"]).to_pylist():
        mol = Chem.MolFromSmiles(row["smiles"])
        values = np.array([np.nan if x is None else x for x in row["shifts"]], np.float64)
        if mol is None or len(values) != mol.GetNumAtoms():
            continue
        atoms = np.flatnonzero(np.isfinite(values))
        key = Chem.MolToInchiKey(mol)[:14]
        found[key] = AtomShifts(atoms, symmetry_classes(mol)[atoms], values[atoms])
    return found


def main(
    queries: Path,
    predictions: Path,
    modality: Annotated[str, typer.Option()] = "c_nmr",
    where: Annotated[str, typer.Option()] = "split = 'valid' AND spectrum_rank = 0",
    name: Annotated[str, typer.Option(help="The other program.")] = "other",
    model: Annotated[str, typer.Option()] = "acml-base",
    out: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print both set errors with 95 % intervals over molecules, and that of the difference."""
    others = of_others(predictions)
    with model_workers(1, model=model) as workers:
        rows = [
            (known.inchikey14, known.smiles, row.metadata["shifts"])
            for row in read_queries(queries, workers).select(where=where)
            if (known := row.structure) is not None and known.inchikey14 in others
        ]
        own = predict((modality, [smiles for _, smiles, _ in rows]))
    errors: dict[str, list[tuple[float, float]]] = {}
    for (key, _, shifts), ours in zip(rows, own, strict=True):
        pair = [None if one is None else set_error(one, shifts) for one in (ours, others[key])]
        if None not in pair:
            errors.setdefault(key, []).append((float(pair[0] or 0.0), float(pair[1] or 0.0)))
    values = np.array([np.mean(one, axis=0) for one in errors.values()]).reshape(-1, 2)
    found: dict[str, Any] = {"queries": queries.name, "where": where, "n_molecules": len(values)}
    columns = {model: values[:, 0], name: values[:, 1], "difference": values[:, 0] - values[:, 1]}
    for label, column in columns.items():
        found[label] = {"set_error": float(column.mean()), "ci95": list(bootstrap_interval(column, seed=0))}
    finish("predictors", found, out)


if __name__ == "__main__":
    typer.run(main)
