"""Heads and metrics on small made-up features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acml_search.core.errors import ConfigError
from acml_search.properties import heads, metrics
from acml_search.properties.heads import KINDS, MAX_LANDMARKS, LinearHead, fit_head, load_head


def toy(n: int, task: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 12)).astype(np.float32)
    y = x[:, :2] @ np.array([[1.0, 0.5], [-1.0, 2.0]]) + 0.05 * rng.standard_normal((n, 2))
    return x, (y > 0).astype(float) if task == "classification" else y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_head_learns_despite_missing_labels_and_comes_back_from_disk(
    kind: str, task: str, tmp_path: Path
) -> None:
    x, y = toy(400, task)
    y[::3, 0] = np.nan
    valid_x, valid_y = toy(120, task, seed=1)
    head = fit_head(kind, task, x, y, valid_x, valid_y, seed=0)
    assert head.valid_score > 0.85
    score = metrics.selection_score(task, valid_y, head.predict(valid_x))
    assert head.valid_score == pytest.approx(score, abs=1e-5)
    head.save(tmp_path)
    np.testing.assert_allclose(load_head(tmp_path).predict(valid_x), head.predict(valid_x), atol=1e-6)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="fit the model again"):
        load_head(tmp_path)


def test_a_linear_head_finds_the_weights_that_made_the_labels() -> None:
    x, y = toy(2_000, "regression")
    head = fit_head("linear", "regression", x, y, *toy(200, "regression", seed=1), seed=0)
    np.testing.assert_allclose(
        head.predict(np.eye(12, dtype=np.float32)[:2]), [[1.0, 0.5], [-1.0, 2.0]], atol=0.02
    )


def test_logistic_heads_are_what_scikit_learn_fits() -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = toy(300, "classification")
    (weights, bias), _ = heads._logistic(x, y, [1e-2, 1.0], False)
    for t in range(2):
        theirs = LogisticRegression(C=1 / (1e-2 * len(x)), max_iter=500).fit(x, y[:, t])
        np.testing.assert_allclose(weights[:, t], theirs.coef_[0], atol=5e-3)
        assert bias[t] == pytest.approx(theirs.intercept_[0], abs=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_of_one_class_is_answered_and_does_not_judge(kind: str) -> None:
    x, y = toy(100, "classification")
    y[:, 1] = 1
    head = fit_head(kind, "classification", x, y, x, y, seed=0)
    assert head.predict(x)[:, 1].min() > 0.9
    assert head.valid_score == pytest.approx(metrics.auroc(y[:, :1], head.predict(x)[:, :1]))


@pytest.mark.parametrize("kind", KINDS)
def test_class_weights_move_the_rare_class_up(kind: str) -> None:
    x, y = toy(600, "classification")
    chosen = (y[:, 0] == 0) | (np.arange(600) % 10 == 0)
    x, y = x[chosen], y[chosen][:, :1]
    plain = fit_head(kind, "classification", x, y, x, y, 0).predict(x)
    weighted = fit_head(kind, "classification", x, y, x, y, 0, class_weight=True).predict(x)
    assert weighted.mean() > plain.mean()


def test_of_many_targets_some_choose_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = (np.sin(2 * x @ rng.normal(size=(3, 5))) > 0).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan

    def fit(targets: list[int]) -> LinearHead:
        columns = y[:, targets]
        head = fit_head("kernel", "classification", x[:300], columns[:300], x[300:], columns[300:], seed=0)
        return head

    by_all = fit([0, 1, 2, 3, 4])
    monkeypatch.setattr(heads, "MAX_SELECTION_TARGETS", 2)
    by_some, of_two = fit([0, 1, 2, 3, 4]), fit([0, 4])
    assert by_some.width == of_two.width
    assert np.allclose(by_some.predict(x[300:])[:, [0, 4]], of_two.predict(x[300:]), atol=0.02)
    assert by_some.valid_score > max(0.8, by_all.valid_score - 0.03)


def test_a_kernel_head_finds_what_no_straight_line_does_and_stands_copies() -> None:
    x = toy(900, "classification")[0][:, :2]
    ring = (np.abs(x[:, :1]) + np.abs(x[:, 1:2]) > 1.2).astype(float)
    linear = fit_head("linear", "classification", x[:600], ring[:600], x[600:], ring[600:], 0)
    twice = np.concatenate([x[:600], x[:600]])
    kernel = fit_head("kernel", "classification", twice, np.tile(ring[:600], (2, 1)), x[600:], ring[600:], 0)
    assert linear.valid_score < 0.7
    assert kernel.valid_score > 0.97


def test_landmarks_hold_the_rare_class() -> None:
    y = np.zeros((4_000, 2))
    y[7::400, 0], y[11::500, 1] = 1, 1
    y[:2_000, 1] = np.nan
    rows = heads._landmark_rows("classification", y, seed=3)
    assert len(rows) == len(set(rows.tolist())) == MAX_LANDMARKS
    assert set(np.flatnonzero((y == 1).any(axis=1)).tolist()) <= set(rows.tolist())
    assert len(heads._landmark_rows("regression", y, seed=3)) == MAX_LANDMARKS
    assert heads._landmark_rows("classification", y[:100], seed=3).tolist() == list(range(100))


def test_trees_of_version_0_1_are_named(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text('{"kind": "boosted", "task": "regression"}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'boosted' are no longer read.*; fit the model again"):
        load_head(tmp_path)


def test_metrics_by_hand() -> None:
    y = np.array([[0.0, 1.0], [1.0, np.nan], [1.0, 1.0]])
    p = np.array([[0.1, 3.0], [0.4, 9.0], [0.05, 1.0]])
    assert metrics.auroc(y, p) == 0.5  # of the first target; the second has one class only
    assert metrics.rmse(y[:, 1:], p[:, 1:]) == pytest.approx(np.sqrt(2.0))
    assert metrics.mae(y[:, 1:], p[:, 1:]) == 1.0
    assert np.isnan(metrics.auroc(y[:, 1:], p[:, 1:]))
    assert metrics.spearman(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 1))) == 0.0
