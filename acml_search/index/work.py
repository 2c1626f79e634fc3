"""One build at work: a folder beside the index, filled shard by shard, renamed when complete."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acml_search.chem.molecule import STANDARDISATION
from acml_search.core.errors import ConfigError
from acml_search.core.io import canonical, remove_folder, write_atomic, write_sealed
from acml_search.encoders.card import ModelCard
from acml_search.index import finalise
from acml_search.index.embed import ShardJob
from acml_search.index.manifest import (
    BUILD,
    FORMAT_VERSION,
    RECORDS_VERSION,
    Manifest,
    SpaceInfo,
    versions,
    write_manifest,
)
from acml_search.index.records import measured_of
from acml_search.index.report import BuildReport, Clock, build_seconds
from acml_search.index.shards import check_engine, embed_all, open_pool
from acml_search.index.swap import existing_at, locked, put_in_place
from acml_search.library.read import Library


@dataclass
class Plan:
    """One build: what, of what, to where. The work goes on in a sibling of `out`, renamed when complete."""

    kind: str
    out: Path
    library: Library
    card: ModelCard
    source: str
    sides: list[tuple[str, str]]
    """to make: graph, derived records and measured records"""
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
        for name, value in (("workers", self.workers), ("shard_size", self.options["shard_size"])):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ConfigError(f"{name} is {value!r}; give a whole number")
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

    @property
    def measured(self) -> list[str]:
        """Modalities whose records are measured ones: of the library, and of the index it is added to."""
        before = measured_of(self.base.manifest) if self.base else []
        return sorted({*before, *self.library.measured})

    def open_work(self) -> dict[str, Any]:
        """The state of the work folder, or {} when there is none. Raises ConfigError when it is of another
        job.
        """
        if self.work.exists() and not self._is_ours():
            raise ConfigError(
                f"{self.work} is in the way: the index at {self.out} is made there; rename it, or choose "
                "another --out"
            )
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

    def _is_ours(self) -> bool:
        """Is the work folder one, and not something of the user's with its name?"""
        if not self.work.is_dir():
            return False
        names = [path.name for path in self.work.iterdir()]
        return "job.json" in names or all(name.startswith(".job.json.") for name in names)

    def settle(self) -> BuildReport:
        """Resume or begin, unless all is done already. Raises ConfigError when another index is there."""
        with locked(self.out):
            existing = existing_at(self.out, ignore_damage=self.restart)
            state = self.open_work()
            if existing is not None and self.base is not None:
                # read again, now that nobody else can change it
                self.base = finalise.Base(self.out, existing)
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
            return BuildReport(
                self.out,
                existing,
                build_seconds(self.out),
                complete=True,
                before=existing.counts if self.base else None,
            )

    def discard(self) -> None:
        remove_folder(self.work, last="job.json")

    def run(self) -> BuildReport:
        """Embed what is missing, merge, index, and put the result in place."""
        clock = Clock()
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
            modalities=tuple(
                name for name, side in self.sides if side == "records" and name not in self.measured
            ),
            tautomer=self.options["tautomer"],
            first_row=self.first_row,
            metadata_types=self.library.metadata_types,
            measured=tuple(self.library.measured),
        )
        with closing(open_pool(self.engine, job, self.workers)) as pool:
            shards = embed_all(self.library, pool, self.work / "shards", self.options["shard_size"])
        clock.lap("embed")
        new = self.work / "index"
        finalise.clear(new)
        typed = not any(".parquet" in path.suffixes for path in self.library.paths)
        merged = finalise.merge_shards(
            shards,
            self.sides,
            new,
            self.work / "scratch",
            base=self.base,
            typed=typed,
            measured=self.measured,
            added=self.library.measured,
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
        put_in_place(new, self.out)
        self.discard()
        return BuildReport(
            self.out,
            manifest,
            seconds,
            complete=False,
            before=self.base.manifest.counts if self.base else None,
        )

    def _details(self, new: Path) -> dict[tuple[str, str], dict[str, Any]]:
        if self.kind == "index":
            details = finalise.build_vectors(new, self.sides, self.options["factory"])
        else:
            details = {
                (space, side): {
                    "n": finalise.parts.count(sorted((new / "embeddings" / space / side).glob("*.parquet")))
                }
                for space, side in self.sides
            }
        for name in self.measured:
            details[name, "records"]["measured"] = True
        return details

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
            format_version=RECORDS_VERSION if self.measured else FORMAT_VERSION,
        )
