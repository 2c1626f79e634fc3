"""How many hydrogens a 13C peak's carbon carries, where DEPT, APT or an edited HSQC told.

No part of a plain decoupled spectrum, so nothing is trained on it and no encoder sees it: a molecule says
itself how many hydrogens each of its carbons carries, and the comparison peak by peak may ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.chem.peaks import CARBONS
from acml_search.core.errors import InvalidRecord

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint8]

ANY = 0b1111
"""nothing is known: 0, 1, 2 or 3 hydrogens"""
HYDROGENS = {"c": 0, "ch": 1, "ch2": 2, "ch3": 3, "s": 0, "d": 1, "t": 2, "q": 3}
"""as papers print it, and as the letters of an off-resonance decoupled spectrum"""


class Observed(NamedTuple):
    """Peaks as they are compared: o of them, ascending."""

    positions: Floats
    """(o,) ppm, distinct"""
    attached: Bits
    """(o,) bit n set: the carbon may carry n hydrogens"""


def observed(positions: npt.ArrayLike, record: Any) -> Observed:
    """The peaks at `positions` (o,) with what the `multiplicity` of a record of a c_nmr modality, one entry
    per shift, says of each: a word of `HYDROGENS` in any case, anything else where it is not known.

    Carbons of one shift (within 0.01 ppm) are one peak, which may be any of them. Raises InvalidRecord where
    there are not as many entries as shifts.
    """
    at = np.asarray(positions, np.float64)
    given = record.get("multiplicity") if isinstance(record, Mapping) else None
    if given is None:
        return Observed(at, np.full(len(at), ANY, np.uint8))
    shifts = np.asarray(record["shifts"], np.float64)
    if len(given) != len(shifts):
        raise InvalidRecord(
            f"there are {len(given)} multiplicities for {len(shifts)} shifts; give one for each, empty where "
            "it is not known",
            modality="c_nmr",
        )
    attached = np.zeros(len(at), np.uint8)
    if len(at):
        nearest = np.abs(shifts[:, None] - at[None, :]).argmin(axis=1)
        np.bitwise_or.at(attached, nearest, np.array([_bits(word) for word in given], np.uint8))
    attached[attached == 0] = ANY
    return Observed(at, attached)


def is_told(record: Any) -> bool:
    """Does a record say of any peak how many hydrogens its carbon carries?"""
    given = record.get("multiplicity") if isinstance(record, Mapping) else None
    return given is not None and any(_bits(word) != ANY for word in given)


def word(attached: int) -> str:
    """Bits as papers print them: "CH2", "CH or CH3"."""
    names = [name for n, name in enumerate(CARBONS) if attached >> n & 1]
    return " or ".join(names)


def _bits(given: Any) -> int:
    n = HYDROGENS.get(str(given).strip().casefold())
    return ANY if n is None else 1 << n
