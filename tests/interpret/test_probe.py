"""A probing from a library file and from an index: what is asked, what comes back, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

import acml_search
from acml_search.cli import main
from acml_search.core.errors import ConfigError
from acml_search.interpret import probe_table
from acml_search.interpret.concepts import CONCEPTS, by_name, keep_asked, label
from acml_search.interpret.probe import ProbeOptions, probe
from acml_search.interpret.reading import Check, check, read
from acml_search.interpret.sample import read_sample
from acml_search.interpret.views import MORGAN, TRUNK, UNTRAINED, scaffolds, untrained, views


@pytest.fixture(scope="module")
def result(library: Path, nmr_directory: Path) -> dict:
    return probe(ProbeOptions(library, str(nmr_directory), n=260, command="acml-search probe"))


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
    again = probe(ProbeOptions(library, str(nmr_directory), n=260, command="acml-search probe"))
    assert again["concepts"] == result["concepts"]


def test_text_and_files(result: dict, tmp_path: Path) -> None:
    text = probe_table.text(result)
    assert all(concept["name"] in text for concept in result["concepts"])
    probe_table.write(result, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "probe.json",
        "probe.md",
        "probe.png",
        "probe.svg",
    ]
    page = (tmp_path / "out" / "probe.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == len(result["concepts"]) + 1
    assert len({row.count("|") for row in rows}) == 1
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
    assert views(other, seed=0)["smiles"].shape == (50, 32)


def test_a_sample_is_chosen_by_the_seed_and_has_no_molecule_twice(library: Path, nmr_directory: Path) -> None:
    first, again, other = (
        read_sample(library, n=100, seed=seed, model=str(nmr_directory)) for seed in (0, 0, 1)
    )
    assert first.smiles == again.smiles != other.smiles
    assert len({one.block for one in first.molecules}) == len(first) == 100


def test_too_few_molecules_are_refused(tmp_path: Path, nmr_directory: Path) -> None:
    path = tmp_path / "few.smi"
    path.write_text("CCO\nCCN\nCCC\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="gave 3 molecules; probes need at least 200"):
        probe(ProbeOptions(path, str(nmr_directory)))


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
    assert by_name("FR_KETONE") == by_name("ketone") is not None
    assert by_name("happiness") is None


def test_what_nearly_all_share_is_left_out() -> None:
    names = [by_name(name) for name in ("ketone", "ester", "benzene ring", "rings")]
    values = np.zeros((100, 4))
    values[:19, 0] = values[:20, 1] = values[:81, 2] = 1
    values[:50, 3] = 2
    labels = keep_asked([c for c in names if c], values)
    assert [c.name for c in labels.concepts] == ["ester", "rings"]
    assert [one["why"] for one in labels.left_out] == ["too rare", "too common"]
    assert label([Chem.MolFromSmiles("CC")]).concepts == []


def test_molecules_without_a_ring_share_no_scaffold() -> None:
    groups = scaffolds([Chem.MolFromSmiles(s) for s in ("Cc1ccccc1", "CCO", "CCC", "Clc1ccccc1")])
    assert groups[0] == groups[3]
    assert len(set(groups)) == 3


def test_the_untrained_trunk_depends_on_the_seed_alone(nmr_model) -> None:
    import torch

    graphs = [nmr_model.featurise(Chem.MolFromSmiles(s)) for s in ("CCO", "c1ccccc1", "CCN")]
    before = torch.random.get_rng_state()
    first, again, other = (untrained(nmr_model, graphs, seed).embed.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, nmr_model.network.trunk.embed.weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def _resampled(**rows: list[float]) -> dict[str, np.ndarray]:
    """The same value in each of 50 resamples, a little spread."""
    spread = np.concatenate([[0], np.linspace(-0.01, 0.01, 50)])
    return {name: np.array([[v] for v in values]) + spread for name, values in rows.items()}


def test_a_check_compares_with_the_best_rival() -> None:
    concepts = [{"name": "ketone", "metric": "AUROC"}, {"name": "rings", "metric": "R2"}]
    asked = Check("x", "a", ("b", "c"), ("ketone",), "because")
    figures = _resampled(a=[0.9, 0], b=[0.7, 1], c=[0.8, 1])
    done = check(asked, concepts, figures, ["a", "b", "c"])
    assert done is not None
    assert (done["rival"], done["found"]) == ("c", "yes")
    assert done["difference"] == pytest.approx(0.1)
    worse = check(asked, concepts, _resampled(a=[0.6, 0], b=[0.7, 1]), ["a", "b"])
    assert worse is not None
    assert worse["found"] == "no"
    even = check(asked, concepts, {"a": figures["a"], "b": figures["a"][:, ::-1]}, ["a", "b"])
    assert even is not None
    assert even["found"] == "not decided"
    assert check(asked, concepts, figures, ["a"]) is None
    assert check(asked, concepts[1:], figures, ["a", "b"]) is None


def test_the_reading_names_who_is_ahead_and_counts_twins_once() -> None:
    concepts = [{"name": "ketone", "kind": "group"}, {"name": "rings", "kind": "number"}]
    figures = _resampled(a=[0.9, 0.5], twin=[0.9, 0.5], b=[0.6, 0.8], trunk=[1.0, 0.9], Morgan=[0.9, 0.95])
    lines = read(concepts, figures, ["a", "twin", "b"], [["a", "twin"]], ["trunk", "Morgan"])
    assert lines[0] == "Best of all spaces by more than the interval: a and twin in ketone."
    assert lines[1] == "Best of all spaces by more than the interval: b in rings."
    assert any("ahead of Morgan in 1 of 2 concepts and behind in 1: rings" in line for line in lines)


def test_the_command(library: Path, nmr_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["probe", str(library), "--model", str(nmr_directory), "--n", "200", "--json"])
    assert end.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "probe"
    assert document["source"] == str(library)
