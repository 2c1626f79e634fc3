"""What a format gives: a `Source` of `Record`s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from acml_search.library.lines import Meter
from acml_search.library.measured import Observed

registered: dict[str, type[Source]] = {}


class Record(NamedTuple):
    """One data row of a file, as `Row` but without its number."""

    text: str
    kind: Literal["smiles", "molblock"]
    metadata: Mapping[str, object]
    error: str | None
    observed: Observed | None = None


class Source(ABC):
    """One library file. Making it checks that it can be read at all and raises `LibraryError` if not."""

    modality: str | None = None
    """of the measured records that `records` gives with the structures; None: structures alone"""

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        self.path = path
        self.smiles_column = smiles_column

    def observe(self, named: Sequence[str]) -> None:
        """Give the spectra in the file too, where it has any; `named` as in `measured.modality_of`.

        Most formats have none. Raises LibraryError when the file leaves open of which modality they are.
        """
        self.modality = None

    @abstractmethod
    def metadata_types(self) -> dict[str, pa.DataType]:
        """Names and Arrow types of the metadata columns."""

    @abstractmethod
    def records(self, meter: Meter) -> Iterator[Record]:
        """All rows from the first, in constant memory; `meter` is told of the bytes read."""

    def total(self) -> int | None:
        """Number of rows if that costs little to know."""
        return None


def register(*names: str) -> Callable[[type[Source]], type[Source]]:
    """Class decorator: this source reads files with these endings (`".smi"`). A taken ending is an error."""

    def add(source: type[Source]) -> type[Source]:
        for ending in names:
            if ending in registered and registered[ending] is not source:
                raise ValueError(f"{ending} is read by {registered[ending].__name__} already")
            registered[ending] = source
        return source

    return add
