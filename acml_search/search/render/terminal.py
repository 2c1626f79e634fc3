"""Answers for the terminal: a table of hits, and the reason for each hit as text."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from acml_search import modalities
from acml_search.search.render.formatting import (
    clean,
    conditions,
    left_out,
    library_columns,
    molecule_name,
    peak_rows,
    signed,
    title,
)
from acml_search.search.results import HIT_COLUMNS, MOLECULE_COLUMNS

if TYPE_CHECKING:
    from acml_search.modalities import Observation
    from acml_search.search.explanation import Reason
    from acml_search.search.results import Answer, HitList

MAX_COLUMN = 24  # characters of a column of the library's own
MIN_SMILES = 24  # characters that the SMILES keep before a column of the library's own is left out
MAX_PEAK_ROWS = 60
MAX_VALUE = 60  # characters of a value of the library's own, beside a hit's reason
_GAP = 2  # characters between columns
_HIDDEN = {"inchikey", "source_row", "why", "record_positions", "record_intensities"}  # in the other formats
_TITLE = {"records": "records this molecule would give", "graph": "similar molecules"}
_COLOURS = {"good": "green", "fair": "yellow", "poor": "red", "lost": "magenta", "missing": "dim"}


class _Column(NamedTuple):
    head: str
    cells: list[str]
    right: bool

    @property
    def width(self) -> int:
        return max(map(cell_len, [self.head, *self.cells]))


def render(answer: Answer, *, width: int | None = None, colour: bool = False) -> str:
    """`answer` in lines of at most `width` characters (the terminal's when None; at least 40).

    colour: set heads in bold and rules faint with ANSI codes. Control characters in the library's own columns
    are shown as �, so that no file can write to the terminal what it likes.
    """
    width = max(40, width or shutil.get_terminal_size((100, 24)).columns)
    lines: list[Text | Table] = [Text(_cut(line, width)) for line in _heading(answer)]
    for hits in answer.lists:
        kind = "molecules that fit" if answer.observations else _TITLE[hits.side]
        lines += [Text(), Text(_cut(f"{hits.modality} · {hits.side} · {kind}", width), "bold")]
        if len(hits) == 0:
            lines.append(Text("no hits"))
            continue
        columns, omitted = _columns(hits, width)
        lines.append(_table(columns))
        if omitted:
            lines.append(Text(_cut(f"not shown for width: {', '.join(omitted)}", width), "dim"))
    return _printed(lines, width, colour)


def write_text(answer: Answer, out: TextIO, *, colour: bool = False) -> None:
    """The reason for each hit, for `acml-search explain`. colour: errors in green, yellow and red."""
    lines: list[Text | Table] = []
    for one in answer.observations:
        peaks = one.peaks or ()
        said = [f"{len(peaks)} peaks"] if peaks else [clean(one.given, MAX_VALUE)]
        said += [f"{word} {value}" for word, value in conditions(one)]
        lines.append(Text(f"query   {title(one.modality)}: {', '.join(said)}"))
        lines += [Text(f"        left out {text}") for text in left_out(one)]
    for hits in answer.lists:
        for i, row in enumerate(hits.rows()):
            lines += [Text(), *_hit(row, hits, i, answer.observations)]
    out.write(_printed(lines, 10_000, colour) + "\n")


def _hit(
    row: dict[str, Any], hits: HitList, i: int, observations: Sequence[Observation]
) -> Iterator[Text | Table]:
    explanation = hits.explanation(i)
    rank = "not among the candidates" if row["rank"] is None else f"#{row['rank']}"
    yield Text(f"{rank}  key {row['key']}  {molecule_name(row)}", "bold")
    mass = f"{row['exact_mass']:.4f} Da"
    if explanation.mass_error_ppm is not None:
        mass += f" ({signed(explanation.mass_error_ppm, 1)} ppm)"
    yield Text(f"    {clean(row['formula'])}  {mass}  {clean(row['inchikey'])}")
    yield Text(f"    {clean(row['smiles'], 6_000)}")
    if logits := explanation.logits:
        parts = " ".join(f"{title(name)} {signed(x, 1)}" for name, x in logits.items())
        total = f"{signed(sum(logits.values()), 1)} = " if len(logits) > 1 else ""
        yield Text(f"    logit {total}{parts}, probability {row['probability']:.3f}")
    if own := [f"{name} {clean(value, MAX_VALUE)}" for name, value in library_columns(row).items()]:
        yield Text(f"    {' · '.join(own)}")
    for reason in explanation.reasons(observations):
        if reason.has_peaks:
            heading = Text("  ").append(title(reason.modality), "bold").append(f": {reason.summary()}")
            yield from (Text(), heading, *_peaks(reason))


def _peaks(reason: Reason) -> Iterator[Text | Table]:
    """A table of peaks; columns without any value are left out."""
    rows = peak_rows(reason)
    sticks = reason.kind.plot == "sticks"
    heads = {
        "observed": reason.kind.unit if sticks else "observed",
        "kind": "intensity" if sticks else "as stated",
        **({} if sticks else {"predicted": "predicted"}),
        "error": "error",
        "atoms": "atoms",
        "label": "fragment",
        "worth": "worth",
    }
    heads = {name: head for name, head in heads.items() if any(getattr(row, name) for row in rows)}
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    table.add_column("", min_width=2)
    for name, head in heads.items():
        right = name in ("observed", "predicted", "error", "worth")
        table.add_column(head, justify="right" if right else "left", no_wrap=True)
    table.add_column("")
    for row in rows[:MAX_PEAK_ROWS]:
        note = {"lost": "not explained", "missing": "not observed"}.get(row.grade, "")
        cells = [Text(getattr(row, name)) for name in heads]
        table.add_row("", *cells, note, style=_COLOURS.get(row.grade, "blue"))
    yield table
    if len(rows) > MAX_PEAK_ROWS:
        yield Text(f"    … and {len(rows) - MAX_PEAK_ROWS:,} more")


def _printed(lines: Sequence[Text | Table], width: int, colour: bool) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as shown:
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
    ends = re.compile(r"(?: |\x1b\[[\d;]*m)+$")  # spaces that fill the last column go, codes stay
    stripped = [ends.sub(lambda end: end[0].replace(" ", ""), line) for line in shown.get().split("\n")]
    return "\n".join(stripped).rstrip("\n")


def _table(columns: Sequence[_Column]) -> Table:
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    for column in columns:
        table.add_column(Text(column.head), justify="right" if column.right else "left", no_wrap=True)
    table.add_row(*(Text("─" * column.width, "dim") for column in columns))
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _heading(answer: Answer) -> Iterator[str]:
    query = answer.query
    for one in answer.observations:
        yield f"query   {_observed(one)}"
    if not answer.observations:
        yield f"query   {clean(query['standardised'])}   {query['formula']}   {query['exact_mass']:.4f} Da"
    if query.get("filter"):
        parts = ", ".join(f"{name} {clean(value)}" for name, value in query["filter"].items())
        yield f"filter  {parts}   (pass: {query['passed']:,})"


def _observed(one: Observation) -> str:
    """An observation in a line: how many peaks were understood and where they lie."""
    if one.peaks is None:
        return f"{one.modality}   {clean(one.given)}"
    positions = [peak.position for peak in one.peaks]
    few = ", ".join(f"{x:.10g}" for x in positions[:8]) + (" …" if len(positions) > 8 else "")
    stated = (one.peaks.precursor_mz, one.peaks.adduct, one.peaks.solvent)
    ion = "".join(f"   {value}" for value in stated if value is not None)
    return f"{one.modality}   {len(positions)} peaks: {few} {modalities.get(one.modality).unit}{clean(ion)}"


def _columns(hits: HitList, width: int) -> tuple[list[_Column], list[str]]:
    """The columns that fit, and the names of the library's own columns that do not."""
    rows = list(hits.rows())

    def column(name: str, head: str, form: str, right: bool = True) -> _Column:
        cells = ["" if row[name] is None else format(row[name], form) for row in rows]
        return _Column(head, cells, right)

    logits = [hits.explanation(i).logits for i in range(len(rows))]
    several = list(logits[0]) if len(logits[0]) > 1 else []
    left = [
        column("rank", "#", "d"),
        column("score", "score", ".4f"),
        column("probability", "prob.", ".3f"),
        *(_Column(name, [f"{one[name]:+.1f}" for one in logits], True) for name in several),
        column("key", "key", "d"),
        column("formula", "formula", "s", right=False),
        column("exact_mass", "mass/Da", ".4f"),
    ]
    smiles = column("smiles", "SMILES", "s", right=False)
    # a narrow terminal keeps the SMILES and loses, in this order, the mass, the formula, the probability
    for name in ("mass/Da", "formula", "prob."):
        if width - _total(left) >= min(smiles.width, MIN_SMILES):
            break
        left = [item for item in left if item.head != name]
    room = width - _total(left)
    own: list[_Column] = []
    omitted = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in MOLECULE_COLUMNS or name in HIT_COLUMNS or name in _HIDDEN or values == [None] * len(rows):
            continue
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        cells = [_cut(clean(value), MAX_COLUMN) for value in values]
        new = _Column(_cut(clean(name), MAX_COLUMN), cells, numbers)
        if room - _GAP - new.width >= min(smiles.width, MIN_SMILES):
            room -= _GAP + new.width
            own.append(new)
        else:
            omitted.append(clean(name))
    room = max(room, len(smiles.head))
    return [*left, smiles._replace(cells=[_cut(cell, room) for cell in smiles.cells]), *own], omitted


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width + _GAP for column in columns)


def _cut(text: str, width: int) -> str:
    """`text` in at most `width` columns of a terminal, with … where it was cut."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
