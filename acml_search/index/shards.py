"""A shard: some rows of a library, embedded by a pure function of the rows and the job, in a worker.

The shard is the unit of embedding, of resuming and of distribution: its folder appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from acml_search import modalities
from acml_search.chem.molecule import as_written
from acml_search.core.errors import AcmlSearchError, InvalidRecord
from acml_search.core.io import atomic, flush, sha256
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Float16s, Ints
from acml_search.core.workers import WorkerDied, Workers, chunks
from acml_search.index.directory import file_entry
from acml_search.index.embeddings import embedding_table, write_npy, write_vectors
from acml_search.library.source import Row
from acml_search.library.standardise import MAX_INPUT, Accepted, Rejected, prepare
from acml_search.library.stream import Library
from acml_search.library.tables import (
    RECORD_ROW_GROUP,
    molecules_table,
    records_table,
    rejects_table,
    write_parquet,
)
from acml_search.modalities.nmr import ShiftReranker
from acml_search.nmr.predicted import PeakLists, symmetry_classes

if TYPE_CHECKING:
    from acml_search.encoders.checkpoint import Model
    from acml_search.modalities import Modality

CHUNK = 2_048  # rows worked on at once: bounds the memory of a worker, whatever the size of a shard
RECORDS = 256  # records read at once; a picture may take a megabyte
DONE = "done.json"
PEAKS = "peaks."
"""before the name of a space: predicted peaks in a shard"""
NO_RECORD: pa.Schema = pa.schema(
    [("key", pa.int64()), ("modality", pa.string()), ("reason", pa.string())]  # type: ignore[arg-type]
)
Side = tuple[str, str]
"""(space, "graph" or "records")"""


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
    device: str = "cpu"
    spaces: tuple[str, ...] | None = None  # None: all of the model
    inchikey_column: str | None = None


@dataclass(frozen=True)
class ShardResult:
    """Tables of one shard, duplicates still in, but embedded once. `embeddings`: (space, side) -> keys (n,),
    vectors (n, d) float16; of measured records the keys are the records' own, the rows of `records`. `peaks`:
    what NMR spaces predict of the molecules that their graph side has.
    """

    rows: int
    molecules: pa.Table
    rejects: pa.Table
    no_record: pa.Table
    embeddings: dict[Side, tuple[Ints, Float16s]]
    records: dict[str, pa.Table] = field(default_factory=dict)
    peaks: dict[str, PeakLists] = field(default_factory=dict)


def embed_all(library: Library, workers: Workers, job: ShardJob, folder: Path, shard_size: int) -> list[Path]:
    """Make every shard of `library` that `folder` does not hold yet; the folders of all shards, in order.

    Raises AcmlSearchError when a worker dies or cannot work; what is finished stays, and is not made again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob(".*.tmp"):
        shutil.rmtree(unfinished)
    shards: list[Path] = []
    sent: deque[tuple[int, int]] = deque()
    bar = progress(total=library.total, desc="embedding", unit=" mol")

    def tasks() -> Iterator[tuple[list[Row], Path, ShardJob]]:
        read = 0
        for number, rows in enumerate(library.batches(shard_size)):
            shards.append(folder.resolve() / f"{number:06d}")
            read += len(rows)
            bar.total = library.expected(read)
            # A power cut can leave a file of the right size and of zeros.
            if read_marker(shards[-1], check=True) is not None:
                if not bar.disable:
                    bar.initial += len(rows)  # not counted into the rate
                bar.update(len(rows))
                continue
            shutil.rmtree(shards[-1], ignore_errors=True)
            sent.append((rows[0].row, rows[-1].row))
            yield rows, shards[-1], job

    try:
        with bar:
            for _ in workers.map(make_shard, tasks()):
                first, last = sent.popleft()
                bar.update(last - first + 1)
    except WorkerDied as error:
        raise AcmlSearchError(
            f"a worker died at rows {sent[0][0]:,} to {sent[0][1]:,} or in a shard after them (killed, or "
            "out of memory?); run the same command again to resume, with fewer --workers if memory is short"
        ) from error
    return shards


def make_shard(task: tuple[list[Row], Path, ShardJob]) -> None:
    """Make and write one shard: rows, folder, job."""
    rows, folder, job = task
    write_shard(embed_shard(rows, job), folder)


def embed_shard(rows: Sequence[Row], job: ShardJob) -> ShardResult:
    """Standardise, describe and embed `rows`. The same rows and job give the same result, in any process.

    A row whose measured record cannot be used, and one for which the network gives no finite vector, is
    rejected; a record that cannot be derived is listed. Raises CheckpointError when the model cannot be
    loaded.
    """
    known: dict[str, bool] = {}
    return _joined([_embed(some, job, known) for some in chunks(rows, CHUNK)])


def _joined(parts: Sequence[ShardResult]) -> ShardResult:
    def of(name: str) -> dict[Any, list[Any]]:
        """What the parts have under this name, by key."""
        return {key: [getattr(part, name)[key] for part in parts] for key in getattr(parts[0], name)}

    tables = {name: [getattr(part, name) for part in parts] for name in ("molecules", "rejects", "no_record")}
    return ShardResult(
        rows=sum(part.rows for part in parts),
        **{name: pa.concat_tables(several) for name, several in tables.items()},
        embeddings={
            side: (np.concatenate([keys for keys, _ in several]), np.concatenate([x for _, x in several]))
            for side, several in of("embeddings").items()
        },
        records={name: pa.concat_tables(several) for name, several in of("records").items()},
        peaks={name: PeakLists.join(several) for name, several in of("peaks").items()},
    )


def _embed(rows: Sequence[Row], job: ShardJob, known: dict[str, bool]) -> ShardResult:
    """`embed_shard` of some rows. known: the molecules of the shard so far, by SMILES, and whether the
    network gives them finite vectors; it grows."""
    model = _load(job.model, job.device)
    numbered = (row._replace(row=row.row + job.first_row) for row in rows)
    prepared = prepare(numbered, job.tautomer, job.inchikey_column)
    readable, rejected, measured = encode_measured(model, prepared.accepted, job.measured)
    # Of a molecule that comes again, as in a library of spectra, only the first will stay.
    new: dict[str, Accepted] = {}
    for item in readable:
        if item.molecule.smiles not in known:
            new.setdefault(item.molecule.smiles, item)
    graphs, peaks = _encode_graphs(model, list(new.values()), job.spaces)
    sound = np.ones(len(new), bool)
    for vectors in graphs.values():
        sound &= np.isfinite(vectors).all(axis=1)
    known.update(zip(new, sound.tolist(), strict=True))
    finite: Bools = np.array([known[item.molecule.smiles] for item in readable], bool)
    accepted = [item for item, good in zip(readable, finite, strict=True) if good]
    rejected += prepared.rejected
    rejected += [
        Rejected(item.row, item.molecule.smiles[:MAX_INPUT], "the graph tower gives it no finite vector")
        for item, good in zip(readable, finite, strict=True)
        if not good
    ]
    unique = [item for item, good in zip(new.values(), sound, strict=True) if good]
    embeddings = {(space, "graph"): (_keys(unique), vectors[sound]) for space, vectors in graphs.items()}
    failed: list[dict[str, Any]] = []
    for name in job.modalities:
        records_of = partial(_derived, modalities.get(name), unique)
        at, vectors, reasons = _encode_records(model, name, range(len(unique)), records_of)
        embeddings[name, "records"] = _keys(unique)[at], vectors
        failed += [
            {"key": unique[i].row, "modality": name, "reason": why or "its tower gives it no finite vector"}
            for i, why in reasons.items()
        ]
    records = {}
    place = np.cumsum(finite) - 1  # of a readable molecule among the accepted
    for name, (at, vectors) in measured.items():
        own = [accepted[i] for i in place[at[finite[at]]]]
        records[name] = records_table(name, own, job.metadata_types)
        embeddings[name, "records"] = (_keys(own), vectors[finite[at]])
    return ShardResult(
        rows=len(rows),
        molecules=molecules_table(accepted, job.metadata_types),
        rejects=rejects_table(sorted(rejected)),
        no_record=pa.Table.from_pylist(failed, schema=NO_RECORD),
        embeddings=embeddings,
        records=records,
        peaks={name: lists.take(np.flatnonzero(sound)) for name, lists in peaks.items()},
    )


def encode_measured(
    model: Model, accepted: Sequence[Accepted], names: Sequence[str]
) -> tuple[list[Accepted], list[Rejected], dict[str, tuple[Ints, Float16s]]]:
    """Read and encode the measured records of `accepted` that are of the modalities `names`.

    Returns the rows whose record, if there is one, can be used; the others, with the reason; and by modality
    the places (m,) of its records among the former, with their vectors (m, d).
    """
    observed = {i: item.observed for i, item in enumerate(accepted) if item.observed is not None}
    bad: dict[int, str] = {}
    encoded = {}
    for name in names:
        here = [i for i, one in observed.items() if one.modality == name]
        at, vectors, failed = _encode_records(model, name, here, lambda i: observed[i].record)
        encoded[name] = at, vectors
        for i, why in failed.items():
            bad[i] = (
                f"the {name} record cannot be used: {why}"
                if why
                else f"the {name} tower gives the record no finite vector"
            )
    usable = np.array([i not in bad for i in range(len(accepted))], bool)
    place = np.cumsum(usable) - 1
    rejected = [
        Rejected(
            accepted[i].row,
            f"{observed[i].file}#{observed[i].number} {accepted[i].molecule.smiles}"[:MAX_INPUT],
            why,
        )
        for i, why in sorted(bad.items())
    ]
    kept = [item for i, item in enumerate(accepted) if i not in bad]
    return kept, rejected, {name: (place[at], vectors) for name, (at, vectors) in encoded.items()}


def _derived(kind: Modality, accepted: Sequence[Accepted], place: int) -> Any:
    return kind.derive(accepted[place].molecule.smiles)


def _encode_records(
    model: Model, name: str, places: Iterable[int], record: Callable[[int], Any]
) -> tuple[Ints, Float16s, dict[int, str | None]]:
    """Read and encode the records of `places`.

    Returns the places (m,) of those that were encoded, their vectors (m, d), and the others with the reason;
    None: the vector is not finite.
    """
    read = modalities.get(name).read
    done: list[int] = []
    vectors = [np.empty((0, model.card.spaces[name].d), np.float16)]
    failed: dict[int, str | None] = {}
    for some in chunks(places, RECORDS):
        items: dict[int, Any] = {}
        for place in some:
            try:
                items[place] = read(record(place))
            except InvalidRecord as error:
                failed[place] = error.reason
        done += items
        vectors.append(model.encode_items(name, list(items.values())).astype(np.float16))
    at, found = np.array(done, np.int64), np.concatenate(vectors)
    finite = np.asarray(np.isfinite(found).all(axis=1))
    failed |= dict.fromkeys(at[~finite].tolist())
    return at[finite], found[finite], failed


def _encode_graphs(
    model: Model, accepted: Sequence[Accepted], spaces: Sequence[str] | None = None
) -> tuple[dict[str, Float16s], dict[str, PeakLists]]:
    """Graph vectors of `spaces` (None: all), and predicted peaks of those that keep them, in one pass."""
    names = [name for name in model.card.spaces if spaces is None or name in spaces]
    kept = {name: one for name, one in _kept_spaces(model).items() if name in names}
    # kept peaks are in the order of atoms, which are those of the SMILES when they are read again
    mols = [as_written(item.mol) for item in accepted]
    graphs = [model.featurise(mol) for mol in mols]
    encoded = model.encode_and_predict(graphs, names, tuple(kept))
    classes = [symmetry_classes(mol) for mol in mols] if kept else []
    peaks = {name: one.pack(classes, graphs, encoded.peaks[name]) for name, one in kept.items()}
    return {name: found.astype(np.float16) for name, found in encoded.vectors.items()}, peaks


def _kept_spaces(model: Model) -> dict[str, ShiftReranker]:
    """The spaces of a model whose predicted peaks are kept, and what packs them."""
    found = {}
    for name in model.spaces:
        reranker = modalities.get(name).reranker()
        if isinstance(reranker, ShiftReranker) and reranker.available(model):
            found[name] = reranker
    return found


def _keys(items: Sequence[Accepted]) -> Ints:
    return np.array([item.row for item in items], np.int64)


def write_shard(result: ShardResult, folder: Path) -> None:
    """Write a shard's files and, last, its marker with counts and checksums; the folder appears whole or not
    at all.
    """
    with atomic(folder) as temporary:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for name in ("molecules", "rejects", "no_record"):
            write_parquet(getattr(result, name), temporary / f"{name}.parquet")
        for name, table in sorted(result.records.items()):
            write_parquet(table, temporary / records_file(name), row_group_size=RECORD_ROW_GROUP)
        for (space, side), (keys, vectors) in sorted(result.embeddings.items()):
            write_vectors(embedding_table(keys, vectors), temporary / vectors_file(space, side))
        for space, lists in sorted(result.peaks.items()):
            write_peaks(temporary / f"{PEAKS}{space}", [(lists, None)])
        marker = {
            "rows": result.rows,
            "molecules": result.molecules.num_rows,
            "rejected": result.rejects.num_rows,
            "files": {path.name: file_entry(path) for path in sorted(temporary.iterdir())},
        }
        (temporary / DONE).write_text(json.dumps(marker, indent=1, sort_keys=True), encoding="utf-8")
        flush(temporary / DONE)


def write_peaks(path: Path, parts: Sequence[tuple[PeakLists, Ints | None]]) -> None:
    """Write the lists of all parts, or of a part those of the molecules at the given rows, at `path`
    (without ending); they need not fit into memory."""
    sizes = np.concatenate([lists.sizes if rows is None else lists.sizes[rows] for lists, rows in parts])
    path.parent.mkdir(parents=True, exist_ok=True)
    peaks = (lists.peaks if rows is None else lists.take(rows).peaks for lists, rows in parts)
    small = np.min_scalar_type(sizes.max(initial=0))
    arrays = {"": (parts[0][0].peaks.dtype, int(sizes.sum()), peaks), ".sizes": (small, len(sizes), [sizes])}
    for ending, (dtype, n, blocks) in arrays.items():
        file = Path(f"{path}{ending}.npy")
        write_npy(file, dtype, (n,), blocks)
        flush(file)


def records_file(modality: str) -> str:
    """Name of the table of measured records in a shard."""
    return f"records.{modality}.parquet"


def vectors_file(space: str, side: str) -> str:
    """Name of the vectors of a side in a shard."""
    return f"{space}.{side}.parquet"


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


@lru_cache(maxsize=1)
def _load(name: str, device: str) -> Model:
    """The model, loaded once per process, with one torch thread: processes share the cores, not threads."""
    import torch

    from acml_search.encoders.checkpoint import load_model

    torch.set_num_threads(1)
    return load_model(name, device)
