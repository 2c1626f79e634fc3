"""Pieces of Markdown that every table is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first `left` columns to the left, the others to the right."""
    rule = [*["---"] * left, *["---:"] * (len(head) - left)]
    return "\n".join("| " + " | ".join(_cell(x) for x in line) + " |" for line in (head, rule, *rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def share(value: float | None) -> str:
    """A share with three digits; nothing where there is none."""
    return "" if value is None else f"{value:.3f}"


def with_interval(value: float | None, interval: Sequence[float | None] | None) -> str:
    """`0.689 (0.674 to 0.706)`"""
    if value is None or interval is None or any(x is None for x in interval):
        return share(value)
    low, high = interval
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def signed(value: float, interval: Sequence[float] | None = None) -> str:
    """`+0.231 (+0.210 to +0.251)`"""
    if interval is None:
        return f"{value:+.3f}"
    return f"{value:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f})"


def count(n: float | None) -> str:
    """`501,297`; nothing where there is none."""
    return "" if n is None else f"{n:,.0f}"


def spelled(name: str) -> str:
    """`nearest_spectrum` as a reader says it."""
    return name.replace("_", " ")


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`"""
    *first, last = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def commands(lines: Iterable[str | None]) -> str:
    """The distinct command lines, as a block; nothing where none is known."""
    known = list(dict.fromkeys(line for line in lines if line))
    return "Made by:\n\n```sh\n" + "\n".join(known) + "\n```" if known else ""


def joined(parts: Iterable[str]) -> str:
    """The parts that are not empty, a blank line between."""
    return "\n\n".join(part for part in parts if part)
