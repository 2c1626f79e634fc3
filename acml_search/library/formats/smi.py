"""`.smi`: one SMILES a line, then white space and a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from acml_search.core.errors import LibraryError
from acml_search.library.columns import USUAL_NAMES, safe_names
from acml_search.library.formats.base import Record, Source, register
from acml_search.library.lines import Meter, lines, text_head_of


@register(".smi", ".smiles", ".cxsmiles")
class Smi(Source):
    """Blank lines are no rows. A first line that begins with `smiles` (or `#smiles`) is a header."""

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        super().__init__(path, smiles_column)
        full = [line for line in text_head_of(path).splitlines() if line.strip()]
        words = full[0].split()
        self._has_header = words[0].lstrip("#").casefold() in USUAL_NAMES
        if self._has_header and len(full) == 1:
            raise LibraryError(path, "the file is empty: it has a header and no rows")
        # A header of two words names the second column; anything else after the SMILES is a name.
        self._name = safe_names(words[1:])[0] if self._has_header and len(words) == 2 else "name"

    def metadata_types(self) -> dict[str, pa.DataType]:
        return {self._name: pa.string()}

    def records(self, meter: Meter) -> Iterator[Record]:
        before_first = self._has_header
        for text, error in lines(self.path, meter):
            text = text.strip()
            if error is not None:
                yield Record(text, "smiles", {}, error)
                continue
            if not text:
                continue
            if before_first:
                before_first = False
                continue
            smiles, _, name = text.partition(" ") if "\t" not in text else _partition(text)
            name = name.strip()
            if name.startswith("|") and "|" in name[1:]:  # a CXSMILES extension belongs to the SMILES
                end = name.index("|", 1) + 1
                smiles, name = f"{smiles} {name[:end]}", name[end:].strip()
            yield Record(smiles, "smiles", {self._name: name or None}, None)


def _partition(text: str) -> tuple[str, str, str]:
    smiles, *rest = text.split(None, 1)
    return smiles, " ", rest[0] if rest else ""
