"""Logistic regression of many targets with missing labels in one solve.

The targets share the features, not the weights: with a mask over the missing labels their losses add up and
L-BFGS works on all weights at once, a matrix product a step. 617 targets of 8,576 molecules take seconds
where a fit per target takes minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

STEPS = 60
"""of L-BFGS at each strength, begun where the stronger one ended"""


def logistic_path(
    x: Features, y: Floats, strengths: Sequence[float], class_weight: bool
) -> list[tuple[Features, Features]]:
    """Weights (f, t) and bias (t,) at each L2 strength, in the order of `strengths`.

    `x` (n, f) scaled features, `y` (n, t) of 0 and 1, NaN where there is no label. The loss of a target is
    the mean over its labels of the cross-entropy (`class_weight`: both classes weigh the same) plus half the
    strength times its weights squared.
    """
    import torch
    from torch.nn import functional as F

    known = np.isfinite(y)
    weigh = known / np.maximum(known.sum(axis=0), 1)
    if class_weight:
        ones = known & (y == 1)
        zeros = known & (y == 0)
        weigh = 0.5 * (ones / np.maximum(ones.sum(axis=0), 1) + zeros / np.maximum(zeros.sum(axis=0), 1))
    rows = torch.from_numpy(np.ascontiguousarray(x, np.float32))
    labels = torch.from_numpy(np.nan_to_num(y).astype(np.float32))
    mask = torch.from_numpy(weigh.astype(np.float32))
    weights = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
    share = np.clip((np.nan_to_num(y) * weigh).sum(axis=0), 1e-3, 1 - 1e-3)
    bias = torch.from_numpy(np.log(share / (1 - share)).astype(np.float32)).requires_grad_()
    found: dict[float, tuple[Features, Features]] = {}
    for strength in sorted(strengths, reverse=True):
        solver = torch.optim.LBFGS(
            [weights, bias],
            max_iter=STEPS,
            history_size=10,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )

        def loss(strength: float = strength, solver: torch.optim.LBFGS = solver) -> torch.Tensor:
            solver.zero_grad()
            logits = rows @ weights + bias
            cross = F.binary_cross_entropy_with_logits(logits, labels, mask, reduction="sum")
            total = cross + 0.5 * strength * (weights**2).sum()
            total.backward()
            return total

        solver.step(loss)
        found[strength] = weights.detach().numpy().copy(), bias.detach().numpy().copy()
    return [found[strength] for strength in strengths]
