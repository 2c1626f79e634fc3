"""Many queries from a file, one JSON line of hits each: molecules in any format a library may have, or
records: the spectra of a file, or the rows of a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, Unpack

from acml_search import modalities
from acml_search.core.errors import (
    ConfigError,
    FilterError,
    InvalidMolecule,
    InvalidRecord,
    LibraryError,
    NoCandidates,
)
from acml_search.core.progress import progress
from acml_search.search.pipeline import BATCH
from acml_search.search.render.files import write_failure, write_line
from acml_search.search.request import MoleculeQuery, SearchRequest

if TYPE_CHECKING:
    from acml_search.modalities import Observation
    from acml_search.search.query import Index
    from acml_search.search.request import Conditions


class BatchReport(NamedTuple):
    """How many queries a batch had, and how many of them had no answer."""

    queries: int
    failed: int
    """could not be read"""
    empty: int = 0
    """no molecule of the index passes their filter"""
    passed_over: int = 0
    """spectra of another kind, which are no queries"""


def asks_with_records(path: Path | str, modality: str | None) -> bool:
    """Whether a file of queries holds records of `modality`, and no molecules.

    Raises ConfigError for spectra that cannot be asked, such as those without a modality that is measured:
    the structures written beside them would be another question.
    """
    from acml_search.ms.io import holds_spectra

    measured = modality is not None and not modalities.get(modality).from_structure
    if modality is not None and modalities.get(modality).unit == "ppm":
        from acml_search.nmr.sources import holds_nmr_spectra

        if holds_nmr_spectra(path):
            return True
    if holds_spectra(path):
        if not measured:
            raise ConfigError(
                f"{path}: it holds spectra; ask with them by --modality lc_ms or gc_ms, or give structures "
                "as a table (.smi, .csv)"
            )
        if modalities.get(str(modality)).unit != "m/z":
            raise ConfigError(
                f"{path}: a batch of {modality} is a Parquet of records; give these spectra one by one"
            )
        return True
    return measured and _is_parquet(path)


def run_molecules(
    index: Index, path: Path | str, request: SearchRequest, out: TextIO, *, smiles_column: str | None = None
) -> BatchReport:
    """Search for every molecule of `path` and write one line of JSON each to `out`, in the file's order.

    A query that cannot be read gives a line with "error", and the run goes on. smiles_column: of a table that
    does not call it "smiles". Raises LibraryError when the file as a whole cannot be read.
    """
    queries = failed = 0
    answers = index.search_queries(_molecules(path, smiles_column), request)
    for answer in progress(answers, desc="queries", unit="query"):
        write_line(answer, out)
        queries += 1
        failed += isinstance(answer, InvalidMolecule)
    return BatchReport(queries, failed)


def run_records(
    index: Index,
    path: Path | str,
    modality: str,
    out: TextIO,
    *,
    k: int = 10,
    adduct: str | None = None,
    rerank: bool = True,
    rerank_depth: int | None = None,
    by_precursor: bool = True,
    **conditions: Unpack[Conditions],
) -> BatchReport:
    """As `run_molecules`, with a record of `modality` in every row of a Parquet, or the spectra of a file.

    Spectra of another kind, such as MS1 scans, are passed over and counted. adduct: of those without one.
    """
    queries = failed = empty = passed_over = 0
    for query, read in progress(_questions(path, modality, adduct), desc="queries", unit="query"):
        try:
            answer = index.identify(
                [read()],
                k=k,
                rerank=rerank,
                rerank_depth=rerank_depth,
                by_precursor=by_precursor,
                **conditions,
            )
        except (InvalidRecord, FilterError) as error:
            if getattr(error, "other_kind", False):
                passed_over += 1
                continue
            queries += 1
            failed, empty = (failed, empty + 1) if isinstance(error, NoCandidates) else (failed + 1, empty)
            write_failure(query, error, out)
            continue
        queries += 1
        answer.query.update(query)
        write_line(answer, out)
    return BatchReport(queries, failed, empty, passed_over)


def _questions(
    path: Path | str, modality: str, adduct: str | None
) -> Iterator[tuple[dict[str, Any], Callable[[], Observation]]]:
    """What an answer says of each question, and its observation, which raises InvalidRecord."""
    kind = modalities.get(modality)
    if _is_parquet(path):
        read = {*kind.columns, *kind.optional}
        for row, record in _records(path, modality):
            about = {name: value for name, value in record.items() if name not in read}
            yield {"row": row, "about": about}, partial(kind.observe, record, f"row {row}", adduct)
        return
    from acml_search.ms.io import BadSpectrum, read_spectra
    from acml_search.nmr.sources import nmr_spectra

    spectra = nmr_spectra if kind.unit == "ppm" else read_spectra
    for row, peaks in enumerate(spectra(path, modality, on_error="yield")):
        if isinstance(peaks, BadSpectrum):
            yield {"row": row, "about": {}}, partial(_raise, peaks)
        else:
            about = {name: value for name, value in peaks.about.items() if name not in ("notes", "picked")}
            query = {"row": row, "about": about}
            yield query, partial(kind.observe_peaks, peaks, f"{path}#{row + 1}", adduct)


def _raise(error: InvalidRecord) -> Observation:
    raise error


def _is_parquet(path: Path | str) -> bool:
    """By its ending or by its first bytes."""
    if Path(path).suffix.lower() in (".parquet", ".pq"):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:  # which the reader of molecules will say
        return False


def _molecules(path: Path | str, smiles_column: str | None) -> Iterator[MoleculeQuery]:
    """The molecules of a file, streamed; a row that is itself broken becomes a query with an error."""
    from acml_search.library.stream import open_library

    library = open_library([path], smiles_column=smiles_column)
    return (
        MoleculeQuery(row.text, row.kind, row.row, row.error, dict(row.metadata))
        for rows in library.batches(BATCH)
        for row in rows
    )


def _records(path: Path | str, modality: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a Parquet file with their row numbers (from 0), streamed.

    Raises LibraryError where the file cannot be read, and ConfigError where it lacks a column that records of
    `modality` are read from.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = modalities.get(modality)
    if kind.from_structure:
        raise ConfigError(f"--batch with --modality {modality}: only spectra are read from a Parquet file")
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise LibraryError(
            path, f"it cannot be read as Parquet ({error}); give a Parquet of records"
        ) from error
    names = file.schema_arrow.names
    for column in kind.columns:
        if column not in names:
            raise ConfigError(
                f"{path}: a {modality} record needs a column named {column}; there are {', '.join(names)}"
            )
    row = 0
    for batch in file.iter_batches(BATCH):
        for record in batch.to_pylist():
            yield row, record
            row += 1
