"""What a search is asked for, typed: molecules or observations of one compound, and how to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.modalities import Observation
from acml_search.search.filters import COARSE_TOLERANCE, DEFAULT_PPM, Conditions, Filters

if TYPE_CHECKING:
    from acml_search.chem.peaks import PeakList

MAX_K = 10_000
FEW_DECIMALS = 2  # a precursor written with no more is of unit resolution, or rounded


class MoleculeQuery(NamedTuple):
    """One molecule to search for.

    text: a SMILES, or a mol block when `kind` is "molblock". row: its 0-based data row in a file.
    error: why that row could not be read at all. about: the other columns of the row; the answer repeats
    them.
    """

    text: str
    kind: Literal["smiles", "molblock"] = "smiles"
    row: int | None = None
    error: str | None = None
    about: dict[str, Any] | None = None


@dataclass(frozen=True)
class SearchRequest:
    """How to answer. Raises ConfigError for a k out of range.

    k: hits per list. modality: of a molecule query, the one space to search. observations: of one compound;
    rerank: compare the best candidates peak by peak. occlude: say which peaks matter most. keys: answer about
    these molecules, whatever their rank, instead of the first k. notes: for the answer.
    """

    k: int = 10
    filters: Filters = field(default_factory=Filters)
    modality: str | None = None
    observations: Sequence[Observation] = ()
    rerank: bool = True
    occlude: bool = False
    keys: Sequence[int] | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.k, int | np.integer) or not 1 <= self.k <= MAX_K:
            raise ConfigError(f"k is {self.k}; ask for 1 to {MAX_K:,} hits")


def read_observations(
    observations: Mapping[str, Any] | Sequence[Observation], adduct: str | None = None
) -> list[Observation]:
    """Observations of one compound: by modality, one or several of each (texts, paths, records), or
    `Observation`s. Raises ConfigError where there is none, InvalidRecord for one that cannot be used.
    """
    if isinstance(observations, Mapping):
        read = [
            modalities.get(name).read_input(str(one), adduct)
            if isinstance(one, str | Path)
            else modalities.get(name).observe(one, adduct=adduct)
            for name, given in observations.items()
            for one in _several(given)
        ]
    else:
        read = list(observations)
        if not all(isinstance(one, Observation) for one in read):
            raise ConfigError("observations are given by modality, such as {'c_nmr': '155.4, 151.7'}")
    if not read:
        raise ConfigError("there is no observation; give at least one")
    return read


def _several(given: Any) -> list[Any]:
    """One observation or several, of a list; a list of numbers is one, such as the shifts of a spectrum."""
    if isinstance(given, np.ndarray) and given.ndim == 1:
        given = given.tolist()
    if not isinstance(given, list | tuple):
        return [given]
    if given and all(isinstance(one, Real) for one in given):
        return [list(given)]
    return list(given)


def with_precursor(
    conditions: Conditions, observations: Sequence[Observation]
) -> tuple[Conditions, list[str]]:
    """The conditions with the neutral mass by the first precursor, and a note that says so.

    Unchanged where a mass or a formula is a condition already, or no spectrum states a precursor and its
    adduct; a note names a spectrum that should.
    """
    if conditions.get("mass") or conditions.get("formula"):
        return conditions, []
    first = next((one for one in observations if one.neutral_mass is not None), None)
    if first is None:
        silent = [one.peaks for one in observations if modalities.get(one.modality).has_precursor]
        return conditions, [_no_mass(peaks) for peaks in silent[:1] if peaks is not None]
    neutral = cast("float", first.neutral_mass)
    tol_ppm, tol_da = conditions.get("tol_ppm"), conditions.get("tol_da")
    limited: Conditions = {**conditions, "mass": neutral}
    coarse = ""
    if tol_ppm is None and tol_da is None and _decimals(first.peaks) <= FEW_DECIMALS:
        limited["tol_da"] = tol_da = COARSE_TOLERANCE
        coarse = f", wide because the precursor has {_decimals(first.peaks)} decimals"
    width = f"{tol_da:g} Da" if tol_da is not None else f"{DEFAULT_PPM if tol_ppm is None else tol_ppm:g} ppm"
    note = (
        f"{first.modality}: only candidates of {neutral:.4f} ± {width}{coarse}, the neutral mass by the "
        "precursor; --mass or --formula set another, --no-precursor-filter none"
    )
    return limited, [note]


def _decimals(peaks: PeakList | None) -> int:
    """Decimals that the precursor was written with, as far as its number still shows them."""
    if peaks is None or peaks.precursor_mz is None:
        return 0
    return len(f"{peaks.precursor_mz:.6f}".rstrip("0").partition(".")[2])


def _no_mass(peaks: PeakList) -> str:
    """Why a spectrum does not limit the candidates, and what would."""
    if peaks.precursor_mz is None:
        lacking, remedy = "does not state its precursor", "a mass or a formula would limit them"
    elif peaks.adduct is None:
        lacking, remedy = "does not state its adduct", "name it with --adduct"
    else:
        lacking, remedy = "tells no mass by its adduct", "name another with --adduct"
    return f"the spectrum {lacking}, so candidates of any mass compete; {remedy}"
