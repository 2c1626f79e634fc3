"""The reason for a hit in text and in numbers: facts, labels, scales."""

import io
import math
import re
from itertools import pairwise

import numpy as np
import pytest
from answers import CANDIDATES, answer
from hypothesis import given
from hypothesis import strategies as st

from acml_search.search.reason import axis, facts, words
from acml_search.search.reason.structure import draw
from acml_search.search.reason.text import write_text


def text(*modalities: str, colour: bool = False) -> str:
    out = io.StringIO()
    write_text(answer(list(modalities)), out, colour=colour)
    return out.getvalue()


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
    out = io.StringIO()
    write_text(answer(["c_nmr"], candidates={"\x1b[2Jgone": "CCO"}), out)
    assert "\x1b" not in out.getvalue()
    assert "�[2Jgone" in out.getvalue()


def why(matched: list[dict[str, object]], modality: str = "c_nmr", **rest: object) -> facts.Reason:
    asked = answer([modality], candidates={"m": "CCO"})
    evidence = {modality: {"score": 1.0, "matched": matched, **rest}}
    (reason,) = facts.reasons({"why": {"evidence": evidence}}, asked)
    return reason


def test_an_error_that_is_not_given_is_worked_out() -> None:
    reason = why([{"observed": 100.0, "predicted": 103.0, "atoms": [0]}])
    assert reason.matched[0].error == pytest.approx(-3.0)
    assert reason.matched[0].grade == "fair"
    heavy = why([{"observed": 200.002, "predicted": 200.0}], "lc_ms")
    assert heavy.matched[0].error == pytest.approx(10.0, abs=1e-3)


def test_an_atom_has_the_grade_of_its_worst_peak() -> None:
    reason = why(
        [
            {"observed": 100.0, "predicted": 100.0, "atoms": [0, 1], "error": 0.0},
            {"observed": 50.0, "predicted": 60.0, "atoms": [1], "error": -10.0},
        ],
        unmatched_predicted=[{"position": 20.0, "atoms": [2], "present": 0.9}],
    )
    assert reason.grades() == {0: "good", 1: "poor", 2: "missing"}


def test_a_peak_of_several_groups_counts_once() -> None:
    twice = [{"observed": 7.0, "predicted": 7.0 + i / 10, "atoms": [i], "error": -i / 10} for i in range(2)]
    assert facts.summary(why(twice, "h_nmr")).startswith("1 of 1 observed peaks matched")


def test_peaks_are_found_again_after_float32() -> None:
    positions = [153.0546, 93.0335, 1000.123456]
    peaks = facts.Peaks(facts.Peak(x, x, x, None, None, "") for x in positions)
    for x in positions:
        found = peaks.at(float(np.float32(x)))
        assert found is not None
        assert found.position == x
    assert peaks.at(93.05) is None
    assert facts.Peaks(()).at(1.0) is None


@given(st.lists(st.floats(axis.MARGIN, axis.WIDTH - axis.MARGIN), max_size=80), st.floats(1, 30))
def test_labels_are_pushed_apart_and_stay_inside(places: list[float], gap: float) -> None:
    moved = axis.spread(places, gap)
    apart = min(gap, (axis.WIDTH - 2 * axis.MARGIN) / max(1, len(places) - 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    for before, after in pairwise(order):
        assert moved[after] - moved[before] >= apart - 1e-6
    assert all(axis.MARGIN - 1e-6 <= x <= axis.WIDTH - axis.MARGIN + 1e-6 for x in moved)


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert axis.spread([100.0, 400.0, 200.0], 12.0) == pytest.approx([100.0, 400.0, 200.0])


@given(st.floats(0, 1e4), st.floats(0.01, 1e3))
def test_ticks_lie_on_the_scale(low: float, width: float) -> None:
    to = axis.scale([low, low + width], 0.0, flipped=True)
    ticks = to.ticks()
    assert 3 <= len(ticks) <= 14
    assert all(to.low - 1e-6 <= tick <= to.high + 1e-6 for tick in ticks)
    assert to(to.high) < to(to.low)
    assert all(math.isfinite(to(tick)) for tick in ticks)


@pytest.mark.parametrize(
    ("numbers", "shown"), [((), ""), ((3,), "3"), ((1, 0), "0, 1"), ((4, 5, 6, 0), "0, 4–6"), ((2, 2), "2")]
)
def test_atom_numbers(numbers: tuple[int, ...], shown: str) -> None:
    assert words.atoms(numbers) == shown


def test_numbers_and_formulas_in_words() -> None:
    assert words.signed(-0.04, 1) == "0.0"
    assert words.signed(-1.25, 2) == "−1.25"
    assert words.error(0.5, "c_nmr") == "+0.5"
    assert words.subscripts("C7H6O3+") == "C₇H₆O₃+"
    assert words.subscripts("C7H6O (+1 H)") == "C₇H₆O (+1 H)"
    assert words.name("c_nmr+h_nmr") == "¹³C NMR + ¹H NMR"


@pytest.mark.parametrize(
    "smiles", ["C", "[Na+]", "C[C@H](N)C(=O)O", "F/C=C/F", "CC" * 60, CANDIDATES["vanillin"]]
)
def test_drawings_have_classes_and_no_styles(smiles: str) -> None:
    svg = str(draw(smiles, {0: "good"}))
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>")
    assert "style=" not in svg
    assert "#000" not in svg
    assert svg.count("class='disc good'") == 1
    assert ">0</text>" in svg
    assert 'class="num"' not in str(draw(smiles))
