"""A short run of the fuzzer: `python -m benchmarks.fuzz` makes a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from acml_search.core.errors import ConfigError
from benchmarks import fuzz


@pytest.mark.parametrize("name", fuzz.READERS)
def test_damaged_files_give_sentences(name: str) -> None:
    assert list(fuzz.run(name, 2_000 // len(fuzz.READERS), seed=1)) == []


def test_findings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(path: Path) -> None:
        if len(path.read_bytes()) % 2:
            raise ConfigError("refused; try again")
        raise ValueError("a bug")

    monkeypatch.setitem(fuzz.READERS, "x", fuzz.Reader(lambda: [("x.txt", b"one\ntwo\n")], check))
    findings = list(fuzz.run("x", 50))
    assert 0 < len(findings) < 50
    assert all("ValueError: a bug" in finding for finding in findings)
