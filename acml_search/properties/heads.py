"""Heads on frozen features: `linear` and `kernel`, for several targets with missing labels.

- linear: ridge or logistic regression on standardised features.
- kernel: the same on the Gaussian kernel between a molecule and up to 1,500 landmarks, training molecules
  that stand for all (Nyström; Williams and Seeger, NIPS 2000), so that its cost grows with their number.

Penalties and kernel widths are chosen on the valid part. The grids below were chosen inside training parts of
MoleculeNet and TDC, scored on their valid parts.

A saved head is a folder of safetensors and JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.core.io import write_json
from acml_search.core.typing import Float32s, Floats, Ints
from acml_search.properties.metrics import linked, selection_score

TASKS = ("regression", "classification")
KINDS = ("linear", "kernel")

LINEAR_PENALTIES = {
    "classification": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    "regression": (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
}
"""L2 penalties per training molecule, on the weights of standardised features"""
KERNEL_PENALTIES = {
    "classification": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "regression": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
}
"""L2 penalties in all, where the kernel of a molecule with itself is 1"""
KERNEL_WIDTHS = (2.0, 1.0, 0.5, 0.25)
"""what squared distances are divided by, in mean squared distances of the landmarks"""
MAX_LANDMARKS = 1_500
MAX_SELECTION_TARGETS = 64
"""targets that width and penalty of the kernel head are chosen on, which is most of its work"""
_JITTER = 1e-5
_LBFGS_STEPS = 60
_CHUNK = 8_192


@dataclass
class LinearHead:
    """A linear function of standardised features, or of their kernels with `landmarks`.

    mean, scale (f,); landmarks (m, f), standardised, or None; weights (f or m, t); bias (t,). All float32.
    """

    kind: str
    task: str
    mean: Float32s
    scale: Float32s
    weights: Float32s
    bias: Float32s
    valid_score: float
    """mean over targets on the valid part, AUROC or R2; NaN where unknown"""
    landmarks: Float32s | None = None
    width: float = 1.0
    """of the kernel: what squared distances are divided by"""

    def predict(self, x: Float32s) -> Floats:
        """(n, f) -> (n, t): the value, or the probability of class 1."""
        out = np.empty((len(x), self.weights.shape[1]))
        for start in range(0, len(x), _CHUNK):
            rows = (x[start : start + _CHUNK] - self.mean) / self.scale
            if self.landmarks is not None:
                rows = np.exp(-_squared_distances(rows, self.landmarks) / self.width)
            out[start : start + _CHUNK] = linked(self.task, rows @ self.weights + self.bias)
        return out

    def save(self, directory: Path) -> None:
        """Write the head to an existing, empty folder."""
        from safetensors.numpy import save_file

        arrays = {name: array for name, array in vars(self).items() if isinstance(array, np.ndarray)}
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, directory / f"{self.kind}.safetensors")
        about = {name: getattr(self, name) for name in ("kind", "task", "valid_score", "width")}
        write_json(about, directory / "head.json")


def fit_head(
    kind: str,
    task: str,
    x: Float32s,
    y: Floats,
    valid_x: Float32s,
    valid_y: Floats,
    seed: int,
    class_weight: bool = False,
) -> LinearHead:
    """Fit on `x` (n, f), `y` (n, t), NaN where missing. `class_weight`: classes weigh the same."""
    if task not in TASKS or kind not in KINDS:
        raise ConfigError(
            f"a head is one of {', '.join(KINDS)} for {' or '.join(TASKS)}, not {kind} for {task}"
        )
    balanced = class_weight and task == "classification"
    if kind == "kernel":
        return _fit_kernel(task, x, y, valid_x, valid_y, seed, balanced)
    return _fit_linear(task, x, y, valid_x, valid_y, balanced)


def load_head(directory: Path) -> LinearHead:
    """Read what `save` wrote. Raises ConfigError for a damaged folder, or trees of version 0.1."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        about = json.loads((directory / "head.json").read_text(encoding="utf-8"))
        if (kind := about["kind"]) not in KINDS:
            raise ValueError(f"heads of the kind {kind!r} are no longer read")
        found: dict[str, Any] = load_file(directory / f"{kind}.safetensors")
        found |= {"valid_score": float(about["valid_score"]), "width": float(about.get("width", 1.0))}
        return LinearHead(kind, about["task"], **found)
    except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
        raise ConfigError(f"{directory}: the head cannot be read ({error}); fit the model again") from error


def _fit_linear(
    task: str, x: Float32s, y: Floats, valid_x: Float32s, valid_y: Floats, balanced: bool
) -> LinearHead:
    """The penalty is chosen target by target; where the valid part cannot judge one, as the mean says."""
    mean, scale = standardisation(x)
    rows, valid_rows = (x - mean) / scale, (valid_x - mean) / scale
    fits = list(linear_solutions(task, rows, y, LINEAR_PENALTIES[task], balanced))
    answers = [linked(task, valid_rows @ weights + bias) for weights, bias in fits]
    targets = range(y.shape[1])
    scores = np.array(
        [[selection_score(task, valid_y[:, [t]], answer[:, [t]]) for t in targets] for answer in answers]
    )
    known, scores = np.isfinite(scores).any(axis=0), np.nan_to_num(scores, nan=0.0)
    usual = scores.sum(axis=1).argmax() if known.any() else len(fits) // 2
    weights, bias = by_target(fits, np.where(known, scores.argmax(axis=0), usual))
    score = selection_score(task, valid_y, linked(task, valid_rows @ weights + bias))
    return LinearHead("linear", task, mean, scale, weights, bias, score)


def _fit_kernel(
    task: str, x: Float32s, y: Floats, valid_x: Float32s, valid_y: Floats, seed: int, balanced: bool
) -> LinearHead:
    """Width and penalty are chosen together, for all targets alike."""
    mean, scale = standardisation(x, bits="keep")
    rows, valid_rows = (x - mean) / scale, (valid_x - mean) / scale
    landmarks = rows[_landmark_rows(task, y, seed)]
    between, *distances = (_squared_distances(a, landmarks) for a in (landmarks, rows, valid_rows))
    mean_distance = float(between.mean()) or 1.0
    penalties = [penalty / len(x) for penalty in KERNEL_PENALTIES[task]]

    def fits(width: float, targets: Any, penalties: Sequence[float]) -> Iterator[LinearHead]:
        # a penalty on the weights of whitened kernels is one on the norm of the function
        kernel = np.exp(-between.astype(np.float64) / width) + _JITTER * np.eye(len(between))
        whiten = np.linalg.inv(np.linalg.cholesky(kernel)).T.astype(np.float32)
        known, held_out = (np.exp(-d / width) @ whiten for d in distances)
        for weights, bias in linear_solutions(task, known, y[:, targets], penalties, balanced):
            score = selection_score(task, valid_y[:, targets], linked(task, held_out @ weights + bias))
            yield LinearHead("kernel", task, mean, scale, whiten @ weights, bias, score, landmarks, width)

    judges = np.unique(np.linspace(0, y.shape[1] - 1, MAX_SELECTION_TARGETS).astype(int))
    tried = [
        (head, penalty)
        for width in KERNEL_WIDTHS
        for head, penalty in zip(fits(mean_distance * width, judges, penalties), penalties, strict=True)
    ]
    # of heads that no valid label can judge, the last: the narrowest and most penalised
    unknown = not any(np.isfinite(head.valid_score) for head, _ in tried)
    best, penalty = tried[-1] if unknown else max(tried, key=lambda one: one[0].valid_score)
    if len(judges) == y.shape[1]:
        return best
    weaker = penalties[penalties.index(penalty) :]  # a solution begins where the stronger ones ended
    return next(fits(best.width, np.arange(y.shape[1]), weaker))


def linear_solutions(
    task: str, x: Float32s, y: Floats, penalties: Sequence[float], balanced: bool = False
) -> Iterator[tuple[Float32s, Float32s]]:
    """Weights (f, t) and bias (t,) float32 of ridge or logistic regression, for each L2 penalty per molecule.

    `x` (n, f) float32, `y` (n, t) with NaN for missing labels; `balanced`: both classes weigh the same.
    """
    if task == "classification":
        yield from _logistic(x, y, penalties, balanced)
        return
    from sklearn.linear_model import Ridge

    known = np.isfinite(y)
    for penalty in penalties:
        weights, bias = np.zeros((x.shape[1], y.shape[1]), np.float32), np.zeros(y.shape[1], np.float32)
        for labelled in np.unique(known, axis=1).T:  # targets that lack the same labels are solved at once
            targets = np.flatnonzero((known == labelled[:, None]).all(axis=0))
            if labelled.any():
                ridge = Ridge(alpha=penalty * labelled.sum())
                ridge.fit(x[labelled].astype(np.float64), y[np.ix_(labelled, targets)])
                weights[:, targets] = ridge.coef_.reshape(len(targets), -1).T
                bias[targets] = ridge.intercept_
        yield weights, bias


def _logistic(
    x: Float32s, y: Floats, penalties: Sequence[float], balanced: bool
) -> list[tuple[Float32s, Float32s]]:
    """Logistic regression of all targets in one L-BFGS solve per penalty: a mask leaves out missing labels.

    scikit-learn fits one target after another: minutes for the 617 targets of ToxCast, where this takes
    seconds. The loss of a target is the mean cross-entropy over its labels (`balanced`: over both classes
    alike) plus half the penalty times its squared weights.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    ones, zeros = y == 1, y == 0
    if balanced:
        weight = 0.5 * (ones / np.maximum(ones.sum(axis=0), 1) + zeros / np.maximum(zeros.sum(axis=0), 1))
    else:
        weight = (ones | zeros) / np.maximum((ones | zeros).sum(axis=0), 1)
    rows, labels, mask = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (x, ones, weight))
    share = np.clip((ones * weight).sum(axis=0), 1e-3, 1 - 1e-3)
    weights = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
    bias = torch.from_numpy(np.log(share / (1 - share)).astype(np.float32)).requires_grad_()
    found = {}
    for penalty in sorted(penalties, reverse=True):  # each begins where the stronger one ended
        solver = torch.optim.LBFGS(
            [weights, bias],
            max_iter=_LBFGS_STEPS,
            history_size=10,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )

        def loss(penalty: float = penalty, solver: torch.optim.LBFGS = solver) -> torch.Tensor:
            solver.zero_grad()
            logits = rows @ weights + bias
            cross_entropy = binary_cross_entropy_with_logits(logits, labels, mask, reduction="sum")
            total = cross_entropy + 0.5 * penalty * (weights**2).sum()
            total.backward()
            return total

        solver.step(loss)
        found[penalty] = weights.detach().numpy().copy(), bias.detach().numpy().copy()
    return [found[penalty] for penalty in penalties]


def by_target(fits: Sequence[tuple[Float32s, Float32s]], chosen: Ints) -> tuple[Float32s, Float32s]:
    """Weights (f, t) and bias (t,): of each target those of the fit `chosen` (t,) for it."""
    targets = np.arange(len(chosen))
    weights = np.stack([weights for weights, _ in fits])[chosen, :, targets].T
    return np.ascontiguousarray(weights), np.stack([bias for _, bias in fits])[chosen, targets]


def standardisation(
    x: Float32s, bits: Literal["keep", "together", "each"] = "each"
) -> tuple[Float32s, Float32s]:
    """Mean and standard deviation (f,), 1 for columns that do not vary.

    bits: of fingerprints, whose values are all 0 or 1, `keep` leaves them as they are and `together` scales
    them alike: divided each by its deviation, the rarest bits would be the loudest.
    """
    from sklearn.preprocessing import StandardScaler

    fingerprints = bits != "each" and bool(((x == 0) | (x == 1)).all())
    if fingerprints and bits == "keep":
        return np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
    scaler = StandardScaler().fit(x)
    if fingerprints:
        scaler.scale_ = np.full(x.shape[1], float(np.sqrt(scaler.var_.mean())) or 1.0)
    return scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)


def _landmark_rows(task: str, y: Floats, seed: int) -> Ints:
    """Rows (m,) drawn as landmarks, up to half of them among those that hold a target's rarer class."""
    rng = np.random.default_rng([seed, len(y)])
    order = rng.permutation(len(y))
    if len(y) <= MAX_LANDMARKS or task != "classification":
        return np.sort(order[:MAX_LANDMARKS])
    rarer = np.nanmean(y, axis=0) < 0.5
    holds = (((y == 1) & rarer) | ((y == 0) & ~rarer)).any(axis=1)
    first = order[holds[order]][: MAX_LANDMARKS // 2]
    others = order[~np.isin(order, first)]
    return np.sort(np.concatenate([first, others[: MAX_LANDMARKS - len(first)]]))


def _squared_distances(a: Float32s, b: Float32s) -> Float32s:
    """(n, m) squared Euclidean distances of rows."""
    from sklearn.metrics.pairwise import euclidean_distances

    return np.asarray(euclidean_distances(a, b, squared=True))
