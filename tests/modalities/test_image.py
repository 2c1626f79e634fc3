"""Pictures as users have them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rdkit import Chem, DataStructs

from acml_search import modalities
from acml_search.chem.fingerprints import morgan_counts
from acml_search.core.errors import InvalidRecord
from acml_search.ocsr.depict import draw, png
from acml_search.ocsr.hypotheses import Hypothesis
from acml_search.ocsr.reader import Recognition, split_pictures
from acml_search.ocsr.styles import Style

PICTURES = modalities.get("image")
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
PLAIN = PICTURES.derive(ASPIRIN)


def picture() -> Image.Image:
    return Image.open(BytesIO(PLAIN)).convert("RGB")


def file(image: Image.Image, kind: str, **options: int) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


class TestRead:
    def test_every_form_of_one_picture_reads_alike(self, tmp_path: Path) -> None:
        path = tmp_path / "aspirin.png"
        path.write_bytes(PLAIN)
        expected = PICTURES.read(PLAIN)
        assert expected.dtype == np.uint8
        assert expected.max() == 255
        for form in (path, str(path), np.asarray(picture()), picture(), file(picture(), "BMP")):
            assert np.array_equal(PICTURES.read(form), expected)

    def test_a_negative_reads_as_the_positive(self) -> None:
        negative = Image.fromarray(255 - np.asarray(picture()))
        assert np.array_equal(PICTURES.read(negative), PICTURES.read(picture()))

    def test_margins_do_not_matter(self) -> None:
        wide = Image.new("RGB", (700, 500), "white")
        wide.paste(picture(), (333, 111))
        assert PICTURES.read(wide).shape == PICTURES.read(picture()).shape

    def test_a_transparent_ground_reads_as_paper(self) -> None:
        mol = Chem.MolFromSmiles(ASPIRIN)
        for colour in (0.0, 1.0):  # black ink, white ink: both without paper
            ink = ((colour,) * 3,) * 2
            clear = draw(mol, Style(palette=ink, background=(1 - colour,) * 3 + (0.0,))).image
            on_paper = draw(mol, Style(palette=ink, background=(1 - colour,) * 3)).image
            assert clear.mode == "RGBA"
            a, b = (PICTURES.read(x).astype(int) for x in (clear, on_paper))
            assert a.shape == b.shape
            assert np.abs(a - b).mean() < 8

    def test_shade_and_jpeg_leave_the_ink(self) -> None:
        pixels = np.asarray(picture().convert("L"), float)
        shade = np.linspace(1, 0.6, pixels.shape[1])
        shaded = Image.fromarray((pixels * shade).astype(np.uint8))
        clean = PICTURES.read(picture().convert("L"))
        worn = PICTURES.read(file(shaded, "JPEG", quality=60))
        assert abs(worn.shape[0] - clean.shape[0]) <= 6
        assert abs(worn.shape[1] - clean.shape[1]) <= 6
        assert (worn > 128).mean() == pytest.approx((clean > 128).mean(), rel=0.5)

    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            (np.full((50, 50), 255, np.uint8), "even ground"),
            (np.zeros((0, 0), np.uint8), "no pixels"),
            (np.zeros((50, 50)), "not uint8"),
            (np.zeros((8, 8, 7), np.uint8), "opened"),
            (PLAIN[:200], "opened"),
            (b"GIF89a nonsense", "no picture of a kind"),
            ("no/such/file.png", "no file"),
            (Image.new("1", (9000, 9000)), "too many"),
            (7, "no picture"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, record: object, reason: str) -> None:
        with pytest.raises(InvalidRecord, match=reason):
            PICTURES.read(record)

    def test_tiny_pictures_do_not_break_it(self) -> None:
        for side in (5, 12, 40):
            pixels = np.full((side, side), 255, np.uint8)
            pixels[side // 2 - 2 : side // 2 + 1, 1:-1] = 0
            assert PICTURES.read(pixels).size
        with pytest.raises(InvalidRecord, match="even ground"):
            PICTURES.read(np.zeros((1, 1), np.uint8))


def test_a_batch_gives_its_pictures_back() -> None:
    from acml_search.networks import tensors

    rng = np.random.default_rng(7)
    items = [PICTURES.read(PICTURES.example(rng)) for _ in range(3)]
    for item, back in zip(items, split_pictures(tensors(PICTURES.collate(items))), strict=True):
        assert np.array_equal(item, back)


@pytest.mark.parametrize(
    ("smiles", "drawn", "doubts", "said"),
    [
        ("CCO", "CCO", (), "CCO (probability {:.2f})"),
        ("CCN", "CCN.Cl", (), "CCN (probability {:.2f}), of 2 separate pieces that are drawn: CCN.Cl"),
        ("CCO", "CCO", ("OQ",), "CCO (probability {:.2f}); no group that we know is written OQ: check it"),
    ],
)
def test_what_was_read_is_said(
    smiles: str, drawn: str, doubts: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = PICTURES.encoder(**PICTURES.tiny_config)
    sure = Hypothesis(np.full((1, 2), 16, np.float32), ["O"], [1], [0], [], 1.0, [], [0.99])
    found = Recognition(smiles, sure, 1.0, ((smiles, 1.0),), drawn, doubts)
    monkeypatch.setattr(encoder, "read", lambda ink: found)
    one = PICTURES.reading(encoder, PICTURES.observe(PLAIN))
    assert one.said.removeprefix("image: ").removeprefix("not sure, ") == "read as " + said.format(
        one.probability
    )
    assert not one.doubtful
    doubtful = sure._replace(certainties=[0.02], confidence=0.9)
    found = found._replace(hypothesis=doubtful, alternatives=((smiles, 0.4), ("C", 0.6)))
    other = PICTURES.reading(encoder, PICTURES.observe(PLAIN))
    assert other.probability < min(one.probability, 0.5)
    assert other.said.startswith("image: not sure, read as ")
    ((x, y),) = other.doubtful
    assert (x, y) == pytest.approx((8 / other.ink.shape[1], 8 / other.ink.shape[0]))


def test_a_structure_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="RDKit cannot read"):
        PICTURES.derive("C1CC")


def test_png_keeps_every_pixel() -> None:
    drawn = draw(Chem.MolFromSmiles(ASPIRIN)).image
    assert np.array_equal(np.asarray(Image.open(BytesIO(png(drawn)))), np.asarray(drawn))


def test_all_that_a_picture_may_show_is_compared() -> None:
    seen = Recognition(
        "CCO", Hypothesis(np.zeros((0, 2)), [], [], [], []), 1.0, (("CCO", 0.75), ("CCN", 0.25))
    )
    reader = SimpleNamespace(read=lambda ink: seen, configuration=lambda ink: None)
    model = SimpleNamespace(network=SimpleNamespace(tower=lambda name: SimpleNamespace(encoder=reader)))
    chosen, mols = PICTURES.reranker(), [Chem.MolFromSmiles(one) for one in ("CCO", "CCN", "CCS")]
    likely, other, neither = chosen.scores(model, np.zeros((1, 1)), chosen.prepare(model, mols))
    assert likely > other > neither > 0
    assert likely == pytest.approx(0.75 + 0.25 * DataStructs.TanimotoSimilarity(*morgan_counts(mols[:2])))
