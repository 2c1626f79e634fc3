"""How molecules break, learned from measured mass spectra: the weights of `ms.fragmenter`.

Every spectrum must be explained better by its molecule than by others of the same mass (cross-entropy over
the log-likelihoods of a few candidates), and well at all (a small weight on its likelihood). Then two things
are fitted that know no fragment: the prior, a softmax over Morgan bits among molecules of the same mass, and
the prior's weight beside the likelihood, on the dev split.

`TrainableFragmentation` is the same model as `ms.fragmenter.FragmentationModel`, which needs no torch; a test
holds them to the same figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.molecule import parse
from acml_search.core.io import write_json
from acml_search.core.progress import progress
from acml_search.ms.fragmenter import (
    HIGHEST,
    LOWEST,
    N_CODES,
    SHIFTS,
    DescribedFragments,
    FragmentationModel,
    FragmentMasses,
    NeutralPeaks,
    describe,
    feature_columns,
    neutral_peaks,
    write_model,
)
from acml_search.training.config import FragmentationPlan, FragmentationSchedule
from acml_search.training.contrast import MassPool
from acml_search.training.corpus import Corpus, corpus_of
from acml_search.training.records import MeasuredRecords, read_records

SAME_MASS_PPM = 10.0
MAX_BROKEN = 4
"""bonds broken"""
FINAL_LR = 1e-4
MAX_PRIOR_CANDIDATES = 40
KEPT = 200
"""described molecules"""
DEV_CANDIDATES, DEV_SPECTRA = 60, 5


def run(plan: FragmentationPlan, device: torch.device) -> Path:
    """Learn as the plan says; returns the folder with `<modality>_rerank.json` and `log.json`."""
    corpus, table = corpus_of(plan), plan.fragments
    measured = read_records(plan.modality, plan.records, corpus, plan.root_folder)
    from_sources = np.isin(corpus.sources, table.sources)
    same_mass = MassPool(corpus, corpus.train_rows[from_sources[corpus.train_rows]], SAME_MASS_PPM)
    rng = np.random.default_rng(plan.seed)
    in_dev = corpus.is_dev[measured.molecules]
    train_rows = rng.permutation(measured.molecules[~in_dev])
    chosen = train_rows[: table.molecules]
    cases = draw_cases(plan, measured, chosen, same_mass, table.candidates, table.spectra, rng)
    described = DescribedMolecules(corpus)
    vocabulary = vocabulary_of(cases, described, table.min_molecules)
    modes = sorted({peaks.mode for case in cases for peaks in case.spectra})
    torch.manual_seed(plan.seed)
    model = TrainableFragmentation(len(vocabulary), len(modes)).to(device)

    def tensors(i: int) -> CaseTensors:
        return case_tensors(cases[i], described, vocabulary, modes)

    history = learn(model, len(cases), tensors, plan.training, plan.seed)
    model.cpu()
    prior = _fit_prior(corpus, train_rows, same_mass, plan.training.prior_weight_decay, rng)
    pool = MassPool(corpus, np.flatnonzero(from_sources), SAME_MASS_PPM)
    dev_rows = measured.molecules[in_dev]
    dev = draw_cases(plan, measured, dev_rows, pool, DEV_CANDIDATES, DEV_SPECTRA, rng)
    weight, log = _weigh_prior(model, dev, described, vocabulary, modes, prior, corpus)
    log |= {"cross_entropy": history, "molecules": len(cases), "features": len(vocabulary)}
    about = {"config": plan.written(), "log": log}
    learned = model.exported(plan, vocabulary, weight * prior.double().numpy(), about)
    plan.out_folder.mkdir(parents=True, exist_ok=True)
    write_model(plan.out_folder / f"{plan.modality}_rerank.json", learned)
    write_json(log, plan.out_folder / "log.json")
    return plan.out_folder


class RankingCase(NamedTuple):
    """A molecule, others of its mass, and spectra of the first."""

    rows: list[int]
    """corpus rows, the molecule's first"""
    spectra: list[NeutralPeaks]


def draw_cases(
    plan: FragmentationPlan, measured: MeasuredRecords, molecules: np.ndarray, pool: MassPool,
    candidates: int, spectra: int, rng: np.random.Generator,
) -> list[RankingCase]:  # fmt: skip
    """A case for each of `molecules` (corpus rows) that has a rival and a peak below its own mass."""
    cases, tolerance = [], plan.tolerance
    for row in molecules.tolist():
        rivals = pool.draw(row, candidates, rng)
        if not len(rivals):
            continue
        at = int(np.searchsorted(measured.molecules, row))
        records = rng.permutation(np.arange(measured.starts[at], measured.starts[at + 1]))[:spectra]
        mass = float(pool.masses[row])
        peaks = [
            neutral_peaks(measured.items[i], plan.modality, mass, tolerance.ppm, tolerance.da, plan.power)
            for i in records.tolist()
        ]
        peaks = [one for one in peaks if len(one.at)]
        if peaks:
            cases.append(RankingCase([row, *rivals.tolist()], peaks))
    return cases


class DescribedMolecules(dict[int, DescribedFragments]):
    """Corpus row -> its described fragments, computed when needed: half a MB each, so few are kept."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__()
        self.corpus = corpus

    def __missing__(self, row: int) -> DescribedFragments:
        if len(self) >= KEPT:
            self.clear()
        self[row] = describe(parse(self.corpus.smiles_of(row))[0])
        return self[row]


def vocabulary_of(
    cases: Sequence[RankingCase], described: DescribedMolecules, min_molecules: int
) -> dict[str, int]:
    """Features that at least `min_molecules` molecules show."""
    shown: Counter[str] = Counter()
    rows = sorted({row for case in cases for row in case.rows})
    for row in progress(rows, desc="fragmenting", unit="mol"):
        one = described[row]
        shown.update(one.texts[i] for i in np.unique(one.shown[one.shown >= 0]).tolist())
    names = sorted(name for name, n in shown.items() if n >= min_molecules)
    return {name: i for i, name in enumerate(names)}


@dataclass
class CaseTensors:
    """A case as tensors: u = candidates x modes units, each with its fragments."""

    columns: Tensor  # features of all sides end to end, offset by the mode
    starts: Tensor  # (sides,) where each side's begin
    first: Tensor  # (fragments,) side
    second: Tensor  # (fragments,) other side, or -1
    codes: Tensor
    kinds: Tensor
    units: Tensor  # (fragments,) unit of each fragment
    modes: Tensor  # (u,)
    match_peaks: Tensor  # (matches,) row in `weights` of each match of a peak and a fragment
    match_fragments: Tensor
    match_shifts: Tensor
    weights: Tensor  # root intensity of each peak, for every candidate anew
    cells: Tensor  # (spectrum, candidate) of each row of `weights`, as one number
    shape: tuple[int, int]  # spectra, candidates

    def to(self, device: torch.device) -> CaseTensors:
        tensors = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "shape"}
        return replace(self, **tensors)


def case_tensors(
    case: RankingCase, described: DescribedMolecules, vocabulary: dict[str, int], modes: Sequence[int]
) -> CaseTensors:
    """A case as tensors. `modes`: of ionisation, in the order of the tables' rows."""
    names = ("columns", "starts", "first", "second", "codes", "kinds", "units")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    begin: dict[tuple[int, int], int] = {}
    n_columns = n_sides = n_fragments = 0
    mode_of_unit: list[int] = []
    for mode in sorted({peaks.mode for peaks in case.spectra}):
        for place, row in enumerate(case.rows):
            one = described[row]
            of_sides = feature_columns(one, vocabulary)
            columns = of_sides[of_sides >= 0]
            starts = np.cumsum([0, *(of_sides >= 0).sum(axis=1)])[:-1]
            fragments = one.fragments
            two = fragments.second >= 0
            parts["columns"].append(columns + modes.index(mode) * len(vocabulary))
            parts["starts"].append(starts + n_columns)
            parts["first"].append(fragments.first + n_sides)
            parts["second"].append(np.where(two, fragments.second + n_sides, -1))
            parts["codes"].append(one.codes)
            parts["kinds"].append(one.kinds)
            parts["units"].append(np.full(len(fragments), len(mode_of_unit)))
            begin[mode, place] = n_fragments
            mode_of_unit.append(modes.index(mode))
            n_columns, n_sides = n_columns + len(columns), n_sides + len(starts)
            n_fragments += len(fragments)
    units = {peaks.unit for peaks in case.spectra}
    tables = {unit: [FragmentMasses(described[row], unit) for row in case.rows] for unit in units}
    matches: list[tuple[np.ndarray, ...]] = []
    weights, cells, n_rows = [], [], 0
    for number, peaks in enumerate(case.spectra):
        for place in range(len(case.rows)):
            at, fragment, shift = tables[peaks.unit][place].near(peaks.neutral, peaks.width)
            matches.append((at + n_rows, fragment + begin[peaks.mode, place], shift))
            weights.append(peaks.weights)
            cells.append(np.full(len(peaks.at), number * len(case.rows) + place))
            n_rows += len(peaks.at)
    joined = [torch.from_numpy(np.concatenate(column)) for column in zip(*matches, strict=True)]
    return CaseTensors(
        **{name: torch.from_numpy(np.concatenate(arrays)) for name, arrays in parts.items()},
        modes=torch.tensor(mode_of_unit),
        match_peaks=joined[0],
        match_fragments=joined[1],
        match_shifts=joined[2],
        weights=torch.from_numpy(np.concatenate(weights)).float(),
        cells=torch.from_numpy(np.concatenate(cells)),
        shape=(len(case.spectra), len(case.rows)),
    )


class TrainableFragmentation(nn.Module):
    """Weights of features, shared by the modes and each mode's own, and the small tables."""

    def __init__(self, n_features: int, modes: int) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.zeros(n_features))
        self.own = nn.Parameter(torch.zeros(modes, n_features))
        self.codes = nn.Parameter(torch.zeros(modes, N_CODES))
        depth = torch.tensor([[0.0, -0.5], [-1.0, -2.5], [-3.0, -3.5], [-4.0, -4.0]])
        self.depth = nn.Parameter(depth.repeat(modes, 1, 1))
        shifts = torch.zeros(modes, MAX_BROKEN, len(SHIFTS))
        shifts[:, 0, 3], shifts[:, 0, 5], shifts[:, 1, 4], shifts[:, 1, 2] = 1.5, 1.0, 1.0, 0.5
        self.shifts = nn.Parameter(shifts)
        self.floor = nn.Parameter(torch.tensor(-7.0))
        self.scale = nn.Parameter(torch.tensor(-1.0))

    def forward(self, case: CaseTensors) -> Tensor:
        """(spectra, candidates) log-likelihoods."""
        weights = (self.shared + self.own).reshape(-1, 1)
        sides = F.embedding_bag(case.columns, weights, case.starts, mode="sum")[:, 0]
        modes = case.modes[case.units]
        two = case.second >= 0
        scores = sides[case.first] + torch.where(two, sides[case.second.clamp(min=0)], 0.0)
        scores = scores + self.codes[modes, case.codes] + self.depth[modes, case.kinds, two.long()]
        likely = scores.clamp(LOWEST, HIGHEST).exp()
        totals = likely.new_zeros(len(case.modes)).index_add(0, case.units, likely).clamp(min=1e-9)
        at = case.match_fragments
        carried = F.softmax(self.shifts, dim=-1)[modes[at], case.kinds[at], case.match_shifts]
        found = likely[at] / totals[case.units[at]] * carried
        peaks = likely.new_zeros(len(case.weights)).index_add(0, case.match_peaks, found)
        logs = (peaks + self.floor.exp()).log() * case.weights
        spectra, candidates = case.shape
        return logs.new_zeros(spectra * candidates).index_add(0, case.cells, logs).view(spectra, candidates)

    @torch.no_grad()
    def exported(
        self, plan: FragmentationPlan, vocabulary: dict[str, int], prior: np.ndarray, about: dict[str, Any]
    ) -> FragmentationModel:
        """The same model as inference reads it."""
        return FragmentationModel(
            modality=plan.modality,
            features=vocabulary,
            weights=(self.shared + self.own).double().numpy(),
            codes=self.codes.double().numpy(),
            depth=self.depth.double().numpy(),
            shifts=F.softmax(self.shifts, dim=-1).double().numpy(),
            floor=float(self.floor.exp()),
            scale=float(self.scale.exp()),
            ppm=plan.tolerance.ppm,
            da=plan.tolerance.da,
            power=plan.power,
            prior=prior,
            about=about,
        )


def learn(
    model: TrainableFragmentation,
    n: int,
    tensors: Callable[[int], CaseTensors],
    schedule: FragmentationSchedule,
    seed: int,
) -> list[float]:
    """Train in place on the `n` cases that `tensors` makes; the mean cross-entropy of each epoch."""
    torch.set_num_threads(1)
    device = model.shared.device
    tables = (model.depth, model.shifts, model.floor, model.scale)
    groups = [
        {
            "params": [p for p in model.parameters() if all(p is not table for table in tables)],
            "weight_decay": schedule.weight_decay,
        },
        {"params": list(tables), "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=schedule.lr)
    rng, size = np.random.default_rng(seed), schedule.batch_size
    steps = max(1, schedule.epochs * (n // size))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 1 - step / steps + FINAL_LR / schedule.lr
    )
    history = []
    for epoch in range(schedule.epochs):
        order, total = rng.permutation(n), 0.0
        for at in progress(range(0, len(order) - size + 1, size), desc=f"epoch {epoch + 1}", unit="batch"):
            optimiser.zero_grad()
            for i in order[at : at + size].tolist():
                case = tensors(i).to(device)
                scores = model(case)
                truth = torch.zeros(len(scores), dtype=torch.long, device=device)
                cross_entropy = F.cross_entropy(model.scale.exp() * scores, truth)
                likelihood = scores[:, 0].sum() / (case.weights.sum() / case.shape[1])
                ((cross_entropy - schedule.likelihood_weight * likelihood) / size).backward()
                total += float(cross_entropy.detach())
            optimiser.step()
            scheduler.step()
        history.append(total / max(1, len(order) // size * size))
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

    optimiser.step(cost)  # which enables gradients
    return weights.detach()


def _fit_prior(
    corpus: Corpus, molecules: np.ndarray, same_mass: MassPool, decay: float, rng: np.random.Generator
) -> Tensor:
    """Weights of Morgan bits: the measured molecule among others of its mass."""
    groups = [
        np.concatenate([[row], same_mass.draw(row, MAX_PRIOR_CANDIDATES, rng)]) for row in molecules.tolist()
    ]
    groups = [group for group in groups if len(group) > 1]
    bits = torch.from_numpy(corpus.bits(np.concatenate(groups)))
    return fit_softmax(bits, [len(group) for group in groups], decay)


@torch.no_grad()
def _weigh_prior(
    model: TrainableFragmentation,
    cases: Sequence[RankingCase],
    described: DescribedMolecules,
    vocabulary: dict[str, int],
    modes: Sequence[int],
    prior: Tensor,
    corpus: Corpus,
) -> tuple[float, dict[str, Any]]:
    """The prior's weight beside the likelihood (whose weight is 1), and how far both go."""
    cases = [case for case in cases if {peaks.mode for peaks in case.spectra} <= set(modes)]
    likely = []
    for case in progress(cases, desc="dev split", unit="mol"):
        likely.append(model.scale.exp() * model(case_tensors(case, described, vocabulary, modes)))
    priors = [torch.from_numpy(corpus.bits(np.array(case.rows))) @ prior for case in cases]
    rows = [torch.stack([one.mean(dim=0), at], dim=1) for one, at in zip(likely, priors, strict=True)]
    weights = fit_softmax(torch.cat(rows), [len(row) for row in rows], 0.0)
    ratio = float(weights[1] / weights[0].clamp(min=1e-3))

    def first(scores: list[Tensor]) -> float:
        return float(np.mean([float((one[:, 1:] < one[:, :1]).all(dim=1).float().mean()) for one in scores]))

    both = [one + ratio * at for one, at in zip(likely, priors, strict=True)]
    return ratio, {
        "dev_molecules": len(cases),
        "dev_at_1": first(likely),
        "dev_prior_at_1": first([at[None] for at in priors]),
        "dev_both_at_1": first(both),
        "prior_weight": ratio,
    }
