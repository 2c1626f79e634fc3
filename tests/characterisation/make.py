"""Make the snapshots anew: only where a change of behaviour is wanted, and looked at.

PYTHONPATH=tests:. python -m characterisation.make [commands] [bench] [vectors] [nmr]

The printed lines and the queries of `bench` stand in the snapshots themselves.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from characterisation import public, snapshots
from characterisation.commands import BENCH, COMMANDS
from characterisation.compare import LOOSE, expected_words
from characterisation.vectors import all_vectors
from characterisation.workplace import parsed_lines, prepare, result_of

PARTS = ("commands", "bench", "vectors", "nmr")


def main(parts: list[str]) -> None:
    wanted = parts or list(PARTS)
    torch.set_num_threads(1)  # as the tests do
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "commands" in wanted or "bench" in wanted:
            prepared = prepare(folder)
        if "commands" in wanted:
            results = prepared | {command.name: result_of(command, folder) for command in COMMANDS}
            for command in COMMANDS:
                if command.kind in LOOSE:
                    one = results[command.name]
                    one["text"], one["result"] = one["result"], expected_words(command, one["result"])
            snapshots.write("commands.json.gz", [{"name": n, **one} for n, one in results.items()])
            calls = [{"name": n, "answer": public.call(n, folder)} for n in public.CALLS]
            snapshots.write("python.json.gz", calls)
        if "bench" in wanted:
            results = {command.name: result_of(command, folder) for command in BENCH}
            snapshots.write("bench.json.gz", [{"name": n, **one} for n, one in results.items()])
        if "nmr" in wanted:
            for modality in ("c_nmr", "h_nmr"):
                lines = [row["text"] for row in snapshots.read_lines(f"lines-{modality}.json.gz")]
                found = map(json.loads, parsed_lines(lines, modality, folder).splitlines())
                rows = [{"text": text, **one} for text, one in zip(lines, found, strict=True)]
                snapshots.write(f"lines-{modality}.json.gz", rows)
    if "vectors" in wanted:
        np.savez_compressed(snapshots.HERE / "vectors.npz", **all_vectors())


if __name__ == "__main__":
    with threadpool_limits(1):
        main(sys.argv[1:])
