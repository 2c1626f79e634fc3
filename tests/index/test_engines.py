"""Engines: the same shards whoever makes them. Ray itself is stood in for: it is an extra, and large."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.index.build import build_index
from acml_search.index.verify import verify


class FakeRay(SimpleNamespace):
    """The few calls `RayPool` makes, answered by a thread."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self) -> None:
        super().__init__(running=False, initialised_with={}, fail=False)
        self.thread = ThreadPoolExecutor(1)

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **options: Any) -> None:
        self.running, self.initialised_with = True, options

    def cancel(self, handle: Any, force: bool) -> None:
        if not handle.cancel():
            handle.result()

    def shutdown(self) -> None:
        self.running = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Any:
        return lambda function: SimpleNamespace(remote=lambda *given: self.thread.submit(function, *given))

    def get(self, handle: Any) -> Any:
        result = handle.result()
        if self.fail:
            raise self.exceptions.RayError("the node is gone")
        return result


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.smi"
    path.write_text("".join(f"{'C' * n}O alcohol-{n}\n" for n in range(1, 31)))
    return path


def test_ray_makes_the_same_index_as_local(
    library: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    built = {}
    for engine in ("local", "ray"):
        out = tmp_path / engine
        build_index(library, out, model=tiny_model, engine=engine, shard_size=7, workers=1)
        assert verify(out) == []
        built[engine] = {
            path.relative_to(out): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file() and path.name != "build.json"
        }
    assert built["ray"] == built["local"]
    assert ray.initialised_with["num_cpus"] == 1
    assert not ray.running


def test_a_lost_node_is_said_and_the_build_resumes(
    library: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    ray.fail = True
    with pytest.raises(AcmlSearchError, match="run the same command again to resume"):
        build_index(library, tmp_path / "index", model=tiny_model, engine="ray", shard_size=7)
    ray.fail = False
    report = build_index(library, tmp_path / "index", model=tiny_model, engine="ray", shard_size=7)
    assert report.to_dict()["molecules"] == 30


def test_without_ray_the_extra_is_named(
    library: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"acml-search\[ray\]"):
        build_index(library, tmp_path / "index", model=tiny_model, engine="ray")


def test_an_unknown_engine_names_the_known(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="local and ray"):
        build_index(library, tmp_path / "index", model=tiny_model, engine="spark")
