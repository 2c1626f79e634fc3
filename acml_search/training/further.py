"""A model that a further step goes on from, with parts of it made anew on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.encoders.model import DualEncoder
from acml_search.networks import width_of
from acml_search.training.config import TrainingConfig
from acml_search.training.known import trunk_digest

ABOUT = ("training", "molecules", "records", "split", "log", "licence", "data_notice")
"""what the card of the model that is gone on from says and stays true"""

Weights = dict[str, Tensor]


def started(
    config: TrainingConfig, card: ModelCard, forget: str | None = None
) -> tuple[dict[str, Any], DualEncoder]:
    """Hyper-parameters and network of the model. `encoders` in the configuration names encoders that were
    trained further since, or made larger; they take the place of the model's. A projection that was
    pretrained with its encoder, and kept so by the alignment, comes with it. So do projection and head of an
    encoder that was taught to meet this model's frozen trunk (`training.measured`).

    The space `forget` loses its memory. Raises `ConfigError` for an encoder that is not there or does not
    fit.
    """
    hyper = json.loads(json.dumps(card.data["hyper"]))
    weights = {k: v.float() for k, v in load_file(card.weights).items()}
    if forget is not None and hyper["spaces"][forget].pop("memory", None):
        weights = _without_memory(weights, forget)
    told = {}
    for name, directory in config.data.get("encoders", {}).items():
        folder = config.root / directory
        if not (folder / "encoder.safetensors").exists():
            raise ConfigError(f"{folder}: there is no encoder.safetensors; pretrain this encoder first")
        newer = json.loads((folder / "config.json").read_text())
        weights = _replaced(weights, hyper["spaces"][name], card, name, folder, newer)
        told[folder] = newer.get("trunk_digest")
    for folder, digest in told.items():
        if digest is not None and digest != trunk_digest(weights):
            raise ConfigError(f"{folder}: this encoder was taught to meet another trunk than {card.name}'s")
    network = DualEncoder(hyper)
    network.load_state_dict(weights, strict=False)
    return hyper, network.eval()


def steps_before(card: ModelCard) -> list[dict[str, Any]]:
    """What was done to the model since its alignment, the first first."""
    before = card.measurements.get("sharpened", [])
    return [before] if isinstance(before, dict) else list(before)


def _replaced(
    weights: Weights, space: dict[str, Any], card: ModelCard, name: str, folder: Path, newer: dict[str, Any]
) -> Weights:
    """The weights with the space's encoder exchanged, and what comes with it; `space` is told."""
    modality = modalities.get(name)
    given = load_file(folder / "encoder.safetensors")
    parts = ["encoder."]
    if "trunk_digest" in newer:
        if space.get("memory"):  # weighed against what the space said before, and laid around its head
            raise ConfigError(
                f"{folder}: the space {name} of {card.name} has a memory beside the head that this encoder "
                "replaces; make both anew with `acml-search train remember`"
            )
        parts += ["projection.", "head."]
        space |= {"projection": newer["head"], "head": newer["molecule"]}
    elif width_of(modality.tower(**newer["tower"])) != width_of(modality.tower(**space["encoder"])):
        raise ConfigError(f"{folder}: this encoder has another width than that of {name}")
    elif card.data["training"]["space"].get(name, {}).get("frozen_projection"):
        parts.append("projection.")
    space["encoder"] = newer["tower"]
    kept = {k: v for k, v in weights.items() if not k.startswith(_places(name, parts))}
    for part, place in zip(parts, _places(name, parts), strict=True):
        kept |= {place + k[len(part) :]: v.float() for k, v in given.items() if k.startswith(part)}
    return kept


def _places(name: str, parts: list[str]) -> tuple[str, ...]:
    """Where a model keeps the parts of a pretrained encoder's file."""
    return tuple(f"heads.{name}." if part == "head." else f"towers.{name}.{part}" for part in parts)


def _without_memory(weights: Weights, name: str) -> Weights:
    inside, beside = f"heads.{name}.head.", (f"heads.{name}.kin.", f"towers.{name}.memory.")
    return {k.replace(inside, f"heads.{name}.", 1): v for k, v in weights.items() if not k.startswith(beside)}
