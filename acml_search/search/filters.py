"""What a hit must satisfy, decided before the search: SQL, formula, elements, neutral exact mass."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Protocol, TypedDict

import numpy as np
import numpy.typing as npt

from acml_search.chem.formula import ELEMENTS, hill
from acml_search.core.errors import FilterError, shorten

DEFAULT_PPM = 10.0
COARSE_TOLERANCE = 0.6  # Da, for a precursor of unit resolution, or rounded


class _Catalog(Protocol):
    def keys(
        self,
        where: str | None = None,
        formula: str | None = None,
        mass: float | None = None,
        tol_da: float | None = None,
        elements_allowed: Sequence[str] | None = None,
        elements_required: Sequence[str] | None = None,
    ) -> npt.NDArray[np.int64]: ...

    def count(self) -> int: ...


class Conditions(TypedDict, total=False):
    """The keywords of `Filters`, as the search methods take them."""

    where: str | None
    formula: str | None
    mass: float | None
    tol_ppm: float | None
    tol_da: float | None
    elements_allowed: str | None
    elements_required: str | None


@dataclass(frozen=True)
class Filters:
    """Conditions on the molecules of an index; a molecule must meet all that are given.

    where: one SQL expression over the columns of `molecules`, such as `exact_mass < 300 AND vendor = 'X'`.
    formula: a molecular formula in any order; brought to Hill order here.
    mass: neutral exact mass in Da, within `tol_ppm` (parts per million of `mass`; 10 when neither is given)
    or within `tol_da` (Da), ends included.
    elements_allowed: symbols parted by commas, `C,H,N,O`: molecules of no other elements (H counts as one).
    elements_required: `Br,N`: molecules that contain all of these. Both are brought to Hill order here.

    Raises FilterError for an empty expression, a formula that is none, a mass or tolerance that is not a
    positive number, both tolerances at once, a tolerance without a mass, a symbol of no element, or an
    element that is required and not allowed.
    """

    where: str | None = None
    formula: str | None = None
    mass: float | None = None
    tol_ppm: float | None = None
    tol_da: float | None = None
    elements_allowed: str | None = None
    elements_required: str | None = None

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
        forbidden = set(_symbols(self.elements_required) or ()) - set(_symbols(self.elements_allowed) or ())
        if self.elements_allowed is not None and forbidden:
            raise FilterError(
                f"{', '.join(sorted(forbidden))} is required, but the elements allowed are "
                f"{self.elements_allowed}; allow it or do not require it"
            )
        if self.mass is None:
            if self.tol_ppm is not None or self.tol_da is not None:
                raise FilterError(
                    "a mass tolerance was given without a mass; give the neutral exact mass in Da too"
                )
            return
        if self.tol_ppm is not None and self.tol_da is not None:
            raise FilterError("two mass tolerances were given; give one, in ppm or in Da")
        object.__setattr__(self, "mass", _number("the mass", self.mass, "Da", zero=False))
        name, unit, value = ("tol_da", "Da", self.tol_da)
        if value is None:
            name, unit, value = ("tol_ppm", "ppm", DEFAULT_PPM if self.tol_ppm is None else self.tol_ppm)
        object.__setattr__(self, name, _number("the mass tolerance", value, unit, zero=True))

    def __bool__(self) -> bool:
        return bool(self.to_dict())

    @property
    def half_width(self) -> float | None:
        """Half the width of the mass window in Da, or None without a mass."""
        if self.mass is None:
            return None
        if self.tol_da is not None:
            return self.tol_da
        return self.mass * (self.tol_ppm or 0.0) * 1e-6

    def keys(self, catalog: _Catalog) -> npt.NDArray[np.int64] | None:
        """The keys that pass, (n,) int64 ascending; None when there is no condition.

        Raises FilterError when nothing passes, or when the catalogue refuses the SQL.
        """
        if not self:
            return None
        asked: dict[str, Any] = {
            "where": self.where,
            "formula": self.formula,
            "mass": self.mass,
            "tol_da": self.half_width,
        }
        for name in ("elements_allowed", "elements_required"):
            if (said := getattr(self, name)) is not None:
                asked[name] = _symbols(said)
        keys = catalog.keys(**asked)
        if len(keys) == 0:
            raise FilterError(
                f"none of the {catalog.count():,} molecules of the index passes the filter {self}; loosen it"
            )
        return keys

    def to_dict(self) -> dict[str, Any]:
        """The conditions that were given, as they are applied."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        parts = []
        if self.where is not None:
            parts.append(self.where)
        if self.formula is not None:
            parts.append(f"formula {self.formula}")
        if self.mass is not None:
            width = f"{self.tol_da:g} Da" if self.tol_da is not None else f"{self.tol_ppm:g} ppm"
            parts.append(f"mass {self.mass:.10g} ± {width}")
        if self.elements_allowed is not None:
            parts.append(f"elements of {self.elements_allowed} only")
        if self.elements_required is not None:
            parts.append(f"elements {self.elements_required} present")
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


def _number(what: str, value: Any, unit: str, *, zero: bool) -> float:
    """`value` as a float (DuckDB takes none of NumPy's). Raises FilterError when it is no such number."""
    if not isinstance(value, Real) or not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "zero or more" if zero else "more than zero"
        raise FilterError(f"{what} is {value}; give a number of {unit} that is {least}")
    return float(value)
