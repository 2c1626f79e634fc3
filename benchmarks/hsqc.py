"""HSQC spectra as questions: pairs of shifts of `nmr_atoms.parquet`, 13C measured and 1H computed by DFT.

    python -m benchmarks.hsqc [FILE] [--out runs/hsqc.parquet]

There is no open collection of assigned HSQC spectra. A molecule counts where every carbon with hydrogens has
a measured, assigned shift. Equivalent atoms, by the symmetry of the graph, show one pair: the mean of their
shifts, since DFT gives a methyl's or a phenyl's atoms different ones in a frozen conformer. `multiplicity` is
what an edited spectrum shows. The 1H axis is DFT, as is most of what the model learned of assigned 1H shifts:
the same systematic errors stand on both sides, so figures flatter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rdkit import Chem

from acml_search.nmr.predicted import symmetry_classes

FILE = Path("../shared/data/nmr_atoms.parquet")
OUT = Path("runs/hsqc.parquet")


def spectrum(row: dict[str, Any]) -> dict[str, list[Any]] | None:
    """The record of a molecule; None where a carbon with hydrogens lacks a shift, or there is none."""
    mol = Chem.MolFromSmiles(row["smiles"])
    if mol is None or row["c13_exp"] is None or row["h1_dft"] is None:
        return None
    sets: dict[int, list[int]] = {}
    for atom, number in zip(mol.GetAtoms(), symmetry_classes(mol).tolist(), strict=True):
        if atom.GetAtomicNum() == 6 and atom.GetTotalNumHs():
            sets.setdefault(number, []).append(atom.GetIdx())
    columns: dict[str, list[Any]] = {"c_shifts": [], "h_shifts": [], "multiplicity": []}
    for atoms in sets.values():
        for name, source in (("c_shifts", "c13_exp"), ("h_shifts", "h1_dft")):
            known = [x for atom in atoms if (x := row[source][atom]) is not None]
            if not known:
                return None
            columns[name].append(round(float(np.mean(known)), 2))
        two = mol.GetAtomWithIdx(atoms[0]).GetTotalNumHs() == 2
        columns["multiplicity"].append("CH2" if two else "CH or CH3")
    return columns if sets else None


def main(
    file: Annotated[Path, typer.Argument(help="Parquet of shifts assigned to atoms.")] = FILE,
    out: Annotated[Path, typer.Option(help="Parquet of records to write.")] = OUT,
) -> None:
    """Write HSQC spectra as records, one a molecule."""
    rows = [
        {**{name: row[name] for name in ("smiles", "inchikey14", "split")}, **found}
        for row in pq.read_table(file).to_pylist()
        if (found := spectrum(row)) is not None
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), out)
    print(f"{len(rows):,} spectra in {out}")


if __name__ == "__main__":
    typer.run(main)
