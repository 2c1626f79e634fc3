"""Predicted peaks that are kept beside the vectors: as a re-ranker predicts them of each molecule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acml_search.chem import molecule
from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.evaluation import embedding
from acml_search.evaluation.embedding import MoleculeVectors, graph_vectors, predicting
from acml_search.evaluation.pool import Structure
from acml_search.evaluation.workers import model_workers
from acml_search.modalities.base import reranker
from acml_search.nmr.predicted import DTYPES, PeakLists

SMILES = ["CCO", "O", "CC(=O)Nc1ccc(O)cc1", "c1ccccc1", "OCC(O)CO"]


@pytest.fixture(scope="module")
def model(two_spaces: Path) -> Model:
    return load_model(two_spaces)


def kept(directory: Path, cache: Path, peaks: tuple[str, ...] = ("c_nmr",)) -> MoleculeVectors:
    files = [[Structure(one, "", "", 0.0) for one in part] for part in (SMILES[:3], SMILES[3:])]
    with model_workers(1, model=str(directory)) as workers:
        return graph_vectors(files, read_card(directory), workers, cache, peaks=peaks)


def test_kept_peaks_are_those_a_re_ranker_prepares(model: Model, two_spaces: Path, tmp_path: Path) -> None:
    asked = [SMILES[i] for i in (4, 1, 2, 2, 0)]
    lists = kept(two_spaces, tmp_path).peaks("c_nmr", asked)
    one: Any = reranker("c_nmr")
    fresh = one.prepare(model, [molecule.parse(text)[0] for text in asked])
    assert lists.sizes.tolist() == [len(groups.position) for groups in fresh]
    assert lists.sizes[1] == 0  # water
    for mine, groups in zip(one.unpack(lists), fresh, strict=True):
        for name in ("position", "spread", "present", "attached"):
            np.testing.assert_allclose(getattr(mine, name), getattr(groups, name), rtol=1e-6)
    observed = one.observed([60.0, 20.0], None)
    scores = one.scores(model, observed, fresh)
    np.testing.assert_allclose(one.scores(model, observed, one.unpack(lists)), scores, atol=1e-4)


def test_one_pass_gives_the_vectors_that_two_would(model: Model) -> None:
    graphs = [model.featurise(molecule.parse(text)[0]) for text in SMILES]
    found = model.encode_and_predict(graphs, ("smiles", "c_nmr"), ("c_nmr",))
    for name, vectors in model.encode_graphs(graphs).items():
        np.testing.assert_array_equal(found.vectors[name], vectors)
    alone = model.encode_and_predict(graphs, (), ("c_nmr",))
    assert not alone.vectors
    np.testing.assert_array_equal(alone.peaks["c_nmr"][2].position, found.peaks["c_nmr"][2].position)
    with pytest.raises(ConfigError, match=r"smiles .* predicts no peaks"):
        model.encode_and_predict(graphs, (), ("smiles",))


def test_only_what_is_missing_is_predicted(
    two_spaces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    embed = embedding.embed_graphs
    monkeypatch.setattr(embedding, "embed_graphs", lambda task: asked.append(task) or embed(task))
    assert not kept(two_spaces, tmp_path, ()).has_peaks("c_nmr")
    first = kept(two_spaces, tmp_path)
    assert [(task.spaces, task.peaks) for task in asked[2:]] == [((), ("c_nmr",))] * 2
    again = kept(two_spaces, tmp_path)
    assert len(asked) == 4
    np.testing.assert_array_equal(again.peaks("c_nmr", SMILES).peaks, first.peaks("c_nmr", SMILES).peaks)
    next((tmp_path / "peaks").glob("*.npy")).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="remove the file"):
        kept(two_spaces, tmp_path)


def test_a_refused_molecule_has_no_peaks(two_spaces: Path, tmp_path: Path) -> None:
    with model_workers(1, model=str(two_spaces)) as workers:
        file = [Structure(text, "", "", 0.0) for text in ("CCO", "not a molecule", "CC")]
        found = graph_vectors([file], read_card(two_spaces), workers, tmp_path, peaks=["c_nmr"])
    assert found.peaks("c_nmr", ["CC", "not a molecule", "CCO"]).sizes.tolist() == [1, 0, 2]


def test_which_spaces_predict_peaks(two_spaces: Path) -> None:
    assert predicting(read_card(two_spaces), ["smiles", "c_nmr"]) == ["c_nmr"]


def test_lists_from_several_sources_come_in_the_order_asked() -> None:
    def lists(*sizes: int, start: int) -> PeakLists:
        peaks = np.zeros(sum(sizes), DTYPES["H"])
        peaks["shift"] = start + np.arange(sum(sizes))
        return PeakLists(peaks, np.cumsum(sizes))

    a, b = lists(2, 0, 1, start=0), lists(1, 3, start=10)
    found = PeakLists.join([a, b]).take(np.array([4, 2, 0, 3, 1]))
    assert found.sizes.tolist() == [3, 1, 2, 1, 0]
    assert found.peaks["shift"].tolist() == [11, 12, 13, 2, 0, 1, 10]


def test_vectors_are_found_by_smiles() -> None:
    first = {"x": np.array([[1.0], [2.0]], np.float32)}
    second = {"x": np.array([[3.0], [9.0]], np.float32)}
    vectors = MoleculeVectors([(["A", "B"], first), (["C", "A"], second)])
    assert vectors.take("x", ["C", "A", "B", "A"]).tolist() == [[3.0], [1.0], [2.0], [1.0]]
