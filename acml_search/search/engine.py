"""The way of a molecule query: read, encode (or look up), search each side, settle ties, fetch rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.chem.molecule import Molecule, describe, parse, parse_block
from acml_search.core.errors import FilterError, IndexCorrupt, InvalidMolecule
from acml_search.encoders.card import read_card
from acml_search.search.answer import Answer, HitList
from acml_search.search.filters import Filters
from acml_search.search.hits import NO_HIT, Hits
from acml_search.search.rows import Side, hit_list, one_of, rows_of

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model
    from acml_search.index.opened import IndexDirectory

SHORTLIST = 100  # hits over which probabilities are shared out, and within which ties are settled
BATCH = 256  # queries encoded and searched together,
HITS_AT_ONCE = 50_000  # or fewer, so that no more molecules than this are held per list
_Keys = npt.NDArray[np.int64] | None


class Query(NamedTuple):
    """One molecule to ask for.

    text: a SMILES, or a mol block when `kind` is "molblock". row: its 0-based data row in a file.
    error: why that row could not be read at all. about: what else the row said; the answer repeats it.
    """

    text: str
    kind: Literal["smiles", "molblock"] = "smiles"
    row: int | None = None
    error: str | None = None
    about: dict[str, Any] | None = None


class Plan(NamedTuple):
    """What is the same for all queries of a call. keys: the molecules that pass the filters, None for all.

    Measured records are judged by columns of their own.
    """

    k: int
    filters: Filters
    keys: npt.NDArray[np.int64] | None
    sides: list[Side]
    filter_seconds: float


class _Read(NamedTuple):
    """A query that was read; `at` is its place in its batch."""

    at: int
    query: Query
    mol: Chem.Mol
    molecule: Molecule


class Engine:
    """Answers molecule queries from one opened index directory.

    model: name or directory of the checkpoint that encodes queries; loaded when first needed.
    """

    def __init__(self, directory: IndexDirectory, model: Path | str) -> None:
        self._directory = directory
        self._model_name = model
        self._model: Model | None = None
        self._first = True

    def answers(self, queries: Iterator[Query], plan: Plan) -> Iterator[Answer | InvalidMolecule]:
        """One answer per query, in order; a query that cannot be read gives its error."""
        size = max(1, min(BATCH, HITS_AT_ONCE // plan.k))
        passing = [self._passing(side, plan) for side in plan.sides]
        while batch := list(islice(queries, size)):
            clock = _Clock(len(batch), filter=plan.filter_seconds)
            results: list[Answer | InvalidMolecule | None] = [None] * len(batch)
            read: list[_Read] = []
            for at, query in enumerate(batch):
                try:
                    read.append(self._read(at, query))
                except InvalidMolecule as error:
                    results[at] = error
            clock.lap("read")
            if read:
                for item, answer in zip(read, self._search(read, plan, passing, clock), strict=True):
                    results[item.at] = answer
            yield from (result for result in results if result is not None)

    def _read(self, at: int, query: Query) -> _Read:
        if query.error is not None:
            raise InvalidMolecule(query.error, smiles=query.text or None, row=query.row)
        reader = parse if query.kind == "smiles" else parse_block
        try:
            mol, removed = reader(query.text, tautomer=self._directory.tautomer)
            return _Read(at, query, mol, describe(mol, removed))
        except InvalidMolecule as error:
            raise InvalidMolecule(error.reason, smiles=error.smiles, row=query.row) from error

    def _search(self, read: list[_Read], plan: Plan, passing: Sequence[_Keys], clock: _Clock) -> list[Answer]:
        xq = self._encode(read, sorted({side.modality for side in plan.sides}))
        clock.lap("encode")
        found = [
            self._search_side(side, xq[side.modality], plan.k, keys)
            for side, keys in zip(plan.sides, passing, strict=True)
        ]
        clock.lap("search")
        rows = rows_of(self._directory, plan.sides, found, plan.k)
        lists = [
            [
                hit_list(
                    side, one_of(hits, i), plan.k, self._scale(side.modality), item.molecule.inchikey, of
                )
                for side, hits, of in zip(plan.sides, found, rows, strict=True)
            ]
            for i, item in enumerate(read)
        ]
        clock.lap("rows")
        seconds = clock.seconds()
        restricted = [self._directory.restriction] if self._directory.restriction else []
        return [
            Answer(
                _question(item, plan),
                str(self._directory.path),
                hit_lists,
                seconds,
                [*restricted, *_notes(item, plan, hit_lists)],
            )
            for item, hit_lists in zip(read, lists, strict=True)
        ]

    def _search_side(self, side: Side, xq: npt.NDArray[np.float32], k: int, keys: _Keys) -> Hits:
        index = self._directory.vectors(side.modality, side.side)
        if keys is not None and len(keys) == 0:
            return Hits(np.full((len(xq), 1), NO_HIT), np.zeros((len(xq), 1)))
        positions = None if keys is None else index.positions_of(keys)
        D, I = index.search(xq, max(k, SHORTLIST), positions)  # noqa: E741 - faiss's own names
        return Hits(I, D)

    def _passing(self, side: Side, plan: Plan) -> _Keys:
        """The keys of `side` that pass the filters, None for all: of molecules, or of measured records, of
        which none may pass although some molecules do.
        """
        if plan.keys is None or not self._directory.is_measured(*side):
            return plan.keys
        try:
            return plan.filters.keys(self._directory.records(side.modality))
        except FilterError:  # the molecules took the same filter, so it is no mistake: no record passes
            return np.zeros(0, np.int64)

    def _encode(self, read: list[_Read], spaces: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        """Unit vectors (n, d) float32 per space, as half precision holds them.

        A lone molecule that asks first and that the index holds takes its stored vectors, which spares a cold
        start the seconds that torch takes to import; after that the model is quicker than finding a molecule
        among millions. Rounding what the model gives in the same way makes both answers alike.
        """
        first, self._first = self._first, False
        if first and len(read) == 1 and self._model is None:
            key = self._key_of(read[0].molecule)
            if len(key):
                return {name: self._stored(name, key) for name in spaces}
        encoded = self.loaded().encode_molecules([item.mol for item in read])
        return {name: encoded[name].astype(np.float16).astype(np.float32) for name in spaces}

    def _key_of(self, molecule: Molecule) -> npt.NDArray[np.int64]:
        """The key of exactly this molecule, (1,) int64, or (0,) when the index does not hold it.

        An equal InChIKey would not do: tautomers share one, and they are different graphs with different
        vectors.
        """
        quoted = molecule.smiles.replace("'", "''")
        return self._directory.catalog.keys(where=f"smiles = '{quoted}'", formula=molecule.formula)[:1]

    def _stored(self, space: str, key: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        vectors = self._directory.vectors(space, "graph")
        stored = vectors.stored(vectors.positions_of(key))
        if len(stored) != 1:
            raise IndexCorrupt(
                self._directory.path,
                f"molecule {key[0]} has {len(stored)} vectors in space {space!r}; run `acml-search verify`",
            )
        return stored

    def loaded(self) -> Model:
        """The model that encodes queries, loaded once. Raises CheckpointError or SpaceMismatch."""
        if self._model is None:
            card = read_card(self._model_name)  # one that does not fit is refused before torch is imported
            self._directory.check_spaces({name: space.digest for name, space in card.spaces.items()})
            from acml_search.encoders.model import load_model

            self._model = load_model(self._model_name)
        return self._model

    def _scale(self, modality: str) -> float:
        return float(self._directory.spaces[modality].scale)


def _question(item: _Read, plan: Plan) -> dict[str, Any]:
    """What was asked and how it was understood."""
    molecule = item.molecule
    asked: dict[str, Any] = {} if item.query.row is None else {"row": item.query.row}
    asked["smiles"] = item.query.text if item.query.kind == "smiles" else molecule.smiles
    asked |= {
        "standardised": molecule.smiles,
        "inchikey": molecule.inchikey,
        "formula": molecule.formula,
        "exact_mass": molecule.exact_mass,
        "removed": molecule.removed,
        "k": plan.k,
        "filter": plan.filters.to_dict(),
        "passed": None if plan.keys is None else len(plan.keys),
    }
    if item.query.about:
        asked["about"] = item.query.about
    return asked


def _notes(item: _Read, plan: Plan, lists: list[HitList]) -> list[str]:
    notes = []
    if item.molecule.removed is not None:
        notes.append(f"the query is searched without {item.molecule.removed}: the largest fragment is kept")
    for hits in lists:
        if len(hits) < plan.k:
            why = "" if plan.keys is None else f"; molecules that pass the filter: {len(plan.keys):,}"
            notes.append(f"{hits.modality} {hits.side}: {len(hits):,} of the {plan.k:,} hits asked for{why}")
    return notes


class _Clock:
    """Seconds per stage and query: what a batch took is shared among its n queries."""

    def __init__(self, n: int, **before: float) -> None:
        self._n = n
        self._seconds = dict(before)
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._seconds[stage] = (now - self._last) / self._n
        self._last = now

    def seconds(self) -> dict[str, float]:
        return {**self._seconds, "total": sum(self._seconds.values())}
