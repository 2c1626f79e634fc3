"""The words of NMR text, by what they mean for the numbers beside them."""

from __future__ import annotations

import re

# fmt: off
HZ = frozenset(("Hz", "HZ", "hz", "Hertz"))
UNITS = HZ | frozenset((
    "MHz", "Mhz", "mHz", "MHZ", "Mz", "K", "°", "%", "M", "mM", "mg", "mL", "ml", "mmol", "h", "min", "nm",
    "cm", "eV", "Da", "g", "GHz", "kHz",
))
"""after these a number is no shift"""
LINKS = frozenset((
    "and", "or", "und", "et", "at", "of", "ca", "around", "approx", "about", "from", "near", "to", "&",
))
"""after these a shift can stand"""
BREAKS = frozenset((",", ";", "|", "/", "•", "+", "and", "&", "or"))
"""these separate items"""
DASHES = frozenset(("-", "~", "to", "…"))
"""these join the two ends of a range"""
QUIET = frozenset((
    "ppm", "each", "overlap", "overlapped", "overlapping", "overlaps", "with", "major", "minor", "maj",
    "min", "rotamer", "rotamers", "isomer", "exchangeable", "exch", "arom", "aromatic", "ipso", "ortho",
    "meta", "para", "quat", "broad", "carbon", "carbons", "proton", "protons", "signal", "signals", "both",
    "all", "or", "trans", "values", "value", "were", "are", "was", "data", "results", "shows", "selected",
    "observed", "follows", "cis", "syn", "anti", "axial", "equatorial", "olefinic", "respectively",
    "apparent", "and", "d", "in",
))
"""these stand in lists and before them, and are not yet prose"""
REFERENCES = frozenset((
    "Table", "Tables", "Figure", "Fig", "Figs", "Scheme", "compound", "Compound", "ref", "Ref", "Appendix",
    "pH", "x", "of", "for", "S",
))
"""a number after these names something else"""
# fmt: on
_ATOM = re.compile(
    r"[CHN]-?\d{1,2}[a-z]?['\"]*(?:[,/-].*)?|C[Hh]?[23]?|CAr|Car|Cq|OH|NH|NH2|OCH3|OMe|NMe|NCH3|[CH]-.*"
)


def labels_atom(text: str) -> bool:
    """Whether a word names an atom or group of the compound: "C-4", "H5a", "CH2", "OMe"."""
    return _ATOM.fullmatch(text) is not None
