"""A shard: some rows of a library, embedded by one pure function of the rows and the job."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acml_search import modalities
from acml_search.core.errors import InvalidRecord
from acml_search.core.io import flush, sha256, write_vectors
from acml_search.index import parts
from acml_search.index.measured import Measured, read_measured
from acml_search.library.prepare import Accepted, Rejected, prepare
from acml_search.library.read import Row
from acml_search.library.store import (
    RECORD_ROW_GROUP,
    molecules_table,
    records_table,
    rejects_table,
    write_parquet,
)

if TYPE_CHECKING:
    from acml_search.encoders.model import Model
    from acml_search.modalities.base import Modality

CHUNK = 2_048  # molecules encoded at once: bounds a worker's memory, whatever the size of a shard
DONE = "done.json"
_NO_RECORD_COLUMNS: dict[str, pa.DataType] = {
    "key": pa.int64(),
    "modality": pa.string(),
    "reason": pa.string(),
}
NO_RECORD = pa.schema(_NO_RECORD_COLUMNS)

Vectors = npt.NDArray[np.float16]
Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ShardJob:
    """All that decides a shard besides its rows. `modalities`: the record sides to derive from structures;
    `measured`: those of the spectra that come with the rows.

    first_row is added to row numbers, for a library that is added to an index. metadata_types: of the whole
    library.
    """

    model: str
    modalities: tuple[str, ...]
    tautomer: bool = False
    first_row: int = 0
    metadata_types: Mapping[str, pa.DataType] = field(default_factory=dict)
    measured: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShardResult:
    """Tables of one shard, duplicates still in, but embedded once. `embeddings`: (space, side) -> keys (n,),
    vectors (n, d) float16; of measured records the keys are the records' own, the rows of `records`.
    """

    rows: int
    molecules: pa.Table
    rejects: pa.Table
    no_record: pa.Table
    embeddings: dict[tuple[str, str], tuple[Keys, Vectors]]
    records: dict[str, pa.Table] = field(default_factory=dict)


def embed_shard(rows: Sequence[Row], job: ShardJob, model: Model | None = None) -> ShardResult:
    """Standardise, describe and embed `rows`. The same rows and job give the same result, in any process.

    A row whose measured record cannot be used, and one for which the network gives no finite vector, is
    rejected; a record that cannot be derived is listed. Raises CheckpointError when the model cannot be
    loaded.
    """
    model = model or _model(job.model)
    prepared = prepare(rows, tautomer=job.tautomer)
    measured = read_measured(model, prepared.accepted, job.measured)
    # Of a molecule that comes again, as in a library of spectra, only the first will stay.
    first, of = _distinct([item.molecule.smiles for item in measured.accepted])
    graphs = _encode_graphs(model, [measured.accepted[place] for place in first])
    sound: npt.NDArray[np.bool_] = np.ones(len(first), bool)
    for vectors in graphs.values():
        sound &= np.isfinite(vectors).all(axis=1)
    finite = sound[of]
    rejected = prepared.rejected + measured.rejected
    rejected += [
        Rejected(item.row, item.molecule.smiles[:500], "the graph tower gives it no finite vector")
        for item, good in zip(measured.accepted, finite, strict=True)
        if not good
    ]
    rejected = [item._replace(row=item.row + job.first_row) for item in rejected]
    accepted = [
        _moved(item, job.first_row) for item, good in zip(measured.accepted, finite, strict=True) if good
    ]
    staying = [_moved(measured.accepted[place], job.first_row) for place in first[sound]]
    keys = np.array([item.row for item in staying], np.int64)
    embeddings = {(space, "graph"): (keys, vectors[sound]) for space, vectors in graphs.items()}
    records, of_records = _records(measured, finite, accepted, job)
    failed: list[tuple[int, str, str]] = []
    for name in job.modalities:
        made, vectors = _encode_records(model, name, staying, failed)
        embeddings[name, "records"] = (made, vectors)
    return ShardResult(
        rows=len(rows),
        molecules=molecules_table(accepted, job.metadata_types),
        rejects=rejects_table(sorted(rejected)),
        no_record=pa.Table.from_pylist(
            [dict(zip(NO_RECORD.names, item, strict=True)) for item in failed], schema=NO_RECORD
        ),
        embeddings={**embeddings, **of_records},
        records=records,
    )


def _distinct(smiles: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The places (u,) at which each of the texts comes first, ascending, and which of these (n,) each is."""
    number: dict[str, int] = {}
    of = np.array([number.setdefault(text, len(number)) for text in smiles], np.int64)
    return np.unique(of, return_index=True)[1].astype(np.int64), of


def _records(
    measured: Measured, finite: npt.NDArray[np.bool_], accepted: Sequence[Accepted], job: ShardJob
) -> tuple[dict[str, pa.Table], dict[tuple[str, str], tuple[Keys, Vectors]]]:
    """Table and vectors of the measured records, by modality, of those of its molecules that are `finite`;
    these are `accepted`.
    """
    tables, embeddings = {}, {}
    place = np.cumsum(finite) - 1  # of a molecule among the accepted
    for name, (at, vectors) in measured.vectors.items():
        mine = [accepted[i] for i in place[at[finite[at]]]]
        tables[name] = records_table(mine, job.metadata_types)
        keys = np.array([item.row for item in mine], np.int64)
        embeddings[name, "records"] = (keys, vectors[finite[at]])
    return tables, embeddings


def write_shard(result: ShardResult, folder: Path) -> None:
    """Write a shard's files and, last, its marker with counts and checksums; the folder appears whole or not
    at all.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write_parquet(result.molecules, temporary / "molecules.parquet")
    write_parquet(result.rejects, temporary / "rejects.parquet")
    write_parquet(result.no_record, temporary / "no_record.parquet")
    for name, table in sorted(result.records.items()):
        write_parquet(table, temporary / records_file(name), row_group_size=RECORD_ROW_GROUP)
    for (space, side), (keys, vectors) in sorted(result.embeddings.items()):
        write_vectors(parts.table(keys, vectors), temporary / f"{space}.{side}.parquet")
    marker = {
        "rows": result.rows,
        "molecules": result.molecules.num_rows,
        "rejected": result.rejects.num_rows,
        "files": {
            path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in sorted(temporary.iterdir())
        },
    }
    (temporary / DONE).write_text(json.dumps(marker, indent=1, sort_keys=True), encoding="utf-8")
    flush(temporary / DONE)
    flush(temporary)
    os.replace(temporary, folder)
    flush(folder.parent)


def records_file(modality: str) -> str:
    """Name of the table of measured records in a shard."""
    return f"records.{modality}.parquet"


def read_marker(folder: Path, *, check: bool = False) -> dict[str, Any] | None:
    """The marker of a finished shard; None when it is unfinished, or a file of it is missing or cut short.
    `check`: or has other contents than were written.
    """
    try:
        marker = json.loads((folder / DONE).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in marker["files"]}
    except (OSError, ValueError):
        return None
    if any(sizes[name] != entry["bytes"] for name, entry in marker["files"].items()):
        return None
    if check and any(sha256(folder / name) != entry["sha256"] for name, entry in marker["files"].items()):
        return None
    return dict(marker)


def _encode_graphs(model: Model, accepted: Sequence[Accepted]) -> dict[str, Vectors]:
    chunks: dict[str, list[Vectors]] = {
        name: [np.empty((0, space.d), np.float16)] for name, space in model.card.spaces.items()
    }
    for start in range(0, len(accepted), CHUNK):
        encoded = model.encode_molecules([item.mol for item in accepted[start : start + CHUNK]])
        for name, vectors in encoded.items():
            chunks[name].append(vectors.astype(np.float16))
    return {name: np.concatenate(vectors) for name, vectors in chunks.items()}


def _encode_records(
    model: Model, name: str, accepted: Sequence[Accepted], failed: list[tuple[int, str, str]]
) -> tuple[Keys, Vectors]:
    """Keys and vectors of the records made of `accepted`; what could not be made is appended to `failed`."""
    modality = modalities.get(name)
    keys: list[Keys] = [np.empty(0, np.int64)]
    found: list[Vectors] = [np.empty((0, model.card.spaces[name].d), np.float16)]
    for start in range(0, len(accepted), CHUNK):
        chunk = accepted[start : start + CHUNK]
        made, items, bad = _derive(modality, chunk)
        failed += [(row, name, reason) for row, reason in bad]
        if not made:
            continue
        vectors = model.encode_items(name, items).astype(np.float16)
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        failed += [
            (row, name, "its tower gives it no finite vector")
            for row, good in zip(made, finite, strict=True)
            if not good
        ]
        keys.append(np.array(made, np.int64)[finite])
        found.append(vectors[finite])
    return np.concatenate(keys), np.concatenate(found)


def _derive(
    modality: Modality, chunk: Sequence[Accepted]
) -> tuple[list[int], list[Any], list[tuple[int, str]]]:
    """Rows and records, as read, of the molecules of which one can be made; rows and reasons of the rest."""
    made: list[int] = []
    items: list[Any] = []
    bad: list[tuple[int, str]] = []
    for item in chunk:
        try:
            items.append(modality.read(modality.derive(item.molecule.smiles)))
            made.append(item.row)
        except InvalidRecord as error:
            bad.append((item.row, error.reason))
    return made, items, bad


def _moved(item: Accepted, by: int) -> Accepted:
    return item._replace(row=item.row + by)


@lru_cache(maxsize=1)
def _model(name: str) -> Model:
    """The model, loaded once per process, with one torch thread: processes share the cores, not threads."""
    import torch

    from acml_search.encoders.model import load_model

    torch.set_num_threads(1)
    return load_model(name)
