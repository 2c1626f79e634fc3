"""Pretraining on measured records, in a toy world where a spectrum tells what a molecule can lose."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt
from safetensors.torch import load_file

from acml_search.chem.masses import PROTON
from acml_search.core.errors import ConfigError
from acml_search.encoders.model import Tower
from acml_search.training import measured
from acml_search.training.corpus import open_corpus
from acml_search.training.known import MorganBits

CONFIG = """
method = "measured"
root = "."
out = "pretrained"
modality = "lc_ms"
seed = 7
records = [{ path = "spectra.parquet", where = "mzs IS NOT NULL" }]
[corpus]
directory = "corpus"
views = 1
seed = 7
source = [{ name = "spectra", path = "spectra.parquet" }]
[tower]
width = 16
hidden = 32
layers = 1
kernel = 16
[head]
hidden = 32
d = 16
[molecule]
hidden = 32
d = 16
[training]
epochs = 3
epoch_size = 192
batch = 32
isomers = 4
negatives = 4
ppm = 10
dropout = 0.1
all_weight = 0.3
fingerprint_weight = 1.0
lr = 5e-3
weight_decay = 1e-2
"""
PARTS = ["C", "CC", "CCC", "C(C)C", "OC", "OCC", "COC", "N", "NC", "CN", "Cl", "F"]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("measured")
    rows = []
    for n, (a, b, c) in enumerate(itertools.combinations(PARTS, 3)):
        mol = Chem.MolFromSmiles(f"c1({a})cc({b})c({c})cc1")
        mass = ExactMolWt(mol)
        pieces = sorted(
            {round(mass - ExactMolWt(Chem.MolFromSmiles(part)), 4) + PROTON for part in (a, b, c)}
        )
        rows.append(
            {
                "smiles": Chem.MolToSmiles(mol),
                "inchikey14": Chem.MolToInchiKey(mol)[:14],
                "mzs": pieces if n % 8 else None,  # one in eight was never measured
                "intensities": [1.0] * len(pieces),
                "precursor_mz": mass + PROTON,
                "adduct": "[M+H]+",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), room / "spectra.parquet")
    (room / "config.toml").write_text(CONFIG)
    measured.run(room / "config.toml")
    return room


def test_it_learns_and_reports_the_prior_beside(room: Path) -> None:
    log = [json.loads(line) for line in (room / "pretrained" / "log.jsonl").read_text().splitlines()]
    assert len(log) == 3
    for term in ("same_mass", "all", "fingerprint"):
        assert log[-1][term] < log[0][term]
    assert 0 <= log[-1]["inner_prior_at_1"] <= log[-1]["inner_prior_at_5"] <= 1
    assert log[-1]["inner_queries"] >= 1


def test_what_is_written_is_a_tower(room: Path) -> None:
    config = json.loads((room / "pretrained" / "config.json").read_text())
    tower = Tower("lc_ms", config["tower"], config["head"])
    tower.load_state_dict(load_file(room / "pretrained" / "encoder.safetensors"))


def test_same_mass_means_within_the_tolerance_and_not_itself(room: Path) -> None:
    corpus = open_corpus(room / "corpus")
    everything = np.arange(len(corpus))
    alike = measured.SameMass(corpus, everything, 10)
    rng = np.random.default_rng(7)
    met = 0
    for row in everything:
        near = np.abs(alike.masses - alike.masses[row]) <= alike.masses[row] * 10e-6
        expected = np.flatnonzero(near & (corpus.blocks != corpus.blocks[row]))
        assert sorted(alike.of(row)) == expected.tolist()
        drawn = alike.draw(row, 3, rng)
        assert len(drawn) == len(set(drawn.tolist())) == min(3, len(expected))
        assert set(drawn) <= set(expected)
        met += len(expected)
    assert met > len(corpus)


def test_inner_molecules_are_in_no_step(room: Path) -> None:
    from acml_search.training.config import read_config
    from acml_search.training.observations import read_observations

    config = read_config(room / "config.toml", ("records",))
    corpus = config.corpus()
    observed = read_observations("lc_ms", config.data["records"], corpus, config.root)
    task = measured.MeasuredTask(corpus, observed, MorganBits(corpus), config.data)
    assert not corpus.inner[task.rows].any()
    assert not corpus.inner[task.alike.order].any()
    assert corpus.inner[task.inner].all()
    assert len(task.rows) + len(task.inner) == len(observed.molecules)


def test_a_missing_table_is_named(room: Path) -> None:
    (room / "lacking.toml").write_text(CONFIG.replace("records = [", "others = ["))
    with pytest.raises(ConfigError, match="lacks records"):
        measured.run(room / "lacking.toml")
