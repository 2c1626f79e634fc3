"""Times chemprop 2's fingerprints of molecules; run by chemprop's own Python (see README.md beside this).

    python chemprop_fingerprints.py [FILE] [--threads N] [--turns]

FILE: one SMILES a line; without it, or for `-`, standard input. Printed, as one line of JSON: `{"n",
"n_refused", "seconds", "width", "threads", "versions"}`. With `--turns` (which needs FILE) every line that
comes in on standard input asks for one more timed pass over the molecules, answered by such a line; the end
of input ends the program. So a benchmark can time it in turns with others without starting it anew.

A fingerprint is what chemprop documents: its message passing, mean over atoms, and batch norm, at default
size (300), with its own featuriser, data set and loader, 64 molecules a batch. The weights are random: the
time does not depend on them. The first, untimed pass warms imports and caches.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import chemprop
import rdkit
import torch
from chemprop import data, models, nn
from rdkit import Chem, RDLogger

BATCH = 64
WARM = 256


def network() -> models.MPNN:
    """chemprop's network at its default size."""
    torch.manual_seed(0)
    passing, mean = nn.BondMessagePassing(), nn.MeanAggregation()
    return models.MPNN(passing, mean, nn.RegressionFFN(input_dim=passing.output_dim), batch_norm=True).eval()


def fingerprints(model: models.MPNN, texts: list[str]) -> torch.Tensor:
    """Texts to fingerprints (n, 300) float32, as `chemprop fingerprint` makes them of a file's rows."""
    points = [data.MoleculeDatapoint.from_smi(text) for text in texts]
    loader = data.build_dataloader(data.MoleculeDataset(points), batch_size=BATCH, shuffle=False)
    with torch.inference_mode():
        return torch.cat([model.fingerprint(batch.bmg, batch.V_d, batch.X_d) for batch in loader])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("file", nargs="?", default="-")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--turns", action="store_true")
    asked = arguments.parse_args()
    if asked.turns and asked.file == "-":
        arguments.error("--turns takes the molecules from a file")
    torch.set_num_threads(asked.threads)
    RDLogger.DisableLog("rdApp.*")
    source = sys.stdin.read() if asked.file == "-" else Path(asked.file).read_text(encoding="utf-8")
    texts = [line.strip() for line in source.splitlines() if line.strip()]
    readable = [text for text in texts if Chem.MolFromSmiles(text) is not None]
    if not readable:
        sys.exit("there is no molecule that can be read")
    model = network()
    width = fingerprints(model, readable[:WARM]).shape[1]
    versions = {"chemprop": chemprop.__version__, "torch": torch.__version__, "rdkit": rdkit.__version__}
    told = {
        "n": len(readable),
        "n_refused": len(texts) - len(readable),
        "width": width,
        "threads": asked.threads,
        "versions": versions,
    }
    if asked.turns:
        print(json.dumps(told), flush=True)  # ready
    for _ in sys.stdin if asked.turns else [None]:
        began = time.perf_counter()
        found = fingerprints(model, readable)
        seconds = time.perf_counter() - began
        assert found.shape == (len(readable), width)
        print(json.dumps({**told, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
