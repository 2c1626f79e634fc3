"""Made-up peak lists, printed in many styles and read again; and text of any kind."""

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from acml_search.chem.peaks import Peak, PeakList
from acml_search.core.errors import InvalidRecord
from acml_search.nmr.parser import peak_lists, read_nmr_text
from acml_search.nmr.solvents import without_solvent
from acml_search.nmr.tokens import clean

DASHES = ["-", "–", "−", "—", "‒", " – ", " - ", "\u2009–\u2009"]
MULTIPLICITIES = {0: ["s", "m", "br s"], 1: ["d", "t", "q"], 2: ["dd", "td", "dt"], 3: ["ddd", "dtd"]}


@dataclass(frozen=True)
class Style:
    """How a paper prints."""

    dash: str
    separator: str
    delta: str
    close: str
    hertz: str
    count_first: bool
    label: bool


styles = st.builds(
    Style,
    dash=st.sampled_from(DASHES),
    separator=st.sampled_from([", ", "; ", ",", ",\u2009", " ; ", ",  "]),
    delta=st.sampled_from(
        ["δ ", "δ: ", "δ = ", "δ (ppm): ", "δ/ppm ", "δ, ppm: ", ": ", "delta ", "[ppm] = "]
    ),
    close=st.sampled_from([".", " ppm.", "", " ppm", ";"]),
    hertz=st.sampled_from(
        ["J = {} Hz", "J={}Hz", "³J = {} Hz", "J {} Hz", "J {}", "J = {}", "3J(H,H) = {} Hz"]
    ),
    count_first=st.booleans(),
    label=st.booleans(),
)


def tenths(low: int, high: int, digits: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda n: round(n / 10**digits, digits))


@st.composite
def proton_peaks(draw: st.DrawFn) -> Peak:
    count = draw(st.integers(1, 18))
    position = draw(tenths(-50, 1500, 2))
    if draw(st.booleans()):
        couplings = tuple(draw(st.lists(tenths(5, 180, 1), min_size=0, max_size=3)))
        multiplicity = draw(st.sampled_from(MULTIPLICITIES[len(couplings)]))
        return Peak(position, count=count, multiplicity=multiplicity, couplings=couplings)
    low = abs(position) + 0.01
    high = round(low + draw(st.integers(1, 40)) / 100, 2)
    low = round(low, 2)
    return Peak(round((low + high) / 2, 4), low, high, count=count, multiplicity="m")


@st.composite
def carbon_peaks(draw: st.DrawFn) -> Peak:
    position = draw(tenths(-90, 2190, 1))
    kind = draw(st.sampled_from(["bare", "dept", "count", "fluorine"]))
    if kind == "dept":
        return Peak(position, multiplicity=draw(st.sampled_from(["C", "CH", "CH2", "CH3"])))
    if kind == "count":
        return Peak(position, count=draw(st.integers(2, 6)))
    if kind == "fluorine":
        return Peak(position, multiplicity="d", couplings=(draw(tenths(20, 2700, 1)),))
    return Peak(position)


def minus(value: float, digits: int) -> str:
    return f"{'−' if value < 0 else ''}{abs(value):.{digits}f}"


def printed_proton(peak: Peak, style: Style, number: int) -> str:
    if peak.low is None or peak.high is None:
        shift = minus(peak.position, 2)
    else:
        shift = f"{peak.high:.2f}{style.dash}{peak.low:.2f}"
    notes = [peak.multiplicity or ""]
    if peak.couplings:
        notes.append(style.hertz.format(", ".join(f"{value:.1f}" for value in peak.couplings)))
    notes.insert(0 if style.count_first else len(notes), f"{peak.count}{' ' if style.label else ''}H")
    if style.label:
        notes.append(f"H-{number}")
    return f"{shift} ({', '.join(notes)})"


def printed_carbon(peak: Peak, style: Style, number: int) -> str:
    shift = minus(peak.position, 1)
    if peak.couplings:
        return f"{shift} (d, {style.hertz.format(f'{peak.couplings[0]:.1f}')})"
    if peak.count is not None:
        return f"{shift} ({peak.count}{' × ' if style.count_first else ''}C)"
    if peak.multiplicity is not None:
        return f"{shift} ({peak.multiplicity}{f', C-{number}' if style.label else ''})"
    return f"{shift} (C-{number})" if style.label else shift


@settings(deadline=None, max_examples=100)
@given(
    st.lists(proton_peaks(), min_size=1, max_size=12),
    st.lists(carbon_peaks(), min_size=1, max_size=25),
    styles,
)
def test_printed_peaks_come_back(protons: list[Peak], carbons: list[Peak], style: Style) -> None:
    first = style.separator.join(printed_proton(peak, style, i) for i, peak in enumerate(protons, 1))
    second = style.separator.join(printed_carbon(peak, style, i) for i, peak in enumerate(carbons, 1))
    proton_line = f"1H NMR (400 MHz, CDCl3) {style.delta}{first}{style.close}"
    carbon_line = f"13C{{1H}} NMR (101 MHz, DMSO-d6) {style.delta}{second}{style.close}"
    proton, carbon = read_nmr_text(proton_line, "h_nmr"), read_nmr_text(carbon_line, "c_nmr")
    assert (list(proton), list(carbon)) == (protons, carbons)
    assert (proton.solvent, proton.field_mhz, proton.left_out) == ("CDCl3", 400.0, ())
    assert (carbon.solvent, carbon.field_mhz, carbon.left_out) == ("DMSO-d6", 101.0, ())
    text = f"Yellow oil (85 %). {proton_line} {carbon_line} HRMS m/z calcd 155.1234."
    assert peak_lists(text) == [proton, carbon]


PIECES = st.sampled_from(
    [
        *(
            "1H NMR",
            "13C NMR",
            "δ",
            "δH",
            "δC",
            " (400 MHz, CDCl3) ",
            "7.26",
            "128.5",
            "1300",
            "8.2",
            "x",
            ":",
        ),
        *("–", "-", ", ", "; ", ".", "(", ")", "[", "]", "=", "J = ", " Hz", "3H", "2C", "2 × C", "m", "dd"),
        *("ppm", " and ", "at", "between", "nan", "′", "\n"),
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)))
@example("\u07c1")  # the digit one of N'Ko
@example("δ ١٢٨.٥, २०.१")
def test_any_text_gives_shifts_of_the_text_or_one_sentence(text: str) -> None:
    for modality in ("c_nmr", "h_nmr", None):
        try:
            peaks = read_nmr_text(text, modality)
        except InvalidRecord as error:
            reason = error.reason
        else:
            reason = "read"
            check(peaks, text)
        assert "\n" not in reason


def check(peaks: PeakList, text: str) -> None:
    """What holds of every list that is read, whatever the text."""
    assert len(peaks) > 0
    low, high = (-50, 350) if peaks.modality == "c_nmr" else (-40, 40)
    digits = "".join(sign for sign in clean(text) if sign.isdigit())
    for peak in peaks:
        assert low <= peak.position <= high
        assert (peak.low is None) == (peak.high is None)
        if peak.low is not None and peak.high is not None:
            assert peak.low <= peak.position <= peak.high
        else:  # no digit that is not in the text
            assert f"{abs(peak.position):g}".replace(".", "").strip("0") in digits
    assert len(without_solvent(peaks)) <= len(peaks)
