"""A memory of training records: how it answers, and how a space is given one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mass_toys import save_untrained, write_spectra
from rdkit import Chem
from safetensors.torch import load_file
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.encoders.model import load_model
from acml_search.networks import Memory
from acml_search.networks.msms import BIN, BINS
from acml_search.training import remember
from acml_search.training.config import read_config
from acml_search.training.observations import Observations

CONFIG = """
root = "."
out = "remembered"
name = "toy"
start = "start"
seed = 7
half = true
[corpus]
directory = "corpus"
views = 1
seed = 7
source = [{ name = "spectra", path = "spectra.parquet" }]
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
epochs = 4
epoch_size = 192
batch = 32
isomers = 2
companions = 2
negatives = 60
others = 200
likeness_weight = 5.0
lr = 3e-3
weight_decay = 1e-3
average = 0.9
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("remembered")
    write_spectra(room / "spectra.parquet", unmeasured=8, twice=3)
    save_untrained(room / "start")
    (room / "config.toml").write_text(CONFIG)
    remember.run(room / "config.toml")
    return room


def memory(records: int = 6, nearest: int = 2, trust: float = 0.0) -> Memory:
    torch.manual_seed(1)
    made = Memory(n_bins=10, records=records, molecules=records, key=5, d=4, nearest=nearest, guess=7).eval()
    made.trust.data.fill_(trust)
    made.keys.copy_(F.normalize(torch.randn(records, 5), dim=1))
    made.values.copy_(F.normalize(torch.randn(records, 4), dim=1))
    made.molecule.copy_(torch.arange(records))
    return made


@torch.inference_mode()
def test_a_record_that_is_kept_is_answered_by_its_molecule() -> None:
    one = memory(nearest=1)
    lines = torch.rand(3, 10)
    one.keys[:3] = one.asked(lines)
    answered = F.normalize(one(lines), dim=1)
    assert torch.allclose(answered, one.values[:3], atol=1e-5)


@torch.inference_mode()
def test_several_records_of_a_molecule_share_its_vector() -> None:
    one = memory()
    one.molecule.zero_()
    answered = F.normalize(one(torch.rand(4, 10)), dim=1)
    assert torch.allclose(answered, one.values[:1].expand(4, -1), atol=1e-5)


@torch.inference_mode()
def test_a_guess_of_the_length_it_is_trusted_stands_beside_the_neighbours() -> None:
    lines = torch.rand(3, 10)
    guess = memory(trust=0.4)(lines) - memory(trust=0.0)(lines)
    assert torch.allclose(guess.norm(dim=1), torch.full((3,), 0.4), atol=1e-5)
    assert not torch.allclose(guess[0], guess[1], atol=1e-3)


@torch.inference_mode()
def test_answers_change_without_a_leap_as_neighbours_change() -> None:
    one = memory(records=200, nearest=3, trust=0.3)
    start, end = torch.randn(1, 10), torch.randn(1, 10)
    path = start + (end - start) * torch.linspace(0, 1, 4001)[:, None]
    who = one.counted(one.asked(path) @ one.keys.T)[1].sort(dim=1).values
    assert len(torch.unique(who, dim=0)) > 5  # neighbours do change on the way
    steps = (one(path[1:]) - one(path[:-1])).norm(dim=1)
    assert steps.max() < 0.02


@torch.inference_mode()
def test_balance_weighs_the_space_against_what_is_remembered() -> None:
    one, lines, own = memory(), torch.rand(2, 10), F.normalize(torch.randn(2, 3), dim=1)
    one.balance.fill_(1e6)
    assert torch.allclose(one.beside(own, lines)[:, :3], own, atol=1e-4)
    one.balance.fill_(0.0)
    assert torch.allclose(one.beside(own, lines)[:, 3:], F.normalize(one(lines), dim=1), atol=1e-5)


def test_a_space_is_given_a_memory_and_the_rest_stays_to_the_bit(room: Path) -> None:
    before, after = (load_file(room / at / "model.safetensors") for at in ("start", "remembered/model"))
    kept = {name: name.replace("heads.gc_ms.", "heads.gc_ms.head.") for name in before}
    assert all(torch.equal(before[name], after[new]) for name, new in kept.items())
    new = {name.split(".")[2] for name in after if name not in kept.values()}
    assert new == {"memory", "kin"}
    model = load_model(room / "remembered" / "model")
    assert model.spaces["gc_ms"].d == 8 + 16
    assert model.spaces["smiles"].d == 8
    graph = model.encode_molecules([Chem.MolFromSmiles("CCO")])["gc_ms"]
    record = model.encode_records("gc_ms", [{"mzs": [31, 45, 46], "intensities": [9, 5, 2]}])
    assert graph.shape == record.shape == (1, 24)
    assert np.allclose(np.linalg.norm([graph[0], record[0]], axis=1), 1, atol=1e-5)


def test_it_learns_and_says_how_well_inner_records_are_found(room: Path) -> None:
    log = [json.loads(line) for line in (room / "remembered" / "log.jsonl").read_text().splitlines()]
    assert len(log) == 4
    assert log[-1]["contrast"] < log[0]["contrast"]
    assert log[-1]["likeness"] < log[0]["likeness"]
    assert log[-1]["inner_recalled_alone_at_10"] > 3 * 10 / log[-1]["inner_pool"]
    assert log[-1]["balance"] in remember.BALANCES


def task(room: Path) -> remember.RememberTask:
    config = read_config(room / "config.toml", ())
    network = load_model(room / "start").network.requires_grad_(False)
    return remember._task(config, network, "gc_ms")


def test_no_inner_molecule_is_learned_or_kept(room: Path) -> None:
    made = task(room)
    inner = made.corpus.inner[made.sides.rows]
    assert inner[made.kept].all()
    assert len(made.asking)
    assert not inner[made.rows].any()
    assert not inner[made.others].any()
    assert not inner[made.molecule[made.records]].any()


def test_a_molecule_is_not_reminded_of_itself(room: Path) -> None:
    """In a step all of a molecule's own records are left out, or it would learn to look up answers."""
    made = task(room)
    made.model.eval()
    seen = []
    counted = made.model.memory.counted
    made.model.memory.counted = lambda cosines: seen.append(cosines) or counted(cosines)  # type: ignore[method-assign, assignment, func-returns-value]
    rows = made.rows[:8]
    made.loss(rows, np.random.default_rng(0))
    own = made.blocks[rows][:, None] == made.known[None]
    assert own.any(dim=1).all()
    assert (seen[0][own] == -1).all()
    assert (seen[0][~own] > -1).all()


def test_records_of_a_molecule_are_kept_up_to_a_number() -> None:
    observed = Observations([None] * 9, np.repeat([3, 5, 8], [5, 1, 3]), np.array([3, 5, 8]),
                            np.array([0, 5, 6, 9]), [], {})  # fmt: skip
    learned = np.array([True] * 6 + [False] * 3)
    assert remember.remembered(observed, learned, None).tolist() == [0, 1, 2, 3, 4, 5]
    assert remember.remembered(observed, learned, 2).tolist() == [0, 4, 5]


def test_a_second_memory_takes_the_place_of_the_first(room: Path) -> None:
    again = CONFIG.replace('start = "start"', 'start = "remembered/model"').replace('"remembered"', '"again"')
    (room / "again.toml").write_text(again)
    remember.run(room / "again.toml")
    first, second = (load_file(room / at / "model/model.safetensors") for at in ("remembered", "again"))
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_space_that_is_not_there_or_cannot_ask_is_refused(room: Path) -> None:
    (room / "odd.toml").write_text(CONFIG.replace('name = "gc_ms"', 'name = "c_nmr"'))
    with pytest.raises(ConfigError, match="no space 'c_nmr'"):
        remember.run(room / "odd.toml")
    (room / "plain.toml").write_text(CONFIG.replace('name = "gc_ms"', 'name = "smiles"'))
    with pytest.raises(ConfigError, match="lays out no records"):
        remember.run(room / "plain.toml")


def test_peaks_and_losses_are_laid_out_where_they_belong() -> None:
    reader = modalities.get("lc_ms")
    tower = reader.tower(width=8, hidden=8, layers=1, kernel=0)
    from acml_search.networks import tensors

    record = {"mzs": [100.0, 150.01], "intensities": [1.0, 4.0], "precursor_mz": 200.0}
    bare = {"mzs": [100.0, 150.01], "intensities": [1.0, 4.0]}
    laid = tower.lines(tensors(reader.collate([reader.read(record), reader.read(bare)])))
    assert laid.shape == (2, tower.n_lines)
    assert torch.allclose(laid.sum(dim=1), torch.tensor([3.0, 1.5]), atol=1e-4)
    peak, loss = round(100.0 / BIN) % BINS, BINS + round(100.0 / BIN) % BINS
    assert laid[0, peak] == pytest.approx(0.5, abs=0.01)
    assert laid[0, loss] == pytest.approx(0.5, abs=0.01)
    # 150.01 lies between two bins: each gets half
    near = laid[0, int(150.01 / BIN) % BINS], laid[0, int(150.01 / BIN + 1) % BINS]
    assert sum(near) == pytest.approx(1.0, abs=0.01)
    assert laid[1, BINS:].sum() == 0
