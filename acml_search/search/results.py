"""What a search returns: `Hits` (keys and scores), `HitList` (one per side searched), `Answer`, and for each
hit an `Explanation`: logits, matched peaks, and how well each is explained."""

from __future__ import annotations

import base64
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.core.typing import Float32s, Floats, Ints
from acml_search.modalities.base import Evidence, Match, Missing, Reading

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from acml_search.chem.peaks import Peak, PeakList
    from acml_search.modalities import Modality, Observation


Grade = Literal["good", "fair", "poor", "known"]
"""of a matched peak, by the modality's `tolerance`; "known": explained, with no error to grade"""
_SAME = 1e-4  # positions closer than this are one peak: they passed through float32


@dataclass(frozen=True)
class Explanation:
    """Why a molecule is a hit, by modality.

    logits: what each observation adds to the score, and under `hydrogens` what the number of hydrogens adds
    that a 1H spectrum counts. cosines: of the vectors. mass_error_ppm: exact mass
    against the neutral mass that a precursor or the filter states. formula_matches: True where a formula was
    a condition. evidence: peaks that were compared with the molecule. occlusion: positions of peaks, and by
    how much each raises the logit. adduct: which of several likely ions the hit's mass fits.
    """

    logits: Mapping[str, float] = field(default_factory=dict)
    cosines: Mapping[str, float] = field(default_factory=dict)
    mass_error_ppm: float | None = None
    formula_matches: bool | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    occlusion: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    adduct: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The `why` of a hit in JSON; what is not known is left out."""
        document: dict[str, Any] = {
            "logits": {name: round(logit, 4) for name, logit in self.logits.items()},
            "cosines": {name: round(cosine, 4) for name, cosine in self.cosines.items()},
            "mass_error_ppm": self.mass_error_ppm,
            "adduct": self.adduct,
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
        logits = [name for name in self.logits if name not in (HYDROGENS, ADDUCT)]
        names = [name for name in first if name in logits or name in self.evidence]
        return [
            Reason(
                name,
                self.logits.get(name),
                self.evidence.get(name),
                tuple(sorted(self.occlusion.get(name, ()), key=lambda peak: -abs(peak[1]))),
                ObservedPeaks(first[name].peaks or () if name in first else ()),
            )
            for name in dict.fromkeys([*names, *logits, *self.evidence, *self.occlusion])
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
    expected: Mapping[tuple[int, ...], float] = field(default_factory=dict)
    """the error that is expected of a predicted peak, by its atoms; where `check` shows it"""

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

    def times(self, match: Match) -> float | None:
        """The error as a multiple of the expected one."""
        expected, error = self.expected.get(tuple(match.atoms)), self.error(match)
        return None if error is None or not expected else abs(error) / expected

    def grade(self, match: Match) -> Grade:
        error = self.error(match)
        if error is None or self.kind.tolerance is None:
            return "known"
        good, fair = self.kind.tolerance
        off = max(abs(error), match.off)
        return "good" if off <= good else "fair" if off <= fair else "poor"

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
        if self.evidence.said:
            return self.evidence.said
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


def with_foreign(evidence: Evidence, modality: str, peaks: PeakList | None) -> Evidence:
    """The evidence with solvents and impurities that unmatched ones of the observed `peaks` may be of."""
    if not peaks or not evidence.unmatched_observed:
        return evidence
    return replace(evidence, foreign=modalities.get(modality).foreign(peaks, evidence.unmatched_observed))


ADDUCT = "adduct"  # a logit of its own: how often such an ion is seen, where the spectrum does not name its
HYDROGENS = "hydrogens"  # a logit of its own: how well a molecule's hydrogens fit those that were counted
NO_HIT = -1  # the key of an unfilled place
MOLECULE_COLUMNS = ("key", "smiles", "inchikey", "formula", "exact_mass")
HIT_COLUMNS = ("modality", "side", "rank", "score", "probability", "why")


class _HitsFields(NamedTuple):
    keys: Ints
    scores: Float32s


class Hits(_HitsFields):
    """The best hits of nq queries, best first.

    keys: (nq, k) int64, the molecules' keys; -1 where there was no further hit (such places come last).
    scores: (nq, k) float32, inner products of unit vectors (higher is better); -inf where the key is -1.

    Lists are accepted: `Hits(keys=[[7, 3]], scores=[[0.9, 0.8]])`. Raises ConfigError when the shapes differ.
    """

    __slots__ = ()

    def __new__(cls, keys: npt.ArrayLike, scores: npt.ArrayLike) -> Hits:
        k = np.atleast_2d(np.asarray(keys, dtype=np.int64))
        s = np.atleast_2d(np.asarray(scores, dtype=np.float32))
        if k.ndim != 2 or k.shape != s.shape:
            raise ConfigError(f"Hits needs keys and scores of one shape (nq, k), not {k.shape} and {s.shape}")
        return super().__new__(cls, k, np.where(k == NO_HIT, np.float32(-np.inf), s))

    @property
    def counts(self) -> Ints:
        """(nq,) int64: how many hits each query has."""
        return (self.keys != NO_HIT).sum(axis=1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hits):
            return NotImplemented
        return np.array_equal(self.keys, other.keys) and np.array_equal(self.scores, other.scores)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # holds arrays


@dataclass(frozen=True)
class HitList:
    """The hits of one query on one side of one space, best first.

    modality: the space's name, or "fused"; side: "records" (which record would this molecule give) or
    "graph". hits: `Hits` of shape (1, k).
    probabilities: (n,) float64, that a hit is the compound: the softmax of the logits over the shortlist
    times the answer's `p_in_library`; without that half of it, but of the list of a molecule that begins with
    that molecule all.
    scale: logit = scale x score. molecules: pyarrow Table of n rows, the hits' molecules in their order.
    explanations: one per hit; without them, the logit is all that is known. ranks: where the list does not
    begin with the best, each hit's place from 1; None where it is not known.
    """

    modality: str
    side: str
    hits: Hits
    probabilities: Floats
    scale: float
    molecules: pa.Table
    explanations: Sequence[Explanation] | None = None
    ranks: Sequence[int | None] | None = None

    def __len__(self) -> int:
        return int(self.hits.counts[0])

    def explanation(self, i: int) -> Explanation:
        """Why the i-th hit is one."""
        if self.explanations is not None:
            return self.explanations[i]
        return Explanation({self.modality: self.scale * float(self.hits.scores[0, i])})

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dict per hit, keys in the order of the command line's JSON, then the library's own columns."""
        extra = extra_columns(self.molecules.column_names)
        for i, molecule in enumerate(self.molecules.to_pylist()):
            yield {
                "rank": i + 1 if self.ranks is None else self.ranks[i],
                **{name: molecule[name] for name in MOLECULE_COLUMNS},
                "score": round(float(self.hits.scores[0, i]), 6),
                "probability": float(f"{self.probabilities[i]:.4g}"),
                "why": self.explanation(i).to_dict(),
                **{shown: molecule[name] for name, shown in extra.items()},
            }

    def _repr_html_(self) -> str:
        return Answer({}, "", [self], {})._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        hits = [{name: plain(value) for name, value in row.items()} for row in self.rows()]
        return {"modality": self.modality, "side": self.side, "hits": hits}


@dataclass(frozen=True)
class Answer:
    """The answer to one query. `print(answer)` shows a table.

    query: the question and how it was understood (given and standardised SMILES, or observations; k, filter,
    ...), as JSON shows it. lists: one `HitList` per side searched. seconds: where the time went.
    notes: sentences a user should read, such as that fewer than k molecules pass the filter.
    observations: those that were given, typed; none when a molecule was. p_in_library: that the compound is
    among the molecules searched; None where nothing was fitted, and for a molecule. readings: what
    pictures were read as.
    """

    query: dict[str, Any]
    index: str
    lists: list[HitList]
    seconds: Mapping[str, float]
    notes: list[str] = field(default_factory=list)
    observations: Sequence[Observation] = ()
    p_in_library: float | None = None
    readings: Sequence[Reading] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `acml-search query --json`, in JSON's own types only."""
        return {
            "query": plain(self.query),
            "index": self.index,
            "p_in_library": None if self.p_in_library is None else round(self.p_in_library, 4),
            "lists": [hits.to_dict() for hits in self.lists],
            "seconds": {name: round(value, 6) for name, value in self.seconds.items()},
            "notes": list(self.notes),
        }

    def to_arrow(self) -> pa.Table:
        """One row per hit of every list: modality, side, rank, the molecule, score, probability, metadata."""
        import pyarrow as pa

        tables = []
        for hits in self.lists:
            n = len(hits)
            columns = {
                "modality": pa.array([hits.modality] * n, pa.string()),
                "side": pa.array([hits.side] * n, pa.string()),
                "rank": pa.array(hits.ranks or range(1, n + 1), pa.int64()),
            }
            columns |= {name: hits.molecules.column(name) for name in MOLECULE_COLUMNS}
            columns["score"] = pa.array(hits.hits.scores[0, :n])
            columns["probability"] = pa.array(hits.probabilities)
            for name, shown in extra_columns(hits.molecules.column_names).items():
                columns[shown] = hits.molecules.column(name)
            tables.append(pa.table(columns))
        return pa.concat_tables(tables, promote_options="default")  # records have columns of their own

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a pandas DataFrame. Raises ConfigError when pandas is not installed."""
        try:
            import pandas  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                "to_pandas needs pandas: pip install 'acml-search[pandas]', or use to_arrow"
            ) from error
        return self.to_arrow().to_pandas()

    def __str__(self) -> str:
        from acml_search.search.render.text import table

        return table(self)

    def _repr_html_(self) -> str:
        """The page with structures and plots, as a notebook shows it: in a frame, so that neither's style
        reaches the other, and nothing in it runs."""
        from markupsafe import escape

        from acml_search.search.render.html import page

        style = "width:100%;height:40em;border:1px solid #8888"
        return f'<iframe sandbox style="{style}" srcdoc="{escape(page(self))}"></iframe>'

    def __repr__(self) -> str:
        counts = ", ".join(f"{hits.modality}/{hits.side}: {len(hits)} hits" for hits in self.lists)
        given = self.query.get("smiles") or [one.modality for one in self.observations]
        return f"Answer({given!r}, {counts})"


def q_values(probabilities: Floats) -> Floats:
    """(n,) the expected share of wrong ones among the hits that are at least as probable as each: the mean of
    1 - p over them (Bayesian false discovery rate; Storey, Ann. Stat. 2003, 31, 2013)."""
    order = np.argsort(-probabilities, kind="stable")
    found = np.empty(len(order))
    found[order] = np.cumsum(1 - probabilities[order]) / np.arange(1, len(order) + 1)
    return found


def extra_columns(columns: Sequence[str]) -> dict[str, str]:
    """The library's own columns and their names in a hit: `input_` goes before one that would clash."""
    names = {}
    for column in columns:
        if column not in MOLECULE_COLUMNS:
            shown = column
            while shown in HIT_COLUMNS or (shown != column and shown in columns):
                shown = f"input_{shown}"
            names[column] = shown
    return names


def plain(value: Any) -> Any:
    """`value` in JSON's own types: NaN and infinity as null, bytes base64, dates ISO 8601, else text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
