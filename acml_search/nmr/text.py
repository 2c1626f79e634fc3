"""NMR as papers print it and as electronic notebooks paste it: the text around the shifts, and the shifts."""

from __future__ import annotations

from acml_search.chem.peaks import LeftOut, PeakList
from acml_search.core.errors import InvalidRecord, shorten
from acml_search.nmr.grammar import Grammar
from acml_search.nmr.headers import NUCLEI, Section, field_mhz, sections
from acml_search.nmr.shifts import NAMES, Found
from acml_search.nmr.solvents import solvent_name
from acml_search.nmr.tokens import DELTA, clean, closers, tokens
from acml_search.nmr.typos import ambiguous_commas, mended, misprinted

MAX_CHARACTERS = 100_000
"""a hundred times the longest line of one compound; more is a whole paper"""
LETTERS = {modality: letter for letter, modality in NUCLEI.items()}
_CARBON_FROM = 40.0
"""ppm: above this, a shift without a nucleus is of carbon"""


def read_nmr_text(text: str, modality: str | None = None) -> PeakList:
    """The peak list of one nucleus that stands in a text.

    modality: "c_nmr" or "h_nmr"; None for the nucleus that the text has. A bare list of shifts has none, so
    it needs the modality. Ranges give their middle as position and both ends; positions are in ppm, in the
    order of the text; what looks like a shift and cannot be one is named in `left_out`.

    Raises InvalidRecord when there is no such list: an empty or endless text, prose without shifts, another
    nucleus, both nuclei where none was asked for, shifts that no compound shows.
    """
    asked = modality or "nmr"
    found, reasons = _read(text, modality)
    if modality is None:
        if len(found) > 1:
            raise InvalidRecord("the text has 13C and 1H; say which of them is meant", modality=asked)
        if found:
            return found[0]
    for peaks in found:
        if peaks.modality == modality:
            return peaks
    if reasons:
        raise InvalidRecord(reasons[0], modality=asked)
    shown = shorten(" ".join(text[:200].split()), 60)
    if found:
        there, wanted = NAMES[LETTERS[found[0].modality]], NAMES[LETTERS[asked]]
        raise InvalidRecord(
            f'the text has a {there} list and no {wanted} list ("{shown}"); give it as {there}',
            modality=asked,
        )
    raise InvalidRecord(
        f'no peak list stands in the text ("{shown}"); give shifts in ppm, such as "δ 155.4, 151.7 (CH)"',
        modality=asked,
    )


def parts(text: str) -> list[PeakList]:
    """The peak lists of one text, 13C and 1H, in the order of the text; none where there is no list.

    Raises InvalidRecord for an empty or endless text.
    """
    return _read(text, None)[0]


def _read(text: str, modality: str | None) -> tuple[list[PeakList], list[str]]:
    """The lists of a text, and why what looked like one is none."""
    _check(text, modality)
    cleaned = clean(text)
    kept: dict[str, PeakList] = {}
    reasons: list[str] = []
    solvents: list[str] = []
    marked = sections(cleaned)
    for section, following in zip(marked, [*marked[1:], None], strict=True):
        piece = mended(cleaned[section.start : section.end])
        if not section.nucleus and ambiguous_commas(piece):
            reasons.append("its commas may be decimal points; write points, and a space after each comma")
            continue
        for letter, found in _section(piece, section, following, modality).items():
            conditions = piece[: found.first]
            peaks = _peak_list(letter, found, conditions, reasons)
            if peaks is None:
                continue
            if peaks.solvent:
                solvents.append(peaks.solvent)
            kept[peaks.modality] = _joined(kept.get(peaks.modality), peaks)
    lists = [
        peaks if peaks.solvent or not solvents else _in_solvent(peaks, solvents[0]) for peaks in kept.values()
    ]
    return lists, reasons


def _check(text: str, modality: str | None) -> None:
    asked = modality or "nmr"
    if modality is not None and modality not in LETTERS:
        raise InvalidRecord("text can be read as c_nmr or h_nmr; choose one", modality=asked)
    if not isinstance(text, str):
        raise InvalidRecord(f"it is {type(text).__name__} and no text", modality=asked)
    if not text.strip():
        raise InvalidRecord("the text is empty; give shifts in ppm", modality=asked)
    if len(text) > MAX_CHARACTERS:
        raise InvalidRecord(
            f"the text has {len(text):,} characters, more than {MAX_CHARACTERS:,}; "
            "give the lines of one compound",
            modality=asked,
        )


def _section(
    piece: str, section: Section, following: Section | None, modality: str | None
) -> dict[str, Found]:
    """What one section holds, by nucleus "C" or "H"; "" where nothing tells."""
    if section.nucleus == "other":
        return {}
    found = tokens(piece)
    pairs = closers(found)

    def read(nucleus: str, *, headed: bool, opened: bool = True) -> dict[str, Found]:
        grammar = Grammar(found, pairs, nucleus, headed=headed)
        grammar.open = opened
        return {
            letter: result for letter, result in grammar.read().items() if result.peaks or result.left_out
        }

    after = following.nucleus if following and following.nucleus in NAMES else ""
    if section.nucleus == "before":  # prose may name the nucleus after the shifts
        return {name: result for name, result in read(after, headed=False, opened=False).items() if name}
    if section.nucleus:
        return read(section.nucleus, headed=True)
    opened = not any(token.kind == DELTA for token in found)  # what stands before a δ is no list
    first = read("", headed=False, opened=opened)
    untold = first.get("")
    if untold is None:
        return first
    nucleus = after if after and untold.in_prose else _guess(untold, modality)
    return read(nucleus, headed=False, opened=opened) if nucleus else first


def _guess(found: Found, modality: str | None) -> str:
    """The nucleus of a list that names none: what it shows, else what was asked for, else ""."""
    above = sum(peak.position > _CARBON_FROM for peak in found.peaks)
    if found.peaks and 2 * found.protons >= len(found.peaks) and above == 0:
        return "H"
    if above and (modality is None or 2 * above >= len(found.peaks)):
        return "C"
    return LETTERS[modality] if modality else ""


def _peak_list(letter: str, found: Found, conditions: str, reasons: list[str]) -> PeakList | None:
    """The list as it is handed out, or None and one more reason."""
    if not letter:
        reasons.append("nothing in the text tells 13C from 1H; say which it is")
        return None
    name, n = NAMES[letter], len(found.peaks)
    impossible = sum(left.position is not None for left in found.left_out)
    if not n:
        if found.left_out:
            left = found.left_out[0]
            reasons.append(f'"{left.text}" cannot be read: {left.why}')
        return None
    if letter == "C" and n >= 2 and 2 * found.protons >= n:
        reasons.append("the list is called 13C, and its peaks count protons; give it as 1H if it is")
        return None
    if impossible > n:
        reasons.append(
            f"{impossible} of {impossible + n} values are no shifts of {name} "
            f"(the first: {found.left_out[0].why})"
        )
        return None
    bad = misprinted([peak.position for peak in found.peaks], found.whole) if letter == "C" else []
    left_out = list(found.left_out)
    for i in bad:
        position = found.peaks[i].position
        why = "a whole number out of order among shifts with decimals, perhaps a comma for a point"
        left_out.append(LeftOut(f"{position:g}", why, position))
    return PeakList(
        NUCLEI[letter],
        tuple(peak for i, peak in enumerate(found.peaks) if i not in bad),
        tuple(left_out),
        solvent=solvent_name(conditions),
        field_mhz=field_mhz(conditions),
    )


def _joined(first: PeakList | None, second: PeakList) -> PeakList:
    """Two parts of a text that speak of one nucleus. Prose goes on; a second list is another compound's."""
    if first is None:
        return second
    if min(len(first), len(second)) >= 3 and second.field_mhz is not None:
        why = f"a second list of {len(second)} peaks; give one compound at a time"
        shown = ", ".join(f"{peak.position:g}" for peak in second.peaks[:3])
        return PeakList(
            first.modality,
            first.peaks,
            (*first.left_out, LeftOut(f"{shown}, …", why)),
            solvent=first.solvent,
            field_mhz=first.field_mhz,
        )
    return PeakList(
        first.modality,
        first.peaks + second.peaks,
        first.left_out + second.left_out,
        solvent=first.solvent or second.solvent,
        field_mhz=first.field_mhz or second.field_mhz,
    )


def _in_solvent(peaks: PeakList, solvent: str) -> PeakList:
    """A list that names no solvent was measured in the one that the text names for the other nucleus."""
    return PeakList(peaks.modality, peaks.peaks, peaks.left_out, solvent=solvent, field_mhz=peaks.field_mhz)
