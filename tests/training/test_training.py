"""Training end to end at toy size: from a table of SMILES to a model that loads, and a run that resumes."""

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
from acml_search.chem.splits import block_hash
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.encoders.model import load_model
from acml_search.encoders.seen import FILE, training_list
from acml_search.library.read import default_library, open_library
from acml_search.training import pretrain, seen, sharpen, spaces
from acml_search.training.batches import isomer_batches
from acml_search.training.corpus import open_corpus
from acml_search.training.frozen import Frozen

CORPUS = """
[corpus]
directory = "corpus"
views = 2
seed = 7
source = [{ path = "library.parquet", limit = 900 }]
exclude = [{ path = "library.parquet", where = "kept_aside" }]
"""
PRETRAIN = (
    """
root = "."
out = "pretrained"
modality = "smiles"
seed = 7
[tower]
width = 16
hidden = 16
layers = 5
[head]
hidden = 32
d = 16
[training]
epochs = 3
epoch_size = 512
batch = 64
isomers = 4
lr = 5e-3
weight_decay = 1e-4
fingerprint_weight = 1.0
"""
    + CORPUS
)
ALIGN = (
    """
root = "."
out = "aligned"
name = "toy"
seed = 7
[trunk]
width = 16
hidden = 16
layers = 5
[space.smiles]
pretrained = "pretrained"
views = 2
head = { hidden = 32, d = 16 }
[[stream]]
sources = ["library.parquet"]
n = 64
isomers = 4
[training]
epochs = 4
epoch_size = 512
lr = 5e-3
weight_decay = 1e-4
"""
    + CORPUS
)


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
    aside = [block_hash(b) % 7 == 0 for b in blocks]
    pq.write_table(
        pa.table({"smiles": smiles, "inchikey14": blocks, "kept_aside": aside}), room / "library.parquet"
    )
    (room / "pretrain.toml").write_text(PRETRAIN)
    (room / "align.toml").write_text(ALIGN)
    pretrain.run(room / "pretrain.toml")
    return room


def read_log(directory: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def test_the_corpus_leaves_out_what_is_kept_aside(room: Path) -> None:
    corpus = open_corpus(room / "corpus")
    table = pq.read_table(room / "library.parquet").to_pylist()
    aside = {block_hash(row["inchikey14"]) for row in table if row["kept_aside"]}
    assert aside
    assert not aside & set(corpus.blocks.tolist())
    report = json.loads((room / "corpus" / "corpus.json").read_text())["report"][0]
    assert report["used"] == len(corpus)
    assert report["excluded"] > 50


def test_losses_fall_and_the_inner_part_is_found_better_than_by_chance(room: Path) -> None:
    log = read_log(room / "pretrained")
    assert len(log) == 3
    assert log[-1]["contrastive"] < log[0]["contrastive"]
    assert log[-1]["fingerprint"] < log[0]["fingerprint"]
    assert log[-1]["inner_recall_at_1"] > 3 / log[-1]["inner_pool"]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(room: Path) -> None:
    """Stop after epoch 2 of 3, go on, and compare with the run that was never stopped."""

    class Stopped(Exception):
        pass

    second = room / "again.toml"
    second.write_text(PRETRAIN.replace('out = "pretrained"', 'out = "again"'))
    evaluate = pretrain.PretrainTask.evaluate
    calls = 0

    def stop_in_epoch_two(self: pretrain.PretrainTask, model: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Stopped
        return evaluate(self, model)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain.PretrainTask, "evaluate", stop_in_epoch_two)
        with pytest.raises(Stopped):
            pretrain.run(second)
    assert len(read_log(room / "again")) == 1
    pretrain.run(second)
    whole = (room / "pretrained" / "encoder.safetensors").read_bytes()
    assert (room / "again" / "encoder.safetensors").read_bytes() == whole


def test_alignment_gives_a_model_that_loads_and_leaves_the_tower_frozen(room: Path) -> None:
    from safetensors.torch import load_file

    card = spaces.run(room / "align.toml")
    log = read_log(room / "aligned")
    assert log[-1]["smiles"] < log[0]["smiles"]
    model = load_model(card.directory)
    assert model.spaces["smiles"].d == 16
    assert model.spaces["smiles"].scale == pytest.approx(log[-1]["smiles_scale"], abs=1e-3)
    before = load_file(room / "pretrained" / "encoder.safetensors")
    after = load_file(card.weights)
    for name, value in before.items():
        if name.startswith("encoder.") and "num_batches" not in name:
            assert (after[f"towers.smiles.{name}"] == value).all(), name


def test_an_alignment_lists_what_it_saw(room: Path) -> None:
    card = spaces.run(room / "align.toml")
    corpus = open_corpus(room / "corpus")
    blocks = pq.read_table(room / "corpus" / "molecules.parquet")["inchikey14"].to_pylist()
    library = pq.read_table(room / "library.parquet").to_pylist()
    found = training_list(card)
    assert found is not None
    learned = set(corpus.learned.tolist())
    assert 0 < len(learned) < len(blocks)
    assert found.any(blocks).tolist() == [i in learned for i in range(len(blocks))]  # the inner part is not
    assert not found.any([row["inchikey14"] for row in library if row["kept_aside"]]).any()
    assert not found.with_records(blocks).any()  # spellings are made from structures
    (card.directory / FILE).unlink()
    again = seen.run(room / "align.toml")
    assert again.digest == card.digest
    assert again.data["training_list"] == card.data["training_list"]


def test_a_record_that_cannot_be_read_costs_one_molecule(room: Path) -> None:
    """Neither pretraining nor the frozen features stop at it."""
    read = modalities.get("smiles").read
    refused = open_corpus(room / "corpus").view(3, 0)

    def refuse(self: object, record: str) -> object:
        if record == refused:
            raise InvalidRecord("it is refused on purpose", modality="smiles")
        return read(record)

    (room / "refused.toml").write_text(PRETRAIN.replace('out = "pretrained"', 'out = "pre-refused"'))
    text = ALIGN.replace('out = "aligned"', 'out = "refused"').replace("epochs = 4", "epochs = 1")
    (room / "refused-align.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(modalities.get("smiles")), "read", refuse)
        pretrain.run(room / "refused.toml")
        spaces.run(room / "refused-align.toml")
    assert json.loads((room / "refused" / "features-smiles.json").read_text())["unread"] == [3]


def test_another_corpus_in_the_same_folder_is_refused(room: Path) -> None:
    other = room / "other.toml"
    other.write_text(PRETRAIN.replace("views = 2", "views = 3"))
    with pytest.raises(ConfigError, match="holds another corpus"):
        pretrain.run(other)


def test_configurations_that_cannot_be_followed_say_why(room: Path) -> None:
    lacking = room / "lacking.toml"
    lacking.write_text('root = "."\nout = "x"\n')
    with pytest.raises(ConfigError, match="lacks seed, modality"):
        pretrain.run(lacking)
    with pytest.raises(ConfigError, match="no such configuration"):
        spaces.run(room / "absent.toml")
    broken = room / "broken.toml"
    broken.write_text("root = ")
    with pytest.raises(ConfigError, match="not TOML"):
        spaces.run(broken)


def test_isomer_batches_visit_each_row_once_and_keep_formulas_together() -> None:
    formulas = np.repeat(np.arange(50), 20)
    rows = np.arange(1000)
    batches = list(isomer_batches(rows, formulas, 100, 10, np.random.default_rng(7)))
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    for batch in batches:
        runs = formulas[batch].reshape(-1, 10)
        assert (runs == runs[:, :1]).all()


def test_sharpening_changes_two_projections_and_nothing_else(room: Path) -> None:
    if not (room / "aligned" / "model" / "card.json").exists():
        spaces.run(room / "align.toml")
    (room / "sharpen.toml").write_text(
        'root = "."\nout = "sharp"\nname = "toy-sharp"\nstart = "aligned/model"\nseed = 7\n'
        '[space]\nname = "smiles"\npretrained = "pretrained"\nfeatures = "aligned/features-smiles.npy"\n'
        "views = 2\ncloseness = 1.0\n[training]\nepochs = 3\nepoch_size = 512\nbatch = 64\nlr = 5e-3\n"
        "weight_decay = 1e-4\n" + CORPUS
    )
    sharpen.run(room / "sharpen.toml")
    log = read_log(room / "sharp")
    assert log[-1]["contrast"] < log[0]["contrast"]
    before = load_file(room / "aligned" / "model" / "model.safetensors")
    after = load_file(room / "sharp" / "model" / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(("heads.smiles.", "towers.smiles.projection.")) for name in changed)
    assert training_list(load_model(room / "sharp" / "model").card) is not None


def test_a_space_learns_from_structures_that_were_misread(room: Path) -> None:
    if not (room / "aligned" / "model" / "card.json").exists():
        spaces.run(room / "align.toml")
    (room / "misread.toml").write_text(
        'root = "."\nout = "misread"\nname = "toy-misread"\nstart = "aligned/model"\nseed = 7\n'
        '[space]\nname = "smiles"\nthrough = "smiles"\npretrained = "pretrained"\n'
        'features = "features-misread.npy"\nviews = 1\nmisread = 2\ncloseness = 1.0\n[training]\nepochs = 4\n'
        "epoch_size = 512\nbatch = 64\nlr = 5e-3\nweight_decay = 1e-4\n" + CORPUS
    )
    sharpen.run(room / "misread.toml")
    log = read_log(room / "misread")
    assert log[-1]["contrast"] < log[0]["contrast"]
    assert 0.0 <= log[-1]["misread_at_10"] <= 1.0
    features = np.load(room / "features-misread.npy")
    assert features.shape[1] == 3
    assert not np.array_equal(features[:, 1], features[:, 2])


def test_sharpening_takes_no_molecule_of_a_source_that_is_skipped() -> None:
    rows = np.array([2, 3, 5, 7])
    corpus = SimpleNamespace(
        blocks=np.arange(9),
        formulas=np.zeros(9, np.int32),
        learned=np.array([0, 2, 5, 8]),  # 3 is of a source that is skipped, 7 of the inner part
        kept=np.array([1, 7]),
    )
    frozen = Frozen(np.zeros((4, 1, 3), np.float16), np.array([0, 1, 3]))  # the third cannot be read
    task = sharpen.SharpenTask(corpus, rows, np.zeros((4, 2), np.float16), frozen, None, 1)
    assert task.rows.tolist() == [0]
    assert task.kept.tolist() == [3]


@pytest.mark.parametrize("share", [0.0, 0.35, 1.0])
def test_the_share_of_misread_records_is_the_one_asked_for(share: float) -> None:
    corpus = SimpleNamespace(
        blocks=np.arange(2), formulas=np.zeros(2, np.int32), learned=np.array([0, 1]), kept=np.array([], int)
    )
    frozen = Frozen(np.zeros((2, 5, 3), np.float16), np.array([0, 1]))
    task = sharpen.SharpenTask(corpus, np.arange(2), np.zeros((2, 2), np.float16), frozen, None, 2, share)
    views = task._views(20_000, np.random.default_rng(0))
    assert set(views.tolist()) <= set(range(5))
    assert (views >= task.right).mean() == pytest.approx(share, abs=0.01)


def test_sharpening_asks_for_a_space_that_is_there(room: Path) -> None:
    if not (room / "aligned" / "model" / "card.json").exists():
        spaces.run(room / "align.toml")
    text = (
        'root = "."\nout = "none"\nname = "x"\nstart = "aligned/model"\nseed = 7\n[space]\nname = "c_nmr"\n'
    )
    (room / "wrong.toml").write_text(text + "[training]\nepochs = 1\n" + CORPUS)
    with pytest.raises(ConfigError, match="has no space 'c_nmr' to sharpen"):
        sharpen.run(room / "wrong.toml")


def test_every_molecule_meets_its_neighbours(room: Path) -> None:
    rng = np.random.default_rng(0)
    near = sharpen.nearest(rng.standard_normal((300, 8)).astype(np.float32))
    assert near.shape == (300, sharpen.NEIGHBOURS)
    assert near.min() >= 0
