"""Baselines: what the model is measured against.

A baseline is a class here, decorated with `register`. It learns from the training rows of a question without
their dev split, is tuned on the dev split, and scores the same pool for the same queries as the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load, save
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GIN, global_mean_pool

from acml_search.chem import molecule
from acml_search.chem.graph import ATOM_COLUMNS, MolGraph, featurise
from acml_search.chem.splits import is_dev
from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.core.io import digest_of, versions
from acml_search.core.progress import progress
from acml_search.core.typing import Float32s, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.embedding import MoleculeVectors
from acml_search.evaluation.pool import Pool, Query
from acml_search.modalities import get
from acml_search.networks.pyg import to_batch
from acml_search.nmr.predicted import PeakLists, decode
from benchmarks.suite.measures import BITS, fingerprints, tanimoto, unpacked

CHUNK = 2_000
RECORDS_PER_MOLECULE = 3
"""that baselines learn from: MS/MS has many, and they weigh together as one"""
SHIFTS = {"c_nmr": (-20.0, 260.0), "h_nmr": (-2.0, 16.0)}
"""ppm that the bins span"""
MASSES = ("lc_ms", "gc_ms")
MAX_MZ = 1_000.0
"""where the bins of mass spectra end"""

Score = Callable[[Ints], Float32s]
"""scores (nq, n) of the pool's molecules at positions (n,)"""


@dataclass(frozen=True)
class Rows:
    """Records that could be read, as the modality's `read` returns them, with their molecules."""

    records: list[Any]
    smiles: list[str]
    inchikeys: list[str]
    """first blocks"""

    def __len__(self) -> int:
        return len(self.records)

    @classmethod
    def of(cls, queries: Sequence[Query], modality: str, limit: int | None = None, seed: int = 0) -> Rows:
        """The rows whose record can be read; of each molecule at most `limit`, a seeded choice."""
        reader, rows, n_of = get(modality), cls([], [], []), dict[str, int]()
        order = np.random.default_rng(seed).permutation(len(queries)) if limit else np.arange(len(queries))
        for i in order.tolist():
            structure = queries[i].structure
            if structure is None or (limit and n_of.get(structure.inchikey14, 0) >= limit):
                continue
            try:
                record = reader.read(queries[i].metadata)
            except InvalidRecord:  # nothing to learn from
                continue
            n_of[structure.inchikey14] = n_of.get(structure.inchikey14, 0) + 1
            rows.records.append(record)
            rows.smiles.append(structure.smiles)
            rows.inchikeys.append(structure.inchikey14)
        return rows


@dataclass
class Material:
    """What a baseline works with. `records` (nq): of the queries, None where one cannot be read; `truths`
    (nq,) positions in the pool; `training`: rows that may be learned from, the dev split among them.
    """

    modality: str
    pool: Pool
    records: list[Any]
    truths: Ints
    training: list[Query]
    workers: Workers
    cache: Cache
    vectors: MoleculeVectors
    """of the pool, with the peaks that the model predicts"""
    seed: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    """what a baseline adds to its result: its choices"""

    @cached_property
    def train(self) -> Rows:
        """Training rows without the dev split. Raises ConfigError where there are none."""
        rows = [q for q in self.training if q.structure and not is_dev(q.structure.inchikey14)]
        found = Rows.of(rows, self.modality, RECORDS_PER_MOLECULE, self.seed)
        if not len(found):
            raise ConfigError(
                f"the baselines of {self.modality} that learn have no row to learn from; name such rows with "
                "`training` in the question, or leave these baselines out"
            )
        return found

    @cached_property
    def dev(self) -> Rows:
        """The dev split, one record a molecule: choices are made on it."""
        rows = [q for q in self.training if q.structure and is_dev(q.structure.inchikey14)]
        return Rows.of(rows, self.modality, 1, self.seed)

    @property
    def readable(self) -> list[Any]:
        """`records`, with any other in the place of those that cannot be read: these queries fail anyway."""
        return [self.train.records[0] if one is None else one for one in self.records]

    def bits_of(self, smiles: Sequence[str]) -> npt.NDArray[np.uint8]:
        """(n, BITS / 8) uint8, packed Morgan bits of radius 2; cached."""
        distinct = list(dict.fromkeys(smiles))

        def compute() -> npt.NDArray[np.uint8]:
            parts = [np.zeros((0, BITS // 8), np.uint8)]
            with progress(total=len(distinct), desc="Morgan bits", unit="mol") as bar:
                for part in self.workers.map(fingerprints, chunks(distinct, CHUNK)):
                    parts.append(part)
                    bar.update(len(part))
            return np.concatenate(parts)

        key = {"smiles": digest_of(distinct), "bits": BITS, "radius": 2, **versions("rdkit")}
        table = self.cache.array("bits", key, compute)
        row = {text: i for i, text in enumerate(distinct)}
        return np.asarray(table)[[row[text] for text in smiles]]

    @cached_property
    def bits(self) -> npt.NDArray[np.uint8]:
        """(n_pool, BITS / 8) uint8, of the pool."""
        return self.bits_of([one.smiles for one in self.pool.structures])


class Baseline(ABC):
    """Ranks the pool without the model's space. `about`: a sentence for the report."""

    name: str
    about: str
    matches_peaks = False
    """the best of its list are compared peak by peak afterwards, and ranked by that alone"""

    def why_not(self, modality: str) -> str | None:
        """Why it cannot answer queries of a modality; None where it can."""
        return None

    @abstractmethod
    def prepare(self, material: Material) -> Score:
        """Learn, tune and return the function that scores blocks of the pool."""


BASELINES: dict[str, Baseline] = {}
B = TypeVar("B", bound=type[Baseline])


def register(kind: B) -> B:
    """Class decorator. Raises ValueError for a name that is taken."""
    if kind.name in BASELINES:
        raise ValueError(f"there is a baseline {kind.name!r} already")
    BASELINES[kind.name] = kind()
    return kind


def baseline(name: str) -> Baseline:
    """The baseline of that name. Raises ConfigError, naming those there are."""
    if name not in BASELINES:
        raise ConfigError(f"there is no baseline {name!r}; there are {', '.join(sorted(BASELINES))}")
    return BASELINES[name]


@register
class Random(Baseline):
    name = "random"
    about = "Scores drawn at random."

    def prepare(self, material: Material) -> Score:
        def column(position: int) -> Float32s:  # so that a score does not depend on how the pool is cut
            rng = np.random.default_rng([material.seed, position])
            return rng.random(len(material.records), np.float32)

        return lambda positions: np.stack([column(i) for i in positions.tolist()], axis=1)


@register
class Formula(Baseline):
    """All molecules of the truth's formula tie, and a tie is a miss: only a formula that one molecule of the
    pool has alone is a hit. `expected_at_1`: what a random choice among them would reach.
    """

    name = "formula"
    about = "The molecular formula alone: all molecules that have it tie, and a tie is a miss."

    def prepare(self, material: Material) -> Score:
        codes = material.pool.formula_codes()
        mine = codes[material.truths]
        sizes = np.bincount(codes)[codes[np.unique(material.truths)]]  # a molecule weighs as one
        material.about["expected_at_1"] = float((1 / sizes).mean()) if len(sizes) else None
        return lambda positions: (mine[:, None] == codes[None, positions]).astype(np.float32)


@register
class NearestSpectrum(Baseline):
    """Library search: the query's nearest training spectra by cosine of binned spectra; a candidate scores by
    the Tanimoto similarity (Morgan bits, radius 2) to their molecules, weighted by a power of the cosine.
    Width of the bins, number of neighbours and power are chosen on the dev split by mean reciprocal rank.
    """

    name = "nearest_spectrum"
    about = (
        "Molecules most like those of the nearest training spectra (cosine of binned spectra). These are in "
        "the pool themselves and come first, so that recall at 1 without a filter is nil by construction."
    )
    widths: ClassVar = {
        "c_nmr": (1.0, 2.0, 4.0, 8.0),
        "h_nmr": (0.03, 0.06, 0.12, 0.24),
        "lc_ms": (0.02, 0.1, 1.0),
        "gc_ms": (0.5, 1.0),
    }
    neighbours: tuple[int, ...] = (1, 3, 5)
    powers = (1, 4)

    def why_not(self, modality: str) -> str | None:
        if modality in self.widths:
            return None
        return f"the records of {modality} are made from the structure; a nearest one says nothing new"

    def prepare(self, material: Material) -> Score:
        train = material.train
        bits = unpacked(material.bits_of(train.smiles))
        truths = unpacked(material.bits_of(material.dev.smiles))
        mrr: dict[tuple[float, int, int], float] = {}
        for width in self.widths[material.modality]:
            near, cosines = self._nearest(material, material.dev.records, width)
            similarity = [tanimoto(truths, bits[near[:, i]]) for i in range(near.shape[1])]
            for k, power in product((k for k in self.neighbours if k <= len(train)), self.powers):
                scores = np.sum([similarity[i] * cosines[None, :, i] ** power for i in range(k)], axis=0)
                ranks = (scores >= np.diagonal(scores)[None, :] - 1e-6).sum(axis=0)
                mrr[width, k, power] = float(np.mean(1 / ranks))
        width, k, power = max(mrr, key=lambda one: mrr[one])
        material.about["chosen_on_inner"] = {
            "width": width,
            "neighbours": k,
            "power": power,
            "mrr_among_inner": {f"width {w}, {n}, power {p}": round(x, 4) for (w, n, p), x in mrr.items()},
        }
        near, cosines = self._nearest(material, material.readable, width)
        # queries share neighbours: each training molecule is compared with the pool once
        rows, at = np.unique(near[:, :k], return_inverse=True)
        starts = np.arange(0, k * len(near) + 1, k)
        weights = sparse.csr_array(
            ((cosines[:, :k] ** power).ravel(), at.ravel(), starts), shape=(len(near), len(rows))
        )
        chosen = bits[rows]

        def score(positions: Ints) -> Float32s:
            return np.asarray(weights @ tanimoto(chosen, unpacked(material.bits[positions])), np.float32)

        return score

    def _nearest(self, material: Material, records: Sequence[Any], width: float) -> tuple[Ints, Float32s]:
        """Rows of the nearest training spectra of each record, (nq, k) int64, and their cosines (nq, k)."""
        known = binned(material.modality, material.train.records, width)
        queries = binned(material.modality, records, width)
        return nearest(queries, known, min(max(self.neighbours), len(material.train)))


def nearest(queries: Any, known: Any, k: int) -> tuple[Ints, Float32s]:
    """The `k` rows of `known` (n, f) with the largest cosine to each of `queries` (nq, f), best first."""
    rows, cosines = [np.zeros((0, k), np.int64)], [np.zeros((0, k), np.float32)]
    for low in range(0, queries.shape[0], 512):
        product_ = queries[low : low + 512] @ known.T
        scores = np.asarray(product_.todense() if sparse.issparse(product_) else product_)
        at = np.argpartition(scores, -k, axis=1)[:, -k:]
        value = np.take_along_axis(scores, at, axis=1)
        order = np.argsort(-value, axis=1)
        rows.append(np.take_along_axis(at, order, axis=1))
        cosines.append(np.take_along_axis(value, order, axis=1))
    return np.concatenate(rows), np.concatenate(cosines).astype(np.float32)


@register
class FingerprintRegression(Baseline):
    """A network of two hidden layers from the binned spectrum to 1,024 Morgan bits (radius 2). A candidate
    scores by the log-likelihood of its bits (as CSI:FingerID's Platt score, Duehrkop et al. 2015), less a
    share of their usual log-odds: without that, molecules of few bits always lead. Epoch and share are chosen
    on the dev split.
    """

    name = "fingerprint"
    about = "A network tells Morgan bits from the binned spectrum; candidates rank by their likelihood."
    epochs, batch, hidden = 24, 256, 1_024
    shares = (0.0, 0.5, 0.75, 0.9, 1.0)
    n_others = 20_000
    """molecules of the pool, a seeded choice, among which those of the dev split are ranked"""

    def why_not(self, modality: str) -> str | None:
        if modality in (*SHIFTS, *MASSES):
            return None
        return f"a record of {modality} holds the structure itself; its bits need no regression"

    def prepare(self, material: Material) -> Score:
        train, dev = material.train, material.dev
        bits, dev_bits = (unpacked(material.bits_of(rows.smiles)) for rows in (train, dev))
        x, dev_x, queries = (
            _unit_variance(dense(material.modality, records))
            for records in (train.records, dev.records, material.readable)
        )
        found, by_epoch = self._fit(x, bits, dev_x, dev_bits, np.concatenate([dev_x, queries]), material.seed)
        usual = log_odds(bits)
        mrr = mrr_by_share(found[: len(dev)], usual, dev_bits, self._others(material), self.shares)
        share = max(mrr, key=lambda one: mrr[one])
        material.about["chosen_on_inner"] = {
            "epoch": int(np.argmin(by_epoch)) + 1,
            "cross_entropy_by_epoch": by_epoch,
            "share_of_usual_odds": share,
            "mrr_by_share": {f"{each:g}": round(x, 5) for each, x in mrr.items()},
        }
        logits = found[len(dev) :] - np.float32(share) * usual
        # the log-likelihood of bits b under logits z is b z and a constant of all candidates
        return lambda positions: np.asarray(logits @ unpacked(material.bits[positions]).T, np.float32)

    def _fit(
        self, x: Float32s, y: Float32s, dev_x: Float32s, dev_y: Float32s, queries: Float32s, seed: int
    ) -> tuple[Float32s, list[float]]:
        """Logits (nq, f) of `queries` at the epoch that is best on the dev split, and its cross-entropy after
        each epoch.
        """
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        layers: list[nn.Module] = []
        for n_in in (x.shape[1], self.hidden):
            layers += [nn.Linear(n_in, self.hidden), nn.ReLU(), nn.Dropout(0.3)]
        net = nn.Sequential(*layers, nn.Linear(self.hidden, y.shape[1]))
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-3)
        steps = self.epochs * max(1, len(x) // self.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=steps + 1)
        by_epoch: list[float] = []
        best, logits = np.inf, np.zeros((len(queries), y.shape[1]), np.float32)
        for _ in progress(range(self.epochs), desc="fingerprint regression", unit="epoch"):
            net.train()
            for rows in batches(len(x), self.batch, rng):
                told = net(torch.from_numpy(x[rows]))
                minimise(F.binary_cross_entropy_with_logits(told, torch.from_numpy(y[rows])), optimiser)
                schedule.step()
            net.eval()
            with torch.inference_mode():
                held = net(torch.from_numpy(dev_x)) if len(dev_x) else torch.zeros(0, y.shape[1])
                error = float(F.binary_cross_entropy_with_logits(held, torch.from_numpy(dev_y)))
                by_epoch.append(round(error, 5))
                if error < best or not np.isfinite(error):
                    best, logits = error, net(torch.from_numpy(queries)).numpy()
        return logits, by_epoch

    def _others(self, material: Material) -> Float32s:
        """(n, f) bits of molecules of the pool that are not in the dev split."""
        dev, structures = set(material.dev.inchikeys), material.pool.structures
        order = np.random.default_rng(material.seed).permutation(len(structures))[: self.n_others]
        rows = [i for i in np.sort(order).tolist() if structures[i].inchikey14 not in dev]
        return unpacked(material.bits[rows])


def _unit_variance(table: Float32s) -> Float32s:
    """Rows of mean square one a bin: at unit length a network hardly begins to learn."""
    return table * np.float32(np.sqrt(table.shape[1]))


def log_odds(bits: Float32s) -> Float32s:
    """(f,) of every bit (n, f), with one molecule added that has half of each."""
    rate = (bits.sum(axis=0) + 0.5) / (len(bits) + 1)
    return np.log(rate / (1 - rate)).astype(np.float32)


def mrr_by_share(
    logits: Float32s, usual: Float32s, truths: Float32s, others: Float32s, shares: Sequence[float]
) -> dict[float, float]:
    """Share of the usual log-odds -> MRR of `truths` (n, f) among themselves and `others`."""
    candidates = np.concatenate([truths, others])
    plain, common = logits @ candidates.T, candidates @ usual
    found = {}
    for share in shares:
        scores = plain - np.float32(share) * common
        own = np.diagonal(scores)[:, None]
        ranks = (scores >= own - 1e-6).sum(axis=1)  # ties lose
        found[share] = float(np.mean(1 / ranks)) if len(ranks) else 0.0
    return found


@register
class ShiftMatching(Baseline):
    """The model's predicted peaks against the observed ones, without a learned space: the cosine of
    histograms makes the shortlist, and the optimal matching of peaks alone ranks it.
    """

    name = "shifts"
    about = "Predicted against observed shifts: a fixed histogram makes the shortlist, matching ranks it."
    matches_peaks = True
    widths: ClassVar = {"c_nmr": 4.5, "h_nmr": 0.25}
    """ppm, of the Gaussians in the histograms: the mean reciprocal rank of dev molecules among 6,000 of the
    pool was best here, of 0.5 to 11 ppm (13C) and 0.05 to 0.4 ppm (1H)
    """

    def why_not(self, modality: str) -> str | None:
        return None if modality in self.widths else f"atoms show no shifts in {modality}"

    def prepare(self, material: Material) -> Score:
        """Raises ConfigError where the model predicts no peaks."""
        modality, vectors = material.modality, material.vectors
        if not vectors.has_peaks(modality):
            raise ConfigError(
                f"the model predicts no peaks in the space {modality}; leave the baseline {self.name!r} "
                "out of the question, or name another model"
            )
        width = material.about["histogram_width_ppm"] = self.widths[modality]
        records = [np.zeros(0) if one is None else one for one in material.records]
        queries = shift_histograms(modality, records, width)
        smiles = [one.smiles for one in material.pool.structures]

        def score(positions: Ints) -> Float32s:
            lists = vectors.peaks(modality, (smiles[i] for i in positions.tolist()))
            return np.asarray(queries @ predicted_histograms(modality, lists, width).T, np.float32)

        return score


def predicted_histograms(modality: str, lists: PeakLists, width: float) -> Float32s:
    """(n, bins) float32, unit length: predicted peaks as Gaussians of `width` ppm, broader by their predicted
    spread; zeros for a molecule without a peak.
    """
    low, high = SHIFTS[modality]
    bins, peaks = grid(modality, width), decode(get(modality).nuclei, lists.peaks)
    spread = np.hypot(width, peaks.spread)
    distance = (np.clip(peaks.position, low, high)[:, None] - bins[None, :]) / spread[:, None]
    height = (peaks.present * width / spread)[:, None] * np.exp(-0.5 * distance**2)
    out = np.zeros((len(lists.ends), len(bins)), np.float32)
    has_peaks = lists.sizes > 0
    if has_peaks.any():
        out[has_peaks] = np.add.reduceat(height, (lists.ends - lists.sizes)[has_peaks], axis=0)
    return unit(out)


def shift_histograms(modality: str, records: Sequence[Any], width: float) -> Float32s:
    """(n, bins) float32, unit length: a Gaussian of `width` ppm at every shift, bins of half a width."""
    low, high = SHIFTS[modality]
    bins = grid(modality, width)
    out = np.zeros((len(records), len(bins)), np.float32)
    for row, shifts in enumerate(records):
        distance = (np.clip(shifts, low, high)[:, None] - bins[None, :]) / width
        out[row] = np.exp(-0.5 * distance**2).sum(axis=0)
    return unit(out)


def grid(modality: str, width: float) -> Float32s:
    """(bins,) ppm, half a width apart."""
    low, high = SHIFTS[modality]
    return np.arange(low, high + width / 2, width / 2).astype(np.float32)


def mass_bins(records: Sequence[Any], width: float) -> Any:
    """(n, bins) CSR float32, unit length: square roots of the intensities, each peak shared by the two bins
    it lies between, and, where the precursor is known, the same of the neutral losses.
    """
    n_bins = int(MAX_MZ / width) + 2
    rows, columns, values = [], [], []
    for row, record in enumerate(records):
        mzs, intensities = (np.asarray(x, np.float64) for x in (record.mzs, record.intensities))
        precursor = getattr(record, "precursor", 0)
        for positions, offset in ((mzs, 0), *(((precursor - mzs, n_bins),) if precursor else ())):
            inside = (positions >= 0) & (positions < MAX_MZ)
            place = positions[inside] / width
            at = np.floor(place).astype(np.int64)
            height = np.sqrt(intensities[inside])
            for bins, weight in ((at, 1 - (place - at)), (at + 1, place - at)):
                rows.append(np.full(len(bins), row))
                columns.append(bins + offset)
                values.append(height * weight)
    shape = (len(records), 2 * n_bins)
    if not rows:
        return sparse.csr_matrix(shape, dtype=np.float32)
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    table = sparse.csr_matrix(data, shape=shape, dtype=np.float32)
    length = np.sqrt(np.asarray(table.multiply(table).sum(axis=1))).ravel()
    return sparse.diags(1 / np.maximum(length, 1e-12)).dot(table).tocsr().astype(np.float32)


def binned(modality: str, records: Sequence[Any], width: float) -> Any:
    """(n, bins) float32, unit length; sparse for mass spectra."""
    return shift_histograms(modality, records, width) if modality in SHIFTS else mass_bins(records, width)


def dense(modality: str, records: Sequence[Any]) -> Float32s:
    """(n, bins) float32 for networks: shifts as Gaussians (13C 1 ppm, 1H 0.06 ppm), masses by 1 Da."""
    if modality in SHIFTS:
        return shift_histograms(modality, records, 1.0 if modality == "c_nmr" else 0.06)
    return np.asarray(mass_bins(records, 1.0).todense(), np.float32)


def unit(table: Float32s) -> Float32s:
    """Rows of length one; rows of zeros stay."""
    return (table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Shuffled rows in full batches; all rows where they fill none."""
    order = rng.permutation(n)
    for low in range(0, max(1, n - size + 1), size):
        yield order[low : low + size]


def minimise(loss: Tensor, optimiser: Any) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@register
class AcmlRecipe(Baseline):
    """ACML re-made from its description (arXiv 2311.06456): a GIN of width 64 and a frozen convolutional
    encoder of binned spectra, pretrained as an autoencoder, aligned by a symmetric cross-entropy over inner
    products in batches of 128, temperature 1, vectors layer-normalised and not of unit length. Learning rate
    and epoch are chosen on the dev split.
    """

    name = "acml"
    about = "ACML as described: GIN of width 64, frozen convolutional encoder, temperature 1, batches of 128."
    epochs, rates = 8, (1e-3, 3e-4)

    def why_not(self, modality: str) -> str | None:
        if modality in (*SHIFTS, *MASSES):
            return None
        return (
            f"its {modality} encoder is a pretrained network we do not have; a small one trained here would "
            "be a straw man"
        )

    def prepare(self, material: Material) -> Score:
        modality, train, dev = material.modality, material.train, material.dev
        encoder = autoencoder(dense(modality, train.records), seed=material.seed)
        known, held, queries = (
            encoded(encoder, dense(modality, records))
            for records in (train.records, dev.records, material.readable)
        )
        tasks = ((x, self.epochs, material.seed, train.smiles, known, dev.smiles, held) for x in self.rates)
        recalls, states = zip(*material.workers.map(align, tasks), strict=True)
        best = max(range(len(states)), key=lambda i: max(recalls[i]))
        material.about["chosen_on_inner"] = {
            "rate": self.rates[best],
            "epoch": int(np.argmax(recalls[best])) + 1,
            "inner_pool": len(dev),
            "recall_at_1_by_epoch": {f"rate {x:g}": of for x, of in zip(self.rates, recalls, strict=True)},
        }
        sides = AcmlSides(known.shape[1])
        sides.load_state_dict(load(states[best]))
        smiles = [one.smiles for one in material.pool.structures]
        parts = material.workers.map(pool_vectors, ((states[best], part) for part in chunks(smiles, 8_192)))
        table, vectors = np.concatenate(list(parts)), sides.record_vectors(queries)
        return lambda positions: np.asarray(vectors @ table[positions].T, np.float32)


def autoencoder(x: Float32s, *, seed: int, width: int = 256, epochs: int = 10) -> nn.Module:
    """A convolutional encoder (n, bins) -> (n, width), trained to reconstruct `x` with a tenth of it hidden;
    frozen.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    convolutions = nn.Sequential(
        nn.Unflatten(1, (1, x.shape[1])), nn.Conv1d(1, 8, 9, stride=4, padding=4), nn.ReLU(),
        nn.Conv1d(8, 16, 7, stride=3, padding=3), nn.ReLU(), nn.Conv1d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    with torch.inference_mode():
        flat = convolutions(torch.zeros(1, x.shape[1])).shape[1]
    encoder = nn.Sequential(convolutions, nn.Linear(flat, width))
    decoder = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, x.shape[1]))
    both = nn.Sequential(encoder, decoder)
    optimiser = torch.optim.Adam(both.parameters(), lr=1e-3)
    for _ in progress(range(epochs), desc="autoencoder", unit="epoch"):
        for rows in batches(len(x), 128, rng):
            whole = torch.from_numpy(x[rows])
            masked = whole * (torch.rand_like(whole) > 0.1)
            # most bins are empty: the mean would be a good answer if full ones did not weigh more
            minimise(((both(masked) - whole) ** 2 * (1 + 10 * (whole > 0))).mean(), optimiser)
    return encoder.eval().requires_grad_(False)


def encoded(encoder: nn.Module, x: Float32s) -> Float32s:
    """(n, width) float32, in blocks."""
    with torch.inference_mode():
        parts = [encoder(torch.from_numpy(x[low : low + 1024])).numpy() for low in range(0, len(x), 1024)]
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


class AcmlSides(nn.Module):
    """PyG's GIN over the atoms (Xu et al. 2019), their mean, and a linear, layer-normalised projection of it
    and of the records' features.
    """

    def __init__(self, d_record: int, width: int = 64, d: int = 256) -> None:
        super().__init__()
        columns = list(ATOM_COLUMNS.values())
        self.register_buffer("offsets", torch.tensor([0, *columns[:-1]]).cumsum(0))
        self.embed = nn.EmbeddingBag(sum(columns), width, mode="sum")
        self.gin = GIN(width, width, num_layers=5, norm="batch_norm")
        self.graph_side = nn.Sequential(nn.Linear(width, d), nn.LayerNorm(d))
        self.record_side = nn.Sequential(nn.Linear(d_record, d), nn.LayerNorm(d))

    def graphs(self, graphs: Sequence[MolGraph]) -> Tensor:
        """(b, d)"""
        batch = to_batch(graphs)
        atoms = self.gin(self.embed(batch.x + self.offsets), batch.edge_index)
        vectors: Tensor = self.graph_side(global_mean_pool(atoms, batch.batch, len(graphs)))
        return vectors

    def graph_vectors(self, graphs: Sequence[MolGraph], size: int = 128) -> Float32s:
        """(n, d) float32"""
        self.eval()
        with torch.inference_mode():
            parts = [self.graphs(graphs[low : low + size]).numpy() for low in range(0, len(graphs), size)]
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)

    def record_vectors(self, features: Float32s) -> Float32s:
        """(n, d) float32"""
        self.eval()
        with torch.inference_mode():
            return np.asarray(self.record_side(torch.from_numpy(features)).numpy())


def align(
    task: tuple[float, int, int, list[str], Float32s, list[str], Float32s],
) -> tuple[list[float], bytes]:
    """Worker task: train at one rate on SMILES and features. Recall at 1 of dev molecules among one another
    after each epoch, and the weights of the first best one.
    """
    rate, epochs, seed, smiles, features, dev_smiles, dev_features = task
    graphs, held = [_graph(text) for text in smiles], [_graph(text) for text in dev_smiles]
    torch.manual_seed(seed)
    sides = AcmlSides(features.shape[1])
    optimiser = torch.optim.Adam(sides.parameters(), lr=rate)
    rng, recall, weights = np.random.default_rng(seed), list[float](), b""
    for _ in progress(range(epochs), desc=f"ACML at {rate:g}", unit="epoch"):
        sides.train()
        for rows in batches(len(graphs), 128, rng):
            records = sides.record_side(torch.from_numpy(features[rows]))
            logits = sides.graphs([graphs[i] for i in rows.tolist()]) @ records.T
            at = torch.arange(len(rows))
            minimise((F.cross_entropy(logits, at) + F.cross_entropy(logits.T, at)) / 2, optimiser)
        scores = sides.record_vectors(dev_features) @ sides.graph_vectors(held).T
        ranks = (scores >= np.diagonal(scores)[:, None] - 1e-6).sum(axis=1)
        recall.append(float((ranks == 1).mean()))
        if recall[-1] > max(recall[:-1], default=-1.0):
            weights = save({name: x.contiguous() for name, x in sides.state_dict().items()})
    return recall, weights


def pool_vectors(task: tuple[bytes, list[str]]) -> Float32s:
    """Worker task: (weights, canonical SMILES) -> (n, d) float32; zeros for a refused molecule."""
    weights, smiles = load(task[0]), task[1]
    sides = AcmlSides(weights["record_side.0.weight"].shape[1])
    sides.load_state_dict(weights)
    graphs: dict[int, MolGraph] = {}
    for i, text in enumerate(smiles):
        with suppress(InvalidMolecule):  # RDKit wrote this SMILES and refuses it
            graphs[i] = _graph(text)
    out = np.zeros((len(smiles), sides.graph_side[0].out_features), np.float32)
    if graphs:
        out[list(graphs)] = sides.graph_vectors(list(graphs.values()))
    return out


def _graph(smiles: str) -> MolGraph:
    return featurise(molecule.parse(smiles)[0], stereo=False)
