"""How modalities, numbers and formulas are written for a reader."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from acml_search.search.columns import plain

NAMES = {
    "c_nmr": "¹³C NMR",
    "h_nmr": "¹H NMR",
    "lc_ms": "LC-MS/MS",
    "gc_ms": "EI-MS",
    "smiles": "SMILES",
    "image": "picture",
}
LONGEST = 400  # characters of one value that a page or a table shows
_DECIMALS = {"c_nmr": 1, "h_nmr": 2, "gc_ms": 2}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def name(modality: str) -> str:
    """The modality as chemists call it; several, joined by "+", each for itself."""
    return " + ".join(NAMES.get(part, clean(part)) for part in modality.split("+"))


def is_ms(modality: str) -> bool:
    """Is this a mass spectrum? Its positions are m/z, its errors parts per million of m/z."""
    return modality.endswith("_ms")


def unit(modality: str) -> str:
    """ "m/z" or "ppm", of positions."""
    return "m/z" if is_ms(modality) else "ppm"


def position(value: float | None, modality: str) -> str:
    """A position with the decimals its modality is read with; empty for none."""
    return "" if value is None else f"{value:.{_DECIMALS.get(modality, 4)}f}"


def error(value: float | None, modality: str) -> str:
    """A signed error, with a real minus; empty for none."""
    if value is None:
        return ""
    return signed(value, 1 if is_ms(modality) else _DECIMALS.get(modality, 2))


def signed(value: float, decimals: int) -> str:
    """`+1.2`, `−0.4`, and `0.0` without a sign."""
    text = f"{abs(value):.{decimals}f}"
    return text if not float(text) else ("−" if value < 0 else "+") + text


def atoms(numbers: tuple[int, ...]) -> str:
    """Atom numbers in ascending order, ranges of three or more drawn together: `0, 4–6`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts: list[str] = []
    for run in runs:
        texts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(texts)


def subscripts(formula: str) -> str:
    """`C8H8O3` -> `C₈H₈O₃`, for plots, where no other subscripts can be had."""
    return re.sub(r"(?<=[A-Za-z)\]])\d+", lambda found: found[0].translate(_SUBSCRIPTS), formula)


def clean(value: Any, longest: int = LONGEST) -> str:
    """One line of printable text of at most `longest` characters; empty for none and for NaN.

    What a library says comes from strangers: control characters, and those that turn the direction of
    writing, are shown as �.
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    text = value if isinstance(value, str) else str(plain(value))
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)
