"""One library file as a `Source` of `Row`s: which format reads it, and what its columns are called.

A format is a class with the decorator `@register(".ending")`, in `text`, `sdf`, `parquet` or `spectra`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from acml_search import modalities
from acml_search.core.errors import LibraryError
from acml_search.library.observed import USUAL_NAMES, Observed
from acml_search.library.tables import MOLECULES, RECORDS

NO_METADATA: Mapping[str, object] = {}
_OF_A_HIT = ("record_id", "modality", "side", "rank", "score", "probability", "why")


class Row(NamedTuple):
    """One data row of a library."""

    row: int = 0
    """Number from 0 over all files of the library together. Headers and blank lines are not counted."""
    text: str = ""
    """The SMILES, or the mol block; of a bad row, what could be read of it."""
    kind: Literal["smiles", "molblock"] = "smiles"
    metadata: Mapping[str, object] = NO_METADATA
    error: str | None = None
    """Why the row itself is bad (wrong number of fields, not UTF-8, cut off, ...), whatever its structure."""
    observed: Observed | None = None
    """The measured record of the molecule that came with it."""


class Meter:
    """Bytes of files read so far, as they lie on disk."""

    def __init__(self) -> None:
        self.done = 0


class Source(ABC):
    """One library file. Making it checks that it can be read at all and raises `LibraryError` if not."""

    modality: str | None = None
    """of the measured records that `rows` gives with the structures; None: structures alone"""

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        self.path = path
        self.smiles_column = smiles_column

    def observe(self, named: Sequence[str]) -> None:
        """Give the spectra in the file too, where it has any; `named` as in `observed.modality_of`.

        Most formats have none. Raises LibraryError when the file leaves open of which modality they are.
        """
        self.modality = None

    @abstractmethod
    def metadata_types(self) -> dict[str, pa.DataType]:
        """Names and Arrow types of the metadata columns."""

    @abstractmethod
    def rows(self, meter: Meter) -> Iterator[Row]:
        """All rows, not numbered yet, in constant memory; `meter` counts the bytes read."""

    def total(self) -> int | None:
        """Number of rows if that costs little to know."""
        return None


_formats: dict[str, type[Source]] = {}


def register(*names: str) -> Callable[[type[Source]], type[Source]]:
    """Class decorator: this source reads files with these endings (`".smi"`). A taken ending is an error."""

    def add(source: type[Source]) -> type[Source]:
        for ending in names:
            if _formats.get(ending, source) is not source:
                raise ValueError(f"{ending} is read by {_formats[ending].__name__} already")
            _formats[ending] = source
        return source

    return add


def endings() -> list[str]:
    """The endings that can be read; each may be followed by `.gz`."""
    from acml_search.library import parquet, sdf, spectra, text  # noqa: F401 (they register themselves)

    return sorted(_formats)


def open_source(path: Path, smiles_column: str | None = None, records: Sequence[str] | None = None) -> Source:
    """The file at `path`, ready to be streamed; raises `LibraryError` if it cannot be.

    `records`: give measured records too, of these modalities where the file leaves it open; None: give none.
    """
    known = endings()
    ending = path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix
    source = _formats.get(ending.lower())
    if path.is_dir():
        raise LibraryError(path, "this is a directory; name the files in it")
    if ending.lower() in (".xlsx", ".xls", ".xlsm", ".ods"):
        raise LibraryError(
            path,
            "spreadsheets are not read; save the sheet as CSV (in Excel: Save As, CSV UTF-8), and give that",
        )
    if (source is None or ending.lower() == ".txt") and path.exists():
        source = _by_content(path) or source
    if source is None:
        raise LibraryError(
            path, f"the ending {ending!r} is of no known format; known are {', '.join(known)}, each also .gz"
        )
    opened = source(path, smiles_column)
    if records is not None:
        opened.observe(records)
    return opened


def _by_content(path: Path) -> type[Source] | None:
    """The format that the first bytes of a file speak for beyond doubt, where its ending says nothing."""
    from acml_search.library.text import head_of

    try:
        head = head_of(path)
    except LibraryError:  # of no format then
        return None
    signs = {
        ".parquet": head.startswith(b"PAR1"),
        ".sdf": re.search(rb"^M  END", head, re.MULTILINE),
        ".mgf": re.search(rb"^BEGIN IONS", head, re.MULTILINE),
        ".msp": re.search(rb"^num peaks:", head, re.MULTILINE | re.IGNORECASE),
        ".mzml": b"<mzML" in head,
    }
    return next((_formats[ending] for ending, there in signs.items() if there), None)


def smiles_column(names: Sequence[str], wanted: str | None) -> int | None:
    """Position of the SMILES column: `wanted` if given, else the first of the usual names, else the one
    column whose name has the word SMILES, else `structure` or `inchi`; None if absent.

    An exact match wins over one that differs in case.
    """
    folded = [name.strip().casefold() for name in names]
    if wanted is not None:
        if wanted in names:
            return list(names).index(wanted)
        return folded.index(wanted.strip().casefold()) if wanted.strip().casefold() in folded else None
    joined = ["_".join(name.split()) for name in folded]
    for usual in USUAL_NAMES:
        if usual in joined:
            return list(names).index(usual) if usual in names else joined.index(usual)
    with_word = [place for place, name in enumerate(folded) if "smiles" in re.split(r"[^a-z]+", name)]
    if with_word:
        return with_word[0] if len(with_word) == 1 else None
    return next((joined.index(usual) for usual in ("structure", "inchi") if usual in joined), None)


def no_smiles_column(path: Path, names: Iterable[str], wanted: str | None, hint: str = "") -> LibraryError:
    """The error for a table without a SMILES column, or with several; it lists the columns there are."""
    there = ", ".join(repr(name) for name in names) or "none"
    missing = "no column named 'smiles'" if wanted is None else f"no column named {wanted!r}"
    return LibraryError(path, f"{missing}; its columns are {there}; name one with --smiles-column{hint}")


def reserved_names() -> set[str]:
    """Our columns of the molecules table, of a measured record and of a hit. A column of the input with such
    a name becomes `input_<name>`, so that a filter calls it what the hits call it.
    """
    storage = (name for modality in modalities.names() for name in modalities.get(modality).storage)
    return {*MOLECULES.names, *RECORDS.names, *storage, *_OF_A_HIT}


def safe_names(names: Sequence[str]) -> list[str]:
    """Names fit for the molecules table: not empty, not ours, and, as in SQL, unique whatever their case."""
    reserved = reserved_names()
    taken: set[str] = set()
    result = []
    for place, name in enumerate(names, start=1):
        clean = "".join(character for character in " ".join(name.split()) if character.isprintable())
        clean = clean or f"column_{place}"
        if clean.casefold() in reserved:
            clean = f"input_{clean}"
        unique, n = clean, 1
        while unique.casefold() in taken:
            n += 1
            unique = f"{clean}_{n}"
        taken.add(unique.casefold())
        result.append(unique)
    return result
