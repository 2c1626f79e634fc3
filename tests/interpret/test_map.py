"""Maps: places that depend on the seed alone, colours of any column, pages that run no foreign script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from acml_search.cli import main
from acml_search.core.errors import ConfigError
from acml_search.interpret.map import colour_of, draw_map, project
from acml_search.interpret.sample import MoleculeSample, read_sample

NASTY = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp;<!--'


class Blocks(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """A library whose texts try to leave the page."""
    path = tmp_path / "nasty.csv"
    quoted = NASTY.replace('"', '""')
    lines = ["smiles,maker,price", *(f'{"C" * i}O,"{quoted}{i % 2}",{i}' for i in range(1, 31))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def sample(library: Path, nmr_directory: Path) -> MoleculeSample:
    return read_sample(library, n=60, seed=0, model=str(nmr_directory))


def test_a_page_holds_everything_and_runs_one_script(
    nasty: Path, nmr_directory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.html"
    made = draw_map(out, nasty, "c_nmr", "maker", model=str(nmr_directory), command=f"x {NASTY}")
    assert made["molecules"] == 30
    text = out.read_text(encoding="utf-8")
    seen = Blocks()
    seen.feed(text)
    assert [name for name, _ in seen.elements].count("script") == 2
    assert not any(name == "img" for name, _ in seen.elements)
    assert not any(key.startswith("on") for _, given in seen.elements for key in given)
    policy = next(g["content"] for n, g in seen.elements if n == "meta" and "http-equiv" in g)
    digest = base64.b64encode(hashlib.sha256(seen.scripts[1].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    data = json.loads(seen.scripts[0])
    assert len(data["x"]) == len(data["notes"]) == len(data["smiles"]) == 30
    assert all(NASTY in name for name in data["names"])  # as it is: the script shows it as text
    assert 0 <= min(data["x"]) <= max(data["x"]) <= 1


def test_structures_unpack_to_drawings(library: Path, nmr_directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.html"
    draw_map(out, library, "trunk", "price", n=250, model=str(nmr_directory))
    seen = Blocks()
    seen.feed(out.read_text(encoding="utf-8"))
    data = json.loads(seen.scripts[0])
    unpacked = [
        one
        for chunk in data["depictions"]
        for one in json.loads(zlib.decompress(base64.b64decode(chunk), -15).decode())
    ]
    assert len(unpacked) == 250
    assert len(data["depictions"]) == 2
    for smiles, drawing in zip(data["smiles"], unpacked, strict=True):
        assert drawing.startswith('<svg class="mol"')
        assert f"<title>{smiles}</title>" in drawing.replace("&gt;", ">").replace("&#39;", "'")


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("colour", ["logp", "maker", "ketone"])
def test_pictures(ending: str, colour: str, nasty: Path, nmr_directory: Path, tmp_path: Path) -> None:
    out = tmp_path / f"map.{ending}"
    draw_map(out, nasty, "smiles", colour, model=str(nmr_directory))
    begins = {"png": b"\x89PNG", "svg": b"<?xml"}[ending]
    assert out.read_bytes().startswith(begins)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_principal_axes() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, 5)) * [5, 3, 0.1, 0.1, 0.1]).astype(np.float32)
    made = project(x, "pca", seed=0)
    shares = [float(re.findall(r"(\d+)%", name)[0]) / 100 for name in made.axes]
    assert shares[0] > shares[1] > 0.1
    assert sum(shares) == pytest.approx((made.at**2).sum() / ((x - x.mean(axis=0)) ** 2).sum(), abs=0.01)
    assert abs(np.corrcoef(made.at[:, 0], x[:, 0])[0, 1]) > 0.99
    assert np.allclose(project(x[::-1], "pca", seed=1).at[::-1], made.at, atol=1e-3)  # the same side up
    for same in (np.ones((3, 4), np.float32), x[:, :1]):
        assert project(same, "pca", seed=0).at.shape == (len(same), 2)


def test_tsne_keeps_groups_apart() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 20)).astype(np.float32)
    x[30:, 0] += 30
    at = project(x, "tsne", seed=0).at
    assert at.shape == (60, 2)
    between = np.linalg.norm(at[:30].mean(axis=0) - at[30:].mean(axis=0))
    assert between > at[:30].std()
    assert np.array_equal(at, project(x, "tsne", seed=0).at)


@pytest.mark.parametrize(("module", "extra"), [("matplotlib", "maps"), ("sklearn", "maps"), ("umap", "umap")])
def test_a_missing_package_is_named(
    module: str,
    extra: str,
    library: Path,
    nmr_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find(name: str) -> object:
        return None if name == module else find_spec(name)

    monkeypatch.setattr("acml_search.core.extras.find_spec", find)
    method = {"matplotlib": "pca", "sklearn": "tsne", "umap": "umap"}[module]
    with pytest.raises(ConfigError, match=rf'is not installed: pip install "acml-search\[{extra}\]"'):
        draw_map(tmp_path / "map.png", library, method=method, n=20, model=str(nmr_directory))


def test_colours_of_columns_and_concepts(sample: MoleculeSample) -> None:
    price = colour_of(sample, "PRICE")
    assert price.categories is None
    assert price.values.tolist() == [float(str(one.columns["price"])) for one in sample.molecules]
    maker = colour_of(sample, "maker")
    assert maker.categories is not None
    assert maker.categories[0] == "<b>A</b>"  # the more frequent
    names = colour_of(sample, "name")
    assert names.categories is not None
    assert len(names.categories) == 10
    assert names.categories[-1] == "other"
    assert colour_of(sample, "logp").name == "logP"
    assert colour_of(sample, "ketone").categories == ["no ketone", "ketone"]
    with pytest.raises(ConfigError, match=r"no column or concept 'taste'.*maker.*ketone"):
        colour_of(sample, "taste")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"out": "map.pdf"}, "a map is written as .png, .svg, .html"),
        ({"space": "aroma"}, "no space 'aroma'; there are smiles, c_nmr, trunk, Morgan"),
        ({"method": "magic"}, "no method 'magic'; there are pca, umap, tsne"),
    ],
)
def test_unknown_options_are_named(
    change: dict, words: str, library: Path, nmr_directory: Path, tmp_path: Path
) -> None:
    options = {"out": "map.png", "colour": "logp", "n": 20, "model": str(nmr_directory), **change}
    options["out"] = tmp_path / options["out"]
    with pytest.raises(ConfigError, match=re.escape(words)):
        draw_map(where=library, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_command(library: Path, nmr_directory: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "m.html"
    options = ["--model", str(nmr_directory), "--n", "40", "--space", "Morgan", "--out", str(out), "--json"]
    with pytest.raises(SystemExit) as end:
        main(["map", str(library), *options])
    assert end.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["molecules"] == 40
    assert document["bytes"] == out.stat().st_size
