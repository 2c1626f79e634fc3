"""What a card keeps of an earlier version of the model: measurements of spaces whose weights are the same.

A step of training may make one space anew and leave the others as they are, to the bit. Their vectors, and so
all that was measured of them, stay; each such entry says with which weights it was measured.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from acml_search.encoders.card import ModelCard
from acml_search.networks import current_names

LISTS = ("metrics", "within_batches", "recall_by_class")
BY_SPACE = ("calibration", "together")


def unchanged(before: ModelCard, now: ModelCard) -> frozenset[str]:
    """Spaces of both models whose vectors are the same: trunk, head and tower have the same tensors and
    hyper-parameters.
    """
    old, new = (current_names(load_file(card.weights)) for card in (before, now))
    old_hyper, new_hyper = before.data["hyper"], now.data["hyper"]
    if {k: v for k, v in old_hyper.items() if k != "spaces"} != {
        k: v for k, v in new_hyper.items() if k != "spaces"
    }:
        return frozenset()
    return frozenset(
        name
        for name in before.spaces.keys() & now.spaces.keys()
        if old_hyper["spaces"][name] == new_hyper["spaces"][name]
        and _same(old, new, ("trunk.", f"heads.{name}.", f"towers.{name}."))
    )


def carried(before: ModelCard, now: ModelCard, asked: Collection[str]) -> dict[str, Any]:
    """Entries of the earlier card about unchanged spaces, but for questions that were `asked` again: by the
    keys of a card, `spaces` with the scale and the weights of re-ranking of each.
    """
    spaces, data = unchanged(before, now), before.data | before.measurements
    of = {one["question"]: one["modality"] for one in data.get("metrics", ())}

    def stays(question: str) -> bool:
        return question not in asked and set(of.get(question, "?").split("+")) <= spaces

    kept: dict[str, Any] = {
        key: [_marked(one, before) for one in data.get(key, ()) if stays(one["question"])] for key in LISTS
    }
    for key in BY_SPACE:
        kept[key] = {
            name: _marked(one, before) for name, one in data.get(key, {}).items() if stays(one["question"])
        }
    kept["known_failures_by_class"] = [
        told for told in data.get("known_failures_by_class", ()) if stays(told.split(",")[0])
    ]
    fitted = {*kept["calibration"], *(one["modality"] for one in kept["metrics"] if one.get("rerank"))}
    kept["spaces"] = {name: data["spaces"][name] for name in fitted & spaces}
    return kept


def _marked(entry: dict[str, Any], before: ModelCard) -> dict[str, Any]:
    return {"measured_with": before.digest, **entry}


def _same(old: dict[str, np.ndarray], new: dict[str, np.ndarray], parts: tuple[str, ...]) -> bool:
    names = [{name for name in one if name.startswith(parts)} for one in (old, new)]
    return names[0] == names[1] and all(np.array_equal(old[name], new[name]) for name in names[0])
