"""What a suite asks beside recall: records ranked by molecules, calibration, ACML's own metric, node head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.chem.splits import is_inner
from acml_search.evaluation.data.queries import read_queries
from acml_search.evaluation.data.structures import Query, Structure
from acml_search.evaluation.measures.calibration import calibrate
from acml_search.evaluation.measures.shifts import has_node_head, measure_assigned, measure_shifts
from acml_search.evaluation.measures.within_batch import within_batches
from acml_search.evaluation.ranks.answers import asked_of
from acml_search.evaluation.ranks.ranking import Ranker
from acml_search.evaluation.ranks.retrieval import Asked, Truths, answered_by, candidate_blocks, source_of
from acml_search.evaluation.ranks.shortlists import shortlists
from acml_search.evaluation.vectors.embedding import embed
from acml_search.evaluation.vectors.stored import record_vectors
from benchmarks.suite.asking import COUNTED, Asking

RECORDS = 3  # of a molecule, for calibration: more say little, since they weigh together as one

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


def to_record(asking: Asking) -> dict[str, Any]:
    """Molecules rank the records of the pool: derived ones, or all rows of the queries' file."""
    asked = asked_of([one.query for one in asking.asked], asking.pool, once=True)
    readable = [one for one in asked if one.truth >= 0]
    structures = [source_of(one.query, "graph", asking.derived).structure for one in readable]
    queries = np.nan_to_num(asking.graphs(structures))
    asking.clock.lap("gather queries")
    blocks = _record_blocks(asking)
    asking.clock.lap("embed records")
    truths = Truths(queries, np.array([one.truth for one in readable], dtype=np.int64))
    for at, vectors in blocks:
        truths.see(at, vectors)
    ranker = Ranker(queries, truths.scores, truths.positions)
    for at, vectors in blocks:
        ranker.add(vectors, at)
    answered = answered_by(asked, ranker)
    asking.clock.lap("rank records")
    result = asking.recall(answered, "to-record", None)
    return asking.write(".to-record", result, kind="recall", asked=answered, asks="to-record")


def _record_blocks(asking: Asking) -> list[tuple[Ints, Vectors]]:
    """(pool positions, vectors) of the records that molecules rank, without those that failed."""
    bench, modality, pool = asking.bench, asking.question.modality, asking.pool
    seed = bench.suite.seed
    if asking.derived:
        made = record_vectors(modality, pool.structures, bench.card, bench.workers, bench.cache, seed=seed)
        every = np.arange(len(made))
        blocks = [(every[low : low + COUNTED], made[low : low + COUNTED]) for low in every[::COUNTED]]
    else:
        rows = list(candidate_blocks("record", False, asking.file.queries, pool))
        embedded = embed("record", modality, (sources for _, sources in rows), bench.workers, seed)
        blocks = [(at, block.vectors) for (at, _), block in zip(rows, embedded, strict=True)]
    finite = [np.isfinite(vectors).all(axis=1) for _, vectors in blocks]
    return [(at[ok], vectors[ok]) for ok, (at, vectors) in zip(finite, blocks, strict=True)]


class Inner(NamedTuple):
    """Queries of the inner part of `calibrate`'s rows, and the pool with their molecules in it."""

    asked: list[Asked]
    queries: Vectors
    """(nq, d)"""
    structures: list[Structure]
    """of the pool, those that were added last"""
    places: Ints
    table: Vectors
    """(n, d) of the pool's molecules at `places` (n,)"""


def inner_part(asking: Asking) -> Inner | None:
    """None where the file has no row of it."""
    chosen = [
        query
        for query in asking.file.select(where=asking.question.calibrate)
        if query.structure is not None and is_inner(query.structure.block)
    ]
    known = asking.pool.positions()
    added: dict[str, Structure] = {}  # a pool of limited size may lack molecules of the inner part
    for query in chosen:
        if query.structure is not None and query.structure.block not in known:
            added.setdefault(query.structure.block, query.structure)
    known |= {block: len(asking.pool) + i for i, block in enumerate(added)}
    inner = [Asked(query, known[query.structure.block]) for query in chosen if query.structure is not None]
    if not inner:
        return None
    inner = [inner[i] for i in _few([one.truth for one in inner], asking)]
    more_at, more = asking.finite(len(asking.pool) + np.arange(len(added)), list(added.values()))
    places = np.concatenate([asking.places, more_at])
    table = np.concatenate([asking.table, more]) if len(more) else asking.table
    queries = asking.records(inner)
    asking.clock.lap("embed inner queries")
    return Inner(inner, queries, [*asking.pool.structures, *added.values()], places, table)


def calibration(asking: Asking) -> list[dict[str, Any]]:
    """One temperature, fitted on the inner part of `calibrate`'s rows in the same pool."""
    inner = inner_part(asking)
    if inner is None:
        return asking.skip("calibration", "the file has no row of the inner part of `calibrate`")
    scale = asking.bench.card.spaces[asking.question.modality].scale
    few = _few([one.truth for one in asking.readable], asking)
    found = calibrate(
        shortlists(inner.asked, inner.queries, inner.places, inner.table),
        shortlists([asking.readable[i] for i in few], asking.queries[few], asking.places, asking.table),
        scale,
    )
    asking.clock.lap("calibrate")
    found["n_pool"] = len(inner.places)
    found["n_failed"] = sum(one.error is not None for one in inner.asked)
    return [asking.write(".calibration", found, kind="calibration", asks="calibration")]


def within(asking: Asking) -> list[dict[str, Any]]:
    """ACML's own metric: top-k within shuffled batches, from the vectors of the queries that have one."""
    good = [i for i, one in enumerate(asking.readable) if one.error is None]
    truths = [asking.readable[i].truth for i in good]
    graphs = asking.graphs([asking.pool.structures[i] for i in truths])
    finite = np.isfinite(graphs).all(axis=1)
    batch = asking.question.batch
    found = within_batches(
        asking.queries[good][finite],
        graphs[finite],
        np.asarray(truths)[finite].tolist(),
        batch=batch,
        seed=asking.bench.suite.seed,
    )
    asking.clock.lap("within batches")
    if found is None:
        return asking.skip("within batches", f"fewer than {batch} molecules have a vector")
    return [asking.write(".batches", found, kind="batches", asks=f"within {batch}")]


def _few(molecules: Sequence[int], asking: Asking) -> list[int]:
    """Places of at most `RECORDS` records of each molecule (one, where a molecule asks once), ascending."""
    most = 1 if asking.question.once else RECORDS
    taken: dict[int, int] = {}
    kept = []
    for i in np.random.default_rng(asking.bench.suite.seed).permutation(len(molecules)).tolist():
        taken[molecules[i]] = taken.get(molecules[i], 0) + 1
        if taken[molecules[i]] <= most:
            kept.append(i)
    return sorted(kept)


def peaks(asking: Asking, chosen: Sequence[Query]) -> list[dict[str, Any]]:
    """Errors of the node head over the queries' spectra, and over assigned shifts where there are."""
    space, bench, seed = asking.question.modality, asking.bench, asking.bench.suite.seed
    if not next(bench.workers.map(has_node_head, [space])):
        return asking.skip("peaks", f"the space {space} of this model predicts no peaks")
    found = measure_shifts(space, chosen, bench.workers, seed=seed)
    assigned = asking.question.assigned
    if assigned is not None:
        file = read_queries(assigned.file, bench.workers, cache=bench.cache)
        rows = [
            (query.text, query.metadata[assigned.column])
            for query in file.select(where=assigned.where, needs=assigned.column)
            if query.metadata[assigned.column] is not None
        ]
        found["assigned"] = measure_assigned(space, rows, bench.workers, seed=seed)
    asking.clock.lap("peaks")
    return [asking.write(".peaks", found, kind="peaks", asks="peaks")]
