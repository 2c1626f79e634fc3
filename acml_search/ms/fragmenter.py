"""From a molecule to its fragments, and from those to the likelihood of a mass spectrum.

1. `fragment` cuts a molecule at one bond, at two bonds of one ring, or at two such places.
2. `describe` reads off what tells how likely each fragment is: short texts ("B C-N", "X H2O") for the bonds
   cut and what was lost, and a code for size, heteroatoms and rings.
3. A `FragmentationModel` has learned weights of these. The fragments of a molecule compete: a fragment's
   share is exp(sum of its weights) over the sum for all. With h hydrogens more or fewer the share is
   multiplied by how often fragments with as many bonds broken carry them.
4. A peak's likelihood is the sum over all fragments that fit its mass, and a floor for peaks that none
   explains; a spectrum's is the sum of the logarithms, each weighted by a power of the peak's intensity.
   Fragments of [M+Na]+ and [M+K]+ carry the metal or a proton.

So a molecule that could break into anything gains nothing by it, unlike where explained peaks are counted
(MetFrag: Ruttkies et al. 2016, doi 10.1186/s13321-016-0115-9). The weights are learned like those of CFM-ID
(Allen et al. 2015, doi 10.1007/s11306-014-0676-4), in one step and with linear features; `training` does it.
Beside the likelihood a molecule has a `prior` from its Morgan bits alone: does it look like molecules that
people measure? NumPy only; all logarithms are natural.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rdkit import Chem

from acml_search.chem.fingerprints import on_bits
from acml_search.chem.formula import write_formula
from acml_search.chem.masses import HYDROGEN, PROTON, atom_masses
from acml_search.core.errors import CheckpointError
from acml_search.core.io import atomic
from acml_search.core.timing import step
from acml_search.core.typing import Bools, Floats, Ints
from acml_search.ms.peaks import Spectrum, nominal

MAX_SIDES = 160
"""sides of cuts of one molecule; those of small rings first, so that a macrocycle costs no more"""
MAX_CHAIN = 12
"""bonds in the same rings of which every pair is a cut; of more, only neighbours along the chain"""
SHIFTS = np.arange(-4, 5)
"""hydrogens a fragment may carry more than it did in the molecule"""
SIZE_CLASSES = 6
"""of fragments by their share of the atoms"""
N_CODES = SIZE_CLASSES * 3 * 3 * 2
MAX_LOST_FORMULA, MAX_KEPT_FORMULA = 6, 12
"""heavy atoms up to which the formula of a lost or kept side is a feature"""
POSITIVE, NEGATIVE, ELECTRONS = range(3)
"""modes of ionisation"""
LOWEST, HIGHEST = -20.0, 15.0
"""a fragment's sum of weights is clipped to these"""
NEAR_PRECURSOR = 1.2
"""Da below the molecule: from here on a peak is the molecule itself, which tells nothing"""
ISOTOPES = 4.0
"""Da above it at which its isotopes show"""
COARSE_TOLERANCE = 0.35
"""Da, of spectra of unit resolution"""
KEPT = 256
"""molecules that stay taken apart"""
FORMAT = 1
_NEGATIVE_TOKEN = 2  # how `lc_ms` reads a negative ion mode, the second of its tokens
_METALS = {4: ("Na", 22.989221), 6: ("K", 38.963158)}  # by the first, the adduct: Da of the ion
_BOND_SIGNS = {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}


# ---- fragments


@dataclass(frozen=True)
class Fragments:
    """Fragments of a molecule of n heavy atoms, connected or not quite.

    Fragments 0 to s - 1 are the sides of single cuts, sides 2 c and 2 c + 1 those of cut c; then come the
    fragments between two cuts. The whole molecule is none of them.
    """

    sides: Bools
    """(s, n) the atoms of each side"""
    kept: Ints
    """(s, 2) atom at the near end of each bond cut, -1 where there is no second bond"""
    lost: Ints
    """(s, 2) atom at its far end"""
    bonds: Ints
    """(s, 2) bond, -1 where there is none"""
    chain: Ints
    """(s,) how many bonds lie in just the same rings: 1 outside rings"""
    first: Ints
    """(f,) the side a fragment lies on"""
    second: Ints
    """(f,) the other side it lies on, -1 for the sides themselves"""
    masses: Floats
    """(f,) Da, with the hydrogens on its atoms"""
    broken: Ints
    """(f,) bonds cut, 1 to 4"""
    mass: float
    """Da, of the molecule"""

    def __len__(self) -> int:
        return len(self.first)

    def atoms(self, number: int) -> Bools:
        """(n,) which atoms a fragment holds."""
        atoms = self.sides[self.first[number]]
        return atoms & self.sides[self.second[number]] if self.second[number] >= 0 else atoms.copy()

    def sums(self, values: Floats) -> Floats:
        """(f, k) sums over the atoms of each fragment of `values` (n, k)."""
        sides = self.sides.astype(np.float64)
        n = len(sides)
        sums = np.empty((len(self), values.shape[1]))
        sums[:n] = sides @ values
        for column in range(values.shape[1]):
            sums[n:, column] = ((sides * values[:, column]) @ sides.T)[self.first[n:], self.second[n:]]
        return sums


def fragment(mol: Chem.Mol) -> Fragments:
    """The fragments of a molecule; none when it has a single atom.

    A cut is a smallest set of one or two bonds whose removal leaves two parts. Over a spanning tree, a bond
    outside the tree closes one ring; a tree bond lies in the rings of the bonds outside that it bridges. A
    bond in no ring is a cut alone, and two bonds that lie in just the same rings are one together. One side
    of a cut is the exclusive or of the subtrees below its tree bonds. So all cuts come from one walk, and the
    fragments between two cuts (the atoms on one side of each) from a matrix product.
    """
    kept, lost, bonds, chain, sides = _cuts(mol)
    elements, hydrogens = zip(*((a.GetAtomicNum(), a.GetTotalNumHs()) for a in _atoms(mol)), strict=True)
    masses_of_atoms = atom_masses(np.array(elements), np.array(hydrogens))
    parts = sides.astype(np.float64)
    common = (parts @ parts.T).round().astype(np.int64)
    sizes = np.diag(common)
    between = (common > 0) & (common < sizes[:, None]) & (common < sizes[None])
    first, second = np.nonzero(np.triu(between, 1))
    broken = np.where(bonds[:, 1] >= 0, 2, 1)
    masses = (parts * masses_of_atoms) @ parts.T
    n = len(sides)
    return Fragments(
        sides,
        kept,
        lost,
        bonds,
        chain,
        np.concatenate([np.arange(n), first]),
        np.concatenate([np.full(n, -1), second]),
        np.concatenate([np.diag(masses), masses[first, second]]),
        np.concatenate([broken, broken[first] + broken[second]]),
        float(masses_of_atoms.sum()),
    )


def _cuts(mol: Chem.Mol) -> tuple[Ints, Ints, Ints, Ints, Bools]:
    """`kept`, `lost`, `bonds`, `chain` and `sides` of `Fragments`."""
    n = mol.GetNumAtoms()
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    below, rings = _spanning_tree(n, ends)
    classes: dict[int, list[int]] = {}
    for bond, key in enumerate(rings):
        classes.setdefault(key, []).append(bond)
    cuts: list[tuple[tuple[int, ...], int]] = [((bond,), 1) for bond in classes.pop(0, [])]
    for members in sorted(classes.values(), key=len):
        size = len(members)
        pairs = combinations(range(size), 2)
        cuts += [((members[a], members[b]), size) for a, b in pairs if size <= MAX_CHAIN or b - a <= 2]
    del cuts[MAX_SIDES // 2 :]
    ends_of_cuts: list[list[int]] = []  # of each: atoms inside, atoms outside, bonds
    packed = []
    for members_of_cut, _ in cuts:
        inside = 0
        for bond in members_of_cut:
            inside ^= below[bond]
        packed.append(inside.to_bytes(n // 8 + 1, "little"))
        found = [ends[bond] if inside >> ends[bond][0] & 1 else ends[bond][::-1] for bond in members_of_cut]
        (here, there), (here2, there2) = (*found, (-1, -1))[:2]
        ends_of_cuts.append([here, here2, there, there2, *members_of_cut, -1][:6])
    of_cuts = np.array(ends_of_cuts, np.int64).reshape(-1, 3, 2)
    kept, lost = of_cuts[:, [0, 1]].reshape(-1, 2), of_cuts[:, [1, 0]].reshape(-1, 2)
    bonds = np.repeat(of_cuts[:, 2], 2, axis=0)
    bits = np.frombuffer(b"".join(packed), np.uint8).reshape(len(cuts), n // 8 + 1)
    insides = np.unpackbits(bits, axis=1, count=n, bitorder="little").astype(bool)
    sides = np.stack([insides, ~insides], axis=1).reshape(-1, n)
    chain = np.repeat([size for _, size in cuts], 2).astype(np.int64)
    return kept, lost, bonds, chain, sides


def _spanning_tree(n: int, ends: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """For every bond, as bits: the atoms below it in a spanning tree (0 outside it), and its rings.

    Rings are numbered by the bonds outside the tree, each of which closes one.
    """
    neighbours: list[list[tuple[int, int]]] = [[] for _ in range(n)]
    for bond, (a, b) in enumerate(ends):
        neighbours[a].append((b, bond))
        neighbours[b].append((a, bond))
    above: list[int] = [-2] * n  # the bond that leads to an atom; -1 for the root
    order: list[tuple[int, int]] = []
    for root in range(n):
        if above[root] != -2:
            continue
        above[root] = -1
        stack = [root]
        while stack:
            atom = stack.pop()
            for other, bond in neighbours[atom]:
                if above[other] == -2:
                    above[other] = bond
                    order.append((atom, other))
                    stack.append(other)
    in_tree = set(above)
    passing = [0] * n  # rings that pass from an atom to the one above it
    rings = [0] * len(ends)
    for number, bond in enumerate(bond for bond in range(len(ends)) if bond not in in_tree):
        rings[bond] = 1 << number
        for atom in ends[bond]:
            passing[atom] ^= 1 << number
    subtree = [1 << atom for atom in range(n)]
    below = [0] * len(ends)
    for atom, other in reversed(order):
        bond = above[other]
        below[bond], rings[bond] = subtree[other], passing[other]
        subtree[atom] |= subtree[other]
        passing[atom] ^= passing[other]
    return below, rings


# ---- features


@dataclass(frozen=True)
class DescribedFragments:
    """A molecule's fragments with what tells how likely they are."""

    fragments: Fragments
    texts: list[str]
    """features"""
    shown: Ints
    """(s, 11) which of them each side shows, -1 for none"""
    codes: Ints
    """(f,) size, heteroatoms and rings of a fragment as one number below `N_CODES`"""
    kinds: Ints
    """(f,) bonds broken - 1, 0 to 3"""

    @property
    def mass(self) -> float:
        """Da, of the molecule."""
        return self.fragments.mass


def describe(mol: Chem.Mol) -> DescribedFragments:
    """The fragments of a molecule (as `chem.molecule.parse` returns it), described."""
    fragments = fragment(mol)
    atoms = _atoms(mol)
    symbols = [atom.GetSymbol() for atom in atoms]
    hetero = np.array([symbol not in ("C", "H") for symbol in symbols], np.float64)
    nitrogen = np.array([symbol == "N" for symbol in symbols], np.float64)
    aromatic = np.array([atom.GetIsAromatic() for atom in atoms], np.float64)
    sums = fragments.sums(np.stack([np.ones(len(atoms)), hetero - nitrogen, nitrogen, aromatic], axis=1))
    size = np.minimum((sums[:, 0] / len(atoms) * SIZE_CLASSES).astype(np.int64), SIZE_CLASSES - 1)
    others, nitrogens = np.minimum(sums[:, 1:3], 2).astype(np.int64).T
    codes = ((size * 3 + others) * 3 + nitrogens) * 2 + (sums[:, 3] > 0)
    texts, shown = _features(mol, atoms, symbols, fragments)
    return DescribedFragments(fragments, texts, shown, codes, fragments.broken - 1)


def _atoms(mol: Chem.Mol) -> list[Chem.Atom]:
    return [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]  # several times as fast as GetAtoms


def _features(
    mol: Chem.Mol, atoms: Sequence[Chem.Atom], symbols: Sequence[str], fragments: Fragments
) -> tuple[list[str], Ints]:
    """Of each side: its bonds cut (B), the atoms at their near (K) and far (L) ends and both (P), the chain
    of a ring cut (R), what is lost (X) and what is left (M).
    """
    numbers: dict[str, int] = {}

    def number(text: str) -> int:
        return numbers.setdefault(text, len(numbers))

    of_bonds = []  # in both directions
    begins = []
    classes = _atom_classes(mol, atoms, symbols)
    for bond in mol.GetBonds():
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order = _BOND_SIGNS.get(bond.GetBondTypeAsDouble(), "?")
        sign = order + ("@" if bond.IsInRing() and order != ":" else "")
        begins.append(a)
        of_bonds += [
            [
                number(f"B {symbols[kept]}{sign}{symbols[lost]}"),
                number(f"K {classes[kept]}{sign}"),
                number(f"L {sign}{classes[lost]}"),
                number(f"P {classes[kept]}{sign}{classes[lost]}"),
            ]
            for kept, lost in ((a, b), (b, a))
        ]
    elements = ["C", "H", *sorted(set(symbols) - {"C"})]
    table = np.zeros((len(atoms), len(elements)))
    table[:, 1] = [atom.GetTotalNumHs() for atom in atoms]
    for i, symbol in enumerate(symbols):
        table[i, elements.index(symbol, 0 if symbol == "C" else 2)] = 1
    counts = (fragments.sides.astype(np.float64) @ table).astype(np.int64).tolist()
    heavy = fragments.sides.sum(axis=1).tolist()
    formulas = [
        "".join(f"{name}{n}" for name, n in zip(elements, count, strict=True) if n)
        if size <= MAX_KEPT_FORMULA
        else ""
        for count, size in zip(counts, heavy, strict=True)
    ]
    two, chains = (fragments.bonds[:, 1] >= 0).tolist(), fragments.chain.tolist()
    rest = []
    for side, formula in enumerate(formulas):
        lost = heavy[side ^ 1]
        gone = formulas[side ^ 1] if lost <= MAX_LOST_FORMULA else f"{min(lost // 4, 6)}"
        ring = number(f"R {min(chains[side], 8)}") if two[side] else -1
        rest.append([ring, number(f"X {gone}"), number(f"M {formula}" if formula else "M")])
    directed = 2 * fragments.bonds + (fragments.kept != np.array([*begins, -1])[fragments.bonds])
    table_of_bonds = np.array([*of_bonds, [-1] * 4])
    cut = table_of_bonds[np.where(fragments.bonds >= 0, directed, -1)].reshape(len(heavy), 8)
    return list(numbers), np.concatenate([cut, np.array(rest, np.int64).reshape(-1, 3)], axis=1)


def _atom_classes(mol: Chem.Mol, atoms: Sequence[Chem.Atom], symbols: Sequence[str]) -> list[str]:
    """Of each: element, aromatic or not, hydrogens, in a ring or not, double bond to a heteroatom, charge."""
    doubles = set()
    for bond in mol.GetBonds():
        if bond.GetBondTypeAsDouble() == 2.0:
            ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            doubles |= {i for i, other in (ends, ends[::-1]) if symbols[other] != "C"}
    return [
        (symbol.lower() if atom.GetIsAromatic() else symbol)
        + str(min(atom.GetTotalNumHs(), 3))
        + ("r" if atom.IsInRing() else "")
        + ("o" if i in doubles else "")
        + ("+" if (charge := atom.GetFormalCharge()) > 0 else "~" if charge < 0 else "")
        for i, (atom, symbol) in enumerate(zip(atoms, symbols, strict=True))
    ]


def feature_columns(described: DescribedFragments, vocabulary: dict[str, int]) -> Ints:
    """(s, 11) columns of each side's features, -1 for none and for those that are not known."""
    known = np.array([*(vocabulary.get(text, -1) for text in described.texts), -1], np.int64)
    return np.asarray(known[described.shown])


class FragmentMasses:
    """Neutral masses of fragments, sorted for look-up; `unit`: nominal masses, of unit resolution."""

    def __init__(self, described: DescribedFragments, unit: bool = False) -> None:
        masses = described.fragments.masses
        masses = nominal(masses).astype(np.float64) if unit else masses
        self.order = np.argsort(masses)
        self.sorted = masses[self.order]
        self.hydrogen = 1.0 if unit else HYDROGEN

    def near(self, masses: Floats, width: Floats) -> tuple[Ints, Ints, Ints]:
        """Every (row of `masses`, fragment, place in SHIFTS) that agree within `width` (Da), as three arrays.

        `masses` (p,), or (p, c): what each may be; `width` (p,).
        """
        targets = masses.reshape(len(width), -1, 1) - self.hydrogen * SHIFTS
        low = np.searchsorted(self.sorted, (targets - width[:, None, None]).ravel())
        high = np.searchsorted(self.sorted, (targets + width[:, None, None]).ravel())
        n = high - low
        where = np.repeat(np.arange(len(n)), n)
        within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        each = targets[0].size if len(targets) else 1
        return where // each, self.order[low[where] + within], where % len(SHIFTS)


# ---- the learned model


@dataclass(frozen=True, eq=False)
class FragmentationModel:
    """How molecules fragment, as learned. Tables have one row per mode."""

    modality: str
    features: dict[str, int]
    """text of a feature -> column of `weights`"""
    weights: Floats
    """(modes, features)"""
    codes: Floats
    """(modes, N_CODES)"""
    depth: Floats
    """(modes, bonds broken - 1, 0 for one cut and 1 for two)"""
    shifts: Floats
    """(modes, bonds broken - 1, hydrogens), probabilities"""
    floor: float
    """likelihood of a peak that nothing explains"""
    scale: float
    """of the sum of logarithms: peaks of a spectrum are not independent"""
    ppm: float
    da: float
    """tolerance, whichever is wider"""
    power: float
    """of the intensity, that weighs a peak"""
    prior: Floats
    """(bits,) weight of each Morgan bit (radius 2)"""
    about: dict[str, Any]

    def row(self, mode: int) -> int:
        """Row of the tables for a mode; the first where it has no row (electrons have a single one)."""
        return mode if mode < len(self.weights) else 0


@cache
def read_model(path: Path) -> FragmentationModel:
    """Learned weights from their JSON file. Raises `CheckpointError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise CheckpointError(path, f"it has format {data['format']}, this version reads {FORMAT}")
        names = sorted(data["features"])
        tables = {name: np.array(data[name], np.float64) for name in ("codes", "depth", "shifts", "prior")}
        weights = np.array([data["features"][name] for name in names], np.float64)
        return FragmentationModel(
            modality=data["modality"],
            features={name: i for i, name in enumerate(names)},
            weights=weights.reshape(len(names), len(tables["codes"])).T,
            floor=float(data["floor"]),
            scale=float(data["scale"]),
            ppm=float(data["ppm"]),
            da=float(data["da"]),
            power=float(data.get("power", 0.5)),
            about=data["about"],
            **tables,
        )
    except OSError as error:
        raise CheckpointError(path, f"the weights of the re-ranking cannot be read ({error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(path, f"the weights of the re-ranking lack or garble {error}") from error


def write_model(path: Path, model: FragmentationModel) -> None:
    """As JSON, four digits."""

    def short(values: npt.NDArray[Any]) -> Any:
        return np.round(values, 4).tolist()

    data = {
        "format": FORMAT,
        "modality": model.modality,
        "about": model.about,
        **{name: getattr(model, name) for name in ("floor", "scale", "ppm", "da", "power")},
        **{name: short(getattr(model, name)) for name in ("codes", "depth", "shifts", "prior")},
        "features": {name: short(model.weights[:, i]) for name, i in model.features.items()},
    }
    with atomic(path) as temporary:
        text = json.dumps(data, separators=(",", ":"), sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")


# ---- spectra: likelihood, and annotation of peaks


class NeutralPeaks(NamedTuple):
    """p peaks of a spectrum as masses of neutral fragments."""

    mode: int
    at: Ints
    """(p,) indices of the peaks in the spectrum; those of the whole molecule are not among them"""
    neutral: Floats
    """(p, 1) Da: the m/z without the charge's proton; (p, 2): also without the metal's ion"""
    width: Floats
    """(p,) Da within which a fragment fits"""
    weights: Floats
    """(p,) powers of the intensities"""
    unit: bool
    """unit resolution: fragments are compared by nominal mass"""
    metal: str = ""


def neutral_peaks(
    item: Spectrum, modality: str, mass: float, ppm: float, da: float, power: float = 0.5
) -> NeutralPeaks:
    """The peaks of a spectrum that a candidate of `mass` (Da) has to explain.

    Left out is what lies at the candidate's own mass, and what lies at the precursor or above. Other peaks
    heavier than the candidate stay: it cannot explain them.
    """
    mzs = item.mzs.astype(np.float64)
    weights = item.intensities.astype(np.float64) ** (2 * power)
    if modality == "gc_ms":
        above = mzs - nominal(np.array(mass))
        at = np.flatnonzero((above < 0) | (above > ISOTOPES))
        return NeutralPeaks(ELECTRONS, at, mzs[at, None], np.full(len(at), 0.5), weights[at], True)
    mode = NEGATIVE if len(item.tokens) > 1 and item.tokens[1] == _NEGATIVE_TOKEN else POSITIVE
    neutral = mzs + (PROTON if mode == NEGATIVE else -PROTON)
    width = np.full(len(mzs), COARSE_TOLERANCE) if is_coarse(mzs) else np.maximum(da, ppm * 1e-6 * mzs)
    used = (neutral < mass - NEAR_PRECURSOR) | (neutral > mass + ISOTOPES)
    if item.precursor:
        used &= mzs < item.precursor - NEAR_PRECURSOR
    at = np.flatnonzero(used)
    metal, ion = _METALS.get(item.tokens[0] if item.tokens else 0, ("", 0.0))
    masses = np.stack([neutral, mzs - ion], axis=1)[:, : 2 if metal else 1]
    return NeutralPeaks(mode, at, masses[at], width[at], weights[at], False, metal)


def is_coarse(mzs: Floats) -> bool:
    """Are all but a few m/z given to one decimal or none, as quadrupoles and ion traps report them?"""
    tenths = mzs * 10
    return len(mzs) > 2 and bool(np.mean(np.abs(tenths - np.round(tenths)) < 5e-3) > 0.9)


class FragmentedMolecule:
    """One molecule's fragments with how likely each is."""

    def __init__(self, mol: Chem.Mol, model: FragmentationModel) -> None:
        self.mol, self.model = mol, model
        self.described = describe(mol)
        self.mass = self.described.mass
        self._masses: dict[bool, FragmentMasses] = {}
        self._shares: dict[int, Floats] = {}
        self._columns = feature_columns(self.described, model.features)

    def observe(self, item: Spectrum) -> NeutralPeaks:
        """The peaks of a spectrum that this molecule has to explain."""
        return neutral_peaks(
            item, self.model.modality, self.mass, self.model.ppm, self.model.da, self.model.power
        )

    def shares(self, mode: int) -> Floats:
        """(f,) how likely each fragment is; they add up to 1."""
        if mode not in self._shares:
            fragments, model = self.described.fragments, self.model
            row = model.row(mode)
            sides = np.append(model.weights[row], 0.0)[self._columns].sum(axis=1)
            two = fragments.second >= 0
            scores = sides[fragments.first] + np.where(two, sides[fragments.second], 0.0)
            scores += model.codes[row, self.described.codes]
            scores += model.depth[row, self.described.kinds, two.astype(np.int64)]
            weights = np.exp(np.clip(scores, LOWEST, HIGHEST))
            self._shares[mode] = weights / max(weights.sum(), 1e-9)
        return self._shares[mode]

    def matches(self, peaks: NeutralPeaks) -> tuple[Ints, Ints, Ints, Floats]:
        """Every (peak, fragment, place in SHIFTS) that agree, and the likelihood that the peak is that."""
        if not len(self.described.fragments) or not len(peaks.at):
            none = np.zeros(0, np.int64)
            return none, none, none, np.zeros(0)
        if peaks.unit not in self._masses:
            self._masses[peaks.unit] = FragmentMasses(self.described, peaks.unit)
        at, fragments, shifts = self._masses[peaks.unit].near(peaks.neutral, peaks.width)
        row = self.model.row(peaks.mode)
        carried = self.model.shifts[row, self.described.kinds[fragments], shifts]
        return at, fragments, shifts, self.shares(peaks.mode)[fragments] * carried

    def log_likelihoods(self, peaks: NeutralPeaks) -> Floats:
        """(p,) of each peak."""
        at, _, _, likelihoods = self.matches(peaks)
        sums = np.bincount(at, likelihoods, minlength=len(peaks.at))
        return np.asarray(np.log(sums + self.model.floor))

    def score(self, peaks: NeutralPeaks) -> float:
        """Scaled log-likelihood of a spectrum."""
        return float(self.model.scale * (peaks.weights @ self.log_likelihoods(peaks)))

    @cached_property
    def prior(self) -> float:
        """Does the molecule look like those that people measure? Log-odds from its Morgan bits."""
        learned = self.model.prior
        return float(learned[on_bits(self.mol, len(learned))].sum()) if len(learned) else 0.0


def fragmented(mol: Chem.Mol, model: FragmentationModel) -> FragmentedMolecule:
    """One of the last `KEPT` that were asked for: hits are explained after they were scored, and spectra of
    one mass have the same candidates."""
    return _fragmented(mol.ToBinary(), model)


@lru_cache(KEPT)
def _fragmented(binary: bytes, model: FragmentationModel) -> FragmentedMolecule:
    return FragmentedMolecule(Chem.Mol(binary), model)


def score_candidates(mols: Sequence[Chem.Mol], item: Spectrum, model: FragmentationModel) -> Floats:
    """(n, 2): log-likelihood and prior of each candidate; faster than `annotate_peaks`."""
    scores = np.empty((len(mols), 2))
    for row, mol in enumerate(mols):
        step()
        molecule = fragmented(mol, model)
        scores[row] = molecule.score(molecule.observe(item)), molecule.prior
    return scores


@dataclass(frozen=True)
class AnnotatedPeak:
    """A peak with the likeliest fragment that explains it."""

    mz: float
    """Th"""
    intensity: float
    """over the largest of the spectrum, 0 to 1"""
    atoms: tuple[int, ...]
    """of the molecule"""
    formula: str
    """of the ion, "C7H5O+" """
    hydrogens: int
    """gained, or lost where negative, apart from the proton or metal that gives the charge"""
    error: float
    """Da, observed minus expected"""
    broken: int
    """bonds"""
    log_likelihood: float
    """of the peak, over the floor"""

    @property
    def error_ppm(self) -> float:
        return self.error / self.mz * 1e6


@dataclass(frozen=True)
class AnnotatedSpectrum:
    """What a molecule explains of a spectrum."""

    score: float
    """scaled log-likelihood of the peaks"""
    prior: float
    """of the molecule alone: does it look like what people measure?"""
    fragments: list[AnnotatedPeak]
    """the peaks that are explained, by m/z"""
    unexplained: list[float]
    """m/z of the other peaks below the molecule's own"""
    share: float
    """of the summed weights of the peaks that is explained"""


def annotate_peaks(mol: Chem.Mol, item: Spectrum, model: FragmentationModel) -> AnnotatedSpectrum:
    """Name the likeliest fragment for every peak of a spectrum.

    `mol` as `chem.molecule.parse` returns it: atoms are its indices; `item` as the modality's `read` returns
    it.
    """
    molecule = fragmented(mol, model)
    fragments = molecule.described.fragments
    peaks = molecule.observe(item)
    matched, numbers, shifts, likelihoods = molecule.matches(peaks)
    logs = molecule.log_likelihoods(peaks)
    best = np.lexsort((numbers, -likelihoods, matched))
    explained, firsts = np.unique(matched[best], return_index=True)
    annotated = []
    for peak, match in zip(explained.tolist(), best[firsts].tolist(), strict=True):
        number, moved = int(numbers[match]), int(SHIFTS[shifts[match]])
        errors = peaks.neutral[peak] - (fragments.masses[number] + HYDROGEN * moved)
        carrier = int(np.abs(errors).argmin())
        atoms = np.flatnonzero(fragments.atoms(number)).tolist()
        annotated.append(
            AnnotatedPeak(
                float(item.mzs[peaks.at[peak]]),
                float(item.intensities[peaks.at[peak]]) ** 2,
                tuple(atoms),
                _ion_formula(mol, atoms, moved, peaks.mode, peaks.metal if carrier else ""),
                moved,
                float(errors[carrier]),
                int(fragments.broken[number]),
                float(logs[peak] - np.log(model.floor)),
            )
        )
    unexplained = np.setdiff1d(np.arange(len(peaks.at)), explained)
    total = float(peaks.weights.sum())
    return AnnotatedSpectrum(
        float(model.scale * (peaks.weights @ logs)),
        molecule.prior,
        annotated,
        item.mzs[peaks.at[unexplained]].astype(float).tolist(),
        1.0 - float(peaks.weights[unexplained].sum()) / total if total else 0.0,
    )


def _ion_formula(mol: Chem.Mol, atoms: list[int], moved: int, mode: int, metal: str) -> str:
    charge = {metal: 1, "H": 0} if metal else {"H": {POSITIVE: 1, NEGATIVE: -1, ELECTRONS: 0}[mode]}
    counts = {**charge, "H": charge["H"] + moved}
    for index in atoms:
        atom = mol.GetAtomWithIdx(index)
        counts[atom.GetSymbol()] = counts.get(atom.GetSymbol(), 0) + 1
        counts["H"] += atom.GetTotalNumHs()
    return write_formula(counts, -1 if mode == NEGATIVE else 1, as_rdkit=False)
