"""Heads on frozen features, by name: `linear` (ridge or logistic regression), `kernel` (the same on likeness
to known molecules) and `boosted` (trees).
"""

from __future__ import annotations

import json
from pathlib import Path

from acml_search.core.errors import ConfigError
from acml_search.properties.boosted import Boosted
from acml_search.properties.fitted import TASKS, Features, FittedHead, Floats
from acml_search.properties.kernel import Kernel
from acml_search.properties.linear import Linear

KINDS = ("linear", "kernel", "boosted")


def fit_head(
    kind: str,
    task: str,
    x: Features,
    y: Floats,
    valid_x: Features,
    valid_y: Floats,
    seed: int,
    class_weight: bool = False,
) -> FittedHead:
    """Fit a head: `x` (n, f), `y` (n, t) with NaN for missing labels, the same for the valid part.

    `class_weight`: both classes weigh the same. Raises ConfigError for an unknown kind or task.
    """
    if task not in TASKS or kind not in KINDS:
        raise ConfigError(
            f"a head is one of {', '.join(KINDS)} for {' or '.join(TASKS)}, not {kind} for {task}"
        )
    if kind == "boosted":
        return Boosted.fit(task, x, y, valid_x, valid_y, seed, class_weight)
    if kind == "kernel":
        return Kernel.fit(task, x, y, valid_x, valid_y, seed, class_weight)
    return Linear.fit(task, x, y, valid_x, valid_y, class_weight)


def load_head(directory: Path) -> FittedHead:
    """What `save` wrote. Raises ConfigError where the folder is damaged."""
    try:
        told = json.loads((directory / "head.json").read_text(encoding="utf-8"))
        made_as = {one.kind: one for one in (Linear, Kernel, Boosted)}[told["kind"]]
        return made_as.load(directory, told)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{directory}: the head cannot be read ({error}); fit the model again") from error
