"""Printed NMR lines are read as they were: 3,000 in many styles, right and wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from characterisation import compare, snapshots
from characterisation.workplace import parsed_lines


def differing(rows: list[dict[str, Any]], printed: str) -> list[str]:
    """A sentence for each line that is read in another way. `rows`: texts, with what was read of them."""
    found = [json.loads(line) for line in printed.splitlines()]
    assert len(found) == len(rows)
    differences = []
    for row, now in zip(rows, found, strict=True):
        before = {name: value for name, value in row.items() if name != "text"}
        if (first := next(compare.documents(before, now), None)) is not None:
            differences.append(f"{row['text']!r}: {first}")
    return differences


@pytest.mark.parametrize("modality", ["c_nmr", "h_nmr"])
def test_lines_are_read_as_they_were(modality: str, tmp_path: Path) -> None:
    rows = snapshots.read_lines(f"lines-{modality}.json.gz")
    found = differing(rows, parsed_lines([row["text"] for row in rows], modality, tmp_path))
    assert not found, f"{len(found)} of {len(rows)} lines, first:\n" + "\n".join(found[:10])
