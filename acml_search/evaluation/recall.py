"""`bench recall`: does the true molecule, or its record, come back first among a stated pool?

Direction *to-molecule*: an observation (record side) ranks the pool's molecules (graph side).
*to-record*: a molecule (graph side) ranks the pool's records. Molecules are told apart by the first block of
the InChIKey, so stereoisomers are one molecule. See `measures.metrics` for ties, failures, averages
and intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard, missing_space, read_card
from acml_search.evaluation.data.described import KnownStructures, described_file
from acml_search.evaluation.data.queries import QueryFile, read_queries
from acml_search.evaluation.data.structures import LibraryStructures, Pool, Query, choose, make_pool
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks import leakage
from acml_search.evaluation.ranks.answers import (
    asked_of,
    filter_name,
    filters_of,
    molecules_of,
    recall_result,
)
from acml_search.evaluation.ranks.ranking import Every, Ranker
from acml_search.evaluation.ranks.retrieval import SIDES, Asked, Clock, rank_queries
from acml_search.evaluation.rerank.rescoring import (
    Keeper,
    check_rerank,
    tell,
    told,
    weights_of,
    with_evidence,
)
from acml_search.evaluation.results import check_out, write_json, write_per_query
from acml_search.evaluation.workers import Workers
from acml_search.modalities import get

SEEN = ("report", "drop", "fail")
ASKING = ("embed queries", "rank", "rerank")
"""steps that are about the queries, not the pool"""


@dataclass(frozen=True)
class RetrievalOptions:
    """What `recall` and `isomers` have in common; the names are those of the command line."""

    modality: str
    queries: Path
    out: Path
    library: Sequence[Path] = ()
    rerank: bool = False
    model: str = "acml-base"
    limit: int | None = None
    split: str | None = None
    where: str | None = None
    seed: int = 0
    workers: int | None = None
    smiles_column: str | None = None
    cache: Path | None = None
    seen: str = "report"
    """what to do about molecules that training saw: report them, drop them, or fail"""
    command: str | None = None
    """the command line that asked, for the result"""

    def check(self) -> None:
        """Raises UnknownModality, CheckpointError or ConfigError for options that make no sense."""
        get(self.modality)
        if self.seen not in SEEN:
            raise ConfigError(f"--seen {self.seen} is not one of {', '.join(SEEN)}")
        check_space(read_card(self.model), self.modality)
        if self.rerank:
            check_rerank(read_card(self.model), self.modality)
        check_out(self.out)

    def read(self, workers: Workers) -> tuple[QueryFile, list[Query]]:
        """The queries' file and those of its rows that ask. Raises ConfigError where none can be read, where
        there is none that training did not see, or one that it saw, if that is not wanted.
        """
        file = read_queries(self.queries, workers, smiles_column=self.smiles_column, cache=self.cache)
        file.check_columns(self.modality)
        chosen = file.select(split=self.split, where=self.where)
        if self.seen == "drop":
            known = leakage.seen_of(read_card(self.model), chosen).any
            chosen = [one for one, yes in zip(chosen, known.tolist(), strict=True) if not yes]
            if not chosen:
                raise ConfigError(f"{self.queries}: training saw every molecule that could ask")
        chosen = choose(chosen, self.limit, self.seed)
        if self.seen == "fail":
            card = read_card(self.model)
            seen = leakage.seen_of(card, chosen)
            leakage.check_seen(seen, chosen, str(self.queries), card, get(self.modality).derived)
        if all(query.structure is None for query in chosen):
            raise ConfigError(
                f"{self.queries}: none of the {len(chosen):,} queries can be read; row {chosen[0].row}: "
                f"{chosen[0].error}"
            )
        return file, chosen

    def pool_of(
        self, chosen: Sequence[Query], file: QueryFile, workers: Workers, size: int | None = None
    ) -> Pool:
        """The molecules of the queries' file, whether they ask or not, and of the libraries."""
        library = LibraryStructures(self.library, workers, self.smiles_column)
        if self.cache is not None:
            kept = [described_file(path, workers, self.cache, self.smiles_column) for path in self.library]
            library = KnownStructures([one for rows in kept for one in rows])
        return make_pool(chosen, file.queries, library, size=size, seed=self.seed)

    def check_records(self, asked: Sequence[Asked]) -> None:
        """Raises ConfigError where no query has a readable record: a wrong column, not many misses."""
        if all(one.error is not None for one in asked):
            one = next((one for one in asked if one.truth >= 0), asked[0])
            columns = ", ".join(get(self.modality).columns)
            of = f" of {columns}" if columns else ""
            raise ConfigError(
                f"{self.queries}: none of the {len(asked):,} records{of} can be read as {self.modality}; row "
                f"{one.query.row}: {one.error}"
            )

    def told_of_seen(self, asked: Sequence[Asked]) -> dict[str, Any]:
        """What a result says of molecules that training saw."""
        seen = leakage.seen_of(read_card(self.model), [one.query for one in asked])
        return leakage.told(seen, asked, molecules_of(asked), ks=metrics.KS, seed=self.seed)

    def rerank_answers(self, asked: Sequence[Asked], keeper: Keeper, pool: Pool, workers: Workers) -> None:
        """Re-score the shortlists that were kept and write the new ranks to the queries."""
        readable = [one for one in asked if one.truth >= 0]
        usable, lists = with_evidence(
            readable,
            [keeper.listing],
            pool.structures,
            modality=self.modality,
            derived=get(self.modality).derived,
            workers=workers,
            seed=self.seed,
        )
        tell(readable, lists[0], usable, weights_of(read_card(self.model), self.modality))

    def reranked(self) -> dict[str, Any]:
        """What a result says of re-ranking."""
        if not self.rerank:
            return {"rerank": False}
        return told(weights_of(read_card(self.model), self.modality))


@dataclass(frozen=True)
class RecallOptions(RetrievalOptions):
    """What `bench recall` measures."""

    direction: str = "to-molecule"
    formula_filter: bool = False
    mass_filter_da: float | None = None
    mass_filter_ppm: float | None = None
    pool: int | None = None

    def check(self) -> None:
        if self.direction not in SIDES:
            raise ConfigError(f"--direction {self.direction} is not one of {', '.join(SIDES)}")
        if self.mass_filter_da is not None and self.mass_filter_ppm is not None:
            raise ConfigError("give --mass-filter-da or --mass-filter-ppm, not both")
        if self.rerank and self.direction == "to-record":
            raise ConfigError(
                "--rerank compares molecules with an observation; it needs --direction to-molecule"
            )
        super().check()

    def filters(self, pool: Pool) -> Every:
        """The conditions asked for, over the molecules of `pool`."""
        return filters_of(pool, formula=self.formula_filter, da=self.mass_filter_da, ppm=self.mass_filter_ppm)

    def filter_name(self) -> str | None:
        """The filter in words, for the result."""
        return filter_name(self.formula_filter, self.mass_filter_da, self.mass_filter_ppm)


def measure_recall(options: RecallOptions) -> dict[str, Any]:
    """Run the benchmark, write OUT.json and the per-query Parquet beside it; returns the JSON's content."""
    options.check()
    clock = Clock()
    with Workers(options.workers, model=options.model) as workers:
        file, chosen = options.read(workers)
        pool = options.pool_of(chosen, file, workers, options.pool)
        asked = asked_of(chosen, pool, once=options.direction == "to-record")
        leakage.check_truths(asked, pool, str(options.queries))
        clock.lap("read")
        keeper = Keeper()
        n_lost = rank_queries(
            asked,
            file.queries,
            pool,
            modality=options.modality,
            derived=get(options.modality).derived,
            direction=options.direction,
            filters=options.filters(pool),
            workers=workers,
            seed=options.seed,
            clock=clock,
            make=keeper if options.rerank else Ranker,
        )
        if options.direction == "to-molecule":
            options.check_records(asked)
        if options.rerank:
            options.rerank_answers(asked, keeper, pool, workers)
            clock.lap("rerank")
    per_query = options.out.with_suffix(".queries.parquet")
    write_per_query(asked, pool, per_query)
    result = {
        **recall_result(
            asked,
            len(pool),
            modality=options.modality,
            direction=options.direction,
            filtered=options.filter_name(),
            card=read_card(options.model),
            model=options.model,
            seed=options.seed,
        ),
        **options.reranked(),
        "leakage": options.told_of_seen(asked),
        "seconds_per_query": sum(clock.seconds.get(step, 0.0) for step in ASKING) / len(asked),
        "seconds": clock.seconds,
        "limit": options.limit,
        "split": options.split,
        "where": options.where,
        "command": options.command,
        "n_pool_unreadable": pool.n_unreadable + n_lost,
        "workers": workers.n,
        "per_query": per_query.name,
    }
    write_json(result, options.out)
    return result


def check_space(card: ModelCard, modality: str) -> None:
    """Raises ConfigError when the model has no space for `modality`."""
    if modality not in card.spaces:
        raise ConfigError(missing_space(card, modality))
