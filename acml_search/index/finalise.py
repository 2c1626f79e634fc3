"""From finished shards to a complete index, in a folder of its own that is only then put in place."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import AcmlSearchError, IndexCorrupt
from acml_search.core.io import place, write_atomic, write_vectors
from acml_search.core.progress import progress
from acml_search.index import parts
from acml_search.index.embed import NO_RECORD, read_marker
from acml_search.index.manifest import Manifest, file_entry
from acml_search.index.merge import column_types, conform, find_duplicates
from acml_search.index.records import merge_records
from acml_search.library.store import REJECTS, write_parquet

Sides = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Base:
    """The index that a library is added to."""

    directory: Path
    manifest: Manifest

    def files(self, folder: str) -> list[Path]:
        return [self.directory / name for name in self.manifest.parts(folder)]


@dataclass(frozen=True)
class Merged:
    """What `merge_shards` wrote: counts, and checksums of the files it knows already (relative path ->
    sha256).
    """

    counts: dict[str, int]
    checksums: dict[str, str]


def merge_shards(
    shards: Sequence[Path],
    sides: Sides,
    out: Path,
    scratch: Path,
    *,
    base: Base | None,
    typed: bool,
    measured: Sequence[str] = (),
    added: Sequence[str] = (),
) -> Merged:
    """Write molecules, embeddings, rejects and duplicates of all shards, after those of `base`, to `out`.

    typed: the user's text columns may become numbers (they came from text files). measured: modalities whose
    record side is of measured records; `added`: those of them that the shards have.
    Raises AcmlSearchError when not one molecule is left, naming the most frequent reasons, and when a
    modality is left without a record.
    """
    markers = [_marker(shard) for shard in shards]
    counts = {name: sum(marker[name] for marker in markers) for name in ("rows", "molecules", "rejected")}
    if base is None and counts["molecules"] == 0:
        raise _nothing_left(shards, counts["rows"], scratch)
    old = base.files("molecules") if base else []
    new = [
        shard / "molecules.parquet"
        for shard, marker in zip(shards, markers, strict=True)
        if marker["molecules"]
    ]
    known = base.directory / "duplicates.parquet" if base else None
    dropped = find_duplicates([*old, *new], known, scratch, out / "duplicates.parquet")
    schema = column_types([*old, *new], [False] * len(old) + [typed] * len(new), scratch)
    checksums: dict[str, str] = {}
    of_molecules = [(space, side) for space, side in sides if side == "graph" or space not in measured]
    number = _link_base(base, schema, of_molecules, out, checksums) if base else 0
    for shard, marker in zip(
        progress(shards, desc="removing duplicates", unit=" shards"), markers, strict=True
    ):
        if marker["molecules"]:
            number += _write_part(shard, marker, number, dropped, schema, of_molecules, out, checksums)
    for name, columns in (("rejects", REJECTS), ("no_record", NO_RECORD)):
        before = [base.directory / f"{name}.parquet"] if base else []
        _concatenate(
            [*before, *(shard / f"{name}.parquet" for shard in shards)],
            columns,
            dropped,
            out / f"{name}.parquet",
        )
    merge_records(
        [(shard, marker) for shard, marker in zip(shards, markers, strict=True) if marker["molecules"]],
        measured,
        added,
        (base.directory, base.manifest) if base else None,
        out,
        checksums,
    )
    return Merged(_counted(out, counts, base), checksums)


def _counted(out: Path, counts: Mapping[str, int], base: Base | None) -> dict[str, int]:
    """Counts from the files as written; every row read must be accounted for."""
    found = {
        "rows": counts["rows"] + (base.manifest.counts["rows"] if base else 0),
        "molecules": parts.count(sorted((out / "molecules").glob("*.parquet"))),
        **{name: parts.count([out / f"{file}.parquet"]) for name, file in _TABLES.items()},
    }
    if found["molecules"] + found["duplicates"] + found["rejected"] != found["rows"]:
        raise IndexCorrupt(
            out, f"rows were lost: {found}; please report this, and build again with --restart"
        )
    return found


_TABLES = {"rejected": "rejects", "duplicates": "duplicates", "no_record": "no_record"}


def _write_part(
    shard: Path,
    marker: Mapping[str, Any],
    number: int,
    dropped: npt.NDArray[np.int64],
    schema: pa.Schema,
    sides: Sides,
    out: Path,
    checksums: dict[str, str],
) -> int:
    """One shard without its duplicates; 1 if anything is left of it, else 0."""
    table = pq.read_table(shard / "molecules.parquet")
    keep = ~np.isin(table.column("key").to_numpy(), dropped)
    if not keep.any():
        return 0
    name = f"part-{number:05d}.parquet"
    write_parquet(conform(table.filter(pa.array(keep)), schema), out / "molecules" / name)
    for space, side in sides:
        staged, target = shard / f"{space}.{side}.parquet", f"embeddings/{space}/{side}/{name}"
        vectors = pq.read_table(staged)
        kept = ~np.isin(vectors.column("key").to_numpy(), dropped)
        if kept.all():
            place(staged, out / target)
            checksums[target] = marker["files"][staged.name]["sha256"]
        else:
            column = vectors.column("vector").combine_chunks()
            rows = parts.vectors_of(column)[kept]
            write_vectors(parts.table(vectors.column("key").to_numpy()[kept], rows), out / target)
    return 1


def _link_base(base: Base, schema: pa.Schema, sides: Sides, out: Path, checksums: dict[str, str]) -> int:
    """The parts of `base`, in the new schema; the number of the next part."""
    for path in base.files("molecules"):
        name = f"molecules/{path.name}"
        if pq.read_schema(path).equals(schema):
            place(path, out / name)
            checksums[name] = base.manifest.files[name]["sha256"]
        else:
            write_parquet(conform(pq.read_table(path), schema), out / name)
    for space, side in sides:
        for path in base.files(f"embeddings/{space}/{side}"):
            name = f"embeddings/{space}/{side}/{path.name}"
            place(path, out / name)
            checksums[name] = base.manifest.files[name]["sha256"]
    return 1 + max(int(path.stem.removeprefix("part-")) for path in base.files("molecules"))


def _concatenate(files: Sequence[Path], schema: pa.Schema, dropped: npt.NDArray[np.int64], out: Path) -> None:
    """Tables of rows, one after another, file by file; of duplicates nothing else is told."""

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for file in files:
                table = pq.read_table(file).cast(schema)
                if "key" in schema.names:
                    table = table.filter(pa.array(~np.isin(table.column("key").to_numpy(), dropped)))
                writer.write_table(table)

    write_atomic(out, write)


def _marker(shard: Path) -> dict[str, Any]:
    marker = read_marker(shard)
    if marker is None:
        raise IndexCorrupt(shard, "this shard is not complete; run the same command again to make it")
    return marker


def _nothing_left(shards: Sequence[Path], rows: int, scratch: Path) -> AcmlSearchError:
    """The error for a library without one usable molecule."""
    path = scratch.parent / "rejects.parquet"
    _concatenate([shard / "rejects.parquet" for shard in shards], REJECTS, np.empty(0, np.int64), path)
    reasons = Counter[str]()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["reason"]):
            reasons.update(str(reason) for reason in batch.column("reason").to_pylist())
    common = "; ".join(f"{reason} ({n:,} rows)" for reason, n in reasons.most_common(3))
    if not rows:
        return AcmlSearchError("the library has no rows, so there is nothing to index")
    return AcmlSearchError(f"none of the {rows:,} rows holds a usable molecule: {common}; see {path}")


def build_vectors(out: Path, sides: Sides, factory: str) -> dict[tuple[str, str], dict[str, Any]]:
    """A FAISS index of every side, from the embeddings in `out`; how each was made."""
    from acml_search.index.vectors import VectorIndex

    (out / "faiss").mkdir(exist_ok=True)
    details = {}
    for space, side in progress(list(sides), desc="indexing", unit=" sides"):
        other = out / "embeddings" / space / ("records" if side == "graph" else "graph")
        across = sorted(other.glob("*.parquet"))
        queries = parts.sample_rows(across, 256, seed=11) if across else None
        files = sorted((out / "embeddings" / space / side).glob("*.parquet"))
        made = VectorIndex.build(out / "faiss" / f"{space}.{side}", files, factory, queries)
        details[space, side] = asdict(made)
    return details


def list_files(out: Path, checksums: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every file in `out` with checksum and size, for the manifest."""
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return {
        name: file_entry(out / name, checksums.get(name))
        for name in progress(names, desc="checksums", unit=" files")
    }


def clear(path: Path) -> None:
    """An empty directory at `path`."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON document, or None when there is none or it is not whole."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
