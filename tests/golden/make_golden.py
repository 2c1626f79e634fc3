"""Makes the golden indexes beside this file: once per index format, and never again.

python tests/golden/make_golden.py NAME FACTORY   # v1-flat flat, v1-ivf and v3-ivf IVF3,SQ8
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from acml_search.index.build import build_index
from acml_search.index.directory import IndexDirectory, read_manifest, write_manifest

HERE = Path(__file__).resolve().parent


def tiny_model(directory: Path) -> None:
    import torch

    from acml_search.encoders.checkpoint import DualEncoder, save_model

    torch.manual_seed(7)
    part, projection = {"width": 16, "hidden": 16, "layers": 5}, {"hidden": 16, "d": 16}
    space = {"head": projection, "encoder": part, "projection": projection}
    hyper = {"trunk": part, "spaces": {"smiles": space}}
    save_model(directory, "tiny", DualEncoder(hyper), hyper, {"smiles": 14.0}, {"data": "none: untrained"})


def main(name: str, factory: str) -> None:
    out = HERE / name
    if out.exists():
        sys.exit(f"{out} is there; golden indexes are never made again")
    smiles = ["C" * n + tail for n in range(1, 16) for tail in ("O", "N", "C(=O)O")]
    rows = [f"{text},{row},vendor {row % 3}" for row, text in enumerate([*smiles, "OCC", "nonsense"])]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        tiny_model(Path("tiny"))
        Path("golden.csv").write_text("smiles,number,vendor\n" + "\n".join(rows) + "\n")
        build_index("golden.csv", name, model="tiny", factory=factory, workers=1, shard_size=25)
        manifest = read_manifest(Path(name))
        write_manifest(Path(name), replace(manifest, model={**manifest.model, "source": "tiny"}))
        with IndexDirectory(name) as index:
            expected = {}
            for side in ("graph", "records"):
                vectors = index.vectors("smiles", side)
                D, keys = vectors.search(vectors.stored(np.array([0, 20, 40])), 5)
                expected[side] = {"keys": keys.tolist(), "scores": np.round(D, 5).tolist()}
        (Path(name) / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
        shutil.copytree(name, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
