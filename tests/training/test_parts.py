"""Losses, matching, sampling and the loop's schedule, on cases computed by hand or by trying every way."""

from __future__ import annotations

import math
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.training.contrast import ContrastiveLoss, MoleculeSampler, isomer_batches, pair_recall
from acml_search.training.hard_negatives import NEIGHBOURS, nearest_neighbours
from acml_search.training.loop import one_cycle
from acml_search.training.memory import kept_records
from acml_search.training.records import MeasuredRecords
from acml_search.training.shifts import match_peaks, match_sorted

EYE = torch.eye(3)
ppm = st.lists(st.floats(0, 200, allow_nan=False).map(lambda x: round(x, 2)), min_size=1, max_size=6)


def test_contrastive_loss_by_hand() -> None:
    loss = ContrastiveLoss(scale=1.0)
    assert float(loss(EYE, EYE, torch.arange(3)).detach()) == pytest.approx(math.log(math.e + 2) - 1)
    # The same molecule is no negative.
    with_one_negative, with_two = math.log(math.e + 1) - 1, math.log(math.e + 2) - 1
    found = float(loss(EYE, EYE, torch.tensor([5, 5, 6])).detach())
    assert found == pytest.approx((2 * with_one_negative + with_two) / 3, abs=1e-6)


def test_the_alignment_term_is_the_mean_distance_of_the_pairs() -> None:
    b = torch.stack([EYE[0], EYE[1], EYE[0]])  # the third pair is at a right angle
    losses = [ContrastiveLoss(1.0, alignment_weight=w)(EYE, b, torch.arange(3)) for w in (0.0, 6.0)]
    assert float((losses[1] - losses[0]).detach()) == pytest.approx(2.0, abs=1e-6)


def test_pair_recall_counts_ties_as_misses_and_no_stereoisomers() -> None:
    assert pair_recall(EYE, EYE, torch.arange(3)) == 1.0
    assert pair_recall(torch.ones(3, 3), torch.ones(3, 3), torch.arange(3)) == 0.0
    a = torch.stack([EYE[0], EYE[0], EYE[2]])
    assert pair_recall(a, a, torch.arange(3)) == pytest.approx(1 / 3)
    assert pair_recall(a, a, torch.tensor([1, 1, 2])) == 1.0


@settings(max_examples=100, deadline=None)
@given(ppm, ppm)
def test_no_other_matching_costs_less(a: list[float], b: list[float]) -> None:
    few, many = sorted((np.sort(a), np.sort(b)), key=len)
    partners = match_sorted(few, many)
    assert (np.diff(partners) > 0).all()
    best = min(np.abs(few - many[list(c)]).sum() for c in combinations(range(len(many)), len(few)))
    assert np.abs(few - many[partners]).sum() == pytest.approx(best)


@pytest.mark.parametrize(
    ("predicted", "observed", "matched", "classes"),
    [
        ([128.0, 20.0, 128.0], [21.0, 129.0, 129.0], [(0, 129.0), (1, 21.0), (2, 129.0)], 2),
        ([128.0, 20.0, 128.0], [130.0, 19.0], [(0, 130.0), (1, 19.0)], 2),
        ([20.0, 60.0, 170.0], [171.0, 21.0], [(0, 21.0), (2, 171.0)], 3),
        ([20.0, 60.0], [59.0, 77.2, 21.0], [(0, 21.0), (1, 59.0)], 2),
    ],
    ids=["a value per atom", "a value per class", "missing peaks", "surplus peaks"],
)
def test_peaks_are_matched_over_atoms_or_classes(
    predicted: list[float], observed: list[float], matched: list[tuple[int, float]], classes: int
) -> None:
    atoms, values, n = match_peaks(np.array(predicted), np.array(observed))
    assert sorted(zip(atoms.tolist(), values.tolist(), strict=True)) == matched
    assert n == classes


def test_isomer_batches_visit_each_row_once_and_keep_formulas_together() -> None:
    formulas, rows = np.repeat(np.arange(50), 20), np.arange(1000)
    batches = list(isomer_batches(rows, formulas, 100, 10, np.random.default_rng(7)))
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    for batch in batches:
        groups = formulas[batch].reshape(-1, 10)
        assert (groups == groups[:, :1]).all()


def test_a_sampler_adds_isomers_of_its_molecules() -> None:
    corpus = SimpleNamespace(formulas=np.repeat(np.arange(10), 5), train_rows=np.arange(50))
    sampler = MoleculeSampler(corpus, np.arange(0, 50, 5), n=4, isomer_negatives=3)
    draw = sampler.draw(np.random.default_rng(0))
    for rows in (next(draw) for _ in range(5)):
        assert len(rows) == sampler.size == 16
        assert (corpus.formulas[rows[4:]] == np.repeat(corpus.formulas[rows[:4]], 3)).all()


def test_every_molecule_meets_its_neighbours() -> None:
    near = nearest_neighbours(np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32))
    assert near.shape == (300, NEIGHBOURS)
    assert near.min() >= 0


def test_records_of_a_molecule_are_kept_up_to_a_number() -> None:
    records = MeasuredRecords(
        [None] * 9, np.repeat([3, 5, 8], [5, 1, 3]), np.array([3, 5, 8]), np.array([0, 5, 6, 9]), [], {}
    )
    allowed = np.array([True] * 6 + [False] * 3)
    assert kept_records(records, allowed, None).tolist() == [0, 1, 2, 3, 4, 5]
    assert kept_records(records, allowed, 2).tolist() == [0, 4, 5]


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 400])
def test_the_learning_rate_rises_soon_and_falls_to_a_hundredth(steps: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = one_cycle(optimiser, 0.5, steps), []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    if steps > 2:
        top = int(np.argmax(rates))
        assert max(rates) == pytest.approx(0.5)
        assert top <= max(1, 0.05 * steps)
        assert [rates[0], rates[-1]] == pytest.approx([0.005, 0.005])
        assert (np.diff(rates[top:]) <= 0).all()
