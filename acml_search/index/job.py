"""One build at work: a folder beside the index, filled shard by shard, renamed when complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from acml_search.chem.molecule import STANDARDISATION
from acml_search.core.errors import ConfigError
from acml_search.core.io import canonical, remove_folder, write_atomic
from acml_search.core.progress import progress
from acml_search.core.timing import Stopwatch
from acml_search.core.workers import Workers, check_engine
from acml_search.encoders.card import ModelCard
from acml_search.index.directory import (
    BUILD,
    Manifest,
    SpaceInfo,
    file_entry,
    read_checksummed,
    software_versions,
    write_checksummed,
    write_manifest,
)
from acml_search.index.factory import build_vectors
from acml_search.index.merge import ExistingIndex, Merge
from acml_search.index.replace import existing_at, locked, replace_index
from acml_search.index.shards import ShardJob, Side, embed_all
from acml_search.library.stream import Library
from acml_search.library.text import CUT_OFF

COUNTS = ("rows", "molecules", "rejected", "duplicates", "no_record")


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
            spaces[name] = {
                "graph": graph["n"],
                "records": records.get("n", 0),
                "factory": graph.get("factory"),
                "reason": graph.get("reason"),
                "bytes_per_vector": graph.get("bytes_per_vector"),
            }
        counts = {name: self.manifest.counts[name] for name in COUNTS}
        before = self.before
        added = {} if before is None else {"added": {name: counts[name] - before[name] for name in COUNTS}}
        return {
            "index": str(self.index),
            **counts,
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
class BuildJob:
    """One build: what, of what, to where. The work goes on in a sibling of `out`, renamed when complete.

    kind: "index" or "embeddings". source: name or folder of the model. sides: graph, derived records and
    measured records. options: those that the manifest keeps. digest: of all that decides the result;
    shard_digest: of all that decides the shards, the result's without the factory.
    """

    kind: str
    out: Path
    library: Library
    card: ModelCard
    source: str
    sides: list[Side]
    options: dict[str, Any]
    digest: str
    shard_digest: str
    workers: int | None = None
    restart: bool = False
    engine: str = "local"
    device: str = "cpu"
    existing: ExistingIndex | None = None

    def __post_init__(self) -> None:
        check_engine(self.engine)
        if self.out.name in ("", ".."):  # the work goes on beside it, under its name
            raise ConfigError(f"the folder {str(self.out)!r} has no name; give it one, such as indexes/mine")
        for name, value in (("workers", self.workers), ("shard_size", self.shard_size)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ConfigError(f"{name} is {value!r}; give a whole number")
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; give at least 1")
        self.work = self.out.with_name(f"{self.out.name}.building")

    @property
    def shard_size(self) -> Any:
        return self.options["shard_size"]

    @property
    def first_row(self) -> int:
        """Number of the library's first row: after those of the index it is added to."""
        return self.existing.manifest.counts["rows"] if self.existing else 0

    @property
    def measured(self) -> list[str]:
        """Modalities whose records are measured ones: of the library, and of the index it is added to."""
        before = self.existing.manifest.measured if self.existing else []
        return sorted({*before, *self.library.measured})

    def run(self) -> BuildReport:
        """Resume or begin, unless all is done already. Raises ConfigError when another index is there."""
        with locked(self.out):
            found = existing_at(self.out, ignore_damage=self.restart)
            state = self._read_state()
            if found is not None and self.existing is not None:
                # read again, now that nobody else can change it
                self.existing = ExistingIndex(self.out, found)
                done = self.digest in found.added
            else:
                done = found is not None and found.job == self.digest and not state.get("replace")
            if found is None or self.restart or (not done and (self.existing or state.get("replace"))):
                return self._build()
            if not done:
                raise ConfigError(
                    f"{self.out} holds an index of another input, model or options; choose another --out, "
                    "or --restart to replace it"
                )
            self._discard()
            seconds = dict(read_checksummed(self.out / BUILD)["seconds"])
            before = found.counts if self.existing else None
            return BuildReport(self.out, found, seconds, complete=True, before=before)

    def _read_state(self) -> dict[str, Any]:
        """The state of the work folder, or {} when there is none. Raises ConfigError when it is of another
        job.
        """
        if self.work.exists() and not self._is_ours():
            raise ConfigError(
                f"{self.work} is in the way: the index at {self.out} is made there; rename it, or choose "
                "another --out"
            )
        if self.restart:
            self._discard()
        state = _read_json(self.work / "job.json")
        if not state:
            return {}
        ours = {"job": self.shard_digest, "shard_size": self.shard_size}
        if any(state.get(name) != value for name, value in ours.items()):
            raise ConfigError(
                f"{self.work} holds an unfinished build of another input or other options; repeat that "
                "command to finish it, or use --restart to throw it away"
            )
        if state.get("created_by") != software_versions():
            raise ConfigError(
                f"{self.work} was begun with other versions of the software; use --restart to begin again"
            )
        return state

    def _is_ours(self) -> bool:
        """Is the work folder one, and not something of the user's with its name?"""
        if not self.work.is_dir():
            return False
        names = [path.name for path in self.work.iterdir()]
        return "job.json" in names or all(name.startswith(".job.json.") for name in names)

    def _discard(self) -> None:
        remove_folder(self.work, last="job.json")

    def _build(self) -> BuildReport:
        """Embed what is missing, merge, index, and put the result in place."""
        watch = Stopwatch()
        state = _read_json(self.work / "job.json")
        if state and state.get("first_row") != self.first_row:
            self._discard()  # the index grew since: these shards have the numbers of other rows
        self._write_state()
        with Workers(self.workers, engine=self.engine, in_process=False) as workers:
            shards = embed_all(
                self.library, workers, self._shard_job(), self.work / "shards", self.shard_size
            )
        watch.lap("embed")
        new = self.work / "index"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        merge = Merge(
            shards,
            new,
            self.work / "scratch",
            existing=self.existing,
            typed=not any(".parquet" in path.suffixes for path in self.library.paths),
            measured=self.measured,
            added=self.library.measured,
        )
        merge.run()
        counts = merge.counts
        watch.lap("merge")
        details = self._index(merge, new) if self.kind == "index" else merge.write_embeddings(self.sides)
        for name in self.measured:
            details[name, "records"]["measured"] = True
        watch.lap("index")
        manifest = replace(self._manifest(counts, details), files=_list_files(new, merge.checksums))
        watch.lap("checksums")
        seconds = watch.seconds(3)
        write_checksummed(
            new / BUILD, {"created": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds}
        )
        write_manifest(new, manifest)
        replace_index(new, self.out)
        self._discard()
        before = self.existing.manifest.counts if self.existing else None
        return BuildReport(self.out, manifest, seconds, complete=False, before=before)

    def _write_state(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / "job.json"
        state = {
            "job": self.shard_digest,
            "shard_size": self.shard_size,
            "first_row": self.first_row,
            "created_by": software_versions(),
            "replace": self.out.exists(),
        }
        if not path.exists():
            write_atomic(path, lambda temporary: temporary.write_text(canonical(state), encoding="utf-8"))

    def _shard_job(self) -> ShardJob:
        derived = [name for name, side in self.sides if side == "records" and name not in self.measured]
        return ShardJob(
            model=self.source,
            modalities=tuple(derived),
            tautomer=self.options["tautomer"],
            first_row=self.first_row,
            metadata_types=self.library.metadata_types,
            measured=tuple(self.library.measured),
            device=self.device,
        )

    def _index(self, merge: Merge, new: Path) -> dict[Side, dict[str, Any]]:
        """A FAISS index of every side; how each was made."""
        (new / "faiss").mkdir(exist_ok=True)
        details = {}
        for space, side in progress(self.sides, desc="indexing", unit=" sides"):
            other = (space, "records" if side == "graph" else "graph")
            queries = merge.embeddings(*other).sample(256, seed=11) if other in self.sides else None
            source = merge.embeddings(space, side)
            path = new / "faiss" / f"{space}.{side}"
            details[space, side] = asdict(build_vectors(path, source, self.options["factory"], queries))
        return details

    def _manifest(self, counts: dict[str, int], details: Mapping[Side, dict[str, Any]]) -> Manifest:
        spaces = {
            name: SpaceInfo(
                space.digest,
                space.d,
                space.scale,
                {side: details[name, side] for s, side in self.sides if s == name},
            )
            for name, space in sorted(self.card.spaces.items())
        }
        before = self.existing.manifest if self.existing else None
        restriction = {"restriction": self.card.restriction} if self.card.restriction else {}
        model = {"name": self.card.name, "source": self.source, "digest": self.card.digest, **restriction}
        return Manifest(
            kind=self.kind,
            job=before.job if before else self.digest,
            added=[*before.added, self.digest] if before else [],
            created_by=software_versions(),
            standardisation=STANDARDISATION,
            options=before.options if before else self.options,
            model=model,
            spaces=spaces,
            library=[*(before.library if before else []), *self.library.describe()],
            counts=counts,
        )


def _list_files(out: Path, checksums: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every file in `out` with checksum and size, for the manifest."""
    names: Sequence[str] = sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    )
    return {
        name: file_entry(out / name, checksums.get(name))
        for name in progress(names, desc="checksums", unit=" files")
    }


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON document, or {} when there is none or it is not whole."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
