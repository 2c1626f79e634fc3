"""Worker processes with a model loaded in each (`core.workers`)."""

from __future__ import annotations

from typing import Any

from acml_search.core import workers as core

_model: Any = None


def model_workers(n: int | None = None, *, model: str | None = None) -> core.Workers:
    """`n` processes (None: one per core) that have loaded the checkpoint `model`, if the tasks need one."""
    return core.Workers(n, initializer=_load, initargs=(model,))


def model() -> Any:
    """The model of this worker process; only inside a task of `model_workers` that were given one."""
    if _model is None:
        raise RuntimeError("no model was loaded in this process")
    return _model


def _load(name: str | None) -> None:
    global _model
    _model = None
    if name is not None:
        import torch

        from acml_search.encoders.checkpoint import load_model

        torch.set_num_threads(1)
        _model = load_model(name)
