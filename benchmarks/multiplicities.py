"""Tables of multiplicities and couplings, counted on measured 1H spectra of known structures.

    python -m benchmarks.multiplicities ../shared/data

None of the three sources is reported on: printed lines (`nmr_text.parquet`) of the molecules whose InChIKey
falls in the inner half (`inner`), spectra of the `train` split with multiplicities (`nmr_h1.parquet`), and
`nmr_challenge_half.jsonl`. Signals are assigned to predicted protons by the tables of the round before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import typer

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule, InvalidRecord
from acml_search.core.io import atomic
from acml_search.encoders.card import read_card
from acml_search.encoders.shifts import ShiftModel
from acml_search.nmr import multiplets
from acml_search.nmr.assign import Groups
from acml_search.nmr.multiplets import CLASSES, EDGES, RUN, SignalCosts, Signals, count_tables, read_signals

ROUNDS = 4
TABLES = Path(multiplets.__file__).with_name("multiplicities.json")


def inner(inchikey14: str) -> bool:
    """Is a molecule of printed lines for fitting, not for reporting?"""
    return hashlib.sha256(inchikey14.encode()).digest()[0] % 2 == 0


def spectra(data: Path) -> Iterator[tuple[str, Any]]:
    """SMILES and 1H records."""
    kind = modalities.get("h_nmr")
    for row in pq.read_table(data / "nmr_text.parquet").to_pylist():
        if row["smiles"] and row["h_text"] and inner(row["inchikey14"]):
            try:
                peaks = kind.read_line(row["h_text"])  # type: ignore[attr-defined]
            except InvalidRecord:
                continue
            if peaks.modality == "h_nmr":
                yield row["smiles"], peaks.record()
    for row in pq.read_table(data / "nmr_h1.parquet").to_pylist():
        if row["split"] == "train" and any(row["multiplicity"] or ()):
            once = dict(zip(row["shifts"], row["multiplicity"], strict=True))
            yield row["smiles"], {"shifts": list(once), "multiplicity": list(once.values())}
    for line in (data / "nmr_challenge_half.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["h1"]:
            names = {"shifts": "ppm", "counts": "nH", "multiplicity": "mult", "couplings": "J"}
            yield row["smiles"], {name: [one.get(key) for one in row["h1"]] for name, key in names.items()}


def known(data: Path, model: ShiftModel) -> list[tuple[Signals, Groups]]:
    """Signals of each spectrum, and what is predicted of its molecule."""
    found = []
    for smiles, record in spectra(data):
        try:
            mol, removed = parse(smiles)
        except InvalidMolecule:
            continue
        if removed is None:
            reranker: Any = modalities.get("h_nmr").reranker()
            found.append((read_signals(record), reranker.prepare(model, [mol])[0]))
    return found


def write(tables: dict[str, dict[str, list[float]]], out: Path) -> None:
    """A line for each set of protons, so that a change can be read."""
    parts = []
    for name, table in tables.items():
        lines = (f"{json.dumps(key)}: {json.dumps([int(x) for x in table[key]])}" for key in table)
        parts.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    with atomic(out) as temporary:
        temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def main(
    data: Path,
    out: Annotated[Path, typer.Option()] = TABLES,
    model: Annotated[str, typer.Option()] = "acml-base",
) -> None:
    """Count the tables of `acml_search.nmr.multiplets` and write them."""
    rows = known(data, ShiftModel(read_card(model), ["h_nmr"]))
    empty = {"all": [0.0] * len(CLASSES)}
    together = {str(size): [0.0] * len(CLASSES) for size in range(2, RUN + 1)}
    tables = {"classes": empty, "couplings": {"all": [0.0] * (len(EDGES) + 1)}, "together": together}
    for _ in range(ROUNDS):
        multiplets.use(tables)
        tables = count_tables(rows, SignalCosts())
    write(tables, out)
    typer.echo(f"{len(rows)} spectra, {int(sum(tables['classes']['all']))} signals assigned")


if __name__ == "__main__":
    typer.run(main)
