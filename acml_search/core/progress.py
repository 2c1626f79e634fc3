"""Progress bars with rate and ETA: on a terminal, to stderr; silent anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: float | None = None,
    initial: int = 0,
    desc: str = "",
    unit: str = "it",
) -> Any:
    """A `tqdm` bar on stderr when that is a terminal, else the same object without output."""
    return tqdm(
        iterable,
        total=total,
        initial=initial,
        desc=desc,
        unit=unit,
        unit_scale=True,
        smoothing=0.1,
        mininterval=0.5,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
        file=sys.stderr,
    )
