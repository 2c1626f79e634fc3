"""Attributions: exact where the score is linear in the atoms, the same for equal atoms, and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from acml_search.chem.molecule import parse
from acml_search.cli import main
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.encoders.checkpoint import Model
from acml_search.interpret.attribute import (
    Panel,
    Score,
    evaluate,
    explain,
    occlusion,
    probe_score,
    similarity,
    write_picture,
)
from acml_search.interpret.sample import read_sample

SMILES = ("CC(=O)Nc1ccc(O)cc1", "CCOC(=O)c1ccccc1", "OCC")


def graphs_of(model: Model, smiles: tuple[str, ...] = SMILES) -> list:
    return [model.featurise(parse(text)[0]) for text in smiles]


def trunk_score(model: Model, seed: int = 0) -> Score:
    weights = np.random.default_rng(seed).normal(size=model.network.trunk.width).astype(np.float32)
    return Score("some direction", "", ("trunk",), weights, bias=0.7)


def space_score(model: Model, space: str) -> Score:
    return similarity(model, parse("CC(=O)Oc1ccccc1C(=O)O")[0], space, "aspirin")


def test_a_score_is_what_its_vectors_say(nmr_model: Model) -> None:
    mols = [parse(text)[0] for text in SMILES]
    vectors = nmr_model.encode_molecules([*mols, parse("CC(=O)Oc1ccccc1C(=O)O")[0]])["c_nmr"]
    found = evaluate(nmr_model, space_score(nmr_model, "c_nmr"), graphs_of(nmr_model))
    assert found == pytest.approx(vectors[:-1] @ vectors[-1], abs=1e-5)


def test_keeping_all_atoms_changes_nothing_and_leaving_them_out_does(nmr_model: Model) -> None:
    score, graphs = trunk_score(nmr_model), graphs_of(nmr_model)
    whole = evaluate(nmr_model, score, graphs)
    for kept in (True, False):
        masked = evaluate(nmr_model, score, graphs, [np.full(len(g.x), kept) for g in graphs])
        assert (masked == pytest.approx(whole, rel=1e-6)) is kept
    assert evaluate(nmr_model, score, graphs) == pytest.approx(whole, rel=1e-6)


def test_equal_atoms_get_equal_shares_in_any_batch(nmr_model: Model) -> None:
    score = space_score(nmr_model, "c_nmr")
    together = occlusion(nmr_model, score, graphs_of(nmr_model))
    alone = [occlusion(nmr_model, score, [graph])[0] for graph in graphs_of(nmr_model)]
    for a, b in zip(together, alone, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    paracetamol = together[0]  # C C O N c1 c c c O c c
    assert paracetamol[5] == pytest.approx(paracetamol[10], abs=1e-5)
    assert paracetamol[6] == pytest.approx(paracetamol[9], abs=1e-5)


def test_occlusion_is_what_leaving_an_atom_out_does(nmr_model: Model) -> None:
    score, graph = trunk_score(nmr_model), graphs_of(nmr_model)[1]
    shares = occlusion(nmr_model, score, [graph])[0]
    kept = np.ones(len(graph.x), bool)
    kept[3] = False
    whole, without = evaluate(nmr_model, score, [graph])[0], evaluate(nmr_model, score, [graph], [kept])[0]
    assert shares[3] == pytest.approx(whole - without, abs=1e-5)


def test_an_unknown_space_is_named(nmr_model: Model) -> None:
    with pytest.raises(ConfigError, match="no space 'aroma'"):
        space_score(nmr_model, "aroma")


def test_a_probe_says_what_the_concept_is(library: Path, nmr_directory: Path) -> None:
    sample = read_sample(library, n=400, seed=0, model=str(nmr_directory))
    score = probe_score(sample, "rings", "trunk", seed=0)
    graphs = graphs_of(sample.model, ("c1ccccc1CC(=O)O", "CC(C)C(=O)NCO"))
    ring, chain = evaluate(sample.model, score, graphs)
    assert ring > chain + 0.5
    with pytest.raises(ConfigError, match=r"nitro cannot be learned .*: too rare"):
        probe_score(sample, "nitro", "trunk", seed=0)
    with pytest.raises(ConfigError, match="no concept 'luck'"):
        probe_score(sample, "luck", "trunk", seed=0)


@pytest.mark.parametrize("ending", ["png", "svg", "json"])
def test_written(ending: str, nmr_directory: Path, tmp_path: Path) -> None:
    out = tmp_path / f"why.{ending}"
    made = explain(SMILES[0], out, to=SMILES[1], space="c_nmr", model=str(nmr_directory), command="x")
    assert [len(one["atoms"]) for one in made["molecules"]] == [11, 11]
    assert made["molecules"][0]["score"] == pytest.approx(made["molecules"][1]["score"], abs=1e-5)
    if ending == "json":
        assert json.loads(out.read_text(encoding="utf-8")) == made
    elif ending == "png":
        assert out.read_bytes().startswith(b"\x89PNG")
    else:
        from xml.etree import ElementTree

        svg = out.read_text(encoding="utf-8")
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert len(svg) < 1_000_000
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_picture_escapes_what_it_is_told(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    panel = Panel(parse("CCO")[0], np.array([1.0, -0.5, 0.0]), "<script>alert(1)</script>")
    write_picture([panel], "a < b & c", "<img src=x>", tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text(encoding="utf-8")
    tags = {element.tag.split("}")[-1] for element in ElementTree.fromstring(text).iter()}
    assert not tags & {"script", "img"}
    assert "&lt;script&gt;" in text
    write_picture([panel._replace(shares=np.zeros(3))], "nothing", "", tmp_path / "zero.svg")
    ElementTree.fromstring((tmp_path / "zero.svg").read_text(encoding="utf-8"))


def test_options_that_do_not_fit_are_refused(nmr_directory: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "a.png", str(nmr_directory)
    with pytest.raises(ConfigError, match="either --to SMILES or --probe CONCEPT"):
        explain("CCO", out, model=model)
    with pytest.raises(ConfigError, match="either --to"):
        explain("CCO", out, to="CCC", probe="logP", model=model)
    with pytest.raises(ConfigError, match=r"written as .*\.png"):
        explain("CCO", tmp_path / "a.gif", to="CCC", model=model)
    with pytest.raises(InvalidMolecule):
        explain("C1CC", out, to="CCC", model=model)
    with pytest.raises(InvalidMolecule, match="one atom"):
        explain("C", out, to="CCC", model=model)
    assert list(tmp_path.iterdir()) == []


def test_the_command(nmr_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "w.svg"
    call = ["attribute", "CCO", "--to", "CCN", "--space", "smiles", "--model", str(nmr_directory)]
    with pytest.raises(SystemExit) as end:
        main([*call, "--out", str(out), "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "attribution"
    assert out.exists()
