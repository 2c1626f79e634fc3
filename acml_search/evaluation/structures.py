"""The molecules of a benchmark: the queries and the pool, each with InChIKey block, formula and mass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.errors import ConfigError, InvalidMolecule
from acml_search.evaluation.workers import Workers, chunks
from acml_search.progress import progress

CHUNK = 500


class Structure(NamedTuple):
    """One molecule: `block` is the first block of the InChIKey (14 letters: connectivity), `mass` in Da."""

    smiles: str
    block: str
    formula: str
    mass: float


class Query(NamedTuple):
    """One row of the queries' file. `structure` is None when it could not be read; `error` says why."""

    row: int
    structure: Structure | None
    metadata: Mapping[str, Any]
    error: str | None


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


def describe(rows: list[tuple[str, str, str | None]]) -> list[Structure | str]:
    """Task: (text, kind, error) of library rows -> each one's structure, or the reason why there is none."""
    from acml_search.chem import molecule

    found: list[Structure | str] = []
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


def read_queries(
    path: Path, workers: Workers, *, split: str | None = None, smiles_column: str | None = None
) -> list[Query]:
    """Every row of a file in any library format; with `split`, those whose column `split` says so.

    Raises LibraryError for a file that cannot be read and ConfigError where nothing is left.
    """
    from acml_search.library.read import open_library

    library = open_library([path], smiles_column=smiles_column)
    if split is not None and "split" not in library.metadata_columns:
        there = ", ".join(library.metadata_columns) or "none"
        raise ConfigError(
            f"{path}: --split {split} needs a column named split; further columns here: {there}"
        )
    batches = library.batches(CHUNK)
    rows = [row for batch in batches for row in batch if split in (None, row.metadata.get("split"))]
    if not rows:
        where = "" if split is None else f" whose split is {split!r}"
        raise ConfigError(f"{path}: there are no queries{where}")
    texts = [(row.text, row.kind, row.error) for row in rows]
    queries = []
    for row, found in zip(rows, _structures(texts, workers, "queries"), strict=True):
        known, error = (None, found) if isinstance(found, str) else (found, None)
        queries.append(Query(row.row, known, row.metadata, error))
    return queries


def choose(queries: Sequence[Query], limit: int | None, seed: int) -> list[Query]:
    """A seeded random choice of at most `limit` queries, in the file's order."""
    if limit is None or limit >= len(queries):
        return list(queries)
    return [queries[i] for i in np.sort(np.random.default_rng(seed).permutation(len(queries))[:limit])]


def read_pool(
    asked: Sequence[Query],
    queries: Sequence[Query],
    libraries: Sequence[Path],
    workers: Workers,
    *,
    size: int | None = None,
    seed: int = 0,
    smiles_column: str | None = None,
) -> Pool:
    """The distinct molecules of all `queries` and `libraries`, those of the `asked` first.

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
    source = LibraryRows(libraries, smiles_column)
    if size is None:
        pool.take(known)
        pool.take(_structures(source.all(), workers, "pool"))
        return Pool(pool.structures, pool.n_unreadable)
    order = np.random.default_rng(seed).permutation(len(known) + source.count())
    while len(pool.structures) < size and len(order):
        # a few more than needed, since some are unreadable or known already; what is over is not taken
        n = int(1.05 * (size - len(pool.structures))) + 100
        part, order = order[:n], order[n:]
        drawn = source.rows({int(i) - len(known) for i in part if i >= len(known)})
        found = dict(zip(drawn, _structures(list(drawn.values()), workers, "pool"), strict=True))
        pool.take((known[i] if i < len(known) else found[i - len(known)] for i in part.tolist()), size)
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

    def take(self, found: Iterable[Structure | str], size: int | None = None) -> None:
        for one in found:
            if size is not None and len(self.structures) >= size:
                return
            if isinstance(one, str):
                self.n_unreadable += 1
            elif one.block not in self._blocks:
                self._blocks.add(one.block)
                formula = self._formulas.setdefault(one.formula, one.formula)  # one string for all isomers
                self.structures.append(one._replace(formula=formula))


class LibraryRows:
    """The rows of the libraries, streamed; numbered from 0 over all files."""

    def __init__(self, libraries: Sequence[Path], smiles_column: str | None) -> None:
        from acml_search.library.read import open_library

        self._library = open_library(list(libraries), smiles_column=smiles_column) if libraries else None

    def all(self) -> Iterator[tuple[str, str, str | None]]:
        if self._library is not None:
            for batch in self._library.batches(CHUNK):
                for row in batch:
                    yield row.text, row.kind, row.error

    def count(self) -> int:
        if self._library is None:
            return 0
        return self._library.total or sum(1 for _ in self.all())

    def rows(self, numbers: set[int]) -> dict[int, tuple[str, str, str | None]]:
        return {number: row for number, row in enumerate(self.all()) if number in numbers}


def _structures(
    rows: Iterable[tuple[str, str, str | None]], workers: Workers, what: str
) -> Iterator[Structure | str]:
    total = len(rows) if isinstance(rows, list) else None
    with progress(total=total, desc=what, unit="mol") as bar:
        for part in workers.map(describe, chunks(rows, CHUNK)):
            yield from part
            bar.update(len(part))
