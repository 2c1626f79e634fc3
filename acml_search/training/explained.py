"""How molecules break, learned from measured mass spectra: the weights of `ms.annotation`.

Every spectrum must be explained better by its molecule than by others of the same mass (cross-entropy over
the log-likelihoods of a few rivals), and well at all (a small weight on its likelihood). Then two things are
fitted that know no piece: the prior, a softmax over Morgan bits among molecules of the same mass, and what
the prior weighs beside the likelihood, on the inner part.

    [pieces]    molecules, rivals, spectra (of each molecule), least (molecules that must show a feature),
                sources (names of the corpus's sources that rivals are drawn from)
    [tolerance] ppm, da
    [training]  epochs, batch, lr, weight_decay, generative, prior_decay
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from acml_search.core.progress import progress
from acml_search.ms.fragmentation import Fragmentation, write_fragmentation
from acml_search.training.breakage import (
    Breakage,
    Case,
    Known,
    Question,
    ask,
    draw_cases,
    vocabulary_of,
)
from acml_search.training.config import read_config
from acml_search.training.corpus import Corpus
from acml_search.training.measured import SameMass
from acml_search.training.observations import read_observations

SAME_MASS_PPM = 10.0


def learn(model: Breakage, asked: Sequence[Question], settings: dict[str, Any], seed: int) -> list[float]:
    """Train in place; the mean cross-entropy of each epoch."""
    torch.set_num_threads(1)
    small = {id(p) for p in (model.depth, model.shifts, model.floor, model.scale)}
    groups = [
        {
            "params": [p for p in model.parameters() if id(p) not in small],
            "weight_decay": settings["weight_decay"],
        },
        {"params": [p for p in model.parameters() if id(p) in small], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings["lr"])
    rng, batch = np.random.default_rng(seed), settings["batch"]
    steps, step, history = settings["epochs"] * (len(asked) // batch), 0, []
    for epoch in range(settings["epochs"]):
        order, total = rng.permutation(len(asked)), 0.0
        for at in progress(range(0, len(order) - batch + 1, batch), desc=f"epoch {epoch + 1}", unit="batch"):
            for group in optimiser.param_groups:
                group["lr"] = settings["lr"] * (1 - step / steps) + 1e-4
            step += 1
            optimiser.zero_grad()
            for i in order[at : at + batch].tolist():
                found = model(asked[i])
                truth = torch.zeros(len(found), dtype=torch.long)
                told = F.cross_entropy(model.scale.exp() * found, truth)
                peaks = asked[i].weights.sum() / asked[i].shape[1]
                well = found[:, 0].sum() / peaks
                ((told - settings["generative"] * well) / batch).backward()
                total += float(told.detach())
            optimiser.step()
        history.append(total / (len(order) // batch * batch))
    return history


def fit_softmax(features: Tensor, sizes: Sequence[int], decay: float) -> Tensor:
    """Weights (k,) of the greatest likelihood of the first of each group of rows of `features` (n, k)."""
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    firsts = torch.tensor(np.concatenate([[0], np.cumsum(sizes)[:-1]]))
    weights = torch.zeros(features.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimiser.zero_grad()
        scores = features @ weights
        tops = torch.full((len(sizes),), -torch.inf).scatter_reduce(0, groups, scores.detach(), "amax")
        sums = torch.zeros(len(sizes)).index_add(0, groups, (scores - tops[groups]).exp())
        total = (sums.log() + tops - scores[firsts]).mean() + decay * weights.square().sum()
        total.backward()
        return total

    optimiser.step(cost)
    return weights.detach()


def run(path: Path | str) -> Path:
    """Learn as the configuration says; returns the directory with `<modality>_rerank.json` and `log.json`.

    Raises `ConfigError` for a configuration that cannot be followed.
    """
    config = read_config(path, ("modality", "records", "corpus", "pieces", "tolerance", "training"))
    data, modality = config.data, config.data["modality"]
    settings, pieces, tolerance = data["training"], data["pieces"], data["tolerance"]
    corpus = config.corpus()
    observed = read_observations(modality, data["records"], corpus, config.root)
    sources = np.isin(corpus.sources, pieces["sources"])
    alike = SameMass(corpus, corpus.learned[sources[corpus.learned]], SAME_MASS_PPM)
    rng = np.random.default_rng(config.seed)
    mine = observed.molecules
    learned_from = rng.permutation(mine[~corpus.inner[mine]])
    cases = draw_cases(observed, learned_from[: pieces["molecules"]], alike, pieces, rng, modality, tolerance)
    known = Known(corpus)
    vocabulary = vocabulary_of(cases, known, pieces["least"])
    modes = sorted({seen.mode for case in cases for seen in case.seen})
    asked = [ask(case, known, vocabulary, modes) for case in progress(cases, desc="matching", unit="mol")]
    known.clear()
    torch.manual_seed(config.seed)
    model = Breakage(len(vocabulary), len(modes))
    history = learn(model, asked, settings, config.seed)
    prior = _fit_prior(corpus, learned_from, alike, settings["prior_decay"], rng)
    pool = SameMass(corpus, np.flatnonzero(sources), SAME_MASS_PPM)
    every = {**pieces, "rivals": 60, "spectra": 5}
    inner = draw_cases(observed, mine[corpus.inner[mine]], pool, every, rng, modality, tolerance)
    ratio, log = _weigh_prior(model, inner, known, vocabulary, modes, prior, corpus)
    log |= {"cross_entropy": history, "molecules": len(cases), "features": len(vocabulary)}
    with torch.no_grad():
        found = Fragmentation(
            modality,
            vocabulary,
            (model.shared + model.own).double().numpy(),
            model.codes.double().numpy(),
            model.depth.double().numpy(),
            F.softmax(model.shifts, dim=-1).double().numpy(),
            float(model.floor.exp()),
            float(model.scale.exp()),
            tolerance["ppm"],
            tolerance["da"],
            ratio * prior.double().numpy(),
            {"config": data, "log": log},
        )
    config.out.mkdir(parents=True, exist_ok=True)
    write_fragmentation(config.out / f"{modality}_rerank.json", found)
    (config.out / "log.json").write_text(json.dumps(log, indent=1) + "\n")
    return config.out


def _fit_prior(
    corpus: Corpus, molecules: np.ndarray, alike: SameMass, decay: float, rng: np.random.Generator
) -> Tensor:
    """Weights of Morgan bits: the measured molecule among (at most 40) others of its mass."""
    groups = [np.concatenate([[row], alike.draw(int(row), 40, rng)]) for row in molecules.tolist()]
    groups = [group for group in groups if len(group) > 1]
    bits = torch.from_numpy(corpus.bits(np.concatenate(groups)))
    return fit_softmax(bits, [len(group) for group in groups], decay)


@torch.inference_mode()
def _inner_scores(
    model: Breakage,
    cases: Sequence[Case],
    known: Known,
    vocabulary: dict[str, int],
    modes: Sequence[int],
) -> list[Tensor]:
    found = []
    for case in progress(cases, desc="inner", unit="mol"):
        found.append(model.scale.exp() * model(ask(case, known, vocabulary, modes)))
        known.clear()
    return found


def _weigh_prior(
    model: Breakage,
    cases: Sequence[Case],
    known: Known,
    vocabulary: dict[str, int],
    modes: Sequence[int],
    prior: Tensor,
    corpus: Corpus,
) -> tuple[float, dict[str, Any]]:
    """What the prior weighs beside the likelihood (whose weight is 1), and how far both go."""
    cases = [case for case in cases if {seen.mode for seen in case.seen} <= set(modes)]
    likely = _inner_scores(model, cases, known, vocabulary, modes)
    priors = [torch.from_numpy(corpus.bits(np.array(case.rows))) @ prior for case in cases]
    rows = [torch.stack([one.mean(dim=0), at], dim=1) for one, at in zip(likely, priors, strict=True)]
    weights = fit_softmax(torch.cat(rows), [len(row) for row in rows], 0.0)
    ratio = float(weights[1] / weights[0].clamp(min=1e-3))

    def first(scores: list[Tensor]) -> float:
        return float(np.mean([float((one[:, 1:] < one[:, :1]).all(dim=1).float().mean()) for one in scores]))

    both = [one + ratio * at for one, at in zip(likely, priors, strict=True)]
    return ratio, {
        "inner_molecules": len(cases),
        "inner_at_1": first(likely),
        "inner_prior_at_1": first([at[None] for at in priors]),
        "inner_both_at_1": first(both),
        "prior_weight": ratio,
    }
