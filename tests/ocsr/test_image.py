"""Pictures as cameras, scanners and screens leave them: turned, framed, deep, damaged."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidRecord
from acml_search.ocsr.depict import draw
from acml_search.ocsr.image import foreground, open_picture
from acml_search.ocsr.styles import PLAIN


def picture(smiles: str = "CC(=O)Nc1ccc(O)cc1") -> Image.Image:
    drawn = draw(parse(smiles)[0], PLAIN).image.convert("L")
    wide = Image.new("L", (drawn.width + 60, drawn.height + 60), 255)
    wide.paste(drawn, (30, 30))
    return wide


def file(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ink(record: object) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return foreground(open_picture(record))[0]


UPRIGHT = ink(picture())


def test_a_photograph_is_turned_as_its_camera_was_held() -> None:
    held = Image.Exif()
    held[0x0112] = 6  # to be turned by a quarter, clockwise
    assert np.array_equal(ink(file(picture().rotate(90, expand=True), "PNG", exif=held)), UPRIGHT)


def test_damaged_notes_of_a_camera_do_not_hinder() -> None:
    damaged = b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40
    assert ink(file(picture(), "JPEG", quality=95, exif=damaged)).shape == UPRIGHT.shape


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("away", [0, 6])
def test_a_frame_is_not_part_of_the_drawing(width: int, away: int) -> None:
    framed = picture()
    corner = (framed.width - 1 - away, framed.height - 1 - away)
    ImageDraw.Draw(framed).rectangle([(away, away), corner], outline=0, width=width)
    seen = ink(framed)
    assert np.abs(np.array(seen.shape) - UPRIGHT.shape).max() <= 2
    assert (seen > 128).mean() == pytest.approx((UPRIGHT > 128).mean(), rel=0.05)


def test_a_ring_is_no_frame() -> None:
    square = Image.new("L", (120, 120), 255)
    ImageDraw.Draw(square).rectangle([20, 20, 99, 99], outline=0, width=2)
    assert ink(square).shape == pytest.approx((84, 84), abs=4)
    ImageDraw.Draw(square).line([20, 60, 60, 60], fill=0, width=2)  # a bond from the ring inwards
    assert ink(square).shape == pytest.approx((84, 84), abs=4)


def test_bold_lines_that_fill_a_patch_of_the_ground_stay_ink() -> None:
    bold = Image.new("1", (320, 256), 1)
    ImageDraw.Draw(bold).line([(40, 60), (160, 128), (280, 60)], fill=0, width=26)
    assert set(np.unique(ink(bold))) == {0, 255}


def test_sixteen_bits_with_a_transparent_grey_are_not_clipped() -> None:
    deep = Image.fromarray(np.asarray(picture()).astype(np.uint16) * 257)
    assert np.array_equal(ink(file(deep, "PNG", transparency=65_535)), UPRIGHT)


def test_a_value_that_is_no_number_is_ground() -> None:
    pixels = np.asarray(picture()).astype(np.float32)
    pixels[:4, :4] = np.nan
    assert np.array_equal(ink(file(Image.fromarray(pixels), "TIFF")), UPRIGHT)


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_too_many_pixels_are_one_sentence(side: int) -> None:
    with pytest.raises(InvalidRecord, match=r"pixels.*; cut the structure out first"):
        ink(file(Image.new("1", (side, side), 1), "PNG"))


def test_what_is_no_picture_is_one_sentence() -> None:
    with pytest.raises(InvalidRecord, match=r"no picture of a kind that is known; give a PNG or JPEG file$"):
        ink(b"no picture at all")
