"""How many pictures that show no molecule are refused, and how many that show one?

    python -m benchmarks.refusals

200 pictures are made, seeded, of the kinds of `KINDS` in turn. All but the last six kinds (`KEPT_ASIDE`) were
looked at, made with another seed, when the limits of `ocsr.page` were chosen, and so were the scans of single
molecules beside them (`--pictures`, a folder with `truth.csv`). Of a reaction scheme every structure, and
nothing else, is to be a part. Shares with 95 % intervals (Wilson 1927).
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable
from io import BytesIO
from itertools import chain, pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rdkit import Chem, rdBase
from rdkit.Chem import rdChemReactions
from rdkit.Chem.Draw import rdMolDraw2D
from scipy.ndimage import gaussian_filter

from acml_search.cli.app import command_line
from acml_search.core.errors import InvalidRecord
from acml_search.core.io import write_json
from acml_search.core.progress import progress
from acml_search.encoders.checkpoint import load_model
from acml_search.evaluation.results import check_out
from acml_search.ocsr.image import foreground
from acml_search.ocsr.page import no_structure, parts
from benchmarks.pictures import _share, _text

PICTURES, OUT = Path("../shared/data/pictures"), Path("benchmarks/results/refusals.json")
N, REACTIONS_DRAWN, SEED = 200, 50, 28
Rng = np.random.Generator
TEXT = (
    "The mixture was stirred for two hours at room temperature and then poured into water Yield of product "
    "after column chromatography (hexane ethyl acetate) 3.4 g 72 % Figure Table results show that all samples"
)
WORDS = TEXT.split()
LABELS = ["R", "R1", "R2", "R'", "Ar", "X", "*", "Y", "R3", "Z"]
CORES = [
    "*c1ccc(C(=O)N*)cc1", "CC(=O)N*", "*C(=O)OCC", "c1ccc2c(c1)nc(*)n2*", "*C1CCN(CC1)C(=O)*",
    "O=C1NC(*)C(=O)N1", "*c1ccnc(N*)n1", "*OC1CCCCC1", "CC(*)(C)c1ccc(*)cc1", "*S(=O)(=O)Nc1ccccc1",
]  # fmt: skip
REACTIONS = [
    "CC(=O)Cl.Nc1ccc(O)cc1>>CC(=O)Nc1ccc(O)cc1", "OC(=O)c1ccccc1O.CC(=O)OC(C)=O>>CC(=O)Oc1ccccc1C(=O)O",
    "Brc1ccccc1.OB(O)c1ccncc1>>c1ccc(cc1)-c1ccncc1", "OC1CCCCC1>>O=C1CCCCC1",
    "CCOC(C)=O.NCc1ccccc1>>CC(=O)NCc1ccccc1",
]  # fmt: skip


def word(rng: Rng, n: int = 1) -> str:
    return " ".join(rng.choice(WORDS, n))


def paper(w: int = 480, h: int = 340, size: int = 15) -> tuple[Image.Image, ImageDraw.ImageDraw, Any]:
    image = Image.new("RGB", (w, h), "white")
    return image, ImageDraw.Draw(image), ImageFont.load_default(size)


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def figure(draw: Callable[[Any], object], rng: Rng, label: str = "ppm") -> Image.Image:
    made = Figure(rng.uniform([3, 2.5], [6, 4.5]), dpi=int(rng.choice([72, 100, 150])))
    axes = made.add_subplot()
    draw(axes)
    axes.set_xlabel(label)
    out = BytesIO()
    made.savefig(out)
    return Image.open(out).convert("RGB")


def spectrum(rng: Rng) -> Image.Image:
    x, width = np.linspace(200, 0, 4000), rng.uniform(0.1, 4)
    peaks = rng.uniform([5, 0.1], [195, 1], (int(rng.integers(2, 25)), 2))
    y = (peaks[:, 1:] / (1 + ((x - peaks[:, :1]) / width) ** 2)).sum(axis=0)
    colour, line = str(rng.choice(["black", "tab:blue", "red"])), rng.uniform(0.6, 2)
    return figure(lambda axes: axes.plot(x, y, color=colour, linewidth=line), rng)


def scatter(rng: Rng) -> Image.Image:
    xy, sign = rng.normal(size=(2, int(rng.integers(10, 150)))), str(rng.choice(["o", "x", ".", "-o"]))
    return figure(lambda axes: (axes.plot(*xy, sign, markersize=rng.uniform(2, 7)), axes.grid()), rng, "x")


def shares(rng: Rng) -> Image.Image:
    values = rng.uniform(0.2, 1, int(rng.integers(3, 8)))
    if rng.random() < 0.5:
        return figure(lambda axes: axes.pie(values, labels=[word(rng) for _ in values]), rng, "")
    colours = [f"C{i}" for i in range(len(values))]
    return figure(lambda axes: axes.bar(range(len(values)), values, color=colours), rng, "group")


def paragraph(rng: Rng) -> Image.Image:
    size = int(rng.integers(10, 30))
    image, pen, font = paper(int(rng.integers(300, 900)), int(rng.integers(60, 500)), size)
    for y in np.arange(5, image.height - size, 1.4 * size):
        pen.text((8, y), word(rng, image.width // size // 3), "black", font)
    return image


def table(rng: Rng) -> Image.Image:
    rows, columns, w = int(rng.integers(3, 12)), int(rng.integers(2, 6)), int(rng.integers(70, 140))
    image, pen, font = paper(columns * w + 20, rows * 28 + 20)
    for row in range(rows + 1):
        pen.line([(10, 10 + row * 28), (10 + columns * w, 10 + row * 28)], 0)
        for column in range(columns if row < rows else 0):
            written = f"{rng.uniform(0, 100):.1f}" if row and column else word(rng)
            pen.text((14 + column * w, 16 + row * 28), written, "black", font)
    for column in range(columns + 1):
        pen.line([(10 + column * w, 10), (10 + column * w, 10 + rows * 28)], 0)
    return image


def photograph(rng: Rng) -> Image.Image:
    """Clouds and flat shapes before them, blurred, with the noise of a sensor."""
    h, w = rng.integers(200, 600, 2)
    clouds = gaussian_filter(rng.normal(size=(h, w, 3)), (8, 8, 0)) * 1500 + 128
    image = grey(clouds)
    for _ in range(int(rng.integers(0, 9))):
        box = (np.sort(rng.uniform(0, 1, (2, 2)), axis=0) * [w, h]).ravel().tolist()
        pen = ImageDraw.Draw(image)
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(box, tuple(rng.integers(0, 256, 3).tolist()))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3))))
    return grey(blurred + rng.normal(0, 6, blurred.shape))


def noise(rng: Rng) -> Image.Image:
    clouds = gaussian_filter(rng.normal(size=rng.integers(100, 500, 2)), rng.uniform(0, 6))
    return grey(np.where(clouds > np.quantile(clouds, rng.uniform(0.5, 0.97)), 0, 255))


def flow_chart(rng: Rng) -> Image.Image:
    image, pen, font = paper(700, int(rng.integers(250, 500)))
    middles = [(90 + 170 * i, 50 + 110 * j) for i in range(4) for j in range((image.height - 40) // 110 + 1)]
    chosen = [middles[i] for i in sorted(rng.permutation(len(middles))[: int(rng.integers(3, 9))])]
    for (x, y), (u, v) in pairwise(chosen):
        pen.line([(x, y), (u, v)], 0, 2)
        pen.regular_polygon(((x + u) / 2, (y + v) / 2, 7), 3, fill="black")
    for x, y in chosen:
        shape = [pen.rectangle, pen.ellipse, pen.rounded_rectangle][int(rng.integers(3))]
        fill = str(rng.choice(["white", "lightblue", "lightyellow"]))
        shape([(x - 60, y - 25), (x + 60, y + 25)], fill=fill, outline="black", width=2)
        pen.text((x - 40, y - 8), word(rng), "black", font)
    return image


def graph(rng: Rng) -> Image.Image:
    """Circles with names, joined by lines: a network of anything but atoms."""
    image, pen, font = paper()
    places = rng.uniform(40, [440, 300], (int(rng.integers(5, 16)), 2)).tolist()
    for i, place in enumerate(places[1:], 1):
        pen.line([*place, *places[int(rng.integers(i))]], 0, 2)
    for x, y in places:
        pen.ellipse([(x - 18, y - 18), (x + 18, y + 18)], "white", 0, 2)
        pen.text((x - 12, y - 8), word(rng)[:3], "black", font)
    return image


def geometry(rng: Rng) -> Image.Image:
    image, pen, _ = paper()
    for _ in range(int(rng.integers(3, 10))):
        (x, y), r, kind = rng.uniform(60, [400, 280]), rng.uniform(15, 90), int(rng.integers(4))
        box = [(x - r, y - r), (x + r, y + r)]
        if kind == 0:
            pen.ellipse(box, outline="black", width=2)
        elif kind == 1:
            turned = float(rng.uniform(0, 90))
            pen.regular_polygon((x, y, r), int(rng.integers(3, 5)), rotation=turned, outline="black")
        elif kind == 2:
            pen.arc(box, *np.sort(rng.uniform(0, 360, 2)).tolist(), fill="black", width=2)
        else:
            pen.line([x, y, *rng.uniform(0, [480, 340])], 0, int(rng.integers(1, 4)))
    return image


def r_groups(rng: Rng, wavy: bool = False) -> Image.Image:
    mol, labels = Chem.MolFromSmiles(str(rng.choice(CORES))), rng.permutation(LABELS).tolist()
    for atom in () if wavy else mol.GetAtoms():
        if atom.GetAtomicNum() == 0:
            label = labels.pop()
            number = f"<sub>{label[1:]}</sub>" if label[1:].isdigit() else label[1:]
            atom.SetProp("_displayLabel", label[0] + number)
    canvas = rdMolDraw2D.MolDraw2DCairo(int(rng.integers(250, 500)), int(rng.integers(200, 400)))
    options = canvas.drawOptions()
    options.dummiesAreAttachments = wavy
    options.bondLineWidth = float(rng.uniform(1, 3))
    if rng.random() < 0.6:
        options.useBWAtomPalette()
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    canvas.FinishDrawing()
    return Image.open(BytesIO(canvas.GetDrawingText())).convert("RGB")


def attachment(rng: Rng) -> Image.Image:
    return r_groups(rng, wavy=True)


def barcode(rng: Rng) -> Image.Image:
    square = rng.random() < 0.5
    cells = np.repeat(
        np.repeat(rng.random((25, 25) if square else (1, 80)) < 0.5, 8 if square else 120, 0), 8, 1
    )
    return grey(np.pad(np.where(cells, 0, 255), 20, constant_values=255))


def contours(rng: Rng) -> Image.Image:
    heights = gaussian_filter(rng.normal(size=(80, 100)), rng.uniform(5, 12))
    colour = "black" if rng.random() < 0.5 else None
    return figure(lambda axes: axes.contour(heights, int(rng.integers(5, 12)), colors=colour), rng, "x")


def gel(rng: Rng) -> Image.Image:
    values, (y, x) = np.full((300, 360), rng.uniform(150, 230)), np.ogrid[:300, :360]
    for lane, place in zip(rng.integers(0, 8, 25), rng.uniform(20, 280, 25), strict=True):
        band = np.exp(-(((y - place) / rng.uniform(2, 6)) ** 2) - ((x - 30 - 43 * lane) / 14) ** 4)
        values = values - rng.uniform(40, 140) * band
    return grey(values + rng.normal(0, 4, values.shape))


def staves(rng: Rng) -> Image.Image:
    image, pen, _ = paper(600, 240)
    for top in (40, 150):
        for y in range(top, top + 60, 12):
            pen.line([(20, y), (580, y)], 0)
        for x in range(50, 570, int(rng.integers(30, 60))):
            y = top + 6 * int(rng.integers(0, 9))
            pen.ellipse([(x - 7, y - 5), (x + 7, y + 5)], 0)
            pen.line([(x + 6, y), (x + 6, y - 38)], 0, 2)
    return image


def scribble(rng: Rng) -> Image.Image:
    image, pen, _ = paper()
    t, n = np.linspace(0, 1, 800), int(rng.integers(1, 5))
    for y, turns, waves in zip(
        rng.uniform(50, 290, n), rng.uniform(5, 30, n), rng.uniform(5, 40, n), strict=True
    ):
        points = np.stack([20 + 430 * t + 9 * np.sin(9 * turns * t), y + 18 * np.sin(6 * waves * t)], axis=1)
        pen.line(points.ravel().tolist(), 0, int(rng.integers(1, 4)))
    return image


def window(rng: Rng) -> Image.Image:
    image, pen, font = paper(640, 420)
    pen.rectangle([(0, 0), (640, 420)], (240, 240, 240))
    pen.rectangle([(0, 0), (640, 28)], tuple(rng.integers(0, 160, 3).tolist()))
    pen.rectangle([(160, 40), (630, 410)], "white", "gray")
    for y in range(44, 400, 30):
        pen.text((10, y), word(rng), "black", font)
        pen.text((170, y + 6), word(rng, int(rng.integers(1, 8))), "black", font)
    for x, y in rng.integers([300, 250], [540, 380], (int(rng.integers(0, 4)), 2)).tolist():
        pen.rounded_rectangle([(x, y), (x + 80, y + 24)], 6, "lightgray", "gray")
    return image


def reaction(rng: Rng) -> tuple[Image.Image, int]:
    """A reaction scheme, and how many structures it shows."""
    smiles = str(rng.choice(REACTIONS))
    canvas = rdMolDraw2D.MolDraw2DCairo(int(rng.integers(700, 1200)), int(rng.integers(180, 300)))
    canvas.DrawReaction(rdChemReactions.ReactionFromSmarts(smiles, useSmiles=True))
    canvas.FinishDrawing()
    return Image.open(BytesIO(canvas.GetDrawingText())).convert("RGB"), smiles.count(".") + 2


KEPT_ASIDE = (barcode, contours, gel, staves, scribble, window)
KINDS: tuple[Callable[[Rng], Image.Image], ...] = (
    spectrum, scatter, shares, paragraph, table, photograph, noise, flow_chart, graph, geometry, r_groups,
    attachment, *KEPT_ASIDE,
)  # fmt: skip


def main(
    model: Annotated[str, typer.Option(help="Model whose picture reader is measured.")] = "acml-base",
    pictures: Annotated[Path, typer.Option(help="Folder of scans with truth.csv.")] = PICTURES,
    scans: Annotated[int, typer.Option(help="Scans of each set.")] = 120,
    seed: int = SEED,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = OUT,
) -> None:
    """How many pictures that show no molecule are refused, and how many that show one?"""
    check_out(out)
    torch.set_num_threads(1)
    loaded = load_model(model, spaces={"image"})
    reader: Any = loaded.network.tower("image").encoder
    refused: dict[str, list[bool]] = defaultdict(list)
    for i in progress(range(N), desc="no molecules", unit="picture"):
        kind = KINDS[i % len(KINDS)]
        refused[kind.__name__].append(not any(_structures(reader, kind(np.random.default_rng([seed, i])))))
    whole = []
    for i in progress(range(REACTIONS_DRAWN), desc="reactions", unit="picture"):
        image, count = reaction(np.random.default_rng([seed, i]))
        whole.append(_structures(reader, image) == [True] * count)
    lost: dict[str, list[bool]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for row in progress(list(csv.DictReader((pictures / "truth.csv").open())), desc="scans", unit="picture"):
        seen[row["set"]] += 1
        if seen[row["set"]] <= scans:
            read = _structures(reader, Image.open(pictures / row["image"]))
            lost[row["set"]].append(not any(read))
    result = {
        "kind": "refusals",
        "model": model,
        "model_digest": loaded.card.digest,
        "refused": _share(list(chain(*refused.values()))),
        "refused_of_kinds_kept_aside": _share(list(chain(*(refused[kind.__name__] for kind in KEPT_ASIDE)))),
        "refused_by_kind": {name: sum(hits) / len(hits) for name, hits in refused.items()},
        "scans_refused": _share(list(chain(*lost.values()))),
        "scans_refused_by_set": {name: _share(hits) for name, hits in lost.items()},
        "reactions_cut_right": _share(whole),
        "seed": seed,
        "command": command_line(),
    }
    write_json(result, out)
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{name}: {_text(value) if 'share' in value else value}")


def _structures(reader: Any, image: Image.Image) -> list[bool]:
    """Of each part of a picture, whether it is taken for a structure."""
    found = []
    with rdBase.BlockLogs(), torch.inference_mode():
        try:
            for part in parts(image):
                ink = foreground(part.image)[0]
                found.append(no_structure(ink, reader.read(ink), part.box is not None) is None)
        except InvalidRecord:  # no ink
            found.append(False)
    return found


if __name__ == "__main__":
    typer.run(main)
