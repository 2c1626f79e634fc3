"""`properties fit` and `properties predict`: from labels to a model, from a library to predictions."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from acml_search import __version__
from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.encoders.model import Model, load_model
from acml_search.library.prepare import Rejected, prepare
from acml_search.library.read import Library, Row, open_library
from acml_search.library.store import rejects_table
from acml_search.properties import metrics
from acml_search.properties.fitted import TASKS
from acml_search.properties.heads import KINDS
from acml_search.properties.labelled import Labelled, read_labelled
from acml_search.properties.model import PropertyModel, fit_model, load, read_card_of, save
from acml_search.properties.split import inner_split

_CHUNK = 512
RESAMPLES = 200


def fit(
    data: Path,
    targets: list[str],
    out: Path,
    *,
    task: str | None = None,
    head: str = "auto",
    tune: bool = False,
    described: bool = False,
    model: str = "acml-base",
    smiles_column: str | None = None,
    seed: int = 0,
    command: str | None = None,
) -> dict[str, Any]:
    """Fit a model of the columns `targets` and write it to the folder `out`; returns its card.

    `described`: heads read RDKit's descriptors too. Rows that cannot be used are listed in
    `out/rejects.parquet`. Raises what `read_labelled` and `load_model` raise, ConfigError for options that
    make no sense.
    """
    if task is not None and task not in TASKS:
        raise ConfigError(f"--task {task} is not one of {', '.join(TASKS)}")
    if head not in ("auto", *KINDS):
        raise ConfigError(f"--head {head} is not one of auto, {', '.join(KINDS)}")
    if tune and described:
        raise ConfigError("--finetune trains on graphs alone; leave out --descriptors, or --finetune")
    if out.exists() and not (out / "card.json").exists() and (out.is_file() or any(out.iterdir())):
        raise ConfigError(f"{out} holds something else than a property model; name another folder with --out")
    found = read_labelled(data, targets, task, smiles_column)
    base = load_model(model)
    valid = inner_split(found.mols, found.y, found.task, seed)
    fitted = fit_model(base, found, valid, head=head, tune=tune, described=described, seed=seed)
    fitted.card["base"] = str(Path(model).resolve()) if Path(model).is_dir() else model
    _describe(fitted, found, valid, base, command)
    out.parent.mkdir(parents=True, exist_ok=True)
    save(fitted, out, found.rejected)
    return fitted.card


def _describe(fitted: PropertyModel, found: Labelled, valid: Any, base: Model, command: str | None) -> None:
    """What the card says beside what the fit itself says."""
    mean, uncertainty = fitted.predict([found.mols[i] for i in np.flatnonzero(valid)])
    y = found.y[valid]
    measures = (
        {"auroc": metrics.auroc, "auprc": metrics.auprc}
        if found.task == "classification"
        else {"rmse": metrics.rmse, "mae": metrics.mae, "r2": metrics.r2, "spearman": metrics.spearman}
    )
    fitted.card |= {
        "rows": found.n_rows,
        "molecules": len(found.mols),
        "merged": found.n_merged,
        "rejected": len(found.rejected),
        "labels": {name: int(np.isfinite(found.y[:, i]).sum()) for i, name in enumerate(found.targets)},
        "split": "inner part: whole Bemis-Murcko scaffolds, 15 % of the molecules; used to choose, so its "
        "figures flatter a little",
        "command": command,
        "versions": {
            "acml-search": __version__,
            **{name: importlib.metadata.version(name) for name in ("lightgbm", "rdkit", "torch")},
        },
    }
    fitted.card["inner"] |= {name: one(y, mean) for name, one in measures.items()}
    fitted.card["inner"]["ci95"] = {name: _interval(one, y, mean) for name, one in measures.items()}
    if found.task == "regression":
        fitted.card["inner"]["error_follows_uncertainty"] = metrics.spearman(np.abs(y - mean), uncertainty)


def _interval(measure: metrics.Measure, y: Any, predicted: Any) -> list[float] | None:
    """95 % bootstrap interval over molecules; None where too few resamples can be judged."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(y), len(y))
        found.append(measure(y[rows], predicted[rows]))
    good = [x for x in found if np.isfinite(x)]
    return None if len(good) < RESAMPLES / 2 else [float(x) for x in np.percentile(good, [2.5, 97.5])]


def predict(
    directory: Path,
    library: Path,
    out: Path,
    *,
    model: str | None = None,
    smiles_column: str | None = None,
) -> dict[str, Any]:
    """Predict the properties of every row of a library; returns counts.

    `out` (.csv or .parquet) has the library's columns and, per target, prediction and uncertainty, in the
    library's order; a row that cannot be read has none and is listed in the file `<out>.rejects.csv`.
    Raises CheckpointError for a folder that is no model or a base that is another, LibraryError for a file
    that cannot be read, ConfigError for an `out` of another kind.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{out}: predictions are written as .csv or .parquet; name such a file with --out")
    if out.exists() and library.exists() and out.samefile(library):
        raise ConfigError(f"{out}: this is the library itself; name another file with --out")
    fitted = load(directory, load_model(model or read_card_of(directory)["base"]))
    rows = open_library([library], smiles_column=smiles_column)
    names = _column_names(fitted.targets)
    taken = sorted({name for pair in names for name in pair} & set(rows.metadata_columns))
    if taken:
        raise ConfigError(
            f"{library}: it has a column {taken[0]!r} already, which the answer needs; rename it"
        )
    kinds = rows.metadata_types
    if out.suffix == ".csv":  # which has no lists: they are written as JSON
        kinds = {name: pa.string() if pa.types.is_nested(kind) else kind for name, kind in kinds.items()}
    spelled = smiles_column or "smiles"
    schema = pa.schema(
        [
            pa.field(spelled, pa.string()),
            *(pa.field(name, kind) for name, kind in kinds.items() if name != spelled),
            *(pa.field(name, pa.float64()) for pair in names for name in pair),
        ]
    )
    rejected: list[Rejected] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    writing = out.with_name(f".{out.name}.{os.getpid()}.writing")
    n = 0
    try:
        with _writer(writing, out.suffix, schema) as writer:
            for table in _tables(fitted, rows, schema, spelled, names, rejected):
                writer.write_table(table)
                n += len(table)
        os.replace(writing, out)
    finally:
        writing.unlink(missing_ok=True)
    listed = out.with_name(f"{out.name}.rejects.csv")
    listed.unlink(missing_ok=True)
    if rejected:
        pacsv.write_csv(rejects_table(rejected), listed)
    told = {"rows": n, "predicted": n - len(rejected), "rejected": len(rejected), "out": str(out)}
    return told | ({"rejects": str(listed)} if rejected else {})


def _tables(
    fitted: PropertyModel,
    rows: Library,
    schema: pa.Schema,
    spelled: str,
    names: list[tuple[str, str]],
    rejected: list[Rejected],
) -> Any:
    with progress(total=rows.total, desc="predicting", unit="mol") as bar:
        for batch in rows.batches(_CHUNK):
            yield _table(fitted, batch, schema, spelled, names, rejected)
            bar.update(len(batch))


def _table(
    fitted: PropertyModel,
    batch: list[Row],
    schema: pa.Schema,
    spelled: str,
    names: list[tuple[str, str]],
    rejected: list[Rejected],
) -> pa.Table:
    prepared = prepare(batch)
    rejected += prepared.rejected
    place = {one.row: i for i, one in enumerate(batch)}
    at = [place[one.row] for one in prepared.accepted]
    values = np.full((2, len(batch), len(names)), np.nan)
    if at:
        values[0, at], values[1, at] = fitted.predict([one.mol for one in prepared.accepted])
    texts: list[str | None] = [one.text if one.kind == "smiles" else None for one in batch]
    for one in prepared.accepted:
        texts[place[one.row]] = texts[place[one.row]] or one.molecule.smiles
    columns: dict[str, Any] = {spelled: texts}
    for field in schema:
        if field.name not in columns:
            columns[field.name] = [_as(field.type, one.metadata.get(field.name)) for one in batch]
    for target, pair in enumerate(names):
        for side, name in enumerate(pair):
            column = values[side, :, target]
            columns[name] = pa.array(column, mask=~np.isfinite(column))
    return pa.table(
        {field.name: pa.array(columns[field.name], field.type) for field in schema}, schema=schema
    )


def _as(kind: pa.DataType, value: object) -> object:
    if isinstance(value, list | dict) and pa.types.is_string(kind):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value) if value is not None and pa.types.is_string(kind) else value


def _writer(path: Path, suffix: str, schema: pa.Schema) -> Any:
    return pacsv.CSVWriter(path, schema) if suffix == ".csv" else pq.ParquetWriter(path, schema)


def _column_names(targets: list[str]) -> list[tuple[str, str]]:
    if len(targets) == 1:
        return [("prediction", "uncertainty")]
    return [(f"{name}_prediction", f"{name}_uncertainty") for name in targets]
