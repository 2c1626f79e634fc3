"""Molecules that a model's training saw, and pools without the truth: what would make a benchmark measure
memory, or nothing.

A molecule is in the model's list of training molecules (`encoders.training_molecules`) with its measured
records, or as a structure only; the latter counts where records are derived from structures. A suite refuses
such queries; `bench recall` and `bench isomers` run on a user's own data, where they are no error: they count
them, and give the recall of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.core.typing import Bools
from acml_search.encoders.card import ModelCard
from acml_search.encoders.training_molecules import training_list
from acml_search.evaluation import metrics
from acml_search.evaluation.pool import Pool, Query
from acml_search.evaluation.results import QueryOutcome, molecule_labels

NO_LIST = "the model's card names no list of training molecules"


class Seen(NamedTuple):
    """Which queries are about molecules that training saw, (nq,) each, a molecule in one of them at most;
    `listed`: has the model a list at all? Without one nothing is known, and both are False.
    """

    records: Bools
    structures: Bools
    listed: bool


def seen_in_training(card: ModelCard, queries: Sequence[Query]) -> Seen:
    """Look the queries' molecules up. Raises CheckpointError for a damaged list."""
    training, n = training_list(card), len(queries)
    if training is None:
        return Seen(np.zeros(n, bool), np.zeros(n, bool), False)
    keys = [one.structure.inchikey14 if one.structure else "" for one in queries]
    readable = np.array([one.structure is not None for one in queries], bool)
    records = training.with_records(keys) & readable
    return Seen(records, training.contains(keys) & readable & ~records, True)


def unseen(card: ModelCard, queries: Sequence[Query], what: str) -> list[Query]:
    """The queries whose molecule training saw in no way. Raises ConfigError where none is left."""
    records, structures, _ = seen_in_training(card, queries)
    left = [queries[i] for i in np.flatnonzero(~(records | structures)).tolist()]
    if not left:
        raise ConfigError(f"{what}: training saw every molecule that could ask")
    return left


def check_unseen(card: ModelCard, queries: Sequence[Query], what: str, derived: bool) -> None:
    """Raises ConfigError where a query's molecule was trained on; `derived`: records made from structures."""
    records, structures, _ = seen_in_training(card, queries)
    at = np.flatnonzero(records | structures if derived else records).tolist()
    if at:
        n = len(_molecules(queries, records | structures if derived else records))
        raise ConfigError(
            f"{what}: {n:,} of the molecules that ask were in the training of {card.name}, such as that of "
            f"row {queries[at[0]].row}; ask others with `where`, or allow it (leakage = 'report' in a suite, "
            "--leakage report on the command line)"
        )


def check_truths(outcomes: Sequence[QueryOutcome], pool: Pool, what: str) -> None:
    """Raises ConfigError where a query that was read has another molecule, or none, in its truth's place."""
    for one in outcomes:
        known = one.query.structure
        if known is None:
            continue
        if not 0 <= one.truth < len(pool) or pool.structures[one.truth].inchikey14 != known.inchikey14:
            raise ConfigError(
                f"{what}: the pool lacks {known.inchikey14}, the molecule of row {one.query.row}; put the "
                "molecules of the queries' file into it"
            )


def count(card: ModelCard, outcomes: Sequence[QueryOutcome]) -> tuple[dict[str, Any], list[int]]:
    """How many molecules training saw, and the indices of the outcomes about others."""
    queries, labels = [one.query for one in outcomes], molecule_labels(outcomes)
    records, structures, listed = seen_in_training(card, queries)
    left = np.flatnonzero(~(records | structures)).tolist()
    found = {
        "checked": listed,
        "seen_records": len(_molecules(queries, records)),
        "seen_structures": len(_molecules(queries, structures)),
        "n_unseen": len({labels[i] for i in left}),
    }
    return (found if listed else {**found, "why_not": NO_LIST}), left


def report(
    card: ModelCard, outcomes: Sequence[QueryOutcome], *, ks: Sequence[int] = metrics.KS, seed: int = 0
) -> dict[str, Any]:
    """`count`, and the recall of the other molecules: `recall_unseen`, None where there are none."""
    (found, left), labels = count(card, outcomes), molecule_labels(outcomes)
    found["recall_unseen"] = None
    if left and found["checked"]:
        ranks, n = [outcomes[i].rank for i in left], [outcomes[i].n_candidates for i in left]
        others = metrics.summarise(ranks, [labels[i] for i in left], n, ks=ks, seed=seed)
        found |= {"recall_unseen": others["recall"], "ci95_unseen": others["ci95"]}
    return found


def warning(leakage: Mapping[str, Any]) -> str | None:
    """One line for a person where training saw molecules; `leakage` as `report` gives it."""
    n = leakage["seen_records"] + leakage["seen_structures"]
    if not n:
        return None
    return (
        f"training saw {n:,} of the molecules that ask ({leakage['seen_records']:,} with measured records); "
        f"`leakage` in the result has the recall of the {leakage['n_unseen']:,} others, and --leakage drop "
        "asks for these alone"
    )


def _molecules(queries: Sequence[Query], chosen: Bools) -> set[str]:
    pairs = zip(queries, chosen.tolist(), strict=True)
    return {one.structure.inchikey14 for one, yes in pairs if yes and one.structure is not None}
