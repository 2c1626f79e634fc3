"""Learning how molecules break, in a toy world where a spectrum is what is left when a branch falls off."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt
from torch.nn import functional as F

from acml_search import modalities
from acml_search.chem.masses import HYDROGEN, PROTON
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError
from acml_search.ms.annotation import Breaking, observe
from acml_search.ms.fragmentation import read_fragmentation
from acml_search.training import explained
from acml_search.training.breakage import Breakage, Case, Known, ask, vocabulary_of
from acml_search.training.corpus import open_corpus
from acml_search.training.methods import METHODS

CONFIG = """
method = "explained"
root = "."
out = "learned"
modality = "lc_ms"
seed = 7
records = [{ path = "spectra.parquet", where = "mzs IS NOT NULL" }]
[corpus]
directory = "corpus"
views = 1
seed = 7
source = [{ name = "spectra", path = "spectra.parquet" }]
[pieces]
molecules = 120
rivals = 4
spectra = 1
least = 2
sources = ["spectra"]
[tolerance]
ppm = 10.0
da = 0.002
[training]
epochs = 4
batch = 4
lr = 0.05
weight_decay = 0.1
generative = 0.05
prior_decay = 0.01
"""
PARTS = ["C", "CC", "CCC", "C(C)C", "OC", "OCC", "COC", "N", "NC", "CN", "Cl", "F"]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("explained")
    rows = []
    for n, parts in enumerate(itertools.combinations(PARTS, 3)):
        a, b, c = parts
        mol = Chem.MolFromSmiles(f"c1({a})cc({b})c({c})cc1")
        mass = ExactMolWt(mol)
        # A branch with oxygen or nitrogen takes a hydrogen along; others stay.
        lost = [ExactMolWt(Chem.MolFromSmiles(p)) - HYDROGEN for p in parts if "O" in p or "N" in p]
        mzs = sorted({round(mass - x - HYDROGEN, 4) + PROTON for x in lost}) or [50.0]
        rows.append(
            {
                "smiles": Chem.MolToSmiles(mol),
                "mzs": mzs if n % 8 else None,
                "intensities": [1.0] * len(mzs),
                "precursor_mz": mass + PROTON,
                "adduct": "[M+H]+",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), room / "spectra.parquet")
    (room / "config.toml").write_text(CONFIG)
    return explained.run(room / "config.toml").parent


def test_it_learns_and_reports_each_part(room: Path) -> None:
    log = json.loads((room / "learned" / "log.json").read_text())
    assert log["cross_entropy"][-1] < log["cross_entropy"][0] - 0.1
    assert log["inner_molecules"] > 0
    assert 0 <= log["inner_at_1"] <= 1
    assert 0 <= log["inner_prior_at_1"] <= 1


def test_it_is_a_method_of_pretraining() -> None:
    assert METHODS["explained"] == "explained"


def test_what_breaks_here_is_told_from_what_does_not(room: Path) -> None:
    learned = read_fragmentation(room / "learned" / "lc_ms_rerank.json")
    breaking = Breaking(parse("COc1ccc(Cl)cc1")[0], learned)
    shares = breaking.shares(0)
    pieces = breaking.described.pieces
    single = [i for i in range(len(pieces.sides)) if pieces.bonds[i, 1] < 0]
    kept = {int(pieces.atoms(i).sum()): float(shares[i]) for i in single if pieces.atoms(i)[2]}
    without_chlorine = next(
        float(shares[i]) for i in single if pieces.lost[i, 0] == 6 and not pieces.atoms(i)[6]
    )
    assert kept[7] > 3 * without_chlorine  # the methoxy group falls off, the chlorine never did


def test_inference_gives_what_training_saw(room: Path) -> None:
    corpus = open_corpus(room / "corpus")
    known = Known(corpus)
    reader = modalities.get("lc_ms")
    rows = [0, 1, 2]
    mols = [parse(str(corpus.smiles[row]))[0] for row in rows]
    mass = known[0].mass
    record = {"mzs": [51.02, 78.05, mass / 2, mass - 30], "intensities": [1, 5, 9, 2], "ion_mode": "-"}
    item = reader.read(record)
    learned = read_fragmentation(room / "learned" / "lc_ms_rerank.json")
    modes = [1]
    case = Case(rows, [observe(item, "lc_ms", mass, learned.ppm, learned.da)])
    vocabulary = vocabulary_of([case], known, 1)
    model = Breakage(len(vocabulary), 1)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (model.own, model.codes, model.shifts):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        told = model.scale.exp() * model(ask(case, known, vocabulary, modes))
        copy = explained.Fragmentation(
            "lc_ms",
            vocabulary,
            (model.shared + model.own).double().numpy().repeat(2, axis=0),
            model.codes.double().numpy().repeat(2, axis=0),
            model.depth.double().numpy().repeat(2, axis=0),
            F.softmax(model.shifts, dim=-1).double().numpy().repeat(2, axis=0),
            float(model.floor.exp()),
            float(model.scale.exp()),
            learned.ppm,
            learned.da,
            np.zeros(0),
            {},
        )
    found = [Breaking(mol, copy).score(case.seen[0]) for mol in mols]
    np.testing.assert_allclose(told[0].numpy(), found, rtol=1e-4)


def test_inner_molecules_are_in_no_step(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = open_corpus(room / "corpus")
    learnt: list[int] = []

    def note(cases: list[Case], *_: object) -> dict[str, int]:
        learnt.extend(row for case in cases for row in case.rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(explained, "vocabulary_of", note)
    with pytest.raises(KeyboardInterrupt):
        explained.run(room / "config.toml")
    assert learnt
    assert not corpus.inner[learnt].any()
    assert corpus.inner.any()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("[tolerance]", "[something]"))
    with pytest.raises(ConfigError, match="tolerance"):
        explained.run(tmp_path / "config.toml")
