"""NMR text in tokens: numbers, words, δ, J, brackets, whatever the typography around them.

clean          one kind of dash and space, no mark-up, digits as 0-9
fix_typos      decimal points where commas or stray spaces stand for them
tokenize       the tokens, in one pass
bracket_pairs  where each bracket closes, or should have
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from typing import NamedTuple

NUMBER, WORD, DELTA, J, OPEN, CLOSE, PUNCT = "number", "word", "delta", "j", "open", "close", "punct"


class Token(NamedTuple):
    """A piece of the cleaned text."""

    kind: str
    text: str
    """of δ: "", "H" or "C", the nucleus it names; of a bracket: its character"""
    start: int
    end: int
    """offsets in the cleaned text"""
    spaced: bool
    """white space stands before it"""

    @property
    def value(self) -> float:
        """Of a number, without its sign; NaN for digits that are not one number, such as "7.18.2"."""
        return float(self.text) if self.text.count(".") < 2 else math.nan

    @property
    def integer(self) -> bool:
        """Whether a number is printed without decimals."""
        return "." not in self.text


# every dash and minus, space, prime, digit raised or lowered, and letters of other alphabets that look alike
_DASHES = "‐‑‒–—―−﹘﹣－˗⁻₋"
_SPACES = (
    "\t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys(_DASHES, "-"),
        **dict.fromkeys(_SPACES, " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\xad", None),
        **dict.fromkeys("′’‘´`ʹʼ＇", "'"),
        **dict.fromkeys("″‴”“„＂", '"'),
        **dict.fromkeys("×✕✖⨯∗", "×"),
        **dict.fromkeys("ẟ∂𝛅𝛿𝜹𝝳𝞭ծ", "δ"),
        **dict.fromkeys("∼～˜≃", "~"),
        **dict.fromkeys("≈≅═＝", "="),
        **dict.fromkeys("，、", ","),
        **dict.fromkeys("；", ";"),
        **dict.fromkeys("：", ":"),
        **dict.fromkeys("．·∙⋅", "."),
        **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "01234567890123456789", strict=True)),
        **dict(zip("（）［］｛｝СНОМАСс", "()[]{}CHOMACc", strict=True)),
        **dict.fromkeys("𝐽𝑱𝙅Ј", "J"),
    }
)
# UTF-8 read as Windows-1252, as it stands in published text
_MOJIBAKE = {
    "Î´": "δ",
    "â€“": "-",
    "â€”": "-",
    "â€’": "-",
    "â€‘": "-",
    "â€\x90": "-",
    "âˆ’": "-",
    "Ã—": "x",
    "Â°": "°",
    "â€²": "'",
    "Â": "",
}
_MARKUP = re.compile(r"</?(?:sup|sub|i|b|em|strong|small|span|font|p|br)\b[^<>]{0,80}>", re.IGNORECASE)
_SCRIPTS = re.compile(
    r"[\^_]\{([^{}]{0,12})\}|[\^~_](\d{1,2}[+-]?)[\^~_]|[\^_](?=\w)|\$|\\(?:mathrm|rm|text)\b"
)
_DIGIT = re.compile(r"(?![0-9])\d")
"""of another script: Arabic, Devanagari, ..."""
_QUOTES = re.compile(r'^\s*"+|(?<=[\d.)])"+\s*$')
"""around all of a pasted text"""
_DELTA_WORDS = re.compile(r"\\delta\b|\b[Dd]elta(?=[\s:=(_HC])")

_TOKEN = re.compile(
    r"""
      (?P<delta>δ(?:\s?(?P<nucleus>[HC])(?=[\s:=,;()\[\]]|-?\d+\.\d|$)|(?P<small>[hc])(?=[\s:=,;()\[\]\d]))?)
    | (?P<j>(?<![A-Za-z])(?:[1-7]\s?)?[J](?:
          (?:\s?\([^()=.]{0,16}\)|[^=;()J.δ]{0,20}?)\s?=          # J = , JHF = , J3',4' = , J(C,F) =
        | \s?[A-Z][a-z]?[-,]?[A-Z][a-z]?(?![A-Za-z])               # JCF 245
        | \d{1,2}[a-z']*,\d{1,2}[a-z']*(?=\s)                        # J1,2 8.1
        | (?![A-Za-z]) ))
    | (?P<glued>[A-Za-z]+\d+\.\d+)
    | (?P<number>\d+(?:\.\d+)+|\d+|(?<![\w.)\]])\.\d+)
    | (?P<times>×|(?<![A-Za-z])[xX](?=[\s\dC()]|$))
    | (?P<word>[^\W\d_][\w'"*]*(?:-[\w'"*]+)*)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<punct>\S)
    """,
    re.VERBOSE,
)
_GLUED = re.compile(r"([A-Za-z]+)(\d.*)")


def plain_dashes(text: str) -> str:
    """`text` with one kind of dash."""
    return text.translate(str.maketrans(_DASHES, "-" * len(_DASHES)))


def clean(text: str) -> str:
    """`text` in plain characters: one dash, one space, no mark-up, raised and lowered digits as others."""
    if "&" in text:
        text = html.unescape(text)
    for wrong, right in _MOJIBAKE.items():
        if wrong in text:
            text = text.replace(wrong, right)
    text = text.translate(_CHARACTERS)
    if not text.isascii():
        text = _DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)
    if "<" in text:
        text = _MARKUP.sub("", text)
    text = _DELTA_WORDS.sub("δ", _QUOTES.sub("", text))
    return _SCRIPTS.sub(lambda match: match[1] or match[2] or "", text)


# "135. 4," and "128 .5,": a point with a space beside it
_SPACE_AFTER = re.compile(r"(?<![\d.])(\d{1,3})\. (\d{1,2})(?=\s*[,;()]| and |$)")
_SPACE_BEFORE = re.compile(r"(?<![\d.])(\d{1,3}) \.(\d{1,2})(?=\s*[,;()]| and |$)")
_COMMA = re.compile(r"(?<![\w.,'/-])(-?\d{1,3}),(\d{1,3})(?![\w.'-]|,\d)")
_COMMA_RANGE = re.compile(r"(?<![\w.,'/-])(\d{1,3}),(\d{1,3})(\s?-\s?)(\d{1,3}),(\d{1,3})(?![\w.'-]|,\d)")
_ALL_COMMAS = tuple(
    re.compile(rf"\s*-?\d{{1,3}},\d{{{decimals}}}(?:[\s;]+-?\d{{1,3}},\d{{{decimals}}})+[\s;]*")
    for decimals in (1, 2)
)
"""numbers of as many digits behind their commas, parted by white space"""
_POINT = re.compile(r"\d\.\d")
_TIGHT = re.compile(r"\d\.\d+,\d")  # a comma without a space that separates
_SEPARATED = re.compile(r"\d\s*[;|]|\d,\s|\)\s*[,;]|\d\s*\(")


def fix_typos(text: str) -> str:
    """`text` with decimal points where a comma, or a space beside the point, stands for one.

    A comma counts as a decimal point only where something else separates the numbers and no comma without a
    space does ("27,4; 106,1", "128.5, 73,9, 55.2"), or where all numbers have one: "171,2 60,4 21,0".
    """
    points = len(_POINT.findall(text))
    if any(pattern.fullmatch(text) for pattern in _ALL_COMMAS):
        return text.replace(",", ".")
    if points >= 2:
        text = _SPACE_AFTER.sub(r"\1.\2", text)
        text = _SPACE_BEFORE.sub(r"\1.\2", text)
    if "," in text and not _TIGHT.search(text):
        pointed = _COMMA.sub(r"\1.\2", _COMMA_RANGE.sub(r"\1.\2\3\4.\5", text))
        if points > 2 or _SEPARATED.search(pointed):
            text = pointed
    return text


def has_ambiguous_commas(text: str) -> bool:
    """Whether commas that separate cannot be told from decimal commas: "155,4,151,7"."""
    if _POINT.search(text) or "," not in text:
        return False
    return re.fullmatch(r"[\s\d,-]*\d,\d[\s\d,-]*", text) is not None and ", " not in text


def tokenize(text: str) -> list[Token]:
    """The tokens of a cleaned text, in order. One pass, in time linear in the text."""
    tokens: list[Token] = []
    previous_end = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or PUNCT
        start, end = match.span()
        spaced = start > previous_end or start == 0
        previous_end = end
        if kind == DELTA:
            tokens.append(
                Token(DELTA, (match["nucleus"] or match["small"] or "").upper(), start, end, spaced)
            )
        elif kind == "times":
            tokens.append(Token(PUNCT, "x", start, end, spaced))
        elif kind == "glued":
            tokens += _split_glued(match[0], start, spaced)
        else:
            tokens.append(Token(kind, match[0], start, end, spaced))
    return tokens


def _split_glued(text: str, start: int, spaced: bool) -> list[Token]:
    """ "d7.26" and "ppm7.26" are a word and a number; "C4.5" is a label, whose digits are no shift."""
    parts = _GLUED.fullmatch(text)
    if parts is None or parts[1] not in ("d", "ppm", "and", "J"):
        return [Token(WORD, text, start, start + len(text), spaced)]
    middle = start + len(parts[1])
    kind = {"d": DELTA, "J": J}.get(parts[1], WORD)
    head = Token(kind, "" if kind == DELTA else parts[1], start, middle, spaced)
    return [head, Token(NUMBER, parts[2], middle, start + len(text), False)]


def bracket_pairs(tokens: list[Token]) -> dict[int, int]:
    """Index of each opening bracket -> index where it closes. One that never closes, or stands between two
    peaks where the source lacks the closing one, ends before the next peak.
    """
    pairs: dict[int, int] = {}
    unclosed: list[int] = []
    for i, token in enumerate(tokens):
        if token.kind == OPEN:
            unclosed.append(i)
        elif token.kind == CLOSE and unclosed:
            pairs[unclosed.pop()] = i
    for i in unclosed:
        pairs[i] = _before_next_peak(tokens, i)
    return pairs


def _before_next_peak(tokens: list[Token], opened: int, reach: int = 60) -> int:
    """Index of the token before which an unclosed bracket must have ended: a number that begins a peak, or
    the end of the text. Looks `reach` tokens ahead.
    """
    stop = min(len(tokens), opened + reach)
    for i in range(opened + 2, stop - 1):
        begins = tokens[i].kind == NUMBER and not tokens[i].integer and tokens[i + 1].kind == OPEN
        if begins and tokens[i - 1].text in (",", ";"):
            return i - 1
    return stop - 1
