"""NMR text in tokens: numbers, words, δ, J, brackets, whatever the typography around them."""

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
    """of δ: "", "H" or "C", the nucleus it names; of a bracket that closes or opens: the bracket"""
    start: int
    end: int
    """offsets in the cleaned text"""
    spaced: bool
    """white space stands before it"""

    @property
    def value(self) -> float:
        """Of a number, without its sign; NaN of digits that are no one number, such as "7.18.2"."""
        return float(self.text) if self.text.count(".") < 2 else math.nan

    @property
    def whole(self) -> bool:
        """Whether a number is printed without decimals."""
        return "." not in self.text


# every dash and minus, space, prime, digit raised or lowered, and letters of other alphabets that look alike
_DASHES = "‐‑‒–—―−﹘﹣－˗⁻₋"
_SPACES = (
    "\t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
_SIGNS = str.maketrans(
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


def clean(text: str) -> str:
    """`text` in plain signs: one kind of dash and space, no mark-up, raised and lowered digits as others."""
    if "&" in text:
        text = html.unescape(text)
    for wrong, right in _MOJIBAKE.items():
        if wrong in text:
            text = text.replace(wrong, right)
    text = text.translate(_SIGNS)
    if not text.isascii():
        text = _DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)
    if "<" in text:
        text = _MARKUP.sub("", text)
    text = _DELTA_WORDS.sub("δ", _QUOTES.sub("", text))
    return _SCRIPTS.sub(lambda found: found[1] or found[2] or "", text)


def tokens(text: str) -> list[Token]:
    """The tokens of a cleaned text, in order. One pass, in time linear in the text."""
    found = []
    last = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or PUNCT
        start, end = match.span()
        spaced = start > last or start == 0
        last = end
        if kind in ("nucleus", "small") or match["delta"]:
            nucleus = (match["nucleus"] or match["small"] or "").upper()
            found.append(Token(DELTA, nucleus, start, end, spaced))
        elif kind == "times":
            found.append(Token(PUNCT, "x", start, end, spaced))
        elif kind == "glued":
            found.extend(_unglued(match[0], start, spaced))
        else:
            found.append(Token(kind, match[0], start, end, spaced))
    return found


def _unglued(text: str, start: int, spaced: bool) -> list[Token]:
    """ "d7.26" and "ppm7.26" are a sign and a number; "C4.5" is a word, whose digits are no shift."""
    parts = _GLUED.fullmatch(text)
    if parts is None or parts[1] not in ("d", "ppm", "and", "J"):
        return [Token(WORD, text, start, start + len(text), spaced)]
    middle = start + len(parts[1])
    kind = {"d": DELTA, "J": J}.get(parts[1], WORD)
    head = Token(kind, "" if kind == DELTA else parts[1], start, middle, spaced)
    return [head, Token(NUMBER, parts[2], middle, start + len(text), False)]


def closers(found: list[Token]) -> dict[int, int]:
    """Of each bracket that opens, where it closes: index to index. One that never closes, or stands between
    two peaks where the source forgot the closing one, ends before the next peak.
    """
    pairs: dict[int, int] = {}
    stack: list[int] = []
    for i, token in enumerate(found):
        if token.kind == OPEN:
            stack.append(i)
        elif token.kind == CLOSE and stack:
            pairs[stack.pop()] = i
    for opened in stack:
        pairs[opened] = _next_peak(found, opened)
    return pairs


def _next_peak(found: list[Token], opened: int, reach: int = 60) -> int:
    """Index of the token before which an unclosed bracket must have ended: a number that begins a peak, or
    the end of the text. Looks `reach` tokens ahead."""
    stop = min(len(found), opened + reach)
    for i in range(opened + 2, stop - 1):
        begins = found[i].kind == NUMBER and not found[i].whole and found[i + 1].kind == OPEN
        if begins and found[i - 1].text in (",", ";"):
            return i - 1
    return stop - 1
