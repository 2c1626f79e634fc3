"""`.sdf`: mol blocks with data items, ended by `$$$$`. Only split here; the workers parse the blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import cast

import pyarrow as pa

from acml_search.core.errors import LibraryError
from acml_search.library.source import Meter, Row, Source, register, safe_names
from acml_search.library.text import DAMAGED, lines, open_bytes, text_head_of

_MAX_RECORD = 1 << 22
"""Characters of one record; without a limit, a file that lacks its `$$$$` would be one record."""

_item = re.compile(r"^>.*?<([^>]+)>")
_items_in_bytes = re.compile(rb"^>[^\n]*?<([^>\n]+)>", re.MULTILINE)


@register(".sdf", ".sd")
class Sdf(Source):
    """The title line becomes the column `name`, every data item a column of its own name, as text."""

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        super().__init__(path, smiles_column)
        head = text_head_of(path)
        if len(head) < 60_000 and "M  END" not in head and "$$$$" not in head:
            raise LibraryError(path, "this is not an SD file: it has no 'M  END' and no '$$$$'")

    @cached_property
    def _names(self) -> dict[str, str]:
        """Data item -> column. Items differ from record to record, so the whole file is looked through."""
        found: dict[bytes, None] = {}
        rest = b""
        with open_bytes(self.path) as stream:
            while True:
                try:
                    chunk = cast(BufferedReader, stream).read1(1 << 20)
                except DAMAGED:
                    break  # `rows` reports the damage, with its place
                if not chunk:
                    break
                # CR alone may end a line too; of CRLF an empty line more is left, which does no harm here.
                whole, _, rest = (rest + chunk).replace(b"\r", b"\n").rpartition(b"\n")
                rest = rest[: 1 << 16]
                found.update(dict.fromkeys(_items_in_bytes.findall(whole)))
        found.update(dict.fromkeys(_items_in_bytes.findall(rest)))
        items = [name.decode(errors="replace") for name in found]
        if "name" not in items:
            items.insert(0, "name")
        return dict(zip(items, safe_names(items), strict=True))

    def metadata_types(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(self._names.values(), pa.string())

    def rows(self, meter: Meter) -> Iterator[Row]:
        block: list[str] = []
        size = 0
        error: str | None = None
        for text, wrong in lines(self.path, meter):
            error = error or wrong
            if text.startswith("$$$$"):
                yield self._record(block, error)
                block, size, error = [], 0, None
                continue
            size += len(text) + 1
            if size > _MAX_RECORD:
                error = error or f"the record is longer than {_MAX_RECORD:,} characters"
            else:
                block.append(text)
        if error is not None or any(line.strip() for line in block):
            yield self._record(block, error)

    def _record(self, block: list[str], error: str | None) -> Row:
        end = next((i for i, line in enumerate(block) if line.startswith("M  END")), None)
        if error is None and not any(line.strip() for line in block):
            error = "the record is empty"
        if error is None and end is None:
            error = "the record has no 'M  END', so it is cut off or holds no structure"
        if error is not None or end is None:
            return Row(text="\n".join(block[:100]), kind="molblock", error=error)
        metadata: dict[str, object] = {self._names["name"]: block[0].strip() or None}
        metadata.update(self._items(block[end + 1 :]))
        return Row(text="\n".join(block[: end + 1]) + "\n", kind="molblock", metadata=metadata)

    def _items(self, tail: list[str]) -> Iterator[tuple[str, str | None]]:
        """Data items: `> <NAME>`, lines of the value, an empty line."""
        name: str | None = None
        value: list[str] = []
        for line in [*tail, ""]:
            header = _item.match(line) if not value else None
            if header is not None:
                name = header[1]
            elif line.strip():
                value.append(line)
            else:
                if name is not None:
                    yield self._names[name], "\n".join(value) or None
                name, value = None, []
