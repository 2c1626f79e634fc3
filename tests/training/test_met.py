"""An encoder that is taught to meet a model's frozen trunk, and put into that model with its head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mass_toys import save_untrained, write_spectra
from rdkit import Chem
from safetensors.torch import load_file

from acml_search.core.errors import ConfigError
from acml_search.encoders.model import load_model
from acml_search.training import further, measured, remember
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import open_corpus
from acml_search.training.known import FrozenTrunk, trunk_digest

COMMON = """
root = "."
seed = 7
[corpus]
directory = "corpus"
views = 1
seed = 7
source = [{ name = "spectra", path = "spectra.parquet" }]
"""
MET = (
    """
method = "measured"
out = "met"
modality = "gc_ms"
trunk = "start"
reads_stereo = false
records = [{ path = "spectra.parquet", where = "mzs IS NOT NULL" }]
"""
    + COMMON
    + """
[tower]
width = 20
hidden = 24
layers = 1
[head]
hidden = 24
d = 10
[molecule]
hidden = 24
d = 10
[training]
epochs = 2
epoch_size = 160
batch = 32
isomers = 2
negatives = 3
others = 20
ppm = 1500
dropout = 0.1
all_weight = 1.0
fingerprint_weight = 1.0
spectrum_weight = 1.0
lr = 3e-3
weight_decay = 1e-3
"""
)
REMEMBERED = (
    """
out = "remembered"
name = "toy"
start = "start"
reads_stereo = false
"""
    + COMMON
    + """
[space]
name = "gc_ms"
records = [{ path = "spectra.parquet", where = "mzs IS NOT NULL" }]
[memory]
key = 12
d = 16
nearest = 4
guess = 24
hidden = 32
[training]
epochs = 1
epoch_size = 96
batch = 32
isomers = 2
companions = 2
negatives = 60
others = 200
likeness_weight = 5.0
lr = 3e-3
weight_decay = 1e-3
[encoders]
gc_ms = "met"
"""
)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("met")
    write_spectra(room / "spectra.parquet", unmeasured=4)
    save_untrained(room / "start")
    (room / "met.toml").write_text(MET)
    measured.run(room / "met.toml")
    (room / "remembered.toml").write_text(REMEMBERED)
    return room


def begun(room: Path) -> tuple[TrainingConfig, further.ModelCard]:
    return read_config(room / "remembered.toml", ("encoders",)), load_model(room / "start").card


def test_encoder_projection_and_head_come_together_and_the_rest_stays(room: Path) -> None:
    hyper, network = further.started(*begun(room))
    given = load_file(room / "met" / "encoder.safetensors")
    assert {name.split(".")[0] for name in given} == {"encoder", "projection", "head"}
    tower, head = network.tower("gc_ms").state_dict(), network.heads["gc_ms"].state_dict()
    for name, value in given.items():
        found = head[name.removeprefix("head.")] if name.startswith("head.") else tower[name]
        assert torch.equal(found, value)
    assert hyper["spaces"]["gc_ms"]["encoder"]["width"] == 20
    after = network.state_dict()
    for name, value in load_file(room / "start" / "model.safetensors").items():
        if "gc_ms" not in name:
            assert torch.equal(after[name], value.float()), name
    told = json.loads((room / "met" / "config.json").read_text())
    assert told["trunk_digest"] == trunk_digest(load_file(room / "start" / "model.safetensors"))


def test_the_model_sees_molecules_as_the_encoder_was_taught(room: Path) -> None:
    """What the head read of the frozen trunk in training is what it reads in the model."""
    corpus = read_config(room / "met.toml", ()).corpus()
    _, network = further.started(*begun(room))
    known = FrozenTrunk(network, corpus, np.arange(5, 15))
    mols = [Chem.MolFromSmiles(str(corpus.smiles[i])) for i in (7, 12)]
    model = load_model(room / "start")
    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    batch = TensorBatch.of(collate([model.featurise(mol) for mol in mols]))
    with torch.inference_mode():
        pooled = network.trunk(batch)
    assert torch.allclose(known.of(np.array([7, 12])), pooled, atol=2e-2)


def test_a_model_with_it_is_given_a_memory_and_answers(room: Path) -> None:
    remember.run(room / "remembered.toml")
    model = load_model(room / "remembered" / "model")
    assert model.spaces["gc_ms"].d == 10 + 16
    record = model.encode_records("gc_ms", [{"mzs": [31, 45, 46], "intensities": [9, 5, 2]}])
    assert record.shape == (1, 26)
    # another step cannot slip the encoder under the memory
    with pytest.raises(ConfigError, match="has a memory beside the head"):
        further.started(read_config(room / "remembered.toml", ()), model.card)
    assert "memory" not in further.started(*begun(room), forget="gc_ms")[0]["spaces"]["gc_ms"]


def test_an_encoder_that_met_another_trunk_is_refused(room: Path) -> None:
    config, card = begun(room)
    told = room / "met" / "config.json"
    kept = told.read_text()
    told.write_text(json.dumps({**json.loads(kept), "trunk_digest": "another"}))
    with pytest.raises(ConfigError, match="another trunk than toy's"):
        further.started(config, card)
    told.write_text(kept)


def test_only_molecules_that_the_trunk_has_seen_are_negatives(room: Path) -> None:
    config = read_config(room / "met.toml", ())
    corpus = open_corpus(room / "corpus")
    observed = measured.read_observations("gc_ms", config.data["records"], corpus, config.root)
    rows = observed.among(corpus, 20, 7)
    assert rows[: len(observed.molecules)].tolist() == observed.molecules.tolist()
    assert len(rows) == len(observed.molecules) + 20 == len(set(rows.tolist()))
    known = FrozenTrunk(load_model(room / "start").network, corpus, rows)
    task = measured.MeasuredTask(corpus, observed, known, config.data)
    assert set(task.alike.order) <= set(rows)
    assert not corpus.inner[task.alike.order].any()
