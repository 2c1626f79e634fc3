"""Which peaks of a mass spectrum a molecule explains, by which of its pieces, and how likely that is.

A molecule's pieces (`ms.cuts`) compete: with every piece goes a weight exp(sum of its features' weights),
and its share of their total is how likely a peak is to be that piece. With h hydrogens more or fewer the
share is multiplied by how often pieces with that many bonds broken carry them. A peak's likelihood is the sum
over all that fit its mass, and a floor for what no piece explains; the spectrum's is the sum of their
logarithms, each by the root of the peak's intensity. So a molecule that could break into anything gains
nothing by breaking into what was seen. That is what sets this apart from counting explained peaks (MetFrag:
Ruttkies et al. 2016, doi 10.1186/s13321-016-0115-9); the weights are learned like those of CFM-ID (Allen et
al. 2015, doi 10.1007/s11306-014-0676-4), in one step and by linear features. NumPy; no torch.

Beside that a molecule has a `prior`, from its Morgan bits alone: does it look like molecules that people
measure? It does not know the spectrum. It is reported by itself and may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from acml_search.chem.masses import HYDROGEN, PROTON
from acml_search.ms.fragmentation import ELECTRONS, NEGATIVE, POSITIVE, Fragmentation
from acml_search.ms.fragments import SHIFTS, Described, Masses, describe, index_of
from acml_search.ms.peaks import Spectrum, nominal

NEAR_WHOLE = 1.2  # Da below the molecule: from here on it is the molecule itself, which says nothing
LOWEST, HIGHEST = -20.0, 15.0  # a piece's sum of weights is kept between these
COARSE = 0.35  # Da, tolerance of spectra of unit resolution
ISOTOPES = 4.0  # Da above it at which its isotopes show
NEGATIVE_TOKEN = 2  # what `lc_ms` reads a negative ion mode as, the second of its tokens

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Observed(NamedTuple):
    """Peaks of a spectrum as masses of neutral pieces."""

    mode: int
    at: Ints
    """(p,) places of the peaks in the spectrum; those of the whole molecule are not among them"""
    neutral: Floats
    """(p,) Da: the m/z without the charge's proton"""
    width: Floats
    """(p,) Da within which a piece fits"""
    weights: Floats
    """(p,) root intensities"""
    whole: bool
    """are masses known to the unit only, so that pieces are compared by nominal mass?"""


@dataclass(frozen=True)
class Fragment:
    """A piece that explains a peak best."""

    mz: float
    """Th, of the peak"""
    intensity: float
    """over the largest of the spectrum, 0 to 1"""
    atoms: tuple[int, ...]
    """of the molecule"""
    formula: str
    """of the ion, "C7H5O+" """
    hydrogens: int
    """gained, or lost where negative, apart from the proton that gives the charge"""
    error: float
    """Da, observed minus expected"""
    broken: int
    """bonds"""
    likelihood: float
    """that of the peak, over the floor, as a natural logarithm"""

    @property
    def error_ppm(self) -> float:
        return self.error / self.mz * 1e6


@dataclass(frozen=True)
class Explained:
    """What a molecule says to a spectrum."""

    score: float
    """scaled log-likelihood of the peaks"""
    prior: float
    """of the molecule alone: does it look like what people measure?"""
    fragments: list[Fragment]
    """of the peaks that are explained, by m/z"""
    unexplained: list[float]
    """m/z of the other peaks below the molecule's own"""
    share: float
    """of the summed root intensities that is explained"""


def observe(item: Spectrum, modality: str, mass: float, ppm: float, da: float) -> Observed:
    """The peaks of a spectrum without those of the whole ion, as a candidate of `mass` (Da) sees them.

    Left out is what lies at the candidate's own mass, and what lies at the precursor or above. Other peaks
    heavier than the candidate stay: it cannot explain them.
    """
    mzs = item.mzs.astype(np.float64)
    roots = item.intensities.astype(np.float64)
    if modality == "gc_ms":
        above = mzs - nominal(np.array(mass))
        at = np.flatnonzero((above < 0) | (above > ISOTOPES))
        return Observed(ELECTRONS, at, mzs[at], np.full(len(at), 0.5), roots[at], True)
    mode = NEGATIVE if len(item.tokens) > 1 and item.tokens[1] == NEGATIVE_TOKEN else POSITIVE
    neutral = mzs + (PROTON if mode == NEGATIVE else -PROTON)
    width = np.full(len(mzs), COARSE) if is_coarse(mzs) else np.maximum(da, ppm * 1e-6 * mzs)
    used = (neutral < mass - NEAR_WHOLE) | (neutral > mass + ISOTOPES)
    if item.precursor:
        used &= mzs < item.precursor - NEAR_WHOLE
    at = np.flatnonzero(used)
    return Observed(mode, at, neutral[at], width[at], roots[at], False)


def is_coarse(mzs: Floats) -> bool:
    """Are all but a few m/z given to one decimal or none, as quadrupoles and ion traps report them?"""
    tenths = mzs * 10
    return len(mzs) > 2 and bool(np.mean(np.abs(tenths - np.round(tenths)) < 5e-3) > 0.9)


class Breaking:
    """One molecule's pieces with how likely each is."""

    def __init__(self, mol: Chem.Mol, learned: Fragmentation) -> None:
        self.learned = learned
        self.described: Described = describe(mol)
        self._masses: dict[bool, Masses] = {}
        self._shares: dict[int, Floats] = {}
        self._index = index_of(self.described.features, learned.features)

    @property
    def mass(self) -> float:
        return self.described.mass

    def shares(self, mode: int) -> Floats:
        """(f,) how likely each piece is; they add up to 1."""
        if mode not in self._shares:
            pieces, learned = self.described.pieces, self.learned
            row = learned.row(mode)
            flat, starts = self._index
            sums = np.concatenate([[0.0], np.cumsum(learned.weights[row, flat])])
            own = sums[np.append(starts[1:], len(flat))] - sums[starts] if len(starts) else np.zeros(0)
            two = pieces.second >= 0
            scores = own[pieces.first] + np.where(two, own[pieces.second], 0.0)
            scores += learned.codes[row, self.described.codes]
            scores += learned.depth[row, self.described.kinds, two.astype(np.int64)]
            weights = np.exp(np.clip(scores, LOWEST, HIGHEST))
            self._shares[mode] = weights / max(weights.sum(), 1e-9)
        return self._shares[mode]

    def fits(self, seen: Observed) -> tuple[Ints, Ints, Ints, Floats]:
        """Every (peak, piece, place in SHIFTS) that agree, and the likelihood that the peak is that."""
        if not len(self.described.pieces) or not len(seen.at):
            none = np.zeros(0, np.int64)
            return none, none, none, np.zeros(0)
        if seen.whole not in self._masses:
            self._masses[seen.whole] = Masses(self.described, seen.whole)
        peaks, pieces, shifts = self._masses[seen.whole].near(seen.neutral, seen.width)
        row = self.learned.row(seen.mode)
        carried = self.learned.shifts[row, self.described.kinds[pieces], shifts]
        return peaks, pieces, shifts, self.shares(seen.mode)[pieces] * carried

    def likelihoods(self, seen: Observed) -> Floats:
        """(p,) natural logarithms of the peaks' likelihoods."""
        peaks, _, _, found = self.fits(seen)
        return np.asarray(np.log(np.bincount(peaks, found, minlength=len(seen.at)) + self.learned.floor))

    def score(self, seen: Observed) -> float:
        """Scaled log-likelihood of a spectrum."""
        return float(self.learned.scale * (seen.weights @ self.likelihoods(seen)))


def prior_of(mol: Chem.Mol, learned: Fragmentation) -> float:
    """Does the molecule look like those that people measure? Log-odds from its Morgan bits."""
    if not len(learned.prior):
        return 0.0
    bits = _morgan(len(learned.prior)).GetFingerprint(mol).GetOnBits()
    return float(learned.prior[list(bits)].sum())


def scores(mols: Sequence[Chem.Mol], item: Spectrum, learned: Fragmentation) -> Floats:
    """(n, 2): log-likelihood and prior of each candidate; for ranking, without naming the pieces."""
    out = np.empty((len(mols), 2))
    for row, mol in enumerate(mols):
        breaking = Breaking(mol, learned)
        seen = observe(item, learned.modality, breaking.mass, learned.ppm, learned.da)
        out[row] = breaking.score(seen), prior_of(mol, learned)
    return out


def explain_peaks(mol: Chem.Mol, item: Spectrum, learned: Fragmentation) -> Explained:
    """Name the likeliest piece for every peak of a spectrum.

    `mol` as `chem.molecule.parse` gives it: atoms are its indices; `item` as the modality's `read` gives it.
    """
    breaking = Breaking(mol, learned)
    seen = observe(item, learned.modality, breaking.mass, learned.ppm, learned.da)
    peaks, pieces, shifts, found = breaking.fits(seen)
    logs = breaking.likelihoods(seen)
    best = np.lexsort((pieces, -found, peaks))
    peaks, pieces, shifts = peaks[best], pieces[best], shifts[best]
    _, firsts = np.unique(peaks, return_index=True)
    fragments = []
    for at in firsts.tolist():
        peak, piece = int(peaks[at]), int(pieces[at])
        moved = int(SHIFTS[shifts[at]])
        atoms = np.flatnonzero(breaking.described.pieces.atoms(piece))
        expected = breaking.described.pieces.masses[piece] + HYDROGEN * moved
        place = int(seen.at[peak])
        fragments.append(
            Fragment(
                float(item.mzs[place]),
                float(item.intensities[place]) ** 2,
                tuple(atoms.tolist()),
                _ion(mol, atoms, moved, seen.mode),
                moved,
                float(seen.neutral[peak] - expected),
                int(breaking.described.pieces.broken[piece]),
                float(logs[peak] - np.log(learned.floor)),
            )
        )
    unexplained = np.setdiff1d(np.arange(len(seen.at)), peaks)
    total = float(seen.weights.sum())
    return Explained(
        float(learned.scale * (seen.weights @ logs)),
        prior_of(mol, learned),
        fragments,
        item.mzs[seen.at[unexplained]].astype(float).tolist(),
        1.0 - float(seen.weights[unexplained].sum()) / total if total else 0.0,
    )


def _ion(mol: Chem.Mol, atoms: Ints, moved: int, mode: int) -> str:
    counts: dict[str, int] = {"H": moved}
    for index in atoms.tolist():
        atom = mol.GetAtomWithIdx(index)
        counts[atom.GetSymbol()] = counts.get(atom.GetSymbol(), 0) + 1
        counts["H"] += atom.GetTotalNumHs()
    counts["H"] += {POSITIVE: 1, NEGATIVE: -1, ELECTRONS: 0}[mode]
    first = ["C", "H"] if "C" in counts else []
    order = [*first, *sorted(set(counts) - set(first))]
    text = "".join(f"{name}{counts[name] if counts[name] > 1 else ''}" for name in order if counts[name] > 0)
    return text + ("-" if mode == NEGATIVE else "+")


@cache
def _morgan(bits: int) -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=bits)
