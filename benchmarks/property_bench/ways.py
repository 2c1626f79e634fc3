"""How each system of a plan is run here and now: its features, its model, its peer, or why it cannot be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.encoders.card import ModelCard, read_card
from acml_search.evaluation.data.feature_store import Columns, FeatureStore
from benchmarks.property_bench.cells import ANY, ONCE, key_of
from benchmarks.property_bench.code import code_of
from benchmarks.property_bench.features import Recipe, model_of, recipe_of
from benchmarks.property_bench.peers import peer_versions
from benchmarks.property_bench.plan import Plan, PropertySet, System


@dataclass(frozen=True)
class Way:
    """What a worker needs for a system. `depends`: text of all that its predictions depend on."""

    name: str
    depends: str
    recipe: Recipe | None = None
    store: FeatureStore | None = None
    columns: Columns = None
    model: str = ""
    python: str = ""


def ways_of(plan: Plan, peer_python: Path | None, cache: Path) -> dict[str, Way | str]:
    """By system: its way, or the sentence that says why there is none."""
    found: dict[str, Way | str] = {}
    for system in plan.systems.values():
        try:
            found[system.name] = _way(system, plan, peer_python, cache)
        except AcmlSearchError as error:
            found[system.name] = str(error)
    return found


def _way(system: System, plan: Plan, peer_python: Path | None, cache: Path) -> Way:
    told = f"{system.kind} epochs {system.epochs}"
    if system.kind == "finetuned":
        card = read_card(model_of(system, plan))
        depends = f"{told} {_trunk(card)} {code_of('finetune')}"
        return Way(system.name, depends, model=str(card.directory))
    if system.kind == "chemprop":
        if peer_python is None:
            raise ConfigError("chemprop has an environment of its own; name its Python with --peer-python")
        versions = peer_versions(str(peer_python), "chemprop_train.py")
        return Way(system.name, f"{told} {versions}", python=str(peer_python))
    recipe, columns = recipe_of(system, plan, peer_python)
    store = FeatureStore.of(cache, recipe.kind, recipe.key)
    depends = f"{told} {store.folder.name} {columns}"
    return Way(system.name, depends, recipe, store, columns)


def _trunk(card: ModelCard) -> str:
    """SHA-256 of a model's trunk, which is all that fine-tuning takes of it."""
    hyper = card.data["hyper"]
    sha = hashlib.sha256(json.dumps([hyper["trunk"], hyper.get("reads_stereo", True)]).encode())
    with safe_open(card.weights, "numpy") as weights:
        for name in sorted(weights.keys()):
            if name.startswith("trunk."):
                sha.update(name.encode() + weights.get_tensor(name).tobytes())
    return sha.hexdigest()


def key_of_cell(way: Way, head: str, rows: str, asked: PropertySet, split: str, seed: int) -> str:
    """What a cell's predictions depend on: the system, the head's code, the rows, the split, the seed."""
    heads = "" if head == "own" else code_of("heads")
    drawn = ANY if head in ONCE else str(seed)
    return key_of(way.depends, head, heads, rows, asked.task, asked.metric, split, drawn)
