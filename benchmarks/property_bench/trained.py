"""Systems that learn from the molecules themselves: chemprop, and our trunk, fine-tuned."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.property_bench.peers import run_peer
from benchmarks.property_bench.plan import System

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Job:
    """One training. `smiles` and `y` (n, t) are the whole set's; the others are positions in it."""

    system: System
    task: str
    smiles: list[str]
    y: Floats
    train: Ints
    valid: Ints
    asked: Ints
    seed: int
    model: str = ""
    python: str = ""


def predict(job: Job) -> tuple[Floats, dict[str, Any]]:
    """(k, t) predictions of `asked`, and what is to be told. A molecule that is refused is answered with the
    mean of the training labels.
    """
    predicted, more = _chemprop(job) if job.system.kind == "chemprop" else _finetuned(job)
    refused = ~np.isfinite(predicted)
    y = job.y[job.train]
    known = np.isfinite(y)
    means = np.where(known, y, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    predicted = np.where(refused, means, predicted)
    n_failed = int(refused[len(job.valid) :].any(axis=1).sum())
    return predicted, {"n_failed": n_failed, **more}


def _finetuned(job: Job) -> tuple[Floats, dict[str, Any]]:
    import torch

    from acml_search.chem import molecule
    from acml_search.encoders.model import load_model
    from acml_search.properties.finetune import EPOCHS, finetune

    torch.set_num_threads(1)

    def mols(at: Ints) -> list[Any]:
        return [molecule.parse(job.smiles[i])[0] for i in at.tolist()]

    fitted = finetune(
        load_model(job.model),
        mols(job.train),
        job.y[job.train],
        mols(job.valid),
        job.y[job.valid],
        job.task,
        job.seed,
        epochs=EPOCHS if job.system.epochs is None else job.system.epochs,
    )
    return np.asarray(fitted.predict(mols(job.asked)), np.float64).reshape(len(job.asked), -1), {}


def _chemprop(job: Job) -> tuple[Floats, dict[str, Any]]:
    """No label of `asked` is given away: chemprop gets their SMILES alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, at in (("train", job.train), ("valid", job.valid)):
            columns = {"smiles": [job.smiles[i] for i in at.tolist()], "y": job.y[at].tolist()}
            pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        asked = pa.table({"smiles": [job.smiles[i] for i in job.asked.tolist()]})
        pq.write_table(asked, folder / "test.parquet")
        request = {"task": job.task, "seed": job.seed, "epochs": job.system.epochs}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        run_peer(job.python, "chemprop_train.py", [str(folder)])
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        predicted: Floats = np.load(folder / "predictions.npy", allow_pickle=False)
    return predicted.astype(np.float64), {"versions": about["versions"]}
