"""Drawings of both families with the truth beside them, and structures as a reader gets them wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import MOLECULES
from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import TanimotoSimilarity

from acml_search.ocsr.assemble import assemble
from acml_search.ocsr.depict import Drawing, draw, png
from acml_search.ocsr.styles import (
    HELD_OUT_EFFECTS,
    HELD_OUT_FONTS,
    PLAIN,
    Effect,
    Style,
    apply_effects,
    held_out_style,
)
from acml_search.training.ocsr_noise import ERRORS, misread, standard_smiles
from acml_search.training.picture_styles import TRAINING_EFFECTS, TRAINING_FONTS, training_style

SMILES = "CC(=O)Nc1ccc(O)cc1"
PARACETAMOL = Chem.MolFromSmiles(SMILES)
EFFECTS = TRAINING_EFFECTS | HELD_OUT_EFFECTS


def structure(drawing: Drawing) -> str:
    """InChIKey block of what the truth of a drawing says."""
    bonds = [(int(a), int(b), int(o)) for (a, b), o in zip(drawing.bonds, drawing.orders, strict=True)]
    found = assemble(drawing.symbols, drawing.hydrogens.tolist(), drawing.charges.tolist(), bonds).smiles
    return Chem.MolToInchiKey(Chem.MolFromSmiles(found))[:14]


@pytest.mark.parametrize("family", [training_style, held_out_style])
@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_truth_of_a_drawing_is_the_molecule(
    smiles: str, family: Callable[[np.random.Generator], Style]
) -> None:
    mol, rng = Chem.MolFromSmiles(smiles), np.random.default_rng(7)
    for _ in range(2):
        assert structure(draw(mol, family(rng))) == Chem.MolToInchiKey(mol)[:14]


def test_a_seed_gives_one_style_and_one_picture() -> None:
    assert png(draw(PARACETAMOL).image) == png(draw(PARACETAMOL, PLAIN).image)
    for family in (training_style, held_out_style):
        a, b = (family(np.random.default_rng(4)) for _ in range(2))
        assert a == b
        for mode in (a.mode, "comic"):
            first, second = (draw(PARACETAMOL, replace(one, mode=mode)) for one in (a, b))
            assert png(first.image) == png(second.image)


def test_families_share_no_font_effect_or_line() -> None:
    assert not set(TRAINING_FONTS) & set(HELD_OUT_FONTS)
    assert not set(TRAINING_EFFECTS) & set(HELD_OUT_EFFECTS)
    rng = np.random.default_rng(7)
    trained = [training_style(rng) for _ in range(300)]
    held = [held_out_style(rng) for _ in range(300)]
    for trait in ("font", "line", "palette"):
        assert not {getattr(s, trait) for s in trained} & {getattr(s, trait) for s in held}, trait
    assert {style.mode for style in trained} == {"free"}
    assert {style.mode for style in held} == {"free", "acs", "comic"}


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_moves_the_truth_with_the_picture(name: str) -> None:
    """A cross drawn by hand: its dark centre is where the effect says it went."""
    pixels = np.full((90, 140), 255, np.uint8)
    pixels[28:33, 35:66] = 0
    pixels[15:46, 48:53] = 0
    low, high, function = EFFECTS[name]
    image, xy = apply_effects(
        Image.fromarray(pixels),
        np.array([[50.5, 30.5]], np.float32),
        (Effect(name, high, function),),
        np.random.default_rng(1),
    )
    worn = np.asarray(image, float)
    assert (worn != 255).any()
    x, y = np.rint(xy[0] - 0.5).astype(int)
    assert worn[y - 1 : y + 2, x - 1 : x + 2].mean() < worn.mean() - 40
    # 12 pixels off, diagonally, there is paper.
    assert worn[y + 11 : y + 14, x + 11 : x + 14].mean() > 100
    assert low < high


@pytest.mark.parametrize("hashes", ["dashes", "bars"])
def test_a_hashed_bond_is_drawn_with_gaps_and_no_other_is(hashes: str) -> None:
    mol = Chem.MolFromSmiles("C[C@@H](CC)CCC")
    drawing = draw(mol, Style(palette="black", bond=60.0, hashes=hashes))
    pixels = np.asarray(drawing.image.convert("RGB"))
    for (a, b), wedge in zip(drawing.bonds, drawing.wedges, strict=True):
        steps = np.linspace(drawing.xy[a], drawing.xy[b], 60)[8:-8]
        dark = np.array([pixels[int(y), int(x)].mean() < 128 for x, y in steps])
        assert ((np.diff(dark.astype(int)) > 0).sum() > 1) == (wedge == 3)


def test_a_white_drawing_on_a_dark_ground_stays_one() -> None:
    paper = Effect("paper", 5.0, HELD_OUT_EFFECTS["paper"].function)
    style = Style(palette=((1.0, 1.0, 1.0),) * 2, background=(0.0, 0.0, 0.0), effects=(paper,))
    assert np.median(np.asarray(draw(PARACETAMOL, style).image)) < 60


def test_atoms_with_letters_stand_on_ink() -> None:
    drawing = draw(PARACETAMOL, Style(palette="black", bond=40.0))
    pixels = np.asarray(drawing.image.convert("L"))
    assert sorted(s for s in drawing.symbols if s) == ["N", "O", "O"]
    for (x, y), symbol in zip(drawing.xy, drawing.symbols, strict=True):
        if symbol:
            top, left = max(int(y) - 12, 0), max(int(x) - 12, 0)
            assert pixels[top : int(y) + 13, left : int(x) + 13].min() < 80


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([*MOLECULES, "C", "[Na+]", "O"]), st.integers(0, 10_000))
def test_a_misread_structure_is_one_that_rdkit_accepts(smiles: str, seed: int) -> None:
    wrong = misread(smiles, np.random.default_rng(seed))
    mol = Chem.MolFromSmiles(wrong)
    assert mol is not None
    assert mol.GetNumAtoms() > 0
    assert "@" not in wrong
    assert wrong == misread(smiles, np.random.default_rng(seed))


def test_misread_structures_differ_and_stay_similar() -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=1)
    own = generator.GetCountFingerprint(PARACETAMOL)
    wrong = [misread(SMILES, np.random.default_rng(seed)) for seed in range(200)]
    assert wrong.count(SMILES) == 0
    assert len(set(wrong)) > 100
    similar = [TanimotoSimilarity(own, generator.GetCountFingerprint(Chem.MolFromSmiles(x))) for x in wrong]
    assert np.median(similar) > 0.35  # of two molecules of the library 0.1
    with pytest.raises(ValueError, match="cannot read"):
        misread("C(", np.random.default_rng(0))


@pytest.mark.parametrize("error", ERRORS)
def test_every_misreading_can_happen(
    error: Callable[[Chem.RWMol, np.random.Generator], None],
) -> None:
    mol = Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1.[NH3+]CC")
    found = set()
    for seed in range(30):
        wrong = Chem.RWMol(mol)
        Chem.Kekulize(wrong, clearAromaticFlags=True)
        error(wrong, np.random.default_rng(seed))
        found.add(standard_smiles(wrong))
    assert found - {None, Chem.MolToSmiles(mol)}
