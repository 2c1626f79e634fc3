"""A property model: several heads, or several fine-tuned trunks, over one base model, in a folder of its own.

    card.json                 targets, task, split, scores on the inner part, base model, versions
    members/<i>/              a head or a fine-tuned trunk (JSON and safetensors)
    descriptors.safetensors   where the heads read descriptors too: the range of each
    rejects.parquet           rows of the data that are not used, and why

The prediction is the mean of the members. The uncertainty is their standard deviation; for numbers it is
scaled by one factor per target, so that on the inner part it is as large as the error (root mean square), in
the labels' unit. For classes it says how far the members' probabilities disagree, between 0 and 0.5; that the
members agree on being undecided shows in the probability itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from acml_search import __version__
from acml_search.core.errors import CheckpointError, ConfigError
from acml_search.core.extras import require
from acml_search.core.io import atomic, versions, write_json
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Float32s, Floats
from acml_search.library.source import Row
from acml_search.library.standardise import Prepared, Rejected, prepare
from acml_search.library.stream import open_library
from acml_search.library.tables import rejects_table, write_parquet
from acml_search.properties import metrics
from acml_search.properties.data import LabelledMolecules, inner_split, read_labelled
from acml_search.properties.features import (
    MAXIMA,
    TRUNK,
    DescriptorRange,
    descriptor_names,
    descriptors,
    embeddings,
    part_names,
)
from acml_search.properties.heads import KINDS, TASKS, LinearHead, fit_head, load_head

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.checkpoint import Model

FORMAT = 4
"""Older ones are read, but for trees: 1 had no `parts` (trunk, maxima and spaces), 2 no descriptors"""
FINETUNED = "finetuned"
N_HEADS, N_FINETUNED = 5, 3
"""members of a model: heads on resampled molecules, trunks that begin with other seeds"""
RESAMPLES = 200
_CARD_KEYS = {"format", "kind", "targets", "task", "members", "base", "model_digest"}
_DESCRIPTORS = "descriptors.safetensors"
_CHUNK = 512  # rows of a library that are predicted together


@dataclass
class PropertyModel:
    """Fitted members over a base model. `kind`: that of the heads, or finetuned."""

    base: Model
    kind: str
    members: Sequence[Any]
    """heads or `FineTuned`s"""
    card: dict[str, Any]
    descriptor_range: DescriptorRange | None = None
    """where the heads read RDKit's descriptors behind the embedding"""

    @property
    def targets(self) -> list[str]:
        return list(self.card["targets"])

    @property
    def parts(self) -> list[str]:
        """The parts of an embedding that the heads read, in their order."""
        return list(self.card.get("parts", (TRUNK, MAXIMA, *self.base.networks)))

    def predict(self, mols: Sequence[Chem.Mol]) -> tuple[Floats, Floats]:
        """Prediction and uncertainty, (n, t) each, of standardised molecules."""
        each = self.predict_members(mols)
        return each.mean(axis=0), each.std(axis=0) * np.array(self.card["uncertainty_factor"])

    def predict_members(self, mols: Sequence[Chem.Mol]) -> Floats:
        """(members, n, t): the prediction of each member."""
        inputs: Any = mols if self.kind == FINETUNED else self.features(mols)
        return np.stack([member.predict(inputs) for member in self.members])

    def features(self, mols: Sequence[Chem.Mol]) -> Float32s:
        """(n, f): what the heads read."""
        x = embeddings(self.base, mols, self.parts)
        if self.descriptor_range is None:
            return x
        return np.hstack([x, self.descriptor_range.clip(descriptors(mols))])


def fit_file(
    data: Path,
    target: list[str],
    out: Path,
    *,
    task: str | None = None,
    head: str = "auto",
    finetune: bool = False,
    descriptors: bool = False,
    model: str = "acml-base",
    smiles_column: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    command: str | None = None,
) -> dict[str, Any]:
    """Fit a model of the columns `target` of a library file and write it to the folder `out`; its card.

    device: where networks run, as `load_model` takes it; heads are fitted on the CPU.

    Rows that cannot be used are listed in `out/rejects.parquet`. Raises what `read_labelled` and `load_model`
    raise, ConfigError for options that do not fit together or a missing scikit-learn.
    """
    from acml_search.encoders.checkpoint import load_model

    require("sklearn")
    if task is not None and task not in TASKS:
        raise ConfigError(f"--task {task} is not one of {', '.join(TASKS)}")
    if head not in ("auto", *KINDS):
        raise ConfigError(f"--head {head} is not one of auto, {', '.join(KINDS)}")
    if finetune and descriptors:
        raise ConfigError("--finetune trains on graphs alone; leave out --descriptors, or --finetune")
    if out.exists() and not (out / "card.json").exists() and (out.is_file() or any(out.iterdir())):
        raise ConfigError(f"{out} holds something else than a property model; name another folder with --out")
    labelled = read_labelled(data, target, task, smiles_column)
    base = load_model(model, device)
    valid = inner_split(labelled.mols, labelled.y, labelled.task, seed)
    fitted = fit_model(
        base, labelled, valid, head=head, tune=finetune, use_descriptors=descriptors, seed=seed
    )
    fitted.card |= {
        "base": str(Path(model).resolve()) if Path(model).is_dir() else model,
        "rows": labelled.n_rows,
        "molecules": len(labelled.mols),
        "merged": labelled.n_merged,
        "rejected": len(labelled.rejected),
        "labels": dict(zip(labelled.targets, np.isfinite(labelled.y).sum(axis=0).tolist(), strict=True)),
        "split": "inner part: whole Bemis-Murcko scaffolds, 15 % of the molecules; used to choose, so its "
        "figures flatter a little",
        "command": command,
        "versions": {"acml-search": __version__, **versions("rdkit", "scikit-learn", "torch")},
    }
    save(fitted, out, labelled.rejected)
    return fitted.card


def fit_model(
    base: Model,
    data: LabelledMolecules,
    valid: Bools,
    *,
    head: str,
    tune: bool,
    use_descriptors: bool = False,
    seed: int,
) -> PropertyModel:
    """Fit on molecules that are not `valid` (n,), choose on the others; options as of `fit_file`."""
    train, judged = np.flatnonzero(~valid), np.flatnonzero(valid)
    mols, valid_mols = ([data.mols[i] for i in rows] for rows in (train, judged))
    y, valid_y = data.y[train], data.y[judged]
    classes = y[np.isfinite(y)] if data.task == "classification" else np.zeros(0)
    unbalanced = len(classes) > 0 and not 0.2 <= classes.mean() <= 0.8
    card = {"format": FORMAT, "kind": FINETUNED, "parts": part_names(base)}
    fitted = PropertyModel(base, FINETUNED, [], card)
    if tune:
        from acml_search.properties.finetune import finetune

        fitted.members = [
            finetune(base, mols, y, valid_mols, valid_y, data.task, seed + i, class_weight=unbalanced)
            for i in range(N_FINETUNED)
        ]
        scores = {FINETUNED: fitted.members[0].valid_score}
    else:
        if use_descriptors:
            fitted.descriptor_range = DescriptorRange.of(descriptors(mols))
        x, valid_x = fitted.features(mols), fitted.features(valid_mols)

        def fit(kind: str, rows: Any, seed: int) -> LinearHead:
            return fit_head(kind, data.task, x[rows], y[rows], valid_x, valid_y, seed, unbalanced)

        first = {kind: fit(kind, slice(None), seed) for kind in (KINDS if head == "auto" else (head,))}
        scores = {kind: member.valid_score for kind, member in first.items()}
        fitted.kind = max(scores, key=lambda kind: np.nan_to_num(scores[kind], nan=-np.inf))
        rng = np.random.default_rng(seed)
        resampled = [np.sort(rng.integers(0, len(train), len(train))) for _ in range(1, N_HEADS)]
        others = [fit(fitted.kind, rows, seed + i) for i, rows in enumerate(resampled, 1)]
        fitted.members = [first[fitted.kind], *others]
    each = fitted.predict_members(valid_mols)
    mean, spread = each.mean(axis=0), each.std(axis=0)
    factor = np.ones(y.shape[1])  # what makes the members' spread as large as their error
    if data.task == "regression":
        known = np.isfinite(valid_y)
        error, size = (
            np.sqrt((np.where(known, one, 0) ** 2).sum(axis=0)) for one in (mean - valid_y, spread)
        )
        factor = np.divide(error, size, out=factor, where=(size > 0) & (error > 0))
    fitted.card |= {
        "kind": fitted.kind,
        "descriptors": descriptor_names() if use_descriptors else None,
        "targets": data.targets,
        "task": data.task,
        "members": len(fitted.members),
        "model": base.card.name,
        "model_digest": base.card.digest,
        "n_train": len(train),
        "seed": seed,
        "uncertainty_factor": factor.tolist(),
        "inner": {
            "score": metrics.selection_score(data.task, valid_y, mean),
            "n": len(judged),
            "tried": scores,
            **_inner_metrics(data.task, valid_y, mean, spread * factor),
        },
    }
    return fitted


def _inner_metrics(task: str, y: Floats, predicted: Floats, uncertainty: Floats) -> dict[str, Any]:
    """Metrics of the inner part with 95 % bootstraps; None where too few resamples have both classes."""
    measured = ("auroc", "auprc") if task == "classification" else ("rmse", "mae", "r2", "spearman")
    draws = np.random.default_rng(0).integers(0, len(y), (RESAMPLES, len(y)))
    about: dict[str, Any] = {"ci95": {}}
    for name in measured:
        metric: metrics.Metric = getattr(metrics, name)
        about[name] = metric(y, predicted)
        resampled = np.array([metric(y[rows], predicted[rows]) for rows in draws])
        finite = resampled[np.isfinite(resampled)]
        enough = len(finite) >= RESAMPLES / 2
        about["ci95"][name] = np.percentile(finite, [2.5, 97.5]).tolist() if enough else None
    if task == "regression":
        about["error_follows_uncertainty"] = metrics.spearman(np.abs(y - predicted), uncertainty)
    return about


def save(model: PropertyModel, directory: Path, rejected: Sequence[Rejected] = ()) -> None:
    """Write the model's folder, and the rows not used, whole or not at all; an earlier model is replaced."""
    from safetensors.numpy import save_file

    with atomic(directory) as writing:
        for i, member in enumerate(model.members):
            folder = writing / "members" / str(i)
            folder.mkdir(parents=True)
            member.save(folder)
        if model.descriptor_range is not None:
            save_file(model.descriptor_range._asdict(), writing / _DESCRIPTORS)
        write_json(model.card, writing / "card.json")
        write_parquet(rejects_table(rejected), writing / "rejects.parquet")


def read_property_card(directory: Path) -> dict[str, Any]:
    """The card of a property model. Raises CheckpointError for a folder that holds none."""
    path = directory / "card.json"
    again = "fit one with `acml-search properties fit`"
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = _CARD_KEYS - set(card)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(path, f"this is no property model ({error}); {again}") from error
    if missing:
        raise CheckpointError(path, f"this is no property model (no {min(missing)!r}); {again}")
    if card["format"] not in range(1, FORMAT + 1):
        raise CheckpointError(
            path,
            f"this property model has format {card['format']}, and {FORMAT} is the newest that this version "
            "reads; update acml-search, or fit it again with `acml-search properties fit`",
        )
    return card


def load(directory: Path, base: Model) -> PropertyModel:
    """Read a saved model. Raises CheckpointError for no model, or one of another base."""
    card = read_property_card(directory)
    if card["model_digest"] != base.card.digest:
        raise CheckpointError(
            directory,
            f"it was fitted on {card['model']} with digest {card['model_digest'][:12]}, and "
            f"{base.card.name} here has {base.card.digest[:12]}; name the right one with --model, or fit "
            "again",
        )
    folders = [directory / "members" / str(i) for i in range(card["members"])]
    if card["kind"] == FINETUNED:
        from acml_search.properties.finetune import load_finetuned

        return PropertyModel(base, FINETUNED, [load_finetuned(one, base) for one in folders], card)
    ranges = _read_range(directory, card["descriptors"]) if card.get("descriptors") else None
    return PropertyModel(base, card["kind"], [load_head(one) for one in folders], card, ranges)


def _read_range(directory: Path, names: Sequence[str]) -> DescriptorRange:
    """The range of the descriptors `names`, which must be those of this RDKit."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = directory / _DESCRIPTORS
    if list(names) != descriptor_names():
        why = "it reads descriptors of another version of RDKit; fit it again with the one installed here"
        raise CheckpointError(directory, why)
    try:
        return DescriptorRange(**load_file(path))
    except (OSError, TypeError, SafetensorError) as error:
        raise CheckpointError(path, f"it cannot be read ({error}); fit the model again") from error


# Predictions for a library


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
