"""Answers as text for the terminal, a table of hits or the reason for each hit; and how modalities, numbers,
peaks and texts are written for any reader."""

from __future__ import annotations

import io
import math
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from acml_search import modalities
from acml_search.search.results import HIT_COLUMNS, MOLECULE_COLUMNS, Reason, plain, same_position

if TYPE_CHECKING:
    from acml_search.chem.peaks import Peak
    from acml_search.modalities import Modality, Observation
    from acml_search.search.check import Check, Misfit
    from acml_search.search.results import Answer, HitList, Reason


MAX_CHARACTERS = 400  # of one value that a page or a table shows
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def title(modality: str) -> str:
    """The modality as chemists call it; several are joined by "+"."""
    known = modalities.names()
    parts = modality.split("+")
    return " + ".join(modalities.get(part).title if part in known else clean(part) for part in parts)


def position(value: float | None, kind: Modality) -> str:
    """A position with the decimals of its modality; empty for none."""
    return "" if value is None else f"{value:.{kind.decimals}f}"


def paired(position: str, peak: Peak) -> str:
    """A position, of a cross peak with that of 1H: "55.2/3.81"."""
    return position if peak.proton is None else f"{position}/{peak.proton:.2f}"


def error(value: float | None, kind: Modality) -> str:
    """A signed error, with a real minus; empty for none."""
    return "" if value is None else signed(value, 1 if kind.relative_errors else min(kind.decimals, 2))


def signed(value: float, decimals: int) -> str:
    """`+1.2`, `−0.4`, and `0.0` without a sign."""
    text = f"{abs(value):.{decimals}f}"
    return text if not float(text) else ("−" if value < 0 else "+") + text


def atoms(numbers: Iterable[int]) -> str:
    """Atom numbers in ascending order, ranges of three or more drawn together: `0, 4–6`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts: list[str] = []
    for run in runs:
        texts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(texts)


def subscripts(formula: str) -> str:
    """`C8H8O3` -> `C₈H₈O₃`, for plots, where no other subscripts can be had."""
    return re.sub(r"(?<=[A-Za-z)\]])\d+", lambda found: found[0].translate(_SUBSCRIPTS), formula)


def clean(value: Any, longest: int = MAX_CHARACTERS) -> str:
    """One line of printable text of at most `longest` characters; empty for none and for NaN.

    Texts of a library come from strangers: control characters, and those that turn the direction of writing,
    are shown as �.
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    text = value if isinstance(value, str) else str(plain(value))
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def stated(peak: Peak, kind: Modality) -> str:
    """Multiplicity, couplings and nuclei of a peak as papers print them: "dd, J = 8.1, 1.8 Hz, 1H"."""
    parts = [clean(peak.multiplicity)] if peak.multiplicity else []
    if peak.couplings:
        parts.append(f"J = {', '.join(f'{j:g}' for j in peak.couplings)} Hz")
    if peak.count:
        parts.append(f"{peak.count}{kind.nuclei}")
    return ", ".join(parts)


def conditions(observation: Observation) -> Iterator[tuple[str, str]]:
    """How a spectrum was measured, as pairs of words."""
    if (peaks := observation.peaks) is None:
        return
    for word, form, value in (
        ("solvent", "{}", peaks.solvent),
        ("field", "{:g} MHz", peaks.field_mhz),
        ("precursor", "m/z {:.4f}", peaks.precursor_mz),
        ("adduct", "{}", peaks.adduct),
        ("neutral mass", "{:.4f} Da", observation.neutral_mass),
        ("collision energy", "{}", peaks.collision_energy),
    ):
        if value is not None:
            yield word, clean(form.format(value))


def left_out(observation: Observation) -> Iterator[str]:
    """Each part of what was given that is not used, and why."""
    for part in observation.peaks.left_out if observation.peaks else ():
        text = clean(part.text or position(part.position, modalities.get(observation.modality)))
        yield f"{text}: {clean(part.why or 'no reason given')}"


def library_columns(row: dict[str, Any]) -> dict[str, str]:
    """The library's own columns of a hit that have a value, as clean text."""
    texts = {
        clean(column): clean(value)
        for column, value in row.items()
        if column not in MOLECULE_COLUMNS and column not in HIT_COLUMNS
    }
    return {column: text for column, text in texts.items() if text}


def molecule_name(row: dict[str, Any]) -> str:
    """What the library calls this molecule, or its formula."""
    for column in ("name", "title", "compound_name", "compound"):
        if isinstance(row.get(column), str) and row[column].strip():
            return clean(row[column], 120)
    return clean(row["formula"])


class PeakRow(NamedTuple):
    """A row of a table of peaks, as text. grade: of `Grade`, or "lost" (observed, not explained) or
    "missing" (predicted, not observed)."""

    grade: str
    observed: str = ""
    kind: str = ""
    """how the peak was stated, or its intensity in percent of the highest"""
    predicted: str = ""
    atoms: str = ""
    error: str = ""
    times: str = ""
    """the error as a multiple of the expected one"""
    label: str = ""
    worth: str = ""
    """by how much the peak raises the logit"""


def peak_rows(reason: Reason) -> list[PeakRow]:
    """The matched peaks by falling position, then those without a partner."""
    kind, observed = reason.kind, reason.observed
    highest = observed.highest

    def row(at: float, grade: str) -> PeakRow:
        peak = observed.at(at)
        if peak is None:
            text = ""
        elif kind.plot == "sticks":
            text = "" if peak.intensity is None else f"{100 * peak.intensity / highest:.1f} %"
        else:
            text = stated(peak, kind)
        change = next((change for where, change in reason.occlusion if same_position(at, where)), None)
        return PeakRow(grade, position(at, kind), text, worth="" if change is None else signed(change, 2))

    rows = [
        row(match.observed, reason.grade(match))._replace(
            predicted=position(match.predicted, kind),
            atoms=atoms(match.atoms),
            error=error(reason.error(match), kind),
            times="" if (times := reason.times(match)) is None else f"{times:.1f}",
            label=subscripts(clean(match.label)),
        )
        for match in reason.matched
    ]
    foreign = {
        one.position: f" ({one.name}?)" for one in (reason.evidence.foreign if reason.evidence else ())
    }
    if reason.evidence is not None:
        lost = zip(reason.evidence.unmatched_observed, reason.evidence.unmatched_labels, strict=True)
        for at, label in sorted(lost, reverse=True):
            one = row(at, "lost")
            rows.append(one._replace(observed=one.observed + foreign.get(at, ""), label=label))
    if reason.evidence is None:
        rows += [row(at, "known") for at, _ in reason.occlusion]
    for missing in reason.unmatched_predicted:
        where = position(missing.position, kind)
        rows.append(PeakRow("missing", predicted=where, atoms=atoms(missing.atoms), label=missing.label))
    return rows


MAX_COLUMN = 24  # characters of a column of the library's own
MIN_SMILES = 24  # characters that the SMILES keep before a column of the library's own is left out
MAX_PEAK_ROWS = 60
MAX_MISFITS = 12
MAX_RANKED = 10
MAX_VALUE = 60  # characters of a value of the library's own, beside a hit's reason
_GAP = 2  # characters between columns
_PAIRED = ("record_carbons", "record_protons")
_HIDDEN = {
    "inchikey",
    "source_row",
    "why",
    "record_positions",
    "record_intensities",
    *_PAIRED,
}  # in the other formats
_TITLE = {"records": "records this molecule would give", "graph": "similar molecules"}
_COLOURS = {"good": "green", "fair": "yellow", "poor": "red", "lost": "magenta", "missing": "dim"}


class _Column(NamedTuple):
    head: str
    cells: list[str]
    right: bool

    @property
    def width(self) -> int:
        return max(map(cell_len, [self.head, *self.cells]))


def table(answer: Answer, *, width: int | None = None, colour: bool = False) -> str:
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


def explained(answer: Answer, *, colour: bool = False) -> str:
    """The reason for each hit, for `acml-search explain`. colour: errors in green, yellow and red."""
    lines: list[Text | Table] = [*_given(answer.observations)]
    for hits in answer.lists:
        for i, row in enumerate(hits.rows()):
            lines += [Text(), *_hit(row, hits, i, answer.observations)]
    return _printed(lines, 10_000, colour)


def checked(check: Check, *, colour: bool = False) -> str:
    """The answer to `acml-search check`: does the structure fit, what does not, which others fit better."""
    fit, n = check.structure, 1 + len(check.others)
    lines: list[Text | Table] = [*_given(check.observations), Text(), Text(clean(fit.smiles, 6_000), "bold")]
    alone = ", ".join(f"{title(name)} {x:.3f}" for name, x in fit.by_modality.items())
    by = f" ({alone})" if len(fit.by_modality) > 1 else ""
    said = f"    probability {fit.probability:.3f}{by}: so many of the structures that fit like this"
    lines.append(Text(said))
    lines.append(
        Text("        are right, if every second one asked about is a wrong one of the same formula")
    )
    if fit.among_others is None:
        lines.append(Text("        (isomers that differ in little may fit as well: --isomers compares them)"))
    else:
        others = "the other compared comes" if n == 2 else f"the {n - 1} others compared, together, come"
        said = f"    probability {fit.among_others:.3f} if {others} into question as often as this one"
        lines.append(Text(said))
        said = f"    share {fit.share:.3f}: how probable it is among the {n} compared, if one is right"
        lines.append(Text(said))
    misfits = fit.misfits()
    lines += [Text(), Text("misfits, of each spectrum the worst first" if misfits else "no misfits", "bold")]
    lines += [Text(f"    {_misfit(one)}") for one in misfits[:MAX_MISFITS]]
    if len(misfits) > MAX_MISFITS:
        lines.append(Text(f"    … and {len(misfits) - MAX_MISFITS:,} more"))
    for reason in fit.reasons(check.observations):
        heading = Text(title(reason.modality), "bold").append(f": {reason.summary()}")
        lines += [Text(), heading, *_peaks(reason)]
    if check.others:
        better = check.better
        said = f"{len(better)} of {n - 1} other structures {'fits' if len(better) == 1 else 'fit'} better"
        lines += [Text(), Text(said, "bold")]
        ranked = sorted([fit, *check.others], key=lambda one: -one.score)
        shown = [one for i, one in enumerate(ranked) if i < MAX_RANKED or one is fit]
        columns = [
            _Column("#", [str(1 + ranked.index(one)) for one in shown], True),
            _Column("share", [f"{one.share:.3f}" for one in shown], True),
            _Column("alone", [f"{one.probability:.3f}" for one in shown], True),
            _Column("", ["asked about" if one is fit else one.source for one in shown], False),
            _Column("SMILES", [clean(one.smiles) for one in shown], False),
        ]
        lines.append(_table(columns))
        if len(ranked) > len(shown):
            lines.append(Text(f"… and {len(ranked) - len(shown):,} less likely ones", "dim"))
    return _printed(lines, 10_000, colour)


def _misfit(one: Misfit) -> str:
    kind = modalities.get(one.modality)
    where = f"{title(one.modality)}, "
    where += f"atom{'s' if len(one.atoms) > 1 else ''} {atoms(one.atoms)}: " if one.atoms else ""
    at, predicted = position(one.observed, kind), position(one.predicted, kind)
    said = f" ({one.said})" if one.said else ""
    match one.what:
        case "unexplained":
            return f"{where}{at} observed, nothing predicted there{said}"
        case "missing":
            return f"{where}{predicted} predicted, not observed{said}"
        case "hydrogens":
            return f"{where}{at}, {one.said}"
    return f"{where}{at} observed, {predicted} predicted, {one.times:.1f} times the expected error off"


def _given(observations: Sequence[Observation]) -> Iterator[Text]:
    for one in observations:
        peaks = one.peaks or ()
        said = [f"{len(peaks)} peaks"] if peaks else [clean(one.given, MAX_VALUE)]
        said += [f"{word} {value}" for word, value in conditions(one)]
        yield Text(f"query   {title(one.modality)}: {', '.join(said)}")
        yield from (Text(f"        left out {text}") for text in left_out(one))


def _hit(
    row: dict[str, Any], hits: HitList, i: int, observations: Sequence[Observation]
) -> Iterator[Text | Table]:
    explanation = hits.explanation(i)
    rank = "not among the candidates" if row["rank"] is None else f"#{row['rank']}"
    yield Text(f"{rank}  key {row['key']}  {molecule_name(row)}", "bold")
    mass = f"{row['exact_mass']:.4f} Da"
    if explanation.mass_error_ppm is not None:
        mass += f" ({signed(explanation.mass_error_ppm, 1)} ppm)"
    mass += f" as {explanation.adduct}" if explanation.adduct else ""
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
        "times": "/ expected",
        "atoms": "atoms",
        "label": "fragment" if sticks else "hydrogens",
        "worth": "worth",
    }
    heads = {name: head for name, head in heads.items() if any(getattr(row, name) for row in rows)}
    shown = Table(box=None, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    shown.add_column("", min_width=2)
    for name, head in heads.items():
        right = name in ("observed", "predicted", "error", "times", "worth")
        shown.add_column(head, justify="right" if right else "left", no_wrap=True)
    shown.add_column("")
    for row in rows[:MAX_PEAK_ROWS]:
        note = {"lost": "not explained", "missing": "not observed"}.get(row.grade, "")
        cells = [Text(getattr(row, name)) for name in heads]
        shown.add_row("", *cells, note, style=_COLOURS.get(row.grade, "blue"))
    yield shown
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
    shown = Table(box=None, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    for column in columns:
        shown.add_column(Text(column.head), justify="right" if column.right else "left", no_wrap=True)
    shown.add_row(*(Text("─" * column.width, "dim") for column in columns))
    for cells in zip(*(column.cells for column in columns), strict=True):
        shown.add_row(*map(Text, cells))
    return shown


def _heading(answer: Answer) -> Iterator[str]:
    query = answer.query
    for one in answer.observations:
        yield f"query   {_observed(one)}"
    if not answer.observations:
        yield f"query   {clean(query['standardised'])}   {query['formula']}   {query['exact_mass']:.4f} Da"
    if query.get("filter"):
        parts = ", ".join(f"{name} {clean(value)}" for name, value in query["filter"].items())
        yield f"filter  {parts}   (pass: {query['passed']:,})"
    if answer.p_in_library is not None:
        yield f"found   with a probability of {answer.p_in_library:.2f} the compound is among these molecules"


def _observed(one: Observation) -> str:
    """An observation in a line: how many peaks were understood and where they lie."""
    if one.peaks is None:
        return f"{one.modality}   {clean(one.given)}"
    positions = [paired(f"{peak.position:.10g}", peak) for peak in one.peaks]
    few = ", ".join(positions[:8]) + (" …" if len(positions) > 8 else "")
    stated = (one.peaks.precursor_mz, one.peaks.adduct, one.peaks.solvent)
    ion = "".join(f"   {value}" for value in stated if value is not None)
    return f"{one.modality}   {len(positions)} peaks: {few} {modalities.get(one.modality).unit}{clean(ion)}"


def _columns(hits: HitList, width: int) -> tuple[list[_Column], list[str]]:
    """The columns that fit, and the names of the library's own columns that do not."""
    rows = list(hits.rows())

    def column(name: str, head: str, form: str, right: bool = True) -> _Column:
        cells = ["" if row[name] is None else format(row[name], form) for row in rows]
        return _Column(head, cells, right)

    explanations = [hits.explanation(i) for i in range(len(rows))]
    logits = [one.logits for one in explanations]
    adducts = [one.adduct or "" for one in explanations]
    several = list(logits[0]) if len(logits[0]) > 1 else []
    left = [
        column("rank", "#", "d"),
        column("score", "score", ".4f"),
        column("probability", "prob.", ".3f"),
        *(_Column(name, [f"{one[name]:+.1f}" for one in logits], True) for name in several),
        column("key", "key", "d"),
        column("formula", "formula", "s", right=False),
        column("exact_mass", "mass/Da", ".4f"),
        *([_Column("ion", adducts, False)] if any(adducts) else []),
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
