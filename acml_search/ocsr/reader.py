"""From a picture to a vector: the structures that it may show, as SMILES, read by the SMILES encoder.

One misread letter is another molecule, far away. Where the picture leaves a choice, the vectors of the likely
structures are averaged by their probabilities, so that the right one stays near. A picture that is read with
little confidence is read again a little smaller, larger, paler and darker: what misleads the network in one
view is seldom in all of them (test-time augmentation).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import torch
from rdkit import Chem, rdBase

from acml_search.chem.configuration import of_smiles
from acml_search.chem.graph import MolGraph, collate
from acml_search.chem.smiles import N_LINK_CODES, SYMBOL_COLUMNS, linked_symbols
from acml_search.core.errors import InvalidRecord
from acml_search.networks import GraphNet, Hypotheses, MixtureEncoder, TensorBatch, placement
from acml_search.ocsr.assemble import Structure, assemble
from acml_search.ocsr.detector import (
    BOND,
    ESTIMATOR_SIDE,
    MARGIN,
    SHARP,
    BondLengthEstimator,
    Detector,
    detect,
    log_bond_length,
    padded,
)
from acml_search.ocsr.hypotheses import (
    MAX_COST,
    MAX_HYPOTHESES,
    Detections,
    Hypothesis,
    best_hypothesis,
    hypotheses,
)
from acml_search.ocsr.image import resized
from acml_search.ocsr.labels import with_labels
from acml_search.ocsr.letters import text_lines
from acml_search.ocsr.prior import prior_cost
from acml_search.ocsr.strokes import with_strokes

_MAX_PIXELS = 2_000_000
"""pixels that a picture may have once its bonds are 16 pixels long"""
_OTHER_SCALES = (1.5, 0.67, 2.2, 0.45)
_CONFIDENT = 0.93
"""confidence above which no other scale is tried"""
_CONFIDENT_VIEW = 0.96
"""confidence above which one view is enough"""
_VIEWS = ((0.9, 1.0), (1.12, 1.0), (1.0, 1.4), (1.0, 0.7))
"""further views: factor on the scale, and exponent on the ink (0 to 1). They and the threshold were chosen by
exact readings of molecules of the dev split in training styles (benchmarks/pictures.py --styles training)
"""
_CONFIDENCE_POWER = 20
"""a view's weight is its confidence to this power; chosen by recall at 1 of such molecules' pictures"""
_MIN_PROBABILITY = 0.1
"""probability below which an alternative is left out"""
_FURTHER = (9.0, 24)
"""limits of hypotheses where RDKit refuses all others"""
_CACHE_SIZE = 4096
"""pictures whose recognitions are cached, a batch at least: a search embeds a picture, asks for its
configuration, and then says how it was read"""

Alternatives = tuple[tuple[str, float], ...]
"""SMILES and their probabilities, the likeliest first"""


class Recognition(NamedTuple):
    """A recognised structure."""

    smiles: str
    """the likeliest, standardised, with its configuration; "" where no atom was found"""
    hypothesis: Hypothesis
    """the hypothesis of least cost, before the prior"""
    scale: float
    """pixels of the network's map per pixel of ink"""
    alternatives: Alternatives = ()
    """without configuration"""
    drawn: str = ""
    """the likeliest with its counter-ions and charges, as it is drawn"""
    doubts: tuple[str, ...] = ()
    """letters that spell no group"""
    configured: tuple[str, ...] = ()
    """SMILES of the alternatives with their configuration"""

    @property
    def features(self) -> dict[str, float]:
        """What `probability` is told by."""
        certain = np.maximum(self.hypothesis.certainties, 1e-4)
        return {
            "share": float(np.log(self.alternatives[0][1])),
            "confidence": float(np.log(max(self.hypothesis.confidence, 1e-4))),
            "weakest": float(np.log(certain.min())),
            "all": float(np.log(certain).sum()),
            "atoms": float(np.log(len(certain))),
            "unknown labels": float(bool(self.doubts)),
            "pieces": float(np.log(self.drawn.count(".") + 1)),
        }

    @property
    def probability(self) -> float:
        """That the likeliest structure is the drawn one without its counter-ions, of 0.01 to 0.99: a logistic
        regression on scans (`python -m benchmarks.pictures --found FOLDER --fit`)."""
        if not self.alternatives or not len(self.hypothesis.certainties):
            return 0.0
        logit = _sureness()["intercept"]
        for name, (mean, scale, weight) in _sureness()["features"].items():
            logit += weight * (self.features[name] - mean) / scale
        return float(1 / (1 + np.exp(-np.clip(logit, -4.6, 4.6))))


@cache
def _sureness() -> dict[str, Any]:
    """Intercept, and mean, scale and weight of each feature."""
    text = resources.files(__package__).joinpath("sureness.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


class PictureReader(MixtureEncoder):
    """The frozen encoder of pictures: bond-length estimator, detector and a copy of the SMILES encoder.

    `hypotheses` takes a batch as `modalities.image.Image.collate` makes it: `pixels` (P,) uint8, all pictures
    end to end, and `shapes` (n, 2) int64. A picture's vector does not depend on the others of its batch.
    estimator: channels of the bond-length estimator; cards and plans call it `ruler`.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        layers: int,
        fine: int = 64,
        coarse: int = 128,
        blocks: int = 2,
        refine: int = 1,
        estimator: int = 48,
        ruler: int | None = None,
    ) -> None:
        super().__init__()
        self.detector = Detector(fine, coarse, blocks, refine)
        self.estimator = BondLengthEstimator(ruler or estimator)
        self.smiles = GraphNet(list(SYMBOL_COLUMNS.values()), N_LINK_CODES, width, hidden, layers)
        self.width = self.smiles.width
        self._cache = OrderedDict[bytes, Recognition]()

    def train(self, mode: bool = True) -> PictureReader:
        """As `nn.Module.train`. The cache is emptied, for the weights may change."""
        self._cache = OrderedDict[bytes, Recognition]()
        return super().train(mode)

    def hypotheses(self, batch: Any) -> Hypotheses:
        """The likely structures of each picture; zeros where no atom was found."""
        graphs, places = [], []
        records: list[int] = []
        probabilities: list[float] = []
        for row, ink in enumerate(split_pictures(batch)):
            alternatives = self.read(ink).alternatives
            readable = [(graph, p) for smiles, p in alternatives if (graph := _graph(smiles)) is not None]
            total = sum(p for _, p in readable)
            for graph, p in readable:
                places.append(len(records))
                graphs.append(graph)
                records.append(row)
                probabilities.append(p / total)
            if not readable:
                records.append(row)
                probabilities.append(1.0)
        device, dtype = placement(self)
        features = torch.zeros(len(records), self.width, device=device, dtype=dtype)
        if graphs:
            features[places] = self.smiles(TensorBatch.of(collate(graphs), device))
        return Hypotheses(
            features,
            torch.tensor(records, dtype=torch.int64, device=device),
            torch.tensor(probabilities, device=device, dtype=dtype),
        )

    def configuration(self, ink: np.ndarray) -> np.ndarray | None:
        """`chem.configuration` of what a picture as `read` takes it shows, by the probabilities of the
        alternatives."""
        found = self.read(ink)
        shared = zip(found.configured, found.alternatives, strict=True)
        some = [p * one for text, (_, p) in shared if (one := of_smiles(text)) is not None]
        return np.sum(some, axis=0) if some else None

    def read(self, ink: np.ndarray) -> Recognition:
        """Recognise one picture, ink (h, w) uint8 of any scale. The last pictures are cached.

        The estimated bond length may be wrong: where confidence is low at its scale, others are tried, and
        the most confident one counts.
        """
        name = blake2b(f"{ink.shape}".encode() + ink.tobytes(), digest_size=16).digest()
        found = self._cache.get(name)
        if found is None:
            found = self._cache[name] = self._recognition(ink)
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return found

    def _recognition(self, ink: np.ndarray) -> Recognition:
        first = BOND / bond_length(self.estimator, ink)
        detections, hypothesis, scale = self._at(ink, first)
        first = scale
        for factor in _OTHER_SCALES:
            if hypothesis.confidence > _CONFIDENT:
                break
            # Not where the search has been already.
            if not 0.87 < first * factor / scale < 1.15:
                other = self._at(ink, first * factor)
                if other[1].confidence > hypothesis.confidence:
                    detections, hypothesis, scale = other
        drawn = readings(detections)
        views = [(hypothesis.confidence * _plausibility(drawn), shares(drawn))]
        if hypothesis.confidence < _CONFIDENT_VIEW:
            for factor, power in _VIEWS:
                seen, read, _ = self._at(gamma(ink, power), scale * factor)
                found = readings(seen)
                views.append((read.confidence * _plausibility(found), shares(found)))
                drawn = found | drawn
        alternatives = vote(views)
        structures = [drawn[smiles][1] for smiles, _ in alternatives]
        configured = tuple(one.standardised(configured=True) for one in structures)
        whole, doubts = structures[0].configured(), detections.doubts
        return Recognition(configured[0], hypothesis, scale, alternatives, whole, doubts, configured)

    def _at(self, ink: np.ndarray, scale: float) -> tuple[Detections, Hypothesis, float]:
        """Read at a scale, and again where the detected bonds turn out longer or shorter."""
        for again in (True, False):
            scale = float(np.clip(scale, 0.02, min(np.sqrt(_MAX_PIXELS / ink.size), 12)))
            lines = [line.at(scale, MARGIN) for line in text_lines(ink, BOND / scale)]
            large = resized(ink, SHARP * scale)
            seen = with_strokes(detect(self.detector, large), large, SHARP, MARGIN)
            detections = with_labels(seen, lines)
            hypothesis = best_hypothesis(detections)
            if not hypothesis.bonds or not again:
                break
            ends = hypothesis.xy[np.array(hypothesis.bonds)[:, :2]]
            length = float(np.median(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)))
            if 0.87 < length / BOND < 1.15:
                break
            scale *= BOND / length
        return detections, hypothesis, scale


def _graph(smiles: str) -> MolGraph | None:
    try:
        return linked_symbols(smiles)
    except InvalidRecord:  # no atom was found, or more than a SMILES may have
        return None


def readings(detections: Detections) -> dict[str, tuple[float, Structure]]:
    """Standardised flat SMILES that a picture may show -> cost in nats, and all that is drawn."""
    found: dict[str, tuple[float, Structure]] = {}
    for limits in ((MAX_COST, MAX_HYPOTHESES), _FURTHER):
        accepted = False
        for cost, read in hypotheses(detections, *limits):
            # Costs rise: from here on no probability can reach the minimum.
            if found and cost > min(cost for cost, _ in found.values()) - np.log(_MIN_PROBABILITY):
                break
            one = assemble(read.symbols, read.hydrogens, read.charges, read.bonds, read.xy, read.wedges)
            accepted |= one.mol is not None
            # The prior is of all that was drawn: several pieces, and charges as they stand.
            total = cost + prior_cost(one.mol, one.smiles)
            smiles = one.standardised()
            if smiles not in found or total < found[smiles][0]:
                found[smiles] = (total, one)
        if accepted:
            break
    return found


def shares(found: Mapping[str, tuple[float, Any]]) -> Alternatives:
    """Probabilities of readings with their costs, the likeliest first; improbable ones are left out."""
    costs = np.array([cost for cost, _ in found.values()])
    odds = np.exp(costs.min() - costs)
    odds[odds < min(_MIN_PROBABILITY * odds.sum(), odds.max())] = 0  # the likeliest stays
    order = np.argsort(-odds, kind="stable")
    names = list(found)
    return tuple((names[i], float(odds[i] / odds.sum())) for i in order if odds[i])


def _plausibility(found: Mapping[str, tuple[float, Any]]) -> float:
    """What the confidence of a view is multiplied by: the costlier its readings, the less."""
    return float(np.exp(-min(cost for cost, _ in found.values()) / _CONFIDENCE_POWER))


def vote(views: Sequence[tuple[float, Sequence[tuple[str, float]]]]) -> Alternatives:
    """The alternatives of several views of one picture, each weighted by its confidence, as those of one."""
    highest = max(confidence for confidence, _ in views)
    votes: dict[str, float] = {}
    for confidence, alternatives in views:
        weight = (confidence / highest) ** _CONFIDENCE_POWER if highest > 0 else 1.0
        for smiles, probability in alternatives:
            votes[smiles] = votes.get(smiles, 0.0) + weight * probability
    with rdBase.BlockLogs():
        accepted = {smiles: n for smiles, n in votes.items() if Chem.MolFromSmiles(smiles) is not None}
    votes = accepted or votes  # what RDKit refuses wins nowhere
    least = _MIN_PROBABILITY * sum(votes.values())
    # The likeliest stays, however many there are. Ties: the first view's first.
    ordered = sorted(votes.items(), key=lambda one: -one[1])
    kept = [one for i, one in enumerate(ordered) if i == 0 or one[1] >= least]
    total = sum(votes for _, votes in kept)
    return tuple((smiles, votes / total) for smiles, votes in kept)


def gamma(ink: np.ndarray, power: float) -> np.ndarray:
    """The ink (h, w) uint8, paler for a power above 1, darker below."""
    if power == 1.0:
        return ink
    return np.rint((np.arange(256) / 255) ** power * 255).astype(np.uint8)[ink]


@torch.inference_mode()
def bond_length(estimator: BondLengthEstimator, ink: np.ndarray) -> float:
    """Length of the bonds of a picture in pixels."""
    h, w = ink.shape
    scale = min(ESTIMATOR_SIDE / np.sqrt(h * w), 640 / max(h, w))
    length, weight = estimator(padded(resized(ink, scale)).to(*placement(estimator)))
    return 8.0 * float(log_bond_length(length[0], weight[0]).exp()) / scale


def split_pictures(batch: Any) -> list[np.ndarray]:
    """The pictures of a batch, each (h, w) uint8."""
    pixels, shapes = (
        x.cpu().numpy() if isinstance(x, torch.Tensor) else x for x in (batch.pixels, batch.shapes)
    )
    ends = np.cumsum(shapes[:, 0] * shapes[:, 1])
    return [part.reshape(shape) for part, shape in zip(np.split(pixels, ends)[:-1], shapes, strict=True)]
