"""1H NMR: the distinct shifts (centres of multiplets) of a spectrum."""

from __future__ import annotations

from typing import ClassVar

from acml_search.modalities.base import register
from acml_search.modalities.shift_list import ShiftModality


@register("h_nmr")
class ProtonNMR(ShiftModality):
    """Shifts in ppm, -40 to 40. Two within 0.01 ppm are one peak."""

    nucleus = "H"
    limits = (-40.0, 40.0)
    typical = (0.8, 8.0)
    jitter = 0.03
    tower_defaults: ClassVar[dict[str, float]] = {"low": -2.0, "high": 14.0, "step": 0.04, "blur": 0.08}
    head_defaults: ClassVar[dict[str, float]] = {"centre": 4.0, "scale": 3.0}
