"""Library files as one stream of numbered rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

import pyarrow as pa
from rdkit import RDConfig

from acml_search import modalities
from acml_search.core.errors import ConfigError, LibraryError
from acml_search.core.io import sha256
from acml_search.library.observed import check_measured
from acml_search.library.remote import located
from acml_search.library.source import Meter, Row, Source, open_source


class Library:
    """One or several files, streamed in constant memory, as often as needed.

    `paths`: the files; `total`: their rows if that is cheap to know (Parquet), else None; `measured`: the
    modalities of the measured records in them, sorted.
    """

    def __init__(self, sources: list[Source], *, limit: int | None = None) -> None:
        self._sources = sources
        self._limit = limit
        self._meter = Meter()
        self.paths = [source.path for source in sources]
        self.measured = sorted({source.modality for source in sources if source.modality is not None})
        totals = [source.total() for source in sources]
        known = [total for total in totals if total is not None]
        self.total: int | None = sum(known) if len(known) == len(totals) else None
        if self.total is not None and limit is not None:
            self.total = min(self.total, limit)

    def __repr__(self) -> str:
        rows = "rows not counted" if self.total is None else f"{self.total:,} rows"
        return f"Library({', '.join(str(path) for path in self.paths)}; {rows})"

    @cached_property
    def metadata_types(self) -> dict[str, pa.DataType]:
        """Arrow types of the metadata columns of all files; text where files disagree.

        For SD files this reads the whole file once, because any record may bring a new data item.
        """
        types: dict[str, pa.DataType] = {}
        spelled: dict[str, str] = {}  # as in SQL, names that differ in case only are one
        for source in self._sources:
            for name, kind in source.metadata_types().items():
                there = spelled.setdefault(name.casefold(), name)
                types[there] = kind if types.get(there, kind) == kind else pa.string()
        return types

    @property
    def metadata_columns(self) -> list[str]:
        return list(self.metadata_types)

    def batches(self, size: int) -> Iterator[list[Row]]:
        """All rows from the first, in lists of `size` (the last may be shorter)."""
        if size < 1:
            raise ConfigError(f"a batch has at least one row, not {size}")
        rows = self._rows()
        while batch := list(islice(rows, size)):
            yield batch

    def _rows(self) -> Iterator[Row]:
        self._meter = meter = Meter()
        if self._limit == 0:
            return
        n = 0
        for source in self._sources:
            renamed = self._renamed(source)
            for row in source.rows(meter):
                if renamed:
                    metadata = {renamed.get(name, name): value for name, value in row.metadata.items()}
                    row = row._replace(metadata=metadata)
                yield row._replace(row=n)
                n += 1
                if n == self._limit:
                    meter.done = self.n_bytes
                    return

    def _renamed(self, source: Source) -> dict[str, str]:
        """Columns of `source` that another file spells with other capitals."""
        if len(self._sources) == 1:
            return {}
        spelled = {name.casefold(): name for name in self.metadata_types}
        names = source.metadata_types()
        return {name: spelled[name.casefold()] for name in names if spelled[name.casefold()] != name}

    @property
    def n_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(path.stat().st_size for path in self.paths)

    def fraction(self) -> float:
        """How much of the bytes the latest iteration has read, 0 to 1. A limit is not known in bytes."""
        return min(1.0, self._meter.done / self.n_bytes)

    def expected(self, read: int) -> int | None:
        """Estimated number of rows, from the bytes that the first `read` rows took; None before the first."""
        if self.total is not None:
            return self.total
        fraction = self.fraction()
        if fraction == 0:
            return self._limit
        judged = int(read / fraction)
        return judged if self._limit is None else min(judged, self._limit)

    @cached_property
    def _files(self) -> list[tuple[str, int, str]]:
        return [(str(path), path.stat().st_size, sha256(path)) for path in self.paths]

    def describe(self) -> list[dict[str, object]]:
        """Path, size in bytes and SHA-256 of every file."""
        return [{"path": path, "bytes": size, "sha256": digest} for path, size, digest in self._files]

    def digest(self) -> str:
        """SHA-256 over the contents of the files, in order, and how they are read; not over their names."""
        options: dict[str, object] = {
            "files": [digest for _, _, digest in self._files],
            "formats": [type(source).__name__ for source in self._sources],
            "smiles_column": [source.smiles_column for source in self._sources],
            "limit": self._limit,
        }
        if self.measured:
            options["records"] = [source.modality for source in self._sources]
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def open_library(
    paths: Path | str | Iterable[Path | str],
    *,
    smiles_column: str | None = None,
    limit: int | None = None,
    records: Sequence[str] | None = None,
    usual: Sequence[str] = (),
) -> Library:
    """Opens files as one library; `limit` is the number of rows to read, over all of them together.

    `smiles_column` names the SMILES column of tables; `.smi` and `.sdf` files need none. `records`: rows come
    with the measured records in the files; the names say of which modality, where a file leaves that open.
    None: structures alone. `usual`: further such names, which no file needs to have records of.

    Raises `LibraryError` at once for a file that is missing, empty, of an unknown ending, not what its ending
    says, or without a SMILES column; ConfigError for a name in `records` that no file has records of.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise ConfigError(f"a library is the path of a file, or a list of them, and not {paths!r}")
    if smiles_column is not None and not isinstance(smiles_column, str):
        raise ConfigError(
            f"smiles_column is {smiles_column!r}; give the column's name, or its number from 1 as text"
        )
    if limit is not None and limit < 0:
        raise ConfigError(f"the limit is {limit} rows; give 0 or more")
    check_measured(records or ())
    named = None if records is None else [*records, *usual]
    sources = [open_source(located(path), smiles_column, named) for path in paths]
    if not sources:
        raise ConfigError("a library needs at least one file")
    library = Library(sources, limit=limit)
    for name in records or ():
        if name not in library.measured:
            raise ConfigError(
                f"no file of the library holds records of {name}; leave it out of --records, or give a file "
                f"with {' and '.join(modalities.get(name).columns)}"
            )
    return library


def default_library() -> list[Path]:
    """The molecules that come with RDKit: 10,000 screening compounds and 5,000 of the NCI's.

    Raises `LibraryError` if this installation of RDKit came without its data.
    """
    data = Path(RDConfig.RDDataDir)
    paths = [data / "Pains" / "test_data" / "wehi_mols.csv", data / "NCI" / "first_5K.smi"]
    for path in paths:
        if not path.exists():
            raise LibraryError(path, "this installation of RDKit has no data directory; name a library file")
    return paths
