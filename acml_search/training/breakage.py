"""How likely molecules explain spectra, as a network that can be trained, and the cases it is trained on.

The same model as `ms.annotation`, which needs no torch; a test holds them to the same figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.molecule import parse
from acml_search.core.progress import progress
from acml_search.ms.annotation import HIGHEST, LOWEST, Observed, observe
from acml_search.ms.fragments import N_CODES, SHIFTS, Described, Masses, describe, index_of
from acml_search.training.corpus import Corpus
from acml_search.training.measured import SameMass
from acml_search.training.observations import Observations

KINDS = 4  # bonds broken


class Case(NamedTuple):
    """A molecule, others of its mass, and spectra of the first."""

    rows: list[int]
    """corpus rows, the molecule's first"""
    seen: list[Observed]


@dataclass
class Question:
    """A case as tensors: u = candidates x modes units, each with its pieces."""

    flat: Tensor
    """features of all sides end to end, offset by the mode"""
    starts: Tensor
    first: Tensor
    second: Tensor
    codes: Tensor
    kinds: Tensor
    units: Tensor
    """of each piece"""
    modes: Tensor
    """(u,)"""
    peaks: Tensor
    """of each agreement, the row in `weights`"""
    pieces: Tensor
    shifts: Tensor
    weights: Tensor
    """root intensity of each peak, for every candidate anew"""
    cells: Tensor
    """(spectrum, candidate) of each row, as one number"""
    shape: tuple[int, int]


class Breakage(nn.Module):
    """Weights of features, shared by the modes and each mode's own, and the small tables."""

    def __init__(self, n_features: int, modes: int) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.zeros(n_features))
        self.own = nn.Parameter(torch.zeros(modes, n_features))
        self.codes = nn.Parameter(torch.zeros(modes, N_CODES))
        depth = torch.tensor([[0.0, -0.5], [-1.0, -2.5], [-3.0, -3.5], [-4.0, -4.0]])
        self.depth = nn.Parameter(depth.repeat(modes, 1, 1))
        shifts = torch.zeros(modes, KINDS, len(SHIFTS))
        shifts[:, 0, 3], shifts[:, 0, 5], shifts[:, 1, 4], shifts[:, 1, 2] = 1.5, 1.0, 1.0, 0.5
        self.shifts = nn.Parameter(shifts)
        self.floor = nn.Parameter(torch.tensor(-7.0))
        self.scale = nn.Parameter(torch.tensor(-1.0))

    def forward(self, asked: Question) -> Tensor:
        """(spectra, candidates) log-likelihoods."""
        weights = (self.shared + self.own).reshape(-1, 1)
        sides = F.embedding_bag(asked.flat, weights, asked.starts, mode="sum")[:, 0]
        modes = asked.modes[asked.units]
        two = asked.second >= 0
        scores = sides[asked.first] + torch.where(two, sides[asked.second.clamp(min=0)], 0.0)
        scores = scores + self.codes[modes, asked.codes] + self.depth[modes, asked.kinds, two.long()]
        likely = scores.clamp(LOWEST, HIGHEST).exp()
        totals = likely.new_zeros(len(asked.modes)).index_add(0, asked.units, likely).clamp(min=1e-9)
        at = asked.pieces
        carried = F.softmax(self.shifts, dim=-1)[modes[at], asked.kinds[at], asked.shifts]
        found = likely[at] / totals[asked.units[at]] * carried
        peaks = likely.new_zeros(len(asked.weights)).index_add(0, asked.peaks, found)
        logs = (peaks + self.floor.exp()).log() * asked.weights
        return (
            logs.new_zeros(asked.shape[0] * asked.shape[1]).index_add(0, asked.cells, logs).view(asked.shape)
        )


class Known(dict[int, Described]):
    """Corpus row -> its described pieces, made when first asked for."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__()
        self.corpus = corpus

    def __missing__(self, row: int) -> Described:
        self[row] = describe(parse(str(self.corpus.smiles[row]))[0])
        return self[row]


def draw_cases(
    observed: Observations,
    molecules: np.ndarray,
    alike: SameMass,
    settings: dict[str, Any],
    rng: np.random.Generator,
    modality: str,
    tolerance: dict[str, float],
) -> list[Case]:
    """A case for each of `molecules` (corpus rows) that has a rival and a peak below its own mass."""
    cases = []
    for row in molecules.tolist():
        rivals = alike.draw(row, settings["rivals"], rng)
        if not len(rivals):
            continue
        at = int(np.searchsorted(observed.molecules, row))
        records = np.arange(observed.starts[at], observed.starts[at + 1])
        chosen = rng.permutation(records)[: settings["spectra"]]
        mass = float(alike.masses[row])
        seen = [observe(observed.items[i], modality, mass, **tolerance) for i in chosen.tolist()]
        seen = [one for one in seen if len(one.at)]
        if seen:
            cases.append(Case([row, *rivals.tolist()], seen))
    return cases


def ask(case: Case, known: Known, vocabulary: dict[str, int], modes: Sequence[int]) -> Question:
    """A case as tensors. `modes`: the ways of ionisation, in the order of the tables' rows."""
    here = sorted({one.mode for one in case.seen})
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("flat", "starts", "first", "second", "codes", "kinds", "units")
    }
    begin: dict[tuple[int, int], int] = {}
    n_flat = n_sides = n_pieces = 0
    of_unit: list[int] = []
    for mode in here:
        for place, row in enumerate(case.rows):
            one = known[row]
            flat, starts = index_of(one.features, vocabulary)
            two = one.pieces.second >= 0
            parts["flat"].append(flat + modes.index(mode) * len(vocabulary))
            parts["starts"].append(starts + n_flat)
            parts["first"].append(one.pieces.first + n_sides)
            parts["second"].append(np.where(two, one.pieces.second + n_sides, -1))
            parts["codes"].append(one.codes)
            parts["kinds"].append(one.kinds)
            parts["units"].append(np.full(len(one.pieces), len(of_unit)))
            begin[mode, place] = n_pieces
            of_unit.append(modes.index(mode))
            n_flat, n_sides, n_pieces = n_flat + len(flat), n_sides + len(starts), n_pieces + len(one.pieces)
    tables = {seen.whole: [Masses(known[row], seen.whole) for row in case.rows] for seen in case.seen}
    agree: list[tuple[np.ndarray, ...]] = []
    weights, cells, n_rows = [], [], 0
    for number, seen in enumerate(case.seen):
        for place in range(len(case.rows)):
            peaks, pieces, shifts = tables[seen.whole][place].near(seen.neutral, seen.width)
            agree.append((peaks + n_rows, pieces + begin[seen.mode, place], shifts))
            weights.append(seen.weights)
            cells.append(np.full(len(seen.at), number * len(case.rows) + place))
            n_rows += len(seen.at)
    whole = {name: torch.from_numpy(np.concatenate(arrays)) for name, arrays in parts.items()}
    columns = [torch.from_numpy(np.concatenate(column)) for column in zip(*agree, strict=True)]
    return Question(
        **whole,
        modes=torch.tensor(of_unit),
        peaks=columns[0],
        pieces=columns[1],
        shifts=columns[2],
        weights=torch.from_numpy(np.concatenate(weights)).float(),
        cells=torch.from_numpy(np.concatenate(cells)),
        shape=(len(case.seen), len(case.rows)),
    )


def vocabulary_of(cases: Sequence[Case], known: Known, least: int) -> dict[str, int]:
    """Features that at least `least` molecules show."""
    shown: Counter[str] = Counter()
    rows = sorted({row for case in cases for row in case.rows})
    for row in progress(rows, desc="cutting", unit="mol"):
        shown.update({name for own in known[row].features for name in own})
    return {name: i for i, name in enumerate(sorted(name for name, n in shown.items() if n >= least))}
