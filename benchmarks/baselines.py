"""Baselines: what the model is measured against, with the same queries, pool, filters and tie rule.

A baseline is a class here, decorated with `register`. It learns from the training rows of a question without
their dev split, is tuned on the dev split, and scores the pool for the queries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from acml_search.chem.splits import is_dev
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.core.io import digest_of, versions
from acml_search.core.progress import progress
from acml_search.core.typing import Float32s, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.embedding import MoleculeVectors
from acml_search.evaluation.pool import Pool, Query, few_of_each
from acml_search.evaluation.ranking import SHORTLIST, Ranker
from acml_search.evaluation.rescoring import Weights
from acml_search.evaluation.results import QueryOutcome, Result
from acml_search.evaluation.retrieval import Filter
from acml_search.modalities import get
from acml_search.nmr.predicted import PeakLists, decode
from benchmarks.suite.measures import BITS, SEED, fingerprints, tanimoto, unpacked
from benchmarks.suite.run import QuestionRun

CHUNK = 2_000
BLOCK = 4_096
MAX_QUERIES, RECORDS_PER_MOLECULE = 1_000, 2
"""a seeded choice of the queries; the model is compared with baselines on these"""
TRAINING_RECORDS = 3
"""of a molecule that baselines learn from: MS/MS has many, and they weigh together as one"""
SHIFTS = {"c_nmr": (-20.0, 260.0), "h_nmr": (-2.0, 16.0)}
"""ppm that the bins span"""
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
    def of(cls, queries: Sequence[Query], modality: str, limit: int | None = None) -> Rows:
        """The rows whose record can be read; of each molecule at most `limit`, a seeded choice."""
        reader, rows, n_of = get(modality), cls([], [], []), dict[str, int]()
        order = np.random.default_rng(SEED).permutation(len(queries)) if limit else np.arange(len(queries))
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
    """`records` (nq), None if unreadable; `truths` (nq,) in the pool; `training`: with the dev split."""

    modality: str
    pool: Pool
    records: list[Any]
    truths: Ints
    training: list[Query]
    workers: Workers
    cache: Cache
    vectors: MoleculeVectors
    """of the pool, with the peaks that the model predicts"""
    about: dict[str, Any] = field(default_factory=dict)
    """what a baseline adds to its result: its choices"""

    @cached_property
    def train(self) -> Rows:
        """Training rows without the dev split. Raises ConfigError where there are none."""
        rows = [q for q in self.training if q.structure and not is_dev(q.structure.inchikey14)]
        found = Rows.of(rows, self.modality, TRAINING_RECORDS)
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
        return Rows.of(rows, self.modality, 1)

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
class Formula(Baseline):
    """Ties are misses: only a formula that one molecule of the pool has alone is a hit."""

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
class ShiftMatching(Baseline):
    """Predicted against observed peaks: the cosine of histograms, then the matching of peaks alone."""

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
    """(n, bins) unit length, Gaussians of `width` ppm and their predicted spread; zeros without a peak."""
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
    """(n, bins) CSR, unit length: root intensities, shared by two bins; of a known precursor, losses too."""
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


def unit(table: Float32s) -> Float32s:
    """Rows of length one; rows of zeros stay."""
    return (table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)).astype(np.float32)


# --- asked as the model is ----------------------------------------------------------------------------------


def measure_baselines(runner: QuestionRun) -> Iterator[Result]:
    """Every baseline of the question, with each filter and among isomers; or a result that says why not."""
    outcomes = _some_queries(runner)
    keys = {one.query.structure.inchikey14 for one in runner.prepared.outcomes if one.query.structure}
    training = [
        row
        for row in runner.run.training_rows(runner.question)
        if row.structure is not None and row.structure.inchikey14 not in keys
    ]
    for name in runner.question.baselines:
        one = baseline(name)
        why = one.why_not(runner.question.modality)
        if why is not None:
            note = Result(kind="baseline", baseline=name, about=one.about, why_not=why)
            yield runner.write(f".baseline-{name}", note, asks="baseline")
        else:
            answers, about = _answers(runner, one, outcomes, training)
            fields = {"baseline": one.name, "about": one.about, **about}
            for wanted, answered in answers.items():
                yield from runner.write_answer(wanted, answered, rerank=False, **fields)
        runner.prepared.watch.lap(f"baseline {name}")


def _some_queries(runner: QuestionRun) -> list[QueryOutcome]:
    """The queries that baselines get, in their order."""
    every = runner.prepared.outcomes
    chosen = few_of_each([one.truth for one in every], RECORDS_PER_MOLECULE, SEED)
    return [every[i] for i in sorted(chosen[:MAX_QUERIES])]


def _answers(
    runner: QuestionRun, one: Baseline, outcomes: list[QueryOutcome], training: list[Query]
) -> tuple[dict[Filter, list[QueryOutcome]], dict[str, Any]]:
    readable = [each for each in outcomes if each.truth >= 0]
    material = _material(runner, readable, training)
    if one.matches_peaks:
        material.about["shortlist"] = SHORTLIST
    score = one.prepare(material)
    truths, at = np.unique(material.truths, return_inverse=True)
    truth_scores = np.full(len(at), -np.inf)
    for low in range(0, len(truths), BLOCK):
        here = np.flatnonzero((at >= low) & (at < low + BLOCK))
        truth_scores[here] = score(truths[low : low + BLOCK])[here, at[here] - low]
    order = np.argsort(runner.pool.masses(), kind="stable")
    empty = np.zeros((len(readable), 0), np.float32)
    depth = SHORTLIST if one.matches_peaks else None
    rankers = {
        wanted: Ranker(empty, truth_scores, material.truths, wanted.over(runner.pool), depth)
        for wanted in runner.question.filters
    }
    blocks = [order[low : low + BLOCK] for low in range(0, len(order), BLOCK)]
    for positions in progress(blocks, desc=f"{runner.question.name}: {one.name}", unit="block"):
        block = score(positions)
        for ranker in rankers.values():
            ranker.add_scores(block, positions)
    prepared = replace(runner.prepared, outcomes=outcomes)
    answers = [prepared.answered(wanted, ranker) for wanted, ranker in rankers.items()]
    if one.matches_peaks:  # the shortlists are ranked by the matching of peaks alone
        answers = prepared.rerank(answers, Weights(0.0, 1.0))
    return {answer.filter: answer.outcomes for answer in answers}, dict(material.about)


def _material(runner: QuestionRun, readable: Sequence[QueryOutcome], training: list[Query]) -> Material:
    question, store = runner.question, runner.store
    reader = get(question.modality)
    items: list[Any] = []
    for one in readable:
        try:
            items.append(None if one.error or question.from_structure else reader.read(one.query.metadata))
        except InvalidRecord:
            items.append(None)
    truths = np.array([one.truth for one in readable], np.int64)
    assert store.cache is not None
    assert store.vectors is not None
    return Material(
        question.modality, runner.pool, items, truths, training, store.workers, store.cache,
        store.vectors,
    )  # fmt: skip
