"""What a search is asked for, typed: molecules or observations of one compound, what a hit must satisfy, and
how to answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

import numpy as np

from acml_search import modalities
from acml_search.chem.formula import ELEMENTS, hill
from acml_search.core.errors import ConfigError, FilterError, NoCandidates, shorten
from acml_search.modalities import Observation

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.chem.peaks import PeakList
    from acml_search.index.directory import Passing
    from acml_search.library.catalog import Catalog


DEFAULT_PPM = 10.0
COARSE_TOLERANCE = 0.6  # Da, for a precursor of unit resolution, or rounded


Count = int | str | Sequence[int]
"""a number of atoms, or the least and the most: 18, "18-24", (18, 24)"""


class Conditions(TypedDict, total=False):
    """The keywords of `Filters`, as the search methods take them."""

    where: str | None
    formula: str | None
    mass: float | None
    masses: Sequence[float] | None
    tol_ppm: float | None
    tol_da: float | None
    elements_allowed: str | None
    elements_required: str | None
    hydrogens: Count | None
    carbons: Count | None


@dataclass(frozen=True)
class Filters:
    """Conditions on the molecules of an index; a molecule must meet all that are given.

    where: one SQL expression over the columns of `molecules`, such as `exact_mass < 300 AND vendor = 'X'`.
    formula: a molecular formula in any order; brought to Hill order here.
    mass: neutral exact mass in Da, within `tol_ppm` (parts per million of `mass`; 10 when neither is given)
    or within `tol_da` (Da), ends included. masses: several such masses, of which a molecule needs one.
    elements_allowed: symbols parted by commas, `C,H,N,O`: molecules of no other elements (H counts as one).
    elements_required: `Br,N`: molecules that contain all of these. Both are brought to Hill order here.
    hydrogens, carbons: how many a molecule has: `18`, or `18-24` (both ends included), kept as (18, 24).

    Raises FilterError for an empty expression, a formula that is none, a mass or tolerance that is not a
    positive number, both tolerances at once, a tolerance without a mass, a symbol of no element, an element
    that is required and not allowed, or a number of atoms that is none.
    """

    where: str | None = None
    formula: str | None = None
    mass: float | None = None
    tol_ppm: float | None = None
    tol_da: float | None = None
    elements_allowed: str | None = None
    elements_required: str | None = None
    masses: Sequence[float] | None = None
    hydrogens: Count | None = None
    carbons: Count | None = None

    def __post_init__(self) -> None:
        for name, text in (("the SQL condition", self.where), ("the formula", self.formula)):
            if text is not None and not isinstance(text, str):
                raise FilterError(f"{name} is {text!r}; give text")
        if self.where is not None and not self.where.strip():
            raise FilterError(
                'the SQL condition is empty; write one like "exact_mass < 300", or leave it out'
            )
        if self.formula is not None:
            object.__setattr__(self, "formula", hill(self.formula))
        for name, said in (("allowed", self.elements_allowed), ("required", self.elements_required)):
            if said is not None:
                object.__setattr__(self, f"elements_{name}", ",".join(elements(said, name)))
        for name in ("hydrogens", "carbons"):
            if (count := getattr(self, name)) is not None:
                object.__setattr__(self, name, _range(count, name))
        forbidden = set(_symbols(self.elements_required) or ()) - set(_symbols(self.elements_allowed) or ())
        if self.elements_allowed is not None and forbidden:
            raise FilterError(
                f"{', '.join(sorted(forbidden))} is required, but the elements allowed are "
                f"{self.elements_allowed}; allow it or do not require it"
            )
        if self.mass is None and not self.masses:
            if self.tol_ppm is not None or self.tol_da is not None:
                raise FilterError(
                    "a mass tolerance was given without a mass; give the neutral exact mass in Da too"
                )
            return
        if self.tol_ppm is not None and self.tol_da is not None:
            raise FilterError("two mass tolerances were given; give one, in ppm or in Da")
        if self.mass is not None:
            object.__setattr__(self, "mass", _number("the mass", self.mass, "Da", zero=False))
        if self.masses:
            masses = tuple(round(_number("a mass", mass, "Da", zero=False), 5) for mass in self.masses)
            object.__setattr__(self, "masses", masses)
        name, unit, value = ("tol_da", "Da", self.tol_da)
        if value is None:
            name, unit, value = ("tol_ppm", "ppm", DEFAULT_PPM if self.tol_ppm is None else self.tol_ppm)
        object.__setattr__(self, name, _number("the mass tolerance", value, unit, zero=True))

    def __bool__(self) -> bool:
        return bool(self.to_dict())

    def _half_width(self, mass: float | None) -> float | None:
        if mass is None:
            return None
        if self.tol_da is not None:
            return self.tol_da
        return mass * (self.tol_ppm or 0.0) * 1e-6

    def keys(self, catalog: Catalog) -> Passing | None:
        """The keys that pass, (n,) int64 ascending; None when there is no condition.

        Raises NoCandidates when nothing passes, FilterError when the catalogue refuses the SQL.
        """
        if not self:
            return None
        asked: dict[str, Any] = {"where": self.where, "formula": self.formula}
        for name in ("elements_allowed", "elements_required"):
            if (said := getattr(self, name)) is not None:
                asked[name] = _symbols(said)
        for name in ("hydrogens", "carbons"):
            if (count := getattr(self, name)) is not None:
                asked[name] = count
        masses: Sequence[float | None] = self.masses or [self.mass]
        found = [catalog.keys(**asked, mass=mass, tol_da=self._half_width(mass)) for mass in masses]
        keys: Passing = found[0]
        if len(found) > 1:  # of a store that keeps no keys here, a union is its own business
            union = getattr(keys, "union", lambda *others: np.unique(np.concatenate([keys, *others])))
            keys = union(*found[1:])
        if len(keys) == 0:
            raise NoCandidates(
                f"none of the {catalog.count():,} molecules of the index passes the filter {self}; loosen it"
            )
        return keys

    @property
    def width(self) -> str:
        """Half the width of the mass window, with its unit."""
        return f"{self.tol_da:g} Da" if self.tol_da is not None else f"{self.tol_ppm:g} ppm"

    def to_dict(self) -> dict[str, Any]:
        """The conditions that were given, as they are applied."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        parts = []
        if self.where is not None:
            parts.append(self.where)
        if self.formula is not None:
            parts.append(f"formula {self.formula}")
        if masses := " or ".join(f"{mass:.10g}" for mass in (self.mass, *(self.masses or ())) if mass):
            parts.append(f"mass {masses} ± {self.width}")
        if self.elements_allowed is not None:
            parts.append(f"elements of {self.elements_allowed} only")
        if self.elements_required is not None:
            parts.append(f"elements {self.elements_required} present")
        for name in ("hydrogens", "carbons"):
            if (count := getattr(self, name)) is not None:
                parts.append(f"{'-'.join(map(str, dict.fromkeys(count)))} {name}")
        return " and ".join(parts) or "(none)"


def elements(text: str, what: str) -> list[str]:
    """The symbols of a list such as "C,H,N,O" or "C H N O", each once, in Hill order.

    `what`: "allowed" or "required", for the message. Raises FilterError for none, or for what is no element.
    """
    if not isinstance(text, str):
        raise FilterError(f"the elements {what} are {text!r}; give text, as in C,H,N,O")
    symbols = [symbol for symbol in re.split(r"[\s,;]+", text) if symbol]
    if not symbols:
        raise FilterError(f"the list of elements {what} is empty; write symbols with commas, as in C,H,N,O")
    for symbol in symbols:
        if symbol not in ELEMENTS:
            raise FilterError(
                f"{shorten(symbol, 20)!r} among the elements {what} is no element; write symbols with "
                "commas, as in C,H,N,O"
            )
    first = [symbol for symbol in ("C", "H") if symbol in symbols]
    return first + sorted(set(symbols) - set(first))


def _symbols(text: str | None) -> list[str] | None:
    return None if text is None else text.split(",")


_COUNT = re.compile(r"\s*(\d{1,6})(?:\s*[-–:]\s*(\d{1,6}))?\s*")


def _range(count: Count, what: str) -> tuple[int, int]:
    """The least and the most of a number of atoms. Raises FilterError."""
    text = "-".join(map(str, count)) if isinstance(count, list | tuple) else str(count)
    found = _COUNT.fullmatch(text)
    if found is None:
        raise FilterError(
            f"the number of {what} is {shorten(text, 20)!r}; give a number or a range, as in 18 or 18-24"
        )
    low, high = int(found[1]), int(found[2] or found[1])
    if low > high:
        raise FilterError(f"the range of {what} {low}-{high} ends before it begins; write {high}-{low}")
    return low, high


def _number(what: str, value: Any, unit: str, *, zero: bool) -> float:
    """`value` as a float (DuckDB takes none of NumPy's). Raises FilterError when it is no such number."""
    if not isinstance(value, Real) or not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "zero or more" if zero else "more than zero"
        raise FilterError(f"{what} is {value}; give a number of {unit} that is {least}")
    return float(value)


MAX_K = 10_000
FEW_DECIMALS = 2  # a precursor written with no more is of unit resolution, or rounded


class MoleculeQuery(NamedTuple):
    """One molecule to search for.

    text: a SMILES, an InChI, an RDKit molecule or a mol block, and such a one when `kind` is "molblock".
    row: its 0-based data row in a file. error: why that row could not be read at all. about: the other
    columns of the row; the answer repeats them.
    """

    text: str | Chem.Mol
    kind: Literal["smiles", "molblock"] = "smiles"
    row: int | None = None
    error: str | None = None
    about: dict[str, Any] | None = None


@dataclass(frozen=True)
class SearchRequest:
    """How to answer. Raises ConfigError for a k or a depth out of range.

    k: hits per list. modality: of a molecule query, the one space to search. observations: of one compound;
    rerank: compare the `rerank_depth` best candidates peak by peak; None: as many as are quick.
    occlude: say which peaks matter most.
    keys: answer about these molecules, whatever their rank, instead of the first k. min_probability: of a hit
    of observations. notes: for the answer.
    """

    k: int = 10
    filters: Filters = field(default_factory=Filters)
    modality: str | None = None
    observations: Sequence[Observation] = ()
    rerank: bool = True
    rerank_depth: int | None = None
    occlude: bool = False
    keys: Sequence[int] | None = None
    min_probability: float = 0.0
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.k, int | np.integer) or not 1 <= self.k <= MAX_K:
            raise ConfigError(f"k is {self.k}; ask for 1 to {MAX_K:,} hits")
        depth = self.rerank_depth
        if depth is not None and (not isinstance(depth, int | np.integer) or not 1 <= depth <= MAX_K):
            raise ConfigError(f"rerank_depth is {depth}; compare 1 to {MAX_K:,} candidates")


class Ask(NamedTuple):
    """How every query of a run is answered; see `Index.identify` and `Index.search`."""

    modality: str | None = None
    k: int = 10
    adduct: str | None = None
    rerank: bool = True
    rerank_depth: int | None = None
    by_precursor: bool = True
    min_probability: float = 0.0
    conditions: Conditions = Conditions()
    smiles_column: str | None = None

    def how(self) -> dict[str, Any]:
        """The keywords of `Index.identify`."""
        names = ("k", "adduct", "rerank", "rerank_depth", "by_precursor", "min_probability")
        return {**{name: getattr(self, name) for name in names}, **self.conditions}


def read_observations(
    observations: Mapping[str, Any] | Sequence[Observation], adduct: str | None = None
) -> list[Observation]:
    """Observations of one compound: by modality, one or several of each (texts, paths, records), and by the
    names of a modality's `details` what says more of the first of them; or `Observation`s. Raises ConfigError
    where there is none, InvalidRecord for one that cannot be used.
    """
    if isinstance(observations, Mapping):
        kinds = [modalities.get(name) for name in modalities.names()]
        told = {name: given for name, given in observations.items() if any(name in k.details for k in kinds)}
        read = [
            modalities.get(name).read_input(str(one), adduct)
            if isinstance(one, str | Path)
            else modalities.get(name).observe(one, adduct=adduct)
            for name, given in observations.items()
            if name not in told
            for one in _several(given)
        ]
        for kind in kinds:
            if own := {name: given for name, given in told.items() if name in kind.details}:
                at = next((i for i, one in enumerate(read) if one.modality == kind.name), None)
                if at is None:
                    raise ConfigError(f"{' and '.join(own)} goes with {kind.name}; give that as well")
                read[at] = kind.detailed(read[at], own)
    else:
        read = list(observations)
        if not all(isinstance(one, Observation) for one in read):
            raise ConfigError("observations are given by modality, such as {'c_nmr': '155.4, 151.7'}")
    if not read:
        raise ConfigError("there is no observation; give at least one")
    return read


def questions(observed: Mapping[str, Any], adduct: str | None = None) -> list[list[Observation]]:
    """The observations of texts and files, once for each structure that a picture among them shows.

    Raises as `read_observations` does, and ConfigError for two pictures of several structures.
    """
    read = {name: given for name, given in observed.items() if not modalities.get(name).says_reading}
    parts = [
        modalities.get(name).read_parts(str(one), adduct)
        for name in observed
        if name not in read
        for one in _several(observed[name])
    ]
    several = [found for found in parts if len(found) > 1]
    if len(several) > 1:
        raise ConfigError("two pictures show several structures; name one of each, as FILE#1")
    others = read_observations(read, adduct) if read or not parts else []
    return [
        [*others, *(found[i] if len(found) > 1 else found[0] for found in parts)]
        for i in range(max(map(len, parts), default=1))
    ]


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

    Without an adduct, the masses of the likely ions. Unchanged where a mass or a formula is a condition
    already, or no spectrum states precursor and adduct or ion mode; a note names a spectrum that should.
    """
    if conditions.get("mass") or conditions.get("masses") or conditions.get("formula"):
        return conditions, []
    first = next((one for one in observations if one.masses), None)
    if first is None:
        silent = [one.peaks for one in observations if modalities.get(one.modality).has_precursor]
        return conditions, [_no_mass(peaks) for peaks in silent[:1] if peaks is not None]
    tol_ppm, tol_da = conditions.get("tol_ppm"), conditions.get("tol_da")
    limited: Conditions = {**conditions}
    masses = list(first.masses.values())
    if len(masses) == 1:
        limited["mass"] = masses[0]
    else:
        limited["masses"] = masses
    coarse = ""
    if first.mass_width is not None:  # what the user allows may be wider, never narrower than the window
        limited["tol_ppm"], tol_da = None, max(first.mass_width, tol_da or 0.0)
        limited["tol_da"] = tol_da
        coarse = f", as wide as the isolation window of the file ({first.mass_source.partition(' as ')[0]})"
    elif tol_ppm is None and tol_da is None and _decimals(first.peaks) <= FEW_DECIMALS:
        limited["tol_da"] = tol_da = COARSE_TOLERANCE
        coarse = f", wide because the precursor has {_decimals(first.peaks)} decimals"
    width = f"{tol_da:g} Da" if tol_da is not None else f"{DEFAULT_PPM if tol_ppm is None else tol_ppm:g} ppm"
    if len(masses) == 1:
        what = (
            f"{masses[0]:.4f} ± {width}{coarse}, the neutral mass by the precursor; --mass or --formula set "
        )
        what += "another"
    else:
        listed = ", ".join(f"{mass:.4f} ({name})" for name, mass in first.masses.items())
        what = f"{listed} ± {width}{coarse}: no adduct is stated, so likely ones are tried; --adduct names it"
    return limited, [f"{first.modality}: only candidates of {what}, --any-mass none"]


def no_candidates(
    error: NoCandidates, conditions: Conditions, filters: Filters, observations: Sequence[Observation], n: int
) -> NoCandidates:
    """The error of a search that nothing passes: what limits the candidates, and where that comes from.

    conditions: the user's; filters: what was made of them, for an index of n molecules.
    """
    first = next((one for one in observations if one.masses), None)
    by_user = conditions.get("mass") or conditions.get("masses") or conditions.get("formula")
    if first is None or by_user or not (filters.mass or filters.masses):
        return error
    masses = " or ".join(f"{mass:.4f}" for mass in first.masses.values())
    own: Conditions = {**conditions, "tol_ppm": None, "tol_da": None}
    others = Filters(**own)
    also = f" with {others}" if others else ""
    return NoCandidates(
        f"no molecule of {masses} Da ± {filters.width}{also} among the {n:,} of the index "
        f"({first.mass_source}); --adduct names another ion, --any-mass searches all masses"
    )


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
