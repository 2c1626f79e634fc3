"""From a table of SMILES to a model that loads: corpus, pretraining, alignment, hard negatives; toy size."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem
from safetensors.torch import load_file

from acml_search import modalities
from acml_search.chem.splits import inchikey14_hash
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.encoders.card import ModelCard
from acml_search.encoders.checkpoint import load_model
from acml_search.encoders.training_molecules import training_list
from acml_search.library.stream import default_library, open_library
from acml_search.training import align, hard_negatives
from acml_search.training.corpus import open_corpus
from acml_search.training.loop import read_log
from acml_search.training.pretrain import ViewsTask, pretrain
from acml_search.training.records import FrozenFeatures

CORPUS = """
directory = "corpus"
views = 2
seed = 7
source = [{ name = "toy", path = "library.parquet", limit = 900 }]
exclude = [{ path = "library.parquet", where = "kept_aside" }]
"""
TRAINING = """
[training]
epochs = 3
epoch_size = 512
lr = 5e-3
weight_decay = 1e-4
"""
PRETRAIN = f"""
corpus = {{ file = "corpus.toml" }}
method = "views"
root = "."
out = "pretrained"
modality = "smiles"
seed = 7
tower = {{ width = 16, hidden = 16, layers = 5 }}
head = {{ hidden = 32, d = 16 }}
{TRAINING}
batch_size = 64
group_size = 4
fingerprint_weight = 1.0
"""
ALIGN = f"""
corpus = {{ file = "corpus.toml" }}
root = "."
out = "aligned"
name = "toy"
seed = 7
trunk = {{ width = 16, hidden = 16, layers = 5 }}
[space.smiles]
pretrained = "pretrained"
views = 2
head = {{ hidden = 32, d = 16 }}
[[sampler]]
sources = ["toy"]
n = 64
group_size = 4
{TRAINING}"""
HARD_NEGATIVES = f"""
corpus = {{ file = "corpus.toml" }}
root = "."
out = "hard"
name = "toy-hard"
start = "aligned/model"
seed = 7
[space]
name = "smiles"
encoder_of = "smiles"
pretrained = "pretrained"
features = "features-noise.npy"
views = 1
noisy_views = 2
alignment_weight = 1.0
{TRAINING}
batch_size = 64
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("training")
    smiles, blocks = [], []
    for batch in open_library([default_library()[0]], limit=1_000).batches(1_000):
        for row in batch:
            mol = Chem.MolFromSmiles(row.text)
            if mol is not None:
                smiles.append(row.text)
                blocks.append(Chem.MolToInchiKey(mol)[:14])
    aside = [inchikey14_hash(b) % 7 == 0 for b in blocks]
    table = pa.table({"smiles": smiles, "inchikey14": blocks, "kept_aside": aside})
    pq.write_table(table, room / "library.parquet")
    plans = {"corpus": CORPUS, "pretrain": PRETRAIN, "align": ALIGN, "hard": HARD_NEGATIVES}
    for name, text in plans.items():
        (room / f"{name}.toml").write_text(text)
    pretrain(room / "pretrain.toml", device="cpu")
    return room


@pytest.fixture(scope="module")
def aligned(room: Path) -> ModelCard:
    return align.run(room / "align.toml", device="cpu")


def test_the_corpus_leaves_out_what_is_excluded(room: Path) -> None:
    corpus = open_corpus(room / "corpus")
    table = pq.read_table(room / "library.parquet").to_pylist()
    aside = {inchikey14_hash(row["inchikey14"]) for row in table if row["kept_aside"]}
    assert aside
    assert not aside & set(corpus.inchikey_hashes.tolist())
    report = json.loads((room / "corpus" / "corpus.json").read_text())["report"][0]
    assert report["used"] == len(corpus)
    assert report["excluded"] > 50
    (room / "other.toml").write_text(PRETRAIN.replace("corpus.toml", "other-corpus.toml"))
    (room / "other-corpus.toml").write_text(CORPUS.replace("views = 2", "views = 3"))
    with pytest.raises(ConfigError, match="holds another corpus"):
        pretrain(room / "other.toml")
    (room / "sql.toml").write_text(PRETRAIN.replace("corpus.toml", "sql-corpus.toml"))
    wrong = CORPUS.replace('"corpus"', '"new"').replace("kept_aside", "kept_asde")
    (room / "sql-corpus.toml").write_text(wrong)
    with pytest.raises(ConfigError, match=r"library\.parquet: `where` cannot be used: .*kept_asde"):
        pretrain(room / "sql.toml")


def test_losses_fall_and_the_dev_split_is_found_better_than_by_chance(room: Path) -> None:
    log = read_log(room / "pretrained")
    assert len(log) == 3
    assert log[-1]["contrastive"] < log[0]["contrastive"]
    assert log[-1]["fingerprint"] < log[0]["fingerprint"]
    assert log[-1]["dev_recall_at_1"] > 3 / log[-1]["dev_pool"]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(room: Path) -> None:
    """Stop in epoch 2 of 3, go on, and compare with the run that was never stopped."""
    second = room / "again.toml"
    second.write_text(PRETRAIN.replace('out = "pretrained"', 'out = "again"'))
    evaluate = ViewsTask.evaluate
    calls = 0

    def stop_in_epoch_two(self: ViewsTask, model: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return evaluate(self, model)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ViewsTask, "evaluate", stop_in_epoch_two)
        with pytest.raises(KeyboardInterrupt):
            pretrain(second, device="cpu")
    assert len(read_log(room / "again")) == 1
    pretrain(second, device="cpu")
    whole = (room / "pretrained" / "encoder.safetensors").read_bytes()
    assert (room / "again" / "encoder.safetensors").read_bytes() == whole
    torch.save({"model": {}, "epoch": 1}, room / "again" / "state.pt")
    with pytest.raises(ConfigError, match="remove it to start anew"):
        pretrain(second)


def test_alignment_gives_a_model_that_loads_and_leaves_the_encoder_frozen(
    room: Path, aligned: ModelCard
) -> None:
    log = read_log(room / "aligned")
    assert log[-1]["smiles"] < log[0]["smiles"]
    model = load_model(aligned.directory)
    assert model.spaces["smiles"].d == 16
    assert model.spaces["smiles"].scale == pytest.approx(log[-1]["smiles_scale"], abs=1e-3)
    before, after = load_file(room / "pretrained" / "encoder.safetensors"), load_file(aligned.weights)
    for name, value in before.items():
        if name.startswith("encoder.") and "num_batches" not in name:
            assert (after[f"towers.smiles.{name}"] == value).all(), name


def test_an_alignment_lists_the_molecules_it_saw(room: Path, aligned: ModelCard) -> None:
    corpus = open_corpus(room / "corpus")
    blocks = pq.read_table(room / "corpus" / "molecules.parquet")["inchikey14"].to_pylist()
    library = pq.read_table(room / "library.parquet").to_pylist()
    seen = training_list(aligned)
    assert seen is not None
    trained = set(corpus.train_rows.tolist())
    assert 0 < len(trained) < len(blocks)
    assert seen.contains(blocks).tolist() == [i in trained for i in range(len(blocks))]  # not the dev split
    assert not seen.contains([row["inchikey14"] for row in library if row["kept_aside"]]).any()
    assert not seen.with_records(blocks).any()  # spellings are made from structures


def test_a_record_that_cannot_be_read_costs_one_molecule(room: Path) -> None:
    """Neither pretraining nor the frozen features stop at it."""
    read = modalities.get("smiles").read
    refused = open_corpus(room / "corpus").view(3, 0)

    def refuse(self: object, record: str) -> object:
        if record == refused:
            raise InvalidRecord("it is refused on purpose", modality="smiles")
        return read(record)

    for name, text in (("pretrain", PRETRAIN), ("align", ALIGN)):
        text = text.replace('out = "', 'out = "refused-').replace("epochs = 3", "epochs = 1")
        (room / f"refused-{name}.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(modalities.get("smiles")), "read", refuse)
        pretrain(room / "refused-pretrain.toml", device="cpu")
        align.run(room / "refused-align.toml", device="cpu")
    assert json.loads((room / "refused-aligned" / "features-smiles.json").read_text())["unread"] == [3]


def test_hard_negatives_change_head_and_projection_and_nothing_else(room: Path, aligned: ModelCard) -> None:
    card = hard_negatives.run(room / "hard.toml", device="cpu")
    log = read_log(room / "hard")
    assert log[-1]["contrast"] < log[0]["contrast"]
    assert 0.0 <= log[-1]["misread_at_10"] <= 1.0
    features = np.load(room / "features-noise.npy")
    assert features.shape[1] == 3
    assert not np.array_equal(features[:, 1], features[:, 2])
    before, after = load_file(aligned.weights), load_file(card.weights)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("heads.smiles.", "towers.smiles.projection.")) for name in changed)
    assert training_list(card) is not None
    (room / "wrong.toml").write_text(HARD_NEGATIVES.replace('name = "smiles"', 'name = "c_nmr"'))
    with pytest.raises(ConfigError, match="has no space 'c_nmr'"):
        hard_negatives.run(room / "wrong.toml")


@pytest.mark.parametrize("share", [0.0, 0.35, 1.0])
def test_hard_negatives_skip_sources_and_misread_a_share(share: float) -> None:
    corpus = SimpleNamespace(
        inchikey_hashes=np.arange(9),
        formulas=np.zeros(9, np.int32),
        train_rows=np.array([0, 2, 5, 8]),  # 3 is of a source that is skipped, 7 of the dev split
        dev_rows=np.array([1, 7]),
    )
    frozen = FrozenFeatures(
        np.array([2, 3, 5, 7]), np.zeros((4, 5, 3), np.float16), np.array([0, 1, 3]), torch.device("cpu")
    )  # the third is unreadable
    task = hard_negatives.HardNegativesTask(corpus, np.zeros((4, 2), np.float16), frozen, None, 2, share)
    assert task.rows.tolist() == [0]
    assert task.dev.tolist() == [3]
    views = task.draw_views(20_000, np.random.default_rng(0))
    assert set(views.tolist()) <= set(range(5))
    assert (views >= 2).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_step_runs_on_cuda(room: Path) -> None:
    for name, text in (("pretrain", PRETRAIN), ("align", ALIGN), ("hard", HARD_NEGATIVES)):
        for folder in ("pretrained", "aligned", "hard", "features-noise"):
            text = text.replace(f'"{folder}', f'"cuda-{folder}')
        (room / f"cuda-{name}.toml").write_text(text)
    pretrain(room / "cuda-pretrain.toml", device="cuda")
    align.run(room / "cuda-align.toml", device="cuda")
    card = hard_negatives.run(room / "cuda-hard.toml", device="cuda")
    assert load_model(card.directory).encode_records("smiles", ["CCO"]).shape == (1, 16)
    on_cpu, on_cuda = read_log(room / "pretrained"), read_log(room / "cuda-pretrained")
    assert on_cuda[-1]["contrastive"] == pytest.approx(on_cpu[-1]["contrastive"], rel=0.1)
