"""A toy model and toy files for indexes that hold measured records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from spectra_files import SPECTRA, msp
from untrained import save_untrained

from acml_search.core.workers import Workers
from acml_search.index import build
from acml_search.index.directory import BUILD


def contents(index: Path, *but: str) -> dict[str, bytes]:
    """Every file but the one with the times, and `but`."""
    paths = {path.relative_to(index).as_posix(): path for path in index.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if name not in (BUILD, *but)}


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of an untrained checkpoint with the spaces `smiles`, `c_nmr` and `lc_ms`, d = 16."""
    from acml_search import modalities

    spaces = {name: (modalities.get(name).tiny_config, 10.0) for name in ("smiles", "c_nmr", "lc_ms")}
    return save_untrained(tmp_path_factory.mktemp("models") / "toy", spaces, seed=11, d=16, layers=2)


@pytest.fixture(scope="session")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`SPECTRA` as an MSP file."""
    path = tmp_path_factory.mktemp("spectra") / "toy.msp"
    path.write_text(msp(SPECTRA))
    return path


@pytest.fixture(scope="module")
def in_this_process() -> Iterator[None]:
    """Builds of this module start no processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "Workers", lambda n, **options: Workers(1))
        yield


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds of this test start no processes."""

    def here(n: int | None, *, engine: str, in_process: bool) -> Workers:
        return Workers(n if engine == "ray" else 1, engine=engine)

    monkeypatch.setattr(build, "Workers", here)
