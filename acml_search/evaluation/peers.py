"""Peers of speed: a plain PyG pipeline, and chemprop in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError

BATCH = 64
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "peers" / "chemprop_fingerprints.py"
MAX_STDERR = 400


class PygPipeline:
    """SMILES -> vectors as most projects do it: PyG's `from_smiles`, its DataLoader, then the network.

    The network is the model's own trunk and heads at their own size, folded and batched as ours, with
    embedding tables for PyG's atom and bond columns and random weights (speed does not depend on their
    values): only the way from text to tensors differs. `hyper`: the hyper-parameters in a model's card.
    """

    def __init__(self, hyper: dict[str, Any]) -> None:
        from torch_geometric.utils.smiles import e_map, x_map

        from acml_search.networks import GraphNet, Projection

        self._sizes = [len(values) for values in e_map.values()]
        n_links = self._sizes[0] * self._sizes[1] * self._sizes[2]
        self._trunk = GraphNet([len(values) for values in x_map.values()], n_links, **hyper["trunk"]).eval()
        self._trunk.fold()
        heads = [space["head"] for space in hyper["spaces"].values()]  # each a plain projection here
        self._heads = [
            Projection(self._trunk.width, head.get("hidden", head["d"]), head["d"]).eval() for head in heads
        ]

    def embed(self, texts: list[str]) -> list[Any]:
        """A float32 array (n, d) for each space."""
        import torch
        from torch_geometric.loader import DataLoader
        from torch_geometric.utils import from_smiles

        graphs = [from_smiles(text) for text in texts]
        found: list[list[Any]] = [[] for _ in self._heads]
        with torch.inference_mode():
            for batch in DataLoader(graphs, BATCH):
                pooled = self._trunk(self._batch(batch))
                for vectors, head in zip(found, self._heads, strict=True):
                    vectors.append(head(pooled))
        return [torch.cat(vectors).numpy() for vectors in found]

    def _batch(self, batch: Any) -> Any:
        from acml_search.networks import TensorBatch

        _, stereo, conjugated = self._sizes
        kind = batch.edge_attr
        return TensorBatch(
            x=batch.x,
            edge_index=batch.edge_index,
            edge_attr=(kind[:, 0] * stereo + kind[:, 1]) * conjugated + kind[:, 2],
            batch=batch.batch,
            ptr=batch.ptr,
        )


class ChempropPeer:
    """SMILES -> the fingerprints of chemprop 2 (https://github.com/chemprop/chemprop), in `n_processes` of
    `threads` torch threads each.

    chemprop needs another RDKit than ours, so it is no dependency: a script of benchmarks/peers runs in a
    Python of its own. The processes live as long as the `with` statement and wait between turns. Raises
    ConfigError, with the end of their stderr, where they cannot be started or end too early.

    `about`: versions, width of a fingerprint, and `n_refused`, molecules that chemprop's RDKit cannot read.
    """

    def __init__(self, python: Path, texts: Sequence[str], *, n_processes: int, threads: int) -> None:
        if not SCRIPT.exists():
            raise ConfigError(f"{SCRIPT}: the script is not here; run from a checkout of the project")
        self._python, self._threads = python, threads
        shares = [list(texts[i::n_processes]) for i in range(n_processes)]
        self._texts = [share for share in shares if share]
        self._running: list[tuple[subprocess.Popen[str], Path]] = []
        self._stack = ExitStack()
        self.about: dict[str, Any] = {}

    def __enter__(self) -> ChempropPeer:
        try:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            for number, share in enumerate(self._texts):
                self._running.append(self._start(folder, number, share))
            ready = [self._answer(*one) for one in self._running]
        except BaseException:
            self._stop()
            raise
        refused = sum(one["n_refused"] for one in ready)
        self.about = {**ready[0]["versions"], "width": ready[0]["width"], "n_refused": refused}
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self) -> None:
        """One pass over all molecules."""
        for process, stderr in self._running:
            assert process.stdin is not None
            try:
                process.stdin.write("\n")
                process.stdin.flush()
            except OSError:
                self._answer(process, stderr)  # it has ended: raises
        for one in self._running:
            self._answer(*one)

    def _start(self, folder: Path, number: int, texts: list[str]) -> tuple[subprocess.Popen[str], Path]:
        molecules, stderr = folder / f"{number}.smi", folder / f"{number}.err"
        molecules.write_text("\n".join(texts) + "\n", encoding="utf-8")
        threads = str(self._threads)
        limits = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        command = [str(self._python), str(SCRIPT), str(molecules), "--threads", threads, "--turns"]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stack.enter_context(stderr.open("w", encoding="utf-8")),
                text=True,
                env={**os.environ, **limits, "PYTHONNOUSERSITE": "1"},
            )
        except OSError as error:
            raise ConfigError(
                f"{self._python}: the peer's Python cannot be run ({error.strerror})"
            ) from error
        return process, stderr

    def _answer(self, process: subprocess.Popen[str], stderr: Path) -> dict[str, Any]:
        """The next JSON line of a process; libraries may print too."""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        last = " ".join(stderr.read_text(encoding="utf-8").split())[-MAX_STDERR:]
        raise ConfigError(f"{SCRIPT.name} failed in {self._python} (status {process.wait()}): {last}")

    def _stop(self) -> None:
        for process, _ in self._running:
            process.kill()
            process.communicate()  # closes the pipes
        self._running.clear()
        self._stack.close()
