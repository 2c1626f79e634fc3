"""Peak lists: the typed form of a spectrum that every reader returns, whatever the format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

CARBONS = ("C", "CH", "CH2", "CH3")
"""multiplicities of 13C that say how many hydrogens are attached; "d" may be a coupling to fluorine"""


def is_carbon_class(multiplicity: str | None) -> bool:
    """Whether a multiplicity says how many hydrogens a carbon carries: "CH2", or "CH or CH3"."""
    return multiplicity is not None and all(name in CARBONS for name in multiplicity.split(" or "))


class Peak(NamedTuple):
    """One peak of a list."""

    position: float
    """ppm, or m/z in Th; the middle of a range"""
    low: float | None = None
    high: float | None = None
    """ends of a range, None where a single position was given"""
    intensity: float | None = None
    """any scale, None where the list has none"""
    count: int | None = None  # type: ignore[assignment]  # hides tuple.count
    """nuclei, as stated ("3H", "2C")"""
    multiplicity: str | None = None
    """as stated: "s", "dd", "m", or of 13C "C", "CH", "CH2", "CH3" """
    couplings: tuple[float, ...] = ()
    """coupling constants in Hz"""
    proton: float | None = None
    """ppm of 1H, of a cross peak of HSQC, whose position is of 13C"""


class LeftOut(NamedTuple):
    """A part of the input that is not used, and why."""

    text: str
    why: str
    """half a sentence: "13C has no shift at 1300 ppm" """
    position: float | None = None


@dataclass(frozen=True)
class PeakList:
    """One spectrum as a list of peaks, with what is known of its measurement.

    modality: "c_nmr", "h_nmr", "hsqc", "lc_ms" or "gc_ms"; peaks in the order of the source.
    """

    modality: str
    peaks: tuple[Peak, ...]
    left_out: tuple[LeftOut, ...] = ()
    solvent: str | None = None
    field_mhz: float | None = None
    precursor_mz: float | None = None
    """Th"""
    adduct: str | None = None
    """as in "[M+H]+" """
    ion_mode: str | None = None
    """"+" or "-" """
    collision_energy: str | None = None
    isolation: tuple[float, float] | None = None
    """Th; the ends of a window of which any ion may have been fragmented, `precursor_mz` being its middle"""
    file: Path | None = None
    number: int | None = None
    """of the spectrum in its file, from 1"""
    line: int | None = None
    """of the file, from 1, at which the spectrum begins"""
    about: dict[str, Any] = field(default_factory=dict)
    """the rest of the source's header, by its own names: title, formula, smiles, ..."""

    @property
    def unit(self) -> str:
        """ "ppm" or "m/z", of all positions."""
        return "ppm" if self.modality.endswith("_nmr") else "m/z"

    def __iter__(self) -> Iterator[Peak]:
        return iter(self.peaks)

    def __len__(self) -> int:
        return len(self.peaks)

    def record(self) -> dict[str, Any]:
        """The record that the modality's `read` takes."""
        positions = [peak.position for peak in self.peaks]
        if self.unit == "ppm":
            stated: dict[str, list[Any]] = {
                "multiplicity": [peak.multiplicity for peak in self.peaks],
                "counts": [peak.count for peak in self.peaks],
            }
            if self.modality == "c_nmr":
                stated["multiplicity"] = [x if is_carbon_class(x) else None for x in stated["multiplicity"]]
            else:
                stated["low"] = [peak.low for peak in self.peaks]
                stated["high"] = [peak.high for peak in self.peaks]
                stated["couplings"] = [list(peak.couplings) or None for peak in self.peaks]
            return {"shifts": positions} | {name: column for name, column in stated.items() if any(column)}
        known = {
            "precursor_mz": None if self.isolation else self.precursor_mz,
            "adduct": self.adduct,
            "ion_mode": self.ion_mode,
            "collision_energy": self.collision_energy,
        }
        intensities = [1.0 if peak.intensity is None else peak.intensity for peak in self.peaks]
        return {"mzs": positions, "intensities": intensities} | {
            name: value for name, value in known.items() if value is not None
        }
