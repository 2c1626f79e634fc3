"""Where the NMR of a text begins and ends: which nucleus, solvent and field each part is of."""

from __future__ import annotations

import re
from typing import NamedTuple

NUCLEI = {"C": "c_nmr", "H": "h_nmr"}


class Section(NamedTuple):
    """A part of a cleaned text that speaks of one nucleus."""

    nucleus: str
    """ "C", "H", "" where the text does not say, "other" where nothing of use stands"""
    start: int
    """offset of the first character after the words that name the nucleus"""
    end: int


_DECOUPLED = r"(?:\s?-?\s?[\{\[(]\s?(?:1\s?H|19\s?F|31\s?P)(?:\s?,\s?(?:19\s?F|31\s?P))?\s?[\}\])])?"
_NMR = r"(?:NMR|MMR|N\.M\.R\.?|RMN|nmr)"


def _isotope(group: str) -> str:
    """1H, 13C or another nucleus, with what is decoupled: "13C{1H}"."""
    return rf"(?P<{group}>1\s?-?\s?H|H\s?-?1|13\s?-?\s?C|C\s?-?13|\d{{1,3}}\s?[A-Z][a-z]?){_DECOUPLED}"


_MARKER = re.compile(
    rf"""
      (?<![\w.]) (?P<two>\d{{1,3}}[A-Z]\s?[-,/]\s?\d{{1,3}}[A-Z])\s?-?\s?(?:HSQC|HMBC|HMQC|COSY|NOESY|ROESY)
    | (?<![\w.]) {_isotope("a")} [\s:,\-]{{0,3}}
        (?:(?:DEPT|APT|Presat|PENDANT|UDEFT|decoupled|BB|CPD|and\ DEPT)[\s\-]{{1,3}})? {_NMR}(?!\w)
    | (?<![\w.]) {_NMR}[\s:,\-]{{1,3}} {_isotope("b")} (?![\w'])
    | (?<![\w.]) {_isotope("c")} \s?-?:?\s? (?=[(\[][^()\[\]]{{0,40}}M\s?[Hh]?z)
    | (?<![\w.\-]) (?P<bare>[HC])\s?-?{_NMR}(?!\w)
    | (?<![\w]) (?P<word>[Pp]roton|[Cc]arbon)(?:-13)?\s?{_NMR}(?!\w)
    | (?<![\w.]) (?P<old>PMR|CMR)(?!\w)
    | (?<![\w.]) (?P<d>1\s?H|13\s?C)\s?(?=\s?:)
    | (?<![\w.]) (?P<e>1\s?H|13\s?C){_DECOUPLED}\s(?=\([^()]{{0,30}}\)[^.;]{{0,20}}{_NMR})
    | (?<![\w.\-]) (?P<none>{_NMR})(?!\w)
    """,
    re.VERBOSE,
)
# after these words of an experimental part no shift stands until the next nucleus
_OTHER = re.compile(
    r"(?<![\w-])(?:HR-?MS|HR-?ESI|HR-?FAB|HR-?EI|LR-?MS|LC-?MS|GC-?MS|ESI|EI-?MS|EIMS|MALDI|APCI|FAB|MS|FT-?IR|ATR|IR|m/z"
    r"|Anal\.?|[Ee]lemental|[Cc]alcd|[Cc]alc\.|UV|HPLC|TLC|Rf|R_f|[Mm]\.?p\.?|νmax)(?=[\s.,:;(\[/-])"
)
_FIELD = re.compile(r"(?<![\d.])(\d{2,4}(?:\.\d{1,3})?)\s?-?(?:M\s?[Hh]?z|Hz)", re.IGNORECASE)
_PLAIN_FIELD = re.compile(r"[(\[,;]\s*(\d{2,4}(?:\.\d{1,3})?)\s*[,;)\]]")
FIELDS = (20.0, 1400.0)
"""MHz: of 13C at 1.9 T up to 1H at 28 T, with room"""


def sections(text: str) -> list[Section]:
    """The parts of a cleaned text, in order. Without a word that names a nucleus, the whole text is one."""
    marks = [(match.start(), match.end(), _nucleus(match)) for match in _MARKER.finditer(text)]
    if any(nucleus for _, _, nucleus in marks):  # "NMR solvents" begins nothing where 13C NMR stands before
        marks = [mark for mark in marks if mark[2]]
    if not marks:
        return [Section("", 0, _end(text, 0, len(text)))]
    ends = [mark[0] for mark in marks[1:]] + [len(text)]
    found = [
        Section(nucleus, end, _end(text, end, stop))
        for (_, end, nucleus), stop in zip(marks, ends, strict=True)
    ]
    if marks[0][0] > 0:  # "δ 7.26 (s) ... in the 1H NMR": what stands before is of no nucleus yet
        found.insert(0, Section("before", 0, marks[0][0]))
    return found


def _nucleus(match: re.Match[str]) -> str:
    if match["two"]:
        return "other"
    if match["none"]:
        return ""
    named = next(match[name] for name in ("a", "b", "c", "bare", "word", "old", "d", "e") if match[name])
    plain = re.sub(r"[\s-]", "", named).upper()
    if plain in ("1H", "H1", "H", "PROTON", "PMR"):
        return "H"
    return "C" if plain in ("13C", "C13", "C", "CARBON", "CMR") else "other"


def _end(text: str, start: int, stop: int) -> int:
    """Where another method's data begin, or `stop`."""
    for other in _OTHER.finditer(text, start, stop):
        opened = text.rfind("(", max(start, other.start() - 40), other.start())
        inside = opened >= 0 and ")" not in text[opened : other.start()]
        if not inside:  # "(400 MHz, IR-grade CDCl3)" is no IR
            return other.start()
    return stop


def field_mhz(conditions: str) -> float | None:
    """The frequency in MHz that the words before a peak list state."""
    found = _FIELD.search(conditions) or _PLAIN_FIELD.search(conditions)
    value = float(found[1]) if found else None
    return value if value is not None and FIELDS[0] <= value <= FIELDS[1] else None
