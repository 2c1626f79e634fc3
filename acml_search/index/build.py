"""`build_index`, `embed_library` and `add_library`: resumable, atomic, repeatable.

A build works in a folder beside the index, which is filled shard by shard and renamed when complete. One
process at a time puts an index in the place of another, whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb
import pyarrow.compute as pc
import pyarrow.dataset as ds

from acml_search import modalities as known_modalities
from acml_search.chem.molecule import STANDARDISATION
from acml_search.core.errors import AcmlSearchError, ConfigError, IndexCorrupt, IndexNotFound, SpaceMismatch
from acml_search.core.io import atomic, canonical, digest_of, no_room, remove_folder
from acml_search.core.progress import progress
from acml_search.core.timing import Stopwatch
from acml_search.core.workers import Workers, check_engine
from acml_search.encoders.card import DEFAULT_MODEL, ModelCard, missing_space, read_card
from acml_search.index.directory import (
    BUILD,
    NAME,
    IndexDirectory,
    Manifest,
    SpaceInfo,
    file_entry,
    read_checksummed,
    read_manifest,
    software_versions,
    write_checksummed,
    write_manifest,
)
from acml_search.index.factory import build_vectors, make, resolve
from acml_search.index.merge import Merge
from acml_search.index.shards import ShardJob, Side, embed_all
from acml_search.library.remote import local
from acml_search.library.stream import Library, default_library, open_library
from acml_search.library.text import CUT_OFF

if TYPE_CHECKING:
    from acml_search.index.upkeep import StoredLibrary

VECTORS = 1
"""Version of what is embedded and how, in the digest by which a build knows its own shards and index."""
COPYING = "copying"
"""job of a work folder whose shards are copies of an index, and cheap"""
COUNTS = ("rows", "molecules", "rejected", "duplicates", "no_record")
Paths = Path | str | Iterable[Path | str] | None


@dataclass(frozen=True)
class BuildOptions:
    """The options of a build; the names are those of `build_index` and of the command line.

    Raises ConfigError for one that cannot be."""

    modalities: Sequence[str] = ()
    records: Sequence[str] | None = None
    spaces: Sequence[str] = ()
    model: Path | str = DEFAULT_MODEL
    factory: str = "none"
    workers: int | None = None
    shard_size: int = 10_000
    limit: int | None = None
    smiles_column: str | None = None
    inchikey_column: str | None = None
    tautomer: bool = False
    engine: str = "local"
    device: str = "auto"
    restart: bool = False

    def __post_init__(self) -> None:
        check_engine(self.engine)
        for name, value in (("workers", self.workers), ("shard_size", self.shard_size)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ConfigError(f"{name} is {value!r}; give a whole number")
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; give at least 1")

    def open(self, libraries: Paths, usual: Sequence[str] = ()) -> Library:
        """The library; usual: modalities of spectra where a file leaves that open."""
        library = open_library(
            default_library() if libraries is None else libraries,
            smiles_column=self.smiles_column,
            limit=self.limit,
            records=self.records,
            usual=usual,
        )
        self.inchikeys(library)
        return library

    def inchikeys(self, library: Library) -> dict[str, str]:
        """`inchikey_column`, if given, as the library calls it: `inchikey` is a name of our own."""
        if self.inchikey_column is None:
            return {}
        there = library.metadata_types
        for name in (self.inchikey_column, f"input_{self.inchikey_column}"):
            if name in there:
                return {"inchikey_column": name}
        names = ", ".join(there) or "none"
        raise ConfigError(f"the library has no column {self.inchikey_column!r}; its columns are {names}")


def build_index(
    libraries: Paths = None,
    out: Path | str = "indexes/default",
    *,
    modalities: Sequence[str] = ("smiles",),
    records: Sequence[str] | None = (),
    factory: str = "auto",
    **options: Any,
) -> BuildReport:
    """Embed a library and index it at `out`; None: the molecules that come with RDKit.

    The graph side of every space of the model is made, or of those in the option `spaces` alone, and the
    record side of those of them in `modalities`, derived from the structures. Spectra in the library make
    the record side of theirs, one vector each; `records` names that modality where a file leaves it open,
    and None leaves the spectra out. `factory` is auto (chosen by count), flat (exact) or any FAISS factory
    string. Further `options`, as in `BuildOptions`: `model`, `workers` (None: one per core), `shard_size`
    and `limit` in rows, `smiles_column`, `inchikey_column` (InChIKeys that need not be made; a sample is),
    `tautomer`, `engine`: local (processes of this machine) or ray (a cluster; `out` must be on a file system
    that its nodes share), `device`: auto, cpu, cuda or mps. The same call again resumes at the first missing
    shard, or does nothing when the index is complete. `restart` begins again; an index that is there stays
    until the new one is complete. Equal input gives equal bytes (all but `build.json`) on one device,
    whatever `workers` and however often interrupted.

    Raises ConfigError for wrong options or another input in the same folder, LibraryError,
    CheckpointError, and AcmlSearchError when no molecule is usable or a worker dies.
    """
    chosen = BuildOptions(modalities=modalities, records=records, factory=factory, **options)
    return _new("index", libraries, local(out), chosen).run()


def embed_library(libraries: Paths, out: Path | str, **options: Any) -> BuildReport:
    """Embed a library to Parquet files alone, in the layout of an index with the vectors in `embeddings/`
    instead of FAISS files; `options` as in `BuildOptions`. No record side is made, and spectra are left out
    unless `records` is given (empty where the files say of which modality they are).
    """
    return _new("embeddings", libraries, local(out), BuildOptions(**options)).run()


def add_library(
    index: Path | str,
    libraries: Path | str | Iterable[Path | str],
    *,
    records: Sequence[str] | None = (),
    model: Path | str | None = None,
    **options: Any,
) -> BuildReport:
    """Add the molecules of a library to an index, embedded as the index was.

    Row numbers, and so keys, go on after the last row of the index; molecules it holds already are
    duplicates. The index stays in use until the new one takes its place, and an interrupted call resumes.
    The same library twice adds nothing the second time. Spectra in the library go to the record side of their
    modality; `records` as in `build_index`, but where the file leaves it open, what the index holds decides.
    `model` says where the model is now; further `options` as in `BuildOptions`. An index of an earlier format
    becomes one of this format.

    Raises IndexNotFound, IndexCorrupt, SpaceMismatch for a model other than the index's, and what
    `build_index` raises.
    """
    if not Path(index).exists():
        with locked(Path(index)):
            recover(Path(index))
    existing = IndexDirectory(index)
    manifest = existing.manifest
    source = str(model) if model is not None else existing.model
    card = read_card(source)
    existing.check_spaces({name: space.digest for name, space in card.spaces.items()})
    sides = sorted((space, side) for space, info in existing.spaces.items() for side in info.sides)
    if card.digest != manifest.model["digest"]:
        raise SpaceMismatch(sides[0][0], manifest.model["digest"], card.digest)
    as_built = {name: manifest.options[name] for name in ("factory", "tautomer")}
    chosen = BuildOptions(records=records, model=source, **as_built, **options)
    library = chosen.open(libraries, usual=() if records else manifest.measured)
    job = {"format": VECTORS, "kind": "add", "library": library.digest(), "to": manifest.job}
    digest = digest_of(job | chosen.inchikeys(library))
    _check_measured(library, card, existing.spaces)
    described, spaces = _described_model(card, source), _described_spaces(card, existing.spaces)
    return Build(
        "index", Path(index), library, described, spaces, sides, chosen, digest, digest, existing
    ).run()


def _new(kind: str, libraries: Paths, out: Path, options: BuildOptions) -> Build:
    """A build from the beginning. Raises ConfigError or UnknownModality for what the model cannot make."""
    card, names = read_card(options.model), options.modalities
    if isinstance(names, str):
        raise ConfigError(f"modalities is a list of names; write [{names!r}]")
    for name in names:
        if not known_modalities.get(name).from_structure:
            raise ConfigError(
                f"records of {name} cannot be made from structures; leave it out of --modalities"
            )
        if name not in card.spaces:
            raise ConfigError(missing_space(card, name))
    for name in options.spaces:
        if name not in card.spaces:
            raise ConfigError(missing_space(card, name))
    spaces = _described_spaces(card, options.spaces or card.spaces)
    names = [name for name in names if name in spaces]
    if kind == "index":
        for space in spaces.values():
            # what FAISS refuses is refused before hours of embedding
            make(resolve(options.factory, 1, space.d)[0], space.d)
    library = options.open(libraries)
    _check_measured(library, card, spaces)
    embedding = {
        "format": VECTORS,
        "library": library.digest(),
        "model": card.digest,
        "modalities": sorted(set(names)),
        "tautomer": options.tautomer,
        **({"spaces": sorted(spaces)} if len(spaces) < len(card.spaces) else {}),
        **options.inchikeys(library),
    }
    # an index of before is another one, and so are its shards
    embedding |= {name: x for name in card.spaces if (x := card.configuration(name)) is not None}
    shipped = str(options.model) == card.name and not (Path(options.model) / "card.json").exists()
    return Build(
        kind=kind,
        out=out,
        library=library,
        model=_described_model(card, card.name if shipped else str(card.directory.resolve())),
        spaces=spaces,
        sides=[(name, "graph") for name in spaces] + [(name, "records") for name in set(names)],
        options=options,
        digest=digest_of({**embedding, "kind": kind, "factory": options.factory}),
        # without the factory: what FAISS refuses after hours of embedding must not cost the shards
        shard_digest=digest_of(embedding),
    )


def _check_measured(library: Library, card: ModelCard, spaces: Collection[str]) -> None:
    """Raises ConfigError for records in a library of which there is no space."""
    for name in library.measured:
        if name not in spaces:
            missing = "the index has no such space" if name in card.spaces else missing_space(card, name)
            raise ConfigError(
                f"the library holds {name} records: {missing}; --records none indexes its structures alone"
            )


def _described_model(card: ModelCard, source: str) -> dict[str, str]:
    restriction = {"restriction": card.restriction} if card.restriction else {}
    return {"name": card.name, "source": source, "digest": card.digest, **restriction}


def _described_spaces(card: ModelCard, names: Iterable[str]) -> dict[str, SpaceInfo]:
    """As the manifest describes them, still without sides."""
    spaces = {name: card.spaces[name] for name in names}
    return {
        name: SpaceInfo(one.digest, one.d, one.scale, {}, card.configuration(name))
        for name, one in spaces.items()
    }


@dataclass(frozen=True)
class BuildReport:
    """What an index holds, and whether it was complete already; seconds per stage of the run that made it.
    before: what it held before a library was added.
    """

    index: Path
    manifest: Manifest
    seconds: dict[str, float]
    complete: bool
    before: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `build-index --json`."""
        spaces = {}
        for name, space in self.manifest.spaces.items():
            graph, records = space.sides["graph"], space.sides.get("records", {})
            about = {key: graph.get(key) for key in ("factory", "reason", "bytes_per_vector")}
            spaces[name] = {"graph": graph["n"], "records": records.get("n", 0), **about}
        counts = {name: self.manifest.counts[name] for name in COUNTS}
        before = self.before
        added = {} if before is None else {"added": {name: counts[name] - before[name] for name in COUNTS}}
        removed = {name: n for name, n in self.manifest.counts.items() if name == "removed"}
        return {
            "index": str(self.index),
            **counts,
            **removed,
            **added,
            "spaces": spaces,
            "seconds": self.seconds,
            "already_complete": self.complete,
            "damaged": self.damaged(),
        }

    def damaged(self) -> list[str]:
        """A sentence for each library file that ends in damage, so that rows after it are missing."""
        path = self.index / "rejects.parquet"
        if not path.exists():
            return []
        found = ds.dataset(path).to_table(
            ["source_row", "reason"], filter=pc.match_substring(ds.field("reason"), CUT_OFF)
        )
        return [f"row {one['source_row']:,}: {one['reason']}" for one in found.to_pylist()]


@dataclass
class Build:
    """One build: what, of what, to where. The work goes on in a sibling of `out`, renamed when complete.

    kind: "index" or "embeddings". model: as the manifest describes it. spaces: those that are made, without
    their sides. sides: graph and derived records; those of measured records are added. digest: of all that
    decides the result; shard_digest: of all that decides the shards. existing: the index that a library is
    added to.
    """

    kind: str
    out: Path
    library: Library | StoredLibrary
    model: Mapping[str, str]
    spaces: Mapping[str, SpaceInfo]
    sides: list[Side]
    options: BuildOptions
    digest: str
    shard_digest: str
    existing: IndexDirectory | None = None

    def __post_init__(self) -> None:
        self.sides = sorted({*self.sides, *((name, "records") for name in self.library.measured)})
        if self.out.name in ("", ".."):  # the work goes on beside it, under its name
            raise ConfigError(f"the folder {str(self.out)!r} has no name; give it one, such as indexes/mine")
        self.work = self.out.with_name(f"{self.out.name}.building")

    @property
    def before(self) -> Manifest | None:
        """Of the index that is added to."""
        return self.existing.manifest if self.existing else None

    @property
    def first_row(self) -> int:
        """Number of the library's first row: after those of the index it is added to."""
        return self.before.counts["rows"] if self.before else 0

    @property
    def measured(self) -> list[str]:
        """Modalities whose records are measured ones: of the library, and of the index it is added to."""
        return sorted({*(self.before.measured if self.before else []), *self.library.measured})

    def run(self) -> BuildReport:
        """Resume or begin, unless all is done already. Raises ConfigError when another index is there."""
        with locked(self.out):
            found = existing_at(self.out, ignore_damage=self.options.restart)
            state = self._read_state()
            if found is not None and self.existing is not None:
                self.existing = IndexDirectory(self.out)  # again, now that nobody else can change it
                done = self.digest in found.added
            else:
                done = found is not None and found.job == self.digest and not state.get("replace")
            if (
                found is None
                or self.options.restart
                or (not done and (self.existing or state.get("replace")))
            ):
                return self._build()
            if not done:
                raise ConfigError(
                    f"{self.out} holds an index of another input, model or options; choose another --out, "
                    "or --restart to replace it"
                )
            remove_folder(self.work, last="job.json")
            seconds = dict(read_checksummed(self.out / BUILD)["seconds"])
            before = found.counts if self.existing else None
            return BuildReport(self.out, found, seconds, complete=True, before=before)

    def _read_state(self) -> dict[str, Any]:
        """The state of the work folder, or {} when there is none. Raises ConfigError when it is of another
        job, or something of the user's with its name.
        """
        names = [path.name for path in self.work.iterdir()] if self.work.is_dir() else []
        ours = "job.json" in names or all(name.startswith(".job.json.") for name in names)
        if self.work.exists() and not (self.work.is_dir() and ours):
            raise ConfigError(
                f"{self.work} is in the way: the index at {self.out} is made there; rename it, or choose "
                "another --out"
            )
        state = read_json(self.work / "job.json")
        if self.options.restart or state.get("job") == COPYING:  # which began with nothing embedded
            remove_folder(self.work, last="job.json")
            state = {}
        if not state:
            return {}
        if (state.get("job"), state.get("shard_size")) != (self.shard_digest, self.options.shard_size):
            raise ConfigError(
                f"{self.work} holds an unfinished build of another input or other options; repeat that "
                "command to finish it, or use --restart to throw it away"
            )
        if state.get("created_by") != software_versions():
            raise ConfigError(
                f"{self.work} was begun with other versions of the software; use --restart to begin again"
            )
        return state

    def _build(self) -> BuildReport:
        """`_make`. Raises AcmlSearchError where there is no room to write."""
        with written(self.work):
            return self._make()

    def _make(self) -> BuildReport:
        """Embed what is missing, merge, index, and put the result in place."""
        watch = Stopwatch()
        state = read_json(self.work / "job.json")
        if state and state.get("first_row") != self.first_row:
            # the index grew since: these shards have the numbers of other rows
            remove_folder(self.work, last="job.json")
        self._write_state()
        shards = self._shards()
        watch.lap("embed")
        new = self.work / "index"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        merge = Merge(
            shards,
            new,
            self.work / "scratch",
            existing=self.existing,
            measured=self.measured,
            added=self.library.measured,
            **self._merging(),
        )
        merge.run()
        counts = merge.counts
        watch.lap("merge")
        details = self._index(merge, new) if self.kind == "index" else merge.write_embeddings(self.sides)
        if self.kind == "index":
            merge.write_peaks(sorted(self.spaces))
        for name in self.measured:
            details[name, "records"]["measured"] = True
        watch.lap("index")
        files = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file())
        entries = {
            name: file_entry(new / name, merge.checksums.get(name))
            for name in progress(files, desc="checksums", unit=" files")
        }
        manifest = replace(self._manifest(counts, details), files=entries)
        watch.lap("checksums")
        seconds, now = watch.seconds(3), datetime.now(UTC).isoformat(timespec="seconds")
        write_checksummed(new / BUILD, {"created": now, "seconds": seconds})
        write_manifest(new, manifest)
        before = self.before.counts if self.before else None
        replace_index(new, self.out)
        remove_folder(self.work, last="job.json")
        return BuildReport(self.out, manifest, seconds, complete=False, before=before)

    def _shards(self) -> list[Path]:
        library = cast("Library", self.library)
        with Workers(self.options.workers, engine=self.options.engine, in_process=False) as workers:
            return embed_all(
                library, workers, self._shard_job(), self.work / "shards", self.options.shard_size
            )

    def _merging(self) -> dict[str, Any]:
        """Options of `Merge` that depend on where the shards come from."""
        library = cast("Library", self.library)
        return {"typed": not any(".parquet" in path.suffixes for path in library.paths)}

    def _write_state(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / "job.json"
        state = {
            "job": self.shard_digest,
            "shard_size": self.options.shard_size,
            "first_row": self.first_row,
            "created_by": software_versions(),
            "replace": self.out.exists(),
        }
        if not path.exists():
            with atomic(path) as temporary:
                temporary.write_text(canonical(state), encoding="utf-8")

    def _shard_job(self) -> ShardJob:
        library = cast("Library", self.library)
        derived = [name for name, side in self.sides if side == "records" and name not in self.measured]
        return ShardJob(
            model=self.model["source"],
            modalities=tuple(derived),
            tautomer=self.options.tautomer,
            first_row=self.first_row,
            metadata_types=library.metadata_types,
            measured=tuple(self.library.measured),
            device=self.options.device,
            spaces=tuple(self.spaces),
            **self.options.inchikeys(library),
        )

    def _index(self, merge: Merge, new: Path) -> dict[Side, dict[str, Any]]:
        """A FAISS index of every side; how each was made."""
        (new / "faiss").mkdir(exist_ok=True)
        details = {}
        for space, side in progress(self.sides, desc="indexing", unit=" sides"):
            other = (space, "records" if side == "graph" else "graph")
            queries = merge.embeddings(*other).sample(256, seed=11) if other in self.sides else None
            path = new / "faiss" / f"{space}.{side}"
            found = build_vectors(path, merge.embeddings(space, side), self.options.factory, queries)
            details[space, side] = asdict(found)
        return details

    def _described(self, details: Mapping[Side, dict[str, Any]]) -> dict[str, SpaceInfo]:
        """The spaces with their sides."""
        return {
            name: replace(space, sides={side: details[name, side] for s, side in self.sides if s == name})
            for name, space in sorted(self.spaces.items())
        }

    def _manifest(self, counts: dict[str, int], details: Mapping[Side, dict[str, Any]]) -> Manifest:
        options, before = self.options, self.before
        kept = {
            name: getattr(options, name)
            for name in ("factory", "tautomer", "shard_size", "limit", "smiles_column")
        }
        return Manifest(
            kind=self.kind,
            job=before.job if before else self.digest,
            added=[*before.added, self.digest] if before else [],
            created_by=software_versions(),
            standardisation=STANDARDISATION,
            options=before.options
            if before
            else {"modalities": sorted(self.spaces.keys() & options.modalities), **kept},
            model=dict(self.model),
            spaces=self._described(details),
            library=[*(before.library if before else []), *self.library.describe()],
            counts=counts,
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON document, or {} when there is none or it is not whole."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock the work folder of the index at `out`. The lock of a killed process is free again.

    Raises AcmlSearchError when another process builds the same index.
    """
    from filelock import FileLock, Timeout

    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f".{out.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AcmlSearchError(f"{out} is being built by another process; wait for it, or end it") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: filelock takes no lock on a file that was removed
        lock.release()


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Raises AcmlSearchError where there is no room for what the block writes to `folder`."""
    try:
        yield
    except (OSError, RuntimeError, duckdb.Error) as error:
        if (reason := no_room(error)) is None:
            raise
        raise AcmlSearchError(
            f"{folder} cannot be written: {reason}; make room and run the same command again, which goes on "
            "where this one stopped"
        ) from error


def existing_at(out: Path, ignore_damage: bool = False) -> Manifest | None:
    """The manifest of the index at `out`, if there is one.

    Raises ConfigError when something else is there: even a restart deletes nothing but an index.
    """
    recover(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / NAME).exists())):
        raise ConfigError(f"{out} exists and is no index; choose another --out, or remove it yourself")
    try:
        return read_manifest(out)
    except IndexNotFound:
        return None
    except IndexCorrupt:
        if ignore_damage:
            return None
        raise


def replace_index(new: Path, out: Path) -> None:
    """Rename `new` to `out`; what was there is moved aside first and removed last."""
    aside = _aside(out)
    if out.exists():
        os.replace(out, aside)
    os.replace(new, out)
    remove_folder(aside, last=NAME)


def recover(out: Path) -> None:
    """Finish or undo a replacement that was interrupted between its renames."""
    aside = _aside(out)
    if aside.exists() and not out.exists():
        os.replace(aside, out)
    remove_folder(aside, last=NAME)


def _aside(out: Path) -> Path:
    """Where the index at `out` goes while another takes its place. Raises ConfigError where something of the
    user's has that name.
    """
    aside = out.with_name(f"{out.name}.replaced")
    empty = aside.is_dir() and not any(aside.iterdir())
    if os.path.lexists(aside) and not (aside / NAME).is_file() and not empty:
        raise ConfigError(
            f"{aside} is in the way: the index at {out} is moved there while another replaces it; rename it, "
            "or choose another --out"
        )
    return aside
