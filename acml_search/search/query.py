"""`Index`: an index directory that can be asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, TypeVar, Unpack, overload

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, IndexReplaced, InvalidMolecule
from acml_search.encoders.card import read_card
from acml_search.index.opened import IndexDirectory
from acml_search.search.answer import Answer
from acml_search.search.asked import Asked
from acml_search.search.engine import Engine, Plan, Query, Side
from acml_search.search.filters import Conditions, Filters
from acml_search.search.identify import Identifier
from acml_search.search.observation import Given, Observation, read_observations, with_precursor

MOST = 10_000  # largest k
Result = TypeVar("Result")


class Index:
    """An opened index. Reading only; use as a context manager, or call `close`.

    path: the index directory. model: name or directory of the checkpoint that encodes queries; by default the
    one the index was built with. It is loaded when a query first needs it.

    An index that was built anew or added to meanwhile is opened anew by the next question, and so is one that
    is replaced while a single question is answered; where that happens again, or in a batch, IndexReplaced
    is raised.

    Raises IndexNotFound or IndexCorrupt when there is no usable index at `path`, CheckpointError or
    SpaceMismatch when `model` is none or not the index's.
    """

    def __init__(self, path: Path | str, *, model: Path | str | None = None) -> None:
        self.path = Path(path)
        self._model = model
        self._open()

    def _open(self) -> None:
        model = self._model
        self._directory = IndexDirectory(self.path)
        if model is not None:  # a wrong one is refused also where stored vectors would do
            self._directory.check_spaces({n: space.digest for n, space in read_card(model).spaces.items()})
        self._engine = Engine(self._directory, model or self._directory.model)

    @property
    def spaces(self) -> list[str]:
        """The names of the index's spaces, one per modality of its model."""
        return list(self._directory.spaces)

    def search(
        self, smiles: str, *, k: int = 10, modality: str | None = None, **conditions: Unpack[Conditions]
    ) -> Answer:
        """The k best hits for one molecule: on the record side of every modality that has one (or of
        `modality` alone), and last, as similarity, on the graph side.

        conditions: `where`, `formula`, `mass`, `tol_ppm`, `tol_da`, see `Filters`. They hold before the
        search, so k hits come back whenever k molecules pass.
        Raises InvalidMolecule, FilterError, ConfigError (k or modality) or SpaceMismatch (another model).
        """
        (answer,) = _twice(
            lambda: list(
                self.search_queries([Query(smiles)], k=k, filters=Filters(**conditions), modality=modality)
            )
        )
        if isinstance(answer, InvalidMolecule):
            raise answer
        return answer

    @overload
    def search_batch(
        self,
        smiles: Iterable[str],
        *,
        k: int = ...,
        modality: str | None = ...,
        on_error: Literal["raise"] = ...,
        **conditions: Unpack[Conditions],
    ) -> list[Answer]: ...

    @overload
    def search_batch(
        self,
        smiles: Iterable[str],
        *,
        k: int = ...,
        modality: str | None = ...,
        on_error: Literal["keep"],
        **conditions: Unpack[Conditions],
    ) -> list[Answer | InvalidMolecule]: ...

    def search_batch(
        self,
        smiles: Iterable[str],
        *,
        k: int = 10,
        modality: str | None = None,
        on_error: Literal["raise", "keep"] = "raise",
        **conditions: Unpack[Conditions],
    ) -> Sequence[Answer | InvalidMolecule]:
        """`search` for many molecules under one set of conditions; answers in the order of `smiles`.

        A molecule that cannot be read raises InvalidMolecule naming its row (0-based); with on_error="keep"
        the error stands in its place instead. Raises ConfigError for one SMILES in place of a list.
        """
        if isinstance(smiles, str):
            raise ConfigError("search_batch takes a list of SMILES; write search(smiles) for one")
        if on_error not in ("raise", "keep"):
            raise ConfigError(f"on_error is {on_error!r}; it is 'raise' or 'keep'")
        queries = (Query(text, row=row) for row, text in enumerate(smiles))
        filters = Filters(**conditions)
        answers: list[Answer | InvalidMolecule] = []
        for answer in self.search_queries(queries, k=k, filters=filters, modality=modality):
            if on_error == "raise" and isinstance(answer, InvalidMolecule):
                raise answer
            answers.append(answer)
        return answers

    def search_queries(
        self,
        queries: Iterable[Query],
        *,
        k: int = 10,
        filters: Filters | None = None,
        modality: str | None = None,
    ) -> Iterator[Answer | InvalidMolecule]:
        """Answers as they are found, in the order of `queries`, in constant memory; a query that cannot be
        read gives its error. What is wrong with the options is raised at once, before the first answer."""
        _check_k(k)
        filters = filters or Filters()
        with self._current():
            sides = self._sides(modality)
            started = time.perf_counter()
            keys = filters.keys(self._directory.catalog)
            plan = Plan(int(k), filters, keys, sides, time.perf_counter() - started)
        return _watched(self._engine.answers(iter(queries), plan), self._directory)

    def identify(
        self,
        observations: Mapping[str, Given | Sequence[Given]] | Sequence[Observation],
        *,
        k: int = 10,
        adduct: str | None = None,
        rerank: bool = True,
        by_precursor: bool = True,
        occlude: bool = False,
        **conditions: Unpack[Conditions],
    ) -> Answer:
        """The k molecules that fit the observations of one compound best.

        observations: text or file by modality, or several of them
        (`{"c_nmr": "155.4, 151.7", "lc_ms": ["x.mgf#2", "x.mgf#3"]}`); also a list of shifts, or a record of
        the modality such as a row of a Parquet file; or what `read_observation` gave. Spectra of one modality
        are averaged; peak by peak, the first of them is compared. adduct: of MS/MS spectra that do not state
        theirs. rerank: compare the 200 best candidates peak by peak. by_precursor: keep to the neutral mass
        that an MS/MS spectrum's precursor tells, within `tol_ppm` (10) or `tol_da`, unless `mass` or
        `formula` is given. occlude: say for each hit which peaks of a mass spectrum matter most. conditions:
        as in `search`.
        Raises InvalidRecord for an observation that cannot be used, FilterError, ConfigError, SpaceMismatch.
        """
        read = read_observations(observations, adduct)
        given, notes = with_precursor(conditions, read) if by_precursor else (conditions, [])
        filters = Filters(**given)
        return _twice(lambda: self._identified(read, filters, k, rerank=rerank, notes=notes, occlude=occlude))

    def explain(
        self,
        observations: Mapping[str, Given | Sequence[Given]] | Sequence[Observation],
        keys: Sequence[int],
        *,
        adduct: str | None = None,
        rerank: bool = True,
    ) -> Answer:
        """Why the molecules `keys` fit the observations, whatever their rank among all.

        Raises as `identify` does, and ConfigError for a key that the index does not hold.
        """
        read = read_observations(observations, adduct)
        # The others that compete are those that a search would compare them with.
        given, notes = with_precursor({}, read)
        filters = Filters(**given)
        return _twice(
            lambda: self._identified(
                read, filters, len(set(keys)), rerank=rerank, notes=notes, wanted=keys, occlude=True
            )
        )

    def _keys(self, keys: Sequence[int]) -> npt.NDArray[np.int64]:
        """Keys of molecules, ascending. Raises ConfigError for one that the index does not hold."""
        known = {int(key) for key in keys}
        largest = np.iinfo(np.int64).max
        wanted = np.array(sorted(key for key in known if 0 <= key <= largest), np.int64)
        missing = sorted({*known.difference(wanted.tolist()), *np.setdiff1d(wanted, self._directory.keys)})
        if missing or not known:
            what = f"no molecule {missing[0]}" if missing else "nothing to explain without a key"
            raise ConfigError(f"{self.path}: {what}; keys are in the answers of `acml-search query`")
        return wanted

    def _current(self) -> AbstractContextManager[None]:
        """The index that lies here now, for one question."""
        if self._directory.replaced():
            self._directory.close()
            self._open()
        return self._directory.unreplaced()

    def _identified(
        self,
        read: list[Observation],
        filters: Filters,
        k: int,
        *,
        rerank: bool,
        notes: Sequence[str] = (),
        wanted: Sequence[int] | None = None,
        occlude: bool = False,
    ) -> Answer:
        with self._current():
            keys = None if wanted is None else self._keys(wanted)
            _check_k(k)
            started = time.perf_counter()
            passing = filters.keys(self._directory.catalog)
            seconds = time.perf_counter() - started
            identifier = Identifier(self._directory, self._engine.loaded)
            return identifier.answer(
                Asked(read, int(k), filters, passing, rerank, keys, occlude, notes, seconds)
            )

    def close(self) -> None:
        """Let go of the catalogue and the mapped files; a search afterwards opens them again."""
        self._directory.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._directory.counts["molecules"]

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {len(self):,} molecules, spaces: {', '.join(self.spaces)})"

    def _sides(self, modality: str | None) -> list[Side]:
        spaces = self.spaces
        if modality is not None and modality not in spaces:
            raise ConfigError(
                f"{self.path}: this index has no space {modality!r}; it has {', '.join(spaces)}"
            )
        asked = spaces if modality is None else [modality]
        records = [Side(name, "records") for name in asked if self._directory.has_side(name, "records")]
        # one list of similar molecules is enough: all spaces share the trunk, so their graph sides say much
        # the same
        likeness = "smiles" if "smiles" in asked else asked[0]
        return [*records, Side(likeness, "graph")]


def _twice(ask: Callable[[], Result]) -> Result:
    """Once more, and of the other index, where one took its place while it was asked."""
    try:
        return ask()
    except IndexReplaced:
        return ask()


def _watched(
    answers: Iterator[Answer | InvalidMolecule], directory: IndexDirectory
) -> Iterator[Answer | InvalidMolecule]:
    """The answers, each of one index. Raises IndexReplaced."""
    while True:
        with directory.unreplaced():
            answer = next(answers, None)
        if answer is None:
            return
        yield answer


def _check_k(k: int) -> None:
    if not isinstance(k, int | np.integer) or not 1 <= k <= MOST:
        raise ConfigError(f"k is {k}; ask for 1 to {MOST:,} hits")
