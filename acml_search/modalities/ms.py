"""What the mass spectral modalities share: a record is a list of peaks of one ion or of its fragments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.modalities.base import (
    Evidence,
    Match,
    Modality,
    Observation,
    Reranker,
    left_out_notes,
    source_notes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rdkit import Chem

    from acml_search.chem.peaks import PeakList
    from acml_search.core.typing import Floats
    from acml_search.ms.fragmenter import AnnotatedSpectrum, FragmentationModel
    from acml_search.ms.peaks import PeakBatch, Spectrum


class MassModality(Modality):
    """Record: a mapping with `mzs` (Th) and `intensities` (any scale), and what is known of the ion."""

    columns = ("mzs", "intensities")
    unit = "m/z"
    typical = (12.0, 3000.0)
    relative_errors = True
    plot = "sticks"
    shows_occlusion = True

    def read_input(self, given: str, adduct: str | None = None) -> Observation:
        """A file of spectra, `FILE#n` for the n-th."""
        from acml_search.ms.io import read_spectrum

        return self.observe_peaks(read_spectrum(given, self.name), given, adduct)

    def observe(self, record: Any, given: str = "a record", adduct: str | None = None) -> Observation:
        if adduct is not None and isinstance(record, Mapping):
            self._sign(adduct)
            record = {**record, "adduct": adduct}
        item, peaks = self.read(record), self.peaks(record)
        mass = self._mass(peaks, "named" if adduct is not None else "stated")
        return Observation(self.name, given, item, peaks, record=record, **mass)

    def observe_peaks(self, peaks: PeakList, given: str, adduct: str | None = None) -> Observation:
        notes = source_notes(peaks, given)
        if note := peaks.about.get("precursor_note"):
            notes.append(f"{self.name}: {note}")
        if adduct is not None:
            sign = self._sign(adduct)
            peaks = replace(peaks, adduct=adduct, ion_mode=peaks.ion_mode or sign)
        elif assumed := peaks.about.get("adduct_from"):
            notes.append(f"{self.name}: taken as {peaks.adduct}, for {assumed}; --adduct names another")
        elif contradiction := peaks.about.get("contradiction"):
            raise InvalidRecord(
                f"{peaks.file}#{peaks.number}: {contradiction} contradict each other about the sign of the "
                "ion; name the ion with --adduct",
                modality=self.name,
            )
        mass = self._mass(peaks, "named" if adduct is not None else "stated")
        record = peaks.record()
        notes += [*mass.pop("notes"), *left_out_notes(peaks)]
        return Observation(self.name, given, self.read(record), peaks, record=record, notes=notes, **mass)

    def peaks(self, record: Any) -> PeakList:
        from acml_search.ms.peaks import number_or_none

        peaks = super().peaks(record)
        assert peaks is not None
        adduct, isolation = record.get("adduct"), record.get("isolation")
        if isolation is not None:
            low, high = map(float, isolation)
            peaks = replace(peaks, isolation=(low, high))
        return replace(
            peaks,
            precursor_mz=(
                number_or_none(record, "precursor_mz", self.name) or None
                if isolation is None
                else (low + high) / 2
            ),
            # NaN is how tables write null
            adduct=adduct if isinstance(adduct, str) and adduct.strip() else None,
            ion_mode=record.get("ion_mode"),
            collision_energy=record.get("collision_energy"),
        )

    def _mass(self, peaks: PeakList, how: Literal["named", "stated"]) -> dict[str, Any]:
        """What an Observation says of the neutral mass by precursor and adduct, and doubts about it.

        Without an adduct, the likely ones of the ion mode are taken. Raises InvalidRecord where a stated
        adduct and the ion mode contradict each other: a wrong mass would hide the molecule.
        """
        if peaks.precursor_mz is None or not self.has_precursor:
            return {"notes": []}
        from acml_search.chem.adducts import LIKELY_ADDUCTS, likely_masses, neutral_mass, parse_adduct

        low, high = peaks.isolation or (peaks.precursor_mz, peaks.precursor_mz)
        ions = f"precursor m/z {low:.10g}" if low == high else f"an ion of m/z {low:.10g} to {high:.10g}"
        if peaks.adduct is None:
            if size := peaks.about.get("unsigned_charge"):
                many = "" if size == 1 else str(size)
                names = [f"[M{sign}{many}H]{many}{sign}" for sign in "+-"]
                source = f"{ions} as {' or '.join(names)}, for the sign of its charge is not stated"
                masses = likely_masses(peaks.precursor_mz, names)
                return {"masses": masses, "mass_source": source, "notes": []}
            if peaks.ion_mode not in ("+", "-"):
                return {"notes": []}
            names = list(LIKELY_ADDUCTS[peaks.ion_mode])
            if low != high:  # of one width then, whatever the ion
                names = [name for name in names if parse_adduct(name)[::2] in ((1, 1), (1, -1))]
            masses = likely_masses(peaks.precursor_mz, names)
            mode = "positive" if peaks.ion_mode == "+" else "negative"
            source = f"{ions} as a likely ion of the {mode} mode, for no adduct is stated"
            return {
                "masses": masses, "mass_width": (high - low) / 2 or None, "mass_source": source, "notes": []
            }  # fmt: skip
        try:
            neutral = neutral_mass(peaks.precursor_mz, peaks.adduct)
        except ConfigError as error:
            return {"notes": [f"{self.name}: {error}"]}
        ion = parse_adduct(peaks.adduct)
        doubts = []
        if peaks.ion_mode in ("+", "-") and (peaks.ion_mode == "+") != (ion.charge > 0):
            mode = "positive" if peaks.ion_mode == "+" else "negative"
            doubt = f"the adduct {peaks.adduct} and the stated {mode} mode contradict each other"
            if how == "stated":
                place = "" if peaks.file is None else f"{peaks.file}#{peaks.number}: "
                raise InvalidRecord(f"{place}{doubt}; name the ion with --adduct", modality=self.name)
            doubts = [f"{self.name}: {doubt}; the adduct counts"]
        origin = peaks.about.get("adduct_from")
        origin = (
            "named by you" if how == "named" else f"taken from {origin}" if origin else "as stated beside it"
        )
        return {
            "neutral_mass": neutral,
            "masses": {peaks.adduct: neutral},
            "mass_width": (high - low) / 2 * abs(ion.charge) / ion.molecules or None,
            "mass_source": f"{ions} as {peaks.adduct}, {origin}",
            "notes": doubts,
        }

    def _sign(self, adduct: str) -> str:
        """ "+" or "-". An adduct that the user names has to be one; of a file's, a wrong one is a note."""
        from acml_search.chem.adducts import parse_adduct

        try:
            return "+" if parse_adduct(adduct).charge > 0 else "-"
        except ConfigError as error:
            raise InvalidRecord(str(error), modality=self.name) from error

    def collate(self, items: Sequence[Spectrum]) -> PeakBatch:
        from acml_search.ms.peaks import collate_peaks

        return collate_peaks(items)

    def reranker(self) -> MassReranker:
        return MassReranker(self.name)

    def without_peaks(self, item: Spectrum, most: int) -> list[tuple[float, Spectrum]]:
        """Intensities stay as they are, so leaving one peak out changes no other. Empty for a spectrum of
        one peak: nothing would be left."""
        import numpy as np

        if len(item.mzs) < 2:
            return []
        strongest = np.argsort(-item.intensities, kind="stable")[:most].tolist()
        return [
            (
                float(item.mzs[i]),
                item._replace(mzs=np.delete(item.mzs, i), intensities=np.delete(item.intensities, i)),
            )
            for i in strongest
        ]


class MassReranker(Reranker):
    """Score: the scaled log-likelihood of the peaks, given the fragments that a candidate breaks into
    (`ms.annotation`), and the prior of the molecule.

    The learned weights stand beside the model's, as `<modality>_rerank.json`; a model without that file is
    not re-ranked.
    """

    needs_filter = True  # the score was fitted among molecules of one mass

    def __init__(self, modality: str) -> None:
        self.modality = modality

    def available(self, model: Any) -> bool:
        """Whether weights have been learned for this model."""
        return self._path(model).is_file()

    def scores(self, model: Any, observed: Spectrum, prepared: Sequence[Chem.Mol]) -> Floats:
        """Without naming the fragments: faster. Raises `CheckpointError` as `explain` does."""
        import numpy as np

        from acml_search.ms.fragmenter import score_candidates

        return np.asarray(score_candidates(prepared, observed, self._weights(model)).sum(axis=1))

    def quality(self, model: Any, observed: Spectrum, prepared: Chem.Mol, score: float) -> dict[str, float]:
        """The share of the intensity that it explains."""
        from acml_search.ms.fragmenter import annotate_peaks

        return {"explained": annotate_peaks(prepared, observed, self._weights(model)).share}

    def explain(self, model: Any, observed: Spectrum, prepared: Sequence[Chem.Mol]) -> list[Evidence]:
        """Raises `CheckpointError` where the weights are missing or damaged."""
        from acml_search.ms.fragmenter import annotate_peaks

        weights = self._weights(model)
        return [_evidence(annotate_peaks(mol, observed, weights)) for mol in prepared]

    def _weights(self, model: Any) -> FragmentationModel:
        from acml_search.ms.fragmenter import read_model

        return read_model(self._path(model))

    def _path(self, model: Any) -> Path:
        path: Path = model.card.directory / f"{self.modality}_rerank.json"
        return path


def _evidence(explained: AnnotatedSpectrum) -> Evidence:
    matched = [
        Match(
            round(one.mz, 4),
            round(one.mz - one.error, 4),
            list(one.atoms),
            round(one.error_ppm, 1),
            f"{one.formula} ({one.hydrogens:+d} H)" if one.hydrogens else one.formula,
        )
        for one in explained.fragments
    ]
    return Evidence(
        explained.score + explained.prior, matched, [round(mz, 4) for mz in explained.unexplained]
    )
