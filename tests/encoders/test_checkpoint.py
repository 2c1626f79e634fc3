"""Checkpoints rebuild themselves, refuse what is not theirs, and give a molecule one vector."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import MOLECULES
from rdkit import Chem

from acml_search.chem.molecule import parse
from acml_search.core.errors import CheckpointError, ConfigError, UnknownModality
from acml_search.core.io import sha256
from acml_search.encoders import card as card_module
from acml_search.encoders.card import digest_of, list_models, read_card
from acml_search.encoders.checkpoint import Model, load_model

RESEARCH = Path(__file__).parents[2] / "weights" / "acml-research" / "acml_research"


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def vector(model: Model, smiles: str) -> np.ndarray:
    return model.encode_molecules([parse(smiles)[0]])["smiles"][0]


def test_unit_vectors_of_the_promised_shape(model: Model) -> None:
    out = model.encode_molecules([parse(s)[0] for s in MOLECULES])["smiles"]
    assert out.shape == (len(MOLECULES), 32)
    assert out.dtype == np.float32
    assert np.allclose(np.linalg.norm(out, axis=1), 1, atol=1e-6)
    records = model.encode_records("smiles", MOLECULES)
    assert np.allclose(np.linalg.norm(records, axis=1), 1, atol=1e-6)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(MOLECULES), min_size=1, max_size=80),
    st.integers(1, 10_000),
    st.data(),
)
def test_one_molecule_one_vector(model: Model, batch: list[str], seed: int, data: st.DataObject) -> None:
    """Whatever the SMILES form, the atom order, the neighbours in the batch and the batch's size."""
    at = data.draw(st.integers(0, len(batch) - 1))
    alone = vector(model, batch[at])
    other = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(batch[at]), 1, randomSeed=seed)[0]
    together = [*batch[:at], other, *batch[at + 1 :]]
    among = model.encode_molecules([parse(s)[0] for s in together])["smiles"][at]
    assert np.abs(among - alone).max() < 1e-5


def test_how_many_go_together_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Atoms are read a few molecules at a time, vectors are made of many: in no space does either show."""
    import torch

    from acml_search import modalities
    from acml_search.encoders import checkpoint as module

    torch.manual_seed(5)
    sides = {"head": {"hidden": 16, "d": 16}, "projection": {"hidden": 16, "d": 16}}
    names = ("smiles", "c_nmr", "h_nmr", "gc_ms", "lc_ms")
    spaces = {name: {**sides, "encoder": modalities.get(name).tiny_config} for name in names}
    memory = {"records": 8, "molecules": 4, "key": 4, "d": 16, "nearest": 2, "guess": 8, "hidden": 16}
    spaces["lc_ms"]["memory"] = memory
    hyper = {"trunk": {"width": 16, "hidden": 16, "layers": 2}, "spaces": spaces}
    module.save_model(tmp_path, "five", module.DualEncoder(hyper), hyper, dict.fromkeys(names, 1.0), {})
    five = load_model(tmp_path)
    graphs = [five.featurise(parse(smiles)[0]) for smiles in MOLECULES]
    alone = [five.encode_graphs([graph]) for graph in graphs]
    for batch, gathered in ((module.BATCH, module.GRAPH_STAGE_BATCH), (3, 7), (4, 4)):
        monkeypatch.setattr(module, "BATCH", batch)
        monkeypatch.setattr(module, "GRAPH_STAGE_BATCH", gathered)
        found = five.encode_graphs(graphs)
        for name in names:
            assert np.abs(found[name] - np.concatenate([one[name] for one in alone])).max() < 1e-5
    assert five.encode_graphs([])["lc_ms"].shape == (0, 32)


def test_folding_normalisation_changes_nothing(tiny_model: Path, model: Model) -> None:
    import torch
    from safetensors.torch import load_file

    from acml_search.chem.graph import collate, featurise
    from acml_search.encoders.checkpoint import DualEncoder
    from acml_search.networks import TensorBatch

    card = read_card(tiny_model)
    unfolded = DualEncoder(card.data["hyper"]).eval()
    unfolded.load_state_dict(load_file(card.weights), strict=False)
    graphs = [featurise(parse(s)[0]) for s in MOLECULES]
    with torch.inference_mode():
        expected = unfolded.graphs(TensorBatch.of(collate(graphs)))["smiles"].numpy()
    assert np.abs(model.encode_graphs(graphs)["smiles"] - expected).max() < 1e-5


def test_unknown_space_is_named(model: Model) -> None:
    with pytest.raises(UnknownModality, match=r"known are .*smiles"):
        model.encode_records("aroma", ["x"])
    with pytest.raises(ConfigError, match="no space for c_nmr; it has smiles"):
        model.encode_records("c_nmr", [{"shifts": [20.0]}])


def test_missing_model_lists_the_shipped() -> None:
    with pytest.raises(CheckpointError, match="no such model; known are: acml-base"):
        read_card("nothing-of-the-kind")


def test_damaged_weights_are_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(copy)


def test_later_weights_of_an_encoder_take_their_place(copy: Path, model: Model) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    name = "towers.smiles.encoder.embed.weight"
    later = {name: 2 * load_file(copy / "model.safetensors")[name]}
    save_file(later, copy / "later.safetensors")
    card = json.loads((copy / "card.json").read_text())
    card["later_weights"] = {"later.safetensors": sha256(copy / "later.safetensors")}
    (copy / "card.json").write_text(json.dumps(card))
    changed = load_model(copy)
    assert torch.equal(changed.network.tower("smiles").encoder.embed.weight, later[name].float())
    mols = [parse(smiles)[0] for smiles in MOLECULES]
    assert np.array_equal(changed.encode_molecules(mols)["smiles"], model.encode_molecules(mols)["smiles"])
    assert {n: one.digest for n, one in changed.card.spaces.items()} == {
        n: one.digest for n, one in model.card.spaces.items()
    }
    save_file({name: later[name] + 1}, copy / "later.safetensors")
    with pytest.raises(CheckpointError, match=r"later\.safetensors.*damaged"):
        load_model(copy)


def test_missing_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_model(copy)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 99, "name": "x"}', "\udcff"]
)
def test_foreign_cards_are_refused(copy: Path, text: str) -> None:
    (copy / "card.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError) as caught:
        read_card(copy)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    card = json.loads((copy / "card.json").read_text())
    card["hyper"]["trunk"]["layers"] = 6
    card["digest"] = digest_of(copy / "model.safetensors", card["hyper"])
    (copy / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"rebuilt|another network"):
        load_model(copy)


def test_a_model_may_leave_configuration_out(copy: Path) -> None:
    pair = ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O")
    drawn = [vector(load_model(copy), smiles) for smiles in pair]
    card = json.loads((copy / "card.json").read_text())
    card["hyper"]["reads_stereo"] = False
    card["digest"] = digest_of(copy / "model.safetensors", card["hyper"])
    (copy / "card.json").write_text(json.dumps(card))
    flat = [vector(load_model(copy), smiles) for smiles in (*pair, "CC(N)C(=O)O")]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-4
    assert np.abs(flat[0] - flat[1]).max() < 1e-6
    assert np.abs(flat[0] - flat[2]).max() < 1e-5


def test_every_shipped_model_loads() -> None:
    for model in ("acml-base", RESEARCH):
        assert load_model(model).card.digest == read_card(model).digest


def test_a_model_that_is_a_package_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, it says how to install it; installed, it is found by name."""
    monkeypatch.setattr(card_module, "entry_points", lambda group: ())
    with pytest.raises(
        CheckpointError, match=r"not installed \(licence: CC BY-NC-SA 4.0.*\): pip install \S+acml-res"
    ):
        read_card("acml-research")
    with pytest.raises(
        ConfigError, match=r"model acml-research has it \(licence: CC BY-NC.*--model acml-research"
    ):
        load_model().encode_records("gc_ms", [{"mzs": [43.0], "intensities": [1.0]}])
    project = tomllib.loads((RESEARCH.parent / "pyproject.toml").read_text())["project"]
    points = [
        EntryPoint(name, value, group)
        for group, entries in project["entry-points"].items()
        for name, value in entries.items()
    ]
    monkeypatch.setattr(card_module, "entry_points", lambda group: [p for p in points if p.group == group])
    monkeypatch.delitem(sys.modules, "acml_research", raising=False)
    monkeypatch.syspath_prepend(RESEARCH.parent)
    found = read_card("acml-research")
    assert found.directory == RESEARCH
    assert found.restriction
    assert found.measurements["metrics"]
    assert "acml-research" in [card.name for card in list_models()]
    with pytest.raises(
        ConfigError, match=r"model acml-research has it \(--model acml-research; licence: CC BY-NC"
    ):
        load_model().encode_records("gc_ms", [{"mzs": [43.0], "intensities": [1.0]}])
