"""A question of a suite asked again: the shortlists of its filters, re-scored peak by peak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.structures import Pool
from acml_search.evaluation.ranks.answers import filters_of, recall_result
from acml_search.evaluation.ranks.ranking import Every
from acml_search.evaluation.ranks.retrieval import Asked, Truths, answered_by
from acml_search.evaluation.rerank.rescoring import (
    DEPTH,
    Listing,
    can_rerank,
    tell,
    told,
    weights_of,
    with_evidence,
)
from acml_search.evaluation.rerank.weights import Weights, cross_fitted, fit_weights, ranks, summary
from benchmarks.suite import in_pools
from benchmarks.suite.asking import COUNTED, Asking
from benchmarks.suite.further import inner_part
from benchmarks.suite.plan import Filter

SHOWN = ("recall", "mrr", "ci95", "n_queries", "n_molecules")


def again(asking: Asking) -> Iterator[dict[str, Any]]:
    """The fit of the weights, where it is asked for, and the re-ranked answers to every filter."""
    modality, bench = asking.question.modality, asking.bench
    if not next(bench.workers.map(can_rerank, [modality])):
        yield from asking.skip("rerank", f"this model has nothing to re-rank {modality} by")
        return
    if asking.question.calibrate is not None:
        fitted = _fit(asking)
        if fitted is None:
            yield from asking.skip("rerank", "no inner row of `calibrate` has its truth in the shortlist")
            return
        yield fitted
        weights = Weights(fitted["cosine"], fitted["evidence"])
    else:
        try:
            weights = weights_of(bench.card, modality)
        except ConfigError as error:
            yield from asking.skip("rerank", str(error))
            return
    yield from _answers(asking, weights)


def _answers(asking: Asking, weights: Weights) -> Iterator[dict[str, Any]]:
    most = asking.question.rerank_queries
    drawn = np.random.default_rng(asking.bench.suite.seed).permutation(len(asking.asked))
    chosen = set(np.sort(drawn[:most]).tolist())
    readable = [i for i, one in enumerate(asking.asked) if one.truth >= 0]
    usable, lists = with_evidence(
        asking.readable,
        [*asking.listings.values(), *asking.listed_in.values()],
        [*asking.pool.structures, *asking.more],
        modality=asking.question.modality,
        derived=asking.derived,
        workers=asking.bench.workers,
        seed=asking.bench.suite.seed,
        chosen={at for at, i in enumerate(readable) if i in chosen},
        attached=asking.question.attached,
        kept=asking.bench.vectors,
    )
    asking.clock.lap("rerank")
    in_each: dict[int, list[Asked]] = {}
    for (size, listing), one in zip(asking.listed_in.items(), lists[len(asking.listings) :], strict=True):
        answers = answered_by(asking.asked, listing)
        tell([x for x in answers if x.truth >= 0], one, usable, weights)
        in_each[size] = [x for i, x in enumerate(answers) if i in chosen]
    by_pool = in_pools.tell(asking, in_each, ".rerank") if in_each else {}
    for (wanted, listing), one in zip(asking.listings.items(), lists, strict=False):
        before = [x for i, x in enumerate(answered_by(asking.asked, listing)) if i in chosen]
        answers = answered_by(asking.asked, listing)
        tell([x for x in answers if x.truth >= 0], one, usable, weights)
        found = recall_result(
            before,
            len(asking.pool),
            modality=asking.question.modality,
            direction="to-molecule",
            filtered=None,
            card=asking.bench.card,
            model=asking.bench.model,
            seed=asking.bench.suite.seed,
            ks=asking.bench.suite.recall_at,
        )
        more = {
            **told(weights),
            "attached": asking.question.attached,
            "by_cosine": {key: found[key] for key in SHOWN},
        }
        what = ".rerank" if wanted.text == "none" else f".{wanted.slug}.rerank"
        yield from asking.say(
            wanted,
            [x for i, x in enumerate(answers) if i in chosen],
            what,
            more,
            by_pool if wanted.text == "none" else {},
        )


def among(pool: Pool, wanted: Filter) -> Every:
    """The conditions of a suite's filter over the molecules of a pool."""
    return filters_of(pool, formula=wanted.formula, da=wanted.da, ppm=wanted.ppm)


def _fit(asking: Asking) -> dict[str, Any] | None:
    """Weights by the inner part, among what the question's first filter lets pass; None where no shortlist
    holds a truth.

    The first filter is the one that goes without saying: none for NMR, the precursor's mass for MS/MS, whose
    weights would otherwise be those that tell masses apart. What is reported of the inner part is
    cross-fitted, over folds of molecules.
    """
    inner = inner_part(asking)
    if inner is None:
        return None
    truths = Truths(inner.queries, np.array([one.truth for one in inner.asked], dtype=np.int64))
    blocks = [slice(low, low + COUNTED) for low in range(0, len(inner.places), COUNTED)]
    for at in blocks:
        truths.see(inner.places[at], inner.table[at])
    filters = among(Pool(inner.structures, 0), asking.question.filters[0])
    listing = Listing(inner.queries, truths.scores, truths.positions, filters)
    for at in blocks:
        listing.add(inner.table[at], inner.places[at])
    seed = asking.bench.suite.seed
    usable, (lists,) = with_evidence(
        inner.asked,
        [listing],
        inner.structures,
        modality=asking.question.modality,
        derived=asking.derived,
        workers=asking.bench.workers,
        seed=seed,
        attached=asking.question.attached,
        kept=asking.bench.vectors,
    )
    if not lists.listed.any():
        return None
    start = Weights(asking.bench.card.spaces[asking.question.modality].scale / 2, 0.5)
    weights = fit_weights(lists, start)
    before = listing.ranks[usable]
    n = listing.n_candidates[usable]
    alone = ranks(lists, Weights(0.0, 1.0).total(lists.cosines, lists.scores), before)
    crossed = ranks(lists, cross_fitted(lists, weights), before)
    asking.clock.lap("fit rerank")
    found = {
        **weights._asdict(),
        "shortlist": DEPTH,
        "n_pool": len(inner.places),
        "filter": asking.question.filters[0].text,
        "n_failed": len(inner.asked) - len(usable),
        "inner": {
            "n_queries": len(usable),
            "n_molecules": len(set(lists.blocks)),
            "truth_in_shortlist": float(np.average(lists.listed, weights=lists.molecule_weights)),
            "cosine": summary(before, lists, n, seed),
            "evidence": summary(alone, lists, n, seed),
            "together": summary(crossed, lists, n, seed),
        },
    }
    return asking.write(".rerank-fit", found, kind="rerank", asks="rerank fit")
