"""NMR lines as papers print them and as electronic notebooks paste them: text -> `PeakList`.

    text     = {words | header list}                  a header names the nucleus: "13C NMR (101 MHz, CDCl3)"
    list     = item {("," | ";" | "and" | ".") item}
    item     = [label ":"] shift ["ppm"] {note}
    shift    = number | number ("-" | "to") number
    note     = "(" ... ")" | multiplicity | count | "J =" numbers | label

The file reads in the order of the work: the text is cut into sections, one for each header; `SectionReader`
walks once through the tokens of a section and collects `Signal`s with all that their notes say; the signals
are checked as a list and become a `PeakList`. Prose ends a list; a δ, or numbers that end in "ppm", begin one
again. What the grammar does not foresee is passed over: a number is a shift only where a shift can stand, and
what looks like a shift and cannot be one is named in `left_out`. Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from acml_search.chem.peaks import LeftOut, Peak, PeakList
from acml_search.core.errors import InvalidRecord, shorten
from acml_search.nmr.solvents import solvent_name
from acml_search.nmr.splitting import unsplit
from acml_search.nmr.tokens import (
    CLOSE,
    DELTA,
    NUMBER,
    OPEN,
    PUNCT,
    WORD,
    J,
    Token,
    bracket_pairs,
    clean,
    fix_typos,
    has_ambiguous_commas,
    tokenize,
)

MAX_CHARACTERS = 100_000
"""a hundred times the longest line of one compound; more is a whole paper"""
MODALITIES = {"C": "c_nmr", "H": "h_nmr"}
NUCLEI = {modality: nucleus for nucleus, modality in MODALITIES.items()}
NAMES = {"C": "13C", "H": "1H"}
SHIFT_LIMITS = {"C": (-50.0, 350.0), "H": (-40.0, 40.0)}
"""ppm: beyond these no shift of the nucleus is known"""
MAX_WIDTH = {"C": 10.0, "H": 3.0}
"""ppm: a wider range is a region, not a peak"""
FIELD_LIMITS = (20.0, 1400.0)
"""MHz: of 13C at 1.9 T up to 1H at 28 T, with room"""
MAX_COUPLING = 2000.0
"""Hz; one-bond couplings of the heavier nuclei end about here"""
MAX_COUPLINGS = 12
"""of one signal; a longer list is a misreading"""
MAX_COUNT = 200
"""nuclei of one signal; no signal has as many"""
_CARBON_ABOVE = 40.0
"""ppm: above this, a shift without a nucleus is of carbon"""

# The vocabulary: words by what they mean for the numbers beside them.
# fmt: off
HERTZ = frozenset(("Hz", "HZ", "hz", "Hertz"))
UNITS = HERTZ | frozenset((
    "MHz", "Mhz", "mHz", "MHZ", "Mz", "K", "°", "%", "M", "mM", "mg", "mL", "ml", "mmol", "h", "min", "nm",
    "cm", "eV", "Da", "g", "GHz", "kHz",
))
"""a number before these is no shift"""
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
"""these stand in lists and before them, and are not prose yet"""
REFERENCES = frozenset((
    "Table", "Tables", "Figure", "Fig", "Figs", "Scheme", "compound", "Compound", "ref", "Ref", "Appendix",
    "pH", "x", "of", "for", "S",
))
"""a number after these names something else"""
# fmt: on
_ATOM_LABEL = re.compile(
    r"[CHN]-?\d{1,2}[a-z]?['\"]*(?:[,/-].*)?|C[Hh]?[23]?|CAr|Car|Cq|OH|NH|NH2|OCH3|OMe|NMe|NCH3|[CH]-.*"
)
_LETTERS = (
    r"(?:quintet|quint|quin|quartet|quart|sextet|sext|septet|sept|sep|heptet|hept|pentets?|pent|nonet|non"
    r"|[sdtqphm])"
)
_MULTIPLICITY = re.compile(
    rf"(?:br|brd|broad|bs|app|b|v)?-?(?:{_LETTERS}-?){{1,5}}(?:br)?|m?ABq?|ABX|AA'BB'|XX'|br|broad|bs"
    r"|singlet|doublet|triplet|multiplet|mult|quadruplet|[bB]rs?|o[dt]?|sbr|dbr|tbr"
)
_PREFIXES = {
    **dict.fromkeys(("br", "broad", "b", "vbr"), "br"),
    **dict.fromkeys(("app", "apparent", "pseudo"), "app"),
}
_CARBON_CLASSES = {
    **{name: name for name in ("C", "CH", "CH2", "CH3")},
    **dict.fromkeys(("Cq", "Cquat", "quat", "qC"), "C"),
}
_COUNTS_PROTONS = re.compile(r"H(?:'s|s|[a-z]{0,6}|-.*)?|[A-Z][a-z]?-H.*")
_COUNTS_CARBONS = re.compile(r"C(?:s|[a-z]{0,6}|H[23]?|Ar|-.*)?")


def read_nmr_text(text: str, modality: str | None = None) -> PeakList:
    """The peak list of one nucleus in a text.

    modality: "c_nmr" or "h_nmr"; None for the nucleus that the text names. A bare list of shifts names none,
    so it needs the modality. Positions are in ppm, in the order of the text; a range has its middle as
    position and both ends.

    Raises InvalidRecord for an empty or endless text, prose without shifts, a list of the other nucleus, both
    nuclei where `modality` is None, and shifts that no compound shows.
    """
    name = modality or "nmr"
    lists, problems = _read(text, modality)
    if modality is None:
        if len(lists) > 1:
            raise InvalidRecord("the text has 13C and 1H; say which of them is meant", modality=name)
        if lists:
            return lists[0]
    for peaks in lists:
        if peaks.modality == modality:
            return peaks
    if problems:
        raise InvalidRecord(problems[0], modality=name)
    shown = shorten(" ".join(text[:200].split()), 60)
    if not lists and modality and (other := _other_nucleus(clean(text))):
        raise InvalidRecord(
            f'the text has {other} and no {NAMES[NUCLEI[name]]} list ("{shown}"); give the one of '
            f"{NAMES[NUCLEI[name]]}",
            modality=name,
        )
    if lists:
        there, wanted = NAMES[NUCLEI[lists[0].modality]], NAMES[NUCLEI[name]]
        raise InvalidRecord(
            f'the text has a {there} list and no {wanted} list ("{shown}"); give it as {there}',
            modality=name,
        )
    raise InvalidRecord(
        f'no peak list stands in the text ("{shown}"); give shifts in ppm, such as "δ 155.4, 151.7 (CH)"',
        modality=name,
    )


def peak_lists(text: str) -> list[PeakList]:
    """The peak lists of one text, 13C and 1H, in the order of the text; empty where it has none.

    Raises InvalidRecord for an empty or endless text.
    """
    return _read(text, None)[0]


def printed_shifts(peaks: Iterable[Peak]) -> Iterator[float]:
    """Every printed shift: a single position, or both ends of a range."""
    for peak in peaks:
        if peak.low is None or peak.high is None:
            yield peak.position
        else:
            yield from (peak.low, peak.high)


def _read(text: str, modality: str | None) -> tuple[list[PeakList], list[str]]:
    """The lists of a text, at most one a nucleus, and why what looked like a list is none."""
    _check(text, modality)
    cleaned, _ = split_dept(clean(text))
    lists: dict[str, PeakList] = {}
    problems: list[str] = []
    solvents: list[str] = []
    sections = find_sections(cleaned)
    for section, following in zip(sections, [*sections[1:], None], strict=False):
        piece, others = _first_compound(fix_typos(cleaned[section.start : section.end]))
        piece, impurities = _without_impurities(piece)
        if not section.nucleus and has_ambiguous_commas(piece):
            problems.append("its commas may be decimal points; write points, and a space after each comma")
            continue
        for nucleus, parsed in _read_section(piece, section, following, modality).items():
            peaks = _checked(nucleus, parsed, piece, problems)
            if peaks is None:
                continue
            if peaks.solvent:
                solvents.append(peaks.solvent)
            peaks = replace(peaks, left_out=(*peaks.left_out, *impurities, *others))
            lists[peaks.modality] = _join(
                lists.get(peaks.modality), peaks, headed=_BEGINS.match(piece) is not None
            )
    if solvents:  # a list that names no solvent was measured in the one of the other nucleus
        lists = {name: replace(one, solvent=one.solvent or solvents[0]) for name, one in lists.items()}
    return list(lists.values()), problems


_TAU = re.compile(r"τ\s*[=:]?\s*\d")
_IMPURITY = re.compile(
    r"(?:(?<=[.;])|(?<=\n))\s*(?:(?:also|the sample|sample|it)\s)?"
    r"(?:contain(?:s|ed|ing)|contaminated with|impurit(?:y|ies)|traces? of|residual)\b(?:[^.;]|\.(?=\d))*",
    re.IGNORECASE,
)


def _without_impurities(text: str) -> tuple[str, list[LeftOut]]:
    """The text with sentences about other compounds blanked ("Contains 5% EtOAc: 4.12, 2.05"), and the shifts
    in them.
    """
    found = [
        LeftOut(number, "its sentence speaks of an impurity", float(number))
        for sentence in _IMPURITY.finditer(text)
        for number in re.findall(r"(?<![\w.])\d{1,3}\.\d+(?!\w|\s?%)", sentence[0])
    ]
    return (_IMPURITY.sub(lambda sentence: " " * len(sentence[0]), text) if found else text), found


_COMPOUND = re.compile(
    r"(?<![\w.,/('-])(?:[Cc]ompounds?\s+\(?(?P<named>[A-Z]|\w{0,4}\d\w{0,4})\)?"
    r"|\(?(?P<label>\d{1,3}(?:[a-z]|(?=\)?\s?:\s)))\)?)"
    r"\s?[:=]?\s?(?:δ[HC]?\s?[=:]?\s?)?(?=-?\d{1,3}\.\d+\s?[,;(])"
)
"""the name of a compound before its list: "3a: 170.1, ...", "compound 4 δ 170.1, ..." """


def _first_compound(text: str) -> tuple[str, list[LeftOut]]:
    """The text up to a second compound's list ("3a: 170.1, ...; 3b: 171.2, ..."), and what is left out."""
    begins = list(_COMPOUND.finditer(text))
    ends = [match.start() for match in begins[1:]] + [len(text)]
    lists = [
        (match["named"] or match["label"], match, shifts)
        for match, end in zip(begins, ends, strict=False)
        if len(shifts := re.findall(r"(?<![\w.])\d{1,3}\.\d+(?!\s?Hz)", text[match.end() : end])) > 2
    ]
    for name, match, shifts in lists[1:]:
        if name != lists[0][0]:
            why = f"it is the list of a second compound, {name}; give one compound at a time"
            start, end = lists[0][1].span("named" if lists[0][1]["named"] else "label")
            text = text[:start] + " " * (end - start) + text[end : match.start()]  # the name is no shift
            return text, [LeftOut(f"{', '.join(shifts[:3])}, …", why)]
    return text, []


def _check(text: str, modality: str | None) -> None:
    problem = None
    if modality is not None and modality not in NUCLEI:
        problem = "text can be read as c_nmr or h_nmr; choose one"
    elif not isinstance(text, str):
        problem = f"it is {type(text).__name__}, not text"  # type: ignore[unreachable]
    elif not text.strip():
        problem = "the text is empty; give shifts in ppm"
    elif "δ" not in text and _TAU.search(text):
        problem = "it gives τ values; give shifts on the δ scale (δ = 10 - τ)"
    elif len(text) > MAX_CHARACTERS:
        problem = (
            f"the text has {len(text):,} characters, more than {MAX_CHARACTERS:,}; "
            "give the lines of one compound"
        )
    if problem is not None:
        raise InvalidRecord(problem, modality=modality or "nmr")


# ---- sections: where the NMR of each nucleus begins and ends


class Section(NamedTuple):
    """A part of a cleaned text that speaks of one nucleus."""

    nucleus: str
    """ "C", "H", "" where the text does not say, "before" the first header, "other" for any other nucleus"""
    start: int
    """offset of the first character after the words that name the nucleus"""
    end: int


_DECOUPLED = r"(?:\s?-?\s?[\{\[(]\s?(?:1\s?H|19\s?F|31\s?P)(?:\s?,\s?(?:19\s?F|31\s?P))?\s?[\}\])])?"
_NMR = r"(?:NMR|MMR|N\.M\.R\.?|RMN|nmr)"


def _isotope(group: str) -> str:
    """1H, 13C or another nucleus, with what is decoupled: "13C{1H}"."""
    return rf"(?P<{group}>1\s?-?\s?H|H\s?-?1|13\s?-?\s?C|C\s?-?13|\d{{1,3}}\s?[A-Z][a-z]?){_DECOUPLED}"


_HEADER = re.compile(
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
_NAMED_BY = ("a", "b", "c", "bare", "word", "old", "d", "e")
# after these words of an experimental part no shift stands until the next nucleus
_OTHER_METHOD = re.compile(
    r"(?<![\w-])(?:HR-?MS|HR-?ESI|HR-?FAB|HR-?EI|LR-?MS|LC-?MS|GC-?MS|ESI|EI-?MS|EIMS|MALDI|APCI|FAB|MS|FT-?IR|ATR|IR|m/z"
    r"|Anal\.?|[Ee]lemental|[Cc]alcd|[Cc]alc\.|UV|HPLC|TLC|Rf|R_f|[Mm]\.?p\.?|νmax)(?=[\s.,:;(\[/-])"
)
_FIELD = re.compile(r"(?<![\d.])(\d{2,4}(?:\.\d{1,3})?)\s?-?(?:M\s?[Hh]?z|Hz)", re.IGNORECASE)
_FIELD_WITHOUT_UNIT = re.compile(r"[(\[,;]\s*(\d{2,4}(?:\.\d{1,3})?)\s*[,;)\]]")


_DEPT = re.compile(
    r"(?<![\w(/])(?:13\s?C|C-13)?[\s,{}1H-]{0,6}DEPT[\s-]?(?P<angle>135|90)°?(?![\w°])(?:[\s-]{0,2}NMR)?"
    r"(?=\s?(?:\([^()]{0,60}\))?[\s:,=]{0,3}(?:δ|-?\d{1,3}\.\d|[A-Za-z0-9, /()+-]{1,30}[:=]\s?-?\d))"
)


def split_dept(text: str) -> tuple[str, dict[str, str]]:
    """A cleaned text without the lists of its DEPT experiments, and these by "dept135" and "dept90".

    A text of nothing else is left as it is.
    """
    found = list(_DEPT.finditer(text))
    parts: dict[str, str] = {}
    rest, end = "", 0
    for match, following in zip(found, [*found[1:], None], strict=False):
        stop = following.start() if following else len(text)
        header = next((one.start() for one in _HEADER.finditer(text, match.end(), stop)), stop)
        rest += text[end : match.start()] + " "
        end = _end_of_nmr(text, match.end(), header)
        parts.setdefault(f"dept{match['angle']}", text[match.end() : end])
    rest += text[end:]
    return (rest, parts) if found and re.search(r"\d\.\d", rest) else (text, {})


def find_sections(text: str) -> list[Section]:
    """The parts of a cleaned text, in order. Without a word that names a nucleus, the whole text is one."""
    headers = [(match.start(), match.end(), _nucleus_of(match)) for match in _HEADER.finditer(text)]
    if any(nucleus for _, _, nucleus in headers):  # "NMR solvents" begins nothing beside "13C NMR"
        headers = [header for header in headers if header[2]]
    two_dimensions = _TWO_DIMENSIONS.match(text)
    if not headers:
        return [] if two_dimensions else [Section("", 0, _end_of_nmr(text, 0, len(text)))]
    ends = [start for start, _, _ in headers[1:]] + [len(text)]
    sections = [
        Section(nucleus, start, _end_of_nmr(text, start, end))
        for (_, start, nucleus), end in zip(headers, ends, strict=True)
    ]
    if headers[0][0] > 0 and not two_dimensions:  # "δ 7.26 (s) ... in the 1H NMR"
        sections.insert(0, Section("before", 0, headers[0][0]))
    return sections


_TWO_DIMENSIONS = re.compile(
    r"\s*(?:(?:1H|13C)\s?[-,/]\s?(?:1H|13C)\s?-?\s?)?g?(HSQC|HMBC|HMQC|COSY|NOESY|ROESY|TOCSY)(?![\w])"
)


def _other_nucleus(text: str) -> str:
    """What a cleaned text begins a list of, if that is neither 13C nor 1H: "19F", "HSQC"; else ""."""
    if match := _TWO_DIMENSIONS.match(text):
        return match[1]
    others = (one for one in _HEADER.finditer(text) if _nucleus_of(one) == "other" and not one["two"])
    return next((re.sub(r"[\s-]", "", one["a"] or one["b"] or one["c"] or "") for one in others), "")


def _nucleus_of(header: re.Match[str]) -> str:
    if header["two"]:
        return "other"
    if header["none"]:
        return ""
    name = re.sub(r"[\s-]", "", next(header[group] for group in _NAMED_BY if header[group])).upper()
    if name in ("1H", "H1", "H", "PROTON", "PMR"):
        return "H"
    return "C" if name in ("13C", "C13", "C", "CARBON", "CMR") else "other"


def _end_of_nmr(text: str, start: int, stop: int) -> int:
    """Where another method's data begin, or `stop`."""
    for other in _OTHER_METHOD.finditer(text, start, stop):
        bracket = text.rfind("(", max(start, other.start() - 40), other.start())
        inside = bracket >= 0 and ")" not in text[bracket : other.start()]
        if not inside:  # "(400 MHz, IR-grade CDCl3)" is no IR
            return other.start()
    return stop


def field_of(conditions: str) -> float | None:
    """The frequency in MHz that the words before a peak list state."""
    match = _FIELD.search(conditions) or _FIELD_WITHOUT_UNIT.search(conditions)
    value = float(match[1]) if match else None
    return value if value is not None and FIELD_LIMITS[0] <= value <= FIELD_LIMITS[1] else None


# ---- one section: from tokens to signals


@dataclass
class Signal:
    """One signal while it is read: its shift, and all that its notes say."""

    position: float
    """ppm; the middle of a range"""
    low: float | None = None
    high: float | None = None
    """ends of a range, None for a single position"""
    count: int | None = None
    """nuclei"""
    multiplicity: str | None = None
    couplings: list[float] = field(default_factory=list)
    """Hz"""
    integer: bool = False
    """the shift is printed without decimals"""
    wrong_count: str | None = None
    """a number of nuclei as printed that cannot be one: "0H", "1.5H" """
    noted: bool = False
    """a note in brackets stands behind it"""

    def peak(self) -> Peak:
        return Peak(
            self.position,
            self.low,
            self.high,
            count=self.count,
            multiplicity=self.multiplicity,
            couplings=tuple(self.couplings),
        )


@dataclass
class ParsedPeaks:
    """Signals of one nucleus in a section, and what was not taken for one."""

    signals: list[Signal] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    first: int | None = None
    """offset in the text of the first shift; what stands before are the conditions"""
    in_prose: bool = False
    """words, not a header, led to the first shift"""
    protons: int = 0
    """signals with a count of H, which no 13C list has"""


def _read_section(
    piece: str, section: Section, following: Section | None, modality: str | None
) -> dict[str, ParsedPeaks]:
    """What one section holds, by nucleus "C" or "H"; "" where nothing tells."""
    if section.nucleus == "other":
        return {}
    tokens = tokenize(piece)
    pairs = bracket_pairs(tokens)

    def read(nucleus: str, *, headed: bool, in_list: bool = True) -> dict[str, ParsedPeaks]:
        return SectionReader(tokens, pairs, nucleus, headed=headed, in_list=in_list).read()

    next_nucleus = following.nucleus if following and following.nucleus in NAMES else ""
    if section.nucleus == "before":  # prose may name the nucleus after the shifts
        parsed = read(next_nucleus, headed=False, in_list=False)
        return {nucleus: result for nucleus, result in parsed.items() if nucleus}
    if section.nucleus:
        return read(section.nucleus, headed=True)
    in_list = not any(token.kind == DELTA for token in tokens)  # what stands before a δ is no list
    parsed = read("", headed=False, in_list=in_list)
    if "" not in parsed:
        return parsed
    unnamed = parsed[""]
    nucleus = next_nucleus if next_nucleus and unnamed.in_prose else _guess_nucleus(unnamed, modality)
    return read(nucleus, headed=False, in_list=in_list) if nucleus else parsed


def _guess_nucleus(parsed: ParsedPeaks, modality: str | None) -> str:
    """The nucleus of a list that names none: what it shows, else that of the modality, else ""."""
    n = len(parsed.signals)
    above = sum(signal.position > _CARBON_ABOVE for signal in parsed.signals)
    if n and 2 * parsed.protons >= n and above == 0:
        return "H"
    if above and (modality is None or 2 * above >= n):
        return "C"
    if n > 1 and 2 * sum(signal.position > _HIGHEST["H"] for signal in parsed.signals) >= n:
        return "C"
    return NUCLEI[modality] if modality else ""


@dataclass
class SectionReader:
    """The state machine of one section; its fields are the whole state.

    `read` walks once through the tokens. Each method named after a kind of token takes its index and returns
    the index after what it consumed; numbers become signals of `parsed[nucleus]`, notes go to the signal that
    `noted` holds.
    """

    tokens: Sequence[Token]
    pairs: dict[int, int]
    """index of each opening bracket -> index where it closes"""
    section_nucleus: str
    """ "C" or "H", or "" where only δH and δC can tell"""
    headed: bool
    """a header stands before the section, so that a list may begin without δ"""
    in_list: bool = True
    """shifts are expected; prose ends a list"""

    nucleus: str = ""
    """of the signals that come next"""
    parsed: dict[str, ParsedPeaks] = field(default_factory=lambda: {n: ParsedPeaks() for n in ("C", "H", "")})
    noted: ParsedPeaks | None = None
    """the list whose last signal a note would describe; None where a note would describe none"""
    tagged: bool = False
    """a δ has begun the list"""
    prose_words: int = 0
    """since the last item began"""
    after_prose: bool = False
    """words have ended the list, or stand before it"""
    item_has_shift: bool = False
    """since the last separator a shift was read"""
    loose_note: bool = False
    """a note without brackets stands after the last signal"""
    multiplier: int | None = None
    """ "2 x" stands before the next shift"""
    region_bounds: set[int] = field(default_factory=set)
    """indices of numbers that bound a region"""
    after_shift: int = -1
    """index after the shift that was read last"""

    def __post_init__(self) -> None:
        self.nucleus = self.section_nucleus
        self.stop = len(self.tokens)

    @property
    def current(self) -> ParsedPeaks:
        return self.parsed[self.nucleus]

    def read(self) -> dict[str, ParsedPeaks]:
        """What the section holds, by nucleus, without the nuclei of which it says nothing."""
        i = 0
        while i < self.stop:
            token = self.tokens[i]
            end = i + 1
            match token.kind:
                case "number":
                    end = self.number(i)
                case "word":
                    self.word(i)
                case "punct":
                    self.punctuation(i)
                case "open":
                    end = self.bracket(i)
                case "delta":
                    self.delta(token.text)
                case "j":
                    end = self.coupling(i)
            i = max(end, i + 1)
        return {
            nucleus: result for nucleus, result in self.parsed.items() if result.signals or result.left_out
        }

    # -- tokens that are no numbers

    def delta(self, nucleus: str) -> None:
        # a header says more than the letter after its own δ, in which misprints stand
        at_header = self.headed and not self.tagged and self.in_list and not self.current.signals
        if nucleus and not (at_header and self.section_nucleus):
            self.nucleus = nucleus
        elif not nucleus and self.section_nucleus:
            self.nucleus = self.section_nucleus
        self.in_list = self.tagged = True
        self._begin_item()
        self.noted = None

    def punctuation(self, i: int) -> None:
        text, after = self.tokens[i].text, self._at(i + 1)
        if text in ",;|/":
            self.item_has_shift = False
            if text == ";":
                self.loose_note = False
        elif text in ":=" and self.headed and not self.current.signals and not self.in_list:
            self.in_list = True
            self.prose_words = 0
        elif text == "." and after is not None and after.kind == WORD and after.spaced:
            self.noted = self.noted if is_multiplicity(after) else None  # else a sentence ends

    def word(self, i: int) -> None:
        token, after = self.tokens[i], self._at(i + 1)
        text = token.text
        if text.lower() == "between":
            self._region(i + 1)
        elif text == "d" and not self.current.signals and not self.tagged and after is not None:
            if after.kind == NUMBER or after.text in (":", "=", "("):  # d for δ
                self.delta("")
        elif text in LINKS or text in BREAKS or text == "ppm":
            self.item_has_shift = self.item_has_shift and text == "ppm"
        elif text.lower() in ("nan", "inf", "infinity"):
            if self.in_list:
                self.current.left_out.append(LeftOut(text, "it is not a number"))
        elif self.noted is not None and self.in_list and self._describes(token, after):
            beside = self.after_shift == i or self._before(i).text in (",", ".", ")", "]")
            if beside or self.prose_words == 0:
                self._note(i, i + 1)
                self.loose_note = True
        elif text in QUIET or not text.islower() or len(text) < 3 or any(sign.isdigit() for sign in text):
            self.loose_note = self.loose_note or self.noted is not None
        else:
            self.prose_words += 1
            if self.prose_words >= 2:
                self.in_list = False
                self.after_prose = True
                self.noted = None

    def _describes(self, token: Token, after: Token | None) -> bool:
        """Whether a word is a note of the signal before it, not the label of the next."""
        describes = is_multiplicity(token) or (self.nucleus == "C" and is_atom_label(token.text))
        return describes and (after is None or after.text not in (":", "="))

    def _region(self, i: int) -> None:
        """ "between 55 and 110 ppm" names no peak: neither number is a shift."""
        while (token := self._at(i)) is not None and (token.kind == DELTA or token.text in (":", "=")):
            i += 1
        link, second = self._at(i + 1), self._at(i + 2)
        if token is None or token.kind != NUMBER or link is None:
            return
        if link.text in ("and", "to", "-", "ppm"):
            self.region_bounds.add(i)
            if link.text == "and" and second is not None and second.kind == NUMBER:
                self.region_bounds.add(i + 2)

    def coupling(self, i: int) -> int:
        signal = None if self.noted is None else self.noted.signals[-1]
        most = None
        if signal is not None:
            most = max(len((signal.multiplicity or "d").replace("br ", "")), 1)
        values, end = read_couplings(self.tokens, i + 1, self.stop, most)
        if signal is not None:
            add_couplings(signal, values)
            self.loose_note = True
        return end

    def bracket(self, i: int) -> int:
        end = self.pairs.get(i, i)
        if self._holds_shifts(i, end):
            return i + 1  # what stands inside is read like what stands outside
        label = self._before(i)
        if self.in_list and not self.item_has_shift and label.kind == WORD and is_atom_label(label.text):
            inside = [token for token in self.tokens[i + 1 : min(end, i + 4)] if token.text != "ppm"]
            if len(inside) == 1 and inside[0].kind == NUMBER and not inside[0].integer:  # "C-2 (155.4)"
                self._shift(i + 1 + (self.tokens[i + 1].text == "ppm"), 1.0)
                return end + 1
        if self.in_list and self.noted is not None:
            self._note(i + 1, end)
            self.noted.signals[-1].noted = True
        return end + 1

    def _holds_shifts(self, i: int, end: int) -> bool:
        """Whether a bracket holds peaks: "(δH 6.81, 6.87)", "(4.41 ppm)" in prose, conditions that were not
        closed before the list.
        """
        stop = min(end, i + 40, self.stop)
        first, second = self._at(i + 1), self._at(i + 2)
        if first is None or second is None or stop <= i + 1:
            return False
        if self.noted is None or first.kind == DELTA:
            for k in range(i + 1, stop):
                if self.tokens[k].kind == DELTA and self._numbers_follow(k + 1, stop):
                    return True
        if first.kind != NUMBER or first.integer:
            return False
        if self._run_in_ppm(i + 1, stop):
            return True
        # "Ar-C [120.5, 127.1]": a list of its own, not a note of the shift before
        listed = second.kind == OPEN or (second.text in (",", ";", "and") and self._is_decimal(i + 3))
        listed = listed and self.tokens[i].text == "[" and not self.item_has_shift
        return self.in_list and listed and not self._in_hertz(i + 1, stop)

    def _in_hertz(self, k: int, stop: int) -> bool:
        """Whether the numbers from k on are couplings: "Hz" follows before any bracket."""
        while k < stop and self.tokens[k].kind != OPEN:
            if self.tokens[k].text in HERTZ:
                return True
            k += 1
        return False

    def _numbers_follow(self, k: int, stop: int) -> bool:
        passed = (",", "=", ":", "-", "ppm", "/", "in", "[", "]", "(", ")")
        while k < stop and self.tokens[k].text in passed:
            k += 1
        after = self._at(k + 1)
        return k < stop and self.tokens[k].kind == NUMBER and (after is None or after.text not in UNITS)

    # -- numbers: a shift, a note of the last signal, or neither

    def number(self, i: int) -> int:
        token, after = self.tokens[i], self._at(i + 1)
        if after is not None and after.text in UNITS and not (after.text == "h" and after.spaced):
            if after.text in HERTZ and self.noted is not None:  # "7.6 d, 8.2 Hz"
                add_couplings(self.noted.signals[-1], [token.value])
            return i + 2
        carbon_shift = self.nucleus == "C" and not token.integer  # "128.5 C" counts no carbons
        if is_count(token, after, self.nucleus or "H") and not carbon_shift:
            if self.noted is not None and self.in_list:
                self._note(i, i + 2)
                self.loose_note = True
            return i + 2
        if after is not None and after.text == "x" and token.integer:
            return self._multiplier(i)
        if self._before(i).text == "x" and token.integer:  # "128.5 x 2"
            if self.noted is not None:
                self._note(i - 1, i + 1)
            return i + 1
        sign, expected = self._lead(i)
        if not expected:
            if self.in_list and not token.integer and self.current.signals:
                self.current.left_out.append(LeftOut(token.text[:40], "it stands where no shift is expected"))
            return i + 1
        if not self.in_list and not self._reopens(i):
            return i + 1
        return self._shift(i, sign)

    def _multiplier(self, i: int) -> int:
        """ "2 x 128.5" counts before the shift, "2 x C" after it."""
        then = self._at(i + 2)
        if then is not None and then.kind == NUMBER and not then.integer:
            self.multiplier = int(self.tokens[i].text) if len(self.tokens[i].text) <= 2 else None
            return i + 2
        if self.noted is not None and self.in_list:
            self._note(i, i + 3)
        return i + (3 if then is not None and then.kind == WORD else 2)

    def _lead(self, i: int) -> tuple[float, bool]:
        """The sign of the number at i, and whether a shift can stand there: what leads to it decides."""
        token, before = self.tokens[i], self._before(i)
        sign = 1.0
        if before.text == "-" and before.spaced and token.spaced and is_atom_label(self._before(i - 1).text):
            return sign, not token.integer and not self.item_has_shift  # "C1 - 170.1"
        if before.text == "-" and not token.spaced:
            behind = self._before(i - 1)
            if (not before.spaced and behind.kind in (WORD, NUMBER)) or behind.text in ("'", '"'):
                return sign, False  # "C-4", "DMSO-6"
            sign, before = -1.0, behind
        if i - (sign < 0) == 0:
            return sign, not self.headed or not token.integer or self._ends_item(i)
        if before.kind == DELTA or before.text in ("=", ":"):
            behind = self._before(i - 1 - (sign < 0))  # "1:5.8" is a ratio, "compound 4: 155.4" is none
            name = before.text == ":" and behind.integer and token.spaced and not token.integer
            return sign, behind.kind != NUMBER or name
        if before.kind == NUMBER:  # two numbers without anything between them: both with decimals, or neither
            alike = token.spaced and token.integer == self._before(i).integer
            return sign, self.after_shift == i and alike
        if before.kind == CLOSE or before.text in (".", "~"):
            if not token.integer:
                return sign, token.spaced or before.kind == CLOSE
            return sign, token.spaced and before.kind == CLOSE and self._ends_item(i) and self.in_list
        if before.text in BREAKS or before.text == "ppm":
            return sign, not token.integer or self._is_integer_item(i)
        if before.text in LINKS:
            return sign, not token.integer or self._run_in_ppm(i, self.stop)
        if before.kind == OPEN or before.text == "x":
            return sign, not token.integer
        if before.kind == WORD:
            labelled = is_atom_label(before.text) and not self.item_has_shift
            fresh = not self.current.signals and self.prose_words == 0 and before.text not in REFERENCES
            leads = labelled or fresh or is_multiplicity(before)
            return sign, not token.integer and token.spaced and leads
        return sign, False

    def _ends_item(self, i: int) -> bool:
        """Whether an item ends after the number at i, or a note in brackets follows."""
        after = self._at(i + 1)
        ends = (",", ";", ".", "and", "ppm", "(", "[", "&")
        return after is None or after.text in ends or after.text in DASHES

    def _is_integer_item(self, i: int) -> bool:
        """Whether an integer between separators is a shift: not in a loose note such as "H-3, 5"."""
        if self.loose_note:
            return False
        if self.nucleus != "H":
            return self._ends_item(i)
        after = self._at(i + 1)
        return after is not None and (after.kind == OPEN or after.text in DASHES or after.text == "ppm")

    def _is_decimal(self, i: int) -> bool:
        token = self._at(i)
        return token is not None and token.kind == NUMBER and not token.integer

    def _run_in_ppm(self, k: int, stop: int) -> bool:
        """Whether numbers, and notes of them, end in "ppm"."""
        stop = min(stop, k + 60, self.stop)
        while k < stop:
            token = self.tokens[k]
            if token.text == "ppm":
                return True
            if token.kind == OPEN:
                k = max(self.pairs.get(k, k), k)
            elif not (token.kind == NUMBER or token.text in DASHES or token.text in (",", "and", "&", ";")):
                return False
            k += 1
        return False

    def _reopens(self, i: int) -> bool:
        """In prose: whether a list begins at the number at i."""
        after = self._at(i + 1)
        begins = self._run_in_ppm(i, self.stop)
        if not begins and after is not None and after.kind == OPEN and not self.tokens[i].integer:
            note = self._at(i + 2)
            begins = note is not None and (
                note.kind == NUMBER or is_multiplicity(note) or is_atom_label(note.text)
            )
        if begins:
            self.in_list = True
            self.noted = None
            self._begin_item()
        return begins

    # -- shifts and their notes

    def _shift(self, i: int, sign: float) -> int:
        """The shift or range at i becomes a signal, or is left out."""
        token = self.tokens[i]
        end, second = self._range(i)
        self.after_shift = end
        self.prose_words = 0
        after = self._at(end)
        if after is not None and after.text in UNITS:  # "128.5-129.3 °C"
            return end + 1
        numbers = [token] if second is None else [token, second]
        values = sorted(sign * number.value for number in numbers)
        problem, wrong = self._problem(i, end, numbers, values, after)
        if problem is not None:
            text = ("-" if sign < 0 else "") + " - ".join(number.text for number in numbers)
            if after is not None and after.kind == WORD and not after.spaced and wrong is None:
                text += after.text  # "7.8O" as it is printed
            self.current.left_out.append(LeftOut(text[:40], problem, wrong))
            self.noted = None
            return end
        low, high = (values[0], values[1]) if second is not None else (None, None)
        middle = round(sum(values) / len(values), 4)
        signal = Signal(middle, low, high, count=self.multiplier, integer=token.integer)
        self.multiplier = None
        current = self.current
        current.signals.append(signal)
        if current.first is None:
            current.first = token.start
            current.in_prose = self.after_prose
        self.noted = current
        self.item_has_shift = True
        self.loose_note = False
        return end

    def _range(self, i: int) -> tuple[int, Token | None]:
        """The index after the shift that begins at i, and the second number of a range."""
        dash, second = self._at(i + 1), self._at(i + 2)
        if dash is None or second is None or dash.text not in DASHES or second.kind != NUMBER:
            return i + 1, None
        after = self._at(i + 3)
        if after is not None and (
            after.text in HERTZ or (not after.spaced and after.text == "-" and second.integer)
        ):
            return i + 1, None
        return i + 3, second

    def _problem(
        self, i: int, end: int, numbers: list[Token], values: list[float], after: Token | None
    ) -> tuple[str | None, float | None]:
        """Why numbers are no signal, and the value that cannot be a shift, if that is why."""
        if i in self.region_bounds:
            return "it bounds a region, it is not a peak", None
        if self._is_malformed(numbers, end, after):
            return "it is not one number", None
        low, high = SHIFT_LIMITS.get(self.nucleus, SHIFT_LIMITS["C"])
        for value in values:
            if not low <= value <= high:
                return f"{NAMES.get(self.nucleus, 'NMR')} has no shift at {value:g} ppm", value
        width = values[-1] - values[0]
        if width > MAX_WIDTH.get(self.nucleus, MAX_WIDTH["C"]):
            return f"a range of {width:.3g} ppm is a region, not a peak", None
        return None, None

    def _is_malformed(self, numbers: list[Token], end: int, after: Token | None) -> bool:
        if any(number.text.count(".") > 1 or len(number.text) > 12 for number in numbers):
            return True
        if after is None or after.spaced:
            return False
        if after.text in ("'", '"', "°", "%", "^"):
            return True
        if after.text == "-" and not numbers[-1].integer:  # "1.2-3.4-5.6"
            then = self._at(end + 1)
            return then is not None and then.kind == NUMBER
        return after.kind == WORD and not (
            is_multiplicity(after) or after.text in QUIET or is_atom_label(after.text)
        )

    def _note(self, start: int, stop: int) -> None:
        """The tokens from start to stop describe the last signal."""
        if self.noted is None:
            return
        signal = self.noted.signals[-1]
        counted = signal.count is not None
        read_note(signal, self.tokens, start, min(stop, self.stop), self.nucleus or "H")
        if self.nucleus != "C":
            self.noted.protons += signal.count is not None and not counted
        elif signal.count is None:
            pairs = pairwise(self.tokens[start:stop])
            self.noted.protons += any(token.kind == NUMBER and after.text == "H" for token, after in pairs)

    # -- where the reader stands

    def _at(self, i: int) -> Token | None:
        return self.tokens[i] if 0 <= i < self.stop else None

    def _before(self, i: int) -> Token:
        """The token before i; at the beginning of the section, an empty one."""
        return self.tokens[i - 1] if i > 0 else Token(PUNCT, "", 0, 0, True)

    def _begin_item(self) -> None:
        self.item_has_shift = False
        self.prose_words = 0


# ---- notes: multiplicity, number of nuclei and couplings of a signal


def is_atom_label(text: str) -> bool:
    """Whether a word names an atom or group of the compound: "C-4", "H5a", "CH2", "OMe"."""
    return _ATOM_LABEL.fullmatch(text) is not None


def is_multiplicity(token: Token) -> bool:
    """Whether a word is a multiplicity as printed: "s", "dd", "brs", "quint"."""
    return token.kind == WORD and _MULTIPLICITY.fullmatch(token.text) is not None


def is_count(token: Token, after: Token | None, nucleus: str) -> bool:
    """Whether a number and the word after it say how many nuclei: "3H", "3 H", "2C", "2CH"."""
    if token.kind != NUMBER or after is None or after.kind != WORD:
        return False
    if nucleus == "C":
        return token.integer and _COUNTS_CARBONS.fullmatch(after.text) is not None and len(token.text) <= 2
    return len(token.text) <= 4 and _COUNTS_PROTONS.fullmatch(after.text) is not None


def add_couplings(signal: Signal, values: Iterable[float]) -> None:
    """Couplings in Hz, up to the limits."""
    signal.couplings += [value for value in values if value <= MAX_COUPLING]
    del signal.couplings[MAX_COUPLINGS:]


def read_note(signal: Signal, tokens: Sequence[Token], start: int, stop: int, nucleus: str) -> None:
    """Enters what the tokens from start to stop say into `signal`; what they do not say stays as it was."""
    couplings: list[float] = []
    unnamed: list[float] = []  # numbers that may be couplings: "(d, 8.4, 1H)"
    prefix = ""
    depth = 0
    i = start
    while i < stop:
        token = tokens[i]
        after = tokens[i + 1] if i + 1 < stop else None
        before = tokens[i - 1] if i > start else None
        step = 1
        if token.kind == OPEN:
            depth += 1
        elif token.kind == CLOSE:
            depth -= 1
        elif token.kind == J:
            values, end = read_couplings(tokens, i + 1, stop)
            couplings += values
            step = max(end - i, 1)
        elif token.kind == NUMBER:
            times = before is not None and before.text == "x"
            if after is not None and after.text in HERTZ:
                width = before is not None and before.text == "="  # "W1/2 = 17.5 Hz"; a J takes its own "="
                if token.value <= MAX_COUPLING and not width:
                    couplings += [*unnamed, token.value]
                unnamed = []
                step = 2
            elif is_count(token, after, nucleus) and (before is None or before.text not in ("-", "'")):
                if signal.count is None:
                    signal.count = _count(token)
                    signal.wrong_count = None if signal.count else f"{token.text}{nucleus}"
                if nucleus == "C" and signal.multiplicity is None and after is not None and after.text != "C":
                    signal.multiplicity = _CARBON_CLASSES.get(after.text)
                step = 2
            elif token.integer and ((after is not None and after.text == "x") or (times and nucleus == "C")):
                # "2 x C" counts carbons; "2 x CH3" beside "6H" is no count of protons
                if nucleus == "C" and signal.count is None and len(token.text) <= 2:
                    signal.count = _count(token)
            elif _stands_alone(before, after) and not token.integer and token.value <= MAX_COUPLING:
                unnamed.append(token.value)
        elif token.kind == WORD and depth == 0 and signal.multiplicity is None:
            if token.text in _PREFIXES:
                prefix = _PREFIXES[token.text]
            elif nucleus == "C" and token.text in _CARBON_CLASSES:
                times_c = before is not None and before.text == "x" and token.text == "C"  # "3 x C" counts
                if not times_c and _stands_alone(before, after, word=True):  # not in "CH=CH2"
                    signal.multiplicity = _CARBON_CLASSES[token.text]
            elif is_multiplicity(token) and _stands_alone(before, after, word=True):
                signal.multiplicity = token.text
        i += step
    if prefix and signal.multiplicity not in _CARBON_CLASSES.values():
        if signal.multiplicity:
            signal.multiplicity = f"{prefix} {signal.multiplicity}"
        elif prefix == "br":
            signal.multiplicity = prefix
    pattern = signal.multiplicity or ""
    if (
        not couplings
        and not signal.couplings
        and len(unnamed) <= len(pattern)
        and set(pattern) <= set("dtqp")
    ):
        couplings = unnamed
    signal.couplings += couplings
    del signal.couplings[MAX_COUPLINGS:]


def read_couplings(
    tokens: Sequence[Token], i: int, stop: int, most: int | None = None
) -> tuple[list[float], int]:
    """The couplings in Hz that follow a J whose index is i - 1, and the index after them.

    Numbers after commas belong to the J until a number that counts nuclei or labels an atom. `most`: how many
    there can be where no "Hz" ends them; None for any number.
    """
    values: list[float] = []
    end = k = i
    in_hertz = False
    while k < stop:
        token = tokens[k]
        after = tokens[k + 1] if k + 1 < stop else None
        if token.kind == NUMBER:
            if is_count(token, after, "H") or is_count(token, after, "C") or _begins_label(token, after):
                break
            if (after is not None and after.kind == OPEN) or token.text.count(".") > 1 or len(token.text) > 8:
                break  # a shift
            if in_hertz and (after is None or after.text not in HERTZ):
                break
            if not values and after is not None and after.text == "=":  # "J 1 = 8.2": the 1 is an index
                k += 2
                continue
            if token.value <= MAX_COUPLING:
                values.append(token.value)
            k += 1
            end = k
        elif token.text in HERTZ and values:
            in_hertz = True
            k += 1
            end = k
        elif token.text in (",", "/", "and", "&", "=", "-", "~", ";", "or") and k - end < 2:
            k += 1
        else:
            break
    if most is not None and not in_hertz and len(values) > most:
        numbers = (k for k in range(i, end) if tokens[k].kind == NUMBER)
        return values[:most], next(k for n, k in enumerate(numbers, 1) if n == most) + 1
    return values, end


def _begins_label(token: Token, after: Token | None) -> bool:
    """Whether an integer begins the name of an atom: "3'-H", "4-H", "5a"."""
    if after is None or not token.integer or after.spaced:
        return False
    return after.text in ("'", '"', "-") or (after.kind == WORD and after.text not in HERTZ)


def _stands_alone(before: Token | None, after: Token | None, *, word: bool = False) -> bool:
    """Whether a token stands between separators; a word may also follow another word or a full stop."""
    left = before is None or before.text in (",", ";", "(", "[", "and")
    right = after is None or after.text in (",", ";", ")", "]", ".", "(")
    if word and before is not None:
        left = left or before.text in (".", "x") or before.kind in (WORD, NUMBER)
    if word and after is not None:
        right = right or after.kind in (WORD, J, NUMBER)
    return left and right


def _count(token: Token) -> int | None:
    value = token.value  # NaN where it is no number
    return int(value) if value == value // 1 and 0 < value < MAX_COUNT else None


# ---- lists: checks that need all signals


def _checked(nucleus: str, parsed: ParsedPeaks, piece: str, problems: list[str]) -> PeakList | None:
    """The signals of a section as a peak list, or None and one more problem."""
    if not nucleus:
        problems.append("nothing in the text tells 13C from 1H; say which it is")
        return None
    name, n = NAMES[nucleus], len(parsed.signals)
    impossible = sum(left.position is not None for left in parsed.left_out)
    if not n:
        if parsed.left_out:
            problems.append(f'"{parsed.left_out[0].text}" cannot be read: {parsed.left_out[0].why}')
        return None
    if nucleus == "C" and n >= 2 and 2 * parsed.protons >= n:
        problems.append("the list is called 13C, and its peaks count protons; give it as 1H if it is")
        return None
    if impossible > n:
        problems.append(
            f"{impossible} of {impossible + n} values are no shifts of {name} "
            f"(the first: {parsed.left_out[0].why})"
        )
        return None
    suspect = suspect_integers(parsed.signals) if nucleus == "C" else []
    why = "a whole number out of order among shifts with decimals, perhaps a comma for a point"
    positions = [parsed.signals[i].position for i in suspect]
    conditions = piece[: parsed.first]
    notes = list(_remarks(nucleus, parsed, piece))
    signals = [signal for i, signal in enumerate(parsed.signals) if i not in suspect]
    peaks = PeakList(
        MODALITIES[nucleus],
        tuple(signal.peak() for signal in signals),
        (*parsed.left_out, *(LeftOut(f"{position:g}", why, position) for position in positions)),
        solvent=solvent_name(conditions),
        field_mhz=field_of(conditions),
        about={"notes": notes} if notes else {},
    )
    if nucleus == "C" and any(signal.couplings for signal in signals):
        return unsplit(peaks, [signal.noted for signal in signals])
    return peaks


def wrong_counts(stated: Sequence[str]) -> str:
    """A sentence on numbers of nuclei that cannot be: "1.5H at 6.67 ppm"."""
    more = [f"{len(stated) - 3} more"] if len(stated) > 3 else []
    listed = " and ".join([", ".join(stated[:3]), *more])
    return f"{listed}: a count is a whole number from 1 to {MAX_COUNT - 1}, so the shift is used without one"


_ROTAMERS = re.compile(r"\b(?:rotamers?|rotameric|conformers?|atropisomers?)\b", re.IGNORECASE)
_PAIR = re.compile(r"(?<![\w.])\d{1,3}\.\d+\s?/\s?\d{1,3}\.\d+")
_HIGHEST = {"H": 17.0, "C": 13.0}
"""ppm: above it hardly any 1H is found; below it, no list of 13C ends"""


def _remarks(nucleus: str, parsed: ParsedPeaks, piece: str) -> Iterator[str]:
    """What a user should know of a list beyond what is left out."""
    wrong = [f"{one.wrong_count} at {one.position:g} ppm" for one in parsed.signals if one.wrong_count]
    if wrong:
        yield wrong_counts(wrong)
    said = _ROTAMERS.search(piece)
    if said or _PAIR.search(piece):
        what = "names rotamers" if said else "gives pairs of shifts"
        yield f"the text {what}, so an atom may show two peaks; each is compared as it stands"
    highest = max(signal.position for signal in parsed.signals)
    if nucleus == "C" and len(parsed.signals) > 1 and highest < _HIGHEST["C"]:
        yield f"all shifts lie below {_HIGHEST['C']:g} ppm; if the spectrum is of 1H, give it as 1H"
    if nucleus == "H" and highest > _HIGHEST["H"]:
        yield f"the shift {highest:g} ppm is rare for 1H; if the spectrum is of 13C, give it as 13C"


def suspect_integers(signals: Sequence[Signal]) -> list[int]:
    """Indices of integers that cannot be shifts of a list in the order of the text: "119, 21" for 119.21.

    Where at least three quarters of the shifts have decimals and those are sorted, an integer out of order is
    suspect, and with it an integer right before it.
    """
    n = len(signals)
    decimals = [signal.position for signal in signals if not signal.integer]
    if n < 5 or len(decimals) < 0.75 * n:
        return []
    steps = [b - a for a, b in pairwise(decimals)]
    up, down = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    if max(up, down) < 0.8 * len(steps):
        return []
    direction = 1.0 if up > down else -1.0
    suspect = set()
    before: float | None = None  # the last shift with decimals
    for i, signal in enumerate(signals):
        if not signal.integer:
            before = signal.position
            continue
        after = signals[i + 1].position if i + 1 < n and not signals[i + 1].integer else None
        wrong = before is not None and (signal.position - before) * direction < -1.0
        wrong = wrong or (after is not None and (after - signal.position) * direction < -1.0)
        if wrong and (before is None or after is None or (after - before) * direction >= 0):
            suspect.add(i)
            if i and signals[i - 1].integer:
                suspect.add(i - 1)
    return sorted(suspect)


_BEGINS = re.compile(r"\s*(?:[(\[][^()\[\]]*[)\]])?\s*(?:δ|[:=]|-?\d+\.\d)")
"""after a header: conditions perhaps, and a list at once"""


def _join(first: PeakList | None, second: PeakList, *, headed: bool) -> PeakList:
    """Two parts of a text that speak of one nucleus. Prose goes on; a second list is another compound's.

    headed: a header and no prose stands before the second part.
    """
    if first is None:
        return second
    if {peak.position for peak in second} <= {peak.position for peak in first}:
        return first  # the same peaks, spoken of again
    if min(len(first), len(second)) > 1 and (headed or second.field_mhz is not None):
        why = f"a second list of {len(second)} peaks; give one compound at a time"
        shown = ", ".join(f"{peak.position:g}" for peak in second.peaks[:3])
        return replace(first, left_out=(*first.left_out, LeftOut(f"{shown}, …", why)))
    notes = list(dict.fromkeys([*first.about.get("notes", ()), *second.about.get("notes", ())]))
    return replace(
        first,
        peaks=first.peaks + second.peaks,
        left_out=first.left_out + second.left_out,
        solvent=first.solvent or second.solvent,
        field_mhz=first.field_mhz or second.field_mhz,
        about={"notes": notes} if notes else {},
    )
