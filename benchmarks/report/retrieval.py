"""Tables of retrieval: recall in a pool and accuracy among isomers, a table per modality and model.

The rows of one question and one filter stand together: the model, re-ranked, and every baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.report.about import under
from benchmarks.report.compare import Duel, nearest_baseline
from benchmarks.report.found import BASELINES, Found, by_maker
from benchmarks.report.markdown import count, joined, listed, share, table, with_interval

KS = ("1", "5", "10", "20")
ORDER = ("c_nmr", "h_nmr", "c_nmr+h_nmr", "lc_ms", "gc_ms", "image", "smiles")
FILTERS = ("all", "5 Da", "10 ppm", "formula")


def place(names: Sequence[str], name: str) -> tuple[int, str]:
    """Sorts by the order of `names`, what is not among them after those and by itself."""
    return (names.index(name) if name in names else len(names), name)


def modalities(found: Sequence[Found]) -> list[str]:
    """Those that were asked, in their usual order."""
    return sorted({one.modality for one in found}, key=lambda name: place(ORDER, name))


def in_order(found: Sequence[Found]) -> list[Found]:
    """By question, direction and filter, recall before isomers; the model first, then the baselines."""

    def key(one: Found) -> tuple[object, ...]:
        return (
            place(ORDER, one.question),
            one.direction,
            one.kind != "recall",
            place(FILTERS, one.filter),
            one.baseline is not None,
            one.reranked,
            place(tuple(BASELINES), one.baseline or ""),
        )

    return sorted(found, key=key)


def tables(found: Sequence[Found], kind: str, *, level: int = 3, commands: bool = True) -> str:
    """One table per modality and model digest, of results of one kind (`recall`, `isomers`,
    `stereoisomers`), with what they were asked of under it.
    """
    make: Callable[[Sequence[Found]], str] = _recall if kind == "recall" else _isomers
    parts = []
    found = [one for one in found if one.kind == kind]
    for modality in modalities(found):
        for (model, digest), group in by_maker(one for one in found if one.modality == modality).items():
            parts.append(f"{'#' * level} `{modality}`, {model}{f' ({digest[:12]})' if digest else ''}")
            parts.append(make(in_order(group)))
            parts.append(under(group, commands=commands))
    return joined(parts)


def _recall(found: Sequence[Found]) -> str:
    ks = [k for k in KS if any(k in one.data["recall"] for one in found)]
    head = ["question", "candidates", "system", *[f"R@{k} (95 %)" for k in ks], "MRR (95 %)", "chance R@1"]
    head += ["pool", "queries", "failed", "against the baselines"]
    rows = []
    for one in found:
        data, ci = one.data, one.data["ci95"]
        question = one.question if one.direction == "to-molecule" else f"{one.question}, to record"
        among = data.get("candidates_per_query")
        rows.append(
            [
                question,
                one.filter + (f" (median {among['median']:,.0f})" if among and one.filter != "all" else ""),
                _system(one),
                *[with_interval(data["recall"].get(k), ci.get(k)) for k in ks],
                with_interval(data["mrr"], ci.get("mrr")),
                f"{data['chance']['1']:.2g}",
                count(data["n_pool"]),
                _queries(one),
                count(data["n_failed"]),
                _verdict(one, found),
            ]
        )
    return _table(head, rows, left=3)


def _isomers(found: Sequence[Found]) -> str:
    head = ["question", "system", "accuracy (95 %)", "MRR (95 %)", "chance", "groups"]
    head += ["group size: median, p90, max", "queries", "failed", "against the baselines"]
    rows = []
    for one in found:
        data, size = one.data, one.data["group_size"]
        rows.append(
            [
                one.question,
                _system(one),
                with_interval(data["accuracy"], data["ci95"]),
                with_interval(data["mrr"], data.get("mrr_ci95")),
                share(data["chance"]),
                count(data.get("n_groups")),
                f"{size['median']:,.0f}, {size['p90']:,.0f}, {size['max']:,}",
                _queries(one),
                count(data.get("n_failed")),
                _verdict(one, found),
            ]
        )
    return _table(head, rows, left=2)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Without its last column where no row has a baseline to be set against."""
    last = len(head) if any(row[-1] for row in rows) else len(head) - 1
    return table(head[:last], [row[:last] for row in rows], left=left)


def _system(one: Found) -> str:
    return f"baseline: {one.system}" if one.baseline is not None else f"**{one.system}**"


def _queries(one: Found) -> str:
    n, molecules = one.data["n_queries"], one.data.get("n_molecules")
    return f"{n:,}" if molecules in (None, n) else f"{n:,} of {molecules:,} molecules"


def _verdict(one: Found, found: Sequence[Found]) -> str:
    nearest = nearest_baseline(one, found)
    return "" if nearest is None else nearest.words


def not_ahead(found: Sequence[Found]) -> list[str]:
    """A sentence for every row in which the model is not ahead of a baseline."""
    return [
        f"{row_name(one)}: {duel.words}."
        for one, duel in _duels(found)
        if duel is not None and not duel.ahead
    ]


def standing(found: Sequence[Found]) -> str:
    """The rows in which the model is not ahead of every baseline, and questions without baselines."""
    duels = _duels(found)
    n = sum(duel is not None for _, duel in duels)
    behind = not_ahead(found)
    parts = []
    if n and not behind:
        parts.append(f"The model is ahead of every baseline in all {n} rows that have baselines.")
    elif behind:
        lines = "\n".join(f"- {line}" for line in behind)
        parts.append(f"The model is **not ahead** of every baseline in {len(behind)} of {n} rows:\n\n{lines}")
    without: dict[str, dict[str, None]] = {}
    for one, duel in duels:
        if duel is None:
            without.setdefault(one.question, {})[_among(one)] = None
    if without:
        rows = "; ".join(f"{question} ({listed(among)})" for question, among in without.items())
        parts.append(f"No baseline was asked the same in: {rows}.")
    return joined(parts)


def _duels(found: Sequence[Found]) -> list[tuple[Found, Duel | None]]:
    """Every row of the model with the baseline of its own run that comes closest."""
    asked = [one for one in found if one.kind in ("recall", "isomers", "stereoisomers") and not one.baseline]
    return [
        (one, nearest_baseline(one, [other for other in found if other.maker == one.maker])) for one in asked
    ]


def row_name(one: Found) -> str:
    """`c_nmr, 5 Da, acml-base, re-ranked`"""
    return f"{one.question}, {_among(one)}, {one.system}"


def _among(one: Found) -> str:
    if one.direction == "to-record":
        return "to record"
    return one.filter if one.kind == "recall" else one.kind


def not_made(found: Sequence[Found]) -> str:
    """Baselines that say why they could not be made."""
    lines = [
        f"- {one.question}: {one.system}: {one.data['why_not']}" for one in found if one.kind == "baseline"
    ]
    return "Baselines that could not be made:\n\n" + "\n".join(dict.fromkeys(lines)) if lines else ""
