"""Training of the OCSR detector: structures are recognised in drawings, atom by atom and bond by bond.

Molecules are drawn in the training family of styles (`training.picture_styles`) and their pictures worn in
many ways; where every atom is, what is written there and which bonds are drawn is known, so one picture gives
some hundred labels. All styles of the held-out family are kept for measuring. What is written is the detector
with a copy of the frozen SMILES encoder behind it, and that one's projection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.networks import current_names
from acml_search.ocsr.abbreviations import DEFINITIONS
from acml_search.ocsr.assemble import MAX_CHARGE, MAX_HYDROGENS, SYMBOLS
from acml_search.ocsr.depict import Drawing, draw
from acml_search.ocsr.detector import (
    BOND,
    ESTIMATOR_SIDE,
    SHARP,
    STRIDE,
    BondLengthEstimator,
    Detector,
    log_bond_length,
    near_pairs,
)
from acml_search.ocsr.image import foreground, resized
from acml_search.ocsr.reader import PictureReader
from acml_search.ocsr.styles import Effect, apply_effects, held_out_style
from acml_search.training.config import DetectorPlan, DetectorSchedule, Hyper
from acml_search.training.corpus import Corpus, corpus_of
from acml_search.training.loop import Task, encoder_file, save_result, train
from acml_search.training.picture_styles import training_style

CANVAS = 256
"""side of a canvas in units of a sixteenth of a bond"""
MUTATED_SHARE = 0.6
"""of molecules that get other atoms"""
MUTATED_ATOMS = 0.3
"""share of their atoms"""
CONDENSED = 0.4
"""share of the groups that are written as formulas instead of by a name that the detector knows"""
LETTERED = 0.3
"""share of carbons that are written as CH, CH2 or CH3 where an atom might be exchanged"""
BRIDGED = 8
"""times more often than others a molecule with a bridged ring is drawn"""
HYDROGENS = 0.1
"""share of pictures with hydrogens drawn as atoms of their own, on half of the nitrogens and oxygens"""
SALTS, IONS = 0.08, ("Cl", "Cl", "Br", "O", "[Cl-]", "[Cl-]", "[Br-]", "[I-]", "[Na+]", "[K+]", "[Li+]")
"""share of pictures with an acid, water or an ion beside the structure, and which"""
REDRAWN = 0.4
"""share of pictures that are drawn anew; the others are earlier drawings, worn anew"""
MIN_DRAWINGS, MAX_DRAWINGS = 64, 1_500
"""that are kept for that"""
MAX_WAITING = 16
"""pictures that found no room on a batch's canvases and wait for the next"""
PRIOR_DRAWINGS = 1_500
"""that the frequencies of symbols are counted in"""
MAX_SHIFT = 6.0
"""by which a symbol's logit is corrected: some were not drawn at all"""
_GAP = 12  # white units between pictures of one canvas
_TURNED = (0, 2, 1, 4, 3, 5)
"""what is drawn between two atoms, seen from the other one"""
_INDEX = {symbol: i for i, symbol in enumerate(SYMBOLS)}
_RARE = re.compile(r"[+-]|\[(?!C?@|nH|C@|H)|I|P|B(?!r)|#|s")
# What atoms of a valence are exchanged for, the usual ones named often.
_SUBSTITUTES = {
    valence: tuple(often.split() * 5 + seldom.split())
    for valence, often, seldom in (
        (1, "F Cl Br I O S N", "Se P Si B P Si B C As Te Ge Sn Li Na"),
        (2, "O S N", "Se P Si B Se P Si B C Te Mg Zn Hg"),
        (3, "N P B", "C C As Al Si"),
        (4, "C Si", "Ge Sn S Se"),
        (6, "S", "Se"),
    )
}


def run(plan: DetectorPlan, device: torch.device) -> Path:
    """Train as the plan says and return the folder with `encoder.safetensors`."""
    smiles_encoder = encoder_file(plan.below(plan.smiles_encoder))
    if not smiles_encoder.exists():
        raise ConfigError(f"{plan.path}: there is no {smiles_encoder}; pretrain the SMILES encoder first")
    torch.manual_seed(plan.seed)
    corpus = corpus_of(plan)
    model = DetectorModel(plan.tower)
    if plan.start is not None:
        start_from(model, plan.below(plan.start))
    task = DetectorTask(corpus, plan, model.to(device))
    averaged = train(task, plan)
    n_drawings = min(PRIOR_DRAWINGS, plan.training.epoch_size)
    task.correct_prior(averaged, np.random.default_rng([plan.seed, 2]), n_drawings)
    weights = {f"encoder.{name}": value for name, value in averaged.state_dict().items()}
    for name, value in current_names(load_file(smiles_encoder)).items():
        weights[name.replace("encoder.", "encoder.smiles.", 1)] = value
    return save_result(plan, weights)


class DetectorModel(nn.Module):
    """The two networks that are trained here."""

    def __init__(self, tower: Hyper) -> None:
        super().__init__()
        reader = PictureReader(**tower)
        self.detector: Detector = reader.detector
        self.estimator: BondLengthEstimator = reader.estimator


class DetectorTask(Task[DetectorModel]):
    """Pictures of the corpus, drawn as they are needed; most are earlier drawings worn anew."""

    def __init__(self, corpus: Corpus, plan: DetectorPlan, model: DetectorModel) -> None:
        self.corpus, self.model, self.tower = corpus, model, plan.tower
        self.n_pages = plan.training.pages
        self.rows, self.formulas = _visits(corpus, plan.training), corpus.formulas
        self.drawings: list[Drawing] = []
        self.waiting: list[Sample] = []
        spectral = np.isin(corpus.sources[corpus.dev_rows], plan.training.spectral_sources)
        self.dev = corpus.dev_rows[spectral][: plan.training.dev_molecules]

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        samples = self._samples(rows, rng)
        self.waiting = self.waiting[-MAX_WAITING:] + [at_scale(s, rng) for s in samples]
        pages = packed(self.waiting, self.n_pages, rng)
        pages = Pages(*(tensor.to(self.device) for tensor in pages))
        ruler = ruler_loss(self.model.estimator, samples, rng)
        return detector_loss(self.model.detector, pages) | {"ruler": ruler}

    def _samples(self, rows: np.ndarray, rng: np.random.Generator) -> list[Sample]:
        samples = []
        for row in rows:
            if len(self.drawings) < MIN_DRAWINGS or rng.random() < REDRAWN:
                drawing = draw_clean(self.corpus.smiles_of(row), rng)
                if drawing is None:
                    continue
                if len(self.drawings) < MAX_DRAWINGS:
                    self.drawings.append(drawing)
                else:
                    self.drawings[int(rng.integers(len(self.drawings)))] = drawing
            else:
                drawing = self.drawings[int(rng.integers(len(self.drawings)))]
            sample = sample_of(drawing, training_style(rng).effects, rng)
            if sample is not None:
                samples.append(sample)
        return samples

    @torch.inference_mode()
    def evaluate(self, model: DetectorModel) -> dict[str, float]:
        """Share of the dev split read exactly (same InChIKey block), in held-out and training styles."""
        reader = PictureReader(**self.tower).eval().to(self.device)
        reader.detector, reader.estimator = model.detector, model.estimator
        out = {}
        for name, family in (("held_out", held_out_style), ("training", training_style)):
            rng = np.random.default_rng(7)
            hits = 0
            for row in self.dev:
                smiles = self.corpus.smiles_of(row)
                try:
                    ink, _ = foreground(draw(Chem.MolFromSmiles(smiles), family(rng)).image)
                except (InvalidRecord, InvalidMolecule):
                    continue
                hits += same_molecule(reader.read(ink).smiles, smiles)
            out[f"exact_{name}"] = hits / max(len(self.dev), 1)
        return out

    def correct_prior(self, model: DetectorModel, rng: np.random.Generator, n: int) -> None:
        """Correct the detector for symbols that are rarer in molecules as they are than in training."""

        def drawings(mutated_share: float) -> Iterable[Drawing]:
            done = 0
            while done < n:
                drawing = draw_clean(self.corpus.smiles_of(rng.choice(self.rows)), rng, mutated_share)
                if drawing is not None:
                    yield drawing
                    done += 1

        trained = symbol_shares(drawings(MUTATED_SHARE))
        shift_prior(model.detector, trained, symbol_shares(drawings(0.0)))


def _visits(corpus: Corpus, schedule: DetectorSchedule) -> np.ndarray:
    """Corpus rows, those of spectral sources and those with rare symbols or rings several times."""
    rows = corpus.train_rows
    spectral = np.isin(corpus.sources[rows], schedule.spectral_sources)
    rare = np.array([_rarity(corpus.smiles_of(i)) for i in rows])
    return np.repeat(rows, 1 + schedule.repeat_spectral * spectral + schedule.repeat_rare * rare)


def _rarity(smiles: str) -> int:
    """How much more often than others a molecule is drawn: for rare symbols, for bridged rings."""
    mol = Chem.MolFromSmiles(smiles) if smiles.count("2") > 1 else None
    bridged = mol is not None and rdMolDescriptors.CalcNumBridgeheadAtoms(mol) > 0
    return BRIDGED * bridged + bool(_RARE.search(smiles))


def start_from(model: DetectorModel, folder: Path) -> None:
    """Begin with an earlier run's weights; new residual blocks change nothing. Raises `ConfigError`."""
    path = encoder_file(folder)
    if not path.exists():
        raise ConfigError(f"{path} does not exist; `start` names a folder with an earlier result")
    own = model.state_dict()
    given = {name.removeprefix("encoder."): value for name, value in current_names(load_file(path)).items()}
    weights = {name: value for name, value in given.items() if name in own}
    odd = [name for name, value in weights.items() if own[name].shape != value.shape]
    if odd:
        raise ConfigError(f"{path}: {odd[0]} has other dimensions than the plan's `tower`")
    model.load_state_dict(own | weights)


def same_molecule(recognised: str, smiles: str) -> bool:
    """Do both have one InChIKey block?"""
    with rdBase.BlockLogs():  # RDKit's complaint about what is no molecule
        mols = [Chem.MolFromSmiles(one) for one in (recognised, smiles)]
        keys = [Chem.MolToInchiKey(mol)[:14] if mol else "" for mol in mols]
    return bool(keys[0]) and keys[0] == keys[1]


# Pictures with their truth


class Sample(NamedTuple):
    """One picture of a molecule as its ink, and the truth in pixels of it."""

    ink: np.ndarray
    xy: np.ndarray
    symbols: np.ndarray
    hydrogens: np.ndarray
    charges: np.ndarray
    bonds: np.ndarray
    orders: np.ndarray
    wedges: np.ndarray
    length: float
    """pixels of a bond"""


class Pages(NamedTuple):
    """Samples packed on canvases, as tensors."""

    pictures: Tensor
    """(p, 1, SHARP * CANVAS, SHARP * CANVAS) float32"""
    page: Tensor
    """(n,) int64, of each atom"""
    xy: Tensor
    """(n, 2) float32"""
    labels: Tensor
    """(n, 3) int64: symbol, hydrogens, charge + MAX_CHARGE"""
    pairs: Tensor
    """(m, 2) int64 atoms of the batch"""
    orders: Tensor
    """(m,) int64, 0 where there is no bond"""
    wedges: Tensor
    """(m,) int64, see `WEDGES`"""


def draw_clean(smiles: str, rng: np.random.Generator, mutated_share: float = MUTATED_SHARE) -> Drawing | None:
    """A drawing without effects in a training style; of a share of molecules, with some atoms exchanged."""
    mol = Chem.MolFromSmiles(smiles)
    style = replace(training_style(rng), effects=())
    if mol is None or mol.GetNumBonds() == 0:
        return None
    if rng.random() < mutated_share:
        mol = mutated(mol, rng)
    if rng.random() < SALTS:
        mol = Chem.CombineMols(mol, Chem.MolFromSmiles(str(rng.choice(IONS))))
        Chem.SanitizeMol(mol)
    if rng.random() < HYDROGENS:
        polar = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetSymbol() in ("N", "O", "S")]
        if chosen := [i for i in polar if rng.random() < 0.5]:  # none would be all
            mol = Chem.AddHs(mol, onlyOnAtoms=chosen)
    try:
        drawing = draw(mol, style)
    except InvalidMolecule:
        return None
    return drawing if len(drawing.bonds) else None


def mutated(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
    """The molecule with some atoms exchanged for others of their valence, or for groups written as letters.

    No chemist would make most of these, but their letters are drawn like any other, and rare ones become
    frequent. Where RDKit refuses the result, the molecule itself.
    """
    new = Chem.RWMol(mol)
    for atom in new.GetAtoms():
        valence = sum(int(bond.GetBondTypeAsDouble()) for bond in atom.GetBonds())
        fixed = atom.GetIsAromatic() or atom.GetFormalCharge() or valence not in _SUBSTITUTES
        if rng.random() > MUTATED_ATOMS or fixed:
            continue
        atom.SetNumExplicitHs(0)
        atom.SetNoImplicit(False)
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        if valence == 1 and rng.random() < 0.6:
            group = DEFINITIONS[int(rng.integers(len(DEFINITIONS)))]
            label, west = group.displayLabel, group.displayLabelW or group.displayLabel
            if condensed := rng.random() < CONDENSED:
                label, west = (re.sub(r"(\d+)", r"<sub>\1</sub>", text) for text in condensed_formula(rng))
            atom.SetAtomicNum(0)
            atom.SetProp("atomLabel", "?" if condensed else group.label)
            atom.SetProp("_displayLabel", label)
            atom.SetProp("_displayLabelW", west)
        elif atom.GetAtomicNum() == 6 and valence < 4 and rng.random() < LETTERED:
            n = 4 - valence
            written = f"H<sub>{n}</sub>" if n > 1 else "H"
            atom.SetProp("_displayLabel", f"C{written}")
            atom.SetProp("_displayLabelW", f"{written}C")
        else:
            choice = _SUBSTITUTES[valence]
            atom.SetAtomicNum(Chem.Atom(choice[int(rng.integers(len(choice)))]).GetAtomicNum())
    whole = new.GetMol()
    if Chem.SanitizeMol(whole, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
        return mol
    Chem.AssignStereochemistry(whole, cleanIt=True, force=True)
    return whole


def condensed_formula(rng: np.random.Generator) -> tuple[str, str]:
    """A condensed formula of a group with one bond, as it is written right and left of it."""
    pieces, ends = ("CH2", "CH2", "O", "NH", "CO", "SO2", "S", "CF2"), ("CH3", "CF3", "OH", "NH2", "Cl", "CN")
    chosen = [pieces[int(i)] for i in rng.integers(len(pieces), size=int(rng.integers(1, 4)))]
    chosen.append(ends[int(rng.integers(len(ends)))])
    turned = [re.sub(r"^([CNO])(H\d?)$", r"\2\1" if rng.random() < 0.7 else r"\1\2", one) for one in chosen]
    return "".join(chosen), "".join(turned[::-1])


def sample_of(drawing: Drawing, effects: tuple[Effect, ...], rng: np.random.Generator) -> Sample | None:
    """A drawing after `effects`, as its ink; None where nothing is left to see."""
    image, xy = apply_effects(drawing.image, drawing.xy, effects, rng)
    try:
        ink, (left, top, step) = foreground(image)
    except InvalidRecord:
        return None
    xy = (xy - [left, top]) / step
    ends = xy[drawing.bonds]
    length = float(np.median(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)))
    if not 5 < length < 400:
        return None
    return Sample(
        ink=ink,
        xy=xy.astype(np.float32),
        symbols=np.array([_INDEX.get(s, len(SYMBOLS) - 1) for s in drawing.symbols], np.int64),
        hydrogens=drawing.hydrogens.clip(0, MAX_HYDROGENS),
        charges=drawing.charges.clip(-MAX_CHARGE, MAX_CHARGE) + MAX_CHARGE,
        bonds=drawing.bonds,
        orders=drawing.orders,
        wedges=drawing.wedges,
        length=length,
    )


def at_scale(sample: Sample, rng: np.random.Generator) -> Sample:
    """With bonds of about 16 units, cut to what a canvas holds; its ink has twice the resolution."""
    scale = BOND / sample.length * float(np.exp(rng.normal(0, 0.1)))
    # Only a window of a large picture is resized: it may be very large.
    side = (CANVAS - _GAP) / scale
    h, w = sample.ink.shape
    top = int(rng.integers(0, int(h - side) + 1)) if h > side else 0
    left = int(rng.integers(0, int(w - side) + 1)) if w > side else 0
    ink = resized(sample.ink[top : top + int(side), left : left + int(side)], SHARP * scale)
    xy = (sample.xy - [left, top]) * scale
    inside: np.ndarray = np.all((xy >= -1) & (xy < np.array(ink.shape[::-1]) / SHARP + 1), axis=1)
    place = np.cumsum(inside) - 1
    whole = np.all(inside[sample.bonds], axis=1)
    return Sample(
        ink, xy[inside].astype(np.float32), sample.symbols[inside], sample.hydrogens[inside],
        sample.charges[inside], place[sample.bonds[whole]], sample.orders[whole], sample.wedges[whole],
        sample.length * scale,
    )  # fmt: skip


def packed(waiting: list[Sample], n_pages: int, rng: np.random.Generator) -> Pages:
    """Samples side by side on canvases, in shelves; what found no room stays in `waiting`."""
    pictures = np.zeros((n_pages, 1, SHARP * CANVAS, SHARP * CANVAS), np.float32)
    shelves: list[list[int]] = []  # page, upper edge, height, first free column
    free = [0] * n_pages  # the first free row of each page
    placed: list[tuple[Sample, int, int, int]] = []
    left: list[Sample] = []
    for sample in sorted(waiting, key=lambda s: -s.ink.shape[0]):
        h, w = (-(-side // SHARP) + _GAP for side in sample.ink.shape)
        fitting = [s for s in shelves if s[2] >= h and s[3] + w <= CANVAS]
        shelf = min(fitting, key=lambda s: s[2]) if fitting else None
        if shelf is None:
            emptiest = min(range(n_pages), key=free.__getitem__)
            if free[emptiest] + h > CANVAS:
                left.append(sample)
                continue
            shelf = [emptiest, free[emptiest], h, 0]
            shelves.append(shelf)
            free[emptiest] += h
        dx, dy = shelf[3] + int(rng.integers(_GAP // 2 + 1)), shelf[1] + int(rng.integers(shelf[2] - h + 7))
        y, x = SHARP * dy, SHARP * dx
        pictures[shelf[0], 0, y : y + sample.ink.shape[0], x : x + sample.ink.shape[1]] = sample.ink
        placed.append((sample, shelf[0], dx, dy))
        shelf[3] += w
    waiting[:] = left
    start = 0
    parts: dict[str, list[np.ndarray]] = {k: [] for k in Pages._fields[1:]}
    for sample, number, dx, dy in placed:
        parts["page"].append(np.full(len(sample.xy), number))
        parts["xy"].append(sample.xy + np.array([dx, dy], np.float32))
        parts["labels"].append(np.stack([sample.symbols, sample.hydrogens, sample.charges], axis=1))
        pairs = near_pairs(sample.xy)
        known = {}
        for (a, b), order, wedge in zip(sample.bonds, sample.orders, sample.wedges, strict=True):
            known[a, b] = order, wedge
            known[b, a] = order, _TURNED[wedge]
        drawn = np.array([known.get((a, b), (0, 0)) for a, b in pairs], np.int64).reshape(-1, 2)
        parts["orders"].append(drawn[:, 0])
        parts["wedges"].append(drawn[:, 1])
        parts["pairs"].append(pairs + start)
        start += len(sample.xy)
    whole = {k: torch.from_numpy(np.concatenate(v)) for k, v in parts.items()}
    return Pages(torch.from_numpy(pictures / 255), **whole)


# Losses


def detector_loss(network: Detector, pages: Pages) -> dict[str, Tensor]:
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
            flat = (pages.page * height + r) * width + c
            target.view(-1).scatter_reduce_(0, flat, torch.exp(-gap / 0.6), "amax")
    target[pages.page, row, column] = 1.0
    logit = points[:, :, :, 0]
    chance = logit.sigmoid()
    positive = (target == 1.0) * (1 - chance).square() * F.logsigmoid(logit)
    negative = (target < 1.0) * (1 - target).pow(4) * chance.square() * F.logsigmoid(-logit)
    offset = points[pages.page, row, column, 1:]
    truth = rough - torch.stack([column, row], 1) - 0.5
    moved = pages.xy + torch.randn_like(pages.xy) * 1.0
    spelled = network.letter_logits(pages.pictures, pages.page, moved)
    symbol, hydrogens, charge = network.atoms(features, pages.page, moved, spelled)
    lettered = pages.labels[:, 0] > 0
    ends = moved[pages.pairs[:, 0]], moved[pages.pairs[:, 1]]
    bond, wedge = network.bonds(features, pages.page[pages.pairs[:, 0]], *ends)
    assert wedge is not None
    single = (pages.orders == 1).nonzero()[:, 0]
    return {
        "points": -(positive.sum() + negative.sum()) / max(len(row), 1),
        "offsets": F.l1_loss(offset, truth),
        # By itself too: beside features that know the common letters, the pixels' part would not learn.
        "spelling": F.cross_entropy(spelled[:, : symbol.shape[1]], pages.labels[:, 0]),
        "symbols": 2 * F.cross_entropy(symbol, pages.labels[:, 0]),
        "hydrogens": 0.3 * F.cross_entropy(hydrogens[lettered], pages.labels[lettered, 1]),
        "charges": F.cross_entropy(charge, pages.labels[:, 2]),
        "bonds": 4 * F.cross_entropy(bond, pages.orders),
        "wedges": F.cross_entropy(wedge[single], pages.wedges[single]),
    }


def ruler_loss(ruler: BondLengthEstimator, samples: list[Sample], rng: np.random.Generator) -> Tensor:
    """Error of the logarithm of bond lengths, over a few of the pictures at the ruler's scale."""
    device = next(ruler.parameters()).device
    errors = []
    for sample in samples[:6]:
        h, w = sample.ink.shape
        scale = min(ESTIMATOR_SIDE / np.sqrt(h * w), 640 / max(h, w)) * float(np.exp(rng.normal(0, 0.1)))
        ink = resized(sample.ink, scale)
        height, width = (-(-(side + 16) // 32) * 32 for side in ink.shape)
        page = np.zeros((1, 1, height, width), np.float32)
        page[0, 0, 8 : 8 + ink.shape[0], 8 : 8 + ink.shape[1]] = ink
        length, weight = ruler(torch.from_numpy(page / 255).to(device))
        truth = float(np.log(sample.length * scale / 8))
        errors.append((log_bond_length(length[0], weight[0]) - truth).abs())
    return torch.stack(errors).mean() if errors else torch.zeros((), device=device)


# How often symbols are met


def symbol_shares(drawings: Iterable[Drawing]) -> np.ndarray:
    """(symbols,) float64: how often each is drawn, each counted once more than it was."""
    counts = np.ones(len(SYMBOLS))
    for drawing in drawings:
        np.add.at(counts, [_INDEX.get(s, len(SYMBOLS) - 1) for s in drawing.symbols], 1.0)
    return np.asarray(counts / counts.sum())


@torch.no_grad()
def shift_prior(network: Detector, trained: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Move the bias of the symbols' logits from the shares `trained` to those that will be `met`; returns by
    how much, (symbols,) float64.

    A classifier trained on other shares than it meets says the rare too often; its logits are corrected by
    the logarithm of the ratio of the shares (Saerens, Latinne and Decaestecker 2002).
    """
    shift = np.clip(np.log(met / trained), -MAX_SHIFT, MAX_SHIFT)
    last = network.symbol[-1]
    assert isinstance(last, nn.Linear)
    last.bias.add_(torch.from_numpy(shift).to(last.bias))
    return np.asarray(shift)
