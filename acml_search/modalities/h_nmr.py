"""1H NMR: the distinct shifts (centres of multiplets) of a spectrum."""

from __future__ import annotations

from typing import ClassVar

from acml_search.modalities.base import Option, register
from acml_search.modalities.nmr import ShiftModality, ShiftReranker


@register("h_nmr")
class ProtonNMR(ShiftModality):
    """Shifts in ppm, -40 to 40. Two within 0.01 ppm are one peak."""

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

    def reranker(self) -> ShiftReranker:
        from acml_search.nmr.assign import Costs  # chosen as those of 13C

        costs = Costs(
            alike=0.001,
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
        return ShiftReranker(self.name, self.nucleus, costs)
