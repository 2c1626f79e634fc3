"""What a picture shows: parts, signs, frames, highlights, pages; and what is no structure."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from picture_files import ASPIRIN, PARACETAMOL, drawn, page
from PIL import Image, ImageDraw, ImageFont
from rdkit import Chem
from rdkit.Chem import rdChemReactions
from rdkit.Chem.Draw import rdMolDraw2D
from scipy.ndimage import gaussian_filter

from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.encoders.checkpoint import load_model
from acml_search.modalities import get
from acml_search.ocsr.image import foreground
from acml_search.ocsr.page import cut, no_structure, parts


def png(canvas: Any) -> Image.Image:
    canvas.FinishDrawing()
    return Image.open(BytesIO(canvas.GetDrawingText())).convert("RGB")


def text(image: Image.Image, at: tuple[float, float], written: str, size: float = 20) -> Image.Image:
    ImageDraw.Draw(image).text(at, written, "black", ImageFont.load_default(size))
    return image


def file(images: list[Image.Image], kind: str) -> bytes:
    out = BytesIO()
    images[0].save(out, kind, save_all=True, append_images=images[1:])
    return out.getvalue()


@pytest.fixture(scope="module")
def reader() -> Any:
    return load_model("acml-base", spaces={"image"}).network.tower("image").encoder


def why(reader: Any, image: Image.Image) -> list[str | None]:
    """Of each part, why it is no structure."""
    read = []
    for part in parts(image):
        ink = foreground(part.image)[0]
        read.append(no_structure(ink, reader.read(ink), part.box is not None))
    return read


@pytest.mark.parametrize(
    "smiles", [PARACETAMOL, "CCO", "[N-]=[N+]=NCc1ccccc1", "C1CCC1", "[O-][n+]1ccccc1", "ClCCl"]
)
def test_one_structure_is_left_as_it_is(smiles: str) -> None:
    image = drawn(smiles)
    ((kept, box),) = cut(image)
    assert kept is image
    assert box is None


def test_structures_side_by_side_are_parts_from_left_to_right() -> None:
    two = text(page(ASPIRIN, PARACETAMOL), (60, drawn(ASPIRIN).height + 20), "(46)")
    (first, _), (second, _) = cut(two)
    for found, smiles in ((first, ASPIRIN), (second, PARACETAMOL)):
        ink, alone = foreground(found)[0], foreground(drawn(smiles))[0]
        assert np.abs(np.array(ink.shape) - alone.shape).max() <= 2


def test_signs_of_a_reaction_and_letters_over_its_arrow_are_left_out(reader: Any) -> None:
    canvas = rdMolDraw2D.MolDraw2DCairo(1200, 250)
    scheme = f"CC(=O)Cl.Nc1ccc(O)cc1>>{PARACETAMOL}"
    canvas.DrawReaction(rdChemReactions.ReactionFromSmarts(scheme, useSmiles=True))
    image = text(png(canvas), (610, 60), "NaOH", 16)
    assert [reader.read(foreground(part.image)[0]).smiles for part in parts(image)] == [
        "CC(=O)Cl", "Nc1ccc(O)cc1", PARACETAMOL,
    ]  # fmt: skip
    assert why(reader, image) == [None, None, None]


def test_a_raised_dot_joins_acid_and_base() -> None:
    salt = page(PARACETAMOL, ASPIRIN)
    middle, high = drawn(PARACETAMOL).width + 30, drawn(ASPIRIN).height // 2
    ImageDraw.Draw(salt).ellipse([(middle - 3, high - 3), (middle + 3, high + 3)], "black")
    assert len(cut(salt)) == 1


def test_an_acid_behind_a_raised_dot_is_read_and_an_underlined_caption_is_not(reader: Any) -> None:
    alone = drawn(PARACETAMOL)
    salt = Image.new("RGB", (alone.width + 160, alone.height + 60), "white")
    salt.paste(alone)
    pen, high = ImageDraw.Draw(salt), alone.height // 2
    pen.ellipse([(alone.width + 37, high - 3), (alone.width + 43, high + 3)], "black")
    text(salt, (alone.width + 80, high - 12), "HCl", 22)
    text(salt, (60, alone.height + 20), "Process A")
    pen.line([(60, alone.height + 46), (160, alone.height + 46)], "black", 2)
    (part,) = parts(salt)
    assert reader.read(foreground(part.image)[0]).drawn == f"{Chem.CanonSmiles(PARACETAMOL)}.Cl"


def test_a_highlight_is_taken_off() -> None:
    mol = Chem.MolFromSmiles(PARACETAMOL)
    inks = []
    for atoms in ([], [0, 1, 2, 3]):
        canvas = rdMolDraw2D.MolDraw2DCairo(450, 350)
        canvas.drawOptions().useBWAtomPalette()
        rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol, highlightAtoms=atoms)
        ((image, _),) = cut(png(canvas))
        inks.append(foreground(image)[0])
    bare, highlighted = ((ink > 128).mean() for ink in inks)
    assert highlighted == pytest.approx(bare, rel=0.1)


def test_a_window_around_is_left_out() -> None:
    structure = drawn(PARACETAMOL)
    window = Image.new("RGB", (structure.width + 300, structure.height + 300), (239, 239, 239))
    pen = ImageDraw.Draw(window)
    pen.rectangle([(0, 0), (window.width, 60)], (59, 89, 160))
    pen.text((20, 20), "Untitled 1   File Edit View", "white", ImageFont.load_default(14))
    pen.rectangle([(60, 90), (window.width - 60, window.height - 40)], "white", "black")
    window.paste(structure, (150, 150))
    ((found, box),) = cut(window)
    assert box is not None
    assert np.abs(np.array(foreground(found)[0].shape) - foreground(structure)[0].shape).max() <= 2


def test_pages_of_a_tiff_are_read_in_turn() -> None:
    pages = [page(ASPIRIN, PARACETAMOL), Image.new("RGB", (300, 200), "white"), drawn(PARACETAMOL)]
    assert [part.page for part in parts(file(pages, "TIFF"))] == [1, 1, 3]


def test_pages_of_a_pdf_are_read_in_turn() -> None:
    pytest.importorskip("pypdfium2")
    pages = [
        page(ASPIRIN, PARACETAMOL),
        text(Image.new("RGB", (600, 800), "white"), (50, 50), "Results"),
        drawn(ASPIRIN),
    ]
    assert [part.page for part in parts(file(pages, "PDF"))] == [1, 1, 3]
    with pytest.raises(InvalidRecord, match="as a PDF"):
        parts(b"%PDF-1.4 nonsense")


def test_a_pdf_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acml_search.core.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "acml-search\[pdf\]"'):
        parts(b"%PDF-1.4")


def test_what_is_no_molecule_is_refused(reader: Any) -> None:
    plot = Image.new("RGB", (500, 350), "white")
    pen = ImageDraw.Draw(plot)
    pen.rectangle([(60, 20), (480, 300)], outline="black")
    x = np.arange(60, 480)
    y = 280 - 200 * np.exp(-(((x - 180) / 8) ** 2)) - 100 * np.exp(-(((x - 350) / 8) ** 2))
    pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), "blue", 2)
    words = Image.new("RGB", (500, 200), "white")
    for row in range(6):
        text(words, (10, 5 + 30 * row), "The mixture was stirred for two hours")
    clouds = gaussian_filter(np.random.default_rng(1).normal(size=(300, 300)), 5) > 0.02
    noise = Image.fromarray(np.where(clouds, 0, 255).astype(np.uint8))
    mol = Chem.MolFromSmiles("*c1ccc(C(=O)N*)cc1")
    canvas = rdMolDraw2D.MolDraw2DCairo(400, 300)
    canvas.drawOptions().dummiesAreAttachments = True
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    for image in (plot, noise):
        assert all("no structure" in str(one) for one in why(reader, image))
    with pytest.raises(InvalidRecord, match="no structure, but letters"):
        parts(words)
    assert "wavy line" in str(why(reader, png(canvas)))
    for smiles in (PARACETAMOL, "Ic1ccccc1", "CC(C)(C)c1ccccc1", "FC(F)(F)c1ccccc1", "C1CCC1", "CCO"):
        assert why(reader, drawn(smiles)) == [None]


@pytest.mark.parametrize(
    ("label", "said"), [("R<sub>1</sub>", "label R,"), ("Ar", "label Ar"), ("X", "label X"), ("*", "point")]
)
def test_a_label_that_names_no_group_is_refused(reader: Any, label: str, said: str) -> None:
    mol = Chem.MolFromSmiles("*c1ccc(C(=O)NC)cc1")
    mol.GetAtomWithIdx(0).SetProp("_displayLabel", label)
    canvas = rdMolDraw2D.MolDraw2DCairo(400, 300)
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    assert said in str(why(reader, png(canvas)))


def test_a_picture_of_several_asks_which_one(tmp_path: Any) -> None:
    path = tmp_path / "two.png"
    page(ASPIRIN, PARACETAMOL).save(path)
    image = get("image")
    with pytest.raises(InvalidRecord, match=r"shows several structures \(2\)"):
        image.read_input(str(path))
    assert image.read_input(f"{path}#2").given == f"{path}#2"
    assert [one.given for one in image.read_parts(str(path))] == [f"{path}#1", f"{path}#2"]
    with pytest.raises(InvalidRecord, match="there is no"):
        image.read_input(f"{path}#3")


@pytest.mark.parametrize("smiles", ["C[N+](C)(C)CCO.[Cl-]", "C[N+](C)(C)CCO", "NCCO", "OCCO"])
def test_a_small_molecule_is_no_line_of_letters(reader: Any, smiles: str) -> None:
    image = get("image")
    read = reader.read(image.read(image.derive(smiles)))
    assert read.smiles == Chem.CanonSmiles(smiles.partition(".")[0])
