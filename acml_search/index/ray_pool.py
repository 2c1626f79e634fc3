"""Shards made by a Ray cluster. The work folder must be on a file system that every node reaches by the
same path, and every node needs acml-search and the model.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError
from acml_search.index.embed import ShardJob
from acml_search.index.pool import WorkerDied, make_shard
from acml_search.library.read import Row


class RayPool:
    """Tasks of one CPU each. Ray finds the cluster itself (RAY_ADDRESS), or starts one on this machine.

    workers: shards at work at once; None: one per CPU of the cluster. Raises ConfigError without Ray.
    """

    def __init__(self, job: ShardJob, workers: int | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                "the engine ray needs Ray, which is not installed: pip install 'acml-search[ray]'"
            ) from error
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(
                num_cpus=None if _has_address() else workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
            )
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._job = ray.put(job)
        self._make = ray.remote(num_cpus=1, max_retries=2)(make_shard)

        self._flying: list[Any] = []

    def submit(self, rows: list[Row], folder: Path) -> Any:
        self._flying.append(self._make.remote(rows, folder.resolve(), self._job))
        return self._flying[-1]

    def result(self, handle: Any) -> str | None:
        self._flying.remove(handle)
        try:
            problem: str | None = self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            raise WorkerDied from error
        return problem

    def close(self) -> None:
        for handle in self._flying:  # or a cluster that is not ours would go on writing
            self._ray.cancel(handle, force=True)
        if self._ours:
            self._ray.shutdown()


def _has_address() -> bool:
    return "RAY_ADDRESS" in os.environ
