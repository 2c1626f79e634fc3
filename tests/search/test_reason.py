"""The reason for a hit in text and in numbers: facts, labels, scales."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from answers import CANDIDATES, answer
from hypothesis import given
from hypothesis import strategies as st

from acml_search.chem.peaks import Peak
from acml_search.modalities import get
from acml_search.modalities.base import Evidence, Foreign, Match, Missing
from acml_search.search.render import plots
from acml_search.search.render import text as texts
from acml_search.search.render.html import drawing
from acml_search.search.results import Explanation, ObservedPeaks, Reason


def text(*modalities: str, colour: bool = False) -> str:
    return texts.explained(answer(list(modalities)), colour=colour)


def test_text_holds_the_facts() -> None:
    shown = text("c_nmr", "h_nmr", "lc_ms")
    assert "query   ¹³C NMR: 8 peaks, solvent CDCl3, field 151 MHz" in shown
    assert "left out 77.16: the solvent, CDCl3" in shown
    assert "#1  key 100  vanillin" in shown
    assert "logit +51.0 = ¹³C NMR +14.0 ¹H NMR +17.0 LC-MS/MS +20.0" in shown
    assert "108.7      118.4   −9.7  8" in shown
    assert "d, J = 8.5 Hz, 1H" in shown
    assert "128.9511  4.5 %" in shown
    assert "not explained" in shown
    assert "+0.31" in shown


def test_colour_only_adds_codes() -> None:
    coloured = text("c_nmr", colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == text("c_nmr")
    assert "\x1b" not in text("c_nmr")


def test_text_cleans_what_strangers_wrote() -> None:
    shown = texts.explained(answer(["c_nmr"], candidates={"\x1b[2Jgone": "CCO"}))
    assert "\x1b" not in shown
    assert "�[2Jgone" in shown


def why(matched: list[Match], modality: str = "c_nmr", missing: list[Missing] | None = None) -> Reason:
    evidence = {modality: Evidence(1.0, matched, [], missing or [])}
    (reason,) = Explanation(evidence=evidence).reasons()
    return reason


def test_what_an_unmatched_peak_may_be_is_shown() -> None:
    evidence = Evidence(1.0, [], [29.8, 60.4], [], [Foreign(60.4, "ethyl acetate")])
    (reason,) = Explanation(evidence={"c_nmr": evidence}).reasons()
    assert [row.observed for row in texts.peak_rows(reason)] == ["60.4 (ethyl acetate?)", "29.8"]
    assert evidence.to_dict()["foreign"] == [{"position": 60.4, "name": "ethyl acetate"}]
    assert "foreign" not in Evidence(1.0, [], [29.8]).to_dict()


def test_an_error_that_is_not_given_is_worked_out() -> None:
    match = Match(100.0, 103.0, [0], None)
    reason = why([match])
    assert reason.error(match) == pytest.approx(-3.0)
    assert reason.grade(match) == "fair"
    heavy = Match(200.002, 200.0, [], None)
    assert why([heavy], "lc_ms").error(heavy) == pytest.approx(10.0, abs=1e-3)


def test_an_atom_has_the_grade_of_its_worst_peak() -> None:
    matched = [Match(100.0, 100.0, [0, 1], 0.0), Match(50.0, 60.0, [1], -10.0)]
    reason = why(matched, missing=[Missing(20.0, [2], 0.9)])
    assert reason.atom_grades() == {0: "good", 1: "poor", 2: "missing"}


def test_a_peak_of_several_groups_counts_once() -> None:
    twice = [Match(7.0, 7.0 + i / 10, [i], -i / 10) for i in range(2)]
    assert why(twice, "h_nmr").summary().startswith("1 of 1 observed peaks matched")


def test_peaks_are_found_again_after_float32() -> None:
    positions = [153.0546, 93.0335, 1000.123456]
    peaks = ObservedPeaks(Peak(x) for x in positions)
    for x in positions:
        found = peaks.at(float(np.float32(x)))
        assert found is not None
        assert found.position == x
    assert peaks.at(93.05) is None
    assert ObservedPeaks(()).at(1.0) is None


@given(st.lists(st.floats(plots.MARGIN, plots.WIDTH - plots.MARGIN), max_size=80), st.floats(1, 30))
def test_labels_are_pushed_apart_and_stay_inside(places: list[float], gap: float) -> None:
    moved = plots.spread(places, gap)
    apart = min(gap, (plots.WIDTH - 2 * plots.MARGIN) / max(1, len(places) - 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    for before, after in pairwise(order):
        assert moved[after] - moved[before] >= apart - 1e-6
    assert all(plots.MARGIN - 1e-6 <= x <= plots.WIDTH - plots.MARGIN + 1e-6 for x in moved)


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert plots.spread([100.0, 400.0, 200.0], 12.0) == pytest.approx([100.0, 400.0, 200.0])


@given(st.floats(0, 1e4), st.floats(0.01, 1e3))
def test_ticks_lie_on_the_scale(low: float, width: float) -> None:
    to = plots.scale([low, low + width], 0.0, descending=True)
    ticks = to.ticks()
    assert 3 <= len(ticks) <= 14
    assert all(to.low - 1e-6 <= tick <= to.high + 1e-6 for tick in ticks)
    assert to(to.high) < to(to.low)
    assert all(math.isfinite(to(tick)) for tick in ticks)


@pytest.mark.parametrize(
    ("numbers", "shown"), [((), ""), ((3,), "3"), ((1, 0), "0, 1"), ((4, 5, 6, 0), "0, 4–6"), ((2, 2), "2")]
)
def test_atom_numbers(numbers: tuple[int, ...], shown: str) -> None:
    assert texts.atoms(numbers) == shown


def test_numbers_and_formulas_in_words() -> None:
    assert texts.signed(-0.04, 1) == "0.0"
    assert texts.signed(-1.25, 2) == "−1.25"
    assert texts.error(0.5, get("c_nmr")) == "+0.5"
    assert texts.subscripts("C7H6O3+") == "C₇H₆O₃+"
    assert texts.subscripts("C7H6O (+1 H)") == "C₇H₆O (+1 H)"
    assert texts.title("c_nmr+h_nmr") == "¹³C NMR + ¹H NMR"


@pytest.mark.parametrize(
    "smiles", ["C", "[Na+]", "C[C@H](N)C(=O)O", "F/C=C/F", "CC" * 60, CANDIDATES["vanillin"]]
)
def test_drawings_have_classes_and_no_styles(smiles: str) -> None:
    svg = str(drawing(smiles, {0: "good"}))
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>")
    assert "style=" not in svg
    assert "#000" not in svg
    assert svg.count("class='disc good'") == 1
    assert ">0</text>" in svg
    assert 'class="num"' not in str(drawing(smiles))
