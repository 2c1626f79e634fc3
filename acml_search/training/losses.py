"""Losses over a batch of pairs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ContrastiveLoss(nn.Module):
    """Symmetric InfoNCE with a learned logit scale (Radford et al. 2021).

    `forward(a, b, same)`: unit vectors `a` (n, d) and `b` (r, d); `at` (r,) int64 says which row of `a` each
    row of `b` belongs to, by default its own number. Rows of `a` without partner are further negatives.
    `same` (n,) int64 is equal where two rows of `a` are the same molecule: those are no negatives. The scale
    is kept below 100.

    alignment_weight: of a further term, the mean of 1 - cosine of the pairs (alignment, Wang and Isola 2020).
    Once a batch's negatives are told apart, InfoNCE has nothing left to teach, and this goes on.
    """

    def __init__(self, scale: float = 14.0, alignment_weight: float = 0.0) -> None:
        super().__init__()
        self.alignment_weight = alignment_weight
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=100.0)

    def forward(self, a: Tensor, b: Tensor, same: Tensor, at: Tensor | None = None) -> Tensor:
        rows = torch.arange(len(b), device=b.device)
        if at is None:
            at = rows
        logits = self.scale * b @ a.T
        duplicate = same[at][:, None] == same[None, :]
        duplicate[rows, at] = False
        logits = logits.masked_fill(duplicate, -torch.inf)
        to_a = F.cross_entropy(logits, at)
        to_b = F.cross_entropy(logits[:, at].T, rows)
        return (to_a + to_b) / 2 + self.alignment_weight * (1 - (a[at] * b).sum(dim=1)).mean()


def pair_recall(a: Tensor, b: Tensor, same: Tensor, block: int = 1024, k: int = 1) -> float:
    """Share of rows of `a` whose partner in `b`, the row of the same number, is strictly closer than all but
    k - 1 other molecules of `b`.

    The whole of `b` (at least as long as `a`) is the pool; rows of the same molecule (`same` (len(b),) equal)
    do not compete; a tie is a miss.
    """
    hits = 0
    for start in range(0, len(a), block):
        scores = a[start : start + block] @ b.T
        rows = torch.arange(len(scores), device=scores.device)
        truth = scores[rows, rows + start]
        scores = scores.masked_fill(same[start : start + len(scores), None] == same[None, :], -torch.inf)
        hits += int(((scores >= truth[:, None]).sum(dim=1) < k).sum())
    return hits / len(a)
