"""The facts of a hit's `why`, typed: which peak was matched with which atoms, and how far off."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from acml_search.search.answer import Answer
from acml_search.search.columns import MOLECULE_COLUMNS, OURS
from acml_search.search.reason import words

Grade = Literal["good", "fair", "poor", "known"]
"""of a matched peak; "known": explained, with no error to grade"""

# Largest error that is good, and fair, in ppm of shift or of m/z. Of shifts: about once and twice-and-a-half
# the mean error of shift predictors (1 to 2 ppm for 13C, 0.2 ppm for 1H); of m/z: what Orbitraps and
# quadrupole time-of-flight instruments keep.
BOUNDS = {"c_nmr": (2.0, 5.0), "h_nmr": (0.2, 0.5), "lc_ms": (5.0, 10.0)}
_SAME = 1e-4  # positions closer than this are one peak: they went through float32 on the way


class Peak(NamedTuple):
    """An observed peak as it was read. low and high: ends of a range (both the position where there is
    none); intensity: any scale."""

    position: float
    low: float
    high: float
    intensity: float | None
    nuclei: int | None
    kind: str
    """multiplicity, nuclei and couplings as papers print them: "dd, J = 8.1, 1.8 Hz, 1H" """


class Match(NamedTuple):
    """An observed peak and what of the molecule explains it."""

    observed: float
    predicted: float | None
    atoms: tuple[int, ...]
    error: float | None
    """observed - predicted, ppm"""
    label: str
    grade: Grade


class Predicted(NamedTuple):
    """A predicted peak that was not observed."""

    position: float
    atoms: tuple[int, ...]


@dataclass(frozen=True)
class Reason:
    """What one modality says for or against one molecule. Matches go by falling position."""

    modality: str
    logit: float | None
    score: float | None
    matched: tuple[Match, ...] = ()
    unmatched_observed: tuple[float, ...] = ()
    unmatched_predicted: tuple[Predicted, ...] = ()
    occlusion: tuple[tuple[float, float], ...] = ()
    """m/z of a peak and by how much it raises the logit, the greatest change first"""
    compared: bool = True
    """peak by peak"""

    @property
    def has_peaks(self) -> bool:
        return bool(self.matched or self.unmatched_observed or self.unmatched_predicted or self.occlusion)

    @property
    def mean_error(self) -> float | None:
        """Mean absolute error of the matched peaks, ppm; None when none has one."""
        errors = [abs(match.error) for match in self.matched if match.error is not None]
        return sum(errors) / len(errors) if errors else None

    def grades(self) -> dict[int, str]:
        """The grade of every atom that a peak speaks of, the worst where several do; "missing" for atoms
        whose predicted peak was not observed."""
        worst = ("known", "good", "fair", "poor", "missing")
        found: dict[int, str] = {}
        pairs: list[tuple[str, tuple[int, ...]]] = [(match.grade, match.atoms) for match in self.matched]
        pairs += [("missing", peak.atoms) for peak in self.unmatched_predicted]
        for grade, numbers in pairs:
            for atom in numbers:
                found[atom] = max(found.get(atom, grade), grade, key=worst.index)
        return found


def reasons(row: dict[str, Any], answer: Answer) -> list[Reason]:
    """The reasons of one hit's row, in the order of the observations; every part of `why` may be missing."""
    why = row.get("why") or {}
    logits, evidence, occlusion = (why.get(part) or {} for part in ("logits", "evidence", "occlusion"))
    asked = [observation.get("modality") for observation in observations(answer)]
    names = dict.fromkeys([*(n for n in asked if n in logits or n in evidence), *logits, *evidence])
    return [
        _reason(name, logits.get(name), evidence.get(name) or {}, occlusion.get(name) or ()) for name in names
    ]


def observations(answer: Answer) -> list[dict[str, Any]]:
    """What was observed, as the answer repeats it; empty when a molecule was asked for."""
    return list(answer.query.get("observations") or ())


class Peaks:
    """Observed peaks in ascending order; a position finds its peak."""

    def __init__(self, peaks: Iterable[Peak]) -> None:
        self._peaks = sorted(peaks)
        self._positions = [peak.position for peak in self._peaks]

    def at(self, position: float) -> Peak | None:
        """The peak read at `position`, give or take what float32 loses."""
        i = bisect_left(self._positions, position)
        near = self._peaks[max(0, i - 1) : i + 1]
        nearest = min(near, key=lambda peak: abs(peak.position - position), default=None)
        if nearest is None or abs(nearest.position - position) > _SAME * max(1.0, abs(position) / 100):
            return None
        return nearest

    def __iter__(self) -> Iterator[Peak]:
        return iter(self._peaks)

    def __len__(self) -> int:
        return len(self._peaks)


def observed_peaks(answer: Answer) -> dict[str, Peaks]:
    """The peaks of every spectrum by modality, as they were read; of several spectra of one modality those of
    the first, which are compared one by one."""
    found: dict[str, Peaks] = {}
    for observation in observations(answer):
        if observation.get("peaks"):
            found.setdefault(
                observation["modality"],
                Peaks(_peak(peak, observation["modality"]) for peak in observation["peaks"]),
            )
    return found


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


def peak_rows(reason: Reason, peaks: Peaks | None) -> list[PeakRow]:
    """The matched peaks by falling position, then what has no partner. peaks: those that were observed."""
    modality = reason.modality
    most = max((peak.intensity or 0.0 for peak in peaks or ()), default=0.0) or 1.0

    def row(position: float, grade: str) -> PeakRow:
        peak = peaks.at(position) if peaks else None
        kind = peak.kind if peak else ""
        if words.is_ms(modality):
            kind = f"{100 * peak.intensity / most:.1f} %" if peak and peak.intensity is not None else ""
        near = (change for mz, change in reason.occlusion if abs(mz - position) <= _SAME * max(1.0, mz / 100))
        change = next(near, None)
        worth = "" if change is None else words.signed(change, 2)
        return PeakRow(grade, words.position(position, modality), kind, worth=worth)

    rows = [
        row(match.observed, match.grade)._replace(
            predicted=words.position(match.predicted, modality),
            atoms=words.atoms(match.atoms),
            error=words.error(match.error, modality),
            label=words.subscripts(match.label),
        )
        for match in reason.matched
    ]
    rows += [row(position, "lost") for position in reason.unmatched_observed]
    if not reason.compared:
        rows += [row(mz, "known") for mz, _ in reason.occlusion]
    for missing in reason.unmatched_predicted:
        position, atoms = words.position(missing.position, modality), words.atoms(missing.atoms)
        rows.append(PeakRow("missing", predicted=position, atoms=atoms))
    return rows


def summary(reason: Reason) -> str:
    """How much of the spectrum is explained, in words."""
    if not reason.compared:
        return "not compared peak by peak"
    matched = len({match.observed for match in reason.matched})  # a peak may be of several groups of atoms
    lost = len(set(reason.unmatched_observed))
    verb = "explained" if words.is_ms(reason.modality) else "matched"
    parts = [f"{matched} of {matched + lost} observed peaks {verb}"]
    if reason.mean_error is not None:
        parts.append(f"mean error {reason.mean_error:.2f} ppm")
    if reason.unmatched_predicted:
        n = len(reason.unmatched_predicted)
        parts.append(f"{n} predicted {'peak' if n == 1 else 'peaks'} not observed")
    return ", ".join(parts)


def own_columns(row: dict[str, Any]) -> dict[str, str]:
    """The library's own columns of a hit that say something, as clean text."""
    texts = {
        words.clean(column): words.clean(value)
        for column, value in row.items()
        if column not in MOLECULE_COLUMNS and column not in OURS
    }
    return {column: text for column, text in texts.items() if text}


def title(row: dict[str, Any]) -> str:
    """What the library calls this molecule, or its formula."""
    for column in ("name", "title", "compound_name", "compound"):
        if isinstance(row.get(column), str) and row[column].strip():
            return words.clean(row[column], 120)
    return words.clean(row["formula"])


def about(observation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known of how a spectrum was measured, as pairs of words."""
    forms = {
        "solvent": ("solvent", "{}"),
        "field_mhz": ("field", "{:g} MHz"),
        "precursor_mz": ("precursor", "m/z {:.4f}"),
        "adduct": ("adduct", "{}"),
        "neutral_mass": ("neutral mass", "{:.4f} Da"),
        "collision_energy": ("collision energy", "{}"),
    }
    for key, (word, form) in forms.items():
        value = observation.get(key)
        if value is not None:
            yield word, words.clean(form.format(value))


def left_out(observation: dict[str, Any]) -> Iterator[str]:
    """Each part of what was given that is not used, and why."""
    for part in observation.get("left_out") or ():
        text = words.clean(part.get("text") or words.position(part.get("position"), observation["modality"]))
        yield f"{text}: {words.clean(part.get('why') or 'no reason given')}"


def _reason(modality: str, logit: float | None, evidence: dict[str, Any], occlusion: Any) -> Reason:
    matched = [_match(modality, match) for match in evidence.get("matched") or ()]
    missing = evidence.get("unmatched_predicted") or ()
    return Reason(
        modality,
        logit,
        evidence.get("score"),
        tuple(sorted(matched, key=lambda match: -match.observed)),
        tuple(sorted(map(float, evidence.get("unmatched_observed") or ()), reverse=True)),
        tuple(Predicted(float(peak["position"]), tuple(peak.get("atoms") or ())) for peak in missing),
        tuple(sorted(((float(mz), float(change)) for mz, change in occlusion), key=lambda x: -abs(x[1]))),
        bool(evidence),
    )


def _match(modality: str, match: dict[str, Any]) -> Match:
    observed, predicted, error = float(match["observed"]), match.get("predicted"), match.get("error")
    if error is None and predicted is not None:
        error = observed - predicted
        if words.is_ms(modality):
            error *= 1e6 / predicted
    grade: Grade = "known"
    if error is not None and modality in BOUNDS:
        good, fair = BOUNDS[modality]
        grade = "good" if abs(error) <= good else "fair" if abs(error) <= fair else "poor"
    label = words.clean(match.get("label"))
    return Match(observed, predicted, tuple(match.get("atoms") or ()), error, label, grade)


def _peak(peak: dict[str, Any], modality: str) -> Peak:
    position = float(peak["position"])
    low, high = (float(position if peak.get(end) is None else peak[end]) for end in ("low", "high"))
    kind = [words.clean(peak["multiplicity"])] if peak.get("multiplicity") else []
    if peak.get("couplings"):
        kind.append(f"J = {', '.join(f'{j:g}' for j in peak['couplings'])} Hz")
    if peak.get("count"):
        kind.append(f"{peak['count']}{'C' if modality == 'c_nmr' else 'H'}")
    return Peak(position, low, high, peak.get("intensity"), peak.get("count"), ", ".join(kind))
