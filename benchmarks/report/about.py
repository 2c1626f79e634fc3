"""What stands under a table: the rule for ties, seeds, files, leakage, command lines; and versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.report.found import Found
from benchmarks.report.markdown import commands as block
from benchmarks.report.markdown import count, joined, listed, table


def under(found: Sequence[Found], *, commands: bool = True) -> str:
    """Tie rule, seeds, the queries' and the pool's files, and the commands of these results."""
    sentences = []
    rules = _distinct(one.data.get("tie_rule") for one in found)
    if rules:
        text = "; ".join(rules)
        sentences.append(f"{text[0].upper()}{text[1:]}. A failed query is a miss.")
    sentences.append(_seeds(found))
    sentences += _distinct(_asked(one) for one in found)
    return joined(
        [" ".join(x for x in sentences if x), block(one.command for one in found) if commands else ""]
    )


def _seeds(found: Sequence[Found]) -> str:
    seeds = _distinct(str(one.data["seed"]) for one in found if one.data.get("seed") is not None)
    return f"Seed {listed(seeds)}." if seeds else ""


def _asked(one: Found) -> str | None:
    """`c_nmr: rows of nmr_c13.parquet where ..., pool with library_chembl_500k.parquet.`"""
    queries = one.data.get("queries")
    if not isinstance(queries, str):
        return None
    where = one.data.get("where") or (f"split = '{one.data['split']}'" if one.data.get("split") else None)
    text = f"{one.question}: rows of `{_name(queries)}`" + (f" where `{where}`" if where else "")
    library = [f"`{_name(path)}`" for path in one.data.get("library") or []]
    return f"{text}, the pool with {listed(library)}." if library else f"{text}."


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def leakage(found: Sequence[Found]) -> str:
    """A table of how many of the molecules that ask the model's training saw."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in found:
        told = one.data.get("leakage")
        if one.baseline is not None or not isinstance(told, dict):
            continue
        molecules = one.data.get("n_molecules") or one.data.get("n_queries")
        seen = _first(told, "n_seen", "seen_records"), _first(told, "n_seen_structures", "seen_structures")
        checked = "yes" if told.get("checked", True) else f"no: {told.get('why_not', 'not said why')}"
        row = [one.question, one.model, count(molecules), count(seen[0]), count(seen[1]), checked]
        rows.setdefault((one.question, one.model), row)
    head = ["question", "model", "molecules asked", "seen with measured records", "as structures only"]
    return table([*head, "checked"], list(rows.values()), left=2) if rows else ""


def _first(told: Mapping[str, Any], *keys: str) -> int | None:
    return next((told[key] for key in keys if told.get(key) is not None), None)


def versions(found: Iterable[Found]) -> str:
    """A line per set of versions, with the programs they belong to."""
    lines: dict[str, list[str]] = {}
    for one in found:
        told = one.data.get("versions")
        if isinstance(told, dict):
            text = ", ".join(f"{name} {value}" for name, value in told.items())
            lines.setdefault(text, []).append(f"`{one.path.name}`")
    return "\n".join(f"- {text} ({listed(dict.fromkeys(files))})" for text, files in lines.items())


def times(found: Iterable[Found]) -> str:
    """What each suite spent, by step, and on which question; seconds on the machine it ran on."""
    parts = []
    for one in found:
        if one.kind != "suite":
            continue
        steps = dict(one.data["seconds"])
        for name, spent in (one.data.get("seconds_by_question") or {}).items():
            steps[f"question {name}"] = sum(spent.values())
        rows = [[what, f"{seconds:,.0f}"] for what, seconds in steps.items()]
        workers = one.data.get("workers", "?")
        said = f"`{one.path.parent.name}`, {count(one.data.get('n_molecules'))} molecules, {workers} workers:"
        parts.append(f"{said}\n\n{table(['step', 'seconds'], rows)}")
    return joined(parts)


def _distinct(texts: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
