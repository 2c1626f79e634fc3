"""Tandem mass spectra (LC-MS/MS, electrospray): fragments of one ion of known m/z."""

from __future__ import annotations

import re
from functools import cache
from math import isclose
from typing import TYPE_CHECKING, Any

from acml_search.modalities.base import Option, register
from acml_search.modalities.ms import MassModality

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from acml_search.ms.peaks import Spectrum

MAX_PEAKS = 64
ABOVE_PRECURSOR = 5.0  # Da; isotopes of the precursor may stand there, anything higher is noise

# Codes of the categories; 0 = not known, the last adduct code = any other.
ADDUCTS = [
    "[M+H]+",
    "[M-H]-",
    "[M]+",
    "[M+Na]+",
    "[M+NH4]+",
    "[M+K]+",
    "[M-H2O+H]+",
    "[M+HCOO]-",
    "[M+CH3COO]-",
    "[M+Cl]-",
    "[M-2H]-",
    "[M]-",
]
MODES = {"+": 1, "positive": 1, "pos": 1, "-": 2, "negative": 2, "neg": 2}
UNITS = {"ev": 1, "v": 1, "ramp ev": 1, "nce": 2, "%": 2, "ramp nce": 2}
TOKENS = (len(ADDUCTS) + 2, 3, 4)  # adduct, mode, unit of the energy (3 = a number without unit)


@register("lc_ms")
class LcMs(MassModality):
    """A tandem mass spectrum: peaks, and the ion they come from.

    `mzs` (Th), `intensities` (any scale); where known `precursor_mz` (Th), `adduct` ("[M+H]+"), `ion_mode`
    ("+", "-"), `ce_value` with `ce_unit` ("eV", "NCE"), or `collision_energy` as text.
    """

    title = "LC-MS/MS"
    option = Option(
        "--lc-ms",
        "FILE",
        "MS/MS spectrum (MSP, MGF, mzML, mzXML, JSON, MassBank record); FILE#n for the n-th. Several of one "
        "compound: the option again, as for all of these.",
    )
    tolerance = (5.0, 10.0)  # ppm: what Orbitraps and quadrupole time-of-flight instruments keep
    has_precursor = True
    optional = ("precursor_mz", "adduct", "ion_mode", "ce_value", "ce_unit", "collision_energy")

    def read(self, record: Any) -> Spectrum:
        import numpy as np

        from acml_search.ms.peaks import Spectrum, number_or_none, read_peaks

        known = record if hasattr(record, "get") else {}
        precursor = number_or_none(known, "precursor_mz", self.name) or 0.0
        highest = precursor + ABOVE_PRECURSOR if precursor else np.inf
        mzs, intensities = read_peaks(record, self.name, MAX_PEAKS, highest)
        adduct = _adduct(known.get("adduct"))
        mode = MODES.get(str(known.get("ion_mode")).strip().lower(), 0)
        if not mode and 0 < adduct <= len(ADDUCTS):
            mode = 1 if ADDUCTS[adduct - 1].endswith("+") else 2
        energy, unit = self._energy(known)
        return Spectrum(mzs, intensities, precursor, (adduct, mode, unit), energy)

    def augment(self, item: Spectrum, rng: np.random.Generator) -> Spectrum:
        import numpy as np

        from acml_search.ms.peaks import Spectrum, vary_peaks

        mzs, intensities = vary_peaks(item.mzs, item.intensities, rng, ppm=3.0, drop=0.5)
        precursor = item.precursor * (1 + 3e-6 * rng.standard_normal())
        if rng.random() < 0.05:  # as a quadrupole or an ion trap reports it
            mzs = np.round(mzs, 1)
        adduct, mode, unit = item.tokens
        energy = item.energy * float(np.exp(0.1 * rng.standard_normal()))
        if rng.random() < 0.1:
            adduct = 0
        if rng.random() < 0.1:
            unit, energy = 0, 0.0
        if rng.random() < 0.05:
            precursor = 0.0
        if rng.random() < 0.05:
            mode = adduct = 0
        return Spectrum(mzs, intensities, precursor, (adduct, mode, unit), energy)

    def encoder(self, **config: Any) -> nn.Module:
        from acml_search.networks.msms import PeakTower

        return PeakTower(tokens=TOKENS, **config)

    def example(self, rng: np.random.Generator) -> dict[str, Any]:
        import numpy as np

        n = int(rng.integers(3, 20))
        precursor = float(rng.uniform(150, 600))
        return {
            "mzs": np.sort(rng.uniform(50, precursor, n)).round(4).tolist(),
            "intensities": rng.exponential(1, n).round(4).clip(1e-3).tolist(),
            "precursor_mz": precursor,
            "adduct": "[M+H]+",
            "ion_mode": "+",
            "ce_value": float(rng.choice([10, 20, 40])),
            "ce_unit": "eV",
        }

    def _energy(self, record: Any) -> tuple[float, int]:
        """Collision energy and the code of its unit."""
        from acml_search.ms.peaks import number_or_none

        value = number_or_none(record, "ce_value", self.name)
        unit = str(record.get("ce_unit") or "").strip().lower()
        if value is None:
            text = str(record.get("collision_energy") or "")
            found = re.search(r"\d+(\.\d+)?", text)
            if found is None:
                return 0.0, 0
            value = float(found.group())
            unit = "nce" if re.search(r"NCE|%|nominal", text, re.I) else "ev" if "ev" in text.lower() else ""
        return min(value, 300.0), UNITS.get(unit, 3)


def _adduct(text: Any) -> int:
    return _code(text) if isinstance(text, str) and text.strip() else 0


@cache
def _code(text: str) -> int:
    """The code of an adduct, however it is written."""
    from acml_search.chem.adducts import parse_adduct
    from acml_search.core.errors import ConfigError

    try:
        ion = parse_adduct(text)
    except ConfigError:
        return len(ADDUCTS) + 1
    for code, name in enumerate(ADDUCTS, start=1):
        known = parse_adduct(name)
        if (known.molecules, known.charge) == (ion.molecules, ion.charge) and isclose(
            known.added, ion.added, abs_tol=1e-6
        ):
            return code
    return len(ADDUCTS) + 1
