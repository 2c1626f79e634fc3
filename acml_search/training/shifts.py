"""The shift predictor: a graph trunk learns what every atom shows from spectra that do not say which peak is
whose.

Observed peaks are matched with predicted ones at least total distance, anew in every step, and the matched
atoms are moved towards their peaks (sorted matching, as in Kwon et al., J. Chem. Inf. Model. 2020, and
Schuett et al. for sets). Errors are taken as Laplace distributed with a spread of each atom's own, so the
predictor also says how sure it is. Where a set of assigned shifts exists it is used as such.

The trunk and heads are a start for alignment, and the predictor simulates spectra of every molecule of the
corpus: its prediction with the errors that it expects itself. Every peak moves by its spread (Laplace), is
missing as often as spectra leave such atoms out, now and then one more is lost, peaks that fall together
merge, and a foreign peak (solvent, impurity) may join.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from rdkit import Chem
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.chem.graph import ATOM_COLUMNS, N_BOND_CODES, featurise, flatten
from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule
from acml_search.core.io import atomic
from acml_search.core.progress import progress
from acml_search.core.typing import Floats, Ints
from acml_search.modalities.nmr import ShiftArrays, ShiftModality
from acml_search.networks import GraphNet, current_names
from acml_search.networks.nmr import Peaks, ShiftHead
from acml_search.training.config import Hyper, ShiftPlan, Source
from acml_search.training.corpus import Corpus, corpus_of, read_rows
from acml_search.training.loop import Task, save_result, train
from acml_search.training.records import MeasuredRecords, read_records

if TYPE_CHECKING:
    from torch_geometric.data import Batch

COMPUTED_WEIGHT = 0.3
"""weight of a computed (DFT) shift against a measured one"""
PRESENCE_WEIGHT = 0.1
"""of the loss that teaches which atoms spectra leave out"""
EQUIVALENT_PPM = 1e-4
"""equivalent atoms are predicted within this of one another"""
LOST, FOREIGN = 0.03, 0.03
"""chance that a listed peak is lost, and that a spectrum shows a peak that is not the molecule's"""
_ARRAYS = ("position", "spread", "present")


AssignedShifts = dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""corpus row -> shifts assigned to its atoms of one nucleus: places (k,) among these atoms, ppm (k,), and are
they measured (k,) bool
"""


class ShiftNet(nn.Module):
    """Trunk and a shift head per nucleus."""

    def __init__(self, trunk: Hyper, heads: dict[str, Hyper]) -> None:
        super().__init__()
        self.trunk = GraphNet(list(ATOM_COLUMNS.values()), N_BOND_CODES, **trunk)
        self.heads = nn.ModuleDict()
        for name, hyper in heads.items():
            self.heads[name] = modalities.get(name).head(self.trunk, nn.Identity(), **hyper)

    def peaks(self, batch: Batch) -> dict[str, Peaks]:
        """Predicted peaks by modality."""
        states, pooled = self.trunk.states_and_pooled(batch)
        return {
            name: cast("ShiftHead", head).peaks(states, pooled, batch) for name, head in self.heads.items()
        }


class ShiftTask(Task[ShiftNet]):
    """Molecules that have a spectrum or assigned shifts of any nucleus."""

    def __init__(
        self,
        corpus: Corpus,
        model: ShiftNet,
        measured: dict[str, MeasuredRecords],
        assigned: dict[str, AssignedShifts],
    ) -> None:
        self.corpus, self.model = corpus, model
        self.measured, self.assigned = measured, assigned
        known = [records.molecules for records in measured.values()]
        known += [np.fromiter(a, np.int64, len(a)) for a in assigned.values()]
        rows = np.unique(np.concatenate(known))
        self.rows = np.intersect1d(rows, corpus.train_rows)
        self.dev = np.intersect1d(rows, corpus.dev_rows)
        self.formulas = corpus.formulas

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        predicted = self.model.peaks(self.corpus.graph_batch(rows, self.device))
        return {
            name: shift_loss(peaks, rows, self.measured[name], self.assigned.get(name), rng)
            for name, peaks in predicted.items()
        }

    @torch.inference_mode()
    def evaluate(self, model: ShiftNet) -> dict[str, float]:
        out = {}
        rng = np.random.default_rng(0)
        predicted = [
            (rows, model.peaks(self.corpus.graph_batch(rows, self.device)))
            for rows in (self.dev[i : i + 256] for i in range(0, len(self.dev), 256))
        ]
        for name, records in self.measured.items():
            errors = [set_errors(peaks[name], rows, records, rng) for rows, peaks in predicted]
            if sum(map(len, errors)):
                out[f"{name}_set_error"] = float(np.mean(np.concatenate(errors)))
            if name in self.assigned and any(m.any() for _, _, m in self.assigned[name].values()):
                atoms = [assigned_errors(peaks[name], rows, self.assigned[name]) for rows, peaks in predicted]
                out[f"{name}_atom_error"] = float(np.concatenate(atoms).mean())
        return out


def run(plan: ShiftPlan, device: torch.device) -> Path:
    """Train the shift predictor of a plan; returns its folder with `shifts.safetensors`."""
    corpus = corpus_of(plan)
    torch.manual_seed(plan.seed)
    model = ShiftNet(plan.trunk, plan.head).to(device)
    measured = {
        name: read_records(name, sources, corpus, plan.root_folder, keep_rows=True)
        for name, sources in plan.records.items()
    }
    task = ShiftTask(corpus, model, measured, read_assigned(plan.root_folder, plan.assigned, corpus))
    averaged = train(task, plan)
    return save_result(plan, averaged.state_dict(), "shifts.safetensors")


def match_sorted(few: Floats, many: Floats) -> Ints:
    """Least total distance on a line: `few` (m,) and `many` (n,), both ascending, m <= n -> (m,) int64, the
    index in `many` of each one's partner, ascending: optimal partners on a line need not cross.
    """
    return np.sort(linear_sum_assignment(np.abs(few[:, None] - many))[1])


def match_peaks(predicted: Floats, observed: Floats) -> tuple[Ints, Floats, int]:
    """Partners of one spectrum's peaks.

    `predicted` (a,) ppm, a value per atom in any order; `observed` (p,) ppm, as listed. Matched are all atoms
    when the list has one value per atom, else distinct predictions with distinct values. Returns the atoms
    (k,) int64, the value each should have (k,), and the number of classes of equivalent atoms.
    """
    order = predicted.argsort(kind="stable")
    first = _first_of_class(predicted[order])
    classes = int(first.sum())
    distinct = np.unique(observed.round(2))
    # The same number of values as of atoms means repeated values, unless every atom is a class of its own.
    if len(observed) == len(predicted):
        return order, np.sort(observed), classes
    atoms, values = order[first], distinct
    if len(values) <= len(atoms):
        atoms = atoms[match_sorted(values, predicted[atoms])]
    else:
        values = values[match_sorted(predicted[atoms], values)]
    return atoms, values, classes


def _first_of_class(ascending: Floats) -> np.ndarray:
    """(a,) bool: the first atom of each class of equivalent ones."""
    return np.concatenate([[True], np.diff(ascending) > EQUIVALENT_PPM])


def _by_molecule(peaks: Peaks, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicted positions (A,) float64 in ppm, and where each molecule's begin (n + 1,)."""
    ends = np.searchsorted(peaks.graph_of.cpu().numpy(), np.arange(n + 1))
    return peaks.position.detach().cpu().double().numpy(), ends


def shift_loss(
    peaks: Peaks,
    rows: np.ndarray,
    measured: MeasuredRecords,
    assigned: AssignedShifts | None,
    rng: np.random.Generator,
) -> Tensor:
    """Laplace negative log-likelihood of matched peaks, by molecule, and which atoms spectra leave out."""
    position, ends = _by_molecule(peaks, len(rows))
    labels: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # atoms, ppm, weights
    unseen: list[np.ndarray] = []
    drawn = _drawn(measured, rows, rng)
    for graph, row in enumerate(rows.tolist()):
        first, last = ends[graph], ends[graph + 1]
        if first == last:
            continue
        if drawn[graph] >= 0:
            atoms, ppm, classes = match_peaks(position[first:last], _listed(measured, drawn[graph]))
            labels.append((first + atoms, ppm, np.full(len(atoms), 1 / len(atoms))))
            if len(atoms) < classes:
                unseen.append(np.setdiff1d(np.arange(first, last), first + atoms))
        if assigned is not None and row in assigned:
            atoms, ppm, sure = assigned[row]
            labels.append((first + atoms, ppm, np.where(sure, 1.0, COMPUTED_WEIGHT) / len(atoms)))
    if not labels:
        return peaks.position.sum() * 0
    device = peaks.position.device
    chosen, values, weights = (np.concatenate(column) for column in zip(*labels, strict=True))
    at = torch.from_numpy(chosen).to(device)
    target, weight = (torch.from_numpy(x).float().to(device) for x in (values, weights))
    spread = peaks.spread[at]
    error = (peaks.position[at] - target).abs()
    likelihood = (weight * (error / spread + spread.log())).sum() / weight.sum()
    present = F.softplus(-peaks.present[at]).mean()
    if unseen:
        absent = torch.from_numpy(np.concatenate(unseen)).to(device)
        present = present + F.softplus(peaks.present[absent]).sum() / len(at)
    return likelihood + PRESENCE_WEIGHT * present


def set_errors(
    peaks: Peaks, rows: np.ndarray, measured: MeasuredRecords, rng: np.random.Generator
) -> np.ndarray:
    """Mean distance (ppm) after sorted matching, of each molecule with as many peaks as classes."""
    position, ends = _by_molecule(peaks, len(rows))
    out = []
    for graph, at in enumerate(_drawn(measured, rows, rng)):
        predicted = np.sort(position[ends[graph] : ends[graph + 1]])
        if at < 0 or not len(predicted):
            continue
        distinct = np.unique(_listed(measured, at).round(2))
        classes = predicted[_first_of_class(predicted)]
        if len(distinct) == len(classes):
            out.append(np.abs(distinct - classes).mean())
    return np.array(out)


def assigned_errors(peaks: Peaks, rows: np.ndarray, assigned: AssignedShifts) -> np.ndarray:
    """Absolute errors (ppm) of all measured assigned atoms."""
    out = [np.zeros(0)]
    position, ends = _by_molecule(peaks, len(rows))
    for graph, row in enumerate(rows.tolist()):
        if row not in assigned or ends[graph] == ends[graph + 1]:
            continue
        atoms, ppm, measured = assigned[row]
        out.append(np.abs(position[ends[graph] : ends[graph + 1]][atoms] - ppm)[measured])
    return np.concatenate(out)


def read_assigned(root: Path, source: Source | None, corpus: Corpus) -> dict[str, AssignedShifts]:
    """Assigned shifts by modality from a Parquet file with `smiles`, `c13_exp`, `c13_dft`, `h1_dft`: lists
    parallel to the atoms of `smiles`. A molecule whose graph does not come out the same is left out.

    Computed shifts of hydrogen are used on carbon only: on oxygen and nitrogen they mean little.
    """
    if source is None:
        return {}
    found: dict[str, AssignedShifts] = {"c_nmr": {}, "h_nmr": {}}
    for record in read_rows(root, source).to_pylist():
        try:
            mol, _ = parse(record["smiles"])
        except InvalidMolecule:
            continue
        row = corpus.row_of.get(Chem.MolToSmiles(mol), -1)
        atoms, edges, *_ = flatten(featurise(mol))
        kept = flatten(corpus.graph(row)) if row >= 0 else None
        if kept is None or not (np.array_equal(atoms, kept[0]) and np.array_equal(edges, kept[1])):
            continue
        element, hydrogens = atoms[:, 0], atoms[:, 3]
        measured = _column(record["c13_exp"], len(element))
        carbon = np.where(np.isnan(measured), _column(record["c13_dft"], len(element)), measured)
        proton = np.where(element == 6, _column(record["h1_dft"], len(element)), np.nan)
        for name, chosen, values, sure in (
            ("c_nmr", element == 6, carbon, ~np.isnan(measured)),
            ("h_nmr", hydrogens > 0, proton, np.zeros(len(element), bool)),
        ):
            ppm, trusted = values[chosen], sure[chosen]
            known = np.flatnonzero(~np.isnan(ppm))
            if len(known):
                found[name][row] = (known, ppm[known], trusted[known])
    return found


def _drawn(measured: MeasuredRecords, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A record of each corpus row, -1 where there is none: indices (len(rows),) int64."""
    out = np.full(len(rows), -1)
    has = measured.has(rows)
    out[has] = measured.draw(rows[has], rng)
    return out


def _listed(measured: MeasuredRecords, at: int) -> np.ndarray:
    """The shifts of a record as its source lists them, repeated values included: (p,) float64."""
    return np.asarray(measured.table[at]["shifts"], np.float64)


def _column(values: list[float | None] | None, n: int) -> np.ndarray:
    return np.full(n, np.nan) if values is None else np.array([np.nan if v is None else v for v in values])


# What the predictor simulates


@dataclass
class SimulatedPeaks:
    """Predicted peaks of all corpus molecules, one per class of equivalent atoms."""

    kind: ShiftModality
    starts: np.ndarray
    """(n + 1,) int64"""
    position: np.ndarray
    """(P,) float32, ppm"""
    spread: np.ndarray
    """(P,) float32, ppm"""
    present: np.ndarray
    """(P,) float32, logit"""

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: does the molecule show any peak?"""
        return self.starts[rows + 1] > self.starts[rows]

    def peaks(self, rows: np.ndarray) -> Peaks:
        """The predictions themselves, as a head gives them, of corpus rows."""
        at, graph_of = self._places(rows)
        position, spread, present = (
            torch.from_numpy(np.ascontiguousarray(a[at])) for a in (self.position, self.spread, self.present)
        )
        return Peaks(torch.from_numpy(at), torch.from_numpy(graph_of), position, spread, present)

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> ShiftArrays:
        """A spectrum of each corpus row; every row must have a peak."""
        at, graph_of = self._places(rows)
        moved = self.position[at] + self.spread[at] * rng.laplace(size=len(at))
        moved += rng.normal(0, self.kind.jitter, len(rows))[graph_of]
        seen = rng.random(len(at)) < (1 - LOST) / (1 + np.exp(-self.present[at]))
        # A spectrum without a peak is no spectrum: the first one stays.
        seen[np.searchsorted(graph_of, np.setdiff1d(np.arange(len(rows)), graph_of[seen]))] = True
        foreign = np.flatnonzero(rng.random(len(rows)) < FOREIGN)
        graph_of = np.concatenate([graph_of[seen], foreign])
        moved = np.concatenate([moved[seen], rng.uniform(*self.kind.typical, len(foreign))])
        order = np.lexsort((moved, graph_of))
        graph_of, moved = graph_of[order], moved[order]
        merged = np.zeros(len(moved), bool)
        merged[1:] = (np.diff(graph_of) == 0) & (np.diff(moved) < self.kind.jitter / 3)
        graph_of, moved = graph_of[~merged], moved[~merged]
        return ShiftArrays(moved.astype(np.float32), graph_of, np.bincount(graph_of, minlength=len(rows)))

    def _places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the peaks of the rows stand, (p,) int64, and whose they are, (p,) int64."""
        counts = self.starts[rows + 1] - self.starts[rows]
        graph_of = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        return np.arange(len(graph_of)) - before[graph_of] + self.starts[rows][graph_of], graph_of


def open_simulated(directory: Path, modality: str) -> SimulatedPeaks:
    """What `simulate` left for one modality."""
    arrays = {
        name: np.load(directory / f"{modality}-{name}.npy", mmap_mode="r") for name in ("starts", *_ARRAYS)
    }
    return SimulatedPeaks(cast("ShiftModality", modalities.get(modality)), **arrays)


@torch.inference_mode()
def simulate(plan: ShiftPlan, device: torch.device | str = "cpu") -> Path:
    """Predict the peaks of the corpus of a trained shift predictor; its folder's `simulated` holds them."""
    out = plan.out_folder / "simulated"
    if out.exists():
        return out
    corpus = corpus_of(plan)
    torch.set_num_threads(1)
    model = ShiftNet(plan.trunk, plan.head)
    model.load_state_dict(current_names(load_file(plan.out_folder / "shifts.safetensors")))
    model.to(device).eval().trunk.fold()
    found: dict[str, dict[str, list[np.ndarray]]] = {
        name: {k: [] for k in ("counts", *_ARRAYS)} for name in model.heads
    }
    for start in progress(range(0, len(corpus), 64), desc="simulating", unit="batch"):
        rows = np.arange(start, min(start + 64, len(corpus)))
        for name, peaks in model.peaks(corpus.graph_batch(rows, device)).items():
            for key, values in _distinct(peaks, len(rows), cast("ShiftHead", model.heads[name])).items():
                found[name][key].append(values)
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        for name, parts in found.items():
            counts = np.concatenate(parts.pop("counts"))
            np.save(folder / f"{name}-starts.npy", np.concatenate([[0], counts.cumsum()]))
            for key, values in parts.items():
                np.save(folder / f"{name}-{key}.npy", np.concatenate(values))
    return out


def _distinct(peaks: Peaks, n: int, head: ShiftHead) -> dict[str, Any]:
    """One peak for each class of equivalent atoms, and how many each molecule has."""
    position, graph_of = peaks.position.cpu().numpy(), peaks.graph_of.cpu().numpy()
    order = np.lexsort((position, graph_of))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(graph_of[order]) > 0) | (np.diff(position[order]) > head.scale / 5e4)
    kept = order[first]
    arrays = {k: getattr(peaks, k).cpu().numpy()[kept].astype(np.float32) for k in _ARRAYS}
    return {"counts": np.bincount(graph_of[kept], minlength=n), **arrays}
