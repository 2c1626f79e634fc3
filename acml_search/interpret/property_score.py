"""A property model of `acml-search properties fit` as a score whose atoms can be told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.interpret.score import Score

if TYPE_CHECKING:
    from acml_search.encoders.model import Model


def property_score(directory: Path, target: str | None, model: str | None) -> tuple[Model, Score]:
    """The base model, and the score of one target: the mean of the linear members; for classes the mean of
    their logits, since a mean of probabilities is not linear.

    model: where the base model is, if not where it was. Raises ConfigError
    for a model that is not linear or a target it does not have, and what loading raises.
    """
    from acml_search.encoders.model import load_model
    from acml_search.properties.model import load, read_property_card

    card = read_property_card(directory)
    if card["kind"] != "linear":
        raise ConfigError(
            f"{directory}: a {card['kind']} model cannot be shared out among atoms; "
            "fit one with `acml-search properties fit --head linear`"
        )
    if card.get("descriptors"):
        raise ConfigError(
            f"{directory} reads descriptors, which are of whole molecules and cannot be shared out among "
            "atoms; fit it without --descriptors"
        )
    base = load_model(model or card["base"])
    fitted = load(directory, base)
    targets = fitted.targets
    if target is None and len(targets) > 1:
        raise ConfigError(f"{directory} has several targets; name one with --target: {', '.join(targets)}")
    if target is not None and target not in targets:
        raise ConfigError(f"{directory} has no target {target!r}; it has {', '.join(targets)}")
    at = 0 if target is None else targets.index(target)
    members: list[Any] = list(fitted.members)
    # (x - mean) / scale @ weights + bias of each member, as one weight for each feature
    weights = np.mean([member.weights[:, at] / member.scale for member in members], axis=0)
    bias = np.mean(
        [
            float(member.bias[at])
            - float((member.mean / member.scale).astype(np.float64) @ member.weights[:, at])
            for member in members
        ]
    )
    weights = weights.astype(np.float32)
    classes = card["task"] == "classification"
    return base, Score(
        f"{targets[at]}, by {directory.name}",
        "logit" if classes else "",
        tuple(fitted.parts),
        weights,
        np.zeros_like(weights),
        np.ones_like(weights),
        float(bias),
    )
