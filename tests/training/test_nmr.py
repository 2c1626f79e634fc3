"""From peak lists that do not say which atom is whose to an aligned NMR space, at toy size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem
from safetensors.torch import load_file, save_file

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.encoders.checkpoint import load_model
from acml_search.library.stream import default_library, open_library
from acml_search.training import align, finetune
from acml_search.training.config import MemoryPlan, plan_of
from acml_search.training.loop import read_log
from acml_search.training.pretrain import pretrain
from acml_search.training.shifts import open_simulated

CORPUS = """
directory = "corpus"
views = 1
seed = 7
source = [{ name = "toy", path = "spectra.parquet" }]
"""
ASSIGNED = """
[assigned]
path = "spectra.parquet"
where = "has_atoms"
"""
SHIFTS = f"""
method = "shifts"
root = "."
corpus = {{ file = "corpus.toml" }}
out = "shifts"
seed = 7
records = {{ c_nmr = [{{ path = "spectra.parquet" }}] }}
trunk = {{ width = 32, hidden = 32, layers = 3 }}
head = {{ c_nmr = {{ hidden = 32, d = 16 }} }}
[training]
epochs = 6
epoch_size = 800
batch_size = 32
lr = 5e-3
weight_decay = 1e-4
{ASSIGNED}"""
ENCODER = """
method = "simulated"
root = "."
corpus = { file = "corpus.toml" }
out = "encoder"
modality = "c_nmr"
simulator = "shifts.toml"
seed = 7
records = [{ path = "spectra.parquet" }]
tower = { curve = 32, hidden = 32, width = 32 }
head = { hidden = 32, d = 16 }
[training]
epochs = 3
epoch_size = 1024
batch_size = 128
measured_share = 0.25
group_size = 2
lr = 5e-3
weight_decay = 1e-4
fingerprint_weight = 0.5
"""
ALIGN = f"""
root = "."
corpus = {{ file = "corpus.toml" }}
out = "aligned"
name = "toy"
seed = 7
start = "shifts/shifts.safetensors"
trunk = {{ width = 32, hidden = 32, layers = 3 }}
[space.c_nmr]
pretrained = "encoder"
simulated = "shifts/simulated"
records = [{{ path = "spectra.parquet" }}]
head = {{ hidden = 32, d = 16 }}
[[sampler]]
records = "c_nmr"
n = 64
group_size = 2
[training]
epochs = 2
epoch_size = 640
lr = 2e-3
weight_decay = 1e-4
{ASSIGNED}"""


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
            has_atoms = bool(rng.random() < 0.2)
            rows.append(
                {"smiles": smiles, "shifts": [float(x) for x in shown], "has_atoms": has_atoms}
                | {"c13_exp": atoms, "c13_dft": None, "h1_dft": None}
            )
    pq.write_table(pa.Table.from_pylist(rows), room / "spectra.parquet")
    for name, text in (("corpus", CORPUS), ("shifts", SHIFTS), ("encoder", ENCODER), ("align", ALIGN)):
        (room / f"{name}.toml").write_text(text)
    for name in ("shifts", "encoder"):
        pretrain(room / f"{name}.toml", device="cpu")
    return room


@pytest.fixture(scope="module")
def aligned(room: Path) -> ModelCard:
    return align.run(room / "align.toml", device="cpu")


def test_atoms_learn_their_shifts_from_unassigned_lists(room: Path) -> None:
    log = read_log(room / "shifts")
    assert log[-1]["c_nmr_set_error"] < log[0]["c_nmr_set_error"] / 2
    assert log[-1]["c_nmr_atom_error"] < log[0]["c_nmr_atom_error"] / 2


def test_simulated_spectra_scatter_around_the_prediction_and_teach(room: Path) -> None:
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
    log = read_log(room / "encoder")
    assert log[-1]["contrastive"] < log[0]["contrastive"]


def test_alignment_through_predicted_peaks_finds_spectra_better_than_chance(
    room: Path, aligned: ModelCard
) -> None:
    last = read_log(room / "aligned")[-1]
    assert last["c_nmr_dev_at_1"] > 3 / last["dev_pool"]
    model = load_model(aligned.directory)
    record = model.encode_records("c_nmr", [{"shifts": [15.0, 45.0]}])
    graph = model.encode_molecules([Chem.MolFromSmiles("CCO")])
    assert record.shape == graph["c_nmr"].shape == (1, 16)


def test_a_newer_encoder_brings_its_projection_where_that_was_pretrained_with_it(
    room: Path, aligned: ModelCard
) -> None:
    shutil.copytree(room / "encoder", room / "newer")
    given = {k: v + 1 for k, v in load_file(room / "encoder" / "encoder.safetensors").items()}
    save_file(given, room / "newer" / "encoder.safetensors")

    def start(**encoders: str) -> dict[str, torch.Tensor]:
        data = {
            "root": ".", "out": "x", "seed": 7, "name": "x", "start": "aligned/model", "encoders": encoders,
            "corpus": {"file": "corpus.toml"}, "space": {"name": "c_nmr", "records": []},
            "memory": {"key": 1, "d": 1, "nearest": 1, "guess": 1, "hidden": 1},
            "training": {"epochs": 1, "epoch_size": 1, "lr": 1, "weight_decay": 0, "batch_size": 1,
                         "unmeasured": 0, "isomer_negatives": 0, "negatives": 0, "similarity_weight": 0},
        }  # fmt: skip
        plan = plan_of(data, MemoryPlan, room / "newer.toml")
        return finetune.finetune_from(plan, "c_nmr")[2].tower("c_nmr").state_dict()

    card_file = aligned.directory / "card.json"
    card = json.loads(card_file.read_text())
    for frozen in (False, True):
        card["training"]["space"]["c_nmr"]["frozen_projection"] = frozen
        card_file.write_text(json.dumps(card))
        before, after = start(), start(c_nmr="newer")
        taken = {k.split(".")[0] for k in before if k in given and torch.equal(after[k], given[k])}
        assert taken == ({"encoder", "projection"} if frozen else {"encoder"})
    with pytest.raises(ConfigError, match=r"no encoder\.safetensors"):
        start(c_nmr="nowhere")
    other = json.loads((room / "newer" / "config.json").read_text())
    other["tower"]["width"] *= 2
    (room / "newer" / "config.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match="another width"):
        start(c_nmr="newer")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_step_runs_on_cuda(room: Path) -> None:
    for name, text in (("shifts", SHIFTS), ("encoder", ENCODER), ("align", ALIGN)):
        for folder in ("shifts", "encoder", "aligned"):
            text = text.replace(f'= "{folder}', f'= "cuda-{folder}')
        text = text.replace('method = "cuda-shifts"', 'method = "shifts"')
        (room / f"cuda-{name}.toml").write_text(text)
    for name in ("shifts", "encoder"):
        pretrain(room / f"cuda-{name}.toml", device="cuda")
    align.run(room / "cuda-align.toml", device="cuda")
    last = read_log(room / "cuda-aligned")[-1]
    assert last["c_nmr_dev_at_1"] > 3 / last["dev_pool"]
