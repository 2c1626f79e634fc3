"""1H NMR: signals, of which shifts (centres of multiplets) make the vector, and the rest is compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from acml_search.modalities.base import Evidence, Match, Missing, Option, register
from acml_search.modalities.nmr import ShiftModality, ShiftReranker

if TYPE_CHECKING:
    from acml_search.core.typing import Floats
    from acml_search.nmr.assign import DeptPeaks, Groups
    from acml_search.nmr.multiplets import Assignment, Signals

MOST_SIGNALS = 100
"""of a record that are compared with all they state; the time for it grows with their square"""


@register("h_nmr")
class ProtonNMR(ShiftModality):
    """Shifts in ppm, -40 to 40. Two within 0.01 ppm are one peak."""

    optional = ("low", "high", "counts", "multiplicity", "couplings")
    title = "¹H NMR"
    option = Option("--h-nmr", "TEXT|FILE", "1H NMR, as --c-nmr.")
    decimals = 2
    tolerance = (0.2, 0.5)  # once and two and a half times the mean error of shift predictors
    min_span = 2.0
    nucleus = nuclei = "H"
    limits = (-40.0, 40.0)
    typical = (0.8, 8.0)
    jitter = 0.03
    encoder_defaults: ClassVar[dict[str, float]] = {"low": -2.0, "high": 14.0, "step": 0.04, "blur": 0.08}
    head_defaults: ClassVar[dict[str, float]] = {"centre": 4.0, "scale": 3.0}

    def record_notes(self, record: Any) -> list[str]:
        if len(record["shifts"]) <= MOST_SIGNALS or not any(record.get("counts") or ()):
            return []
        return [f"h_nmr: of more than {MOST_SIGNALS} signals, the shifts alone are compared"]

    def reranker(self) -> SignalReranker:
        from acml_search.nmr.assign import Costs  # chosen as those of 13C

        costs = Costs(
            alike=0.0,
            wider=0.8,
            floor=0.0,
            tail=0.02,
            reach=3.0,
            extra=8.0,
            missing=0.0,
            shared=1.5,
            split=0.3,
            sure=0.99,
        )
        return SignalReranker(self.name, self.nucleus, costs)


class SignalReranker(ShiftReranker):
    """Score: the log-likelihood of the best assignment (`nmr.multiplets`) of the signals to the protons of a
    candidate, by shift and by what else is stated: protons, multiplicity, couplings. Where most signals state
    no protons, and where there are more than `MOST_SIGNALS`, as `ShiftReranker`.
    """

    def observed(self, item: Any, record: Any) -> Signals | DeptPeaks:
        from acml_search.nmr.hydrogens import stated_hydrogens
        from acml_search.nmr.multiplets import read_signals

        counts = record.get("counts") or () if isinstance(record, Mapping) else ()
        if stated_hydrogens(counts) is None or len(counts) > MOST_SIGNALS:
            return super().observed(item, record)
        return read_signals(record)

    def weights(self, observed: Signals | DeptPeaks) -> str:
        from acml_search.nmr.assign import DeptPeaks

        return "rerank" if isinstance(observed, DeptPeaks) else "signals"

    def expected_errors(self, observed: Signals | DeptPeaks, groups: Groups) -> Floats:
        from acml_search.nmr.multiplets import SignalCosts, Signals

        if not isinstance(observed, Signals):
            return super().expected_errors(observed, groups)
        return SignalCosts().wider * groups.spread

    def scores(self, model: Any, observed: Signals | DeptPeaks, prepared: Sequence[Groups]) -> Floats:
        from acml_search.nmr.multiplets import SignalCosts, Signals, log_likelihoods

        if not isinstance(observed, Signals):
            return super().scores(model, observed, prepared)
        return log_likelihoods(observed, prepared, SignalCosts())

    def explain(
        self, model: Any, observed: Signals | DeptPeaks, prepared: Sequence[Groups]
    ) -> list[Evidence]:
        from acml_search.nmr.multiplets import SignalCosts, Signals, assign_signals

        if not isinstance(observed, Signals):
            return super().explain(model, observed, prepared)
        found = assign_signals(observed, prepared, SignalCosts())
        return [_evidence(observed, groups, one) for groups, one in zip(prepared, found, strict=True)]


def _evidence(signals: Signals, groups: Groups, one: Assignment) -> Evidence:
    from acml_search.nmr.predicted import HETERO, Coupling

    coupling = Coupling.of(groups.coupling)
    protons, hetero = coupling.protons.tolist(), (coupling.kind == HETERO).tolist()
    predicted, present = groups.position.round(3).tolist(), groups.present.round(3).tolist()
    matched: list[Match] = []
    alone = []
    shared = Counter(j for run in one.runs for j in run)  # two protons of a CH2 may be two signals
    for at, count, run in zip(
        signals.position.round(3).tolist(), signals.protons.tolist(), one.runs, strict=True
    ):
        if run and hetero[run[0]]:
            matched.append(Match(at, None, [a for j in run for a in groups.atoms[j]], None, "OH, NH or SH"))
            continue
        here = sum(protons[j] // shared[j] for j in run)
        said = f"{count}H observed, {here}H here" if count and run and count != here else None
        matched += [Match(at, predicted[j], groups.atoms[j], round(at - predicted[j], 3), said) for j in run]
        if not run:
            alone.append(at)
    missing = [Missing(predicted[j], groups.atoms[j], present[j]) for j in one.unseen]
    return Evidence(one.log_likelihood, matched, alone, missing)
