"""The grammar of a peak list: from the tokens of one section to peaks, and to what is no peak and why.

    list   = item {("," | ";" | "and" | ".") item}
    item   = [label ":"] shift ["ppm"] {note}
    shift  = number | number ("-" | "to") number
    note   = "(" ... ")" | multiplicity | count | "J =" numbers | label

Prose ends a list; a δ, or numbers that end in "ppm", begin one again. What the grammar does not foresee is
passed over: a number becomes a shift only where a shift can stand.
"""

from __future__ import annotations

from acml_search.chem.peaks import LeftOut
from acml_search.nmr.annotation import (
    MAX_COUPLING,
    MOST_COUPLINGS,
    annotated,
    couplings_after,
    is_count,
    is_multiplicity,
)
from acml_search.nmr.shifts import Found, ShiftReader
from acml_search.nmr.tokens import DELTA, NUMBER, OPEN, WORD, Token
from acml_search.nmr.vocabulary import BREAKS, HZ, LINKS, QUIET, UNITS, labels_atom


class Grammar(ShiftReader):
    """Reads one section; see `ShiftReader` for what it takes."""

    def read(self) -> dict[str, Found]:
        """What was found, by nucleus."""
        i = 0
        while i < self.stop:
            i = max(self._step(i), i + 1)
        return self.results

    def _step(self, i: int) -> int:
        """Reads what stands at i; the index after it."""
        token = self.tokens[i]
        match token.kind:
            case "open":
                return self._bracket(i)
            case "delta":
                self._delta(token)
            case "j":
                return self._coupling(i)
            case "number":
                return self._number(i)
            case "word":
                self._word(i)
            case "punct":
                self._punctuation(i)
        return i + 1

    def _delta(self, token: Token) -> None:
        # a header says more than the letter after its own δ, in which misprints stand
        at_header = self.headed and not self.tagged and self.open and not self.found.peaks
        if token.text and not (at_header and self.section_nucleus):
            self.nucleus = token.text
        elif not token.text and self.section_nucleus:
            self.nucleus = self.section_nucleus
        self.open = self.tagged = True
        self._break()
        self.last = None

    def _punctuation(self, i: int) -> None:
        token, after = self.tokens[i], self._at(i + 1)
        if token.text in ",;|/":
            self.chunk_has_peak = False
            if token.text == ";":
                self.loose = False
        elif token.text in ":=" and self.headed and not self.found.peaks and not self.open:
            self.open = True
            self.prose = 0
        elif token.text == "." and after is not None and after.kind == WORD and after.spaced:
            self.last = self.last if is_multiplicity(after) else None  # else a sentence ends

    def _word(self, i: int) -> None:
        token, after = self.tokens[i], self._at(i + 1)
        text = token.text
        if text.lower() == "between":
            self._region(i + 1)
            return
        if text == "d" and not self.found.peaks and not self.tagged and after is not None:
            if after.kind == NUMBER or after.text in (":", "=", "("):
                self._delta(Token(DELTA, "", token.start, token.end, token.spaced))
            return
        if text in LINKS or text in BREAKS or text == "ppm":
            self.chunk_has_peak = self.chunk_has_peak and text == "ppm"
            return
        if text.lower() in ("nan", "inf", "infinity"):
            if self.open:
                self.found.left_out.append(LeftOut(text, "it is not a number"))
            return
        if self.last is not None and self.open:
            note = is_multiplicity(token) or (self.nucleus == "C" and labels_atom(text))
            if note and (after is None or after.text not in (":", "=")):
                if self.chain == i or self._before(i).text in (",", ".", ")", "]") or self.prose == 0:
                    self._annotate(i, i + 1)
                    self.loose = True
                return
        if text in QUIET or not text.islower() or len(text) < 3 or any(sign.isdigit() for sign in text):
            self.loose = self.loose or self.last is not None
            return
        self.prose += 1
        if self.prose >= 2:
            self.open = False
            self.in_prose = True
            self.last = None

    def _region(self, i: int) -> None:
        """ "between 55 and 110 ppm" names no peak: the two numbers are left out."""
        while (token := self._at(i)) is not None and (token.kind == DELTA or token.text in (":", "=")):
            i += 1
        link, second = self._at(i + 1), self._at(i + 2)
        if (
            token is None
            or token.kind != NUMBER
            or link is None
            or link.text not in ("and", "to", "-", "ppm")
        ):
            return
        self.regions.add(i)
        if link.text == "and" and second is not None and second.kind == NUMBER:
            self.regions.add(i + 2)

    def _coupling(self, i: int) -> int:
        most = None
        if self.last is not None:
            peak = self.last.peaks[-1]
            most = max(len((peak.multiplicity or "d").replace("br ", "")), 1)
        values, end = couplings_after(self.tokens, i + 1, self.stop, most)
        if self.last is not None:
            self._couple(values)
            self.loose = True
        return end

    def _couple(self, values: list[float]) -> None:
        """Couplings in Hz of the last peak, beside it without brackets."""
        if self.last is not None:
            peak = self.last.peaks[-1]
            sound = [value for value in values if value <= MAX_COUPLING]
            couplings = (*peak.couplings, *sound)[:MOST_COUPLINGS]
            self.last.peaks[-1] = peak._replace(couplings=couplings)

    def _annotate(self, start: int, stop: int) -> None:
        if self.last is not None:
            before = self.last.peaks[-1]
            peak = annotated(before, self.tokens, start, min(stop, self.stop), self.nucleus or "H")
            protons = self.nucleus != "C" and peak.count is not None and before.count is None
            self.last.protons += protons
            self.last.peaks[-1] = peak
            if self.nucleus == "C" and peak.count is None and self._counts_protons(start, stop):
                self.last.protons += 1

    def _counts_protons(self, start: int, stop: int) -> bool:
        pairs = zip(self.tokens[start:stop], self.tokens[start + 1 : stop], strict=False)
        return any(token.kind == NUMBER and after.text == "H" for token, after in pairs)

    def _bracket(self, i: int) -> int:
        end = self.closers.get(i, i)
        if self._holds_shifts(i, end):
            return i + 1  # what stands inside is read like what stands outside
        label = self._before(i)
        if self.open and not self.chunk_has_peak and label.kind == WORD and labels_atom(label.text):
            inside = [token for token in self.tokens[i + 1 : min(end, i + 4)] if token.text != "ppm"]
            if len(inside) == 1 and inside[0].kind == NUMBER and not inside[0].whole:  # "C-2 (155.4)"
                self._take(i + 1, 1.0)
                return end + 1
        if self.open and self.last is not None:
            self._annotate(i + 1, end)
        return end + 1

    def _holds_shifts(self, i: int, end: int) -> bool:
        """Whether a bracket holds peaks: "(δH 6.81, 6.87)", "(4.41 ppm)" in prose, conditions that were not
        closed before the list."""
        stop = min(end, i + 40, self.stop)
        first, second = self._at(i + 1), self._at(i + 2)
        if first is None or second is None or stop <= i + 1:
            return False
        if self.last is None or first.kind == DELTA:
            for k in range(i + 1, stop):
                if self.tokens[k].kind == DELTA and self._numbers_follow(k + 1, stop):
                    return True
        if first.kind != NUMBER or first.whole:
            return False
        if self._run_in_ppm(i + 1, stop):
            return True
        # "Ar-C [120.5, 127.1]": a list of its own, not a note of the shift before
        listed = second.kind == OPEN or (second.text in (",", ";", "and") and self._decimal(i + 3))
        listed = listed and self.tokens[i].text == "[" and not self.chunk_has_peak
        return self.open and listed and not self._in_hertz(i + 1, stop)

    def _in_hertz(self, k: int, stop: int) -> bool:
        """Whether the numbers from k on are couplings: "Hz" follows before any bracket."""
        while k < stop and self.tokens[k].kind != OPEN:
            if self.tokens[k].text in HZ:
                return True
            k += 1
        return False

    def _numbers_follow(self, k: int, stop: int) -> bool:
        while k < stop and (
            self.tokens[k].text in (",", "=", ":", "-", "ppm", "/", "in", "[", "]", "(", ")")
        ):
            k += 1
        after = self._at(k + 1)
        return k < stop and self.tokens[k].kind == NUMBER and (after is None or after.text not in UNITS)

    def _number(self, i: int) -> int:
        token, after = self.tokens[i], self._at(i + 1)
        if after is not None and after.text in UNITS and not (after.text == "h" and after.spaced):
            if after.text in HZ and self.last is not None:  # "7.6 d, 8.2 Hz"
                self._couple([token.value])
            return i + 2
        if after is not None and is_count(token, after, self.nucleus or "H") and not self._is_shift_before(i):
            if self.last is not None and self.open:
                self._annotate(i, i + 2)
                self.loose = True
            return i + 2
        if after is not None and after.text == "x" and token.whole:
            return self._times(i)
        if self._before(i).text == "x" and token.whole:  # "128.5 x 2"
            if self.last is not None:
                self._annotate(i - 1, i + 1)
            return i + 1
        sign, lead = self._lead(i)
        if not lead:
            if self.open and not token.whole and self.found.peaks:
                self.found.left_out.append(LeftOut(token.text[:40], "it stands where no shift is expected"))
            return i + 1
        if not self.open and not self._reopens(i):
            return i + 1
        return self._take(i, sign)

    def _is_shift_before(self, i: int) -> bool:
        """A number with decimals before the name of an atom is a shift: "128.5 C", unless H are counted."""
        return not self.tokens[i].whole and self.nucleus == "C"

    def _times(self, i: int) -> int:
        """ "2 x C" after a shift counts; "2 x 128.5" counts before it."""
        then = self._at(i + 2)
        if then is not None and then.kind == NUMBER and not then.whole:
            self.times = int(self.tokens[i].text) if len(self.tokens[i].text) <= 2 else None
            return i + 2
        if self.last is not None and self.open:
            self._annotate(i, i + 3)
        return i + (3 if then is not None and then.kind == WORD else 2)

    def _reopens(self, i: int) -> bool:
        """In prose: whether a list begins at the number at i."""
        after = self._at(i + 1)
        opened = self._run_in_ppm(i, self.stop)
        if not opened and after is not None and after.kind == OPEN and not self.tokens[i].whole:
            note = self._at(i + 2)
            opened = note is not None and (
                note.kind == NUMBER or is_multiplicity(note) or labels_atom(note.text)
            )
        if opened:
            self.open = True
            self.last = None
            self._break()
        return opened
