"""Mass spectra as evidence: the re-ranker over a model's directory, and which peaks speak for a hit."""

from __future__ import annotations

import numpy as np
import pytest
from untrained import PART, flat, save_untrained

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import CheckpointError, ConfigError
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.modalities.base import reranked
from acml_search.modalities.ms import MassReranker
from acml_search.ms.fragmenter import write_model
from acml_search.search.pipeline import MAX_OCCLUDED, occlusions

SMILES = ["CCNC(=O)c1ccccc1", "CC(=O)Nc1ccccc1C", "O=CNCCc1ccccc1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    directory = tmp_path_factory.mktemp("models") / "masses"
    save_untrained(directory, {"lc_ms": (PART, 10.0)}, seed=7)
    learned = flat(prior=np.random.default_rng(0).normal(size=64))
    write_model(directory / "lc_ms_rerank.json", learned)
    return load_model(directory)


def spectrum(mzs: list[float]) -> object:
    record = {"mzs": mzs, "intensities": np.arange(1, len(mzs) + 1).tolist(), "ion_mode": "+"}
    return modalities.get("lc_ms").read(record)


def test_both_kinds_of_mass_spectra_are_reranked() -> None:
    assert {"lc_ms", "gc_ms"} <= set(reranked())


def test_evidence_names_atoms_and_formulas(model: Model) -> None:
    mols = [parse(smiles)[0] for smiles in SMILES]
    found = MassReranker("lc_ms").evidence(model, spectrum([105.0335, 111.1111]), mols)
    (match,) = found[0].matched
    assert match.label == "C7H5O+ (-1 H)"
    assert sorted(match.atoms) == [3, 4, 5, 6, 7, 8, 9, 10]
    assert match.error == pytest.approx(0, abs=5)
    assert match.predicted == pytest.approx(105.0335, abs=1e-3)
    assert found[0].unmatched_observed == [pytest.approx(111.1111, abs=1e-4)]
    assert found[0].to_dict()["matched"][0]["label"] == match.label


def test_scores_are_those_of_the_evidence(model: Model) -> None:
    mols = [parse(smiles)[0] for smiles in SMILES]
    reranker, item = MassReranker("lc_ms"), spectrum([77.0386, 105.0335, 122.0964])
    told = [one.score for one in reranker.evidence(model, item, mols)]
    np.testing.assert_allclose(reranker.scores(model, item, mols), told)


def test_a_model_without_the_weights_is_not_reranked(model: Model) -> None:
    assert MassReranker("lc_ms").available(model)
    assert not MassReranker("gc_ms").available(model)
    with pytest.raises(CheckpointError, match="cannot be read"):
        MassReranker("gc_ms").evidence(model, spectrum([50.0, 60.0]), [parse("CCO")[0]])


def test_occlusion_is_the_logit_lost_with_a_peak(model: Model) -> None:
    item = spectrum([50.01, 77.04, 105.03, 122.1])
    vectors = model.encode_molecules([parse(smiles)[0] for smiles in SMILES])["lc_ms"]
    found = occlusions(model, "lc_ms", item, vectors[1][None])[0]  # type: ignore[arg-type]
    assert len(found) == 4
    assert [abs(one[1]) for one in found] == sorted((abs(one[1]) for one in found), reverse=True)
    worth = next(one for one in found if one[0] == pytest.approx(105.03, abs=1e-3))
    lighter = item._replace(  # type: ignore[attr-defined]
        mzs=item.mzs[[0, 1, 3]],  # type: ignore[attr-defined]
        intensities=item.intensities[[0, 1, 3]],  # type: ignore[attr-defined]
    )
    whole, less = model.encode_items("lc_ms", [item, lighter]) @ vectors[1]
    assert worth[1] == pytest.approx(10.0 * (whole - less), abs=1e-3)


def test_occlusion_of_several_hits_is_that_of_each(model: Model) -> None:
    item = spectrum(np.linspace(50, 200, 30).tolist())
    vectors = model.encode_molecules([parse(smiles)[0] for smiles in SMILES])["lc_ms"]
    together = occlusions(model, "lc_ms", item, vectors)  # type: ignore[arg-type]
    assert [len(one) for one in together] == [MAX_OCCLUDED] * 3
    alone = occlusions(model, "lc_ms", item, vectors[2][None])[0]  # type: ignore[arg-type]
    assert {round(w[0], 3): w[1] for w in together[2]} == pytest.approx(
        {round(w[0], 3): w[1] for w in alone}, abs=1e-4
    )
    assert min(w[0] for w in alone) > 95  # the ten weakest are not asked


def test_one_peak_cannot_be_left_out(model: Model) -> None:
    vector = model.encode_molecules([parse("CCO")[0]])["lc_ms"][0]
    assert occlusions(model, "lc_ms", spectrum([105.03]), vector[None])[0] == []  # type: ignore[arg-type]


def test_a_space_the_model_lacks_is_named(model: Model) -> None:
    item = modalities.get("gc_ms").read({"mzs": [50, 60], "intensities": [1, 2]})
    with pytest.raises(ConfigError, match="gc_ms"):
        occlusions(model, "gc_ms", item, np.zeros(32, np.float32)[None])[0]
