"""The weights that are shipped do what they are shipped for. A guard, not a benchmark: the pool is small."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.encoders.model import Model, load_model
from acml_search.library.read import default_library, open_library


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


def test_a_respelled_molecule_is_found_among_a_thousand(shipped: Model) -> None:
    smiles = modalities.get("smiles")
    rng = np.random.default_rng(7)
    rows = next(open_library(default_library()).batches(1_000))
    mols = {Chem.MolToInchiKey(mol)[:14]: mol for mol, _ in (parse(row.text) for row in rows)}
    records = [smiles.derive(Chem.MolToSmiles(mol), rng) for mol in mols.values()]
    graphs = shipped.encode_molecules(list(mols.values()))["smiles"]
    scores = graphs @ shipped.encode_records("smiles", records).T
    truth = np.arange(len(scores))
    for directed in (scores, scores.T):
        others = directed.copy()
        others[truth, truth] = -1
        assert (directed[truth, truth] > others.max(axis=1)).mean() >= 0.99


def test_likeness_reads_like_chemistry(shipped: Model) -> None:
    """Aspirin is nearer to methyl salicylate than to cholesterol or hexane."""
    texts = [
        "CC(=O)Oc1ccccc1C(=O)O",
        "COC(=O)c1ccccc1O",
        "CC(C)CCCC(C)C1CCC2C1(CCC1C2CC=C2C1(CCC(O)C2)C)C",
        "CCCCCC",
    ]
    vectors = shipped.encode_molecules([parse(text)[0] for text in texts])["smiles"]
    near, steroid, alkane = vectors[1:] @ vectors[0]
    assert near > steroid
    assert near > alkane


def test_the_card_says_where_it_comes_from(shipped: Model) -> None:
    for key in (
        "training",
        "molecules",
        "split",
        "seed",
        "commit",
        "log",
        "licence",
        "data_notice",
        "metrics",
    ):
        assert shipped.card.data[key], key
