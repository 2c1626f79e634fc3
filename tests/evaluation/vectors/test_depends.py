"""What kept vectors depend on: one side of one space, no more and no less."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from acml_search.core.errors import CheckpointError
from acml_search.encoders.card import digest_of, list_models, read_card
from acml_search.evaluation.data.structures import Structure
from acml_search.evaluation.vectors import depends
from acml_search.evaluation.vectors.depends import SIDES, side_key, uses_tower
from acml_search.evaluation.vectors.stored import graph_vectors
from acml_search.evaluation.workers import Workers


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """An untrained model with the spaces smiles, image and c_nmr (through its tower)."""
    import torch

    from acml_search import modalities
    from acml_search.encoders.model import DualEncoder, save_model

    torch.manual_seed(3)
    part, projection = {"width": 16, "hidden": 16, "layers": 5}, {"hidden": 32, "d": 32}
    shifts = {"curve": 8, "hidden": 16, "width": 16}
    towers = {"smiles": part, "image": modalities.get("image").toy, "c_nmr": shifts}
    hyper = {
        "trunk": part,
        "spaces": {
            name: {"head": projection, "encoder": tower, "projection": projection}
            for name, tower in towers.items()
        },
    }
    directory = tmp_path_factory.mktemp("models") / "pictures"
    save_model(directory, "pictures", DualEncoder(hyper), hyper, dict.fromkeys(towers, 10.0), {})
    return directory


def changed(model: Path, to: Path, prefix: str) -> Path:
    """A copy whose tensors of that prefix are others."""
    folder = Path(shutil.copytree(model, to))
    weights = load_file(folder / "model.safetensors")
    touched = [name for name in weights if name.startswith(prefix) and weights[name].dtype == np.float32]
    assert touched
    for name in touched:
        weights[name] = weights[name] + 0.25
    save_file(weights, folder / "model.safetensors")
    card = json.loads((folder / "card.json").read_text())
    card["digest"] = digest_of(folder / "model.safetensors", card["hyper"])
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def keys(model: Path) -> dict[tuple[str, str], str]:
    card = read_card(model)
    return {(space, side): side_key(card, space, side) for space in card.spaces for side in SIDES}


@pytest.mark.parametrize(
    ("prefix", "stale"),
    [
        ("towers.image.", {("image", "record")}),
        ("towers.smiles.", {("smiles", "record")}),
        ("towers.c_nmr.", {("c_nmr", "record"), ("c_nmr", "graph")}),  # predictions pass through it
        ("heads.smiles.", {("smiles", "graph")}),
        ("trunk.", {("smiles", "graph"), ("image", "graph"), ("c_nmr", "graph")}),
    ],
)
def test_a_part_of_the_model_makes_its_own_vectors_stale(pictures, tmp_path, prefix, stale) -> None:
    before, after = keys(pictures), keys(changed(pictures, tmp_path / "other", prefix))
    assert {one for one in before if before[one] != after[one]} == stale
    assert len(set(before.values())) == len(before)


def test_only_a_space_whose_tower_predictions_pass_through_needs_it(pictures) -> None:
    card = read_card(pictures)
    assert {space for space in card.spaces if uses_tower(card, space)} == {"c_nmr"}
    for shipped in list_models():
        through = {space for space in shipped.spaces if uses_tower(shipped, space)}
        assert through == {"c_nmr", "h_nmr", "gc_ms"} & set(shipped.spaces)


def test_code_is_that_of_the_side(monkeypatch) -> None:
    sources = {
        (space, side): depends.code_digest(space, side) for space in ("image", "c_nmr") for side in SIDES
    }
    read, touched = depends._source, set()

    def with_more(name: str) -> str:
        return read(name) + ("\nMORE = 1\n" if name in touched else "")

    monkeypatch.setattr(depends, "_source", with_more)
    for module, stale in (
        ("ocsr.encoder", {("image", "record")}),
        ("ocsr.assemble", {("image", "record")}),
        ("ocsr.depict", {("image", "record")}),
        ("networks.nmr", {("c_nmr", "graph"), ("c_nmr", "record")}),
        ("evaluation.data.records", {("image", "record"), ("c_nmr", "record")}),
        ("chem.graph", set(sources)),
        ("errors", set()),
    ):
        touched = {f"acml_search.{module}"}
        depends._digest_of.cache_clear()
        depends._imports.cache_clear()
        assert {one for one, kept in sources.items() if depends.code_digest(*one) != kept} == stale, module
    depends._digest_of.cache_clear()
    depends._imports.cache_clear()


def test_only_what_is_missing_is_embedded(pictures, tmp_path, monkeypatch) -> None:
    from acml_search.evaluation.vectors import stored

    file = [Structure(smiles, "", "", 0.0) for smiles in ("CCO", "CCN", "c1ccccc1")]
    asked = []
    embed = stored.embed_graphs
    monkeypatch.setattr(stored, "embed_graphs", lambda task: asked.append(task) or embed(task))

    def vectors(model: Path, spaces=None):
        with Workers(1, model=str(model)) as workers:
            return graph_vectors([file], read_card(model), workers, tmp_path / "cache", spaces=spaces)

    first = vectors(pictures, ["smiles"]).take("smiles", ["CCN"])
    assert [task.spaces for task in asked] == [("smiles",)]
    whole = vectors(pictures)
    assert asked[1].spaces == ("image", "c_nmr")
    assert np.array_equal(whole.take("smiles", ["CCN"]), first)
    other = changed(pictures, tmp_path / "other", "towers.image.")
    assert np.array_equal(vectors(other).take("image", ["CCO"]), whole.take("image", ["CCO"]))
    assert len(asked) == 2  # a new picture reader embeds no molecule again
    third = vectors(changed(pictures, tmp_path / "third", "heads.image."))
    assert [task.spaces for task in asked[2:]] == [("image",)]
    assert not np.array_equal(third.take("image", ["CCO"]), whole.take("image", ["CCO"]))
    assert np.array_equal(third.take("c_nmr", ["CCO"]), whole.take("c_nmr", ["CCO"]))


def test_weights_that_cannot_be_read_are_a_sentence(pictures, tmp_path) -> None:
    model = Path(shutil.copytree(pictures, tmp_path / "broken"))
    (model / "model.safetensors").write_bytes(b"none")
    with pytest.raises(CheckpointError, match="the weights cannot be read"):
        side_key(read_card(model), "smiles", "graph")
