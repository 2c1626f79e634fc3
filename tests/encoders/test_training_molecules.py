"""The list of training molecules: what it knows, its file, and the card that names it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from acml_search.core.errors import CheckpointError
from acml_search.encoders.card import read_card
from acml_search.encoders.training_molecules import (
    FILE,
    TrainingMolecules,
    training_list,
    write_training_list,
)

RESEARCH = Path(__file__).parents[2] / "weights" / "acml-research" / "acml_research"
BLOCKS = [f"{i:014d}" for i in range(300)]
LIST = TrainingMolecules.of(BLOCKS[:200], {"c_nmr": BLOCKS[:20], "lc_ms": [*BLOCKS[10:30], BLOCKS[250]]})


def test_records_and_structures_are_told_apart() -> None:
    assert len(LIST) == 201  # a molecule with records counts even where it is no structure of the corpus
    assert LIST.contains(BLOCKS).sum() == 201
    assert LIST.with_records(BLOCKS).sum() == 31
    assert LIST.with_records(BLOCKS, "c_nmr").tolist() == [i < 20 for i in range(300)]
    assert not LIST.with_records(BLOCKS, "image").any()
    assert LIST.counts() == {"molecules": 201, "with_records": 31, "records": {"c_nmr": 20, "lc_ms": 21}}


def test_an_empty_list_contains_nobody() -> None:
    empty = TrainingMolecules.of([], {})
    assert not empty.contains(BLOCKS).any()
    assert not empty.with_records(BLOCKS).any()
    assert LIST.contains([]).tolist() == []


def test_the_file_is_small_and_says_the_same() -> None:
    content = LIST.to_bytes()
    assert content == LIST.to_bytes()
    again = TrainingMolecules.from_bytes(content)
    assert np.array_equal(again.hashes, LIST.hashes)
    assert np.array_equal(again.flags, LIST.flags)
    assert again.modalities == ("c_nmr", "lc_ms")
    assert np.all(np.diff(again.hashes.astype(np.int64)) > 0)
    assert len(content) < 201 * 8 + 1_000


def test_a_card_names_the_list_and_keeps_its_digest(tiny_model, tmp_path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    assert training_list(read_card(model)) is None
    before = read_card(model).digest
    card = write_training_list(model, LIST, "by hand")
    assert card.digest == before
    assert card.data["training_list"]["molecules"] == 201
    assert card.data["training_list"]["made_by"] == "by hand"
    found = training_list(read_card(model))
    assert found is not None
    assert found.contains(BLOCKS).sum() == 201


def test_a_damaged_or_missing_list_is_a_sentence(tiny_model, tmp_path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    write_training_list(model, LIST, "by hand")
    (model / FILE).write_bytes(LIST.to_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged or not that of the card"):
        training_list(read_card(model))
    (model / FILE).unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        training_list(read_card(model))
    (model / FILE).write_bytes(b"no list")
    card = json.loads((model / "card.json").read_text())
    import hashlib

    card["training_list"]["sha256"] = hashlib.sha256(b"no list").hexdigest()
    (model / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="no list of training molecules"):
        training_list(read_card(model))


@pytest.mark.parametrize("card", [read_card(), read_card(RESEARCH)], ids=lambda card: card.name)
def test_shipped_models_name_their_training_molecules(card) -> None:
    found = training_list(card)
    assert found is not None
    entry = card.data["training_list"]
    assert {key: entry[key] for key in ("molecules", "with_records", "records")} == found.counts()
    assert len(found) > 500_000
    assert (card.directory / FILE).stat().st_size < 4_000_000
    assert 20_000 < entry["records"]["c_nmr"] < entry["with_records"]
