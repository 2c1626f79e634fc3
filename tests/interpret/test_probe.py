"""A probing from a library file and from an index: what is asked, what comes back, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from sklearn.metrics import r2_score, roc_auc_score

import acml_search
from acml_search.cli import main
from acml_search.core.errors import ConfigError
from acml_search.interpret.concepts import CONCEPTS, concept_called, label, without_constants
from acml_search.interpret.probe import (
    MORGAN,
    UNTRAINED,
    aurocs,
    comparisons,
    fit_probes,
    interval,
    probe,
    r_squared,
    representations,
    resample_counts,
    scaffold_groups,
    split_groups,
    untrained_vectors,
    write_probe,
)
from acml_search.interpret.sample import read_sample
from acml_search.properties.features import TRUNK


@pytest.fixture(scope="module")
def result(library: Path, nmr_directory: Path) -> dict:
    return probe(library, model=str(nmr_directory), n=260, command="acml-search probe")


def test_the_document_has_every_view_and_honest_intervals(result: dict) -> None:
    assert list(result["views"]) == ["smiles", "c_nmr", TRUNK, MORGAN, UNTRAINED]
    assert result["n_train"] + result["n_test"] == result["n_molecules"] == 260
    for concept in result["concepts"]:
        for one in concept["values"].values():
            low, high = one["ci95"]
            assert low <= one["value"] + 1e-9
            assert one["value"] <= high + 1e-9
        best = concept["values"][concept["best"]]["value"]
        assert best == max(one["value"] for one in concept["values"].values())
        assert concept["best_space"] in ("smiles", "c_nmr")
    # Morgan bits see a nitrile; a probe that learns nothing would be at 0.5
    nitrile = next(c for c in result["concepts"] if c["name"] == "nitrile")
    assert nitrile["values"][MORGAN]["value"] > 0.95
    left_out = {one["concept"]: one for one in result["left_out"]}
    assert left_out["nitro"]["why"] == "too rare"
    assert left_out["nitro"]["molecules"] == 0
    json.dumps(result, allow_nan=False)


def test_the_same_seed_gives_the_same(result: dict, library: Path, nmr_directory: Path) -> None:
    again = probe(library, model=str(nmr_directory), n=260, command="acml-search probe")
    assert again["concepts"] == result["concepts"]


def test_files(result: dict, tmp_path: Path) -> None:
    write_probe(result, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "probe.json",
        "probe.png",
        "probe.svg",
    ]
    assert (tmp_path / "out" / "probe.png").read_bytes().startswith(b"\x89PNG")


def test_an_index_gives_its_own_vectors(
    library: Path, nmr_directory: Path, tiny_model: Path, tmp_path: Path
) -> None:
    acml_search.build_index([library], out=tmp_path / "index", model=str(nmr_directory), workers=1, limit=250)
    sample = read_sample(tmp_path / "index", n=200, seed=1)
    assert len(sample) == 200
    assert sorted(sample.stored) == ["c_nmr", "smiles"]
    made = sample.model.encode_molecules(sample.mols)
    for name, vectors in sample.stored.items():
        assert np.abs(vectors - made[name]).max() < 1e-3
    assert [Chem.MolToSmiles(mol) for mol in sample.mols] == sample.smiles
    assert {"name", "price", "maker"} <= set(sample.molecules[0].columns)
    # vectors of other weights are not taken
    other = read_sample(tmp_path / "index", n=50, seed=1, model=str(tiny_model))
    assert other.stored == {}
    assert representations(other, seed=0)["smiles"].shape == (50, 32)


def test_a_sample_is_chosen_by_the_seed_and_has_no_molecule_twice(library: Path, nmr_directory: Path) -> None:
    first, again, other = (
        read_sample(library, n=100, seed=seed, model=str(nmr_directory)) for seed in (0, 0, 1)
    )
    assert first.smiles == again.smiles != other.smiles
    assert len({one.inchikey14 for one in first.molecules}) == len(first) == 100


def test_too_few_molecules_are_refused(tmp_path: Path, nmr_directory: Path) -> None:
    path = tmp_path / "few.smi"
    path.write_text("CCO\nCCN\nCCC\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="gave 3 molecules; probes need at least 200"):
        probe(path, model=str(nmr_directory))


def test_concepts_by_hand() -> None:
    mols = [Chem.MolFromSmiles(s) for s in ("CC(=O)Oc1ccccc1C(=O)O", "CC(O)CN", "C[N+](C)(C)C")]
    values = {
        concept.name: [concept.of(mol) for mol in mols]
        for concept in CONCEPTS
        if concept.name
        in ("rings", "ester", "charged", "stereocentres", "amine, primary", "aromatic fraction")
    }
    assert values == {
        "rings": [1, 0, 0],
        "ester": [1, 0, 0],
        "charged": [0, 0, 1],
        "stereocentres": [0, 1, 0],
        "amine, primary": [0, 1, 0],
        "aromatic fraction": [pytest.approx(6 / 13), 0, 0],
    }
    assert concept_called("FR_KETONE") == concept_called("ketone") is not None
    assert concept_called("happiness") is None


def test_what_nearly_all_share_is_left_out() -> None:
    names = [concept_called(name) for name in ("ketone", "ester", "benzene ring", "rings")]
    values = np.zeros((100, 4))
    values[:19, 0] = values[:20, 1] = values[:81, 2] = 1
    values[:50, 3] = 2
    labels = without_constants([c for c in names if c], values)
    assert [c.name for c in labels.concepts] == ["ester", "rings"]
    assert [one["why"] for one in labels.left_out] == ["too rare", "too common"]
    assert label([Chem.MolFromSmiles("CC")]).concepts == []


def test_molecules_without_a_ring_share_no_scaffold() -> None:
    groups = scaffold_groups([Chem.MolFromSmiles(s) for s in ("Cc1ccccc1", "CCO", "CCC", "Clc1ccccc1")])
    assert groups[0] == groups[3]
    assert len(set(groups)) == 3


def test_the_untrained_trunk_depends_on_the_seed_alone(nmr_model) -> None:
    import torch

    graphs = [nmr_model.featurise(Chem.MolFromSmiles(s)) for s in ("CCO", "c1ccccc1", "CCN")]
    before = torch.random.get_rng_state()
    first, again, other = (untrained_vectors(nmr_model, graphs, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_comparisons_name_who_is_ahead() -> None:
    concepts = [concept for name in ("ketone", "rings") if (concept := concept_called(name))]
    spread = np.concatenate([[0], np.linspace(-0.01, 0.01, 50)])
    values = {"trunk": [0.9, 0.5], "Morgan": [0.7, 0.8]}
    lines = comparisons(
        concepts, {k: [v + spread for v in of] for k, of in values.items()}, "trunk", ["Morgan"]
    )
    assert lines[0] == "Mean R2 over 1 numbers: Morgan 0.800, trunk 0.500."
    assert lines[1] == "Mean AUROC over 1 groups: trunk 0.900, Morgan 0.700."
    assert "ahead of Morgan in 1 of 2 concepts and behind in 1: rings" in lines[2]


def test_a_probe_learns_what_is_there_and_shrinks_on_noise() -> None:
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(400, 15)) @ rng.normal(size=(15, 15))).astype(np.float32)
    y = (x - x.mean(axis=0)) / x.std(axis=0) @ rng.normal(size=(15, 4)) / 2 + rng.normal(size=(400, 4))
    y[:, 2:] = y[:, 2:] > 0.5
    y[:, 1] = rng.normal(size=400)  # has nothing to do with x
    probes = fit_probes(x[:300], y[:300], np.array([False, False, True, True]), np.arange(300), seed=0)
    predicted = probes(x[300:])
    assert r2_score(y[300:, 0], predicted[:, 0]) > 0.3
    assert r2_score(y[300:, 1], predicted[:, 1]) > -0.1
    assert probes.penalties[1] == max(probes.penalties)
    assert roc_auc_score(y[300:, 2], predicted[:, 2]) > 0.7


def test_groups_stay_whole_and_parts_get_their_share() -> None:
    groups = np.random.default_rng(0).integers(0, 60, 500)
    part = split_groups(groups, [0.75, 0.25], seed=3)
    assert all(len(set(part[groups == g])) == 1 for g in range(60))
    assert 0.7 < (part == 0).mean() < 0.8
    assert np.array_equal(part, split_groups(groups, [0.75, 0.25], seed=3))


def test_metrics_agree_with_scikit_learn_in_every_resample() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(60) < 0.3).astype(float)
    score = (rng.normal(size=60) + y).round(1)  # with ties
    number = rng.normal(size=60) + 100
    counts = resample_counts(60, seed=0, number=20)
    assert (counts[0] == 1).all()
    assert (counts.sum(axis=1) == 60).all()
    found = zip(counts, aurocs(y, score, counts), r_squared(number, score, counts), strict=True)
    for row, auroc, r2 in found:
        assert auroc == pytest.approx(roc_auc_score(y, score, sample_weight=row), abs=1e-6)
        assert r2 == pytest.approx(r2_score(number, score, sample_weight=row), rel=1e-9)
    assert np.isnan(aurocs(np.zeros(60), score, counts)).all()
    assert np.isnan(r_squared(np.ones(60), score, counts)).all()
    assert np.isnan(interval(np.array([np.nan]))).all()
    assert interval(np.array([1.0, np.nan, 1.0])) == (1.0, 1.0)


def test_the_command(library: Path, nmr_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["probe", str(library), "--model", str(nmr_directory), "--n", "200", "--json"])
    assert end.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "probe"
    assert document["source"] == str(library)
    with pytest.raises(SystemExit) as end:
        main(["probe", str(library), "--model", str(nmr_directory), "--n", "200"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(concept["name"] in text for concept in document["concepts"])
    assert document["reading"][-1] in text
