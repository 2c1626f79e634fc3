"""Property benchmarks: a table with systems as columns and sets as rows, ranks, and who is ahead of whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.found import Found
from benchmarks.report.markdown import commands, count, joined, table

LOWER_IS_BETTER = ("rmse", "mae", "mse")
HIGHER_IS_BETTER = ("spearman", "roc-auc", "auroc", "pr-auc", "auprc", "accuracy", "r2")

ABLATION = "modalities"
"""how groups of systems that differ in what they were trained on are called, at least at first"""

Told = Mapping[str, Any]


def section(one: Found) -> str:
    """All tables of one property benchmark."""
    data = one.data
    sets: Sequence[Told] = data["sets"]
    names = dict.fromkeys(name for each in sets for name in each["systems"])
    systems = [name for name in names if any(_value(each, name, "mean") is not None for each in sets)]
    return joined(
        [
            f"### {data['benchmark']}",
            "Test score, mean over splits and seeds ± their standard deviation; the best mean of each row is "
            "bold. Arrows say which way is better.",
            _scores(sets, systems, data.get("ranks") or {}),
            _unseen(sets, systems),
            _ranks(data.get("groups") or {}),
            _wins(data.get("wins") or {}, data.get("spread")),
            _reasons(sets),
            commands([one.command]),
        ]
    )


def brief(one: Found) -> str:
    """What a README has room for: ranks, duels, and the scores of systems that answered at least half of the
    sets, without those of the ablation.

    The command is the whole benchmark's: results are often made in parts, with paths of one machine.
    """
    data = one.data
    groups: Mapping[str, Told] = data.get("groups") or {}
    compared = [group for title, group in groups.items() if title.startswith(ABLATION)]
    ablated = {system for group in compared for system in group.get("ranks") or {}} - {"untrained"}
    answered: dict[str, list[str]] = {}
    for each in data["sets"]:
        for name in each["systems"]:
            if name not in ablated and _value(each, name, "mean") is not None:
                answered.setdefault(name, []).append(each["set"])
    shown = {name for of in answered.values() for name in of}
    sets = [each for each in data["sets"] if each["set"] in shown]
    systems = [name for name, of in answered.items() if 2 * len(of) >= len(sets)]
    duels = {
        name: duel
        for name, duel in (data.get("wins") or {}).items()
        if not isinstance(duel, Mapping) or any(duel.get(what) for what in ("ahead", "within", "behind"))
    }
    name = data["benchmark"]
    return joined(
        [
            _scores(sets, systems, {}),
            _ranks(groups),
            _wins(duels, data.get("spread")),
            commands(
                [f"python -m benchmarks properties benchmarks/{name}.toml --out benchmarks/results/{name}"]
            ),
        ]
    )


def higher_is_better(metric: str) -> bool | None:
    """None for a metric that nobody named here."""
    name = metric.lower()
    return True if name in HIGHER_IS_BETTER else (False if name in LOWER_IS_BETTER else None)


def best_of(values: Mapping[str, float | None], metric: str) -> set[str]:
    """The systems with the best value; several where it is shared; none where nobody says what is
    better, or only one was asked.
    """
    known = {name: value for name, value in values.items() if value is not None}
    better = higher_is_better(metric)
    if len(known) < 2 or better is None:
        return set()
    best = max(known.values()) if better else min(known.values())
    return {name for name, value in known.items() if value == best}


def _scores(sets: Sequence[Told], systems: Sequence[str], ranks: Mapping[str, float]) -> str:
    rows = [_row(each, systems, "mean") for each in sets]
    if len(ranks) > 1:
        least = min(ranks.values())
        cells = [
            _bold(f"{ranks[name]:.2f}", ranks[name] == least) if name in ranks else "" for name in systems
        ]
        rows.append(["mean rank", "", "", *cells])
    return table(["set", "metric", "molecules", *systems], rows)


def _unseen(sets: Sequence[Told], systems: Sequence[str]) -> str:
    """The same over the test molecules that contrastive training did not see, where that is known."""
    known = [each for each in sets if any(_value(each, name, "unseen") is not None for name in systems)]
    if not known:
        return ""
    rows = [_row(each, systems, "unseen") for each in known]
    head = ["set", "metric", "seen in training", *systems]
    return "Without the test molecules that contrastive training saw:\n\n" + table(head, rows)


def _row(each: Told, systems: Sequence[str], what: str) -> list[str]:
    """A mean over fewer runs than the set has says so, and is not compared."""
    values = {name: _value(each, name, what) for name in systems}
    runs = {name: each["systems"].get(name, {}).get("values", []) for name in systems}
    done = {name: sum(value is not None for value in of) for name, of in runs.items()}
    best = best_of({n: x if done[n] == len(runs[n]) else None for n, x in values.items()}, each["metric"])
    better = higher_is_better(each["metric"])
    arrow = "" if better is None else (" ↑" if better else " ↓")
    n = each.get("n") if what == "mean" else each.get("n_seen_in_training")
    cells = []
    for name in systems:
        value = values[name]
        sd = each["systems"].get(name, {}).get("sd") if what == "mean" else None
        spread = f" ± {sd:.3f}" if sd is not None and done[name] > 1 else ""
        part = f" ({done[name]} of {len(runs[name])} runs)" if done[name] < len(runs[name]) else ""
        text = "" if value is None else f"{value:.3f}{spread}{part}"
        cells.append(_bold(text, name in best))
    return [each["set"], f"{each['metric']}{arrow}", count(n), *cells]


def _value(each: Told, name: str, what: str) -> float | None:
    value = each["systems"].get(name, {}).get(what)
    return None if value is None else float(value)


def _bold(text: str, yes: bool) -> str:
    return f"**{text}**" if yes and text else text


def _ranks(groups: Mapping[str, Told]) -> str:
    parts = []
    for name, told in groups.items():
        ranks: Mapping[str, float] = told.get("ranks") or {}
        if ranks:
            rows = [[system, f"{rank:.2f}"] for system, rank in ranks.items()]
            title = f"Mean rank, {name} ({len(told['sets'])} sets that all of these answered):"
            parts.append(f"{title}\n\n{table(['system', 'mean rank'], rows)}")
    return joined(parts)


def _wins(wins: Mapping[str, Any], spread: str | None) -> str:
    """Duels (`ahead`, `within`, `behind` as lists of sets), or a number per system."""
    if not wins:
        return ""
    if not all(isinstance(told, Mapping) for told in wins.values()):
        return table(["system", "wins"], [[name, str(n)] for name, n in wins.items()])
    rows = [
        [
            name if name != f"{told['a']} against {told['b']}" else "",
            f"{told['a']} against {told['b']}",
            *[str(len(told.get(what, []))) for what in ("ahead", "within", "behind")],
            ", ".join(told.get("behind", [])),
        ]
        for name, told in wins.items()
    ]
    head = ["comparison", "systems", "ahead", "within the spread", "behind", "behind on"]
    how = f" Spread: {spread}." if spread else ""
    if not any(row[0] for row in rows):
        head, rows = head[1:], [row[1:] for row in rows]
    what = f"Sets on which the first is ahead by more than the spread.{how}"
    return f"{what}\n\n{table(head, rows, left=head.index('ahead'))}"


def _reasons(sets: Sequence[Told]) -> str:
    """Why a system has no value, where it says so: a line per reason."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for each in sets:
        for name, told in each["systems"].items():
            if told.get("why_not"):
                reasons.setdefault(str(told["why_not"]), {}).setdefault(name, []).append(each["set"])
    lines = [
        f"- {why}: " + "; ".join(f"{name} ({', '.join(of)})" for name, of in systems.items())
        for why, systems in reasons.items()
    ]
    return "Not answered:\n\n" + "\n".join(lines) if lines else ""
