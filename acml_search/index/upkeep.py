"""`remove`, `compact` and `merge`: indexes after they were built. Nothing is embedded again.

Rows that go are listed in `removed/`, which everything that reads an index honours. To compact or merge, the
rows of indexes are copied to shards, as if these had just been embedded, of which a build makes an index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from acml_search.core.errors import ConfigError, SpaceMismatch
from acml_search.core.io import atomic, digest_of, remove_folder
from acml_search.core.progress import progress
from acml_search.core.typing import Ints
from acml_search.index.build import (
    COPYING,
    Build,
    BuildOptions,
    BuildReport,
    existing_at,
    locked,
    read_json,
    recover,
    written,
)
from acml_search.index.directory import (
    BUILD,
    FORMAT_VERSION,
    TOMBSTONES,
    IndexDirectory,
    Manifest,
    file_entry,
    read_checksummed,
    software_versions,
    write_manifest,
)
from acml_search.index.shards import NO_RECORD, ShardResult, write_shard
from acml_search.library.remote import local
from acml_search.library.tables import REJECTS, counted, read_parquet

_INCHIKEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")


@dataclass(frozen=True)
class RemoveReport:
    """molecules: how many were removed now; already: how many of those asked for had been before; unknown:
    keys and InChIKeys that the index does not hold."""

    index: Path
    molecules: int
    already: int
    unknown: list[str]
    manifest: Manifest

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `remove --json`."""
        return {
            "index": str(self.index),
            "removed_now": self.molecules,
            "already_removed": self.already,
            "unknown": self.unknown,
            **self.manifest.counts,
        }


def read_inchikeys(path: Path) -> list[str]:
    """The InChIKeys of a file, the first word of each line. Raises ConfigError naming a line without one."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        word = next(iter(line.split()), "")
        if word and not _INCHIKEY.fullmatch(word):
            raise ConfigError(f"{path}, line {number}: {word[:40]!r} is no InChIKey; give one a line")
        found += [word] if word else []
    return found


def remove(index: Path | str, keys: Iterable[int] = (), inchikeys: Iterable[str] = ()) -> RemoveReport:
    """Take molecules out of an index, with their records and duplicates; `compact` frees the space.

    The index changes at once or not at all; one that is open answers as before until it is opened again. A
    library that was added may be added again, and brings its removed molecules back.

    Raises IndexNotFound, IndexCorrupt, and ConfigError when nothing is known of what is asked for, when
    nothing would be left, and for an index of a format before 3.
    """
    with _changing(Path(index)) as there:
        manifest = there.manifest
        if manifest.format_version < FORMAT_VERSION:
            raise ConfigError(
                f"{index} is of index format {manifest.format_version}, which cannot say what was removed; "
                "run `acml-search compact` on it first"
            )
        asked, texts = np.unique(np.array(list(keys), np.int64)), list(dict.fromkeys(inchikeys))
        own = there.catalog.of_inchikeys(texts, removed=True)
        named = np.array([key for key, _ in own.values()], np.int64)
        wanted = np.union1d(asked, named)
        gone = np.intersect1d(there.keys, wanted)
        already = np.intersect1d(there.removed, wanted)
        known = np.union1d(gone, already)
        unknown = [*map(str, np.setdiff1d(asked, known).tolist()), *(one for one in texts if one not in own)]
        if not len(known):
            what = ", ".join(unknown[:5]) or "nothing named"
            raise ConfigError(f"{index} holds no molecule of what is to be removed: {what}")
        if len(gone) == len(there.keys):
            raise ConfigError(f"that would leave no molecule in {index}; remove the folder instead")
        if len(gone):
            with written(there.path):
                manifest = _write_removed(there, gone)
    return RemoveReport(Path(index), len(gone), len(already), unknown, manifest)


def _write_removed(there: IndexDirectory, gone: Ints) -> Manifest:
    """Write the removed rows, those of the molecules `gone` now among them, and then the manifest."""
    manifest, before = there.manifest, there.manifest.parts("removed")
    duplicates = read_parquet(there.path / "duplicates.parquet", ["source_row", "key"])
    rows = duplicates.column("source_row").to_numpy()[np.isin(duplicates.column("key").to_numpy(), gone)]
    removed = np.unique(np.concatenate([there.removed, gone, rows]))
    # A name of its own: whoever reads the manifest of before finds what that names.
    name = f"removed/{digest_of(removed.tolist())[:16]}.npy"
    with atomic(there.path / name) as temporary, temporary.open("wb") as file:
        np.save(file, removed)
    for old in (there.path / "removed").iterdir():
        if f"removed/{old.name}" not in (name, *before):
            old.unlink()
    spaces = {
        space: replace(info, sides={
            side: {**about, "n": about["n"] - int(np.isin(there.vectors(space, side).keys, removed).sum())}
            for side, about in info.sides.items()
        })
        for space, info in manifest.spaces.items()
    }  # fmt: skip
    counts, kept = manifest.counts, {one: manifest.files[one] for one in manifest.files if one not in before}
    manifest = replace(
        manifest,
        format_version=TOMBSTONES,
        added=[],
        spaces=spaces,
        files={**kept, name: file_entry(there.path / name)},
        counts={
            **counts,
            "molecules": counts["molecules"] - len(gone),
            "duplicates": counts["duplicates"] - len(np.setdiff1d(rows, there.removed)),
            "removed": counts.get("removed", 0) + len(removed) - len(there.removed),
        },
    )
    write_manifest(there.path, manifest)
    return manifest


def compact(index: Path | str) -> BuildReport:
    """Write an index anew without what was removed, and with the parts that one build would have made.

    Molecules keep their keys, vectors and predicted peaks, of which all else is made as a build makes it.
    Raises IndexNotFound and IndexCorrupt.
    """
    with _changing(Path(index)) as there:
        manifest = there.manifest
        parts = len(np.unique(there.keys // manifest.options["shard_size"]))
        fresh = manifest.format_version == FORMAT_VERSION
        if fresh and parts == len(there.files("molecules")):
            return _complete(there.path, manifest)
        return _Copy.of([there], there.path, manifest.job, manifest.added).run()


def merge(indexes: Sequence[Path | str], out: Path | str) -> BuildReport:
    """Put several indexes of one model into one at `out`.

    Of molecules with one InChIKey the first stays; records of all do. The first index keeps its keys, those
    of each other one go on after the rows of the one before. The options of the first one stay.

    Raises IndexNotFound, IndexCorrupt, SpaceMismatch, and ConfigError for indexes that do not fit together or
    another index at `out`.
    """
    out = local(out)
    if len(indexes) < 2 or out.resolve() in [Path(one).resolve() for one in indexes]:
        raise ConfigError("merge takes two indexes or more, and puts them into another folder, --out")
    with ExitStack() as stack:
        sources = [stack.enter_context(IndexDirectory(one)) for one in indexes]
        for one in sources[1:]:
            _check_alike(sources[0], one)
        job = digest_of({"kind": "merge", "of": [one.manifest.files for one in sources]})
        stack.enter_context(locked(out))
        found = existing_at(out)
        if found is not None and found.job != job:
            raise ConfigError(f"{out} holds another index; choose another --out, or remove it yourself")
        if found is not None:
            return _complete(out, found)
        return _Copy.of(sources, out, job, []).run()


def _complete(out: Path, found: Manifest) -> BuildReport:
    """The report where nothing was to do but to clear what an interrupted copy left."""
    work = out.with_name(f"{out.name}.building")
    if read_json(work / "job.json").get("job") == COPYING:
        remove_folder(work, last="job.json")
    return BuildReport(out, found, dict(read_checksummed(out / BUILD)["seconds"]), complete=True)


def _check_alike(first: IndexDirectory, other: IndexDirectory) -> None:
    """Raises SpaceMismatch or ConfigError unless two indexes can be one."""
    first.check_spaces({name: space.digest for name, space in other.spaces.items()})
    other.check_spaces({name: space.digest for name, space in first.spaces.items()})
    ours, theirs = first.manifest, other.manifest
    if ours.model["digest"] != theirs.model["digest"]:
        raise SpaceMismatch(next(iter(first.spaces)), ours.model["digest"], theirs.model["digest"])
    how = [
        (one.standardisation, one.options["tautomer"], [(s.d, s.configuration) for s in one.spaces.values()])
        for one in (ours, theirs)
    ]
    if how[0] != how[1]:
        raise ConfigError(
            f"{first.path} and {other.path} were not made alike (--tautomer, or versions of acml-search that "
            "standardise or embed differently); build one of them again"
        )
    derived = [
        {space for space in one.spaces if one.has_side(space, "records") and not one.is_measured(space)}
        for one in (first, other)
    ]
    for name in sorted(derived[0] ^ derived[1]):
        raise ConfigError(
            f"only one of {first.path} and {other.path} has records of {name} that were made from its "
            "structures; build one of them again with the --modalities of the other"
        )


class StoredLibrary:
    """Indexes as the library that a new one is made of; `first_rows`: of each of them in it."""

    def __init__(self, indexes: Sequence[IndexDirectory]) -> None:
        self.indexes = indexes
        rows = [one.manifest.counts["rows"] for one in indexes]
        self.first_rows = [sum(rows[:place]) for place in range(len(rows))]
        named = ((one, name) for one in indexes for name in one.manifest.measured)
        self.measured = sorted({name for one, name in named if len(one.vectors(name, "records").keys)})

    def describe(self) -> list[dict[str, object]]:
        return [source for one in self.indexes for source in one.manifest.library]

    def known(self) -> pa.Table:
        """The duplicates that the indexes know of."""
        tables = [
            _shifted(_living(index, "duplicates", "source_row"), first_row)
            for index, first_row in zip(self.indexes, self.first_rows, strict=True)
        ]
        return pa.concat_tables(tables)

    def shards(self, size: int) -> Iterator[ShardResult]:
        """The rows of one index after the other, `size` in a shard, as they were when they had just been
        embedded."""
        for index, first_row in zip(self.indexes, self.first_rows, strict=True):
            rejects = read_parquet(index.path / "rejects.parquet").cast(REJECTS)
            no_record = _living(index, "no_record", "key").cast(NO_RECORD)
            n = index.manifest.counts["rows"]
            for start in range(0, n, size):
                yield _shard(index, first_row, start, min(start + size, n), rejects, no_record)


def _shard(
    index: IndexDirectory, first_row: int, start: int, stop: int, rejects: pa.Table, no_record: pa.Table
) -> ShardResult:
    """The rows from `start` to `stop` of an index, their numbers raised by `first_row`."""
    embeddings, records = {}, {}
    keys = index.keys[slice(*np.searchsorted(index.keys, (start, stop)))]
    for space, info in index.spaces.items():
        for side in info.sides:
            vectors = index.vectors(space, side)
            at = np.arange(*np.searchsorted(vectors.keys, (start, stop)))
            own = np.asarray(vectors.keys)[at]
            embeddings[space, side] = own + first_row, vectors.stored(at).astype(np.float16)
            if index.is_measured(space, side):
                catalog = index.records(space)
                records[space] = _shifted(counted(catalog.rows(own, catalog.columns())), first_row)
    peaks = {space: lists for space in index.spaces if (lists := index.peaks(space)) is not None}
    return ShardResult(
        rows=stop - start,
        molecules=_shifted(counted(index.catalog.rows(keys, index.catalog.columns())), first_row),
        rejects=_within(rejects, "source_row", start, stop, first_row),
        no_record=_within(no_record, "key", start, stop, first_row),
        embeddings=embeddings,
        records=records,
        peaks={space: lists.take(index.places(keys)) for space, lists in peaks.items()},
    )


def _living(index: IndexDirectory, name: str, column: str) -> pa.Table:
    """A table of an index without rows that were removed."""
    table = read_parquet(index.path / f"{name}.parquet")
    return table.filter(pa.array(~np.isin(table.column(column).to_numpy(), index.removed)))


def _within(table: pa.Table, name: str, start: int, stop: int, first_row: int) -> pa.Table:
    numbers = table.column(name).to_numpy()
    return _shifted(table.filter(pa.array((numbers >= start) & (numbers < stop))), first_row)


def _shifted(table: pa.Table, first_row: int) -> pa.Table:
    """`table` with the numbers of its rows raised."""
    for name in {"key", "source_row", "molecule_key"}.intersection(table.column_names):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pc.add(table.column(name), first_row))
    return table


@dataclass
class _Copy(Build):
    """A build whose shards are copied from indexes."""

    library: StoredLibrary
    added: Sequence[str] = ()

    @classmethod
    def of(cls, sources: Sequence[IndexDirectory], out: Path, job: str, added: Sequence[str]) -> _Copy:
        first, library = sources[0].manifest, StoredLibrary(sources)
        sides = {(space, side) for space, info in first.spaces.items() for side in info.sides}
        sides -= {(space, "records") for one in sources for space in one.manifest.measured}
        options = BuildOptions(factory=first.options["factory"], shard_size=first.options["shard_size"])
        spaces = first.spaces
        build = cls("index", out, library, first.model, spaces, sorted(sides), options, job, COPYING)
        build.added = added
        return build

    def run(self) -> BuildReport:
        """Copy; the caller holds the lock."""
        self._read_state()
        return self._build()

    def _shards(self) -> list[Path]:
        folder, size = (self.work / "shards").resolve(), self.options.shard_size
        n = sum(-(-one.manifest.counts["rows"] // size) for one in self.library.indexes)
        shards: list[Path] = []
        with ExitStack() as stack:
            for one in self.library.indexes:
                stack.enter_context(one.unreplaced())
            for shard in progress(self.library.shards(size), total=n, desc="copying", unit=" shards"):
                shards.append(folder / f"{len(shards):06d}")
                write_shard(shard, shards[-1])
            self._known = self.library.known()
        return shards

    def _merging(self) -> dict[str, Any]:
        gone = sum(one.manifest.counts.get("removed", 0) for one in self.library.indexes)
        return {"typed": False, "known": self._known, "removed": gone}

    def _manifest(self, counts: dict[str, int], details: Any) -> Manifest:
        return replace(
            self.library.indexes[0].manifest,
            format_version=FORMAT_VERSION,
            job=self.digest,
            added=list(self.added),
            created_by=software_versions(),
            spaces=self._described(details),
            library=self.library.describe(),
            counts=counts,
        )


@contextmanager
def _changing(out: Path) -> Iterator[IndexDirectory]:
    """The index at `out`, which nobody else changes meanwhile. Raises IndexNotFound or IndexCorrupt."""
    if not out.parent.is_dir():
        IndexDirectory(out)  # says that there is none
    with locked(out):
        recover(out)
        with IndexDirectory(out) as there:
            yield there
