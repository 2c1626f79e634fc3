"""What stands beside a shift: multiplicity, number of nuclei, couplings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from acml_search.chem.peaks import Peak
from acml_search.nmr.tokens import CLOSE, NUMBER, OPEN, WORD, J, Token
from acml_search.nmr.vocabulary import HZ

MAX_COUPLING = 2000.0
"""Hz; one-bond couplings of the heavier nuclei end about here"""
MOST_COUPLINGS = 12
"""of one peak; a text that goes on has lost its way"""
_LETTERS = (
    r"(?:quintet|quint|quin|quartet|quart|sextet|sext|septet|sept|sep|heptet|hept|pentets?|pent|nonet|non"
    r"|[sdtqphm])"
)
_MULTIPLICITY = re.compile(
    rf"(?:br|brd|broad|bs|app|b|v)?-?(?:{_LETTERS}-?){{1,5}}(?:br)?|m?ABq?|ABX|AA'BB'|XX'|br|broad|bs"
    r"|singlet|doublet|triplet|multiplet|mult|quadruplet|[bB]rs?|o[dt]?|sbr|dbr|tbr"
)
_PREFIXES = {
    "br": "br",
    "broad": "br",
    "b": "br",
    "vbr": "br",
    "app": "app",
    "apparent": "app",
    "pseudo": "app",
}
_CARBON = {"C": "C", "CH": "CH", "CH2": "CH2", "CH3": "CH3", "Cq": "C", "Cquat": "C", "quat": "C", "qC": "C"}
_PROTONS = re.compile(r"H(?:'s|s|[a-z]{0,6}|-.*)?|[A-Z][a-z]?-H.*")
_CARBONS = re.compile(r"C(?:s|[a-z]{0,6}|H[23]?|Ar|-.*)?")


def is_multiplicity(token: Token) -> bool:
    """Whether a word is a multiplicity as printed: "s", "dd", "brs", "quint"."""
    return token.kind == WORD and _MULTIPLICITY.fullmatch(token.text) is not None


def is_count(token: Token, after: Token | None, nucleus: str) -> bool:
    """Whether a number and the word after it say how many nuclei: "3H", "3 H", "2C", "2CH"."""
    if token.kind != NUMBER or after is None or after.kind != WORD:
        return False
    if nucleus == "C":
        return token.whole and _CARBONS.fullmatch(after.text) is not None and len(token.text) <= 2
    return len(token.text) <= 4 and _PROTONS.fullmatch(after.text) is not None


def couplings_after(
    found: Sequence[Token], i: int, stop: int, most: int | None = None
) -> tuple[list[float], int]:
    """The couplings in Hz that follow a J whose index is i - 1, and the index after them.

    Numbers after commas belong to the J until a number that counts nuclei or labels an atom. `most`: how many
    are taken at most where no "Hz" ends them, None for any.
    """
    values: list[float] = []
    taken = k = i
    in_hertz = False
    while k < stop:
        token = found[k]
        after = found[k + 1] if k + 1 < stop else None
        if token.kind == NUMBER:
            counts = is_count(token, after, "H") or is_count(token, after, "C") or _labels(token, after)
            shift = (
                (after is not None and after.kind == OPEN) or token.text.count(".") > 1 or len(token.text) > 8
            )
            if counts or shift or (in_hertz and (after is None or after.text not in HZ)):
                break
            if not values and after is not None and after.text == "=":  # "J 1 = 8.2": the 1 is an index
                k += 2
                continue
            if token.value <= MAX_COUPLING:
                values.append(token.value)
            k += 1
            taken = k
        elif token.text in HZ and values:
            in_hertz = True
            k += 1
            taken = k
        elif token.text in (",", "/", "and", "&", "=", "-", "~", ";", "or") and k - taken < 2:
            k += 1
        else:
            break
    if most is not None and not in_hertz and len(values) > most:
        return values[:most], _index_of_number(found, i, most)
    return values, taken


def _index_of_number(found: Sequence[Token], i: int, n: int) -> int:
    """The index after the n-th number from index i."""
    while n:
        n -= found[i].kind == NUMBER
        i += 1
    return i


def _labels(token: Token, after: Token | None) -> bool:
    """Whether a whole number begins the name of an atom: "3'-H", "4-H", "5a"."""
    if after is None or not token.whole or after.spaced:
        return False
    return after.text in ("'", '"', "-") or (after.kind == WORD and after.text not in HZ)


def annotated(peak: Peak, found: Sequence[Token], start: int, stop: int, nucleus: str) -> Peak:
    """`peak` with what the tokens from start to stop say of it; what they do not say stays as it was."""
    count, multiplicity, couplings = peak.count, peak.multiplicity, list(peak.couplings)
    prefix = ""
    bare: list[float] = []
    depth = 0
    i = start
    while i < stop:
        token = found[i]
        after = found[i + 1] if i + 1 < stop else None
        before = found[i - 1] if i > start else None
        step = 1
        if token.kind in (OPEN, CLOSE):
            depth += 1 if token.kind == OPEN else -1
        elif token.kind == J:
            more, end = couplings_after(found, i + 1, stop)
            couplings += more
            step = max(end - i, 1)
        elif token.kind == NUMBER:
            if after is not None and after.text in HZ:
                width = (
                    before is not None and before.text == "="
                )  # "W1/2 = 17.5 Hz"; a J takes its sign with it
                couplings += [*bare, token.value] if token.value <= MAX_COUPLING and not width else []
                bare = []
                step = 2
            elif is_count(token, after, nucleus) and (before is None or before.text not in ("-", "'")):
                if count is None and (nucleus == "C" or token.whole):
                    count = _int(token.text)
                if nucleus == "C" and multiplicity is None and after is not None:
                    multiplicity = _CARBON.get(after.text) if after.text != "C" else None
                step = 2
            elif token.whole and after is not None and after.text == "x":
                # "2 x C" counts carbons; "2 x CH3" beside "6H" is no count of protons
                if nucleus == "C" and count is None and len(token.text) <= 2:
                    count = _int(token.text)
            elif before is not None and before.text == "x" and nucleus == "C" and token.whole:
                if count is None and len(token.text) <= 2:
                    count = _int(token.text)
            elif _separated(before, after) and not token.whole and token.text.count(".") == 1:
                bare.append(token.value)
        elif token.kind == WORD and depth == 0:
            if token.text in _PREFIXES and multiplicity is None:
                prefix = _PREFIXES[token.text]
            elif nucleus == "C" and token.text in _CARBON and multiplicity is None:
                times = before is not None and before.text == "x" and token.text == "C"  # "3 x C" counts
                if times or not _separated(before, after, word=True):  # "CH=CH2"
                    i += 1
                    continue
                multiplicity = _CARBON[token.text]
            elif multiplicity is None and is_multiplicity(token) and _separated(before, after, word=True):
                multiplicity = token.text
        i += step
    if prefix and multiplicity not in _CARBON.values():
        multiplicity = f"{prefix} {multiplicity}" if multiplicity else prefix if prefix == "br" else None
    if (
        bare
        and not couplings
        and multiplicity
        and len(bare) <= len(multiplicity)
        and set(multiplicity) <= set("dtqp")
    ):
        couplings = bare  # "(d, 8.4, 1H)"
    return peak._replace(count=count, multiplicity=multiplicity, couplings=tuple(couplings[:MOST_COUPLINGS]))


def _separated(before: Token | None, after: Token | None, *, word: bool = False) -> bool:
    """Whether a token stands alone between separators; a word may also follow another or a full stop."""
    left = before is None or before.text in (",", ";", "(", "[", "and")
    right = after is None or after.text in (",", ";", ")", "]", ".", "(")
    if word and before is not None:
        left = left or before.text in (".", "x") or before.kind in (WORD, NUMBER)
    if word and after is not None:
        right = right or after.kind in (WORD, J, NUMBER)
    return left and right


def _int(text: str) -> int | None:
    return int(text) if text.isdigit() and 0 < int(text) < 200 else None
