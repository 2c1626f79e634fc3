"""Is this checkout slower than another? `python -m benchmarks.compare OLD NEW [--out FILE.json]`.

Both checkouts run in turns, in processes of their own with one torch thread, by the same interpreter. The
table has the medians over rounds and their ratio, new / old: below 1 the new one is faster, or takes less
memory. Molecules come from RDKit's own data, or a cold query is asked of the index that `--cold` names.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.shared import PROGRAM, finish

SPECTRA = [
    "167.6, 153.2, 131.1, 120.9, 115.0, 23.8",
    "170.2, 169.7, 151.3, 134.8, 132.5, 126.2, 124.0, 122.2, 20.9",
    "155.4, 151.7, 148.6, 141.6, 107.6, 33.6, 29.7, 27.9",
    "181.0, 140.9, 136.9, 129.4, 127.3, 45.0, 44.9, 30.1, 22.4, 18.0",
]
# what one turn measures, in a checkout's own process; prints JSON: seconds by name
TURN = """
import contextlib, io, json, statistics, sys, time
import torch
torch.set_num_threads(1)
import acml_search
from rdkit import RDConfig
spectra, index, n = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
lines = open(RDConfig.RDDataDir + "/NCI/first_5K.smi").read().splitlines()
smiles = [line.split()[0] for line in lines[:n]]
seconds = {}
def timed(name, call, times=1):
    laps = []
    for _ in range(times):
        start = time.perf_counter(); call(); laps.append(time.perf_counter() - start)
    seconds[name] = statistics.median(laps)
acml_search.encode(smiles[:64])
timed("embed", lambda: acml_search.encode(smiles))
with acml_search.open_index(index) as opened:
    for name, rerank, times in (("query, warm", False, 5), ("query, warm, re-ranked", True, 3)):
        ask = lambda: [opened.identify({"c_nmr": one}, k=10, rerank=rerank) for one in spectra]
        ask()
        timed(name, ask, times)
    timed("molecule query, warm", lambda: [opened.search(smiles=one, k=10) for one in smiles[:20]], 3)
print(json.dumps(seconds))
"""
# in a process of its own, whose one child is the program: processor and wall seconds, and peak memory
MEASURE = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
wall = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
mb = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6  # macOS counts bytes
names = ("cold query, processor s", "cold query, wall s", "cold query, peak memory MB")
print(json.dumps(dict(zip(names, (used.ru_utime + used.ru_stime, wall, mb)))))
"""


def run(checkout: Path, *arguments: str) -> str:
    """Stdout of Python with `arguments`, with the package of `checkout`."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, cwd=checkout, check=True, capture_output=True, text=True)
    return done.stdout


def compare(
    old: Annotated[Path, typer.Argument(help="Checkout to compare with.")],
    new: Annotated[Path, typer.Argument(help="Checkout that is judged.")],
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each checkout.")] = 3,
    molecules: Annotated[int, typer.Option(min=100, help="Molecules to embed and index.")] = 3_000,
    cold: Annotated[Path | None, typer.Option(help="Index of cold queries. Default: the one built.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Time two checkouts in turns: embed, build, query cold and warm, re-rank."""
    from rdkit import RDConfig

    library = f"{RDConfig.RDDataDir}/NCI/first_5K.smi"
    laps: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for name, checkout in (("old", old.resolve()), ("new", new.resolve())):
                index = f"{folder}/{name}-{turn}"
                started = time.perf_counter()
                run(
                    checkout, "-c", PROGRAM, "build-index", library, "--limit", str(molecules),
                    "--out", index, "--workers", "1",
                )  # fmt: skip
                measured = {"build-index": time.perf_counter() - started}
                query = ["query", str(cold.resolve() if cold else index), "--c-nmr", SPECTRA[0], "--json"]
                asked = run(checkout, "-c", MEASURE, sys.executable, "-c", PROGRAM, *query)
                measured |= json.loads(asked)
                printed = run(checkout, "-c", TURN, json.dumps(SPECTRA), index, str(molecules))
                for stage, value in (measured | json.loads(printed)).items():
                    laps.setdefault(stage, {"old": [], "new": []})[name].append(value)
    rows = {
        stage: {
            "old": round(statistics.median(both["old"]), 4),
            "new": round(statistics.median(both["new"]), 4),
            "ratio": round(statistics.median(both["new"]) / statistics.median(both["old"]), 3),
        }
        for stage, both in laps.items()
    }
    typer.echo(f"{'':<28}{'old':>10}{'new':>10}{'new / old':>11}")
    for stage, row in rows.items():
        typer.echo(f"{stage:<28}{row['old']:>10}{row['new']:>10}{row['ratio']:>11}")
    finish("compare", {"rounds": rounds, "molecules": molecules, "stages": rows}, out, show=False)


if __name__ == "__main__":
    typer.run(compare)
