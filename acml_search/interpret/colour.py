"""What a map is coloured by: a column of the library, or a concept, as numbers or as categories."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, shorten
from acml_search.interpret.concepts import CONCEPTS, by_name
from acml_search.interpret.sample import Sample, column

MOST = 9
"""categories with a colour of their own; the rest is "other" """
SHORT = {"mw": "molecular weight", "logp": "logP", "tpsa": "TPSA", "qed": "QED"}


@dataclass(frozen=True)
class Colour:
    """values (n,) float64: numbers, NaN where there is none; or places in `categories`, -1 for none."""

    name: str
    values: npt.NDArray[np.float64]
    categories: list[str] | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the colour scale: the 1st and 99th percentile, so that one giant does not grey the rest."""
        known = self.values[~np.isnan(self.values)]
        if not len(known):
            return (0.0, 1.0)
        low, high = (float(x) for x in np.quantile(known, [0.01, 0.99]))
        return (low, high) if high > low else (low, low + 1.0)


def colour_of(sample: Sample, name: str) -> Colour:
    """The library's column of this name, else the concept. Raises ConfigError, listing what there is."""
    values = column(sample, name)
    if values is not None:
        return _of_column(name, list(values))
    concept = by_name(SHORT.get(name.casefold(), name))
    if concept is None:
        own = sorted({key for one in sample.molecules for key in one.columns})
        known = ", ".join(own[:20] + [c.name for c in CONCEPTS])
        raise ConfigError(
            f"there is no column or concept {shorten(name, 40)!r} to colour by; there are {known}"
        )
    found = np.array([concept.of(mol) for mol in sample.mols], np.float64)
    if concept.kind == "group":
        return Colour(concept.name, found, [f"no {concept.name}", concept.name])
    return Colour(concept.name, found)


def _of_column(name: str, values: list[object]) -> Colour:
    """Numbers where all that is there is one of many numbers, else categories, the frequent first."""
    numbers = [_number(value) for value in values]
    there = [value for value in values if value is not None and value != ""]
    finite = [x for x in numbers if not math.isnan(x)]
    truths = all(isinstance(value, bool) for value in there)
    if finite and len(finite) == len(there) and not truths and len(set(finite)) > MOST:
        return Colour(name, np.array(numbers, np.float64))
    texts = ["" if value is None else str(value) for value in values]
    common = [text for text, _ in Counter(text for text in texts if text).most_common(MOST)]
    if not common:
        raise ConfigError(f"the column {shorten(name, 40)!r} is empty; colour by another")
    place: dict[str, int] = {text: i for i, text in enumerate(common)}
    more = any(text and text not in place for text in texts)
    if more:
        common.append("other")
    found = [place.get(text, len(common) - 1 if text and more else -1) for text in texts]
    return Colour(name, np.array(found, np.float64), common)


def _number(value: object) -> float:
    """The value as a number; NaN for what is none. Text that spells a number is one: CSV has no others."""
    if isinstance(value, bool) or value is None:
        return math.nan
    if isinstance(value, Real):
        return float(value)
    try:
        number = float(str(value))
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
