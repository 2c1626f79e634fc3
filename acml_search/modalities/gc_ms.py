"""Electron-ionisation mass spectra (GC-MS, 70 eV): fragments of a molecular ion that may be absent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acml_search.modalities.base import Option, register
from acml_search.modalities.ms import MassModality

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from acml_search.ms.peaks import Spectrum

MAX_PEAKS = 80
HIGHEST = 1000.0  # Th; what a gas chromatograph lets through is lighter
HEAVIEST_PEAK = 0.1  # root intensity that the highest peak must have to be taken for the molecule's end


@register("gc_ms")
class GcMs(MassModality):
    """An electron-ionisation mass spectrum: `mzs` (Th) and `intensities` (any scale).

    Nearly all such spectra are of unit resolution, so every m/z is read as its nominal mass. The highest peak
    of some intensity stands for the precursor: losses are counted from it.
    """

    title = "EI-MS"
    option = Option(
        "--gc-ms",
        "FILE",
        "EI spectrum (MSP, JCAMP-DX, mzML, JSON, MassBank record, two columns as .csv or .txt); FILE#n for "
        "the n-th.",
    )
    decimals = 2

    def read(self, record: Any) -> Spectrum:
        import numpy as np

        from acml_search.ms.peaks import nominal, read_peaks

        mzs, intensities = read_peaks(record, self.name, keep=4 * MAX_PEAKS, highest=HIGHEST)
        units, place = np.unique(np.maximum(nominal(mzs), 1), return_inverse=True)
        power = np.bincount(place, np.square(intensities, dtype=np.float64))
        strongest = np.sort(np.argsort(-power, kind="stable")[:MAX_PEAKS])
        roots = np.sqrt(power[strongest] / power.max())
        return _with_end(units[strongest].astype(np.float32), roots.astype(np.float32))

    def augment(self, item: Spectrum, rng: np.random.Generator) -> Spectrum:
        from acml_search.ms.peaks import vary_peaks

        mzs, intensities = vary_peaks(item.mzs, item.intensities, rng, ppm=0.0, drop=0.4)
        if rng.random() < 0.3:  # the scan began higher up; many start at 40 or 50
            seen = (mzs >= rng.integers(30, 60)) | (intensities == 1)
            mzs, intensities = mzs[seen], intensities[seen]
        return _with_end(mzs, intensities)

    def encoder(self, **config: Any) -> nn.Module:
        from acml_search.networks.ei import EISpectrumEncoder

        return EISpectrumEncoder(**config)

    def head(self, trunk: nn.Module, encoder: nn.Module, **config: Any) -> nn.Module:
        """`hidden`; the length `d` is the projection's, because what is predicted passes through it."""
        from acml_search.networks import width_of
        from acml_search.networks.ei import SpectrumPredictor

        return SpectrumPredictor(width_of(trunk), encoder, hidden=config["hidden"])

    def example(self, rng: np.random.Generator) -> dict[str, Any]:
        import numpy as np

        n = int(rng.integers(5, 40))
        return {
            "mzs": np.sort(rng.choice(np.arange(30, 300), n, replace=False)).astype(float).tolist(),
            "intensities": rng.exponential(1, n).round(4).clip(1e-3).tolist(),
        }


def _with_end(mzs: np.ndarray, intensities: np.ndarray) -> Spectrum:
    from acml_search.ms.peaks import Spectrum

    end = mzs[intensities >= HEAVIEST_PEAK][-1]
    return Spectrum(mzs, intensities, float(end))
