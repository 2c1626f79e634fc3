"""Tables of speed: search engines, text to vectors, and one query in a running process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.found import Found
from benchmarks.report.markdown import commands, count, joined, spelled, table, with_interval


def index(one: Found) -> str:
    """The engines of one index benchmark: recall, latency, rate, time to build, memory."""
    data = one.data
    space = f" of the space `{data['space']}`" if data.get("space") else ""
    about = (
        f"{count(data.get('n'))} vectors{space} with {data.get('d', '?')} dimensions, "
        f"{count(data.get('n_queries'))} queries, {data.get('rounds', '?')} rounds in turns. Latency is of "
        "one query alone; the last columns say how many times more queries per second in a batch than exact "
        "search (flat) and than our own choice (auto): median and range over the rounds."
    )
    head = [
        "engine",
        "how",
        f"recall@{data.get('k', 10)} (95 %)",
        "p50, ms",
        "p95, ms",
        "queries/s in a batch",
    ]
    head += ["built in, s", "bytes/vector", "memory, MB", "times flat", "times auto"]
    names = list(dict.fromkeys(str(each["name"]) for each in data["engines"]))
    rows = [_engine(each) for each in sorted(data["engines"], key=lambda one: names.index(str(one["name"])))]
    return joined([about, table(head, rows, left=2), commands([one.command])])


def _engine(each: Mapping[str, Any]) -> list[str]:
    how = each.get("factory") or each.get("params") or ""
    if isinstance(how, Mapping):
        how = ", ".join(f"{name} {value}" for name, value in how.items())
    return [
        str(each["name"]),
        str(how),
        with_interval(each.get("recall_at_k"), each.get("ci95")) or str(each.get("why_not", "")),
        _number(each.get("p50_ms"), 2),
        _number(each.get("p95_ms"), 2),
        count(each.get("queries_per_second_batched")),
        _number(each.get("build_seconds"), 1),
        _number(each.get("bytes_per_vector"), 1),
        count(each.get("memory_mb")),
        _times(each.get("ratio_to_flat")),
        _times(each.get("ratio_to_auto")),
    ]


def _times(ratio: Mapping[str, float] | None) -> str:
    return "" if not ratio else f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def throughput(one: Found) -> str:
    """Molecules per second of every pipeline, and what our own spends its time on."""
    data = one.data
    told: Mapping[str, str] = data.get("pipelines") or {}
    rows = []
    for name, (low, high) in data["spread"].items():
        ratio = data.get(f"ratio_to_{_ratio_key(name)}")
        rows.append(
            [
                spelled(name),
                told.get(name, ""),
                count(data.get(f"{name}_per_second")),
                f"{low:,.0f} to {high:,.0f}",
                "" if ratio is None else f"{ratio:.2f}",
            ]
        )
    head = [
        "pipeline",
        "what it does",
        "molecules/s, median",
        "lowest to highest",
        "end to end is times this",
    ]
    stages: Mapping[str, Mapping[str, Any]] = data.get("stages") or {}
    spent = [
        [name, f"{each['microseconds']:.1f}", "" if each.get("share") is None else f"{each['share']:.0%}"]
        for name, each in stages.items()
    ]
    about = f"{data['n']:,} molecules, {data['workers']} workers, {data['rounds']} rounds in turns."
    parts = [about, table(head, rows, left=2)]
    if spent:
        parts.append(table(["stage", "µs per molecule", "share of end to end"], spent))
    return joined([*parts, _model(one), commands([one.command])])


def _ratio_key(name: str) -> str:
    return "parse" if name == "parse_only" else name


def latency(one: Found) -> str:
    """One query against an index in a running process, with and without re-ranking."""
    data = one.data
    rows = []
    for key, name in (("without_rerank", "by cosine"), ("with_rerank", "re-ranked")):
        told = data[key]
        stages = ", ".join(f"{stage} {ms:g}" for stage, ms in told.get("mean_ms", {}).items())
        rows.append([name, _number(told["p50_ms"], 1), _number(told["p95_ms"], 1), stages])
    about = (
        f"{data.get('modality', '')}: {data['queries']:,} queries against {data['molecules']:,} molecules."
    )
    return joined(
        [
            about.lstrip(": "),
            table(["", "p50, ms", "p95, ms", "mean of each stage, ms"], rows),
            commands([one.command]),
        ]
    )


def _model(one: Found) -> str:
    return f"Model {one.model} ({one.digest[:12]})." if one.digest else ""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def sections(found: Sequence[Found]) -> list[tuple[str, str]]:
    """(title, text) of everything about speed but the index, which has a plot too."""
    made = []
    for kind, title, make in (
        ("throughput", "Text to vectors", throughput),
        ("latency", "One query in a running process", latency),
    ):
        parts = [make(one) for one in found if one.kind == kind]
        if parts:
            made.append((title, joined(parts)))
    return made
