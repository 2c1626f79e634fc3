"""Result files, read and sorted by kind. What is no result of ours is named, never guessed at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError

NEEDED: dict[str, tuple[str, ...]] = {
    "recall": ("modality", "direction", "recall", "mrr", "ci95", "chance", "n_pool", "n_queries", "n_failed"),
    "isomers": ("modality", "accuracy", "ci95", "chance", "mrr", "n_queries", "n_groups", "group_size"),
    "stereoisomers": ("modality", "accuracy", "ci95", "chance", "mrr", "n_queries", "group_size"),
    "calibration": ("modality", "shortlist", "scale_before", "scale"),
    "rerank": ("modality", "inner", "shortlist"),
    "peaks": ("modality", "set_error", "ci95", "n_spectra"),
    "batches": ("modality", "batch", "chance", "to-molecule", "to-record"),
    "baseline": ("baseline", "question", "why_not"),
    "index": ("engines",),
    "properties": ("benchmark", "sets"),
    "throughput": ("n", "workers", "rounds", "spread"),
    "latency": ("molecules", "queries", "with_rerank", "without_rerank"),
    "suite": ("results", "seconds"),
}
"""the kinds of results that a page shows, and what each must hold"""

PASSED_OVER = ("property cell", "together")
"""kinds that stand beside a result which sums them up, or is ranked by them"""

BASELINES = {
    "random": "random",
    "formula": "formula only",
    "nearest_spectrum": "nearest spectrum",
    "fingerprint": "fingerprint regression",
    "shifts": "shift matching",
    "acml": "ACML's recipe",
}
"""what a reader calls a baseline, in the order of tables"""

FILTERS = {
    "same formula": "formula",
    "neutral exact mass within ": "",
}


@dataclass(frozen=True, eq=False)
class Found:
    """One result. `path`: its file; beside it stands the Parquet file with its queries, if there is one."""

    kind: str
    data: Mapping[str, Any]
    path: Path

    @property
    def question(self) -> str:
        return str(self.data.get("question") or self.path.stem)

    @property
    def modality(self) -> str:
        return str(self.data["modality"])

    @property
    def baseline(self) -> str | None:
        """The baseline's name; None for the model's own result."""
        name = self.data.get("baseline")
        return None if name is None else str(name)

    @property
    def reranked(self) -> bool:
        return bool(self.data.get("rerank")) and self.kind in ("recall", "isomers")

    @property
    def model(self) -> str:
        return str(self.data.get("model") or "no model named")

    @property
    def digest(self) -> str:
        return str(self.data.get("model_digest") or "")

    @property
    def maker(self) -> tuple[str, str]:
        """Model and digest: results of different makers do not share a table."""
        return self.model, self.digest

    @property
    def command(self) -> str | None:
        command = self.data.get("command")
        return None if command is None else str(command)

    @property
    def system(self) -> str:
        """What answered, as tables and legends call it."""
        if self.baseline is not None:
            return BASELINES.get(self.baseline, self.baseline.replace("_", " "))
        return f"{self.model}, re-ranked" if self.reranked else self.model

    @property
    def filter(self) -> str:
        """Which candidates there were: `all`, `formula`, `5 Da`, `10 ppm`."""
        text = self.data.get("filter")
        if not text:
            return "all"
        for long, short in FILTERS.items():
            text = text.replace(long, short)
        return str(text)

    @property
    def direction(self) -> str:
        return str(self.data.get("direction") or "to-molecule")

    @property
    def asked(self) -> tuple[str, ...]:
        """What was asked, of whichever system: results that agree here can be compared."""
        return (self.kind, self.question, self.direction, self.filter)

    @cached_property
    def rows(self) -> list[dict[str, Any]] | None:
        """The queries, one by one; None where their file is not there."""
        name = self.data.get("per_query")
        path = self.path.with_name(str(name)) if name else None
        if path is None or not path.is_file():
            return None
        import pyarrow.parquet as pq

        wanted = ("row", "molecule", "smiles", "rank", "n_candidates", "nearest_training")
        file = pq.ParquetFile(path)
        return list(file.read([x for x in wanted if x in file.schema_arrow.names]).to_pylist())


@dataclass
class Results:
    """All that was read, in the order it was named, and a sentence on each file that was left out."""

    every: list[Found] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Found]:
        return [one for one in self.every if one.kind in kinds]


def read_results(paths: Sequence[Path]) -> Results:
    """The results in these files and folders (their `*.json`; not what stands in folders below).

    Raises ConfigError for a path that is not there, and where nothing is a result.
    """
    results = Results()
    known: dict[tuple[Any, ...], Path] = {}
    for path in _files(paths):
        data = _read(path)
        kind = kind_of(data)
        if kind in PASSED_OVER:
            continue
        why = _unusable(data, kind)
        if why is not None:
            results.left_out.append(f"{path} is left out: {why}.")
            continue
        one = Found(str(kind), data, path)
        same = _identity(one)
        if same in known:
            results.left_out.append(f"{path} is left out: {known[same]}, named before it, answers the same.")
            continue
        known[same] = path
        results.every.append(one)
    if not any(one.kind != "suite" for one in results.every):
        raise ConfigError(
            f"{', '.join(map(str, paths))}: no result of `acml-search bench` is among these files; name the "
            "folder that a benchmark wrote with --out, or its JSON files"
        )
    return results


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    seen = set()
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: there is no such file or folder of results")
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # of JSON, or of UTF-8
        return None


def kind_of(data: Any) -> str | None:
    """What a JSON document is a result of; None where it does not look like one of ours."""
    if not isinstance(data, dict):
        return None
    if "kind" in data:
        return str(data["kind"])
    for kind, signs in (
        ("throughput", ("parse_only_per_second", "spread")),
        ("latency", ("with_rerank", "without_rerank")),
        ("suite", ("suite", "results", "seconds")),
        ("isomers", ("accuracy", "group_size", "n_groups")),
        ("recall", ("recall", "direction", "n_pool")),
    ):
        if all(sign in data for sign in signs):
            return kind
    return None


def _unusable(data: Any, kind: str | None) -> str | None:
    if kind is None:
        return "it is no result of `acml-search bench`"
    if kind not in NEEDED:
        return f"results of the kind {kind!r} are not shown here"
    missing = [key for key in NEEDED[kind] if key not in data]
    if missing:
        return f"a result of the kind {kind!r} needs {missing[0]!r}, which it lacks; run its benchmark again"
    return None


def _identity(one: Found) -> tuple[Any, ...]:
    if one.kind in ("suite", "index", "throughput", "latency"):
        return (one.path.resolve(),)
    if one.kind == "properties":
        return (one.kind, one.data["benchmark"], one.digest)
    return (*one.asked, one.system, *one.maker)


def by_maker(found: Iterable[Found]) -> dict[tuple[str, str], list[Found]]:
    """Results by model and digest, in the order they were read."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for one in found:
        groups.setdefault(one.maker, []).append(one)
    return groups
