"""What would make a benchmark measure memory, or nothing: checks that end a suite's run with one sentence.

- A molecule that asks stands in the model's list of training molecules (`encoders.seen`): with its measured
  records, or, where records are derived from structures, at all.
- A pool lacks the truth of a query that was read.
- Structures of two pools were standardised differently, so that one molecule may count as two.

`bench recall` and `bench isomers` run on a user's own data, where a molecule that training saw is no error:
they count, and say what is left without these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.encoders.seen import training_list
from acml_search.evaluation.data.structures import Pool, Query
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks.retrieval import Asked

NO_LIST = "the model's card names no list of training molecules"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """Which queries are about molecules that training saw: `records` and `structures` (nq,), a molecule is in
    one of them at most; `listed`: has the model a list at all? Where it has none nobody was seen.
    """

    records: Bools
    structures: Bools
    listed: bool

    @property
    def any(self) -> Bools:
        """(nq,)"""
        return self.records | self.structures

    def leaks(self, derived: bool) -> Bools:
        """(nq,): queries that a model can know from training. `derived`: are records made from structures?"""
        return self.any if derived else self.records


def seen_of(card: ModelCard, queries: Sequence[Query]) -> Seen:
    """Look the queries' molecules up. One whose structure could not be read was not seen.

    Raises CheckpointError for a list that is damaged.
    """
    found, n = training_list(card), len(queries)
    if found is None:
        return Seen(np.zeros(n, bool), np.zeros(n, bool), False)
    blocks = [one.structure.block if one.structure else "" for one in queries]
    known = np.array([one.structure is not None for one in queries], bool)
    records = found.with_records(blocks) & known
    return Seen(records, found.any(blocks) & known & ~records, True)


def counts(seen: Seen, queries: Sequence[Query]) -> tuple[int, int]:
    """How many molecules were seen with records, and as structures only."""
    return len(_blocks(queries, seen.records)), len(_blocks(queries, seen.structures))


def check_seen(seen: Seen, queries: Sequence[Query], what: str, card: ModelCard, derived: bool) -> None:
    """Raises ConfigError where a query's molecule was trained on. `what` names the question or file."""
    leaking = _blocks(queries, seen.leaks(derived))
    if leaking:
        first = next(one for one in queries if one.structure and one.structure.block in leaking)
        raise ConfigError(
            f"{what}: {len(leaking):,} of the molecules that ask were in the training of {card.name}, such "
            f"as that of row {first.row}; ask others with `where`, or allow it (seen = 'allowed' in a suite, "
            "--seen report on the command line)"
        )


def check_truths(asked: Sequence[Asked], pool: Pool, what: str) -> None:
    """Raises ConfigError where a query that was read has another molecule, or none, in its truth's place."""
    for one in asked:
        known = one.query.structure
        if known is None:
            continue
        if not 0 <= one.truth < len(pool) or pool.structures[one.truth].block != known.block:
            raise ConfigError(
                f"{what}: the pool lacks {known.block}, the molecule of row {one.query.row}; put the "
                "molecules of the queries' file into it"
            )


def check_standardisation(recipes: Mapping[Path, str]) -> None:
    """Raises ConfigError where the structures of two files were standardised differently. `recipes`: how
    each file's were, in full, versions of RDKit and InChI included.
    """
    first = next(iter(recipes), None)
    for path, recipe in recipes.items():
        if first is not None and recipe != recipes[first]:
            raise ConfigError(
                f"{path} and {first} were standardised differently ({_difference(recipe, recipes[first])}); "
                "remove the kept structures of both from the cache and run again"
            )


def told_in_suite(seen: Seen, queries: Sequence[Query]) -> dict[str, Any]:
    """What a suite's result says of leakage."""
    n_records, n_structures = counts(seen, queries)
    found = {"n_seen": n_records, "n_seen_structures": n_structures, "checked": seen.listed}
    return found if seen.listed else {**found, "why_not": NO_LIST}


def told(
    seen: Seen, asked: Sequence[Asked], molecules: Sequence[int], *, ks: Sequence[int], seed: int
) -> dict[str, Any]:
    """What `bench recall` and `bench isomers` say of leakage; `seen` is about the queries of `asked`.

    `recall_unseen`: over the molecules that training saw in no way; None where there is none.
    """
    n_records, n_structures = counts(seen, [one.query for one in asked])
    kept = np.flatnonzero(~seen.any)
    found: dict[str, Any] = {
        "checked": seen.listed,
        "seen_records": n_records,
        "seen_structures": n_structures,
        "n_unseen": len({molecules[i] for i in kept.tolist()}),
        "recall_unseen": None,
    }
    if not seen.listed:
        return {**found, "why_not": NO_LIST}
    if len(kept):
        unseen = metrics.summarise(
            [asked[i].rank for i in kept.tolist()],
            [molecules[i] for i in kept.tolist()],
            [asked[i].n_candidates for i in kept.tolist()],
            ks=ks,
            seed=seed,
        )
        found |= {"recall_unseen": unseen["recall"], "ci95_unseen": unseen["ci95"]}
    return found


def warning(leakage: Mapping[str, Any]) -> str | None:
    """One line for a person, where molecules were seen."""
    n = leakage["seen_records"] + leakage["seen_structures"]
    if not n:
        return None
    return (
        f"training saw {n:,} of the molecules that ask ({leakage['seen_records']:,} with measured records); "
        f"`leakage` in the result has the recall of the {leakage['n_unseen']:,} others, and --seen drop asks "
        "for these alone"
    )


def _blocks(queries: Sequence[Query], chosen: Bools) -> set[str]:
    return {
        one.structure.block
        for one, yes in zip(queries, chosen, strict=True)
        if yes and one.structure is not None
    }


def _difference(one: str, other: str) -> str:
    import json

    a, b = json.loads(one), json.loads(other)
    key = next(key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key))
    return f"{key}: {a.get(key)} and {b.get(key)}"
