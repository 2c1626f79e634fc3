"""`Index`: an index directory, opened for searching."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, Unpack

import numpy as np

from acml_search.core.errors import AcmlSearchError, ConfigError, IndexReplaced, InvalidMolecule, NoCandidates
from acml_search.core.io import digest_of
from acml_search.index.store import location, open_store
from acml_search.search.pipeline import Pipeline, Side
from acml_search.search.request import (
    Conditions,
    Filters,
    MoleculeQuery,
    Observation,
    SearchRequest,
    no_candidates,
    read_observations,
    with_precursor,
)
from acml_search.search.results import Answer

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.core.typing import Float32s, Ints
    from acml_search.index.store import Passing, Store
    from acml_search.modalities.base import Reading
    from acml_search.search.pipeline import Shortlist

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
            raise ConfigError(
                f"{self.path}: this index has no space {modality!r}; it has {', '.join(spaces)}"
            )
        searched = spaces if modality is None else [modality]
        records = [Side(name, "records") for name in searched if self._directory.has_side(name, "records")]
        # one list of similar molecules is enough: all spaces share the trunk, so their graph sides say much
        # the same
        similar = "smiles" if "smiles" in searched else searched[0]
        return [*records, Side(similar, "graph")]


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


def open_index(path: Path | str = "indexes/default", *, model: Path | str | None = None) -> Index:
    """Open an index directory, or `milvus:URI`, for searching; see `Index`. Raises IndexNotFound,
    IndexCorrupt or StoreError."""
    return Index(path, model=model)
