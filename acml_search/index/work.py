"""One build at work: a folder beside the index, filled shard by shard, renamed when complete."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acml_search.chem.molecule import STANDARDISATION
from acml_search.encoders.card import ModelCard
from acml_search.errors import AcmlSearchError, ConfigError, IndexCorrupt, IndexNotFound
from acml_search.index import finalise
from acml_search.index.embed import ShardJob
from acml_search.index.files import canonical, read_sealed, write_atomic, write_sealed
from acml_search.index.manifest import (
    BUILD,
    NAME,
    Manifest,
    SpaceInfo,
    read_manifest,
    versions,
    write_manifest,
)
from acml_search.index.shards import check_engine, embed_all, open_pool
from acml_search.library.read import Library


@dataclass(frozen=True)
class BuildReport:
    """What an index holds, and whether it was complete before; seconds per stage of the run that made it."""

    index: Path
    manifest: Manifest
    seconds: dict[str, float]
    complete: bool

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
        return {
            "index": str(self.index),
            **{
                name: self.manifest.counts[name]
                for name in ("rows", "molecules", "rejected", "duplicates", "no_record")
            },
            "spaces": spaces,
            "seconds": self.seconds,
            "complete": self.complete,
        }


@dataclass
class Plan:
    """One build: what, of what, to where. The work goes on in a sibling of `out`, renamed when complete."""

    kind: str
    out: Path
    library: Library
    card: ModelCard
    source: str
    sides: list[tuple[str, str]]
    options: dict[str, Any]
    job: str
    """digest of all that decides the result"""
    shards: str
    """digest of all that decides the shards: the result's without the factory"""
    workers: int | None
    restart: bool
    engine: str = "local"
    base: finalise.Base | None = None

    def __post_init__(self) -> None:
        check_engine(self.engine)
        if self.out.name in ("", ".."):  # the work goes on beside it, under its name
            raise ConfigError(f"the folder {str(self.out)!r} has no name; give it one, such as indexes/mine")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"{self.workers} workers were asked for; at least one is needed")
        if self.options["shard_size"] < 1:
            raise ConfigError(
                f"a shard of {self.options['shard_size']} rows makes no sense; give at least one"
            )

    @property
    def work(self) -> Path:
        return self.out.with_name(f"{self.out.name}.building")

    @property
    def first_row(self) -> int:
        """Number of the library's first row: after those of the index it is added to."""
        return self.base.manifest.counts["rows"] if self.base else 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the work folder; another process that builds the same is told so. A killed process holds
        nothing.
        """
        self.out.parent.mkdir(parents=True, exist_ok=True)
        path = self.out.with_name(f".{self.out.name}.lock")
        with path.open("w") as lock:
            busy = AcmlSearchError(f"{self.out} is being built by another process; wait for it, or end it")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder removes the file before it lets go: a lock on a removed file keeps nobody out.
                held = os.path.exists(path) and os.path.samestat(os.fstat(lock.fileno()), os.stat(path))
            except (BlockingIOError, FileNotFoundError) as error:
                raise busy from error
            if not held:
                raise busy
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def open_work(self) -> dict[str, Any]:
        """The state of the work folder, or {} when there is none. Raises ConfigError when it is of another
        job.
        """
        if self.restart:
            self.discard()
        state = finalise.read_json(self.work / "job.json") or {}
        if not state:
            return {}
        ours = {"job": self.shards, "shard_size": self.options["shard_size"]}
        if any(state.get(name) != value for name, value in ours.items()):
            raise ConfigError(
                f"{self.work} holds an unfinished build of another input or other options; repeat that "
                "command to finish it, or use --restart to throw it away"
            )
        if state.get("created_by") != versions():
            raise ConfigError(
                f"{self.work} was begun with other versions of the software; use --restart to begin again"
            )
        return state

    def settle(self) -> BuildReport:
        """Resume or begin, unless all is done already. Raises ConfigError when another index is there."""
        with self.locked():
            existing = _existing(self.out, ignore_damage=self.restart)
            state = self.open_work()
            if existing is not None and self.base is not None:
                self.base = finalise.Base(
                    self.out, existing
                )  # read again, now that nobody else can change it
                done = self.job in existing.added
            else:
                done = existing is not None and existing.job == self.job and not state.get("replace")
            if existing is None or self.restart or (not done and (self.base or state.get("replace"))):
                return self.run()
            if not done:
                raise ConfigError(
                    f"{self.out} holds an index of another input, model or options; choose another --out, "
                    "or --restart to replace it"
                )
            self.discard()
            return BuildReport(self.out, existing, build_seconds(self.out), complete=True)

    def discard(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)

    def run(self) -> BuildReport:
        """Embed what is missing, merge, index, and put the result in place."""
        clock = _Clock()
        begun = finalise.read_json(self.work / "job.json")
        if begun is not None and begun.get("first_row") != self.first_row:
            self.discard()  # the index grew since: these shards have the numbers of other rows
        self.work.mkdir(parents=True, exist_ok=True)
        state = {
            "job": self.shards,
            "shard_size": self.options["shard_size"],
            "first_row": self.first_row,
            "created_by": versions(),
            "replace": self.out.exists(),
        }
        if not (self.work / "job.json").exists():
            write_atomic(
                self.work / "job.json", lambda path: path.write_text(canonical(state), encoding="utf-8")
            )
        job = ShardJob(
            model=self.source,
            modalities=tuple(name for name, side in self.sides if side == "records"),
            tautomer=self.options["tautomer"],
            first_row=self.first_row,
            metadata_types=self.library.metadata_types,
        )
        with closing(open_pool(self.engine, job, self.workers)) as pool:
            shards = embed_all(self.library, pool, self.work / "shards", self.options["shard_size"])
        clock.lap("embed")
        new = self.work / "index"
        finalise.clear(new)
        typed = not any(".parquet" in path.suffixes for path in self.library.paths)
        merged = finalise.merge_shards(
            shards, self.sides, new, self.work / "scratch", base=self.base, typed=typed
        )
        clock.lap("merge")
        details = self._details(new)
        clock.lap("index")
        manifest = self._manifest(merged, details)
        manifest = replace(manifest, files=finalise.list_files(new, merged.checksums))
        clock.lap("checksums")
        seconds = clock.seconds()
        write_sealed(
            new / BUILD, {"created": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds}
        )
        write_manifest(new, manifest)
        _put_in_place(new, self.out)
        self.discard()
        return BuildReport(self.out, manifest, seconds, complete=False)

    def _details(self, new: Path) -> dict[tuple[str, str], dict[str, Any]]:
        if self.kind == "index":
            return finalise.build_vectors(new, self.sides, self.options["factory"])
        return {
            (space, side): {
                "n": finalise.parts.count(sorted((new / "embeddings" / space / side).glob("*.parquet")))
            }
            for space, side in self.sides
        }

    def _manifest(self, merged: finalise.Merged, details: dict[tuple[str, str], dict[str, Any]]) -> Manifest:
        spaces = {
            name: SpaceInfo(
                space.digest,
                space.d,
                space.scale,
                {side: details[name, side] for s, side in self.sides if s == name},
            )
            for name, space in sorted(self.card.spaces.items())
        }
        before = self.base.manifest if self.base else None
        return Manifest(
            kind=self.kind,
            job=before.job if before else self.job,
            added=[*before.added, self.job] if before else [],
            created_by=versions(),
            standardisation=STANDARDISATION,
            options=before.options if before else self.options,
            model={
                "name": self.card.name,
                "source": self.source,
                "digest": self.card.digest,
                **({"restriction": self.card.restriction} if self.card.restriction else {}),
            },
            spaces=spaces,
            library=[*(before.library if before else []), *self.library.describe()],
            counts=merged.counts,
        )


def build_seconds(out: Path) -> dict[str, float]:
    """Seconds per stage of the run that made the index at `out`."""
    return dict(read_sealed(out / BUILD)["seconds"])


def _existing(out: Path, ignore_damage: bool) -> Manifest | None:
    """The manifest of the index at `out`, if there is one.

    Raises ConfigError when something else is there: even a restart deletes nothing but an index.
    """
    _recover(out)
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


def _put_in_place(new: Path, out: Path) -> None:
    """Rename `new` to `out`; what was there is moved aside first and removed last."""
    aside = out.with_name(f"{out.name}.replaced")
    if out.exists():
        os.replace(out, aside)
    os.replace(new, out)
    shutil.rmtree(aside, ignore_errors=True)


def _recover(out: Path) -> None:
    """Finish or undo a replacement that was interrupted between its renames."""
    aside = out.with_name(f"{out.name}.replaced")
    if aside.exists() and not out.exists():
        os.replace(aside, out)
    shutil.rmtree(aside, ignore_errors=True)


class _Clock:
    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = round(now - self._last, 3)
        self._last = now

    def seconds(self) -> dict[str, float]:
        return {**self._laps, "total": round(self._last - self._start, 3)}
