"""The contrastive loss and its measure, on cases computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from acml_search.training.losses import ContrastiveLoss, pair_recall

EYE = torch.eye(3)


def test_loss_by_hand() -> None:
    loss = ContrastiveLoss(scale=1.0)(EYE, EYE, torch.arange(3))
    assert float(loss.detach()) == pytest.approx(math.log(math.e + 2) - 1, abs=1e-6)


def test_closeness_adds_the_mean_distance_of_the_pairs() -> None:
    a, b = EYE, torch.stack([EYE[0], EYE[1], EYE[0]])  # the third pair is at a right angle
    plain, closer = (ContrastiveLoss(scale=1.0, closeness=c)(a, b, torch.arange(3)) for c in (0.0, 6.0))
    assert float((closer - plain).detach()) == pytest.approx(2.0, abs=1e-6)


def test_the_same_molecule_is_no_negative() -> None:
    same = torch.tensor([5, 5, 6])
    loss = ContrastiveLoss(scale=1.0)(EYE, EYE, same)
    with_one_negative, with_two = math.log(math.e + 1) - 1, math.log(math.e + 2) - 1
    assert float(loss.detach()) == pytest.approx((2 * with_one_negative + with_two) / 3, abs=1e-6)


def test_a_tie_is_a_miss() -> None:
    assert pair_recall(EYE, EYE, torch.arange(3)) == 1.0
    flat = torch.ones(3, 3)
    assert pair_recall(flat, flat, torch.arange(3)) == 0.0


def test_a_stereoisomer_does_not_compete() -> None:
    a = torch.stack([EYE[0], EYE[0], EYE[2]])
    assert pair_recall(a, a, torch.arange(3)) == pytest.approx(1 / 3)
    assert pair_recall(a, a, torch.tensor([1, 1, 2])) == 1.0
