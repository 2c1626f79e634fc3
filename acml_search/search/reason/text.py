"""The reason for each hit as plain text for terminals: the same facts as on the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from acml_search.search.answer import Answer
from acml_search.search.reason import facts, words

_MOST = 60  # rows of a table of peaks
_COLOURS = {"good": "32", "fair": "33", "poor": "31", "lost": "35", "missing": "2", "known": "34"}
_SHORT = 60  # characters of a column of the library's own


def write_text(answer: Answer, out: TextIO, *, colour: bool = False) -> None:
    """Write it. colour: errors in green, yellow and red, by ANSI codes."""
    parts = ["\n".join(_heading(answer))]
    for hits in answer.lists:
        parts += ["\n".join(_hit(row, answer, colour)) for row in hits.rows()]
    out.write("\n\n".join(parts) + "\n")


def _heading(answer: Answer) -> Iterator[str]:
    for one in facts.observations(answer):
        peaks = one.get("peaks") or ()
        said = [f"{len(peaks)} peaks"] if peaks else [words.clean(one.get("given"), _SHORT)]
        said += [f"{word} {value}" for word, value in facts.about(one)]
        yield f"query   {words.name(one['modality'])}: {', '.join(said)}"
        for text in facts.left_out(one):
            yield f"        left out {text}"


def _hit(row: dict[str, Any], answer: Answer, colour: bool) -> Iterator[str]:
    bold, end = ("\x1b[1m", "\x1b[0m") if colour else ("", "")
    why = row.get("why") or {}
    logits = why.get("logits") or {}
    rank = "not among the candidates" if row["rank"] is None else f"#{row['rank']}"
    yield f"{bold}{rank}  key {row['key']}  {facts.title(row)}{end}"
    mass = f"{row['exact_mass']:.4f} Da"
    if why.get("mass_error_ppm") is not None:
        mass += f" ({words.signed(why['mass_error_ppm'], 1)} ppm)"
    yield f"    {words.clean(row['formula'])}  {mass}  {words.clean(row['inchikey'])}"
    yield f"    {words.clean(row['smiles'], 6_000)}"
    if logits:
        parts = " ".join(f"{words.name(name)} {words.signed(x, 1)}" for name, x in logits.items())
        total = f"{words.signed(sum(logits.values()), 1)} = " if len(logits) > 1 else ""
        yield f"    logit {total}{parts}, probability {row['probability']:.3f}"
    own = [f"{name} {words.clean(value, _SHORT)}" for name, value in facts.own_columns(row).items()]
    if own:
        yield f"    {' · '.join(own)}"
    peaks = facts.observed_peaks(answer)
    for reason in facts.reasons(row, answer):
        if reason.has_peaks:
            yield ""
            yield f"  {bold}{words.name(reason.modality)}{end}: {facts.summary(reason)}"
            yield from _table(facts.peak_rows(reason, peaks.get(reason.modality)), reason, colour)


def _table(rows: list[facts.PeakRow], reason: facts.Reason, colour: bool) -> Iterator[str]:
    """Aligned columns; those without any value are left out."""
    names = {
        "observed": words.unit(reason.modality) if words.is_ms(reason.modality) else "observed",
        "kind": "intensity" if words.is_ms(reason.modality) else "as stated",
        "predicted": "predicted",
        "error": "error",
        "atoms": "atoms",
        "label": "fragment",
        "worth": "worth",
    }
    if words.is_ms(reason.modality):
        del names["predicted"]
    shown = {key: head for key, head in names.items() if any(getattr(row, key) for row in rows)}
    widths = {key: max(len(head), *(len(getattr(row, key)) for row in rows)) for key, head in shown.items()}
    right = {"observed", "predicted", "error", "worth"}

    def line(cells: dict[str, str]) -> str:
        padded = [c.rjust(widths[k]) if k in right else c.ljust(widths[k]) for k, c in cells.items()]
        return "    " + "  ".join(padded).rstrip()

    yield line(shown)
    for row in rows[:_MOST]:
        text = line({key: getattr(row, key) for key in shown})
        if row.grade in ("lost", "missing"):
            text += "  " + ("not explained" if row.grade == "lost" else "not observed")
        yield f"\x1b[{_COLOURS[row.grade]}m{text}\x1b[0m" if colour else text
    if len(rows) > _MOST:
        yield f"    … and {len(rows) - _MOST:,} more"
