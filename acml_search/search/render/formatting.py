"""How modalities, numbers, peaks and texts are written for a reader."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from acml_search import modalities
from acml_search.search.explanation import Reason, same_position
from acml_search.search.results import HIT_COLUMNS, MOLECULE_COLUMNS, plain

if TYPE_CHECKING:
    from acml_search.chem.peaks import Peak
    from acml_search.modalities import Modality, Observation

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
            label=subscripts(clean(match.label)),
        )
        for match in reason.matched
    ]
    rows += [row(at, "lost") for at in reason.unmatched_observed]
    if reason.evidence is None:
        rows += [row(at, "known") for at, _ in reason.occlusion]
    for missing in reason.unmatched_predicted:
        at = position(missing.position, kind)
        rows.append(PeakRow("missing", predicted=at, atoms=atoms(missing.atoms)))
    return rows
