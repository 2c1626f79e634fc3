"""chemprop 2's fingerprints as a peer of speed: a script of benchmarks/peers in chemprop's own Python.

chemprop (https://github.com/chemprop/chemprop) asks for another RDKit than ours, so it is no dependency: its
Python is named with `--peer-python`. The processes stay between turns and do nothing until they are asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from acml_search.core.errors import ConfigError

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "peers" / "chemprop_fingerprints.py"
_SAID = 400


class ChempropPeer:
    """SMILES -> chemprop's fingerprints, in `n_processes` of `threads` torch threads each.

    Use in a `with` statement, which starts them. Raises ConfigError, with their last words, where they cannot
    be started or end before their time.
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
        """versions, width of a fingerprint, and `n_refused`: molecules that chemprop's RDKit cannot read"""

    def __enter__(self) -> ChempropPeer:
        try:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            for number, share in enumerate(self._texts):
                self._running.append(self._start(folder, number, share))
            ready = [self._line(*one) for one in self._running]
        except BaseException:
            self._stop()
            raise
        refused = sum(one["n_refused"] for one in ready)
        self.about = {**ready[0]["versions"], "width": ready[0]["width"], "n_refused": refused}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self) -> None:
        """One pass over all molecules."""
        for process, said in self._running:
            assert process.stdin is not None
            try:
                process.stdin.write("\n")
                process.stdin.flush()
            except OSError:
                self._line(process, said)  # it has ended: its last words
        for one in self._running:
            self._line(*one)

    def _start(self, folder: Path, number: int, texts: list[str]) -> tuple[subprocess.Popen[str], Path]:
        molecules, said = folder / f"{number}.smi", folder / f"{number}.err"
        molecules.write_text("\n".join(texts) + "\n", encoding="utf-8")
        threads = str(self._threads)
        limits = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        command = [str(self._python), str(SCRIPT), str(molecules), "--threads", threads, "--turns"]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stack.enter_context(said.open("w", encoding="utf-8")),
                text=True,
                env={**os.environ, **limits, "PYTHONNOUSERSITE": "1"},
            )
        except OSError as error:
            raise ConfigError(
                f"{self._python}: the peer's Python cannot be run ({error.strerror})"
            ) from error
        return process, said

    def _line(self, process: subprocess.Popen[str], said: Path) -> dict[str, Any]:
        """The next answer of a process."""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):  # libraries may print too
                found: dict[str, Any] = json.loads(line)
                return found
        last = " ".join(said.read_text(encoding="utf-8").split())[-_SAID:]
        raise ConfigError(f"{SCRIPT.name} failed in {self._python} (status {process.wait()}): {last}")

    def _stop(self) -> None:
        for process, _ in self._running:
            process.kill()
            process.communicate()  # closes the pipes
        self._running.clear()
        self._stack.close()
