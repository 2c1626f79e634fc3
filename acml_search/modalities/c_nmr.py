"""13C NMR: the distinct shifts of a proton-decoupled spectrum."""

from __future__ import annotations

from typing import ClassVar

from acml_search.modalities.base import register
from acml_search.modalities.shift_list import ShiftModality


@register("c_nmr")
class CarbonNMR(ShiftModality):
    """Shifts in ppm, -50 to 350. Two within 0.01 ppm are one peak."""

    nucleus = "C"
    limits = (-50.0, 350.0)
    typical = (10.0, 180.0)
    jitter = 0.15
    tower_defaults: ClassVar[dict[str, float]] = {"low": -20.0, "high": 240.0, "step": 0.5, "blur": 1.0}
    head_defaults: ClassVar[dict[str, float]] = {"centre": 90.0, "scale": 50.0}
