"""What the steps after alignment share: a model to go on from, and the model that comes of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.encoders.card import ModelCard, model_below, read_card
from acml_search.encoders.checkpoint import DualEncoder, length_of, save_model, stored_weights
from acml_search.encoders.training_molecules import training_list, write_training_list
from acml_search.networks import current_names, placement, width_of
from acml_search.training.align import commit_of
from acml_search.training.config import FinetunePlan
from acml_search.training.corpus import Corpus
from acml_search.training.loop import encoder_file, read_log

CARD_KEYS = ("training", "molecules", "records", "split", "log", "licence", "data_notice")
"""what the card of the model that is gone on from says and stays true"""


def finetune_from(
    plan: FinetunePlan, space: str, *, new_memory: bool = False
) -> tuple[ModelCard, dict[str, Any], DualEncoder]:
    """Card, hyper-parameters and network of the model that a plan starts from; it must have `space`.

    The plan's `encoders` take the place of the model's. A projection that was pretrained with its encoder,
    and kept so by the alignment, comes with it. new_memory: `space` loses the memory that it has.

    Raises `ConfigError` for an encoder that is missing or does not fit, `CheckpointError` without a model.
    """
    card = read_card(model_below(plan.root_folder, plan.start))
    if space not in card.networks:
        raise ConfigError(f"{plan.path}: {card.name} has no space {space!r}")
    hyper = copy.deepcopy(card.data["hyper"])
    weights = stored_weights(card, list(card.networks))
    if new_memory and hyper["spaces"][space].pop("memory", None):
        inside, memory = f"heads.{space}.head.", (f"heads.{space}.similarity.", f"towers.{space}.memory.")
        weights = {
            k.replace(inside, f"heads.{space}.", 1): v for k, v in weights.items() if not k.startswith(memory)
        }
    for name, folder in plan.encoders.items():
        if name not in card.networks:
            raise ConfigError(f"{plan.path}: {card.name} has no space {name!r} for encoders.{name}")
        weights = _with_encoder(weights, hyper["spaces"][name], card, name, plan.below(folder))
    network = DualEncoder(hyper)
    network.load_state_dict(weights, strict=False)
    return card, hyper, network.eval()


def _with_encoder(
    weights: dict[str, Tensor], space: dict[str, Any], card: ModelCard, name: str, folder: Path
) -> dict[str, Tensor]:
    """The weights with a space's encoder exchanged; so are the hyper-parameters `space`."""
    if not encoder_file(folder).exists():
        raise ConfigError(f"{folder}: there is no encoder.safetensors; pretrain this encoder first")
    tower = json.loads((folder / "config.json").read_text())["tower"]
    modality = modalities.get(name)
    if width_of(modality.encoder(**tower)) != width_of(modality.encoder(**space["encoder"])):
        raise ConfigError(f"{folder}: this encoder has another width than that of {name}")
    parts = ["encoder."]
    if card.data["training"]["space"].get(name, {}).get("frozen_projection"):
        parts.append("projection.")
    replaced = tuple(f"towers.{name}.{part}" for part in parts)
    space["encoder"] = tower
    kept = {k: v for k, v in weights.items() if not k.startswith(replaced)}
    given = current_names(load_file(encoder_file(folder)))
    return kept | {f"towers.{name}.{k}": v.float() for k, v in given.items() if k.startswith(tuple(parts))}


def save_finetuned(
    plan: FinetunePlan,
    start: ModelCard,
    network: DualEncoder,
    hyper: dict[str, Any],
    scales: dict[str, float],
) -> ModelCard:
    """Write the model directory, `out/model`; its card tells all steps since the alignment."""
    known = start.data | start.measurements
    before = known.get("sharpened", [])
    step = {"config": plan.written(), "start": start.digest, "log": read_log(plan.out_folder)}
    about = {
        **{key: known[key] for key in CARD_KEYS if key in known},
        "seed": plan.seed,
        "commit": commit_of(plan.root_folder),
        "sharpened": [*([before] if isinstance(before, dict) else before), step],
    }
    made = {name: one for name, one in start.data["spaces"].items() if "features" in one}
    for name, one in start.data["spaces"].items():
        if "configuration" in one:
            found = {"d": length_of(hyper["spaces"][name]), "scale": scales[name]}
            made[name] = {**found, "configuration": one["configuration"]}
    card = save_model(
        plan.out_folder / "model", plan.name, network.cpu(), hyper, scales, about, half=plan.half, made=made
    )
    molecules = training_list(start)  # no molecule is new here
    if molecules is None:
        return card
    return write_training_list(card.directory, molecules, start.data["training_list"]["made_by"])


@torch.inference_mode()
def pooled_vectors(
    network: DualEncoder, corpus: Corpus, rows: np.ndarray, space: str
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled trunk (n, trunk width) and graph side of `space` (n, d) of molecules, both float16."""
    pooled, vectors = [], []
    device, _ = placement(network)
    for start in progress(range(0, len(rows), 64), desc="trunk", unit="batch"):
        batch = corpus.graph_batch(rows[start : start + 64], device)
        states, whole = network.trunk.states_and_pooled(batch)
        pooled.append(whole.half().cpu().numpy())
        own = network.heads[space](states, whole, batch, network.tower(space))
        vectors.append(own.half().cpu().numpy())
    return np.concatenate(pooled), np.concatenate(vectors)
