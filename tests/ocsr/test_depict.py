"""Drawings: the truth beside a picture is what stands in it, in every style; the families differ."""

from __future__ import annotations

import numpy as np
import pytest
from molecules import MOLECULES
from PIL import Image
from rdkit import Chem

from acml_search.ocsr.assemble import assemble
from acml_search.ocsr.depict import Drawing, draw, png
from acml_search.ocsr.fonts import HELD_OUT_FONTS, TRAINING_FONTS
from acml_search.ocsr.image_augment import HELD_OUT_EFFECTS, TRAINING_EFFECTS, apply
from acml_search.ocsr.styles import PLAIN, Style, held_out_style, training_style

PARACETAMOL = Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1")


def structure(drawing: Drawing) -> str:
    """What the truth of a drawing says."""
    bonds = [(int(a), int(b), int(o)) for (a, b), o in zip(drawing.bonds, drawing.orders, strict=True)]
    return assemble(drawing.symbols, drawing.hydrogens.tolist(), drawing.charges.tolist(), bonds).smiles


def block(smiles: str) -> str:
    return Chem.MolToInchiKey(Chem.MolFromSmiles(smiles))[:14]


@pytest.mark.parametrize("family", [training_style, held_out_style])
@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_truth_of_a_drawing_is_the_molecule(smiles: str, family: object) -> None:
    rng = np.random.default_rng(7)
    for _ in range(4):
        drawing = draw(Chem.MolFromSmiles(smiles), family(rng))  # type: ignore[operator]
        assert block(structure(drawing)) == block(smiles)


def test_a_plain_drawing_is_always_the_same() -> None:
    assert png(draw(PARACETAMOL).image) == png(draw(PARACETAMOL, PLAIN).image)


def test_a_seed_gives_one_style_and_one_picture() -> None:
    for family in (training_style, held_out_style):
        a, b = (family(np.random.default_rng(4)) for _ in range(2))
        assert a == b
        assert a.mode != "comic"
        assert png(draw(PARACETAMOL, a).image) == png(draw(PARACETAMOL, b).image)


def test_families_share_no_font_effect_or_line() -> None:
    assert not set(TRAINING_FONTS) & set(HELD_OUT_FONTS)
    assert not set(TRAINING_EFFECTS) & set(HELD_OUT_EFFECTS)
    rng = np.random.default_rng(7)
    trained = [training_style(rng) for _ in range(300)]
    held = [held_out_style(rng) for _ in range(300)]
    for trait in ("font", "line", "palette", "layout"):
        seen = {getattr(style, trait) for style in trained}
        assert len(seen) >= 1
        assert not seen & {getattr(style, trait) for style in held}, trait
    assert {style.mode for style in trained} == {"free"}
    assert {style.mode for style in held} == {"free", "acs", "comic"}


@pytest.mark.parametrize("name", [*TRAINING_EFFECTS, *HELD_OUT_EFFECTS])
def test_an_effect_moves_the_truth_with_the_picture(name: str) -> None:
    """A cross drawn by hand: its dark centre is where the effect says it went."""
    pixels = np.full((90, 140), 255, np.uint8)
    pixels[28:33, 35:66] = 0
    pixels[15:46, 48:53] = 0
    low, high = (TRAINING_EFFECTS | HELD_OUT_EFFECTS)[name]
    image, xy = apply(
        Image.fromarray(pixels),
        np.array([[50.5, 30.5]], np.float32),
        ((name, high),),
        np.random.default_rng(1),
    )
    worn = np.asarray(image, float)
    assert (worn != 255).any()
    x, y = np.rint(xy[0] - 0.5).astype(int)
    assert worn[y - 1 : y + 2, x - 1 : x + 2].mean() < worn.mean() - 40
    # 12 pixels off, diagonally, there is paper.
    assert worn[y + 11 : y + 14, x + 11 : x + 14].mean() > 100
    assert low < high


def test_a_white_drawing_on_a_dark_ground_stays_one() -> None:
    style = Style(palette=((1.0, 1.0, 1.0),) * 2, background=(0.0, 0.0, 0.0), effects=(("paper", 5.0),))
    assert np.median(np.asarray(draw(PARACETAMOL, style).image)) < 60


def test_atoms_with_letters_stand_on_ink() -> None:
    drawing = draw(PARACETAMOL, Style(palette="black", bond=40.0))
    pixels = np.asarray(drawing.image.convert("L"))
    assert sorted(s for s in drawing.symbols if s) == ["N", "O", "O"]
    for (x, y), symbol in zip(drawing.xy, drawing.symbols, strict=True):
        if symbol:
            top, left = max(int(y) - 12, 0), max(int(x) - 12, 0)
            assert pixels[top : int(y) + 13, left : int(x) + 13].min() < 80
