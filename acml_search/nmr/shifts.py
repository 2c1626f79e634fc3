"""Which numbers of a peak list are shifts, and the peaks they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from acml_search.chem.peaks import LeftOut, Peak
from acml_search.nmr.annotation import is_multiplicity
from acml_search.nmr.tokens import CLOSE, DELTA, NUMBER, OPEN, PUNCT, WORD, Token
from acml_search.nmr.vocabulary import BREAKS, DASHES, HZ, LINKS, QUIET, REFERENCES, UNITS, labels_atom

LIMITS = {"C": (-50.0, 350.0), "H": (-40.0, 40.0)}
"""ppm: what the spaces of these nuclei hold at all"""
WIDEST = {"C": 10.0, "H": 3.0}
"""ppm: a wider range is a region that is spoken of, not a peak"""
NAMES = {"C": "13C", "H": "1H"}


@dataclass
class Found:
    """Peaks of one nucleus, as they are read, and what was not taken for one."""

    peaks: list[Peak] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    """of each peak, whether it is printed without decimals"""
    left_out: list[LeftOut] = field(default_factory=list)
    first: int | None = None
    """offset in the text of the first shift; what stands before are the conditions"""
    in_prose: bool = False
    """whether words, not a header, led to the first shift"""
    protons: int = 0
    """peaks with a count of H or a coupling pattern, as no 13C list has"""


class ShiftReader:
    """Reads shifts among the tokens of one section; `nmr_grammar.Grammar` reads the rest of a list.

    nucleus: "C" or "H", or "" when only δH and δC can tell. headed: whether a header stands before, so that
    a list may begin without δ. closers: of each bracket that opens, where it closes.
    """

    def __init__(
        self, found: Sequence[Token], closers: dict[int, int], nucleus: str, *, headed: bool
    ) -> None:
        self.tokens, self.closers = found, closers
        self.stop = len(found)
        self.section_nucleus = self.nucleus = nucleus
        self.headed = headed
        self.results = {"C": Found(), "H": Found(), "": Found()}
        self.open = True
        self.in_prose = False  # words ended the list, or came before it
        self.tagged = False  # the list began with δ
        self.prose = 0
        self.last: Found | None = None  # where the peak is that a note would be of
        self.chunk_has_peak = False
        self.loose = False  # a note without brackets stands after the last peak
        self.times: int | None = None  # "2 x" stands before a shift
        self.regions: set[int] = set()  # indices of numbers that bound a region
        self.chain = -1  # index after the number that was read last

    def _at(self, i: int) -> Token | None:
        return self.tokens[i] if 0 <= i < self.stop else None

    def _before(self, i: int) -> Token:
        """The token before i; at the beginning of the section, an empty one."""
        return self.tokens[i - 1] if i > 0 else Token(PUNCT, "", 0, 0, True)

    @property
    def found(self) -> Found:
        return self.results[self.nucleus]

    def _break(self) -> None:
        """A new item begins."""
        self.chunk_has_peak = False
        self.prose = 0

    def _lead(self, i: int) -> tuple[float, bool]:
        """The sign of the number at i, and whether a shift can stand there."""
        token, before = self.tokens[i], self._before(i)
        sign = 1.0
        if before.text == "-" and before.spaced and token.spaced and labels_atom(self._before(i - 1).text):
            return sign, not token.whole and not self.chunk_has_peak  # "C1 - 170.1"
        if before.text == "-" and not token.spaced:
            behind = self._before(i - 1)
            if (not before.spaced and behind.kind in (WORD, NUMBER)) or behind.text in ("'", '"'):
                return sign, False  # "C-4", "DMSO-6"
            sign, before = -1.0, behind
        if i - (sign < 0) == 0:
            return sign, self.headed is False or not token.whole or self._ends(i)
        if before.kind == DELTA or before.text in ("=", ":"):
            return sign, self._before(i - 1 - (sign < 0)).kind != NUMBER  # "1:5.8" is a ratio
        if before.kind == NUMBER:
            return sign, self.chain == i and self._beside(i)
        if before.kind == CLOSE or before.text in (".", "~"):
            if not token.whole:
                return sign, token.spaced or before.kind == CLOSE
            return sign, token.spaced and before.kind == CLOSE and self._ends(i) and self.open
        if before.text in BREAKS or before.text == "ppm":
            return sign, not token.whole or self._whole_item(i)
        if before.text in LINKS:
            return sign, not token.whole or self._run_in_ppm(i, self.stop)
        if before.kind == OPEN or before.text == "x":
            return sign, not token.whole
        if before.kind == WORD:
            named = labels_atom(before.text) and not self.chunk_has_peak
            fresh = not self.found.peaks and self.prose == 0 and before.text not in REFERENCES
            return sign, not token.whole and token.spaced and (named or fresh or is_multiplicity(before))
        return sign, False

    def _ends(self, i: int) -> bool:
        """Whether an item ends after the number at i, or a note in brackets follows."""
        after = self._at(i + 1)
        return (
            after is None
            or after.text in (",", ";", ".", "and", "ppm", "(", "[", "&")
            or after.text in DASHES
        )

    def _whole_item(self, i: int) -> bool:
        """Whether a whole number between separators is a shift: not in a loose note such as "H-3, 5"."""
        after = self._at(i + 1)
        bracketed = after is not None and (after.kind == OPEN or after.text in DASHES or after.text == "ppm")
        if self.nucleus == "H":
            return bracketed and not self.loose
        return self._ends(i) and not self.loose

    def _beside(self, i: int) -> bool:
        """Two numbers without anything between them: both with decimals, or both without."""
        return self.tokens[i].spaced and self.tokens[i].whole == self._before(i).whole

    def _decimal(self, i: int) -> bool:
        token = self._at(i)
        return token is not None and token.kind == NUMBER and not token.whole

    def _run_in_ppm(self, k: int, stop: int) -> bool:
        """Whether numbers, and notes of them, end in "ppm"."""
        stop = min(stop, k + 60, self.stop)
        while k < stop:
            token = self.tokens[k]
            if token.text == "ppm":
                return True
            if token.kind == OPEN:
                k = max(self.closers.get(k, k), k)
            elif not (token.kind == NUMBER or token.text in DASHES or token.text in (",", "and", "&", ";")):
                return False
            k += 1
        return False

    def _take(self, i: int, sign: float) -> int:
        """The shift at i becomes a peak, or what is left out."""
        token = self.tokens[i]
        end, second = self._range(i)
        self.chain = end
        self.prose = 0
        text = " - ".join(t.text for t in (token, second) if t is not None)
        text = f"-{text}" if sign < 0 else text
        attached = self._at(end)
        if attached is not None and attached.text in UNITS:  # "128.5-129.3 °C"
            return end + 1
        if i in self.regions:
            self._leave(text, "it bounds a region, it is not a peak")
            return end
        if self._malformed(i, end, second, attached):
            self._leave(text, "it is not one number")
            return end
        first, last = sign * token.value, None if second is None else second.value
        if last is not None and sign < 0:
            last = -last
        values = [first] if last is None else sorted((first, last))
        low, high = LIMITS.get(self.nucleus, (-50.0, 350.0))
        wrong = [value for value in values if not low <= value <= high]
        if wrong:
            self._leave(text, f"{NAMES.get(self.nucleus, 'NMR')} has no shift at {wrong[0]:g} ppm", wrong[0])
            return end
        if values[-1] - values[0] > WIDEST.get(self.nucleus, 10.0):
            self._leave(text, f"a range of {values[-1] - values[0]:.3g} ppm is a region, not a peak")
            return end
        low_end, high_end = (values[0], values[1]) if len(values) == 2 else (None, None)
        self._add(Peak(round(sum(values) / len(values), 4), low_end, high_end, count=self.times), token)
        self.times = None
        return end

    def _add(self, peak: Peak, token: Token) -> None:
        found = self.found
        found.peaks.append(peak)
        found.whole.append(token.whole)
        if found.first is None:
            found.first = token.start
            found.in_prose = self.in_prose
        self.last = found
        self.chunk_has_peak = True
        self.loose = False

    def _leave(self, text: str, why: str, position: float | None = None) -> None:
        self.found.left_out.append(LeftOut(text[:40], why, position))
        self.last = None

    def _range(self, i: int) -> tuple[int, Token | None]:
        """The index after the shift that begins at i, and the second number of a range."""
        dash, second = self._at(i + 1), self._at(i + 2)
        if dash is None or second is None or dash.text not in DASHES or second.kind != NUMBER:
            return i + 1, None
        after = self._at(i + 3)
        if after is not None and (
            after.text in HZ or (not after.spaced and after.text == "-" and second.whole)
        ):
            return i + 1, None
        return i + 3, second

    def _malformed(self, i: int, end: int, second: Token | None, after: Token | None) -> bool:
        numbers = [self.tokens[i], *([second] if second is not None else [])]
        if any(number.text.count(".") > 1 or len(number.text) > 12 for number in numbers):
            return True
        if after is None or after.spaced:
            return False
        if after.text in ("'", '"', "°", "%", "^"):
            return True
        if after.text == "-" and not numbers[-1].whole:  # "1.2-3.4-5.6"
            then = self._at(end + 1)
            return then is not None and then.kind == NUMBER
        return after.kind == WORD and not (
            is_multiplicity(after) or after.text in QUIET or labels_atom(after.text)
        )


def shift_values(peaks: Sequence[Peak]) -> Iterator[float]:
    """Every printed shift: a single position, or both ends of a range."""
    for peak in peaks:
        if peak.low is None or peak.high is None:
            yield peak.position
        else:
            yield peak.low
            yield peak.high
