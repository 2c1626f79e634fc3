"""A build on a real cluster of Ray: two nodes on this machine, one of which is killed in the middle."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from acml_search.index.build import build_index
from acml_search.index.directory import BUILD

pytest.importorskip("ray")


@pytest.mark.filterwarnings("ignore")
def test_a_node_is_killed_and_the_index_is_the_local_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    library = tmp_path / "library.smi"
    library.write_text("".join(f"{'C' * n}{end}\n" for n in range(1, 25) for end in ("O", "N", "F", "S")))
    local, out = tmp_path / "local", tmp_path / "cluster"
    build_index(library, local, model=tiny_model, shard_size=4, workers=1)

    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    killed = []

    def kill() -> None:
        building = tmp_path / "cluster.building" / "shards"
        while len(list(building.glob("*/done.json"))) < 4:
            time.sleep(0.02)
        cluster.remove_node(lost, allow_graceful=False)
        killed.append(len(list(building.glob("*/done.json"))))

    threading.Thread(target=kill, daemon=True).start()
    try:
        build_index(library, out, model=tiny_model, shard_size=4, engine="ray")
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed
    assert killed[0] < 24
    mine, theirs = (
        {path.relative_to(of).as_posix(): path.read_bytes() for path in of.rglob("*") if path.is_file()}
        for of in (local, out)
    )
    assert mine.pop(BUILD)
    assert theirs.pop(BUILD)
    assert mine == theirs
