"""The weights that are shipped do what they are shipped for. A guard, not a benchmark: the pool is small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.encoders.card import MEASUREMENTS, list_models, read_card
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.library.stream import default_library, open_library

RESEARCH = Path(__file__).parents[2] / "weights" / "acml-research" / "acml_research"


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
        "licence",
        "data_notice",
    ):
        assert shipped.card.data[key], key
    for key in MEASUREMENTS:
        assert shipped.card.measurements[key], key
        assert key not in shipped.card.data


@pytest.mark.parametrize(
    ("modality", "smiles", "shifts"),
    [
        ("c_nmr", "CC(=O)Nc1ccc(O)cc1", [167.6, 153.1, 131.0, 120.8, 115.0, 23.7]),
        ("c_nmr", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", [155.4, 151.7, 148.7, 141.3, 107.6, 33.6, 29.7, 27.9]),
        ("h_nmr", "CC(=O)Nc1ccc(O)cc1", [9.66, 9.14, 7.34, 6.67, 1.98]),
    ],
)
def test_a_spectrum_from_the_textbook_finds_its_molecule_among_a_thousand(
    shipped: Model, modality: str, smiles: str, shifts: list[float]
) -> None:
    rows = next(open_library(default_library()).batches(1_000))
    mols = [parse(row.text)[0] for row in rows]
    graphs = shipped.encode_molecules([parse(smiles)[0], *mols])[modality]
    scores = graphs @ shipped.encode_records(modality, [{"shifts": shifts}])[0]
    assert (scores > scores[0]).sum() < 5


def test_pictures_find_their_molecules(shipped: Model) -> None:
    rng = np.random.default_rng(7)
    rows = next(open_library(default_library()).batches(40))
    mols = [parse(row.text)[0] for row in rows]
    pictures = [modalities.get("image").derive(Chem.MolToSmiles(mol), rng) for mol in mols]
    scores = shipped.encode_records("image", pictures) @ shipped.encode_molecules(mols)["image"].T
    assert (scores.argmax(axis=1) == np.arange(len(mols))).mean() > 0.6


def test_all_weights_together_stay_small() -> None:
    assert {card.name for card in list_models()} >= {"acml-base"}
    cards = read_card(), read_card(RESEARCH)
    files = [path for card in cards for path in (card.weights, *card.later_weights)]
    assert sum(path.stat().st_size for path in files) < 60e6


def test_plain_pictures_are_read_to_the_letter(shipped: Model) -> None:
    image, reader = modalities.get("image"), shipped.network.tower("image").encoder
    texts = [
        "CC(=O)Nc1ccc(O)cc1",
        "CN1C=NC2=C1C(=O)N(C)C(=O)N2C",
        "CC(=O)Oc1ccccc1C(=O)O",
        "COc1cc(C=O)ccc1O",
        "Clc1ccc(Br)cc1F",
        "N#Cc1ccccc1S(=O)(=O)N",
        "CC(C)CC(N)C(=O)O",
        "C1CCC2CCCCC2C1",
        "OCC1OC(O)C(O)C(O)C1O",
        "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    ]
    read = [reader.read(image.read(image.derive(text))).smiles for text in texts]  # type: ignore[operator]
    right = [
        Chem.CanonSmiles(found) == Chem.CanonSmiles(text) for found, text in zip(read, texts, strict=True)
    ]
    assert sum(right) >= 9, list(zip(texts, read, strict=True))
