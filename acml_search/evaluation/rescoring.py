"""Shortlists compared peak by peak, as a search does it, for benchmarks of re-ranking."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from acml_search.chem import molecule
from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Floats, Ints
from acml_search.core.workers import chunks
from acml_search.encoders.card import ModelCard
from acml_search.evaluation import workers as processes
from acml_search.evaluation.embedding import Source
from acml_search.evaluation.pool import Query, record_of
from acml_search.evaluation.ranking import Ranker
from acml_search.evaluation.results import QueryOutcome
from acml_search.modalities import get
from acml_search.modalities.base import reranked, reranker
from acml_search.nmr.predicted import PeakLists

if TYPE_CHECKING:
    from acml_search.evaluation.retrieval import PreparedQuestion

TIE = 1e-4
"""logits closer than this are equal: rounding of equal molecules"""
QUERIES_PER_TASK = 4
MAX_PREPARED = 50_000
"""candidates whose predictions a process keeps: queries of about one mass share many"""

_prepared: WeakKeyDictionary[Any, OrderedDict[tuple[str, str], Any]] = WeakKeyDictionary()


class Weights(NamedTuple):
    """A candidate's logit is `cosine` x its cosine + `evidence` x its score."""

    cosine: float
    evidence: float


def weighted(features: Floats, at: npt.ArrayLike, prior: Floats | None = None) -> Floats:
    """(nq, k) sums of `features` (nq, k, f) x `at` (f,), and the prior; -inf where a feature is."""
    known = np.asarray(np.isfinite(features).all(axis=2))
    total = np.where(known[:, :, None], features, 0.0) @ np.asarray(at, np.float64)
    return np.where(known, total if prior is None else total + prior, -np.inf)


@dataclass(frozen=True)
class Shortlists:
    """The truth (column 0) and the best other candidates of nq queries.

    `cosines`, `scores` (nq, k) of the vectors and of the peaks, -inf where there is no candidate; `places`
    (nq, k) in the pool, -1 there; `listed` (nq,): is the truth among the k best? `inchikeys` (nq,): first
    blocks of the molecules asked for. `prior` (nq, k): what the number of hydrogens adds to a logit.
    """

    cosines: Floats
    scores: Floats
    places: Ints
    listed: Bools
    inchikeys: list[str]
    prior: Floats | None = None

    def __len__(self) -> int:
        return len(self.inchikeys)

    def some(self, chosen: Bools) -> Shortlists:
        """Those of the chosen queries (nq,)."""
        inchikeys = [key for key, wanted in zip(self.inchikeys, chosen.tolist(), strict=True) if wanted]
        arrays = (self.cosines[chosen], self.scores[chosen], self.places[chosen], self.listed[chosen])
        return Shortlists(*arrays, inchikeys, None if self.prior is None else self.prior[chosen])

    @property
    def features(self) -> Floats:
        """(nq, k, 2) cosines and scores."""
        return np.stack([self.cosines, np.where(np.isfinite(self.scores), self.scores, 0.0)], axis=2)

    def logits(self, weights: Weights) -> Floats:
        """(nq, k) with the prior."""
        return weighted(self.features, weights, self.prior)


def ranks(lists: Shortlists, logits: Floats, before: npt.ArrayLike) -> Floats:
    """(nq,) ranks by `logits` (nq, k) of truths that are listed; `before` (nq,) of the others: nothing is
    gained by a truth that candidate generation missed. Ties lose.
    """
    again = 1.0 + np.count_nonzero(logits[:, 1:] >= logits[:, :1] - TIE, axis=1)
    return np.where(lists.listed, again, np.asarray(before, np.float64))


def weights_of(card: ModelCard, modality: str, kind: str = "rerank") -> Weights:
    """The re-ranking weights in a model's card. Raises ConfigError where there are none."""
    reranker(modality)
    stored = card.rerank_weights(modality, kind)
    if stored is None:
        raise ConfigError(
            f"the card of the model {card.name} has no weights to re-rank {modality} with; fit them with a "
            "suite (`rerank = true` and `calibrate`) and `python -m benchmarks.cards`"
        )
    return Weights(float(stored["cosine"]), float(stored["evidence"]))


def rerank_fields(weights: Weights, depth: int) -> dict[str, Any]:
    """The keys that results have of their re-ranking."""
    return {"rerank": True, "rerank_weights": weights._asdict(), "shortlist": depth, "tie_tolerance": TIE}


def compare(
    prepared: PreparedQuestion, rankers: Sequence[Ranker], chosen: Collection[int] | None = None
) -> tuple[list[int], list[Shortlists]]:
    """The shortlists of each ranker with the scores of their peaks, all of a query computed at once.

    `rankers`: of the readable queries; `chosen`: only these of them. Returns the indices of the queries that
    have a shortlist (they were read, and their truth has a vector), sorted by mass, and of these, the
    shortlists by ranker.
    """
    outcomes, structures, store = prepared.readable, prepared.pool.structures, prepared.store
    modality, vectors = prepared.question.modality, store.vectors
    usable = [i for i in usable_queries(outcomes, rankers[0]) if chosen is None or i in chosen]
    usable.sort(key=lambda i: structures[outcomes[i].truth].mass)
    lists = [shortlists(outcomes, ranker, usable) for ranker in rankers]
    wanted = [np.unique(np.concatenate([one.places[row] for one in lists])) for row in range(len(usable))]
    wanted = [places[places >= 0] for places in wanted]

    spaces = reranker(modality).predicted_by

    def candidates(places: Ints) -> list[str] | tuple[PeakLists, ...]:
        smiles = [structures[place].smiles for place in places.tolist()]
        if vectors is None or not spaces or not all(map(vectors.has_peaks, spaces)):
            return smiles
        return tuple(vectors.peaks(space, smiles) for space in spaces)

    beyond = prepared.question.dept or prepared.bias is not None or get(modality).from_structure
    sources = (source_of(outcomes[i].query, modality) for i in usable)
    tasks = (
        _Task(modality, store.seed, beyond, *map(list, zip(*part, strict=True)))
        for part in chunks(zip(sources, map(candidates, wanted), strict=True), QUERIES_PER_TASK)
    )
    scores: list[Floats] = []
    with progress(total=len(usable), desc="re-ranking", unit="query") as bar:
        for found in store.workers.map(score, tasks):
            scores += found
            bar.update(len(found))
    return usable, [_with_scores(one, wanted, scores) for one in lists]


def source_of(query: Query, modality: str) -> Source:
    """What a readable query's record is made of."""
    if query.structure is None:
        raise ValueError(f"row {query.row} has no structure")
    return Source(query.structure, None if get(modality).from_structure else query.metadata)


def usable_queries(outcomes: Sequence[QueryOutcome], ranker: Ranker) -> list[int]:
    """Indices of the queries that were read and whose truth has a vector."""
    known = np.isfinite(ranker.truth_scores).tolist()
    return [i for i, one in enumerate(outcomes) if one.error is None and known[i]]


def shortlists(outcomes: Sequence[QueryOutcome], ranker: Ranker, rows: Sequence[int]) -> Shortlists:
    """The shortlists of the queries at `rows`; scores of peaks are 0."""
    rows = list(rows)
    truths = np.array([outcomes[i].truth for i in rows], np.int64)
    places = np.concatenate([truths[:, None], ranker.listed[rows]], axis=1)
    cosines = np.concatenate([ranker.truth_scores[rows][:, None], ranker.listed_scores[rows]], axis=1)
    prior = None
    if ranker.bias is not None:
        prior = ranker.bias.logits(np.array(rows, np.int64), places)
        cosines = cosines - prior / ranker.bias.scale
    keys = [known.inchikey14 for i in rows if (known := outcomes[i].query.structure) is not None]
    listed = ranker.beaten_by[rows] < (ranker.depth or 0)
    scores = np.where(places >= 0, 0.0, -np.inf)
    return Shortlists(cosines.astype(np.float64), scores, places, listed, keys, prior)


def set_reranked(
    outcomes: Sequence[QueryOutcome], lists: Shortlists, rows: Sequence[int], logits: Floats
) -> None:
    """Write ranks by the logits (nq, k), and the logits as scores, to the outcomes at `rows`."""
    again = ranks(lists, logits, [outcomes[i].rank for i in rows])
    for row, i in enumerate(rows):
        one = outcomes[i]
        one.rank, one.score = float(again[row]), float(logits[row, 0])
        if logits.shape[1] > 1 and np.isfinite(logits[row, 1:]).any():
            best = 1 + int(logits[row, 1:].argmax())
            one.best_other, one.best_other_score = int(lists.places[row, best]), float(logits[row, best])


def _with_scores(lists: Shortlists, wanted: Sequence[Any], scores: Sequence[Floats]) -> Shortlists:
    """`wanted`, `scores`: of each query the places that were compared, ascending, and their scores."""
    evidence = np.full(lists.places.shape, -np.inf)
    for row, (places, values) in enumerate(zip(wanted, scores, strict=True)):
        here = lists.places[row] >= 0
        evidence[row, here] = values[np.searchsorted(places, lists.places[row, here])]
    return replace(lists, scores=evidence)


class _Task(NamedTuple):
    modality: str
    seed: int
    beyond: bool
    """whether what records state beside shifts is compared"""
    sources: list[Source]
    candidates: list[list[str] | tuple[PeakLists, ...]]
    """of each source: SMILES, or the predicted peaks of these molecules"""


def score(task: _Task) -> list[Floats]:
    """Worker task: the scores of each query's candidates."""
    model, reader = processes.model(), get(task.modality)
    chosen: Any = reranker(task.modality)
    found = []
    for (structure, metadata), known in zip(task.sources, task.candidates, strict=True):
        record = record_of(task.modality, structure.smiles, structure.inchikey14, metadata, task.seed)
        if isinstance(known, tuple):
            prepared: list[Any] = chosen.unpack(*known)
        else:
            prepared = list(_prepare(model, chosen, task.modality, known))
        item = reader.read(record)
        compared = chosen.observed(item, record) if task.beyond else item
        found.append(chosen.scores(model, compared, prepared))
    return found


def can_rerank(modality: str) -> bool:
    """Worker task: has this model what the modality's re-ranker needs?"""
    return modality in reranked() and reranker(modality).available(processes.model())


def _prepare(model: Any, chosen: Any, modality: str, smiles: Sequence[str]) -> Iterator[Any]:
    """What the re-ranker prepared of each candidate, now or before."""
    known = _prepared.setdefault(model, OrderedDict())
    new = [text for text in dict.fromkeys(smiles) if (modality, text) not in known]
    mols = [molecule.read_stored(text) for text in new]
    known.update(zip(((modality, text) for text in new), chosen.prepare(model, mols), strict=True))
    for text in smiles:
        known.move_to_end((modality, text))
        yield known[modality, text]
    while len(known) > MAX_PREPARED:
        known.popitem(last=False)
