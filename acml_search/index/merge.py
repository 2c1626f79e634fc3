"""From finished shards to one index: which molecules stay, in which columns, and where their vectors are.

Of molecules with one InChIKey the one with the smallest key stays; every measured record stays and leads to
it. Tables are written shard by shard. Vectors are not copied here: a side's `Embeddings` name the shards they
lie in, for `vectors.py` to index, or for `write_embeddings` where no search index is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from glob import escape  # DuckDB takes * ? [ in a path for a pattern
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from acml_search.core.errors import AcmlSearchError, IndexCorrupt
from acml_search.core.io import atomic, link_or_copy
from acml_search.core.progress import progress
from acml_search.core.typing import Ints
from acml_search.index.directory import IndexDirectory, open_peaks
from acml_search.index.embeddings import Embeddings, count_rows, write_vectors
from acml_search.index.shards import (
    NO_RECORD,
    PEAKS,
    Side,
    read_marker,
    records_file,
    vectors_file,
    write_peaks,
)
from acml_search.library.tables import (
    MOLECULES,
    RECORD_ROW_GROUP,
    REJECTS,
    column_of,
    counted,
    read_parquet,
    reading,
    records_schema,
    write_parquet,
)
from acml_search.nmr.predicted import PeakLists

DUPLICATES: pa.Schema = pa.schema(
    [  # type: ignore[arg-type]
        ("source_row", pa.int64()),
        ("key", pa.int64()),
        ("smiles", pa.string()),
        ("inchikey", pa.string()),
    ]
)
_NO_ROWS = np.empty(0, np.int64)
MEMORY = "400MB"  # of DuckDB; more spills to disk
# Leading zeros make an identifier, not a number; more than 18 digits do not fit an int64.
WHOLE = r"-?(0|[1-9][0-9]{0,17})"
NUMBER = r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_FIND_DUPLICATES = """
    WITH molecules AS (
        SELECT key, smiles, inchikey FROM read_parquet($files) WHERE key NOT IN (SELECT key FROM removed)
    ),
    first AS (SELECT inchikey, min(key) AS key FROM molecules GROUP BY inchikey HAVING count(*) > 1),
    found AS MATERIALIZED (
        SELECT molecules.key AS source_row, first.key AS key, smiles, inchikey
        FROM molecules JOIN first USING (inchikey) WHERE molecules.key <> first.key
    )
    SELECT * FROM found
    UNION ALL
    SELECT known.source_row, coalesce(found.key, known.key), known.smiles, known.inchikey
    FROM known LEFT JOIN found ON known.key = found.source_row
    WHERE known.source_row NOT IN (SELECT key FROM removed)
    ORDER BY source_row
"""


class Merge:
    """All shards of a build, and the index they are added to, as one index in the folder `out`.

    typed: the user's text columns may become numbers (they come from text files). measured: modalities whose
    record side is of measured records; added: those of them that the shards have records of. known:
    duplicates that the shards have no molecules of, and removed: rows that they have not at all, where they
    come from indexes. After `run`: `counts`, and `checksums` of files that are known already (relative
    path -> sha256).
    """

    def __init__(
        self,
        shards: Sequence[Path],
        out: Path,
        scratch: Path,
        *,
        existing: IndexDirectory | None = None,
        typed: bool = True,
        measured: Sequence[str] = (),
        added: Sequence[str] = (),
        known: pa.Table | None = None,
        removed: int = 0,
    ) -> None:
        self._markers = {shard: _marker(shard) for shard in shards}
        self._shards = [one for one, marker in self._markers.items() if marker["rows"] > marker["rejected"]]
        self._out, self._scratch, self._existing = out, scratch, existing
        self._typed, self._measured, self._added = typed, measured, added
        self._known, self._removed = known, removed
        self._gone = _NO_ROWS
        if existing is not None:
            self._known = read_parquet(existing.path / "duplicates.parquet")
            self._removed, self._gone = existing.manifest.counts.get("removed", 0), existing.removed
        self._kept_shards: list[Path] = []
        self.checksums: dict[str, str] = {}

    def run(self) -> None:
        """Write molecules, measured records, duplicates and rejects.

        Raises AcmlSearchError when not one molecule is left, naming the most frequent reasons, and when a
        modality is left without a record.
        """
        if self._existing is None and not self._shards:
            raise self._nothing_left()
        files = self._molecule_files()
        casts = [False] * (len(files) - len(self._shards)) + [self._typed] * len(self._shards)
        self._schema = column_types(files, casts, self._scratch)
        self._dropped: Ints = find_duplicates(
            files,
            self._known,
            self._scratch,
            self._out / "duplicates.parquet",
            self._gone,
        )
        left_out = np.union1d(self._dropped, self._gone)
        self._write_molecules()
        for name, schema in (("rejects", REJECTS), ("no_record", NO_RECORD)):
            files = [self._existing.path / f"{name}.parquet"] if self._existing else []
            files += [shard / f"{name}.parquet" for shard in self._markers]
            _concatenate(files, schema, left_out, self._out / f"{name}.parquet")
        for name in self._measured:
            self._write_records(name)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Counts from the files as written. Raises IndexCorrupt unless every row is accounted for."""
        existing = self._existing.manifest.counts["rows"] if self._existing else 0
        counts = {
            "rows": existing + sum(marker["rows"] for marker in self._markers.values()),
            "molecules": count_rows(sorted((self._out / "molecules").glob("*.parquet"))),
            "rejected": count_rows([self._out / "rejects.parquet"]),
            "duplicates": count_rows([self._out / "duplicates.parquet"]),
            "no_record": count_rows([self._out / "no_record.parquet"]),
            **({"removed": self._removed} if self._removed else {}),
        }
        if not all_counted(counts):
            remedy = "please report this, and build again with --restart"
            raise IndexCorrupt(self._out, f"rows were lost: {counts}", remedy)
        return counts

    def embeddings(self, space: str, side: str) -> Embeddings:
        """All vectors of one side."""
        existing, measured = self._existing, side == "records" and space in self._measured
        name = vectors_file(space, side)
        shards = self._having(name) if measured else self._kept_shards
        if measured and space not in self._added:
            shards = []
        return Embeddings(
            [shard / name for shard in shards],
            None if measured else self._dropped,
            existing.vectors(space, side) if existing and existing.has_side(space, side) else None,
        )

    def write_peaks(self, spaces: Iterable[str]) -> None:
        """Write the predicted peaks of the spaces that keep them: of all that are in the shards, or where a
        library is added to an index that keeps them."""
        for space in spaces:
            before = self._existing.peaks(space) if self._existing else None
            shards = [f"{PEAKS}{space}.npy" in self._markers[shard]["files"] for shard in self._kept_shards]
            if not all(shards) or (self._existing and before is None):
                continue
            parts: list[tuple[PeakLists, Ints | None]] = []
            if self._existing and before is not None:
                some = self._existing.places(self._existing.keys) if len(self._gone) else None
                parts.append((before, some))
            for shard in self._kept_shards:
                kept = ~np.isin(column_of([shard / vectors_file(space, "graph")], "key"), self._dropped)
                parts.append((open_peaks(shard / f"{PEAKS}{space}"), np.flatnonzero(kept)))
            write_peaks(self._out / "peaks" / space, parts)

    def write_embeddings(self, sides: Sequence[Side]) -> dict[Side, dict[str, Any]]:
        """Write the vectors as Parquet parts, one a shard; how many each side has."""
        counts = {}
        for space, side in sides:
            measured = side == "records" and space in self._measured
            n = number = 0
            for shard in self._shards if measured else self._kept_shards:
                staged = shard / vectors_file(space, side)
                table = read_parquet(staged)
                keys = table.column("key").to_numpy()
                kept = np.ones(len(keys), bool) if measured else ~np.isin(keys, self._dropped)
                if measured and not kept.any():
                    continue
                target = f"embeddings/{space}/{side}/part-{number:05d}.parquet"
                if kept.all():
                    self._link(staged, target, self._markers[shard]["files"][staged.name]["sha256"])
                else:
                    write_vectors(table.filter(pa.array(kept)), self._out / target)
                n, number = n + int(kept.sum()), number + 1
            counts[space, side] = {"n": n}
        return counts

    def _having(self, file: str) -> list[Path]:
        """The shards with this file."""
        return [shard for shard in self._shards if file in self._markers[shard]["files"]]

    def _molecule_files(self) -> list[Path]:
        existing = self._existing.files("molecules") if self._existing else []
        return [*existing, *(shard / "molecules.parquet" for shard in self._shards)]

    def _write_molecules(self) -> None:
        files = self._existing.files("molecules") if self._existing else []
        for file in files:
            self._conform(file, f"molecules/{file.name}", self._schema)
        number = 1 + max((int(file.stem.removeprefix("part-")) for file in files), default=-1)
        for shard in progress(self._shards, desc="removing duplicates", unit=" shards"):
            table = read_parquet(shard / "molecules.parquet")
            kept = ~np.isin(table.column("key").to_numpy(), self._dropped)
            if kept.any():
                table = conform(table.filter(pa.array(kept)), self._schema)
                write_parquet(table, self._out / "molecules" / f"part-{number:05d}.parquet")
                self._kept_shards.append(shard)
                number += 1

    def _write_records(self, name: str) -> None:
        """The table of measured records of one modality, each led to the molecule that stays."""
        duplicates = read_parquet(self._out / "duplicates.parquet", ["source_row", "key"])
        rows = duplicates.column("source_row").to_numpy()
        order = np.argsort(rows, kind="stable")
        rows, keys = rows[order], duplicates.column("key").to_numpy()[order]
        own = [self._schema.field(i) for i in range(len(MOLECULES), len(self._schema))]
        schema = pa.schema([*records_schema(name), *own])
        files = self._existing.files(f"records/{name}") if self._existing else []
        for file in files:
            self._conform(file, f"records/{name}/{file.name}", schema, RECORD_ROW_GROUP)
        number = len(files)
        shards = self._having(records_file(name)) if name in self._added else []
        for shard in progress(shards, desc=f"records of {name}", unit=" shards"):
            table = read_parquet(shard / records_file(name))
            if not table.num_rows:
                continue
            molecule = table.column("key").to_numpy()
            if len(rows):
                at = np.minimum(np.searchsorted(rows, molecule), len(rows) - 1)
                molecule = np.where(rows[at] == molecule, keys[at], molecule)
            column = table.schema.get_field_index("molecule_key")
            led = table.set_column(column, schema.field("molecule_key"), pa.array(molecule, pa.int64()))
            path = self._out / "records" / name / f"part-{number:05d}.parquet"
            write_parquet(conform(led, schema), path, row_group_size=RECORD_ROW_GROUP)
            number += 1
        if number == 0:
            raise AcmlSearchError(
                f"none of the {name} records in the library could be used; "
                f"{self._out / 'rejects.parquet'} says of each why"
            )

    def _conform(self, file: Path, target: str, schema: pa.Schema, row_group_size: int | None = None) -> None:
        """A table of the existing index in the columns of `schema`: linked where it has them already."""
        assert self._existing is not None
        kept = ~np.isin(column_of([file], "key"), self._gone) if len(self._gone) else np.ones(0, bool)
        if kept.all() and pq.read_schema(file).equals(schema):
            self._link(file, target, self._existing.manifest.files[target]["sha256"])
        else:
            size = {} if row_group_size is None else {"row_group_size": row_group_size}
            table = read_parquet(file)
            table = table if kept.all() else table.filter(pa.array(kept))
            write_parquet(conform(counted(table), schema), self._out / target, **size)

    def _link(self, file: Path, target: str, checksum: str) -> None:
        link_or_copy(file, self._out / target)
        self.checksums[target] = checksum

    def _nothing_left(self) -> AcmlSearchError:
        """The error for a library without one usable molecule."""
        rows = sum(marker["rows"] for marker in self._markers.values())
        if not rows:
            return AcmlSearchError("the library has no rows, so there is nothing to index")
        path = self._scratch.parent / "rejects.parquet"
        rejects = [shard / "rejects.parquet" for shard in self._markers]
        _concatenate(rejects, REJECTS, np.empty(0, np.int64), path)
        reasons = Counter[str]()
        with reading(path) as file:
            for batch in file.iter_batches(columns=["reason"]):
                reasons.update(str(reason) for reason in batch.column("reason").to_pylist())
        common = "; ".join(f"{reason} ({n:,} rows)" for reason, n in reasons.most_common(3))
        return AcmlSearchError(f"none of the {rows:,} rows holds a usable molecule: {common}; see {path}")


def all_counted(counts: Mapping[str, int]) -> bool:
    """Is every row a molecule, a duplicate, rejected or removed?"""
    kinds = ("molecules", "duplicates", "rejected", "removed")
    return sum(counts.get(kind, 0) for kind in kinds) == counts["rows"]


def find_duplicates(
    molecules: Sequence[Path],
    known: pa.Table | None,
    scratch: Path,
    out: Path,
    removed: Ints = _NO_ROWS,
) -> Ints:
    """Write the duplicates among `molecules` (Parquet files with key, smiles, inchikey) to `out`; their rows,
    ascending.

    `known`: duplicates found earlier, which follow where their molecule is now one itself. `removed`: rows
    that are left out. DuckDB groups within a fixed memory and spills to `scratch`.
    """
    rows: list[Ints] = [np.empty(0, np.int64)]
    with (
        _database(scratch) as db,
        atomic(out) as path,
        pq.ParquetWriter(path, DUPLICATES, compression="zstd") as writer,
    ):
        db.register("known", DUPLICATES.empty_table() if known is None else known.cast(DUPLICATES))
        db.register("removed", pa.table({"key": removed}))
        found = db.execute(_FIND_DUPLICATES, {"files": [escape(str(file)) for file in molecules]})
        while batch := found.fetchmany(100_000):
            columns = map(list, zip(*batch, strict=True))
            table = pa.table(dict(zip(DUPLICATES.names, columns, strict=True)), schema=DUPLICATES)
            writer.write_table(table)
            rows.append(table.column("source_row").to_numpy())
    return np.concatenate(rows)


def column_types(molecules: Sequence[Path], may_cast: Sequence[bool], scratch: Path) -> pa.Schema:
    """The schema of the molecules table over all files: our columns, then the user's in order of first
    appearance.

    A column of text from a text file (`may_cast`) becomes int64 or float64 when every value is such a number,
    an empty one counting as absent. Files that disagree meet in the wider type, in the end as text.
    """
    types: dict[str, set[pa.DataType]] = {}
    texts: dict[str, list[Path]] = {}
    fixed: set[str] = set()
    for path, cast in zip(molecules, may_cast, strict=True):
        with reading(path) as file:
            schema = file.schema_arrow
        for field in schema:
            if field.name in MOLECULES.names:
                continue
            seen = types.setdefault(field.name, set())
            if not pa.types.is_string(field.type):
                seen.add(field.type)
            elif cast:
                texts.setdefault(field.name, []).append(path)
            else:
                fixed.add(field.name)
    with _database(scratch) as db:
        for name, paths in texts.items():
            if name not in fixed:
                types[name].add(_number_type(db, name, paths))
    own = [pa.field(name, pa.string() if name in fixed else _widest(seen)) for name, seen in types.items()]
    return pa.schema([*MOLECULES, *own])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` in the columns and types of `schema`; absent columns are null, empty text is null where numbers
    are.
    """
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if pa.types.is_string(column.type) and not pa.types.is_string(field.type):
            column = pc.if_else(pc.equal(column, pa.scalar("")), pa.scalar(None, pa.string()), column)
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _number_type(db: duckdb.DuckDBPyConnection, name: str, paths: Sequence[Path]) -> pa.DataType:
    quoted = '"' + name.replace('"', '""') + '"'
    row = db.execute(
        f"""
        SELECT count(*), bool_and(regexp_full_match({quoted}, $whole)),
            bool_and(regexp_full_match({quoted}, $number))
        FROM read_parquet($files) WHERE {quoted} <> ''
        """,
        {"whole": WHOLE, "number": NUMBER, "files": [escape(str(path)) for path in paths]},
    ).fetchone()
    assert row is not None
    values, whole, number = row
    if values == 0:
        return pa.string()
    return pa.int64() if whole else pa.float64() if number else pa.string()


def _widest(types: set[pa.DataType]) -> pa.DataType:
    """One type that holds them all; text when there is no other."""
    if len(types) == 1:
        return types.copy().pop()
    try:
        merged = pa.unify_schemas(
            [pa.schema([("x", kind)]) for kind in sorted(types, key=str)], promote_options="permissive"
        )
    except pa.ArrowTypeError:
        return pa.string()
    return merged.field("x").type


@contextmanager
def _database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    scratch.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "memory_limit": MEMORY,
        "temp_directory": str(scratch),
        "threads": 2,
        "preserve_insertion_order": False,
    }
    with duckdb.connect(":memory:", config=settings) as db:
        yield db


def _concatenate(files: Sequence[Path], schema: pa.Schema, dropped: Ints, out: Path) -> None:
    """Tables one after another, file by file; rows whose key is `dropped` are left out."""
    with atomic(out) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for file in files:
            table = read_parquet(file).cast(schema)
            if "key" in schema.names:
                table = table.filter(pa.array(~np.isin(table.column("key").to_numpy(), dropped)))
            writer.write_table(table)


def _marker(shard: Path) -> Mapping[str, Any]:
    marker = read_marker(shard)
    if marker is None:
        raise IndexCorrupt(shard, "this shard is not complete", "run the same command again to make it")
    return marker
