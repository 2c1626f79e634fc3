"""Runs: many queries from files, answered by all cores, a line of JSON each.

A query is a molecule, in any format a library may have, or a record: a spectrum of a file (spectra in a row
that name one FEATURE_ID are of one compound), a row of a Parquet file, a line of NMR as papers print it, a
picture of a folder. The lines stay in a file beside the output until the run is complete, so that a run that
was interrupted goes on; other formats are made of them at the end.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, cast

from acml_search import modalities
from acml_search.core.errors import (
    AcmlSearchError,
    ConfigError,
    FilterError,
    InvalidMolecule,
    InvalidRecord,
    LibraryError,
    NoCandidates,
)
from acml_search.core.io import digest_of
from acml_search.core.progress import progress
from acml_search.core.workers import Workers, chunks, cpu_count
from acml_search.modalities.nmr import ShiftModality
from acml_search.search.pipeline import BATCH
from acml_search.search.render.files import failure_line, line
from acml_search.search.request import Ask, Filters, MoleculeQuery, SearchRequest

if TYPE_CHECKING:
    from acml_search.modalities import Modality, Observation
    from acml_search.search.pipeline import Index

RECORDS_AT_ONCE = 8
"""records that a worker is sent together; of molecules, `BATCH`, which are encoded together"""
MAX_COUNTED = 64 << 20
"""bytes of a source whose queries are read, to know how many there are, before the first is asked"""
LOOKED_AT = 20
"""spectra of a file that tell whether it holds MS/MS or EI"""
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
ANSWERED, EMPTY, FAILED, PASSED_OVER = "answered", "empty", "failed", "passed over"


class Question(NamedTuple):
    """One query: a molecule, or observations of one compound, each read when it is asked."""

    about: dict[str, Any]
    """what the answer says of it: `row` (0-based), `file` in a folder, `about` with its other columns"""
    observe: tuple[Callable[[], Observation], ...] = ()
    molecule: MoleculeQuery | None = None
    place: int = 0
    """in the source"""
    precursor: float = 0.0
    """m/z, 0 where there is none"""


class Line(NamedTuple):
    """What became of a query, and its line of JSON; none of a spectrum that is no query."""

    outcome: str
    text: str
    reason: str = ""
    """why it failed, without numbers, so that like ones count together"""
    place: int = 0
    """of the query in the source"""


@dataclass
class BatchReport:
    """How many queries a run had, and how many of them had no answer."""

    queries: int = 0
    failed: int = 0
    """could not be read"""
    empty: int = 0
    """no molecule of the index passes their filter"""
    passed_over: int = 0
    """spectra of another kind, which are no queries"""
    reasons: Counter[str] = field(default_factory=Counter, compare=False)
    resumed: int = field(default=0, compare=False)
    """queries that an earlier, interrupted run had answered"""
    taken_as: str | None = field(default=None, compare=False)
    """modality of the spectra, where the files had to tell it"""

    def add(self, one: Line) -> None:
        self.queries += one.outcome != PASSED_OVER
        self.failed += one.outcome == FAILED
        self.empty += one.outcome == EMPTY
        self.passed_over += one.outcome == PASSED_OVER
        if one.reason:
            self.reasons[one.reason] += 1


def run(
    index: Index,
    source: Path | str,
    ask: Ask,
    out: TextIO | Path,
    *,
    workers: int | None = None,
    watch: Callable[[BatchReport, int | None], None] = lambda report, total: None,
) -> BatchReport:
    """Answer every query of `source`, a file or a folder, in its order: lines of JSON to `out`.

    out: a stream; or the file that keeps the lines of an unfinished run of the same source, question and
    index, after which the run goes on. workers: None for one per core; few queries are answered here.
    watch: is told after each query what became of those so far, and how many there are, where that is known;
    what it raises ends a run that keeps its lines.

    Raises ConfigError where `out` holds lines of another run, LibraryError or InvalidRecord where the source
    as a whole cannot be read.
    """
    taken_as = _modality_of(Path(source)) if ask.modality is None else None
    ask = ask._replace(modality=taken_as or ask.modality)
    if not isinstance(out, Path):
        report = BatchReport(taken_as=taken_as)
        for one in _answers(index, _questions_of(source, ask), ask, workers):
            report.add(one)
            if one.text:
                out.write(one.text + "\n")
        return report
    report = _continued(out, {"run": digest_of(_identity(index, source, ask)), "order": "precursor"})
    report.taken_as = taken_as
    done = report.resumed
    asked = _questions_of(source, ask)
    if isinstance(asked, list):  # ions of one mass have the same candidates, which are taken apart once
        asked.sort(key=lambda one: one.precursor)
    with out.open("a", encoding="utf-8") as file:
        for one in _answers(index, asked, ask, workers, done):
            report.add(one)
            file.write(json.dumps(one) + "\n")
            file.flush()
            watch(report, len(asked) if isinstance(asked, list) else None)
    return report


def finished_lines(kept: Path) -> Iterator[dict[str, Any]]:
    """The documents of a complete run whose lines were kept in the file `kept`, each with its `outcome`, in
    the order of the source."""
    with kept.open(encoding="utf-8") as file:
        file.readline()
        starts, at = [], file.tell()
        for text in iter(file.readline, ""):
            starts.append((Line(*json.loads(text)).place, at))
            at = file.tell()
        for _, at in sorted(starts):
            file.seek(at)
            one = Line(*json.loads(file.readline()))
            if one.text:
                yield {**json.loads(one.text), "outcome": one.outcome}


def _identity(index: Index, source: Path | str, ask: Ask) -> list[Any]:
    """What must be the same for a run to go on."""
    files = [path for path in sorted(Path(source).rglob("*")) if path.is_file()] or [Path(source)]
    state = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    return [str(Path(source).resolve()), state, index.identity, ask._asdict()]


def _continued(kept: Path, header: dict[str, str]) -> BatchReport:
    """The report of the lines of an unfinished run; a line that was cut off is removed."""
    report = BatchReport()
    if not kept.exists():
        kept.write_text(json.dumps(header) + "\n", encoding="utf-8")
        return report
    whole = 0
    with kept.open("rb") as file:
        for number, text in enumerate(file):
            try:
                document = json.loads(text) if text.endswith(b"\n") else None
            except ValueError:
                document = None
            if number == 0 and document != header:
                raise ConfigError(
                    f"{kept} keeps the answers of another run that was interrupted; finish that one by the "
                    "same command, or remove the file"
                )
            if document is None:
                break
            if number:
                report.add(Line(*document))
                report.resumed += 1
            whole += len(text)
    with kept.open("r+b") as file:
        file.truncate(whole)
    return report


# Answers

_opened: Index | None = None


def _answers(
    index: Index, questions: Iterable[Question], ask: Ask, workers: int | None, done: int = 0
) -> Iterator[Line]:
    """A line for each question after the first `done`, in order."""
    total = len(questions) if isinstance(questions, list) else None
    bar = partial(progress, desc="queries", unit="query", total=total, initial=done)
    rest = islice(questions, done, None)
    first = list(islice(rest, 1))
    size = BATCH if first and first[0].molecule is not None else RECORDS_AT_ONCE
    first += islice(rest, 4 * size - 1)
    tasks = ((ask, some) for some in chunks(chain(first, rest), size))
    n = 1 if len(first) < 4 * size else workers or cpu_count()
    if n == 1:
        yield from bar(one for task in tasks for one in _answered(index, *task))
        return
    with Workers(n, initializer=_open, initargs=(index.path, index.model_name)) as processes:
        yield from bar(one for lines in processes.map(_in_worker, tasks) for one in lines)


def _open(path: Path | str, model: Path | str) -> None:
    global _opened
    from acml_search.search.pipeline import open_index

    _opened = open_index(path, model=model)


def _in_worker(task: tuple[Ask, list[Question]]) -> list[Line]:
    assert _opened is not None
    return list(_answered(_opened, *task))


def _answered(index: Index, ask: Ask, questions: list[Question]) -> Iterator[Line]:
    """A line for each question, in order."""
    if questions[0].molecule is None:
        for question in questions:
            yield _identified(index, ask, question)._replace(place=question.place)
        return
    queries = [one.molecule for one in questions if one.molecule is not None]
    request = SearchRequest(ask.k, Filters(**ask.conditions), ask.modality)
    for question, answer in zip(questions, index.search_queries(queries, request), strict=True):
        if isinstance(answer, InvalidMolecule):
            yield Line(FAILED, line(answer), _alike(answer.reason), question.place)
        else:
            yield Line(ANSWERED, line(answer), place=question.place)


def _identified(index: Index, ask: Ask, question: Question) -> Line:
    try:
        observed = []
        for observe in question.observe:
            try:
                observed.append(observe())
            except InvalidRecord as error:
                if len(question.observe) == 1 or not getattr(error, "other_kind", False):
                    raise
        if not observed:
            return Line(PASSED_OVER, "")
        answer = index.identify(observed, **ask.how())
    except (InvalidRecord, FilterError) as error:
        if getattr(error, "other_kind", False):
            return Line(PASSED_OVER, "")
        text = failure_line(question.about, error)
        if isinstance(error, NoCandidates):
            return Line(EMPTY, text)
        return Line(FAILED, text, _alike(_reason(error)))
    answer.query.update(question.about)
    return Line(ANSWERED, line(answer))


def _reason(error: AcmlSearchError) -> str:
    return str(getattr(error.__cause__, "reason", None) or getattr(error, "reason", error))


def _alike(reason: str) -> str:
    """A reason without its numbers."""
    return re.sub(r"\d+(?:[.,]\d+)*", "…", reason.partition("; ")[0])[:200]


# Questions


def _questions_of(source: Path | str, ask: Ask) -> Iterable[Question]:
    """The queries of a source: a list, unless that is large."""
    found = questions(source, ask)
    path = Path(source)
    small = path.is_dir() or not path.exists() or path.stat().st_size <= MAX_COUNTED
    placed = (one._replace(place=place) for place, one in enumerate(found))
    return list(placed) if small else placed


def asks_with_records(path: Path | str, modality: str | None) -> bool:
    """Whether a file of queries holds records of `modality`, and no molecules.

    Raises ConfigError for spectra that cannot be asked as `modality`: the structures written beside them
    would be another question.
    """
    from acml_search.ms.io import holds_spectra
    from acml_search.nmr.sources import holds_nmr_spectra

    kind = None if modality is None else modalities.get(modality)
    measured = kind is not None and not kind.from_structure
    if kind is not None and kind.unit == "ppm" and holds_nmr_spectra(path):
        return True
    if holds_spectra(path):
        if not measured:
            raise ConfigError(
                f"{path}: it holds spectra; ask with them by --modality lc_ms or gc_ms, or give structures "
                "as a table (.smi, .csv)"
            )
        if kind is not None and kind.unit != "m/z":
            raise ConfigError(
                f"{path}: it holds no {modality} that can be asked in a batch; give a Parquet of records, a "
                "file of NMR spectra, or a text with one printed spectrum a line"
            )
        return True
    if kind is not None and kind.name == "image":
        return Path(path).suffix.lower() in PICTURES
    return kind is not None and measured and (_is_parquet(path) or _is_printed(Path(path), kind))


def _modality_of(source: Path) -> str | None:
    """lc_ms or gc_ms, where a file, or a folder's first file of spectra, holds mass spectra: EI where none of
    its first spectra is anything else."""
    from acml_search.ms.io import holds_spectra, read_spectra
    from acml_search.nmr.sources import holds_nmr_spectra

    files = sorted(source.iterdir()) if source.is_dir() else [source]
    first = next((file for file in files if file.is_file() and holds_spectra(file)), None)
    if first is None:
        return None
    if holds_nmr_spectra(first):
        raise ConfigError(f"{first}: it holds NMR spectra; --modality c_nmr or h_nmr says which to ask with")
    some = islice(read_spectra(first, "lc_ms", on_error="yield"), LOOKED_AT)
    return "gc_ms" if all(getattr(one, "other_kind", False) for one in some) else "lc_ms"


def questions(source: Path | str, ask: Ask) -> Iterator[Question]:
    """The queries of a file; or of a folder, file by file in the order of their names, those left out that
    hold none of the modality asked for. A folder of an NMR instrument is one source.

    Raises ConfigError for a folder with no such file, and as the readers do for a file.
    """
    from acml_search.nmr.sources import holds_nmr_spectra

    path = Path(source)
    kind = None if ask.modality is None else modalities.get(ask.modality)
    if not path.is_dir() or (kind is not None and kind.unit == "ppm" and holds_nmr_spectra(path)):
        yield from _questions(path, ask)
        return
    if kind is None:
        raise ConfigError(f"{path} is a folder; --modality says what its files hold")
    found = False
    for file in sorted(one for one in path.iterdir() if not one.name.startswith(".")):
        if (file.is_dir() and not holds_nmr_spectra(file)) or not asks_with_records(file, ask.modality):
            continue
        found = True
        for question in _questions(file, ask):
            yield question._replace(about={"file": file.name, **question.about})
    if not found:
        raise ConfigError(f"{path}: none of its files holds records of {ask.modality}")


def _questions(path: Path, ask: Ask) -> Iterator[Question]:
    """The queries of one file."""
    if ask.modality is None or not asks_with_records(path, ask.modality):
        for molecule in _molecules(path, ask.smiles_column):
            yield Question({}, molecule=molecule)
        return
    kind = modalities.get(ask.modality)
    if kind.name == "image":
        yield Question({"row": 0}, (partial(kind.read_input, str(path)),))
    elif _is_parquet(path):
        read = {*kind.columns, *kind.optional}
        for row, record in _records(path, kind):
            about = {name: value for name, value in record.items() if name not in read}
            yield Question(
                {"row": row, "about": about}, (partial(kind.observe, record, f"row {row}", ask.adduct),)
            )
    else:
        yield from _spectra(path, kind, ask.adduct)


def _spectra(path: Path, kind: Modality, adduct: str | None) -> Iterator[Question]:
    """The spectra of a file, those of one feature together."""
    from acml_search.ms.io import holds_spectra, read_spectra
    from acml_search.nmr.sources import holds_nmr_spectra, nmr_spectra

    if kind.unit == "ppm" and not holds_nmr_spectra(path) and not holds_spectra(path):
        yield from _printed(path, kind)
        return
    spectra = nmr_spectra if kind.unit == "ppm" else read_spectra
    numbered = enumerate(spectra(path, kind.name, on_error="yield"))
    for _, several in groupby(numbered, lambda one: getattr(one[1], "about", {}).get("feature_id") or one[0]):
        found = list(several)
        row, first = found[0]
        if isinstance(first, Exception):
            yield Question({"row": row, "about": {}}, (partial(_raise, first),))
            continue
        about = {name: value for name, value in first.about.items() if name not in ("notes", "picked")}
        query: dict[str, Any] = {"row": row, "about": about}
        if len(found) > 1:
            query["rows"] = [row for row, _ in found]
        observe = tuple(
            partial(kind.observe_peaks, peaks, f"{path}#{row + 1}", adduct)
            for row, peaks in found
            if not isinstance(peaks, Exception)
        )
        yield Question(query, observe, precursor=first.precursor_mz or 0.0)


def _is_printed(path: Path, kind: Modality) -> bool:
    """Whether the first line of a text file is a spectrum as papers print it."""
    if not isinstance(kind, ShiftModality) or path.suffix.lower() not in ("", ".txt", ".text"):
        return False
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        first = next((text for text in file if text.strip()), "")
    try:
        kind.read_line(first)
    except InvalidRecord:
        return False
    return True


def _printed(path: Path, kind: Modality) -> Iterator[Question]:
    """The lines of a text file, each a spectrum as papers print it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LibraryError(path, f"it cannot be read as text ({error})") from error
    for row, printed in enumerate(text.splitlines()):
        if printed.strip():
            yield Question({"row": row, "about": {}}, (partial(_observe_line, kind.name, printed),))


def _observe_line(modality: str, printed: str) -> Observation:
    kind = cast("ShiftModality", modalities.get(modality))
    return kind.observe_peaks(kind.read_line(printed), printed)


def _raise(error: Exception) -> Observation:
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


def _records(path: Path | str, kind: Modality) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a Parquet file with their row numbers (from 0), streamed.

    Raises LibraryError where the file cannot be read, and ConfigError where it lacks a column that records of
    the modality are read from.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if kind.from_structure:
        raise ConfigError(f"--batch with --modality {kind.name}: only spectra are read from a Parquet file")
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
                f"{path}: a {kind.name} record needs a column named {column}; there are {', '.join(names)}"
            )
    yield from enumerate(record for batch in file.iter_batches(BATCH) for record in batch.to_pylist())
