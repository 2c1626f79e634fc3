"""Letters of labels: read from the picture, weighed by what they can mean."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from acml_search.ocsr.assemble import SYMBOLS, assemble
from acml_search.ocsr.hypotheses import NO_DETECTIONS, Detections, best_hypothesis
from acml_search.ocsr.labels import with_labels
from acml_search.ocsr.letters import Line, text_lines

BOND = 60.0
"""pixels"""


def ink(text: str, size: int = 26) -> np.ndarray:
    """A label as drawings write it, digits lowered."""
    picture = Image.new("L", (40 * len(text) + 40, 80), 0)
    pen, x = ImageDraw.Draw(picture), 20.0
    for letter in text:
        font = ImageFont.load_default(round(size * 0.72) if letter.isdecimal() else size)
        pen.text((x, 20 + (size * 0.5 if letter.isdecimal() else 0)), letter, 255, font)
        x += font.getlength(letter) + 2
    return np.asarray(picture)


@pytest.mark.parametrize(
    "text", ["OCH3", "H3CO", "CO2Me", "NH2", "SO2NH2", "N(CH3)2", "OCF3", "NHBoc", "C2H5"]
)
def test_a_label_is_read_in_a_font_that_no_training_saw(text: str) -> None:
    (line,) = text_lines(ink(text), BOND)
    assert text in [one for one, _ in line.texts[:2]]
    costs = [cost for _, cost in line.texts]
    assert costs == sorted(costs)


def test_strokes_are_no_line() -> None:
    pixels = ink("N").copy()
    pixels[60:63, 10:60] = 255
    assert [line.texts[0][0] for line in text_lines(pixels, BOND)] == ["N"]
    assert text_lines(np.zeros((30, 30), np.uint8), BOND) == []


def detections(symbols: list[str], orders: list[int], xy: list[tuple[float, float]]) -> Detections:
    """A chain of atoms, all certain."""
    table = np.full((len(symbols), len(SYMBOLS)), np.log(1e-4))
    table[np.arange(len(symbols)), [SYMBOLS.index(one) for one in symbols]] = -0.01
    bonds = np.full((len(orders), 6), np.log(1e-3))
    bonds[np.arange(len(orders)), orders] = -0.01
    counts = np.full((len(symbols), 5), np.log(1e-4))
    counts[:, 0] = -0.01
    charges = np.roll(counts, 2, axis=1)
    pairs = np.array([(i, i + 1) for i in range(len(orders))]).reshape(-1, 2)
    return Detections(
        np.array(xy, np.float32),
        np.full(len(symbols), 0.95, np.float32),
        table,
        counts,
        charges,
        pairs,
        bonds,
    )


def written(found: Detections) -> str:
    return assemble(*best_hypothesis(found)[1:5]).smiles


CHAIN = [(0.0, 0.0), (14.0, 8.0), (28.0, 0.0), (34.0, 0.0)]


def test_letters_replace_the_nearest_label_that_the_detector_knows() -> None:
    found = detections(["", "", "OiBu"], [1, 1], CHAIN[:3])
    assert written(found) == "CCOCC(C)C"
    label = Line((24, -4, 44, 4), (("OCH3", 0.4), ("0CH3", 3.0)))
    assert written(with_labels(found, [label])) == "CCOC"


def test_a_letter_alone_is_weighed_against_the_detector() -> None:
    found = detections(["", "", "O"], [1, 2], CHAIN[:3])
    found.symbols[2, SYMBOLS.index("S")] = np.log(0.3)
    assert written(found) == "CC=O"
    assert written(with_labels(found, [Line((25, -3, 31, 3), (("S", 0.1), ("5", 2.0)))])) == "CC=S"
    assert written(with_labels(found, [Line((25, -3, 31, 3), (("I", 0.1),))])) == "CC=O"


def test_points_within_a_label_are_one_group() -> None:
    found = detections(["", "", "N", "C"], [1, 1, 1], CHAIN)
    assert written(with_labels(found, [Line((24, -4, 60, 4), (("N(CH2CH3)2", 0.8),))])) == "CCN(CC)CC"


def test_letters_between_two_bonds_know_their_ends() -> None:
    found = detections(["N", "O", "F"], [1, 1], [(0.0, 0.0), (16.0, 0.0), (36.0, 0.0)])
    assert written(with_labels(found, [Line((12, -4, 24, 4), (("CO2", 0.3),))])) == "NC(=O)OF"


def test_a_bond_gives_way_to_letters_that_leave_no_valence_for_it() -> None:
    found = detections(["", "", "C"], [1, 2], CHAIN[:3])
    found.orders[1] = np.log([0.02, 0.38, 0.6, 1e-3, 1e-3, 1e-3])
    label = [Line((24, -4, 40, 4), (("CH3", 0.2),))]
    assert written(with_labels(found, label)) == "CCC"


def test_a_label_beyond_all_grammar_is_said_and_changes_nothing() -> None:
    found = detections(["", "", "OiBu"], [1, 1], CHAIN[:3])
    seen = with_labels(found, [Line((24, -4, 44, 4), (("OQ", 0.2), ("0Q", 1.0)))])
    assert seen.doubts == ("OQ",)
    assert written(seen) == written(found)


def test_letters_with_few_chances_and_captions_change_nothing() -> None:
    found = detections(["", "", "OMe"], [1, 1], CHAIN[:3])
    unsure = with_labels(found, [Line((24, -4, 44, 4), (("8(1H", 30.0),))])
    assert unsure.doubts == ()
    assert written(unsure) == written(found)
    assert with_labels(found, [Line((0, 90, 20, 99), (("TPD", 0.1),))]) is found
    assert with_labels(NO_DETECTIONS, [Line((0, 0, 9, 9), (("OH", 0.1),))]) is NO_DETECTIONS


def test_counter_ions_are_kept_and_captions_are_left_out() -> None:
    found = detections(["", "", "N", "", ""], [1, 1, 0, 1], [*CHAIN[:3], (0.0, 60.0), (12.0, 60.0)])
    assert written(found) == "CC.CCN"
    kept = with_labels(found, [Line((-2, 56, 20, 64), (("Chiral", 0.9),))])
    assert written(kept) == "CCN"
    assert written(with_labels(kept, [Line((60, 0, 80, 8), (("2HCl", 0.9),))])) == "CCN.Cl.Cl"
