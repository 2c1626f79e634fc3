"""Pretraining of the picture encoder: to recognise structures in drawings, atom by atom and bond by bond.

Molecules are drawn in the training family of `ocsr.styles` and their pictures worn in many ways; where every
atom is, what is written there and which bonds are drawn is known, so one picture gives some hundred labels.
All styles of the held-out family are kept for measuring. What is kept is the recogniser with a copy of the
frozen SMILES encoder behind it, and that one's projection.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem, rdBase
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.networks import current_names
from acml_search.ocsr.depict import Drawing, draw
from acml_search.ocsr.detector import (
    RULER_SIDE,
    SHARP,
    STRIDE,
    Recogniser,
    Ruler,
    measure,
)
from acml_search.ocsr.encoder import PictureReader
from acml_search.ocsr.image import ink_of, resized
from acml_search.ocsr.styles import held_out_style
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import Corpus
from acml_search.training.loop import Task, train
from acml_search.training.pages import Pages, Sample, at_scale, mutated, packed, sample_of
from acml_search.training.prior import drawn, settle, shares
from acml_search.training.synth.styles import training_style

MUTATED = 0.6  # share of molecules that get other atoms

_RARE = re.compile(r"[+-]|\[(?!C?@|nH|C@|H)|I|P|B(?!r)|#|s")


class Reader(nn.Module):
    """The two networks that are trained here."""

    def __init__(self, tower: dict[str, Any]) -> None:
        super().__init__()
        whole = PictureReader(**tower)
        self.recogniser: Recogniser = whole.recogniser
        self.ruler: Ruler = whole.ruler


class RecogniseTask(Task[Reader]):
    """Pictures of the corpus, drawn as they are needed; three in five are earlier drawings worn anew."""

    def __init__(self, corpus: Corpus, config: dict[str, Any]) -> None:
        self.corpus = corpus
        self.tower = config["tower"]
        self.model = Reader(self.tower)
        self.pages = int(config["training"]["pages"])
        self.rows, self.formulas = _visits(corpus, config["training"]), corpus.formulas
        self.shelf: list[Drawing] = []
        self.waiting: list[Sample] = []
        kept = corpus.kept
        spectral = [i for i in kept if corpus.sources[i] in config["training"]["spectral"]]
        self.inner = np.array(spectral[: int(config["training"]["inner"])])

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        samples = self._samples(rows, rng)
        # Pictures that find no room wait for the next batch, if they are not too many.
        self.waiting = self.waiting[-16:] + [at_scale(s, rng) for s in samples]
        pages = packed(self.waiting, self.pages, rng)
        return recogniser_loss(self.model.recogniser, pages) | {
            "ruler": ruler_loss(self.model.ruler, samples, rng)
        }

    def settle(self, model: Reader, rng: np.random.Generator, n: int) -> None:
        """Correct the recogniser for symbols that are rarer in molecules as they are than in training."""

        def make(mutate: float) -> Drawing | None:
            return _drawn(str(self.corpus.smiles[int(rng.choice(self.rows))]), rng, mutate)

        trained = shares(drawn(lambda: make(MUTATED), n))
        settle(model.recogniser, trained, shares(drawn(lambda: make(0.0), n)))

    def _samples(self, rows: np.ndarray, rng: np.random.Generator) -> list[Sample]:
        samples = []
        for row in rows:
            fresh = len(self.shelf) < 64 or rng.random() < 0.4
            if fresh:
                drawn = _drawn(str(self.corpus.smiles[int(row)]), rng)
                if drawn is None:
                    continue
                if len(self.shelf) < 6_000:
                    self.shelf.append(drawn)
                else:
                    self.shelf[int(rng.integers(len(self.shelf)))] = drawn
            else:
                drawn = self.shelf[int(rng.integers(len(self.shelf)))]
            sample = sample_of(drawn, training_style(rng).effects, rng)
            if sample is not None:
                samples.append(sample)
        return samples

    @torch.inference_mode()
    def evaluate(self, model: Reader) -> dict[str, float]:
        """Share of inner molecules recognised exactly (InChIKey block), in held-out and training styles."""
        whole = PictureReader(**self.tower).eval()
        whole.recogniser, whole.ruler = model.recogniser, model.ruler
        out = {}
        for name, family in (("held_out", held_out_style), ("training", training_style)):
            rng = np.random.default_rng(7)
            hits = 0
            for row in self.inner:
                smiles = str(self.corpus.smiles[int(row)])
                try:
                    ink, _ = ink_of(draw(Chem.MolFromSmiles(smiles), family(rng)).image)
                except (InvalidRecord, InvalidMolecule):
                    continue
                hits += same_molecule(whole.read(ink).smiles, smiles)
            out[f"exact_{name}"] = hits / max(len(self.inner), 1)
        return out


def same_molecule(recognised: str, smiles: str) -> bool:
    """Do both have one InChIKey block?"""
    with rdBase.BlockLogs():  # what is no molecule is told by the answer
        mols = [Chem.MolFromSmiles(one) for one in (recognised, smiles)]
        keys = [Chem.MolToInchiKey(mol)[:14] if mol else "" for mol in mols]
    return bool(keys[0]) and keys[0] == keys[1]


def _visits(corpus: Corpus, settings: dict[str, Any]) -> np.ndarray:
    """Corpus rows, those of spectral sources and those with rare symbols several times."""
    learned = corpus.learned
    spectral = np.array([corpus.sources[i] in settings["spectral"] for i in learned])
    rare = np.array([bool(_RARE.search(str(corpus.smiles[int(i)]))) for i in learned])
    times = 1 + int(settings["repeat_spectral"]) * spectral + int(settings["repeat_rare"]) * rare
    return np.repeat(learned, times)


def _drawn(smiles: str, rng: np.random.Generator, mutate: float = MUTATED) -> Drawing | None:
    """A clean drawing in a training style; of a share of molecules, with some atoms exchanged."""
    mol = Chem.MolFromSmiles(smiles)
    style = replace(training_style(rng), effects=())
    if mol is None or mol.GetNumBonds() == 0:
        return None
    if rng.random() < mutate:
        mol = mutated(mol, rng)
    try:
        drawing = draw(mol, style)
    except InvalidMolecule:
        return None
    return drawing if len(drawing.bonds) else None


def recogniser_loss(network: Recogniser, pages: Pages) -> dict[str, Tensor]:
    """Points (focal loss of Zhou et al. 2019), their offsets, symbols, hydrogens, charges and bonds."""
    features, points = network(pages.pictures)
    rough = pages.xy / STRIDE
    height, width = points.shape[1:3]
    column = rough[:, 0].long().clamp(0, width - 1)
    row = rough[:, 1].long().clamp(0, height - 1)
    # How near a cell is to an atom: 1 at the atom's own, falling off within a cell or two.
    target = points.new_zeros(points.shape[:3])
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            r, c = (row + dy).clamp(0, height - 1), (column + dx).clamp(0, width - 1)
            gap = (torch.stack([c, r], 1) + 0.5 - rough).square().sum(1)
            value = torch.exp(-gap / 0.6)
            flat = (pages.page * height + r) * width + c
            target.view(-1).scatter_reduce_(0, flat, value, "amax")
    target[pages.page, row, column] = 1.0
    logit = points[:, :, :, 0]
    chance = logit.sigmoid()
    positive = (target == 1.0) * (1 - chance).square() * F.logsigmoid(logit)
    negative = (target < 1.0) * (1 - target).pow(4) * chance.square() * F.logsigmoid(-logit)
    n = max(len(row), 1)
    offset = points[pages.page, row, column, 1:]
    truth = rough - torch.stack([column, row], 1) - 0.5
    moved = pages.xy + torch.randn_like(pages.xy) * 1.0
    spelled = network.spell(pages.pictures, pages.page, moved)
    symbol, hydrogens, charge = network.atoms(features, pages.page, moved, spelled)
    lettered = pages.labels[:, 0] > 0
    ends = moved[pages.pairs[:, 0]], moved[pages.pairs[:, 1]]
    bond = network.bonds(features, pages.page[pages.pairs[:, 0]], *ends)
    return {
        "points": -(positive.sum() + negative.sum()) / n,
        "offsets": F.l1_loss(offset, truth),
        # By itself too: beside features that know the common letters, the pixels' part would not learn.
        "spelling": F.cross_entropy(spelled[:, : symbol.shape[1]], pages.labels[:, 0]),
        "symbols": 2 * F.cross_entropy(symbol, pages.labels[:, 0]),
        "hydrogens": 0.3 * F.cross_entropy(hydrogens[lettered], pages.labels[lettered, 1]),
        "charges": F.cross_entropy(charge, pages.labels[:, 2]),
        "bonds": 4 * F.cross_entropy(bond, pages.orders),
    }


def ruler_loss(ruler: Ruler, samples: list[Sample], rng: np.random.Generator) -> Tensor:
    """Error of the logarithm of bond lengths, over a few of the pictures at the ruler's scale."""
    errors = []
    for sample in samples[:6]:
        h, w = sample.ink.shape
        scale = min(RULER_SIDE / np.sqrt(h * w), 640 / max(h, w)) * float(np.exp(rng.normal(0, 0.1)))
        ink = resized(sample.ink, scale)
        page = np.zeros(
            (1, 1, -(-(ink.shape[0] + 16) // 32) * 32, -(-(ink.shape[1] + 16) // 32) * 32), np.float32
        )
        page[0, 0, 8 : 8 + ink.shape[0], 8 : 8 + ink.shape[1]] = ink
        length, say = ruler(torch.from_numpy(page / 255))
        errors.append((measure(length[0], say[0]) - float(np.log(sample.length * scale / 8))).abs())
    return torch.stack(errors).mean() if errors else torch.zeros(())


def run(path: Path | str) -> Path:
    """Pretrain as the configuration says and return the directory with `encoder.safetensors`.

    Raises `ConfigError` for a configuration that cannot be followed.
    """
    config = read_config(path, ("smiles", "corpus", "tower", "head", "training"))
    behind = config.root / config.data["smiles"] / "encoder.safetensors"
    if not behind.exists():
        raise ConfigError(f"{path}: there is no {behind}; pretrain the SMILES encoder first")
    torch.manual_seed(config.seed)
    task = RecogniseTask(config.corpus(), config.data)
    if "initial" in config.data:
        _start(task.model, config.root / config.data["initial"])
    model = train(task, config.data["training"], config.seed, config.out)
    drawings = min(1_500, int(config.data["training"]["epoch_size"]))
    task.settle(model, np.random.default_rng([config.seed, 2]), drawings)
    return keep(model, behind, config)


def _start(model: Reader, directory: Path) -> None:
    """Begin with what an earlier run left in `directory`. Parts that it lacks begin as they were made,
    residual blocks so that they change nothing.

    Raises `ConfigError` where there is none, or where a part has other dimensions.
    """
    path = directory / "encoder.safetensors"
    if not path.exists():
        raise ConfigError(f"{path} does not exist; `initial` names a directory with an earlier result")
    weights = {name.removeprefix("encoder."): value for name, value in current_names(load_file(path)).items()}
    own = model.state_dict()
    weights = {name: value for name, value in weights.items() if name in own}
    name = "recogniser.stem.1.0.weight"
    if weights[name].shape[1] == STRIDE**2:
        weights[name] = sharpened(weights[name])
    odd = [name for name, value in weights.items() if own[name].shape != value.shape]
    if odd:
        raise ConfigError(f"{path}: {odd[0]} has other dimensions than the configuration's `tower` asks for")
    model.load_state_dict(weights, strict=False)


def sharpened(kernel: Tensor) -> Tensor:
    """A convolution over cells of averaged pixels, (o, STRIDE^2, k, k), as one over cells of all the pixels,
    (o, (SHARP STRIDE)^2, k, k), that gives the same (Net2Net: Chen et al. 2016).
    """
    o, _, h, w = kernel.shape
    cells = kernel.reshape(o, STRIDE, STRIDE, h, w) / SHARP**2
    wide = cells.repeat_interleave(SHARP, dim=1).repeat_interleave(SHARP, dim=2)
    return wide.reshape(o, (SHARP * STRIDE) ** 2, h, w)


def keep(model: Reader, behind: Path, config: TrainingConfig) -> Path:
    """Write what was trained, with the SMILES encoder and projection of the file `behind`."""
    weights = {f"encoder.{name}": value for name, value in model.state_dict().items()}
    for name, value in load_file(behind).items():
        weights[name.replace("encoder.", "encoder.smiles.", 1)] = value
    weights = {name: value.contiguous() for name, value in weights.items()}
    save_file(weights, config.out / "encoder.safetensors")
    (config.out / "config.json").write_text(json.dumps(config.data, indent=1))
    return config.out
