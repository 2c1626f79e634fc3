"""HSQC: pairs of a carbon's shift and its hydrogens', compared with what the 13C and 1H spaces predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.modalities.base import (
    Evidence,
    Match,
    Missing,
    Modality,
    Observation,
    Option,
    Reranker,
    left_out_notes,
    register,
    reranker,
)

if TYPE_CHECKING:
    import numpy as np
    from rdkit import Chem
    from torch import nn

    from acml_search.chem.peaks import PeakList
    from acml_search.core.typing import Float32s, Floats
    from acml_search.modalities.nmr import PeakReranker
    from acml_search.nmr.assign import AtomPeaks
    from acml_search.nmr.cross_peaks import CrossAssignment, CrossPeaks
    from acml_search.nmr.predicted import PeakLists

MAX_PEAKS = 1_000
LIMITS = {"13C": (-50.0, 350.0), "1H": (-40.0, 40.0)}
PROTON_SCALE = 10.0
"""an error of 1H weighs as one of 13C that is so many times as large"""


@register("hsqc")
class HSQC(Modality):
    """Record: a mapping with `c_shifts` and `h_shifts` (ppm, one each per pair), or pairs. Item: (p, 2)
    float32, distinct, by 13C. `multiplicity` ("CH2", "CH or CH3") is what an edited spectrum shows.
    """

    title = "HSQC"
    option = Option(
        "--hsqc",
        "TEXT|FILE",
        'HSQC: pairs of 13C and 1H shifts, "128.5/7.26, 55.2/3.81", or a table of them (CSV, TSV) with a '
        'column of intensities, if any. "34.1/2.30 (CH2)" or a negative intensity tells what an edited '
        "spectrum shows.",
    )
    columns = ("c_shifts", "h_shifts")
    optional = ("multiplicity",)
    storage: ClassVar[Mapping[str, str]] = {
        "record_carbons": "list<double>",
        "record_protons": "list<double>",
    }
    made_of = ("c_nmr", "h_nmr")
    unit = "ppm"
    decimals = 1
    tolerance = (2.0, 5.0)  # as 13C; of 1H a tenth
    nuclei = "C"
    descending = True

    def read(self, record: Any) -> Float32s:
        import numpy as np

        return np.unique(_pairs(record)[0].round(2), axis=0).astype(np.float32)

    def read_input(self, given: str, adduct: str | None = None) -> Observation:
        from acml_search.nmr.cross_peaks import cross_peaks_of_text
        from acml_search.nmr.sources import nmr_peaks

        return self.observe_peaks(nmr_peaks(given, self.name, cross_peaks_of_text), given)

    def observe_peaks(self, peaks: PeakList, given: str, adduct: str | None = None) -> Observation:
        record: dict[str, Any] = {
            "c_shifts": [one.position for one in peaks],
            "h_shifts": [one.proton for one in peaks],
        }
        if any(one.multiplicity for one in peaks):
            record["multiplicity"] = [one.multiplicity for one in peaks]
        notes = [f"{self.name}: {note}" for note in peaks.about.get("notes", ())]
        notes += left_out_notes(peaks)
        return Observation(self.name, given, self.read(record), peaks, notes=notes, record=record)

    def observe(self, record: Any, given: str = "a record", adduct: str | None = None) -> Observation:
        from acml_search.chem.peaks import Peak, PeakList

        pairs, entries = _pairs(record)
        kinds = entries if entries is not None else [None] * len(pairs)
        peaks = (
            Peak(c, multiplicity=kind, proton=h) for (c, h), kind in zip(pairs.tolist(), kinds, strict=True)
        )
        return self.observe_peaks(PeakList(self.name, tuple(dict.fromkeys(peaks))), given)

    def collate(self, items: Sequence[Float32s]) -> Any:
        raise ConfigError("hsqc has no network; its space is made of those of 13C and 1H")

    def encoder(self, **config: Any) -> nn.Module:
        raise ConfigError("hsqc has no network to train; its space is made of those of 13C and 1H")

    def embed(self, items: Sequence[Float32s], features: Mapping[str, Any]) -> Float32s:
        import numpy as np

        from acml_search.nmr.cross_peaks import embed

        starts = np.cumsum([0, *map(len, items)])
        return embed(np.concatenate([np.zeros((0, 2)), *items]), None, None, starts, features)

    def embed_predicted(
        self, peaks: Mapping[str, Sequence[AtomPeaks]], features: Mapping[str, Any]
    ) -> Float32s:
        from acml_search.nmr.cross_peaks import embed_predicted

        return embed_predicted(peaks["c_nmr"], peaks["h_nmr"], features)

    def reranker(self) -> CrossPeakReranker:
        return CrossPeakReranker()

    def example(self, rng: np.random.Generator) -> dict[str, Any]:
        n = rng.integers(3, 12)
        return {"c_shifts": rng.uniform(10, 150, n).tolist(), "h_shifts": rng.uniform(0.8, 8, n).tolist()}


def _pairs(record: Any) -> tuple[Floats, Sequence[Any] | None]:
    """(p, 2) ppm of a record, and what it states of each pair. Raises InvalidRecord."""
    import numpy as np

    def wrong(reason: str) -> InvalidRecord:
        return InvalidRecord(reason, modality="hsqc")

    entries = None
    try:
        if isinstance(record, Mapping):
            entries = record.get("multiplicity")
            columns = [np.asarray(record[name], np.float64).ravel() for name in HSQC.columns]
            if len(columns[0]) != len(columns[1]):
                raise wrong(
                    f"there are {len(columns[0])} shifts of 13C and {len(columns[1])} of 1H; give one "
                    "of each for every pair"
                )
            pairs = np.stack(columns, axis=1)
        else:
            pairs = np.asarray(record, np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise wrong(
            f"`c_shifts` and `h_shifts` in ppm are needed ({type(error).__name__}: {error})"
        ) from None
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise wrong("it is no list of pairs of shifts; give 13C and 1H in ppm for each")
    if len(pairs) > MAX_PEAKS:
        raise wrong(f"{len(pairs):,} pairs are more than {MAX_PEAKS:,}; give picked peaks, not points")
    if entries is not None and len(entries) != len(pairs):
        raise wrong(f"there are {len(entries)} multiplicities for {len(pairs)} pairs; give one for each")
    for values, (nucleus, (low, high)) in zip(pairs.T, LIMITS.items(), strict=True):
        bad = values[~((values >= low) & (values <= high))]
        if len(bad):
            raise wrong(f"{bad[0]:g} ppm is no shift of {nucleus} between {low:g} and {high:g} ppm")
    return pairs, entries


@dataclass(frozen=True, kw_only=True)
class CrossMatch(Match):
    """A pair that is observed and predicted; its positions are of 13C. proton: of 1H, ppm."""

    proton: float
    proton_predicted: float
    proton_error: float

    @property
    def off(self) -> float:
        return max(abs(self.error or 0.0), PROTON_SCALE * abs(self.proton_error))


@dataclass(frozen=True, kw_only=True)
class CrossMissing(Missing):
    """A pair that is predicted and was not observed; its position is of 13C. proton: of 1H, ppm."""

    proton: float

    @property
    def label(self) -> str:
        return f"¹H {self.proton:.2f}"


@dataclass(frozen=True)
class CrossEvidence(Evidence):
    """unmatched_protons: of 1H, ppm, one for each of `unmatched_observed`."""

    unmatched_protons: list[float] = field(default_factory=list)

    @property
    def unmatched_labels(self) -> list[str]:
        return [f"¹H {at:.2f}" for at in self.unmatched_protons]


class CrossPeakReranker(Reranker):
    """Score: the log-likelihood of the best assignment of observed pairs to predicted ones."""

    predicted_by = HSQC.made_of

    def available(self, model: Any) -> bool:
        return all(model.predicts_peaks(space) for space in self.predicted_by)

    def observed(self, item: Any, record: Any) -> CrossPeaks:
        from acml_search.nmr.cross_peaks import observed_of

        return observed_of(*_pairs(item if record is None else record))

    def prepare(self, model: Any, mols: Sequence[Chem.Mol]) -> list[CrossPeaks]:
        carbons, protons = (cast("PeakReranker", reranker(space)) for space in self.predicted_by)
        return self.unpack(carbons.kept(model, mols), protons.kept(model, mols), mols)

    def unpack(
        self, carbons: PeakLists, protons: PeakLists, mols: Sequence[Chem.Mol] | None = None
    ) -> list[CrossPeaks]:
        """What was kept, to be compared; to be explained as well, if `mols` are given."""
        from acml_search.nmr.cross_peaks import unpack
        from acml_search.nmr.predicted import atom_classes

        return unpack(carbons, protons, None if mols is None else [atom_classes(mol, "C") for mol in mols])

    def scores(self, model: Any, observed: Any, prepared: Sequence[CrossPeaks]) -> Floats:
        from acml_search.nmr.cross_peaks import CrossCosts, log_likelihoods

        return log_likelihoods(self._asked(observed), prepared, CrossCosts())

    def explain(self, model: Any, observed: Any, prepared: Sequence[CrossPeaks]) -> list[Evidence]:
        from acml_search.nmr.cross_peaks import CrossCosts, assign

        asked = self._asked(observed)
        found = assign(asked, prepared, CrossCosts())
        return [_evidence(asked, peaks, one) for peaks, one in zip(prepared, found, strict=True)]

    def _asked(self, observed: Any) -> CrossPeaks:
        """What `observed` or `read` returned, as the former."""
        return cast("CrossPeaks", observed) if isinstance(observed, tuple) else self.observed(observed, None)


def _evidence(observed: CrossPeaks, predicted: CrossPeaks, one: CrossAssignment) -> Evidence:
    from acml_search.nmr.assign import carbon_classes

    at, there = observed.shifts.round(3).tolist(), predicted.shifts.round(3).tolist()
    matched: list[Match] = []
    for i, j in one.pairs:
        (c, h), (c_there, h_there) = at[i], there[j]
        stated, here = int(observed.attached[i]), int(predicted.attached[j])
        label = f"¹H {h:.2f}, predicted {h_there:.2f}"
        if not stated & here:
            label += f"; {carbon_classes(stated)} observed, {carbon_classes(here)} here"
        matched.append(
            CrossMatch(
                c,
                c_there,
                predicted.atoms[j],
                round(c - c_there, 3),
                label,
                proton=h,
                proton_predicted=h_there,
                proton_error=round(h - h_there, 3),
            )
        )
    return CrossEvidence(
        one.log_likelihood,
        matched,
        [at[i][0] for i in one.alone_observed],
        [CrossMissing(there[j][0], predicted.atoms[j], proton=there[j][1]) for j in one.alone_predicted],
        unmatched_protons=[at[i][1] for i in one.alone_observed],
    )
