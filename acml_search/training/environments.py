"""The table of `encoders.shifts`: how far measured 13C shifts lie from the predicted ones.

    python -m acml_search.training.environments table.safetensors \\
        --spectra ../shared/data/nmr_c13.parquet --assigned ../shared/data/nmr_atoms.parquet

Spectra that do not say which peak is whose are matched with the prediction, as in training. From the
shallowest environment to the deepest, the mean of what remains is added, drawn towards nothing where few
molecules show it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import typer
from rdkit import Chem

from acml_search.chem.graph import MolGraph, collate, featurise
from acml_search.chem.molecule import parse
from acml_search.chem.splits import is_dev
from acml_search.core.errors import InvalidMolecule
from acml_search.core.typing import Floats
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.encoders.shifts import DEPTHS, Environments, environment_codes
from acml_search.training.shifts import match_peaks

PRIOR = 0.5
"""so many molecules more, without deviation"""
FARTHEST = 4.0
"""ppm: so much of a molecule's deviation counts at most, at each depth: more is often another atom's peak"""
TEACHER_WEIGHT = 0.35
"""of a molecule with another program's shifts, against a measured one"""
TEACHER_DEPTH = 4
"""deepest environment learned from such shifts alone"""
LEAST = 0.4
"""ppm: an environment that says no more than a shallower one is not kept"""
FOLDS = 5
BATCH = 256


class Deviations(NamedTuple):
    """v peaks: measured less predicted."""

    codes: np.ndarray
    """(len(DEPTHS), v) uint64"""
    ppm: Floats
    """(v,)"""
    spread: Floats
    """(v,) ppm, expected by the network"""
    molecule: np.ndarray
    """(v,) int64"""
    measured: np.ndarray
    """(v,) bool; else another program's prediction"""

    def take(self, chosen: np.ndarray) -> Deviations:
        """Those of a mask (v,)."""
        return Deviations(*(column[..., chosen] for column in self))


class Labelled(NamedTuple):
    key: str
    """InChIKey's first block"""
    graph: MolGraph
    shifts: Floats
    """ppm: a list as measured, or one per atom, NaN where there is none"""
    assigned: bool
    measured: bool


def deviations(model: Model, labelled: list[Labelled]) -> Deviations:
    """Of every peak that the molecules show."""
    parts = []
    number_of = {key: number for number, key in enumerate(dict.fromkeys(one.key for one in labelled))}
    for start in range(0, len(labelled), BATCH):
        some = labelled[start : start + BATCH]
        batch = collate([one.graph for one in some])
        codes = environment_codes(batch)
        predicted = model.predicted_peaks("c_nmr", [one.graph for one in some])
        for one, peaks, offset in zip(some, predicted, batch.ptr.tolist(), strict=False):
            if one.assigned:
                values = one.shifts[peaks.atoms]
                at = np.flatnonzero(~np.isnan(values))
                values = values[at]
            else:
                at, values, _ = match_peaks(peaks.position, one.shifts)
            n = len(at)
            parts.append(
                Deviations(
                    codes[:, offset + peaks.atoms[at]],
                    values - peaks.position[at],
                    peaks.spread[at],
                    np.full(n, number_of[one.key]),
                    np.full(n, one.measured),
                )
            )
    return Deviations(*(np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)))


def learned(seen: Deviations, certainty: Floats) -> Environments:
    """The table of these peaks."""
    tables: list[tuple[np.ndarray, Floats]] = []
    found, inherited = np.zeros(len(seen.ppm)), np.zeros(len(seen.ppm))
    weight = np.where(seen.measured, 1.0, TEACHER_WEIGHT)
    for depth, codes in zip(DEPTHS, seen.codes, strict=True):
        known, of = np.unique(codes, return_inverse=True)
        # Equivalent atoms, and spectra of one molecule, are one vote.
        votes, vote_of, peaks = np.unique(
            of.astype(np.int64) * (seen.molecule.max() + 1) + seen.molecule,
            return_inverse=True,
            return_counts=True,
        )
        here = votes // (seen.molecule.max() + 1)
        remaining = np.clip(np.bincount(vote_of, seen.ppm - found) / peaks, -FARTHEST, FARTHEST)
        weights = np.bincount(vote_of, weight) / peaks
        total = np.bincount(here, weights)
        found = found + (np.bincount(here, weights * remaining) / (total + PRIOR))[of]
        shift = np.zeros(len(known))
        shift[of] = found
        change = np.zeros(len(known))
        change[of] = np.abs(found - inherited)
        kept = change > LEAST
        if depth > TEACHER_DEPTH:
            kept &= np.bincount(of, seen.measured) > 0
        inherited = np.where(kept[of], found, inherited)
        tables.append((known[kept], shift[kept]))
    known_by_depth, shifts = zip(*tables, strict=True)
    return Environments(known_by_depth, shifts, certainty)


def certainties(seen: Deviations) -> tuple[Floats, Floats]:
    """By depth (len(DEPTHS),) expected spread over the network's; errors before and after, cross-fitted."""
    fold = seen.molecule % FOLDS
    left, deepest = seen.ppm.copy(), np.full(len(fold), -1)
    for one in range(FOLDS):
        out = fold == one
        shift, deepest[out] = learned(seen.take(~out), np.ones(len(DEPTHS))).find(seen.codes[:, out])
        left[out] -= shift
    sure = seen.measured
    ratio = np.ones(len(DEPTHS))
    for depth in np.unique(deepest[sure & (deepest >= 0)]):
        here = sure & (deepest == depth)
        ratio[depth] = np.abs(left[here]).sum() / seen.spread[here].sum()
    return ratio, np.array([np.abs(x[sure]).mean() for x in (seen.ppm, left)])


def read_labelled(
    path: Path, column: str, left_out: set[str], *, assigned: bool, measured: bool = True
) -> tuple[list[Labelled], list[Labelled]]:
    """The molecules of a Parquet file with `smiles`, `inchikey14` and `column`, for training and of the dev
    split; `left_out`: InChIKey blocks of neither. Unreadable ones are left out, and those whose atoms are no
    longer in the file's order where shifts are `assigned`.
    """
    parts: tuple[list[Labelled], list[Labelled]] = ([], [])
    for row in pq.read_table(path, columns=["smiles", "inchikey14", column]).to_pylist():
        if row[column] is None or row["inchikey14"] in left_out:
            continue
        try:
            mol, _ = parse(row["smiles"])
        except InvalidMolecule:
            continue
        shifts = np.array([np.nan if x is None else x for x in row[column]], np.float64)
        graph = featurise(mol)
        if assigned:
            elements = [atom.GetAtomicNum() for atom in Chem.MolFromSmiles(row["smiles"]).GetAtoms()]
            if elements != graph.x[:, 0].tolist() or len(shifts) != len(elements):
                continue
        if np.isfinite(shifts).any():
            parts[is_dev(row["inchikey14"])].append(
                Labelled(row["inchikey14"], graph, shifts, assigned, measured)
            )
    return parts


def main(
    out: Annotated[Path, typer.Argument(help="The table, .safetensors.")],
    spectra: Annotated[Path, typer.Option(help="Parquet: smiles, inchikey14, split, shifts (ppm).")],
    assigned: Annotated[Path, typer.Option(help="Parquet: as above with c13_exp, a value per atom.")],
    predicted: Annotated[Path | None, typer.Option(help="Another program's c13, a value per atom.")] = None,
    leave_out: Annotated[list[Path] | None, typer.Option(help="More files whose `split` counts.")] = None,
    model: Annotated[str, typer.Option(help="Whose predictions are corrected.")] = "acml-base",
) -> None:
    """Write the table; print what it brings on molecules that it was made without."""
    kept_aside: set[str] = set()
    for path in (spectra, assigned, *(leave_out or ())):
        columns = pq.read_table(path, columns=["inchikey14", "split"]).to_pydict()
        kept_aside |= {
            k for k, part in zip(columns["inchikey14"], columns["split"], strict=True) if part != "train"
        }
    files = [(spectra, "shifts", False, True), (assigned, "c13_exp", True, True)]
    files += [(predicted, "c13", True, False)] if predicted else []
    train: list[Labelled] = []
    dev: list[Labelled] = []
    for path, column, by_atom, measured in files:
        parts = read_labelled(path, column, kept_aside, assigned=by_atom, measured=measured)
        train += parts[0]
        dev += parts[1]
    network = load_model(model, spaces=("c_nmr",))
    network.environments = {}
    seen = deviations(network, train)
    ratio, errors = certainties(seen)
    table = learned(seen, ratio)
    print(f"{len(seen.ppm):,} peaks; in {FOLDS} folds {errors[0]:.3f} -> {errors[1]:.3f} ppm")
    print("spread, by depth:", ", ".join(f"{depth}: {x:.2f}" for depth, x in zip(DEPTHS, ratio, strict=True)))
    held = deviations(network, [one for one in dev if one.measured])
    shift, _ = table.find(held.codes)
    before, after = np.abs(held.ppm).mean(), np.abs(held.ppm - shift).mean()
    print(f"dev split, {len(held.ppm):,} peaks: {before:.3f} -> {after:.3f} ppm")
    table.write(out)


if __name__ == "__main__":
    typer.run(main)
