"""`.sdf`, `.mol`: mol blocks with data items. Only split here; the workers parse the blocks."""

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
from acml_search.library.text import DAMAGED, decoded, lines, open_bytes, text_head_of

_MAX_RECORD = 1 << 22
"""Characters of one record; a longer one is no molecule."""

_HEADER = 3  # lines of a mol block before its counts line: title, program, comment
_item = re.compile(r"^>[^<]*<(.+)>[^>]*$")
_items_in_bytes = re.compile(rb"^>[^<\n]*<([^\n]+)>[^>\n]*$", re.MULTILINE)
_counts = re.compile(r"^[ \d]{6}.*\bV[23]000\s*$|^[ \d]{6}(?:[ \d]{3}){6,9}999\s*$")


@register(".sdf", ".sd", ".mol")
class Sdf(Source):
    """The title line becomes the column `name`, every data item a column of its own name, as text.

    Where an item is called name, it is that column, and the title, where it says something else, `title`. A
    record ends at `$$$$`, or where the next mol block begins; an item ends where the next one begins. An item
    that comes twice in a record has both values, a line each.
    """

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
        items = [decoded(name)[0] for name in found]
        named = any(item.casefold() == "name" for item in items)
        return dict(zip(["", *items], safe_names(["title" if named else "name", *items]), strict=True))

    def metadata_types(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(self._names.values(), pa.string())

    def rows(self, meter: Meter) -> Iterator[Row]:
        block: list[str] = []
        size = ended = 0  # characters, and lines up to 'M  END'
        error: str | None = None
        for text, wrong in lines(self.path, meter):
            error = error or wrong
            if text.startswith("$$$$"):
                yield self._record(block, error)
                block, size, ended, error = [], 0, 0, None
                continue
            counts = _counts.match(text) is not None
            if ended and (counts or text.startswith("M  END")):
                # The next mol block, although no $$$$ came. Without its counts line, all lines here are its.
                begins = max(len(block) - _HEADER, ended) if counts else ended
                yield self._record(block[:begins], error)
                block, ended, error = block[begins:], 0, None
                size = sum(map(len, block))
            size += len(text) + 1
            if size > _MAX_RECORD:
                error = error or f"the record is longer than {_MAX_RECORD:,} characters"
            else:
                block.append(text)
                ended = ended or (len(block) if text.startswith("M  END") else 0)
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
        items = dict(self._items(block[end + 1 :]))
        title = block[0].strip()
        known = [value for item, value in items.items() if item.casefold() == "name"]
        metadata: dict[str, object] = {self._names[""]: None if title in known else title or None}
        metadata.update((self._names[name], value) for name, value in items.items())
        return Row(text="\n".join(block[: end + 1]) + "\n", kind="molblock", metadata=metadata)

    def _items(self, tail: list[str]) -> Iterator[tuple[str, str | None]]:
        """Data items, `> <NAME>` and the lines of the value; each name once."""
        values: dict[str, list[str]] = {}
        value: list[str] = []  # of no item
        for line in tail:
            header = _item.match(line)
            if header is not None:
                while value and not value[-1].strip():
                    value.pop()
                value = values.setdefault(header[1], [])
            else:
                value.append(line)
        for name, of_name in values.items():
            yield name, "\n".join(of_name).strip("\n") or None
