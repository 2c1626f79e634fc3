"""`.parquet`: a SMILES column, and measured records if asked; the other columns keep their types."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from acml_search import modalities
from acml_search.core.errors import LibraryError
from acml_search.library.observed import Observed, modality_of
from acml_search.library.source import (
    Meter,
    Row,
    Source,
    no_smiles_column,
    register,
    safe_names,
    smiles_column,
)
from acml_search.library.text import is_gzipped

_BATCH = 4_096


@register(".parquet", ".pq")
class Parquet(Source):
    """Read by row groups. Parquet is not read in order, so a gzipped file is unpacked to a temporary one."""

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        super().__init__(path, smiles_column)
        if path.is_dir():
            raise LibraryError(path, "this is a directory; name the files in it")
        if not path.exists():
            raise LibraryError(path, "there is no such file")
        if path.stat().st_size == 0:
            raise LibraryError(path, "the file is empty")
        self._unpacked: IO[bytes] | None = _unpack(path) if is_gzipped(path) else None
        if self._unpacked is not None:
            weakref.finalize(self, self._unpacked.close)
        with self._open() as file:
            self._n_rows = file.metadata.num_rows
            schema = file.schema_arrow
        self._at = _column(path, schema, smiles_column)
        self._schema = schema
        self._name_columns(left_out=())
        if self._n_rows == 0:
            raise LibraryError(path, "the file is empty: it has no rows")

    def _name_columns(self, left_out: Sequence[str]) -> None:
        names, schema = self._schema.names, self._schema
        others = [place for place in range(len(names)) if place != self._at and names[place] not in left_out]
        self._names = dict(zip(others, safe_names([names[place] for place in others]), strict=True))
        self._types = {name: _plain(schema.types[place]) for place, name in self._names.items()}

    def observe(self, named: Sequence[str]) -> None:
        self.modality = modality_of(self.path, self._schema.names, named)
        if self.modality is not None:
            self._name_columns(left_out=modalities.get(self.modality).columns)

    def _open(self) -> pq.ParquetFile:
        try:
            here = isinstance(self.path, Path)
            return pq.ParquetFile(
                self._unpacked or (self.path if here else self.path.open("rb")), pre_buffer=False
            )
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise LibraryError(self.path, f"this is not a Parquet file that can be read: {reason}") from error

    def metadata_types(self) -> dict[str, pa.DataType]:
        return dict(self._types)

    def total(self) -> int:
        return self._n_rows

    def rows(self, meter: Meter) -> Iterator[Row]:
        size, before = self.path.stat().st_size, meter.done
        n = 0
        # Closing would close the unpacked temporary file, which is read again later.
        file = self._open()
        try:
            for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                smiles = _values(batch.column(self._at), pa.string())
                columns = {n: _values(batch.column(at), self._types[n]) for at, n in self._names.items()}
                observed = self._observed(batch, n)
                n += len(smiles)
                meter.done = before + size * n // self._n_rows
                for place, text in enumerate(smiles):
                    metadata = {name: column[place] for name, column in columns.items()}
                    error = "the SMILES is missing (null)" if text is None else None
                    yield Row(text=text or "", metadata=metadata, error=error, observed=observed[place])
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            lost = f"the last {self._n_rows - n:,} of its {self._n_rows:,} rows were not read"
            yield Row(error=f"the Parquet file is damaged here: {lost}: {reason}")

    def _observed(self, batch: Any, before: int) -> list[Observed | None]:
        """The measured record of each row of a batch that `before` rows of the file precede."""
        if self.modality is None:
            return [None] * batch.num_rows
        kind = modalities.get(self.modality)
        names = [name for name in (*kind.columns, *kind.optional) if name in self._schema.names]
        columns = {name: batch.column(self._schema.names.index(name)).to_pylist() for name in names}
        return [
            Observed.of(
                self.modality,
                {name: column[place] for name, column in columns.items() if column[place] is not None},
                self.path,
                before + place + 1,
            )
            for place in range(batch.num_rows)
        ]


def _unpack(path: Path) -> IO[bytes]:
    unpacked = tempfile.TemporaryFile(prefix="acml-search-")  # noqa: SIM115 (lives as long as the source)
    try:
        with path.open("rb") as file, gzip.open(file) as packed:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
    except (EOFError, OSError, zlib.error) as error:
        unpacked.close()
        raise LibraryError(path, f"this is not gzip data that can be read to its end: {error}") from error
    return unpacked


def _column(path: Path, schema: pa.Schema, wanted: str | None) -> int:
    at = smiles_column(schema.names, wanted)
    if at is None:
        raise no_smiles_column(path, schema.names, wanted)
    if not _is_text(_plain(schema.types[at])):
        name, kind = schema.names[at], schema.types[at]
        raise LibraryError(path, f"its column {name!r} holds {kind}, and a SMILES is text")
    return at


def _values(column: Any, kind: pa.DataType) -> list[Any]:
    return list(column.cast(kind).to_pylist())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    """Dictionary-encoded and extension types as what they stand for."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return kind
