"""The molecules of a benchmark: its queries and the pool they are ranked in."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from acml_search.chem import molecule
from acml_search.core.errors import ConfigError, FilterError, InvalidMolecule, InvalidRecord
from acml_search.core.progress import progress
from acml_search.core.typing import Floats, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.evaluation.cache import Cache
from acml_search.library.stream import open_library
from acml_search.library.where import where_clause
from acml_search.modalities import get

CHUNK = 500
SPELLINGS_TRIED = 20

Text = tuple[str, str, str | None]
"""text, kind ("smiles" or "molblock") and error of a library's row"""


class Structure(NamedTuple):
    """One standardised molecule. `inchikey14`: the first block of its InChIKey, which tells constitutions
    apart and not stereoisomers; `mass`: monoisotopic, in Da.
    """

    smiles: str
    inchikey14: str
    formula: str
    mass: float


Described = Structure | str
"""a row's structure, or the reason why it has none"""


class Query(NamedTuple):
    """One row of the queries' file. `structure` is None where it could not be read; `error` says why."""

    row: int
    structure: Structure | None
    metadata: Mapping[str, Any]
    error: str | None


@dataclass(frozen=True)
class Pool:
    """The distinct molecules (by InChIKey first block) that queries rank, the queries' own first."""

    structures: list[Structure]
    n_unreadable: int = 0

    def __len__(self) -> int:
        return len(self.structures)

    def positions(self) -> dict[str, int]:
        """InChIKey first block -> position in the pool."""
        return {structure.inchikey14: i for i, structure in enumerate(self.structures)}

    def masses(self) -> Floats:
        """Neutral exact masses in Da, (n_pool,)."""
        return np.array([structure.mass for structure in self.structures])

    def formula_codes(self) -> Ints:
        """A number per distinct formula, (n_pool,)."""
        codes: dict[str, int] = {}
        return np.array([codes.setdefault(s.formula, len(codes)) for s in self.structures], dtype=np.int64)


def describe(rows: list[Text]) -> list[Described]:
    """Worker task: library rows -> each one's structure, or the reason why there is none."""
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


def count_hydrogens(smiles: list[str]) -> Ints:
    """Worker task: (n, 2) the hydrogens of standardised molecules, and how many of them are exchangeable."""
    counts = [molecule.count_atoms(molecule.read_stored(text)) for text in smiles]
    return np.array([(one.hydrogens, one.exchangeable) for one in counts], np.int64)


def library_texts(paths: Sequence[Path], smiles_column: str | None = None) -> Iterator[Text]:
    """The rows of library files, streamed."""
    if paths:
        for batch in open_library(list(paths), smiles_column=smiles_column).batches(CHUNK):
            for row in batch:
                yield row.text, row.kind, row.error


def described_file(
    path: Path, workers: Workers, cache: Cache | Path | None, smiles_column: str | None = None
) -> list[Described]:
    """The structure of every row of a file, or the reason why it has none.

    With a cache they are stored there, keyed by the file's content and the standardisation with its versions
    of RDKit and InChI. Raises LibraryError for a file that cannot be read, ConfigError for a damaged cache.
    """

    library = open_library([path], smiles_column=smiles_column)

    def compute() -> list[Described]:
        found: list[Described] = []
        with progress(total=library.total, desc=path.name, unit="mol") as bar:
            for part in workers.map(describe, chunks(library_texts([path], smiles_column), CHUNK)):
                found += part
                bar.update(len(part))
        return found

    if cache is None:
        return compute()
    key = {"content": library.digest(), "standardisation": molecule.STANDARDISATION}
    table = Cache.at(cache).table("structures", key, lambda: _table_of(compute()))
    columns = [table[name].to_pylist() for name in (*Structure._fields, "error")]
    return [Structure(*of) if error is None else error for *of, error in zip(*columns, strict=True)]


def _table_of(found: Sequence[Described]) -> pa.Table:
    rows = [{"error": one} if isinstance(one, str) else one._asdict() for one in found]
    types: dict[str, pa.DataType] = dict.fromkeys(("smiles", "inchikey14", "formula", "error"), pa.string())
    return pa.Table.from_pylist(rows, schema=pa.schema(types | {"mass": pa.float64()}))


def make_pool(
    chosen: Sequence[Query],
    queries: Sequence[Query],
    library: Sequence[Described],
    *,
    size: int | None = None,
    seed: int = 0,
) -> Pool:
    """The distinct molecules of all `queries` and of the `library`, those of the `chosen` queries first.

    `size`: the chosen queries' molecules and a seeded random choice of all other rows. Raises ConfigError
    where the pool cannot have that size.
    """
    first = [query.structure for query in chosen if query.structure is not None]
    asked = {one.inchikey14 for one in first}
    if size is not None and size < len(asked):
        raise ConfigError(
            f"a pool of {size} cannot hold the {len(asked)} molecules asked for; ask for fewer: --limit"
        )
    others = [*(query.structure for query in queries if query.structure is not None), *library]
    if size is not None:
        others = [others[i] for i in np.random.default_rng(seed).permutation(len(others)).tolist()]
    structures: dict[str, Structure] = {}
    unreadable = 0
    for one in (*first, *others):
        if len(structures) == size:
            break
        if isinstance(one, str):
            unreadable += 1
        elif one.inchikey14 not in structures:  # one string of a formula for all isomers
            structures[one.inchikey14] = one._replace(formula=sys.intern(one.formula))
    if size is not None and len(structures) < size:
        raise ConfigError(
            f"the files hold {len(structures)} distinct molecules, too few for a pool of {size}"
        )
    return Pool(list(structures.values()), unreadable)


def choose(queries: Sequence[Query], limit: int | None, seed: int) -> list[Query]:
    """A seeded random choice of at most `limit` queries, in the file's order."""
    if limit is None or limit >= len(queries):
        return list(queries)
    return [queries[i] for i in np.sort(np.random.default_rng(seed).permutation(len(queries))[:limit])]


def few_of_each(labels: Sequence[int], most: int, seed: int) -> list[int]:
    """Places in `labels` in a seeded random order, of each label at most `most`; of -1 (unreadable) all."""
    counts: Counter[int] = Counter()
    chosen = []
    for i in np.random.default_rng(seed).permutation(len(labels)).tolist():
        counts[labels[i]] += 1
        if labels[i] < 0 or counts[labels[i]] <= most:
            chosen.append(i)
    return chosen


@dataclass(frozen=True)
class QueryFile:
    """All rows of a file of queries; `types`: its further columns and their Arrow types."""

    path: Path
    queries: list[Query]
    types: Mapping[str, pa.DataType]

    def select(self, *, split: str | None = None, where: str | None = None) -> list[Query]:
        """Rows of that `split` that fulfil the SQL `where`. Raises ConfigError, FilterError."""
        chosen, conditions = self.queries, []
        if split is not None:
            self._require("split", f"--split {split}")
            chosen = [query for query in chosen if query.metadata.get("split") == split]
            conditions.append(f"split is {split!r}")
        if where is not None:
            rows = self._fulfilling(where)
            chosen = [query for query in chosen if query.row in rows]
            conditions.append(f"columns fulfil {where!r}")
        if not chosen:
            raise ConfigError(f"{self.path}: there are no queries whose {' and '.join(conditions)}")
        return chosen

    def printed(self, modality: str, column: str, leave_out: Collection[str] = ()) -> QueryFile:
        """The rows that have a spectrum as papers print it in `column`, read as records of `modality` without
        what the columns `leave_out` of a record state; a text that cannot be read is the row's error. Raises
        ConfigError where there is no such column.
        """
        self._require(column, f"printed {modality} lines")
        reader: Any = get(modality)
        queries, types = [], dict(self.types)
        for query in self.queries:
            text = query.metadata.get(column)
            if not text or query.structure is None:
                continue
            try:
                peaks = reader.read_line(text)
                if peaks.modality != modality:
                    raise InvalidRecord("it is a line of the other nucleus", modality=modality)
                record = {name: x for name, x in peaks.record().items() if name not in leave_out}
                reader.read(record)
                queries.append(query._replace(metadata={**query.metadata, **record}))
            except InvalidRecord as error:
                queries.append(query._replace(structure=None, error=str(error)))
        types |= dict.fromkeys((*reader.columns, *reader.optional), pa.list_(pa.float64()))
        return QueryFile(self.path, queries, types)

    def check_columns(self, modality: str) -> None:
        """Raises ConfigError where the file lacks a column that records of `modality` are read from."""
        kind = get(modality)
        for column in kind.columns:
            known = f"{' and '.join(kind.columns)} are read"
            if kind.optional:
                known += f", and {', '.join(kind.optional)} where they are there"
            self._require(column, f"a {modality} record", f" ({known})" if len(kind.columns) > 1 else "")

    def _require(self, column: str, what: str, note: str = "") -> None:
        if column not in self.types:
            there = ", ".join(self.types) or "none"
            raise ConfigError(
                f"{self.path}: {what} needs a column named {column}{note}; further columns here: {there}"
            )

    def _fulfilling(self, where: str) -> set[int]:
        """Numbers of the rows for which the SQL condition is true. Columns of lists are left out."""
        plain = {name: kind for name, kind in self.types.items() if not pa.types.is_nested(kind)}
        columns: dict[str, pa.Array] = {"_row": pa.array([query.row for query in self.queries], pa.int64())}
        for name, kind in plain.items():
            columns[name] = pa.array([query.metadata.get(name) for query in self.queries], kind)
        with duckdb.connect(":memory:") as connection:
            clause = where_clause(connection.cursor(), where)
            connection.register("rows", pa.table(columns))
            try:
                found = connection.execute(f"SELECT _row FROM rows WHERE {clause}").fetchall()
            except duckdb.Error as error:
                there = ", ".join(plain) or "none"
                reason = str(error).splitlines()[0]
                raise FilterError(
                    f"{self.path}: the condition {where!r} cannot be applied ({reason}); columns: {there}"
                ) from error
        return {int(row) for (row,) in found}


def read_queries(
    path: Path, workers: Workers, *, smiles_column: str | None = None, cache: Cache | Path | None = None
) -> QueryFile:
    """Every row of a library file. Raises LibraryError where it cannot be read, ConfigError without a row."""
    library = open_library([path], smiles_column=smiles_column)
    rows = [row for batch in library.batches(CHUNK) for row in batch]
    if not rows:
        raise ConfigError(f"{path}: there are no queries")
    described = described_file(path, workers, cache, smiles_column)
    queries = [
        Query(row.row, None, row.metadata, found)
        if isinstance(found, str)
        else Query(row.row, found, row.metadata, None)
        for row, found in zip(rows, described, strict=True)
    ]
    return QueryFile(path, queries, library.metadata_types)


def record_of(
    modality: str, smiles: str, inchikey14: str, metadata: Mapping[str, Any] | None, seed: int
) -> Any:
    """The record of a molecule, ready for `Model.encode_records`.

    A recorded modality (a spectrum): the row's own columns, `metadata`. A derived modality: made from the
    structure, and never the very string or picture that an index holds, or the benchmark would measure
    copying. SMILES are spelled in a random order (unless a molecule has only one spelling, as methane), and
    pictures drawn in a style that training did not use. It depends on `seed` and the molecule alone. Raises
    InvalidRecord where there is none.
    """
    kind = get(modality)
    if not kind.from_structure:
        return metadata
    digest = hashlib.sha256(inchikey14.encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    record = kind.derive(smiles, rng)
    for _ in range(SPELLINGS_TRIED - 1):
        if not isinstance(record, str) or record != kind.derive(smiles):
            break
        record = kind.derive(smiles, rng)
    return record
