"""Why a molecule is a hit, typed: logits, matched peaks, and how well each is explained."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from acml_search import modalities
from acml_search.modalities.evidence import Evidence, Match, Missing

if TYPE_CHECKING:
    from acml_search.chem.peaks import Peak
    from acml_search.modalities import Modality, Observation

Grade = Literal["good", "fair", "poor", "known"]
"""of a matched peak, by the modality's `tolerance`; "known": explained, with no error to grade"""
_SAME = 1e-4  # positions closer than this are one peak: they passed through float32


@dataclass(frozen=True)
class Explanation:
    """Why a molecule is a hit, by modality.

    logits: what each observation adds to the score. cosines: of the vectors. mass_error_ppm: exact mass
    against the neutral mass that a precursor or the filter states. formula_matches: True where a formula was
    a condition. evidence: peaks that were compared with the molecule. occlusion: positions of peaks, and by
    how much each raises the logit.
    """

    logits: Mapping[str, float] = field(default_factory=dict)
    cosines: Mapping[str, float] = field(default_factory=dict)
    mass_error_ppm: float | None = None
    formula_matches: bool | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    occlusion: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The `why` of a hit in JSON; what is not known is left out."""
        document: dict[str, Any] = {
            "logits": {name: round(logit, 4) for name, logit in self.logits.items()},
            "cosines": {name: round(cosine, 4) for name, cosine in self.cosines.items()},
            "mass_error_ppm": self.mass_error_ppm,
            "formula_matches": self.formula_matches,
            "evidence": {name: one.to_dict() for name, one in self.evidence.items()},
            "occlusion": {
                name: [[round(position, 4), round(change, 4)] for position, change in changes]
                for name, changes in self.occlusion.items()
            },
        }
        return {name: value for name, value in document.items() if value not in (None, {})}

    def reasons(self, observations: Sequence[Observation] = ()) -> list[Reason]:
        """One per modality, those of the observations first and in their order."""
        first: dict[str, Observation] = {}
        for one in observations:
            first.setdefault(one.modality, one)
        names = [name for name in first if name in self.logits or name in self.evidence]
        return [
            Reason(
                name,
                self.logits.get(name),
                self.evidence.get(name),
                tuple(sorted(self.occlusion.get(name, ()), key=lambda peak: -abs(peak[1]))),
                ObservedPeaks(first[name].peaks or () if name in first else ()),
            )
            for name in dict.fromkeys([*names, *self.logits, *self.evidence, *self.occlusion])
        ]


class ObservedPeaks:
    """Observed peaks in ascending order; a position finds its peak."""

    def __init__(self, peaks: Iterable[Peak]) -> None:
        self._peaks = sorted(peaks, key=lambda peak: peak.position)
        self._positions = [peak.position for peak in self._peaks]

    def at(self, position: float) -> Peak | None:
        """The peak at `position`, give or take what float32 loses."""
        i = bisect_left(self._positions, position)
        near = self._peaks[max(0, i - 1) : i + 1]
        nearest = min(near, key=lambda peak: abs(peak.position - position), default=None)
        return nearest if nearest is not None and same_position(nearest.position, position) else None

    @cached_property
    def highest(self) -> float:
        """The largest intensity, 1 where none is known."""
        return max((peak.intensity or 0.0 for peak in self._peaks), default=0.0) or 1.0

    def __iter__(self) -> Iterator[Peak]:
        return iter(self._peaks)

    def __len__(self) -> int:
        return len(self._peaks)


def same_position(a: float, b: float) -> bool:
    """Whether two positions are one peak's."""
    return abs(a - b) <= _SAME * max(1.0, abs(b) / 100)


@dataclass(frozen=True)
class Reason:
    """What one modality says for or against one molecule, ready to be shown."""

    modality: str
    logit: float | None
    evidence: Evidence | None
    occlusion: tuple[tuple[float, float], ...]
    """position of a peak and by how much it raises the logit, the greatest change first"""
    observed: ObservedPeaks

    @cached_property
    def kind(self) -> Modality:
        """The modality itself."""
        return modalities.get(self.modality)

    @cached_property
    def matched(self) -> list[Match]:
        """By falling position."""
        return sorted(self.evidence.matched if self.evidence else (), key=lambda match: -match.observed)

    @cached_property
    def unmatched_observed(self) -> list[float]:
        """By falling position."""
        return sorted(self.evidence.unmatched_observed if self.evidence else (), reverse=True)

    @property
    def unmatched_predicted(self) -> Sequence[Missing]:
        return self.evidence.unmatched_predicted if self.evidence else ()

    @property
    def has_peaks(self) -> bool:
        return bool(self.matched or self.unmatched_observed or self.unmatched_predicted or self.occlusion)

    def error(self, match: Match) -> float | None:
        """observed - predicted, in the unit of the modality or in ppm of the position."""
        if match.error is not None or match.predicted is None:
            return match.error
        error = match.observed - match.predicted
        return error * 1e6 / match.predicted if self.kind.relative_errors else error

    def grade(self, match: Match) -> Grade:
        error = self.error(match)
        if error is None or self.kind.tolerance is None:
            return "known"
        good, fair = self.kind.tolerance
        return "good" if abs(error) <= good else "fair" if abs(error) <= fair else "poor"

    def atom_grades(self) -> dict[int, str]:
        """The grade of every atom that a peak belongs to, the worst where several do; "missing" for atoms
        whose predicted peak was not observed."""
        order = ("known", "good", "fair", "poor", "missing")
        pairs: list[tuple[str, list[int]]] = [(self.grade(match), match.atoms) for match in self.matched]
        pairs += [("missing", peak.atoms) for peak in self.unmatched_predicted]
        worst: dict[int, str] = {}
        for grade, atoms in pairs:
            for atom in atoms:
                worst[atom] = max(worst.get(atom, grade), grade, key=order.index)
        return worst

    def summary(self) -> str:
        """How much of the spectrum is explained, in words."""
        if self.evidence is None:
            return "not compared peak by peak"
        matched = len({match.observed for match in self.matched})  # a peak may be of several groups of atoms
        missed = len(set(self.unmatched_observed))
        verb = "explained" if self.kind.plot == "sticks" else "matched"
        parts = [f"{matched} of {matched + missed} observed peaks {verb}"]
        errors = [abs(error) for match in self.matched if (error := self.error(match)) is not None]
        if errors:
            unit = "ppm" if self.kind.relative_errors else self.kind.unit
            parts.append(f"mean error {sum(errors) / len(errors):.2f} {unit}")
        if n := len(self.unmatched_predicted):
            parts.append(f"{n} predicted {'peak' if n == 1 else 'peaks'} not observed")
        return ", ".join(parts)
