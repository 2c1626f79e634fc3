"""The molecules of a benchmark: the queries and the pool, each with InChIKey block, formula and mass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.progress import progress
from acml_search.evaluation.workers import Workers, chunks

CHUNK = 500

Text = tuple[str, str, str | None]
"""text, kind ("smiles" or "molblock") and error of a library's row"""


class Structure(NamedTuple):
    """One molecule: `block` is the first block of the InChIKey (14 letters: connectivity), `mass` in Da."""

    smiles: str
    block: str
    formula: str
    mass: float


Described = Structure | str
"""a row's structure, or the reason why it has none"""


class Query(NamedTuple):
    """One row of the queries' file. `structure` is None when it could not be read; `error` says why."""

    row: int
    structure: Structure | None
    metadata: Mapping[str, Any]
    error: str | None
    text: str = ""
    """the SMILES or mol block as the file has it"""


@dataclass(frozen=True)
class Pool:
    """The distinct molecules that answers are ranked among, the queries' own first."""

    structures: list[Structure]
    n_unreadable: int

    def __len__(self) -> int:
        return len(self.structures)

    def positions(self) -> dict[str, int]:
        """InChIKey block -> position in the pool."""
        return {structure.block: i for i, structure in enumerate(self.structures)}

    def masses(self) -> npt.NDArray[np.float64]:
        """Neutral exact masses in Da, (n_pool,)."""
        return np.array([structure.mass for structure in self.structures])

    def formula_codes(self) -> npt.NDArray[np.int64]:
        """A number per distinct formula, (n_pool,)."""
        codes: dict[str, int] = {}
        return np.array([codes.setdefault(s.formula, len(codes)) for s in self.structures], dtype=np.int64)


def describe(rows: list[Text]) -> list[Described]:
    """Task: library rows -> each one's structure, or the reason why there is none."""
    from acml_search.chem import molecule

    found: list[Described] = []
    for text, kind, error in rows:
        if error is not None:
            found.append(error)
            continue
        try:
            mol, removed = molecule.parse_block(text) if kind == "molblock" else molecule.parse(text)
            known = molecule.describe(mol, removed)
        except InvalidMolecule as invalid:
            found.append(str(invalid))
        else:
            found.append(Structure(known.smiles, known.inchikey[:14], known.formula, known.exact_mass))
    return found


def describe_rows(rows: Iterable[Text], workers: Workers, what: str) -> Iterator[Described]:
    """The structures of rows, in their order, worked out in the workers; `what` names them in the bar."""
    total = len(rows) if isinstance(rows, list) else None
    with progress(total=total, desc=what, unit="mol") as bar:
        for part in workers.map(describe, chunks(rows, CHUNK)):
            yield from part
            bar.update(len(part))


def choose(queries: Sequence[Query], limit: int | None, seed: int) -> list[Query]:
    """A seeded random choice of at most `limit` queries, in the file's order."""
    if limit is None or limit >= len(queries):
        return list(queries)
    return [queries[i] for i in np.sort(np.random.default_rng(seed).permutation(len(queries))[:limit])]


class LibraryRows:
    """The rows of the libraries, streamed; numbered from 0 over all files."""

    def __init__(self, libraries: Sequence[Path], smiles_column: str | None = None) -> None:
        from acml_search.library.read import open_library

        self._library = open_library(list(libraries), smiles_column=smiles_column) if libraries else None

    def all(self) -> Iterator[Text]:
        """Every row."""
        if self._library is not None:
            for batch in self._library.batches(CHUNK):
                for row in batch:
                    yield row.text, row.kind, row.error

    def count(self) -> int:
        """How many rows there are."""
        if self._library is None:
            return 0
        return self._library.total or sum(1 for _ in self.all())

    def rows(self, numbers: set[int]) -> dict[int, Text]:
        """The rows of those numbers."""
        return {number: row for number, row in enumerate(self.all()) if number in numbers}


class LibraryStructures:
    """The structures of the libraries' rows, worked out as they are asked for."""

    def __init__(self, libraries: Sequence[Path], workers: Workers, smiles_column: str | None = None) -> None:
        self._rows = LibraryRows(libraries, smiles_column)
        self._workers = workers

    def count(self) -> int:
        """How many rows there are."""
        return self._rows.count()

    def all(self) -> Iterator[Described]:
        """Those of every row."""
        return describe_rows(self._rows.all(), self._workers, "pool")

    def some(self, numbers: Sequence[int]) -> dict[int, Described]:
        """Those of the rows of these numbers."""
        drawn = self._rows.rows(set(numbers))
        return dict(zip(drawn, describe_rows(list(drawn.values()), self._workers, "pool"), strict=True))


def make_pool(
    asked: Sequence[Query],
    queries: Sequence[Query],
    library: LibraryStructures,
    *,
    size: int | None = None,
    seed: int = 0,
) -> Pool:
    """The distinct molecules of all `queries` and of the `library`, those of the `asked` first.

    `size`: a pool of that many: those asked for, filled by a seeded random choice of all other rows. Raises
    ConfigError when the pool cannot have that size.
    """
    pool = _Distinct()
    pool.take(query.structure or "" for query in asked)
    n_asked = len(pool.structures)
    pool.n_unreadable = 0  # a query that cannot be read is a failed query, not a missing candidate
    if size is not None and size < n_asked:
        raise ConfigError(
            f"a pool of {size} cannot hold the {n_asked} molecules asked for; ask for fewer: --limit"
        )
    known = [query.structure for query in queries if query.structure is not None]
    if size is None:
        pool.take(known)
        pool.take(library.all())
        return Pool(pool.structures, pool.n_unreadable)
    order = np.random.default_rng(seed).permutation(len(known) + library.count())
    while len(pool.structures) < size and len(order):
        # a few more than needed, since some are unreadable or known already; what is over is not taken
        n = int(1.05 * (size - len(pool.structures))) + 100
        part, order = order[:n].tolist(), order[n:]
        found = library.some([i - len(known) for i in part if i >= len(known)])
        pool.take((known[i] if i < len(known) else found[i - len(known)] for i in part), size)
    if len(pool.structures) < size:
        raise ConfigError(
            f"the files hold {len(pool.structures)} distinct molecules, too few for a pool of {size}"
        )
    return Pool(pool.structures, pool.n_unreadable)


class _Distinct:
    """Structures by their first occurrence."""

    def __init__(self) -> None:
        self.structures: list[Structure] = []
        self.n_unreadable = 0
        self._blocks: set[str] = set()
        self._formulas: dict[str, str] = {}

    def take(self, found: Iterable[Described], size: int | None = None) -> None:
        for one in found:
            if size is not None and len(self.structures) >= size:
                return
            if isinstance(one, str):
                self.n_unreadable += 1
            elif one.block not in self._blocks:
                self._blocks.add(one.block)
                formula = self._formulas.setdefault(one.formula, one.formula)  # one string for all isomers
                self.structures.append(one._replace(formula=formula))
