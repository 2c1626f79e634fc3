"""One folder with inputs and indexes for all characterisation tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from characterisation.workplace import prepare
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small work on one thread is faster than on several, and gives the same last digits again."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package", autouse=True)
def wide_terminal() -> Iterator[None]:
    """Tables are as wide as they were when the snapshots were made, whatever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        yield


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """The folder, and the results of the commands that made its indexes."""
    folder = tmp_path_factory.mktemp("characterisation")
    return folder, prepare(folder)


@pytest.fixture(scope="session")
def folder(prepared: tuple[Path, dict[str, dict[str, Any]]]) -> Path:
    return prepared[0]
