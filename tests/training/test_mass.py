"""Training on mass spectra in a toy world: benzenes with three substituents, whose spectra show what each can
lose. Pretraining of an encoder, a memory of training records, and how molecules fragment.
"""

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
from safetensors.torch import load_file
from torch.nn import functional as F

from acml_search import modalities
from acml_search.chem.masses import HYDROGEN, PROTON
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError
from acml_search.encoders.checkpoint import DualEncoder, Tower, load_model, save_model
from acml_search.ms.fragmenter import FragmentedMolecule, neutral_peaks, read_model
from acml_search.networks import KNNMemory, tensors
from acml_search.networks.msms import BIN, BINS
from acml_search.training import fragmentation, memory
from acml_search.training.config import FragmentationPlan, MemoryPlan, SpectraPlan, read_plan
from acml_search.training.contrast import MassPool
from acml_search.training.corpus import corpus_of, open_corpus
from acml_search.training.fragmentation import (
    DescribedMolecules,
    RankingCase,
    TrainableFragmentation,
    case_tensors,
    vocabulary_of,
)
from acml_search.training.loop import read_log
from acml_search.training.pretrain import SpectraTask, pretrain

PARTS = ["C", "CC", "CCC", "C(C)C", "OC", "OCC", "COC", "N", "NC", "CN", "Cl", "F"]
COMMON = """
root = "."
seed = 7
corpus = { file = "corpus.toml" }
"""
CORPUS = """
directory = "corpus"
views = 1
seed = 7
source = [{ name = "spectra", path = "spectra.parquet" }]
"""
SPECTRA = f"""
method = "spectra"
out = "pretrained"
modality = "lc_ms"
records = [{{ path = "spectra.parquet", where = "mzs IS NOT NULL" }}]
tower = {{ width = 16, hidden = 32, layers = 1, kernel = 16 }}
head = {{ hidden = 32, d = 16 }}
molecule_head = {{ hidden = 32, d = 16 }}
{COMMON}
[training]
epochs = 3
epoch_size = 192
batch_size = 32
group_size = 4
negatives = 4
tolerance_ppm = 10
dropout = 0.1
batch_weight = 0.3
fingerprint_weight = 1.0
lr = 5e-3
weight_decay = 1e-2
"""
FRAGMENTATION = f"""
method = "fragmentation"
out = "fragmentation"
modality = "lc_ms"
records = [{{ path = "spectra.parquet", where = "mzs IS NOT NULL" }}]
{COMMON}
[fragments]
molecules = 120
candidates = 4
spectra = 1
min_molecules = 2
sources = ["spectra"]
[tolerance]
ppm = 10.0
da = 0.002
[training]
epochs = 4
batch_size = 4
lr = 0.05
weight_decay = 0.1
likelihood_weight = 0.05
prior_weight_decay = 0.01
"""
MEMORY = f"""
out = "with-memory"
name = "toy"
start = "start"
half = true
memory = {{ key = 12, d = 16, nearest = 4, guess = 24, hidden = 32 }}
{COMMON.replace("corpus.toml", "ei-corpus.toml")}
[space]
name = "gc_ms"
records = [{{ path = "ei.parquet", where = "mzs IS NOT NULL" }}]
[training]
epochs = 4
epoch_size = 192
batch_size = 32
group_size = 2
isomer_negatives = 2
negatives = 60
unmeasured = 200
similarity_weight = 5.0
lr = 3e-3
weight_decay = 1e-3
ema_decay = 0.9
"""
SPACE = {"projection": {"hidden": 16, "d": 8}, "head": {"hidden": 16, "d": 8}}
HYPER = {
    "trunk": {"width": 16, "hidden": 16, "layers": 2},
    "spaces": {
        name: {"encoder": {"width": 16, "hidden": 16, "layers": 1}, **SPACE} for name in ("gc_ms", "smiles")
    },
}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("mass")
    rows, ei = [], []
    for n, parts in enumerate(itertools.combinations(PARTS, 3)):
        mol = Chem.MolFromSmiles("c1({})cc({})c({})cc1".format(*parts))
        mass = ExactMolWt(mol)
        about = {"smiles": Chem.MolToSmiles(mol), "inchikey14": Chem.MolToInchiKey(mol)[:14]}
        # A branch with oxygen or nitrogen takes a hydrogen along; others stay.
        lost = [ExactMolWt(Chem.MolFromSmiles(p)) - HYDROGEN for p in parts if "O" in p or "N" in p]
        mzs = sorted({round(mass - x - HYDROGEN, 4) + PROTON for x in lost}) or [50.0]
        rows.append(
            {**about, "mzs": mzs if n % 8 else None, "intensities": [1.0] * len(mzs)}
            | {"precursor_mz": mass + PROTON, "adduct": "[M+H]+"}
        )
        nominal = sorted({round(mass - ExactMolWt(Chem.MolFromSmiles(p))) for p in parts} | {round(mass)})
        for again in range(2 if n % 3 == 0 else 1):
            heights = [1.0 + again + i for i in range(len(nominal))]
            ei.append({**about, "mzs": nominal if n % 8 else None, "intensities": heights})
    pq.write_table(pa.Table.from_pylist(rows), room / "spectra.parquet")
    pq.write_table(pa.Table.from_pylist(ei), room / "ei.parquet")
    torch.manual_seed(0)
    card = {"training": {"space": {}}, "records": {}, "licence": "none"}
    network = DualEncoder(HYPER).eval()
    save_model(room / "start", "toy", network, HYPER, {"gc_ms": 10.0, "smiles": 20.0}, card, half=True)
    (room / "corpus.toml").write_text(CORPUS)
    ei_corpus = CORPUS.replace("spectra.parquet", "ei.parquet").replace('"corpus"', '"ei-corpus"')
    (room / "ei-corpus.toml").write_text(ei_corpus)
    plans = {"spectra": SPECTRA, "fragmentation": FRAGMENTATION, "memory": MEMORY}
    for name, text in plans.items():
        (room / f"{name}.toml").write_text(text)
    for name in ("spectra", "fragmentation"):
        pretrain(room / f"{name}.toml", device="cpu")
    memory.run(room / "memory.toml", device="cpu")
    return room


def test_spectra_learn_to_meet_their_molecules(room: Path) -> None:
    log = read_log(room / "pretrained")
    assert len(log) == 3
    for term in ("same_mass", "all", "fingerprint"):
        assert log[-1][term] < log[0][term]
    assert 0 <= log[-1]["dev_prior_at_1"] <= log[-1]["dev_prior_at_5"] <= 1
    assert log[-1]["dev_queries"] >= 1
    config = json.loads((room / "pretrained" / "config.json").read_text())
    tower = Tower("lc_ms", config["tower"], config["head"])
    tower.load_state_dict(load_file(room / "pretrained" / "encoder.safetensors"))


def test_same_mass_means_within_the_tolerance_and_not_itself(room: Path) -> None:
    corpus = open_corpus(room / "corpus")
    everything = np.arange(len(corpus))
    pool, rng = MassPool(corpus, everything, 10), np.random.default_rng(7)
    met = 0
    for row in everything:
        near = np.abs(pool.masses - pool.masses[row]) <= pool.masses[row] * 10e-6
        expected = np.flatnonzero(near & (corpus.inchikey_hashes != corpus.inchikey_hashes[row]))
        assert sorted(pool.same_mass(row)) == expected.tolist()
        drawn = pool.draw(row, 3, rng)
        assert len(drawn) == len(set(drawn.tolist())) == min(3, len(expected))
        assert set(drawn) <= set(expected)
        met += len(expected)
    assert met > len(corpus)


def test_no_molecule_of_the_dev_split_is_in_a_step(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_plan(room / "spectra.toml", SpectraPlan)
    corpus = corpus_of(plan)
    task = SpectraTask(corpus, plan, torch.device("cpu"))
    assert not corpus.is_dev[task.rows].any()
    assert not corpus.is_dev[task.same_mass.rows].any()
    assert corpus.is_dev[task.dev].all()
    assert len(task.rows) + len(task.dev) == len(task.measured.molecules)

    learnt: list[int] = []

    def note(cases: list[RankingCase], *_: object) -> dict[str, int]:
        learnt.extend(row for case in cases for row in case.rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(fragmentation, "vocabulary_of", note)
    with pytest.raises(KeyboardInterrupt):
        fragmentation.run(read_plan(room / "fragmentation.toml", FragmentationPlan), torch.device("cpu"))
    assert learnt
    assert not corpus.is_dev[learnt].any()


# Fragmentation


def test_what_falls_off_here_is_told_from_what_does_not(room: Path) -> None:
    log = json.loads((room / "fragmentation" / "log.json").read_text())
    assert log["cross_entropy"][-1] < log["cross_entropy"][0] - 0.1
    assert log["dev_molecules"] > 0
    learned = read_model(room / "fragmentation" / "lc_ms_rerank.json")
    molecule = FragmentedMolecule(parse("COc1ccc(Cl)cc1")[0], learned)
    shares, fragments = molecule.shares(0), molecule.described.fragments
    single = [i for i in range(len(fragments.sides)) if fragments.bonds[i, 1] < 0]
    kept = {
        int(fragments.atoms(i).sum()): float(shares[i]) for i in single if fragments.atoms(i)[2]
    }  # with the carbon that the methoxy group stands on
    without_chlorine = next(
        float(shares[i]) for i in single if fragments.lost[i, 0] == 6 and not fragments.atoms(i)[6]
    )
    assert kept[7] > 3 * without_chlorine  # the methoxy group falls off, the chlorine never did


def test_inference_gives_what_training_saw(room: Path) -> None:
    corpus = open_corpus(room / "corpus")
    described = DescribedMolecules(corpus)
    rows = [0, 1, 2]
    mass = described[0].mass
    record = {"mzs": [51.02, 78.05, mass / 2, mass - 30], "intensities": [1, 5, 9, 2], "ion_mode": "-"}
    plan = read_plan(room / "fragmentation.toml", FragmentationPlan)
    tolerance = plan.tolerance
    peaks = neutral_peaks(modalities.get("lc_ms").read(record), "lc_ms", mass, tolerance.ppm, tolerance.da)
    case = RankingCase(rows, [peaks])
    vocabulary = vocabulary_of([case], described, 1)
    model = TrainableFragmentation(len(vocabulary), 2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (model.own, model.codes, model.shifts):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        trained = model.scale.exp() * model(case_tensors(case, described, vocabulary, [0, 1]))
    learned = model.exported(plan, vocabulary, np.zeros(0), {})
    mols = [parse(corpus.smiles_of(row))[0] for row in rows]
    inferred = [FragmentedMolecule(mol, learned).score(peaks) for mol in mols]
    np.testing.assert_allclose(trained[0].numpy(), inferred, rtol=1e-4)


# Memory


def knn_memory(records: int = 6, nearest: int = 2, trust: float = 0.0) -> KNNMemory:
    torch.manual_seed(1)
    one = KNNMemory(10, records, records, key=5, d=4, nearest=nearest, guess=7).eval()
    one.guess_length.data.fill_(trust)
    one.keys.copy_(F.normalize(torch.randn(records, 5), dim=1))
    one.values.copy_(F.normalize(torch.randn(records, 4), dim=1))
    one.molecule.copy_(torch.arange(records))
    return one


@torch.inference_mode()
def test_a_query_that_is_kept_retrieves_its_molecule() -> None:
    one, binned = knn_memory(nearest=1), torch.rand(3, 10)
    one.keys[:3] = one.query_key(binned)
    assert torch.allclose(F.normalize(one(binned), dim=1), one.values[:3], atol=1e-5)
    one.molecule.zero_()  # several records of one molecule share its vector
    assert torch.allclose(F.normalize(one(binned), dim=1), one.values[:1].expand(3, -1), atol=1e-5)
    guess = knn_memory(trust=0.4)(binned) - knn_memory(trust=0.0)(binned)
    assert torch.allclose(guess.norm(dim=1), torch.full((3,), 0.4), atol=1e-5)


@torch.inference_mode()
def test_answers_change_continuously_as_neighbours_change() -> None:
    one = knn_memory(records=200, nearest=3, trust=0.3)
    start, end = torch.randn(1, 10), torch.randn(1, 10)
    path = start + (end - start) * torch.linspace(0, 1, 4001)[:, None]
    who = one.neighbour_weights(one.query_key(path) @ one.keys.T)[1].sort(dim=1).values
    assert len(torch.unique(who, dim=0)) > 5  # neighbours do change on the way
    assert (one(path[1:]) - one(path[:-1])).norm(dim=1).max() < 0.02


@torch.inference_mode()
def test_balance_weighs_the_space_against_the_memory() -> None:
    one, binned, own = knn_memory(), torch.rand(2, 10), F.normalize(torch.randn(2, 3), dim=1)
    one.balance.fill_(1e6)
    assert torch.allclose(one.concat(own, binned)[:, :3], own, atol=1e-4)
    one.balance.fill_(0.0)
    assert torch.allclose(one.concat(own, binned)[:, 3:], F.normalize(one(binned), dim=1), atol=1e-5)


def test_peaks_and_losses_are_binned_where_they_belong() -> None:
    reader = modalities.get("lc_ms")
    tower = reader.encoder(width=8, hidden=8, layers=1, kernel=0)
    bare = {"mzs": [100.0, 150.01], "intensities": [1.0, 4.0]}
    binned = tower.binned(
        tensors(reader.collate([reader.read(bare | {"precursor_mz": 200.0}), reader.read(bare)]))
    )
    assert binned.shape == (2, tower.n_bins)
    assert torch.allclose(binned.sum(dim=1), torch.tensor([3.0, 1.5]), atol=1e-4)
    peak, loss = round(100.0 / BIN) % BINS, BINS + round(100.0 / BIN) % BINS
    assert binned[0, [peak, loss]].tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    # 150.01 lies between two bins: each gets half
    near = binned[0, int(150.01 / BIN) % BINS], binned[0, int(150.01 / BIN + 1) % BINS]
    assert sum(near) == pytest.approx(1.0, abs=0.01)
    assert binned[1, BINS:].sum() == 0


def test_a_space_is_given_a_memory_and_the_rest_stays_to_the_bit(room: Path) -> None:
    log = read_log(room / "with-memory")
    assert len(log) == 4
    assert log[-1]["contrast"] < log[0]["contrast"]
    assert log[-1]["similarity"] < log[0]["similarity"]
    assert log[-1]["dev_memory_alone_at_10"] > 3 * 10 / log[-1]["dev_pool"]
    assert log[-1]["balance"] in memory.BALANCES
    before = load_model(room / "start").network.state_dict()
    model = load_model(room / "with-memory" / "model")
    after = model.network.state_dict()
    kept = {name: name.replace("heads.gc_ms.", "heads.gc_ms.head.") for name in before}
    assert all(torch.equal(before[name], after[new]) for name, new in kept.items())
    assert {name.split(".")[2] for name in after if name not in kept.values()} == {"memory", "similarity"}
    assert (model.spaces["gc_ms"].d, model.spaces["smiles"].d) == (8 + 16, 8)
    graph = model.encode_molecules([Chem.MolFromSmiles("CCO")])["gc_ms"]
    record = model.encode_records("gc_ms", [{"mzs": [31, 45, 46], "intensities": [9, 5, 2]}])
    assert graph.shape == record.shape == (1, 24)
    assert np.allclose(np.linalg.norm([graph[0], record[0]], axis=1), 1, atol=1e-5)


def test_a_second_memory_takes_the_place_of_the_first(room: Path) -> None:
    again = MEMORY.replace('start = "start"', 'start = "with-memory/model"').replace(
        '"with-memory"', '"again"'
    )
    (room / "again.toml").write_text(again)
    memory.run(room / "again.toml", device="cpu")
    first, second = (load_file(room / at / "model/model.safetensors") for at in ("with-memory", "again"))
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_memory_holds_no_dev_molecule_and_no_query_finds_itself(room: Path) -> None:
    """In a step all of a molecule's own records are left out, or it would learn to look up answers."""
    plan = read_plan(room / "memory.toml", MemoryPlan)
    task = memory.MemoryTask(plan, load_model(room / "start").network.requires_grad_(False))
    in_dev = task.corpus.is_dev[task.molecules]
    assert in_dev[task.dev].all()
    assert len(task.dev_records)
    for trained in (task.rows, task.negatives, task.molecule[task.records]):
        assert not in_dev[trained].any()
    seen = []
    weights = task.model.memory.neighbour_weights
    task.model.memory.neighbour_weights = lambda cosines: seen.append(cosines) or weights(cosines)  # type: ignore[method-assign, assignment, func-returns-value]
    rows = task.rows[:8]
    task.loss(rows, np.random.default_rng(0))
    own = task.inchikey_hashes[rows][:, None] == task.record_hashes[None]
    assert own.any(dim=1).all()
    assert (seen[0][own] == -1).all()
    assert (seen[0][~own] > -1).all()


def test_a_space_that_is_not_there_or_bins_nothing_is_refused(room: Path) -> None:
    for name, message in (("c_nmr", "no space 'c_nmr'"), ("smiles", "bins no records")):
        (room / "odd.toml").write_text(MEMORY.replace('name = "gc_ms"', f'name = "{name}"'))
        with pytest.raises(ConfigError, match=message):
            memory.run(room / "odd.toml")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_step_runs_on_cuda(room: Path) -> None:
    texts = {"pretrained": SPECTRA, "fragmentation": FRAGMENTATION, "with-memory": MEMORY}
    for name, text in texts.items():
        (room / f"cuda-{name}.toml").write_text(text.replace(f'out = "{name}"', f'out = "cuda-{name}"'))
    for name in ("pretrained", "fragmentation"):
        pretrain(room / f"cuda-{name}.toml", device="cuda")
    card = memory.run(room / "cuda-with-memory.toml", device="cuda")
    assert load_model(card.directory).spaces["gc_ms"].d == 8 + 16
