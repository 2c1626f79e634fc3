"""What storing vectors as float16 costs: cosines and the ten nearest, against the model's own float32.

    python benchmarks/half_precision.py [--n 5000] [--seed 0]

Molecules: a seeded choice of RDKit's own library. Queries: the same molecules' SMILES records, spelled in a
random order, searched among the molecules' graph vectors, all of them (no index). Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from rdkit import Chem

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule
from acml_search.encoders.checkpoint import load_model
from acml_search.library.read import default_library, open_library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    texts = [row.text for batch in open_library(default_library()).batches(1_000) for row in batch]
    molecules, records = [], []
    smiles = modalities.get("smiles")
    for i in rng.permutation(len(texts)):
        try:
            mol, _ = parse(texts[i])
        except InvalidMolecule:  # build-index lists these; here they only leave the sample
            continue
        molecules.append(mol)
        records.append(smiles.derive(Chem.MolToSmiles(mol), rng))
        if len(molecules) == options.n:
            break
    model = load_model()
    xb = model.encode_molecules(molecules)["smiles"]
    xq = model.encode_records("smiles", records)
    exact = xq @ xb.T
    half = xq.astype(np.float16).astype(np.float32) @ xb.astype(np.float16).astype(np.float32).T
    nearest = [np.argsort(-scores, axis=1, kind="stable")[:, :10] for scores in (exact, half)]
    kept = [len(set(a) & set(b)) / 10 for a, b in zip(*nearest, strict=True)]
    first = [float((found[:, 0] == np.arange(len(records))).mean()) for found in nearest]
    result = {
        "molecules": len(molecules),
        "queries": len(records),
        "model": model.card.name,
        "seed": options.seed,
        "largest_cosine_difference": float(np.abs(exact - half).max()),
        "mean_cosine_difference": float(np.abs(exact - half).mean()),
        "ten_nearest_kept": float(np.mean(kept)),
        "first_is_the_molecule": {"float32": first[0], "float16": first[1]},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
