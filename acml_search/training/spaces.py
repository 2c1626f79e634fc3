"""Put an alignment together from its configuration, run it, and write the model."""

from __future__ import annotations

import json
import math
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.encoders.model import DualEncoder, save_model
from acml_search.encoders.seen import write_training_list
from acml_search.modalities.shift_list import ShiftModality
from acml_search.networks import current_names
from acml_search.training.align import Aligner, AlignTask, Stream
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import Corpus
from acml_search.training.feeds import DerivedFeed, Feed, MeasuredFeed
from acml_search.training.frozen import Derived, frozen_features
from acml_search.training.loop import train
from acml_search.training.observations import Observations, read_observations
from acml_search.training.seen import command, seen_by
from acml_search.training.shifts import Assigned, read_assigned
from acml_search.training.simulate import open_simulated


def run(path: Path | str) -> ModelCard:
    """Align as the configuration file says; see `align`."""
    return align(read_config(path, ("name", "corpus", "trunk", "space", "stream", "training")))


def align(config: TrainingConfig) -> ModelCard:
    """Align as the configuration says and write the model directory, `out/model`.

    Raises `ConfigError` for a configuration that cannot be followed or an encoder that is not there.
    """
    spaces: dict[str, dict[str, Any]] = config.data["space"]
    corpus = config.corpus()
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    learned = {name: space for name, space in spaces.items() if "copy" not in space}
    model = Aligner(
        _hyper(config, learned), {name: space.get("closeness", 0.0) for name, space in learned.items()}
    )
    _start(config, model, learned)
    observed = {
        name: read_observations(
            name,
            space["records"],
            corpus,
            config.root,
            keep=isinstance(modalities.get(name), ShiftModality),
        )
        for name, space in learned.items()
        if "records" in space
    }
    feeds = {name: _feed(config, corpus, model, name, observed.get(name)) for name in learned}
    streams = [
        Stream(
            corpus,
            _stream_rows(entry, corpus, observed),
            entry["n"],
            entry.get("isomers", 1),
            entry.get("companions", 0),
        )
        for entry in config.data["stream"]
    ]
    labels = _labels(config, corpus, observed)
    task = AlignTask(
        corpus,
        model,
        feeds,
        streams,
        labels,
        config.data["training"].get("weights", {}),
        frozenset(name for name, space in learned.items() if space.get("unfrozen")),
        {name: space.get("dropout", 0.0) for name, space in learned.items()},
    )
    settings = {**config.data["training"], "batch": sum(stream.size for stream in streams)}
    averaged = train(task, settings, config.seed, config.out)
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    about = {
        "training": config.data,
        "molecules": json.loads((corpus.directory / "corpus.json").read_text())["report"],
        "records": {
            name: {"records": len(o.items), "molecules": len(o.molecules), "left_out": o.left_out}
            for name, o in observed.items()
        },
        "split": "spectral sets: train; inner part (choices) = 1 InChIKey block in 50, by hash",
        "seed": config.seed,
        "commit": commit_of(config.root),
        "log": log,
        **config.data.get("card", {}),
    }
    hyper = _hyper(config, spaces)
    network, scales = _complete(config, hyper, averaged)
    directory = config.out / "model"
    save_model(
        directory,
        config.data["name"],
        network,
        hyper,
        scales,
        about,
        half=config.data.get("half", False),
    )
    return write_training_list(directory, seen_by(corpus, observed, labels[1]), command(config))


def _hyper(config: TrainingConfig, spaces: dict[str, dict[str, Any]]) -> dict[str, Any]:
    hyper: dict[str, Any] = {
        "trunk": config.data["trunk"],
        "spaces": {},
        "reads_stereo": config.data.get("reads_stereo", True),
    }
    for name, space in spaces.items():
        file = config.root / space["pretrained"] / "config.json"
        if not file.exists():
            raise ConfigError(
                f"{file} does not exist; pretrain this encoder first (`acml-search train pretrain`)"
            )
        pretrained = json.loads(file.read_text())
        hyper["spaces"][name] = {
            "head": config.data["space"][space.get("copy", name)]["head"],
            "encoder": pretrained["tower"],
            "projection": pretrained["head"],
        }
    return hyper


def _encoder_file(config: TrainingConfig, name: str) -> Path:
    file: Path = config.root / config.data["space"][name]["pretrained"] / "encoder.safetensors"
    return file


def _start(config: TrainingConfig, model: Aligner, learned: dict[str, dict[str, Any]]) -> None:
    """Frozen encoders in their places; trunk, heads and projections from the shift predictor or the model
    that `start` names, and with a model its scales.
    """
    for name, space in learned.items():
        tower = model.network.tower(name)
        tower.load_state_dict(load_file(_encoder_file(config, name)))
        if not space.get("unfrozen"):
            tower.encoder.requires_grad_(False).eval()
        if space.get("frozen_projection"):
            tower.projection.requires_grad_(False)
    if "start" not in config.data:
        return
    known = model.network.state_dict()
    fixed = {name for name, parameter in model.network.named_parameters() if not parameter.requires_grad}
    given = current_names(load_file(config.root / config.data["start"]))
    used = {
        k: v
        for k, v in given.items()
        if (k.startswith(("trunk.", "heads.")) or (".projection." in k and k not in fixed))
        and k in known
        and known[k].shape == v.shape
    }
    if not any(k.startswith("trunk.") for k in used):
        raise ConfigError(f"{config.data['start']} holds no trunk of these dimensions to start from")
    model.network.load_state_dict(used, strict=False)
    card = (config.root / config.data["start"]).with_name("card.json")
    for name, space in json.loads(card.read_text())["spaces"].items() if card.exists() else ():
        if name in learned:
            model.contrast(name).log_scale.data.fill_(math.log(space["scale"]))


def _feed(
    config: TrainingConfig, corpus: Corpus, model: Aligner, name: str, observed: Observations | None
) -> Feed:
    space, tower = config.data["space"][name], model.network.tower(name)
    if observed is not None:
        simulated = space.get("simulated")
        return MeasuredFeed(
            tower, observed, open_simulated(config.root / simulated, name) if simulated else None
        )
    rows = derived_rows(config.seed, corpus, space)
    stamp = encoder_stamp(_encoder_file(config, name), config.seed, rows)
    path = config.root / space.get("features", config.out / f"features-{name}.npy")
    frozen = frozen_features(path, stamp, Derived(name, corpus, rows), tower, space["views"])
    return DerivedFeed(corpus, rows, frozen)


def encoder_stamp(encoder: Path, seed: int, rows: np.ndarray) -> dict[str, Any]:
    """What features of a frozen encoder depend on."""
    return {
        "encoder": sha256(encoder.read_bytes()).hexdigest(),
        "seed": seed,
        "rows": sha256(rows.tobytes()).hexdigest(),
    }


def derived_rows(seed: int, corpus: Corpus, space: dict[str, Any]) -> np.ndarray:
    """Rows whose records are made: a seeded choice, molecules of spectral sets and the inner part first."""
    order = np.random.default_rng([seed, 1]).permutation(len(corpus))
    small = np.isin(np.array(corpus.sources), space.get("first", [])) | corpus.inner
    order = np.concatenate([order[small[order]], order[~small[order]]])
    return np.sort(order[: space.get("molecules", len(corpus))])


def _stream_rows(entry: dict[str, Any], corpus: Corpus, observed: dict[str, Observations]) -> np.ndarray:
    """Molecules of a stream: those with a record of modality `records`, or those of the named `sources`."""
    if "records" in entry:
        return np.intersect1d(observed[entry["records"]].molecules, corpus.learned)
    of = np.isin(np.array(corpus.sources), entry["sources"])
    return np.intersect1d(np.flatnonzero(of), corpus.learned)


def _labels(
    config: TrainingConfig, corpus: Corpus, observed: dict[str, Observations]
) -> tuple[dict[str, Observations], dict[str, Assigned]]:
    lists = {name: o for name, o in observed.items() if isinstance(modalities.get(name), ShiftModality)}
    entry = config.data.get("assigned")
    return lists, read_assigned(config.root / entry["path"], entry["where"], corpus) if entry else {}


def _complete(
    config: TrainingConfig, hyper: dict[str, Any], averaged: Aligner
) -> tuple[Any, dict[str, float]]:
    """The network with the spaces that were not learned but copied (`copy = "smiles"`): the same head and
    projection over another encoder of the same width.
    """
    network = DualEncoder(hyper)
    state = dict(averaged.network.state_dict())
    scales = {name: averaged.contrast(name).scale.item() for name in averaged.losses}
    for name, space in config.data["space"].items():
        if "copy" not in space:
            continue
        of = space["copy"]
        for key, value in list(state.items()):
            for part in (f"heads.{of}.", f"towers.{of}.projection."):
                if key.startswith(part):
                    state[key.replace(f".{of}.", f".{name}.", 1)] = value
        for key, value in load_file(_encoder_file(config, name)).items():
            if key.startswith("encoder."):
                state[f"towers.{name}.{key}"] = value
        scales[name] = scales[of]
    network.load_state_dict(state)
    return network, scales


def commit_of(root: Path) -> str:
    """The commit that is checked out, for a card."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "not in a git checkout"
