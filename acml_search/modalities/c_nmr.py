"""13C NMR: the distinct shifts of a proton-decoupled spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from acml_search.modalities.base import Observation, Option, register
from acml_search.modalities.nmr import ShiftModality, ShiftReranker


@register("c_nmr")
class CarbonNMR(ShiftModality):
    """Shifts in ppm, -50 to 350. Two within 0.01 ppm are one peak."""

    title = "¹³C NMR"
    option = Option(
        "--c-nmr",
        "TEXT|FILE",
        '13C NMR: shifts ("155.4, 151.7, 148.6"), the line as a paper prints it, a text file with it or a '
        "table, or a spectrum: JCAMP-DX, a folder of Bruker or Varian or a ZIP of it, nmrML, NMReDATA. "
        '"85.8 (CH), 23.8 (CH3)" tells what DEPT showed.',
    )
    details: ClassVar[dict[str, Option]] = {
        "dept135": Option(
            "--dept135",
            "TEXT|FILE",
            'With --c-nmr: the peaks of DEPT-135, CH2 negative: "23.9, 121.2, -60.4", "60.4 (-)", '
            '"up: 23.9, 121.2; down: 60.4", a table with signed intensities, or a spectrum. Carbons without '
            "a peak here carry no hydrogen.",
        ),
        "dept90": Option("--dept90", "TEXT|FILE", "With --c-nmr: the peaks of DEPT-90, which are CH."),
    }
    decimals = 1
    tolerance = (2.0, 5.0)  # once and two and a half times the mean error of shift predictors
    nucleus = nuclei = "C"
    limits = (-50.0, 350.0)
    typical = (10.0, 180.0)
    jitter = 0.15
    encoder_defaults: ClassVar[dict[str, float]] = {"low": -20.0, "high": 240.0, "step": 0.5, "blur": 1.0}
    head_defaults: ClassVar[dict[str, float]] = {"centre": 90.0, "scale": 50.0}

    def detailed(self, one: Observation, told: Mapping[str, Any]) -> Observation:
        from acml_search.nmr.dept import dept_peaks_of, with_dept

        assert one.peaks is not None
        bare = replace(one.peaks, about={})
        peaks = with_dept(bare, {name: dept_peaks_of(given, name) for name, given in told.items()})
        record = peaks.record()
        said = [f"{self.name}: {note}" for note in peaks.about.get("notes", ())]
        notes = dict.fromkeys([*one.notes, *said, *self.record_notes(record)])
        return replace(one, peaks=replace(peaks, about=one.peaks.about), record=record, notes=list(notes))

    def record_notes(self, record: Any) -> list[str]:
        from acml_search.nmr.assign import has_dept

        if not has_dept(record):
            return []
        return ["c_nmr: how many hydrogens each carbon carries, as it is stated, is compared as well"]

    def reranker(self) -> ShiftReranker:
        # Costs were chosen one after another on half of the dev split of `train`, by the likelihood of the
        # truth in real shortlists (among all of half a million, of its formula, within 5 Da), and checked on
        # the other half. The cost of a contradiction: 0, 2, 4 and 6 tried, by recall at 1.
        from acml_search.nmr.assign import Costs

        costs = Costs(
            alike=0.03,
            wider=1.0,
            floor=0.02,
            tail=0.02,
            reach=3.0,
            extra=12.0,
            missing=0.0,
            shared=0.5,
            split=2.0,
            sure=0.96,
            contradicted=4.0,
        )
        return ShiftReranker(self.name, self.nucleus, costs, dept=True)
