"""From peak lists that do not say which atom is whose to an aligned NMR space, at toy size."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem
from safetensors.torch import load_file, save_file

from acml_search.core.errors import ConfigError
from acml_search.encoders.model import load_model
from acml_search.library.read import default_library, open_library
from acml_search.training import denoise, further, spaces
from acml_search.training.config import read_config
from acml_search.training.methods import pretrain
from acml_search.training.simulate import open_simulated

CORPUS = """
[corpus]
directory = "corpus"
views = 1
seed = 7
source = [{ name = "toy", path = "spectra.parquet" }]
"""
SHIFTS = (
    """
method = "shifts"
root = "."
out = "shifts"
seed = 7
[records]
c_nmr = [{ path = "spectra.parquet" }]
[assigned]
path = "spectra.parquet"
where = "has_atoms"
[trunk]
width = 32
hidden = 32
layers = 3
[head.c_nmr]
hidden = 32
d = 16
[training]
epochs = 6
epoch_size = 800
batch = 32
isomers = 1
lr = 5e-3
weight_decay = 1e-4
"""
    + CORPUS
)
TOWER = (
    """
method = "simulated"
root = "."
out = "tower"
modality = "c_nmr"
simulator = "shifts.toml"
seed = 7
records = [{ path = "spectra.parquet" }]
[tower]
curve = 32
hidden = 32
width = 32
[head]
hidden = 32
d = 16
[training]
epochs = 3
epoch_size = 1024
batch = 128
measured_share = 0.25
isomers = 2
lr = 5e-3
weight_decay = 1e-4
fingerprint_weight = 0.5
"""
    + CORPUS
)
ALIGN = (
    """
root = "."
out = "aligned"
name = "toy"
seed = 7
start = "shifts/shifts.safetensors"
[trunk]
width = 32
hidden = 32
layers = 3
[space.c_nmr]
pretrained = "tower"
simulated = "shifts/simulated"
records = [{ path = "spectra.parquet" }]
head = { hidden = 32, d = 16 }
[assigned]
path = "spectra.parquet"
where = "has_atoms"
[[stream]]
records = "c_nmr"
n = 64
isomers = 2
[training]
epochs = 2
epoch_size = 640
lr = 2e-3
weight_decay = 1e-4
"""
    + CORPUS
)


def shift(atom: Chem.Atom) -> float:
    """A made-up rule with the flavour of the real one: what the predictor has to find out."""
    hetero = sum(n.GetAtomicNum() in (7, 8, 9, 16, 17) for n in atom.GetNeighbors())
    double = any(b.GetBondTypeAsDouble() == 2 for b in atom.GetBonds())
    return 15 + 100 * atom.GetIsAromatic() + 30 * hetero + 6 * atom.GetDegree() + 60 * double


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("spectra")
    rng = np.random.default_rng(7)
    rows = []
    for batch in open_library([default_library()[0]], limit=500).batches(500):
        for row in batch:
            mol = Chem.MolFromSmiles(row.text)
            if mol is None:
                continue
            smiles = Chem.MolToSmiles(mol)
            mol = Chem.MolFromSmiles(smiles)
            # A tenth of a ppm per class of equivalent atoms, so that classes differ.
            rank = Chem.CanonicalRankAtoms(mol, breakTies=False)
            atoms = [
                shift(a) + rank[a.GetIdx()] / 10 if a.GetAtomicNum() == 6 else None for a in mol.GetAtoms()
            ]
            shown = [x for x in atoms if x is not None]
            if rng.random() < 0.5:  # half of the sources list equivalent atoms once
                shown = sorted(set(shown))
            rows.append(
                {
                    "smiles": smiles,
                    "shifts": [float(x) for x in shown],
                    "has_atoms": bool(rng.random() < 0.2),
                    "c13_exp": atoms,
                    "c13_dft": None,
                    "h1_dft": None,
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), room / "spectra.parquet")
    for name, text in (("shifts", SHIFTS), ("tower", TOWER), ("align", ALIGN)):
        (room / f"{name}.toml").write_text(text)
    pretrain(room / "shifts.toml")
    return room


def read_log(directory: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def test_atoms_learn_their_shifts_from_unassigned_lists(room: Path) -> None:
    log = read_log(room / "shifts")
    assert log[-1]["c_nmr_set_error"] < log[0]["c_nmr_set_error"] / 2
    assert log[-1]["c_nmr_atom_error"] < log[0]["c_nmr_atom_error"] / 2


def test_simulated_spectra_scatter_around_the_prediction(room: Path) -> None:
    denoise.run(room / "tower.toml")
    simulated = open_simulated(room / "shifts" / "simulated", "c_nmr")
    rows = np.repeat(np.arange(5), 400)
    drawn = simulated.draw(rows, np.random.default_rng(7))
    assert drawn.sizes.min() >= 1
    assert len(drawn.positions) == drawn.sizes.sum() == len(drawn.spectrum_of)
    for row in range(5):
        predicted = simulated.position[simulated.starts[row] : simulated.starts[row + 1]]
        seen = drawn.positions[np.isin(drawn.spectrum_of, np.flatnonzero(rows == row))]
        near = np.abs(seen[:, None] - predicted[None, :]).min(axis=1)
        assert np.median(near) < 5
        assert near.std() > 0
    assert read_log(room / "tower")[-1]["contrastive"] < read_log(room / "tower")[0]["contrastive"]


def test_alignment_through_predicted_peaks_finds_spectra_better_than_chance(room: Path) -> None:
    denoise.run(room / "tower.toml")
    card = spaces.run(room / "align.toml")
    last = read_log(room / "aligned")[-1]
    assert last["c_nmr_inner_at_1"] > 3 / last["inner_pool"]
    assert card.data["records"]["c_nmr"]["records"] > 300
    assert 100 < card.data["training_list"]["records"]["c_nmr"] <= card.data["records"]["c_nmr"]["molecules"]
    model = load_model(card.directory)
    record, graph = (
        model.encode_records("c_nmr", [{"shifts": [15.0, 45.0]}]),
        model.encode_molecules([Chem.MolFromSmiles("CCO")]),
    )
    assert record.shape == graph["c_nmr"].shape == (1, 16)


def test_a_newer_encoder_brings_its_projection_where_that_was_pretrained_with_it(room: Path) -> None:
    if not (room / "aligned" / "model" / "card.json").exists():
        denoise.run(room / "tower.toml")
        spaces.run(room / "align.toml")
    (room / "newer.toml").write_text('root = "."\nout = "newer"\nseed = 7\n[encoders]\nc_nmr = "newer"\n')
    config = read_config(room / "newer.toml", ())
    shutil.copytree(room / "tower", room / "newer")
    given = {k: v + 1 for k, v in load_file(room / "tower" / "encoder.safetensors").items()}
    save_file(given, room / "newer" / "encoder.safetensors")
    card = load_model(room / "aligned" / "model").card
    for frozen in (False, True):
        card.data["training"]["space"]["c_nmr"]["frozen_projection"] = frozen
        _, network = further.started(config, card)
        before = further.started(replace(config, data={}), card)[1].tower("c_nmr").state_dict()
        after = network.tower("c_nmr").state_dict()
        taken = {k for k in before if k in given and torch.equal(after[k], given[k])}
        assert {k.split(".")[0] for k in taken} == ({"encoder", "projection"} if frozen else {"encoder"})
    lacking = replace(config, data={"encoders": {"c_nmr": "nowhere"}})
    with pytest.raises(ConfigError, match=r"no encoder\.safetensors"):
        further.started(lacking, card)
    other = json.loads((room / "newer" / "config.json").read_text())
    other["tower"]["width"] *= 2
    (room / "newer" / "config.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match="another width"):
        further.started(config, card)


def test_an_unknown_method_is_named(room: Path) -> None:
    (room / "odd.toml").write_text(SHIFTS.replace('"shifts"', '"dreams"', 1))
    with pytest.raises(ConfigError, match="'dreams'"):
        pretrain(room / "odd.toml")
