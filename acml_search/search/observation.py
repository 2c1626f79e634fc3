"""What a user holds, read: a printed NMR line, a spectrum file, a picture, a SMILES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.modalities.base import Observation, left_out_notes
from acml_search.search.filters import DEFAULT_PPM, Conditions

if TYPE_CHECKING:
    from acml_search.chem.peaks import PeakList

__all__ = ["Observation", "left_out_notes", "of_peaks", "of_record", "read_observation", "read_observations"]

MASS = ("lc_ms", "gc_ms")
FEW_DECIMALS = 2  # a precursor written with no more is of unit resolution, or rounded
COARSE = 0.6  # Da, how far such a precursor may be off

Given = str | Path | bytes | Mapping[str, Any] | Sequence[float] | npt.NDArray[Any]
"""an observation: text or a file; a record of its modality, such as a picture's pixels; shifts in ppm"""


def read_observations(
    observations: Mapping[str, Given | Sequence[Given]] | Sequence[Observation], adduct: str | None = None
) -> list[Observation]:
    """Observations of one compound, given by modality, one or several of each, or read already. Raises
    ConfigError where there is none, and as `read_observation` does.
    """
    if isinstance(observations, Mapping):
        read = [
            read_observation(name, one, adduct=adduct)
            if isinstance(one, str | Path)
            else of_record(name, one, "a record", adduct=adduct)
            for name, given in observations.items()
            for one in _each(given)
        ]
    else:
        read = list(observations)
        if not all(isinstance(one, Observation) for one in read):
            raise ConfigError("observations are given by modality, such as {'c_nmr': '155.4, 151.7'}")
    if not read:
        raise ConfigError("there is no observation; give at least one")
    return read


def _each(given: Given | Sequence[Given]) -> Sequence[Given]:
    """One observation or several, of a list; a list of numbers is one, the shifts of a spectrum."""
    if isinstance(given, np.ndarray) and given.ndim == 1:
        given = given.tolist()
    if not isinstance(given, list | tuple):
        return [cast("Given", given)]
    if given and all(isinstance(one, Real) for one in given):
        return [list(given)]
    return list(given)


def read_observation(modality: str, given: str | Path, *, adduct: str | None = None) -> Observation:
    """Read one observation: a text or a path, as `Modality.read_input` takes it.

    Raises InvalidRecord for what cannot be used, UnknownModality.
    """
    return modalities.get(modality).read_input(str(given), adduct)


def of_record(modality: str, record: Any, given: str, *, adduct: str | None = None) -> Observation:
    """An observation from a record as the modality's `read` takes it, such as a row of a Parquet file."""
    return modalities.get(modality).observe(record, given, adduct)


def of_peaks(peaks: PeakList, given: str, *, adduct: str | None = None) -> Observation:
    """An observation from a peak list that was read."""
    return modalities.get(peaks.modality).observe_peaks(peaks, given, adduct)


def with_precursor(
    conditions: Conditions, observations: Sequence[Observation]
) -> tuple[Conditions, list[str]]:
    """The conditions with the neutral mass that the first precursor tells, and a note that says so.

    Unchanged where a mass or a formula is asked for already, or no spectrum tells one; an MS/MS spectrum that
    should have told is named.
    """
    told = next((one for one in observations if one.neutral_mass is not None), None)
    if conditions.get("mass") or conditions.get("formula"):
        return conditions, []
    if told is None or told.neutral_mass is None:
        silent = next((one.peaks for one in observations if one.modality == "lc_ms"), None)
        return conditions, [_silence(silent)] if silent is not None else []
    tol_ppm, tol_da = conditions.get("tol_ppm"), conditions.get("tol_da")
    given: Conditions = {**conditions, "mass": told.neutral_mass}
    coarse = ""
    if tol_ppm is None and tol_da is None and _decimals(told.peaks) <= FEW_DECIMALS:
        given["tol_da"] = tol_da = COARSE
        coarse = f", wide because the precursor has {_decimals(told.peaks)} decimals"
    width = f"{tol_da:g} Da" if tol_da is not None else f"{DEFAULT_PPM if tol_ppm is None else tol_ppm:g} ppm"
    note = (
        f"{told.modality}: only candidates of {told.neutral_mass:.4f} ± {width}{coarse}, the neutral mass by "
        "the precursor; --mass or --formula set another, --any-mass none"
    )
    return given, [note]


def _decimals(peaks: PeakList | None) -> int:
    """Decimals that the precursor was written with, as far as its number still shows them."""
    if peaks is None or peaks.precursor_mz is None:
        return 0
    return len(f"{peaks.precursor_mz:.6f}".rstrip("0").partition(".")[2])


def _silence(peaks: PeakList) -> str:
    """Why an MS/MS spectrum does not limit the candidates, and what would."""
    if peaks.precursor_mz is None:
        lacking, remedy = "does not state its precursor", "a mass or a formula would limit them"
    elif peaks.adduct is None:
        lacking, remedy = "does not state its adduct", "name it with --adduct"
    else:
        lacking, remedy = "tells no mass by its adduct", "name another with --adduct"
    return f"the spectrum {lacking}, so candidates of any mass compete; {remedy}"
