"""`Index`, opened for searching, and the way from a query to its answer: encode, retrieve, fuse, re-rank,
explain.

Molecules and observations take the same steps. A molecule is searched on the record side of each space, and
on one graph side for similar molecules: each makes a list of its own. Observations of one compound search the
graph sides of their spaces; the union of the candidates is scored in all of them and the calibrated logits
are added, each by its fusion weight (a logarithmic opinion pool: Genest and Zidek 1986), so that a missing
observation adds nothing. Where the signals of a 1H spectrum state their hydrogens, molecules that fit the
sum are preferred, before candidates are chosen. The best candidates are then compared with the spectra peak
by peak: of NMR with the peaks that the index keeps of each molecule, so that none is fetched or predicted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NamedTuple, ParamSpec, TypeVar, Unpack

import numpy as np

from acml_search import modalities
from acml_search.chem.adducts import log_odds
from acml_search.chem.configuration import LENGTH, as_query
from acml_search.chem.molecule import Molecule, describe, parse, parse_block, read_stored
from acml_search.core.errors import (
    AcmlSearchError,
    ConfigError,
    FilterError,
    IndexCorrupt,
    IndexReplaced,
    InvalidMolecule,
    NoCandidates,
)
from acml_search.core.io import digest_of
from acml_search.core.timing import Stopwatch
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.encoders import shifts
from acml_search.encoders.card import ModelCard, missing_space, read_card
from acml_search.encoders.shifts import ShiftModel
from acml_search.index.directory import location, open_store
from acml_search.library.catalog import numbers, take
from acml_search.nmr.hydrogens import BANDS, hydrogen_prior, stated_hydrogens
from acml_search.search import in_library
from acml_search.search.request import (
    Conditions,
    Filters,
    MoleculeQuery,
    SearchRequest,
    no_candidates,
    read_observations,
    with_precursor,
)
from acml_search.search.results import (
    ADDUCT,
    HYDROGENS,
    NO_HIT,
    Answer,
    Explanation,
    HitList,
    Hits,
    with_foreign,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from rdkit import Chem

    from acml_search.encoders.checkpoint import Model
    from acml_search.index.directory import Passing, Store
    from acml_search.library.catalog import Catalog
    from acml_search.modalities import Observation
    from acml_search.modalities.base import Evidence, Reading, Reranker

SHORTLIST = 100  # hits of a molecule's list that share the probability, and within which ties are resolved
RERANKED = 200  # candidates compared peak by peak,
RERANKED_KEPT = 1_000  # and where the index keeps their peaks
CANDIDATES = 500  # that each observation contributes, at least
MAX_OCCLUDED = 20  # peaks, the strongest, that are left out one at a time
BATCH = 256  # molecule queries encoded and searched together,
MAX_BATCH_HITS = 50_000  # or fewer, so that no more molecules than this are held per list
# Vectors are stored in half precision, which moves an inner product of unit vectors by about 1e-5 (d = 256)
# to 4e-5 (d = 32): scores closer than this cannot be told apart.
TIE = 1e-4


class Side(NamedTuple):
    """One FAISS index to search: one side of the space called `modality`."""

    modality: str
    side: Literal["graph", "records"]


P = ParamSpec("P")
R = TypeVar("R")


def _retried(method: Callable[Concatenate[Index, P], R]) -> Callable[Concatenate[Index, P], R]:
    """Retry once, on the new index, if the index was replaced during the query."""

    @wraps(method)
    def retried(self: Index, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except IndexReplaced:
            return method(self, *args, **kwargs)

    return retried


class Index:
    """An opened index. Reading only; use as a context manager, or call `close`.

    path: the index directory, or `milvus:URI` of one that was pushed.
    model: name or directory of the checkpoint that encodes queries; by default the
    one the index was built with. It is loaded when a query first needs it.

    An index that was built anew or added to meanwhile is opened anew by the next query, and so is one that is
    replaced during a query; where that happens again, or in a batch, IndexReplaced is raised.

    Raises IndexNotFound or IndexCorrupt when there is no usable index at `path`, CheckpointError or
    SpaceMismatch when `model` is none or not the index's.
    """

    def __init__(self, path: Path | str, *, model: Path | str | None = None) -> None:
        self.path = location(path)
        self._model = model
        self._opening = threading.Lock()
        self._open()

    def _open(self) -> None:
        model = self._model
        self._directory = open_store(self.path)
        if model is not None:  # a wrong one is refused also where stored vectors would do
            self._directory.card(model)
        self._pipeline = Pipeline(self._directory, model or self._directory.model)

    def _current(self) -> AbstractContextManager[None]:
        """The index that lies here now, for one query."""
        with self._opening:  # threads may ask at once
            if self._directory.replaced():
                self._directory.close()
                self._open()
            return self._directory.unreplaced()

    @property
    def model_name(self) -> Path | str:
        """The checkpoint that encodes queries."""
        return self._model or self._directory.model

    @property
    def identity(self) -> str:
        """What tells this index from one of other contents, or of another model."""
        manifest = self._directory.manifest
        return digest_of([manifest.job, manifest.added, manifest.counts, str(self.model_name)])

    @property
    def spaces(self) -> list[str]:
        """The names of the index's spaces, one per modality of its model."""
        return list(self._directory.spaces)

    @_retried
    def search(
        self,
        smiles: str | Chem.Mol,
        *,
        k: int = 10,
        modality: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> Answer:
        """The k best hits for one molecule: on the record side of every modality that has one (or of
        `modality` alone), and last, as similarity, on the graph side.

        smiles: a SMILES, an InChI, a mol block or an RDKit molecule.

        conditions: `where`, `formula`, `mass`, `tol_ppm`, `tol_da`, ..., see `Filters`. They hold before the
        search, so k hits come back whenever k molecules pass.
        Raises InvalidMolecule, FilterError, ConfigError (k or modality) or SpaceMismatch (another model).
        """
        request = SearchRequest(k, Filters(**conditions), modality)
        (answer,) = self.search_queries([MoleculeQuery(smiles)], request)
        if isinstance(answer, InvalidMolecule):
            raise answer
        return answer

    def search_batch(
        self,
        smiles: Iterable[str | Chem.Mol],
        *,
        k: int = 10,
        modality: str | None = None,
        on_error: Literal["raise", "keep"] = "raise",
        **conditions: Unpack[Conditions],
    ) -> list[Any]:
        """`search` for many molecules under one set of conditions; `Answer`s in the order of `smiles`.

        A molecule that cannot be read raises InvalidMolecule naming its row (0-based); with on_error="keep"
        the error stands in its place instead. Raises ConfigError for one SMILES in place of a list.
        """
        if isinstance(smiles, str):
            raise ConfigError("search_batch takes a list of SMILES; write search(smiles) for one")
        if on_error not in ("raise", "keep"):
            raise ConfigError(f"on_error is {on_error!r}; it is 'raise' or 'keep'")
        queries = (MoleculeQuery(text, row=row) for row, text in enumerate(smiles))
        answers: list[Answer | InvalidMolecule] = []
        for answer in self.search_queries(queries, SearchRequest(k, Filters(**conditions), modality)):
            if on_error == "raise" and isinstance(answer, InvalidMolecule):
                raise answer
            answers.append(answer)
        return answers

    def search_queries(
        self, queries: Iterable[MoleculeQuery], request: SearchRequest
    ) -> Iterator[Answer | InvalidMolecule]:
        """Answers one after another, in the order of `queries`, in constant memory; a query that cannot be
        read gives its error. An error in the request is raised at once, before the first answer."""
        with self._current():
            answers = self._pipeline.molecules(queries, request, self._sides(request.modality))
        return _of_one_index(answers, self._directory)

    @_retried
    def identify(
        self,
        observations: Mapping[str, Any] | Sequence[Observation],
        *,
        k: int = 10,
        adduct: str | None = None,
        rerank: bool = True,
        rerank_depth: int | None = None,
        by_precursor: bool = True,
        occlude: bool = False,
        min_probability: float = 0.0,
        **conditions: Unpack[Conditions],
    ) -> Answer:
        """The k molecules that fit the observations of one compound best.

        observations: text or file by modality, or several of them
        (`{"c_nmr": "155.4, 151.7", "lc_ms": ["x.mgf#2", "x.mgf#3"]}`); also a list of shifts, or a record of
        the modality such as a row of a Parquet file; or `Observation`s. Spectra of one modality are averaged;
        peak by peak, the first of them is compared. adduct: of MS/MS spectra that do not state theirs.
        rerank: compare the `rerank_depth` best candidates peak by peak. by_precursor: only candidates of the
        neutral mass that an MS/MS spectrum's precursor and adduct give, within `tol_ppm` (10) or `tol_da`,
        unless `mass` or `formula` is given. occlude: say for each hit which peaks of a mass spectrum matter
        most. min_probability: leave out hits that are less probable.
        conditions: as in `search`.
        Raises InvalidRecord for an observation that cannot be used, FilterError (NoCandidates where nothing
        passes), ConfigError, SpaceMismatch; the notes on the observations are the error's.
        """
        read = read_observations(observations, adduct)
        limited, notes = with_precursor(conditions, read) if by_precursor else (conditions, [])
        request = SearchRequest(
            k,
            Filters(**limited),
            observations=read,
            rerank=rerank,
            rerank_depth=rerank_depth,
            occlude=occlude,
            min_probability=min_probability,
            notes=notes,
        )
        return self._answer(request, conditions)

    @_retried
    def explain(
        self,
        observations: Mapping[str, Any] | Sequence[Observation],
        keys: Sequence[int],
        *,
        adduct: str | None = None,
        rerank: bool = True,
    ) -> Answer:
        """Why the molecules `keys` fit the observations, whatever their rank among all.

        Raises as `identify` does, and ConfigError for a key that the index does not hold.
        """
        read = read_observations(observations, adduct)
        # the candidates that compete are those that a search would compare the molecules with
        limited, notes = with_precursor({}, read)
        request = SearchRequest(
            max(1, len(set(keys))),
            Filters(**limited),
            observations=read,
            rerank=rerank,
            occlude=True,
            keys=keys,
            notes=notes,
        )
        return self._answer(request, {})

    def ranked(self, request: SearchRequest) -> tuple[Shortlist, Passing | None]:
        """The scored candidates behind an answer to observations, the best first, and the keys that pass the
        filters (None: all); for measuring. Raises as `identify` does."""
        with self._current():
            return self._pipeline.ranked(request)

    def keys_of(self, where: str) -> Ints:
        """(n,) int64 ascending, the molecules for which an SQL condition holds. Raises FilterError."""
        return self._directory.catalog.keys(where=where)

    @_retried
    def molecules(self, keys: Sequence[int]) -> list[dict[str, Any]]:
        """The molecules with these keys, with the library's own columns. Raises ConfigError for a key that
        the index does not hold."""
        with self._current():
            try:
                return list(self._directory.catalog.rows(keys).to_pylist())
            except KeyError as error:
                raise ConfigError(f"{self.path}: {error.args[0]}") from error

    @_retried
    def vectors(self, space: str, keys: Sequence[int] | None = None, n: int = 3_000) -> Float32s:
        """(m, d) float32: vectors on the graph side of a space, of the molecules `keys`, or of `n` from all
        over the library. Raises ConfigError for a space or a key that the index does not hold."""
        with self._current():
            side = self._directory.vectors(space)
            if keys is None:
                return side.sample(n)
            asked, places = np.unique(np.asarray(keys, np.int64), return_inverse=True)
            if not self._directory.holds(asked).all():
                raise ConfigError(f"{self.path}: one of the keys {list(keys)} is not there")
            return side.stored(side.positions_of(asked))[places]

    @_retried
    def readings(self, observations: Sequence[Observation]) -> list[Reading]:
        """What the encoder takes each picture for. Raises InvalidRecord for one that shows no
        structure."""
        with self._current():
            return self._pipeline.readings(observations)

    @property
    def columns(self) -> list[str]:
        """Names that a condition in SQL may use."""
        with self._current():
            return self._directory.catalog.columns()

    def _answer(self, request: SearchRequest, conditions: Conditions) -> Answer:
        """`conditions`: the user's own, without what a precursor adds to them."""
        try:
            with self._current():
                return self._pipeline.observations(request)
        except AcmlSearchError as error:
            made: AcmlSearchError = error
            if isinstance(error, NoCandidates):
                made = no_candidates(error, conditions, request.filters, request.observations, len(self))
            for note in (note for one in request.observations for note in one.notes):
                made.add_note(note)
            raise made from (error if made is not error else error.__cause__)

    def close(self) -> None:
        """Release the catalogue and the mapped files; a search afterwards opens them again."""
        self._directory.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._directory.manifest.counts["molecules"]

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {len(self):,} molecules, spaces: {', '.join(self.spaces)})"

    def _sides(self, modality: str | None) -> list[Side]:
        spaces = self.spaces
        if modality is not None and modality not in spaces:
            raise ConfigError(_no_space(self._directory, modality))
        searched = spaces if modality is None else [modality]
        records = [Side(name, "records") for name in searched if self._directory.has_side(name, "records")]
        # one list of similar molecules is enough: all spaces share the trunk, so their graph sides say much
        # the same
        similar = "smiles" if "smiles" in searched else searched[0]
        return [*records, Side(similar, "graph")]


def open_index(path: Path | str = "indexes/default", *, model: Path | str | None = None) -> Index:
    """Open an index directory, or `milvus:URI`, for searching; see `Index`. Raises IndexNotFound,
    IndexCorrupt or StoreError."""
    return Index(path, model=model)


def _of_one_index(
    answers: Iterator[Answer | InvalidMolecule], directory: Store
) -> Iterator[Answer | InvalidMolecule]:
    """The answers, each of one index. Raises IndexReplaced."""
    while True:
        with directory.unreplaced():
            answer = next(answers, None)
        if answer is None:
            return
        yield answer


@dataclass
class Shortlist:
    """n candidates, the best first, with their scores.

    keys: (n,) int64. cosines, logits: by space, (n,) float64 inner products and what each adds to the score.
    totals: (n,) float64, the sum of the logits. found: (n,) bool, by a search, not only named by key.
    compared: by space, what the peaks of candidates were compared with. evidence: by space, (n,) float64, the
    log-likelihood of the peaks, NaN of a candidate that was not compared.
    """

    keys: Ints
    cosines: dict[str, Floats]
    logits: dict[str, Floats]
    totals: Floats
    found: Bools
    compared: dict[str, Comparison] = field(default_factory=dict)
    evidence: dict[str, Floats] = field(default_factory=dict)

    def at(self, places: Ints) -> Shortlist:
        """The candidates at `places`, in that order."""
        cosines, logits, evidence = (
            {m: x[places] for m, x in part.items()} for part in (self.cosines, self.logits, self.evidence)
        )
        totals, found = self.totals[places], self.found[places]
        return Shortlist(self.keys[places], cosines, logits, totals, found, self.compared, evidence)

    def probabilities(self, temperature: float = 1.0) -> Floats:
        """(n,) float64, the softmax of the totals over a temperature."""
        weights = np.exp((self.totals - self.totals.max(initial=-np.inf)) / temperature)
        return np.asarray(weights / max(float(weights.sum()), 1e-300))

    def ranks(self) -> list[int | None]:
        """Places from 1 among the candidates that a search found; None for the others: better ones may be
        among the molecules that were not scored."""
        ranks = np.cumsum(self.found).tolist()
        return [rank if found else None for rank, found in zip(ranks, self.found.tolist(), strict=True)]


class Comparison(NamedTuple):
    """A space whose peaks were compared one by one."""

    reranker: Reranker
    model: Any
    observed: Any
    places: dict[int, int]
    """by key, in `prepared`"""
    prepared: Sequence[Any]
    """what `Reranker.prepare` returned, or `ShiftReranker.unpack` without atoms"""
    kept: Sequence[Any] = ()
    """the peaks of all molecules that the index keeps, by space of `Reranker.predicted_by`"""

    def of(self, key: int) -> Any:
        """What was compared of a molecule."""
        return self.prepared[self.places[key]]


class _Read(NamedTuple):
    """A molecule query that was read; `place` is its place in its batch."""

    place: int
    query: MoleculeQuery
    mol: Chem.Mol
    molecule: Molecule


class Pipeline:
    """Answers queries from one opened index.

    model: name or directory of the checkpoint that encodes queries; loaded when first needed.
    """

    def __init__(self, directory: Store, model: Path | str) -> None:
        self._directory = directory
        self._model_name = model
        self._model: Model | None = None
        self._shifts: ShiftModel | None = None
        self._first = True

    def loaded(self, spaces: Collection[str] = ()) -> Model:
        """The model that encodes queries, with at least these spaces; all, if none is named first.

        Raises CheckpointError or SpaceMismatch.
        """
        there = set(self._model.spaces) if self._model is not None else set()
        if self._model is None or not there.issuperset(spaces):
            card = self._card()  # a wrong one is refused before torch is imported
            from acml_search.encoders.checkpoint import load_model

            self._model = load_model(card, spaces={*there, *spaces} or None)
        return self._model

    def reader(self, spaces: Collection[str]) -> Model | ShiftModel:
        """The model that encodes observations in `spaces` and predicts peaks: of NMR alone, without torch.

        Raises as `loaded` does.
        """
        if self._shifts is not None and set(spaces).issubset(self._shifts.spaces):
            return self._shifts
        if not shifts.answers(card := self._card(), spaces):
            return self.loaded(spaces)
        self._shifts = ShiftModel(card, {*spaces, *(self._shifts.spaces if self._shifts else ())})
        return self._shifts

    def _card(self) -> ModelCard:
        return self._directory.card(self._model_name)

    # molecules

    def molecules(
        self, queries: Iterable[MoleculeQuery], request: SearchRequest, sides: Sequence[Side]
    ) -> Iterator[Answer | InvalidMolecule]:
        """One answer per query, in order and in constant memory; a query that cannot be read gives its error.
        The filter is applied, and may raise, before the first answer."""
        watch = Stopwatch()
        passing = request.filters.keys(self._directory.catalog)
        allowed = [self._allowed(side, request, passing) for side in sides]
        watch.lap("filter")
        return self._batches(iter(queries), request, sides, passing, allowed, watch.seconds()["filter"])

    def _batches(
        self,
        queries: Iterator[MoleculeQuery],
        request: SearchRequest,
        sides: Sequence[Side],
        passing: Passing | None,
        allowed: Sequence[Passing | None],
        filter_seconds: float,
    ) -> Iterator[Answer | InvalidMolecule]:
        size = max(1, min(BATCH, MAX_BATCH_HITS // request.k))
        while batch := list(islice(queries, size)):
            watch = Stopwatch()
            results: list[Answer | InvalidMolecule | None] = [None] * len(batch)
            read: list[_Read] = []
            for place, query in enumerate(batch):
                try:
                    read.append(self._read(place, query))
                except InvalidMolecule as error:
                    results[place] = error
            watch.lap("read")
            if read:
                lists = self._lists(read, request, sides, allowed, watch)
                stages = {stage: s / len(batch) for stage, s in watch.seconds(9).items() if stage != "total"}
                laps = {"filter": filter_seconds, **stages}
                for item, hit_lists in zip(read, lists, strict=True):
                    stated = any(mark in item.molecule.smiles for mark in "@/\\")
                    blind = self._told_apart("smiles") if stated else []
                    results[item.place] = Answer(
                        _molecule_question(item, request, passing),
                        str(self._directory.path),
                        hit_lists,
                        {**laps, "total": sum(laps.values())},
                        [*self._restriction(), *blind, *_molecule_notes(item, request, hit_lists, passing)],
                    )
            yield from (result for result in results if result is not None)

    def _read(self, place: int, query: MoleculeQuery) -> _Read:
        if query.error is not None:
            raise InvalidMolecule(query.error, smiles=str(query.text) or None, row=query.row)
        reader: Callable[..., tuple[Chem.Mol, str | None]] = parse if query.kind == "smiles" else parse_block
        try:
            mol, removed = reader(query.text, tautomer=self._directory.manifest.options["tautomer"])
            return _Read(place, query, mol, describe(mol, removed))
        except InvalidMolecule as error:
            raise InvalidMolecule(error.reason, smiles=error.smiles, row=query.row) from error

    def _lists(
        self,
        read: Sequence[_Read],
        request: SearchRequest,
        sides: Sequence[Side],
        allowed: Sequence[Passing | None],
        watch: Stopwatch,
    ) -> list[list[HitList]]:
        """For each query, a list per side."""
        own = self._directory.catalog.of_inchikeys([item.molecule.inchikey for item in read])
        xq = self._encode_molecules(read, sorted({side.modality for side in sides}), own)
        watch.lap("encode")
        found = [
            self._retrieve(side, xq[side.modality], max(request.k, SHORTLIST), keys)
            for side, keys in zip(sides, allowed, strict=True)
        ]
        for side, hits, keys in zip(sides, found, allowed, strict=True):
            if side.side == "graph":
                self._own_first(side, hits, xq[side.modality], read, own, keys)
        watch.lap("search")
        rows = self._rows(sides, [_shown(hits, request.k) for hits in found])
        lists = [
            [
                self._molecule_list(side, self._alone(side, hits, i), request.k, item.molecule.inchikey, of)
                for side, hits, of in zip(sides, found, rows, strict=True)
            ]
            for i, item in enumerate(read)
        ]
        watch.lap("rows")
        return lists

    def _own_first(
        self,
        side: Side,
        hits: Hits,
        xq: Float32s,
        read: Sequence[_Read],
        own: Mapping[str, tuple[int, str]],
        allowed: Passing | None,
    ) -> None:
        """Put the molecule with a query's InChIKey first, in place, whatever form of it the index holds."""
        for i, item in enumerate(read):
            key = own.get(item.molecule.inchikey, (NO_HIT, ""))[0]
            if key == NO_HIT or key == hits.keys[i, 0] or (allowed is not None and key not in allowed):
                continue
            score = self._stored(side.modality, np.array([key], np.int64))[0].astype(np.float64) @ xq[i]
            there = np.flatnonzero(hits.keys[i] == key)
            last = int(there[0]) if len(there) else hits.keys.shape[1] - 1
            for array, first in ((hits.keys, key), (hits.scores, score)):
                array[i, 1 : last + 1] = array[i, :last].copy()
                array[i, 0] = first

    def _alone(self, side: Side, hits: Hits, i: int) -> Shortlist:
        """The candidates of one query of a batch on one side: there is nothing to fuse."""
        n = int((hits.keys[i] != NO_HIT).sum())
        cosines = hits.scores[i, :n].astype(np.float64)
        logits = float(self._directory.spaces[side.modality].scale) * cosines
        names = {side.modality: cosines}, {side.modality: logits}
        return Shortlist(hits.keys[i, :n], *names, logits, np.ones(n, bool))

    def _molecule_list(self, side: Side, found: Shortlist, k: int, inchikey: str, rows: pa.Table) -> HitList:
        """The first k, the query's own molecule first among equals; without it no hit is more than a guess.

        Of measured records, several may be of one molecule; the keys shown are the molecules'.
        """
        cosines = found.cosines[side.modality]
        tied = int((cosines >= cosines[:1] - TIE).sum())
        n = min(len(cosines), max(k, tied))
        table = _picked(rows, found.keys[:n])
        same = np.flatnonzero(np.array(table.column("inchikey").to_pylist()[:tied]) == inchikey)
        order = np.concatenate([same, np.delete(np.arange(n), same)])[:k]
        probabilities = found.probabilities()[order] * (1.0 if len(same) else in_library.UNKNOWN)
        shown = _by_molecule(take(table, order))
        hits = _padded(numbers(shown.column("key").chunks), cosines[order], k)
        scale = float(self._directory.spaces[side.modality].scale)
        return HitList(side.modality, side.side, hits, probabilities, scale, shown)

    def _allowed(self, side: Side, request: SearchRequest, passing: Passing | None) -> Passing | None:
        """The keys of `side` that pass the filters, None for all: of molecules, or of measured records, of
        which none may pass although some molecules do.
        """
        if passing is None or not self._directory.is_measured(*side):
            return passing
        try:
            return request.filters.keys(self._directory.records(side.modality))
        except FilterError:  # the molecules passed the same filter, so it is no mistake: no record passes
            return np.zeros(0, np.int64)

    def _encode_molecules(
        self, read: Sequence[_Read], spaces: Sequence[str], own: Mapping[str, tuple[int, str]]
    ) -> dict[str, Float32s]:
        """Unit vectors (n, d) float32 per space, as half precision holds them.

        A lone molecule that comes first and that the index holds takes its stored vectors, which spares a
        cold start the seconds that torch takes to import; after that the model is quicker than finding a
        molecule among millions. Rounding what the model computes in the same way makes both answers alike.
        """
        first, self._first = self._first, False
        if first and len(read) == 1 and self._model is None:
            key, smiles = own.get(read[0].molecule.inchikey, (NO_HIT, ""))
            # an index made by an earlier standardisation may hold another form, with another vector
            if smiles == read[0].molecule.smiles:
                stored = {name: self._stored(name, np.array([key], np.int64)) for name in spaces}
                return {name: self._asked(name, vectors) for name, vectors in stored.items()}
        encoded = self.loaded(spaces).encode_molecules([item.mol for item in read])
        halved = {name: encoded[name].astype(np.float16).astype(np.float32) for name in spaces}
        return {name: self._asked(name, vectors) for name, vectors in halved.items()}

    def _asked(self, space: str, vectors: Float32s) -> Float32s:
        """Vectors (n, d) of queries, each so long that what fits it best has the cosine 1."""
        weight = self._directory.spaces[space].configuration
        return vectors if weight is None else as_query(vectors, weight)

    def _stored(self, space: str, keys: Ints) -> Float32s:
        """(n, d) float32, the stored graph vectors of `keys`, ascending."""
        vectors = self._directory.vectors(space, "graph")
        positions = vectors.positions_of(keys)
        if len(positions) != len(keys):
            raise IndexCorrupt(
                self._directory.path,
                f"{len(keys)} molecules have {len(positions)} vectors in space {space!r}",
                "run `acml-search verify` on the index",
            )
        return vectors.stored(positions)

    # observations

    def observations(self, request: SearchRequest) -> Answer:
        """The molecules that fit the observations of `request` best."""
        watch = Stopwatch()
        keys = None if request.keys is None else self._known_keys(request.keys)
        for one in request.observations:
            self._check_space(one.modality)
        readings = self.readings(request.observations)
        read = {one.given: one.to_dict() for one in readings}
        ranked, passing = self.ranked(request, keys, watch)
        p_in_library, probabilities, known = self._probabilities(ranked, request, readings, passing)
        hits = self._observation_list(ranked, request, keys, probabilities)
        watch.lap("rows")
        return Answer(
            {
                "observations": [
                    one.to_dict() | ({"reading": read[one.given]} if one.given in read else {})
                    for one in request.observations
                ],
                "k": int(request.k),
                "rerank": request.rerank,
                "filter": request.filters.to_dict(),
                "passed": None if passing is None else len(passing),
            },
            str(self._directory.path),
            [hits],
            watch.seconds(),
            self._observation_notes(request, readings, hits, passing, known),
            request.observations,
            p_in_library,
            readings,
        )

    def ranked(
        self, request: SearchRequest, keys: Ints | None = None, watch: Stopwatch | None = None
    ) -> tuple[Shortlist, Passing | None]:
        """The candidates for the observations of `request`, the molecules `keys` among them, the best first;
        and the keys that pass the filter, None for all."""
        watch = watch or Stopwatch()
        passing = request.filters.keys(self._directory.catalog)
        watch.lap("filter")
        vectors = self._encode_observations(request.observations)
        watch.lap("encode")
        found = self._fuse(vectors, request, passing, keys)
        watch.lap("search")
        ranked = self._rerank(found, request, keys, passing) if request.rerank else found
        watch.lap("rerank")
        return ranked, passing

    def _probabilities(
        self, found: Shortlist, request: SearchRequest, readings: Sequence[Reading], passing: Passing | None
    ) -> tuple[float | None, Floats, list[str]]:
        """That the compound is among the candidates, and (n,) that it is each of them; and what has to be
        said of that. The first is None where the model's card cannot say."""
        fit = in_library.fitted(self.reader(found.cosines).card, list(found.cosines))
        if not len(found.keys):
            return None, found.probabilities(), []
        if fit is None:
            said = (
                "whether the compound is among the molecules searched is not known for "
                f"{', '.join(found.cosines)}: the probabilities of hits take it for even odds"
            )
            return None, in_library.UNKNOWN * found.probabilities(), [said]
        n = self._directory.manifest.counts["molecules"] if passing is None else len(passing)
        told = in_library.features(found, request.observations, readings, n, passing is not None)
        p = fit.probability(told)
        notes = []
        if unfitted := [name for name in found.cosines if name not in fit.spaces]:
            notes.append(
                f"whether the compound is among the molecules searched is judged by {', '.join(fit.spaces)}, "
                f"as it was not fitted together with {', '.join(unfitted)}"
            )
        if p < 0.5:
            notes.append(
                f"nothing fits well: with a probability of {1 - p:.2f} the compound is not among "
                f"the molecules searched ({n:,})"
            )
        return p, p * found.probabilities(fit.temperature), notes

    def _check_space(self, modality: str) -> None:
        if modality in self._directory.spaces:
            return
        card = read_card(self._directory.model)
        if modality not in card.spaces:
            raise ConfigError(
                f"{self._directory.path}: {missing_space(card, modality)}; an index is searched with the "
                "model it was built with: build one with that, by build-index --model"
            )
        raise ConfigError(f"{_no_space(self._directory, modality)}; build it again with this space")

    def _known_keys(self, keys: Sequence[int]) -> Ints:
        """Keys of molecules, ascending. Raises ConfigError for one that the index does not hold."""
        distinct = {int(key) for key in keys}
        largest = np.iinfo(np.int64).max
        known = np.array(sorted(key for key in distinct if 0 <= key <= largest), np.int64)
        there = known[self._directory.holds(known)]
        missing = sorted(distinct.difference(there.tolist()))
        if missing or not distinct:
            what = f"no molecule {missing[0]}" if missing else "nothing to explain without a key"
            raise ConfigError(
                f"{self._directory.path}: {what}; keys are in the answers of `acml-search query`"
            )
        return known

    def _encode_observations(self, observations: Sequence[Observation]) -> dict[str, Float32s]:
        """(1, d) float32 unit vector by space. Several observations of one modality, such as MS/MS spectra at
        several energies, are averaged."""
        items: dict[str, list[Any]] = {}
        for one in observations:
            items.setdefault(one.modality, []).append(one.item)
        vectors = {}
        model = self.reader(items)
        for name, several in items.items():
            mean = model.encode_items(name, several).mean(axis=0, keepdims=True)
            told = self._directory.spaces[name].configuration is not None
            length = float(np.linalg.norm(mean[:, :-LENGTH] if told else mean))
            vectors[name] = self._asked(name, mean / max(length, 1e-12))
        return vectors

    def _fuse(
        self,
        vectors: Mapping[str, Float32s],
        request: SearchRequest,
        passing: Passing | None,
        keys: Ints | None,
    ) -> Shortlist:
        """The candidates that each space finds, and `keys`, scored in all spaces."""
        weights = self.reader(vectors).card.fusion_weights(vectors, "plain")
        prior = self._hydrogen_prior(request.observations)
        k = max(int(request.k), CANDIDATES, self._depth(request) if request.rerank else 0)
        found = {name: self._candidates(name, xq, k, passing, prior) for name, xq in vectors.items()}
        listed = np.unique(np.concatenate([hits.keys[0][hits.keys[0] != NO_HIT] for hits in found.values()]))
        union = listed if keys is None else np.union1d(listed, keys)
        cosines = {name: self._cosines(name, vectors[name][0], hits, union) for name, hits in found.items()}
        logits = {
            name: weights[name] * self._directory.spaces[name].scale * values
            for name, values in cosines.items()
        }
        if prior is not None:
            logits[HYDROGENS] = prior[self._directory.kinds_of(union)]
        if len(ions := _ions(request)) > 1:
            masses = self._molecule_rows(union, ["exact_mass"]).column("exact_mass")
            logits[ADDUCT] = np.array([log_odds(float(mass or 0.0), ions) for mass in masses.to_pylist()])
        totals = np.sum(list(logits.values()), axis=0)
        # ties by key, so that the same query has the same answer
        shortlist = Shortlist(union, cosines, logits, totals, np.isin(union, listed))
        return shortlist.at(np.lexsort((union, -totals)))

    def _hydrogen_prior(self, observations: Sequence[Observation]) -> Floats | None:
        """(kinds,) logarithms of how well each of the `Store.hydrogens` fits the hydrogens that a 1H spectrum
        counts; None where none does, or the index does not know its molecules' hydrogens."""
        n = counted_hydrogens(observations)
        if n is None or self._directory.hydrogens is None:
            return None
        return hydrogen_prior(n, *self._directory.hydrogens.T)

    def _candidates(
        self, space: str, xq: Float32s, k: int, passing: Passing | None, prior: Floats | None
    ) -> Hits:
        """The k nearest of a vector (1, d), among the keys `passing` only if given, in no order. With a
        `prior`, also the k nearest of those molecules whose prior is at least each of `BANDS`: then none is
        missed whose logit exceeds that of k others by more than the width of a band."""
        found = [self._retrieve(Side(space, "graph"), xq, k, passing)]
        if prior is not None:
            index = self._directory.vectors(space, "graph")
            allowed = None if passing is None else index.positions_of(passing)
            for least in BANDS:
                positions = self._directory.of_kinds(prior >= least, allowed)
                if len(positions):
                    D, I = index.search(xq, k, positions)  # noqa: E741 - faiss's
                    found.append(Hits(I, D))
        keys, first = np.unique(np.concatenate([hits.keys[0] for hits in found]), return_index=True)
        scores = np.concatenate([hits.scores[0] for hits in found])[first]
        return Hits(keys[keys != NO_HIT], scores[keys != NO_HIT])

    def _cosines(self, space: str, vector: Float32s, hits: Hits, keys: Ints) -> Floats:
        """(n,) float64 of `keys`, ascending: those that the search scored, the rest from stored vectors."""
        n = int(hits.counts[0])
        order = np.argsort(hits.keys[0, :n])
        scored = hits.keys[0, :n][order]
        cosines = np.empty(len(keys), np.float64)
        known = np.isin(keys, scored)
        cosines[known] = hits.scores[0, :n][order]
        if not known.all():
            cosines[~known] = self._stored(space, keys[~known]) @ vector
        return cosines

    def _depth(self, request: SearchRequest) -> int:
        """How many candidates are compared peak by peak: many more where the index keeps their peaks."""
        rerankers = [modalities.get(one.modality).reranker() for one in request.observations]
        kept = all(one is not None and self._kept(one) for one in rerankers)
        return request.rerank_depth or (RERANKED_KEPT if kept else RERANKED)

    def _rerankers(self, found: Shortlist, passing: Passing | None) -> dict[str, Reranker]:
        """What compares peaks, by space, where the model's card has weights for it."""
        model = self.reader(found.cosines)
        usable = {}
        for name in found.cosines:
            reranker = modalities.get(name).reranker()
            if (
                reranker is None
                or not model.card.rerank_weights(name)
                or (reranker.needs_filter and passing is None)
            ):
                continue
            if self._kept(reranker) or reranker.available(model):
                usable[name] = reranker
        return usable

    def _rerank(
        self, found: Shortlist, request: SearchRequest, keys: Ints | None, passing: Passing | None
    ) -> Shortlist:
        """The candidates in the order of their logits, the best and `keys` re-scored by their peaks."""
        usable = self._rerankers(found, passing)
        if not usable:
            return found
        model = self.reader(found.cosines)
        card = model.card
        chosen = np.arange(len(found.keys)) < self._depth(request)
        if keys is not None:
            chosen |= np.isin(found.keys, keys)
        places = np.flatnonzero(chosen)
        candidates = found.keys[places]
        logits = dict(found.logits)
        compared, evidence = {}, {}
        mols: list[Chem.Mol] = []
        kinds = []
        for name, reranker in usable.items():
            one = next(one for one in request.observations if one.modality == name)
            observed = reranker.observed(one.item, one.record)
            kinds.append(kind := reranker.weights(observed))
            fitted = card.rerank_weights(name, kind) or {}
            kept = self._kept(reranker)
            if not kept:
                mols = mols or self._molecules(candidates)
                prepared: Sequence[Any] = reranker.prepare(model, mols)
            else:
                prepared = self._unpacked(reranker, kept, candidates)
            scores = reranker.scores(model, observed, prepared)
            score = fitted["cosine"] * found.cosines[name][places] + fitted["evidence"] * scores
            logits[name] = logits[name].copy()
            logits[name][places] = score
            evidence[name] = np.full(len(found.keys), np.nan)
            evidence[name][places] = scores
            at = {key: place for place, key in enumerate(candidates.tolist())}
            compared[name] = Comparison(reranker, model, observed, at, prepared, kept)
        weights = card.fusion_weights(found.cosines, "signals" if "signals" in kinds else "rerank")
        for name in compared:
            logits[name][places] *= weights[name]
        totals = np.sum(list(logits.values()), axis=0)
        rest = np.setdiff1d(np.arange(len(found.keys)), places)
        if len(rest):
            # those that were not compared follow, as far apart as they were
            totals[rest] = totals[places].min() + found.totals[rest] - found.totals[places].min()
        ranked = Shortlist(found.keys, found.cosines, logits, totals, found.found, compared, evidence)
        return ranked.at(np.lexsort((found.keys, -totals)))

    def _molecules(self, keys: Ints) -> list[Chem.Mol]:
        """The molecules with these keys."""
        return [
            read_stored(str(x)) for x in self._molecule_rows(keys, ["smiles"]).column("smiles").to_pylist()
        ]

    def _unpacked(
        self, reranker: Any, kept: Sequence[Any], keys: Ints, mols: Sequence[Chem.Mol] | None = None
    ) -> Sequence[Any]:
        """The peaks that the index keeps of molecules, with the numbers of atoms if `mols` are given."""
        rows = self._directory.places(keys)
        found: Sequence[Any] = reranker.unpack(*(lists.take(rows) for lists in kept), mols=mols)
        return found

    def _kept(self, reranker: Reranker) -> list[Any]:
        """The peaks of all molecules that it compares; none where the index does not keep them."""
        lists = [self._directory.peaks(space) for space in reranker.predicted_by]
        return [] if any(one is None for one in lists) else lists

    def _observation_list(
        self, found: Shortlist, request: SearchRequest, keys: Ints | None, probabilities: Floats
    ) -> HitList:
        places = (
            np.flatnonzero(probabilities >= request.min_probability)[: int(request.k)]
            if keys is None
            else np.flatnonzero(np.isin(found.keys, keys))
        )
        shown = found.at(places)
        molecules = self._molecule_rows(shown.keys)
        single = next(iter(found.cosines)) if len(found.cosines) == 1 else None
        by_cosine = not found.compared and list(found.logits) == [single]
        scores = shown.cosines[single] if single is not None and by_cosine else shown.totals
        ranks = found.ranks()
        return HitList(
            single or "fused",
            "graph",
            _padded(shown.keys, scores, max(int(request.k), len(places))),
            probabilities[places],
            float(self._directory.spaces[single].scale) if single is not None and by_cosine else 1.0,
            molecules,
            self._explain(shown, request, molecules),
            [ranks[i] for i in places],
        )

    def _explain(self, shown: Shortlist, request: SearchRequest, molecules: pa.Table) -> list[Explanation]:
        """Why each of the hits `shown` is one."""
        by_adduct = _ions(request)
        first = next((one for one in request.observations if one.masses), None)
        if not by_adduct and request.filters.mass:
            by_adduct = {"": request.filters.mass}
        width = first.mass_width if first else None
        keys = shown.keys.tolist()
        evidence: dict[int, dict[str, Evidence]] = {key: {} for key in keys}
        smiles = dict(zip(keys, molecules.column("smiles").to_pylist(), strict=True))
        given = {one.modality: one.peaks for one in reversed(request.observations)}  # of each the first
        for name, one in shown.compared.items():
            compared = [key for key in keys if key in one.places]
            prepared: Sequence[Any] = [one.of(key) for key in compared]
            if one.kept and compared:
                mols = [read_stored(str(smiles[key])) for key in compared]
                prepared = self._unpacked(one.reranker, one.kept, np.array(compared, np.int64), mols)
            found = one.reranker.explain(one.model, one.observed, prepared)
            for key, explained in zip(compared, found, strict=True):
                evidence[key][name] = with_foreign(explained, name, given[name])
        occlusion = self._occlusion(shown, request.observations) if request.occlude else [{}] * len(keys)
        masses = molecules.column("exact_mass").to_pylist()
        return [
            Explanation(
                {name: float(logits[i]) for name, logits in shown.logits.items()},
                {name: float(cosines[i]) for name, cosines in shown.cosines.items()},
                None if error is None or width is not None else error,
                True if request.filters.formula is not None else None,  # no other passes the filter
                evidence[key],
                occlusion[i],
                adduct if len(by_adduct) > 1 else None,
            )
            for i, key in enumerate(keys)
            for adduct, error in [_nearest(float(masses[i] or 0.0), by_adduct)]
        ]

    def _occlusion(
        self, shown: Shortlist, observations: Sequence[Observation]
    ) -> list[dict[str, list[tuple[float, float]]]]:
        """For each hit and space, which of the strongest peaks matter: by how much the logit falls without
        each in turn, the most telling first.

        This is what the encoder made of a peak among the others, not a claim about chemistry: of two peaks
        that say the same each may be worth nothing alone.
        """
        found: list[dict[str, list[tuple[float, float]]]] = [{} for _ in shown.keys]
        ascending = np.sort(shown.keys)
        for name in sorted(shown.cosines):
            item = next(one.item for one in observations if one.modality == name)
            kind = modalities.get(name)
            if not kind.shows_occlusion:
                continue
            stored = self._stored(name, ascending)[np.searchsorted(ascending, shown.keys)]
            for one, changes in zip(
                found, occlusions(self.reader(shown.cosines), name, item, stored), strict=True
            ):
                one[name] = changes
        return found

    def readings(self, observations: Sequence[Observation]) -> list[Reading]:
        """What encoders took observations for. Raises InvalidRecord for one that is not what it should be."""
        said = [one for one in observations if modalities.get(one.modality).says_reading]
        model = self.loaded({one.modality for one in observations}) if said else None
        return [
            modalities.get(one.modality).reading(model.network.tower(one.modality).encoder, one)
            for one in said
            if model is not None
        ]

    def _observation_notes(
        self,
        request: SearchRequest,
        readings: list[Reading],
        hits: HitList,
        passing: Passing | None,
        known: list[str],
    ) -> list[str]:
        notes = [*self._restriction(), *(note for one in request.observations for note in one.notes)]
        notes += [*(one.said for one in readings), *request.notes]
        for name in dict.fromkeys(one.modality for one in request.observations):
            notes += self._told_apart(name) if modalities.get(name).from_structure else []
        n = counted_hydrogens(request.observations)
        if n is not None and self._directory.hydrogens is not None:
            notes.append(
                f"the signals of the 1H spectrum count {n} hydrogens: molecules that have fewer, or more "
                "beyond those on N, O and S, are less likely"
            )
        notes += known
        beyond = [str(hits.hits.keys[0, i]) for i, rank in enumerate(hits.ranks or ()) if rank is None]
        if beyond:
            notes.append(f"no candidates of a search, so without a rank: {', '.join(beyond)}")
        if request.min_probability and len(hits) < request.k:
            few = f"{len(hits):,} hits have" if len(hits) else "nothing fits: no hit has"
            notes.append(f"{few} a probability of {request.min_probability:g} or more")
        elif request.keys is None and len(hits) < request.k:
            notes.append(_fewer(len(hits), request.k, passing))
        return notes

    # both

    def _restriction(self) -> list[str]:
        """What the licence of the index's model forbids, and what its store has to say."""
        forbidden = self._directory.manifest.model.get("restriction")
        return [*([forbidden] if forbidden else []), *self._directory.notes]

    def _told_apart(self, space: str) -> list[str]:
        """That stereoisomers are not, where the index is of a time or a model without configuration."""
        if space not in self._directory.spaces or self._directory.spaces[space].configuration is not None:
            return []
        return [
            f"this index does not tell stereoisomers apart ({space}); one that is built anew does, with a "
            "model that has configuration"
        ]

    def _retrieve(self, side: Side, xq: Float32s, k: int, keys: Passing | None) -> Hits:
        """The k nearest of each vector (n, d) on one side, among `keys` only if given."""
        if keys is not None and len(keys) == 0:
            return Hits(np.full((len(xq), 1), NO_HIT), np.zeros((len(xq), 1)))
        index = self._directory.vectors(*side)
        D, I = index.search(xq, k, None if keys is None else index.positions_of(keys))  # noqa: E741 - faiss's
        return Hits(I, D)

    def _rows(self, sides: Sequence[Side], keys: Sequence[Ints]) -> list[pa.Table]:
        """For each side, the rows that may be shown; sides of molecules share theirs."""
        measured = [self._directory.is_measured(*side) for side in sides]
        of_molecules = [some for some, own in zip(keys, measured, strict=True) if not own]
        molecules = _fetched(self._directory, self._directory.catalog, of_molecules)
        return [
            _fetched(self._directory, self._directory.records(side.modality), [some]) if own else molecules
            for side, some, own in zip(sides, keys, measured, strict=True)
        ]

    def _molecule_rows(self, keys: Ints, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of the molecules `keys`, in their order."""
        return _picked(_fetched(self._directory, self._directory.catalog, [keys], columns), keys)


def _no_space(directory: Store, modality: str) -> str:
    return f"{directory.path}: this index has no space {modality!r}; it has {', '.join(directory.spaces)}"


def _fetched(
    directory: Store, catalog: Catalog, keys: Sequence[Ints], columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of a catalogue, of molecules or of measured records, with any of `keys`, ascending."""
    try:
        return catalog.rows(np.unique(np.concatenate([np.zeros(0, np.int64), *keys])), columns)
    except KeyError as error:
        raise IndexCorrupt(
            directory.path, f"a hit has no row ({error.args[0]})", "run `acml-search verify` on the index"
        ) from error


def _picked(table: pa.Table, keys: Ints) -> pa.Table:
    """Of what was fetched, the rows of `keys`, in their order."""
    return take(table, np.searchsorted(numbers(table.column("key").chunks), keys))


def occlusions(
    model: Model | ShiftModel, modality: str, item: Any, graph_vectors: Float32s
) -> list[list[tuple[float, float]]]:
    """For each of n hits with the unit vectors (n, d): positions of the strongest peaks of `item` and
    by how much each raises the logit (scale x cosine), the greatest change first.

    Raises `ConfigError` when the model has no such space.
    """
    without = modalities.get(modality).without_peaks(item, MAX_OCCLUDED)
    if not without:
        return [[] for _ in graph_vectors]
    vectors = model.encode_items(modality, [item, *(lighter for _, lighter in without)]).astype(np.float64)
    logits = model.spaces[modality].scale * (graph_vectors.astype(np.float64) @ vectors.T)
    changes = logits[:, :1] - logits[:, 1:]
    positions = [position for position, _ in without]
    return [
        sorted(zip(positions, row, strict=True), key=lambda peak: -abs(peak[1])) for row in changes.tolist()
    ]


def counted_hydrogens(observations: Sequence[Observation]) -> int | None:
    """The hydrogens of a molecule by the counts of its first 1H spectrum; None where that states too few."""
    for one in observations:
        if one.peaks is not None and modalities.get(one.modality).nuclei == "H":
            return stated_hydrogens([peak.count for peak in one.peaks])
    return None


def _ions(request: SearchRequest) -> dict[str, float]:
    """Neutral masses in Da by what the precursor may be; empty where it does not say, or is not asked."""
    first = next((one for one in request.observations if one.masses), None)
    several = first is not None and len(first.masses) > 1
    return {} if first is None or (several and not request.filters.masses) else dict(first.masses)


def _nearest(mass: float, by_adduct: Mapping[str, float]) -> tuple[str | None, float | None]:
    """The adduct whose neutral mass is nearest to that of a hit, and how far off it is in ppm."""
    if not by_adduct:
        return None, None
    adduct, neutral = min(by_adduct.items(), key=lambda one: abs(one[1] - mass))
    return adduct, round((mass - neutral) / neutral * 1e6, 2)


def _shown(hits: Hits, k: int) -> Ints:
    """The keys that may be shown: the first k of each query, and further ones that tie with its best."""
    filled = hits.keys != NO_HIT
    tied = (filled & (hits.scores >= hits.scores[:, :1] - TIE)).sum(axis=1)
    places = np.arange(hits.keys.shape[1])[None]
    return hits.keys[(places < np.maximum(k, tied)[:, None]) & filled]


def _padded(keys: Ints, scores: Floats, k: int) -> Hits:
    """One query's hits with unfilled places up to k."""
    padded, padded_scores = np.full(k, NO_HIT), np.zeros(k)
    padded[: len(keys)], padded_scores[: len(keys)] = keys, scores
    return Hits(padded[None], padded_scores[None])


def _by_molecule(table: pa.Table) -> pa.Table:
    """Measured records under their molecules' keys, their own as `record_id`; molecules as they are."""
    renamed = {"key": "record_id", "molecule_key": "key"}
    if "molecule_key" not in table.column_names:
        return table
    return table.rename_columns([renamed.get(name, name) for name in table.column_names])


def _molecule_question(item: _Read, request: SearchRequest, passing: Passing | None) -> dict[str, Any]:
    """The molecule and how it was understood."""
    molecule = item.molecule
    question: dict[str, Any] = {} if item.query.row is None else {"row": item.query.row}
    text = item.query.text
    given = item.query.kind == "smiles" and isinstance(text, str) and "\n" not in text.strip()
    question["smiles"] = text if given else molecule.smiles
    question |= {
        "standardised": molecule.smiles,
        "inchikey": molecule.inchikey,
        "formula": molecule.formula,
        "exact_mass": molecule.exact_mass,
        "removed": molecule.removed,
        "k": int(request.k),
        "filter": request.filters.to_dict(),
        "passed": None if passing is None else len(passing),
    }
    if item.query.about:
        question["about"] = item.query.about
    return question


def _molecule_notes(
    item: _Read, request: SearchRequest, lists: Sequence[HitList], passing: Passing | None
) -> list[str]:
    notes = []
    if item.molecule.removed is not None:
        notes.append(
            f"the query is searched without {item.molecule.removed}: counter-ions and solvents are left out, "
            "and all but the largest other fragment"
        )
    notes += [
        f"{hits.modality} {hits.side}: {_fewer(len(hits), request.k, passing)}"
        for hits in lists
        if len(hits) < request.k
    ]
    others = [
        f"{hits.modality} {hits.side}"
        for hits in lists
        if len(hits) and hits.molecules.column("inchikey")[0].as_py() != item.molecule.inchikey
    ]
    if others:
        notes.append(
            f"{', '.join(others)}: the first hit is another molecule than the one asked about; probabilities "
            "are half of what the hits share among themselves"
        )
    return notes


def _fewer(n: int, k: int, passing: Passing | None) -> str:
    why = "" if passing is None else f"; molecules that pass the filter: {len(passing):,}"
    return f"{n:,} of the {k:,} hits asked for{why}"
