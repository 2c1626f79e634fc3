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
from acml_search.library.standardise import Rejected, prepare
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
    several = len(fitted.targets) > 1
    answers = [
        f"{target}_{what}" if several else what
        for target in fitted.targets
        for what in ("prediction", "uncertainty")
    ]
    clash = sorted(set(answers) & set(rows.metadata_columns))
    if clash:
        raise ConfigError(
            f"{library}: it has a column {clash[0]!r} already, which the answer needs; rename it"
        )
    smiles = smiles_column or "smiles"
    columns = {smiles: pa.string()} | {
        name: pa.string() if out.suffix == ".csv" and pa.types.is_nested(kind) else kind
        for name, kind in rows.metadata_types.items()
        if name != smiles
    }
    schema = pa.schema([*columns.items(), *((name, pa.float64()) for name in answers)])
    rejected: list[Rejected] = []
    n = 0
    writer: Any = pacsv.CSVWriter if out.suffix == ".csv" else pq.ParquetWriter
    with (
        atomic(out) as writing,
        writer(writing, schema) as file,
        progress(total=rows.total, desc="predicting", unit="mol") as bar,
    ):
        for batch in rows.batches(_CHUNK):
            file.write_table(_table(fitted, batch, schema, smiles, answers, rejected))
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
    fitted: PropertyModel,
    batch: list[Row],
    schema: pa.Schema,
    smiles: str,
    answers: Sequence[str],
    rejected: list[Rejected],
) -> pa.Table:
    """The rows of a batch with their predictions; rows that cannot be read join `rejected`."""
    prepared = prepare(batch)
    rejected += prepared.rejected
    place = {row.row: i for i, row in enumerate(batch)}
    at = [place[item.row] for item in prepared.accepted]
    values = np.full((len(batch), len(answers)), np.nan)
    if at:
        mean, uncertainty = fitted.predict([item.mol for item in prepared.accepted])
        values[at, 0::2], values[at, 1::2] = mean, uncertainty
    texts: list[str | None] = [row.text if row.kind == "smiles" else None for row in batch]
    for i, item in zip(at, prepared.accepted, strict=True):
        texts[i] = texts[i] or item.molecule.smiles
    columns: list[Any] = []
    for field in schema:
        if field.name == smiles:
            columns.append(pa.array(texts, field.type))
        elif field.name in answers:
            answer = values[:, answers.index(field.name)]
            columns.append(pa.array(answer, mask=~np.isfinite(answer)))
        else:
            column = [_as_text(field.type, row.metadata.get(field.name)) for row in batch]
            columns.append(pa.array(column, field.type))
    return pa.table(columns, schema=schema)


def _as_text(kind: pa.DataType, value: object) -> object:
    """The value as a column of `kind` holds it: lists in a column of text as JSON."""
    if value is None or not pa.types.is_string(kind):
        return value
    return (
        json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    )
