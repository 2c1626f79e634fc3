"""Predictions of a property model for every row of a library, as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError
from acml_search.core.extras import require
from acml_search.core.io import atomic
from acml_search.core.progress import progress
from acml_search.library.source import Row
from acml_search.library.standardise import Prepared, Rejected, prepare
from acml_search.library.stream import open_library
from acml_search.library.tables import rejects_table
from acml_search.properties.model import PropertyModel, load, read_property_card

_CHUNK = 512


def predict_file(
    directory: Path,
    library: Path,
    out: Path,
    *,
    model: str | None = None,
    smiles_column: str | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Predict the properties of every row of a library; returns counts.

    `out` (.csv or .parquet) has the library's columns and, per target, prediction and uncertainty, in the
    library's order; a row that cannot be read has none and is listed in the file `<out>.rejects.csv`.
    Raises CheckpointError for a folder that is no model or another base model, LibraryError for a file that
    cannot be read, ConfigError for another ending of `out` or a missing scikit-learn.
    """
    from acml_search.encoders.checkpoint import load_model

    require("sklearn")
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{out}: predictions are written as .csv or .parquet; name such a file with --out")
    if out.exists() and library.exists() and out.samefile(library):
        raise ConfigError(f"{out}: this is the library itself; name another file with --out")
    fitted = load(directory, load_model(model or read_property_card(directory)["base"], device))
    rows = open_library([library], smiles_column=smiles_column)
    prefixes = [f"{target}_" for target in fitted.targets] if len(fitted.targets) > 1 else [""]
    answers = [prefix + what for prefix in prefixes for what in ("prediction", "uncertainty")]
    if clash := sorted(set(answers) & set(rows.metadata_columns)):
        raise ConfigError(
            f"{library}: it has a column {clash[0]!r} already, which the answer needs; rename it"
        )
    types: dict[str, pa.DataType] = {smiles_column or "smiles": pa.string()}
    for name, kind in rows.metadata_types.items():
        types.setdefault(name, pa.string() if out.suffix == ".csv" and pa.types.is_nested(kind) else kind)
    schema = pa.schema([*types.items(), *((name, pa.float64()) for name in answers)])
    rejected: list[Rejected] = []
    n = 0
    writer: Any = pacsv.CSVWriter if out.suffix == ".csv" else pq.ParquetWriter
    with (
        atomic(out) as writing,
        writer(writing, schema) as file,
        progress(total=rows.total, desc="predicting", unit="mol") as bar,
    ):
        for batch in rows.batches(_CHUNK):
            prepared = prepare(batch)
            file.write_table(_table(fitted, batch, prepared, schema, answers))
            rejected += prepared.rejected
            n += len(batch)
            bar.update(len(batch))
    counts = {"rows": n, "predicted": n - len(rejected), "rejected": len(rejected), "out": str(out)}
    rejects = out.with_name(f"{out.name}.rejects.csv")
    rejects.unlink(missing_ok=True)
    if rejected:
        pacsv.write_csv(rejects_table(rejected), rejects)
        counts["rejects"] = str(rejects)
    return counts


def _table(
    fitted: PropertyModel, batch: list[Row], prepared: Prepared, schema: pa.Schema, answers: Sequence[str]
) -> pa.Table:
    """The rows of a batch, with predictions where they could be read."""
    accepted = {item.row: item for item in prepared.accepted}
    values: dict[int, Any] = {}
    if accepted:
        predicted = np.stack(fitted.predict([item.mol for item in prepared.accepted]), axis=2)
        values = dict(zip(accepted, predicted.reshape(len(accepted), -1), strict=True))
    table = []
    for row in batch:
        cells = {one.name: _as_text(one.type, row.metadata.get(one.name)) for one in schema}
        text = row.text if row.kind == "smiles" else None
        if row.row in accepted:
            text = text or accepted[row.row].molecule.smiles
            pairs = zip(answers, values[row.row].tolist(), strict=True)
            cells |= {name: value for name, value in pairs if np.isfinite(value)}
        table.append({**cells, schema.names[0]: text})
    return pa.Table.from_pylist(table, schema)


def _as_text(kind: pa.DataType, value: object) -> object:
    """The value as a column of `kind` holds it: lists in a column of text as JSON."""
    if value is None or not pa.types.is_string(kind):
        return value
    return (
        json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    )
