"""The shift predictor: a graph trunk learns what every atom shows from spectra that do not say which peak is
whose.

Observed peaks are matched with predicted ones at least total distance, anew in every step, and the matched
atoms are moved towards their peaks (sorted matching, as in Kwon et al., J. Chem. Inf. Model. 2020, and
Schuett et al. for sets). Errors are taken as Laplace distributed with a spread of each atom's own, so the
predictor also says how sure it is. Where a set of assigned shifts exists it is used as such.

The trunk and heads are a start for alignment, and the predictor simulates spectra (`simulate`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rdkit import Chem
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.chem.graph import ATOM_COLUMNS, N_BOND_CODES, collate, featurise, flatten
from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule
from acml_search.networks import GraphNet, TensorBatch, width_of
from acml_search.networks.nmr import Peaks, ShiftHead
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import Corpus, read_table
from acml_search.training.loop import Task, train
from acml_search.training.matching import match_peaks
from acml_search.training.observations import Observations, read_observations

COMPUTED_WEIGHT = 0.3
"""weight of a computed (DFT) shift against a measured one"""


@dataclass
class Assigned:
    """Shifts assigned to atoms, for one nucleus: corpus row -> places (k,) among the graph's atoms of that
    nucleus, ppm (k,), measured (k,) bool.
    """

    of: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]
    left_out: int


class ShiftNet(nn.Module):
    """Trunk and a shift head per nucleus."""

    def __init__(self, trunk: dict[str, Any], heads: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self.trunk = GraphNet(list(ATOM_COLUMNS.values()), N_BOND_CODES, **trunk)
        self.heads = nn.ModuleDict()
        for name, hyper in heads.items():
            kind = modalities.get(name)
            self.heads[name] = kind.head(self.trunk, nn.Identity(), **hyper)
        self.width = width_of(self.trunk)

    def peaks(self, batch: TensorBatch) -> dict[str, Peaks]:
        """Predicted peaks by modality."""
        states = self.trunk.node_states(batch)
        pooled = self.trunk.pool(states, batch)
        return {
            name: cast("ShiftHead", head).peaks(states, pooled, batch) for name, head in self.heads.items()
        }


class ShiftTask(Task[ShiftNet]):
    """Molecules that have a spectrum or assigned shifts of any nucleus."""

    def __init__(
        self,
        corpus: Corpus,
        model: ShiftNet,
        observed: dict[str, Observations],
        assigned: dict[str, Assigned],
    ) -> None:
        self.corpus, self.model = corpus, model
        self.observed, self.assigned = observed, assigned
        rows = np.unique(
            np.concatenate(
                [o.molecules for o in observed.values()]
                + [np.fromiter(a.of, np.int64, len(a.of)) for a in assigned.values()]
            )
        )
        self.rows = np.intersect1d(rows, corpus.learned)
        self.inner = np.intersect1d(rows, corpus.kept)
        self.formulas = corpus.formulas

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        predicted = self.model.peaks(graph_batch(self.corpus, rows))
        return {
            name: shift_loss(peaks, rows, self.observed[name], self.assigned.get(name), rng)
            for name, peaks in predicted.items()
        }

    @torch.inference_mode()
    def evaluate(self, model: ShiftNet) -> dict[str, float]:
        out = {}
        rng = np.random.default_rng(0)
        predicted = [
            (rows, model.peaks(graph_batch(self.corpus, rows)))
            for rows in (self.inner[i : i + 256] for i in range(0, len(self.inner), 256))
        ]
        for name, observations in self.observed.items():
            errors = [set_errors(peaks[name], rows, observations, rng) for rows, peaks in predicted]
            if sum(map(len, errors)):
                out[f"{name}_set_error"] = float(np.mean(np.concatenate(errors)))
            if name in self.assigned and any(m.any() for _, _, m in self.assigned[name].of.values()):
                atoms = [assigned_errors(peaks[name], rows, self.assigned[name]) for rows, peaks in predicted]
                out[f"{name}_atom_error"] = float(np.concatenate(atoms).mean())
        return out


def graph_batch(corpus: Corpus, rows: np.ndarray) -> TensorBatch:
    """Graphs of corpus rows."""
    return TensorBatch.of(collate([corpus.graph(int(i)) for i in rows]))


def shift_loss(
    peaks: Peaks,
    rows: np.ndarray,
    observed: Observations,
    assigned: Assigned | None,
    rng: np.random.Generator,
) -> Tensor:
    """Mean Laplace negative log-likelihood of the matched peaks, by molecule, and a small term that teaches
    which atoms spectra leave out. `rows` (b,) are the corpus rows of the graphs.
    """
    position = peaks.position.detach().double().numpy()
    ends = np.searchsorted(peaks.graph_of.numpy(), np.arange(len(rows) + 1))
    chosen: list[np.ndarray] = []
    values: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    unseen: list[np.ndarray] = []
    drawn = _drawn(observed, rows, rng)
    for graph, row in enumerate(rows.tolist()):
        first, last = ends[graph], ends[graph + 1]
        if first == last:
            continue
        if drawn[graph] >= 0:
            atoms, ppm, classes = match_peaks(position[first:last], _listed(observed, drawn[graph]))
            chosen.append(first + atoms)
            values.append(ppm)
            weights.append(np.full(len(atoms), 1 / len(atoms)))
            if len(atoms) < classes:
                unseen.append(np.setdiff1d(np.arange(first, last), first + atoms))
        if assigned is not None and row in assigned.of:
            atoms, ppm, measured = assigned.of[row]
            chosen.append(first + atoms)
            values.append(ppm)
            weights.append(np.where(measured, 1.0, COMPUTED_WEIGHT) / len(atoms))
    if not chosen:
        return peaks.position.sum() * 0
    at, weight = torch.from_numpy(np.concatenate(chosen)), torch.from_numpy(np.concatenate(weights)).float()
    error = (peaks.position[at] - torch.from_numpy(np.concatenate(values)).float()).abs()
    spread = peaks.spread[at]
    likelihood = (weight * (error / spread + spread.log())).sum() / weight.sum()
    present = F.softplus(-peaks.present[at]).mean()
    if unseen:
        present = present + F.softplus(peaks.present[torch.from_numpy(np.concatenate(unseen))]).sum() / len(
            at
        )
    return likelihood + 0.1 * present


def set_errors(
    peaks: Peaks, rows: np.ndarray, observed: Observations, rng: np.random.Generator
) -> np.ndarray:
    """Mean absolute distance (ppm) after sorted matching, of each molecule whose spectrum shows as many
    distinct peaks as it has classes of equivalent atoms.
    """
    position = peaks.position.double().numpy()
    ends = np.searchsorted(peaks.graph_of.numpy(), np.arange(len(rows) + 1))
    out = []
    for graph, at in enumerate(_drawn(observed, rows, rng)):
        mine = position[ends[graph] : ends[graph + 1]]
        if at < 0 or not len(mine):
            continue
        distinct = np.unique(_listed(observed, at).round(2))
        classes = np.sort(mine)[np.concatenate([[True], np.diff(np.sort(mine)) > 1e-4])]
        if len(distinct) == len(classes):
            out.append(np.abs(distinct - classes).mean())
    return np.array(out)


def assigned_errors(peaks: Peaks, rows: np.ndarray, assigned: Assigned) -> np.ndarray:
    """Absolute errors (ppm) of all measured assigned atoms."""
    out = [np.zeros(0)]
    ends = np.searchsorted(peaks.graph_of.numpy(), np.arange(len(rows) + 1))
    for graph, row in enumerate(rows.tolist()):
        if row not in assigned.of or ends[graph] == ends[graph + 1]:
            continue
        first, last = ends[graph], ends[graph + 1]
        atoms, ppm, measured = assigned.of[row]
        out.append(np.abs(peaks.position[first:last].numpy()[atoms] - ppm)[measured])
    return np.concatenate(out)


def read_assigned(path: Path, where: str, corpus: Corpus) -> dict[str, Assigned]:
    """Assigned shifts by modality from a Parquet file with `smiles`, `c13_exp`, `c13_dft`, `h1_dft`: lists
    parallel to the atoms of `smiles`. A molecule whose graph does not come out the same is left out.

    Computed shifts of hydrogen are used on carbon only: on oxygen and nitrogen they mean little.
    """
    table = read_table(path, where)
    at = {str(smiles): i for i, smiles in enumerate(corpus.smiles.to_pylist())}
    found: dict[str, Assigned] = {"c_nmr": Assigned({}, 0), "h_nmr": Assigned({}, 0)}
    for row in table.to_pylist():
        try:
            mol, _ = parse(row["smiles"])
        except InvalidMolecule:
            continue
        place = at.get(Chem.MolToSmiles(mol), -1)
        graph = flatten(featurise(mol))
        kept = flatten(corpus.graph(place)) if place >= 0 else None
        if kept is None or not (
            np.array_equal(graph.atoms, kept.atoms) and np.array_equal(graph.edges, kept.edges)
        ):
            for assigned in found.values():
                assigned.left_out += 1
            continue
        element, hydrogens = graph.atoms[:, 0], graph.atoms[:, 3]
        measured = _column(row["c13_exp"], len(element))
        carbon = np.where(np.isnan(measured), _column(row["c13_dft"], len(element)), measured)
        proton = np.where(element == 6, _column(row["h1_dft"], len(element)), np.nan)
        for name, of, values, sure in (
            ("c_nmr", element == 6, carbon, ~np.isnan(measured)),
            ("h_nmr", hydrogens > 0, proton, np.zeros(len(element), bool)),
        ):
            mine, trusted = values[of], sure[of]
            known = np.flatnonzero(~np.isnan(mine))
            if len(known):
                found[name].of[place] = (known, mine[known], trusted[known])
    return found


def run(path: Path | str) -> Path:
    """Train the shift predictor a configuration describes; returns its directory with `shifts.safetensors`.

    Raises `ConfigError` for a configuration that cannot be followed.
    """
    config = read_config(path, ("corpus", "trunk", "head", "records", "training"))
    corpus = config.corpus()
    torch.manual_seed(config.seed)
    model = ShiftNet(config.data["trunk"], config.data["head"])
    task = ShiftTask(corpus, model, *shift_labels(config, corpus))
    averaged = train(task, config.data["training"], config.seed, config.out)
    save_file(
        {k: v.contiguous() for k, v in averaged.state_dict().items()}, config.out / "shifts.safetensors"
    )
    (config.out / "config.json").write_text(json.dumps(config.data, indent=1))
    return config.out


def shift_labels(
    config: TrainingConfig, corpus: Corpus
) -> tuple[dict[str, Observations], dict[str, Assigned]]:
    """Spectra of the table `records` (modality -> entries) and, where it is named, the `assigned` file."""
    observed = {
        name: read_observations(name, entries, corpus, config.root, keep=True)
        for name, entries in config.data["records"].items()
    }
    entry = config.data.get("assigned")
    assigned = read_assigned(config.root / entry["path"], entry["where"], corpus) if entry else {}
    return observed, assigned


def _drawn(observed: Observations, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A record of each corpus row, -1 where there is none: indices (len(rows),) int64."""
    out = np.full(len(rows), -1)
    has = observed.has(rows)
    out[has] = observed.draw(rows[has], rng)
    return out


def _listed(observed: Observations, at: int) -> np.ndarray:
    """The shifts of a record as its source lists them, repeated values included: (p,) float64."""
    return np.asarray(observed.records[at]["shifts"], np.float64)


def _column(values: list[float | None] | None, n: int) -> np.ndarray:
    return np.full(n, np.nan) if values is None else np.array([np.nan if v is None else v for v in values])
