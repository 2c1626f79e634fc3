"""One graph per standard InChI: charge-separated groups and mobile hydrogens drawn in one way.

The standard InChI (Heller et al., J. Cheminform. 2015, 7, 23) gives all spellings of a compound one name: it
leaves open where a mobile hydrogen sits and which resonance form is drawn. A graph encoder sees these
differences. `one_form` therefore rebuilds a molecule from its InChI alone and moves hydrogens by `RULES`
until none fits, so the result depends on the InChI and not on the drawing. The rules choose what medicinal
chemists mostly draw: amides, pyridones, aromatic amines, 1H-azoles. Of a cation the resonance form with the
most aromatic bonds is taken, and of E and Z what the InChI keeps.

The InChI is asked only where `is_open` finds something for it to decide. A drawing stays as it is where the
way to the InChI and back does not keep it: bonds to metals, radicals, charges that RDKit places elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from rdkit import Chem
from rdkit.Chem import inchi, rdinchi, rdqueries
from rdkit.Chem.MolStandardize import rdMolStandardize

_TAKEN = "!$(N-C#N);!$(N-[O,N]);!$(N-C=[O,S]);!$(N-S=O)"  # what keeps the double bond of an amidine to itself

RULES = {
    "amide, sulfonamide, phosphonamide": "[O!H0]-[C,S,P]=N",
    "thioamide": "[S!H0]-C=N",
    "lactam, from 2-hydroxyazine": "[O!H0]-c:[nH0X2+0;!$(n:[n!H0])]",
    "thiolactam, from 2-thiol": "[S!H0]-c:[nH0X2+0]",
    "lactam, from 4-hydroxyazine": "[O!H0]-[c;$(c1aanaa1)]:c:a:[nH0X2+0;$(n1aac(O)aa1)]",
    "lactam, H on the five-membered ring": "[O!H0]-c:c:a:[nH0X2+0;r5]",
    "2-lactam, not 4": "[O!H0]-[c;$(c[n!H0])]:c:c=O",
    "thiolactam, from 4-thiol": "[S!H0]-[c;$(c1aanaa1)]:c:a:[nH0X2+0;$(n1aac(S)aa1)]",
    "amine, from 2-imine": "[n!H0]:c=[NX2+0]",
    "amine, from 4-imine": "[n!H0]:a:a:c=[NX2+0]",
    "amine, from 6-imine": "[n!H0]:a:a:a:a:c=[NX2+0]",
    "amine on pyridine": "[NH]-[CX3;$(C1(=N)-[NH]-*=,:*-*=,:*-1)]=[NX2+0]",
    "amine on pyridine, from 4-imine": "[NH]-*=*-[CX3;$(C1(=N)-*=*-[NH]-*=,:*-1)]=[NX2+0]",
    "amine on azole": "[NH]-[CX3;$(C1(=N)-[NH]-*=,:*-[N,O,S]-1),$(C1(=N)-[NH]-[N,O,S]-*=,:*-1)]=[NX2+0]",
    "amine on azole, from 4-imine": "[NH]-*=*-[CX3;$(C1(=N)-*=*-[NH]-[N,O,S]-1)]=[NX2+0]",
    "isatin": "[O!H0]-[CX3;R]=c:c=[NX2+0;R]",
    "isatin, amine": "[NH]-[CX3;R]=c:c=[NX2+0;R]",
    "lactam with H beside C=O": "[n!H0;!$(n:c=[O,S])]:c:[nH0X2;$(n:c=[O,S])]",
    "lactam, not beside substituted N": "[n!H0;r5;$(n:[nX3H0;R1])]:c:n:c:[nH0X2;$(n:c=[O,S])]",
    "H on the five-membered ring": "[n!H0;r6;!$(nc=[O,S])]:c:[nH0X2;r5]",
    "H on the five-membered ring, from afar": "[n!H0;r6;!$(nc=[O,S])]:a:a:a:[nH0X2;r5]",
    "7H-xanthine": "[n!H0;$(n1c([nX3])c(c=[O,S])nc1)]:[cR1]:[nH0X2]",
    "1H-indazole": "[n!H0;$(n1[c;R1][c;R2][c;R2]n1)]:[nH0X2;$(n[c;R2])]",
    "3-substituted 1H-pyrazole": "[n!H0;$(n1n[cH][c;R1][cH0;R1]1)]:[nH0X2]",
    "4-substituted 1H-imidazole": "[n!H0;$(n1cn[cH][cH0;R1]1)]:c:[nH0X2;$(n[cH])]",
    "1H-1,2,4-triazole": "[n!H0;$(n1cnnc1)]:c:[nH0X2]",
    "1H-1,2,3-triazole": "[n!H0;$(n1nccn1)]:[nH0X2]",
    "1H-tetrazole": "[n!H0;$(n1nncn1)]:[nH0X2;$(nc)]",
    "amidoxime": "[NH;$(N-[OX2])]-C=[NX2+0;!$(N-O)]",
    "cyanoguanidine": "[NH;$(N-C#N)]-C=[NX2+0;!$(N-C#N);!$(N-O)]",
    "acylamidine": f"[NH;$(N-C=O)]-[C;!R]=[NX2+0;{_TAKEN}]",
    "sulfonylamidine": f"[NH;$(N-S=O)]-[C;!R]=[NX2+0;{_TAKEN}]",
    "cyclic amidine": "[NH;R;!$(N-[O,N])]-[C;R]=[NX2+0;!R;!$(N-C#N);!$(N-[O,N]);!$(N-S=O)]",
    "aryl amidine": "[NH;$(N-c)]-[C;!R;$(C-[#6])]=[NX2+0;!R;$([NH]),$(N-[CX4])]",
    "aromatic ring": "[N!H0;R]-[#6;R]=[NX2+0;$(N-[CX4])]",
}
"""SMARTS by the form that a rule gives: a path from the atom that gives a hydrogen (the first) to the one
that takes it. Single and double bonds on the path change places and aromatic bonds stay. The first rule that
fits is applied, again and again: a rule overrules those below it."""
N_CERTAIN = 4
"""of the rules, whose steps no InChI sees: O or S, C, S or P, and N share a mobile hydrogen"""
MAX_STEPS = 200
INCHI = "_standard_inchi"
"""Property of a molecule: its standard InChI, where it is known already."""


_ATOMS = Chem.MolFromSmarts("[!+0,#7v5,SX3v4,sX3,se,Se,Te,As]")
_STILL = Chem.MolFromSmarts("[Se,Te,As;H0;!$(*=*)]")
_CHARGED = Chem.MolFromSmarts("[!+0]")
_METAL = Chem.MolFromSmarts(
    "[!#1;!#5;!#6;!#7;!#8;!#9;!#14;!#15;!#16;!#17;!#32;!#33;!#34;!#35;!#51;!#52;!#53]~*"
)
# Groups of one charge each way that have one drawing, and ammonium: its charge stays.
_SETTLED = tuple(
    Chem.MolFromSmarts(group)
    for group in (
        "[N+X3](=O)[O-]",
        "[#6]-N=[N+]=[N-]",
        "[#16+X3;!$(S-[N,O;!H0])][O-]",
        "[N+X4H0][O-]",
    )
)
_AMMONIUM = Chem.MolFromSmarts("[N+X4H0;!$(N[O-])]")
_DONOR = Chem.MolFromSmarts("[#7,#8,#16;!H0]-,=,:[*;^2,#7,#15,#16]")
_DONOR_ON_RING = Chem.MolFromSmarts("[#7,#8,#16;!H0]-,=,:[c,n]")
_MOBILE = tuple(
    Chem.MolFromSmarts(path)
    for path in ("[#7,#8,#16;!H0]-*=[#7,#16]", "[#7,#8,#16;!H0]-[#7]=O", "[#16;!H0]-*=O")
)
_RING_IMINE = Chem.MolFromSmarts("[NX2]=[#6;R]")
_INDOLENINE = Chem.MolFromSmarts("[#7,#8;!H0]-[#6]=c:c=[NX2;R]")
_BENZENE = "$([cR1]1[cR1][cR1][cR1][cR1][cR1]1)"
_HYDROXYARYL = Chem.MolFromSmarts(f"[O,S;!H0]-[c,n;!{_BENZENE}]")
_AMINOARYL = Chem.MolFromSmarts(f"[N;!H0]-,=[c,n;!{_BENZENE}]")
_PYRROLE_LIKE, _PYRIDINE_LIKE = Chem.MolFromSmarts("[n!H0]"), Chem.MolFromSmarts("[nX2H0]")
_CATION = Chem.MolFromSmarts("[+,+2,+3,+4]")
_PYRIDINIUM = Chem.MolFromSmarts("[n+X3H0;r6;!$(n[O-])]")
_CONJUGATED = Chem.MolFromSmarts("[$([#7,#8,#16;+0]-c),n+0,o,s,$(c-C=[!#8]),$(c-N=*)]")  # with a ring
_QUINOID = Chem.MolFromSmarts("[#7,#8;!H0]-[C;!R]=[C;R]")
_EXOCYCLIC = Chem.MolFromSmarts("c=*")
# Where the rules leave a choice to the InChI: amidines and thioacids; pyrimidin-2-ones, azoles and the like.
_UNDECIDED = tuple(Chem.MolFromSmarts(one) for one in ("[#7;!H0]-*=[#7]", "[S!H0]-*=O", "[c;r7]=*"))
_UNDECIDED_NH = tuple(
    Chem.MolFromSmarts(choice)
    for choice in (
        "[n!H0]:c(=[O,S]):[nH0X2]",
        "[n!H0]:[n!H0]",
        "[n!H0;r6]:c:[nH0X2;r5]",
        "[nH]1[cX3][nX2][cH0][cH0]1",
        "[nH]1[nX2][cH0;R1]c[cH0;R1]1",
        "[nH]1[nX2][cH0;R2]c[cH0]1",
        "[$([nH]1nncc1),$([nH]1nccn1),$([nH]1ncnc1),$([nH]1nnc(=*)n1)]",
        "[n!H0;r5]:[*;R2]:[nH0X2;r5]",
        "[n!H0;r5;!$(n1nccc1)]:*:[*;R2]:*:[nH0X2;r5]",
        "[n!H0;r5]:*:[nX2;r6]:*:[nH0X2;r5]",
        "[n!H0;r5]:c:[*r{9-}]",
    )
)
_RING6_NH = Chem.MolFromSmarts("[n!H0;r6;!$(n:c=[O,S])]")
_RADICAL = rdqueries.NumRadicalElectronsGreaterQueryAtom(0)
_SEPARATED = Chem.MolFromSmarts("[!+0,#7v5,SX3v4,sX3]")
_PROTONS = re.compile(r"/p\+(\d+)")
_ANION = Chem.MolFromSmarts("[-;!$([-]~[+])]")
_FROM_NITROGEN = [f"[#7X3H0+0]{'-,:*=,:*' * n}-,:*=,:" for n in range(7)]
_TO_ACCEPTOR = tuple(Chem.MolFromSmarts(f"{path}[#7X2+0,#8X1+0,#16X1+0]") for path in _FROM_NITROGEN)
_TO_CATION = tuple(Chem.MolFromSmarts(f"{path}[N,n,O,o,F,Cl,Br,I;+;!$(*~[-])]") for path in _FROM_NITROGEN)
_ENOLATE = tuple(Chem.MolFromSmarts(f"[O-]{'-,:*=,:*' * n}-,:*=,:[#7X2+0]") for n in range(7))
_CONJUGATED_CATION = Chem.MolFromSmarts("[N,n,O,o,F,Cl,Br,I;+;!$(*~[-])]=,:*")
_ISATIN = Chem.MolFromSmarts("[NH;R]-[C;R](=[O,S])-[C;R]=[NX2]")


def is_open(mol: Chem.Mol) -> bool:
    """May the standard InChI of `mol` have another form than this drawing? True in doubt.

    It takes 0.02 ms, and 0.1 ms for one molecule in five, which has a hydrogen that could move.
    """
    has = mol.HasSubstructMatch
    if has(_ATOMS) and not _settled(mol):
        return not has(_METAL)
    if not has(_DONOR):
        return False
    if has(_RING_IMINE) and (has(_INDOLENINE) or (has(_ISATIN) and _has_geometry(mol))):
        return True
    mobile = any(has(path) for path in _MOBILE)
    if not (on_ring := has(_DONOR_ON_RING)) and not mobile:
        return False
    exocyclic, ring_nh = has(_EXOCYCLIC), on_ring and has(_PYRROLE_LIKE)
    if not (mobile or exocyclic or has(_PYRIDINE_LIKE)):
        return False
    if not (mobile or ring_nh or has(_HYDROXYARYL) or (exocyclic and has(_AMINOARYL))):
        return False
    return (
        any(has(choice) for choice in (*_UNDECIDED, *(_UNDECIDED_NH if ring_nh else ())))
        or (ring_nh and has(_RING6_NH) and has(_PYRIDINE_LIKE))
        or next(_rules_for(mol, _rules()), None) is not None
    )


def _settled(mol: Chem.Mol) -> bool:
    """Are the atoms of `_ATOMS` in groups that have one drawing only?"""
    still = mol.GetSubstructMatches(_STILL)
    for (at,) in mol.GetSubstructMatches(_ATOMS):
        if not mol.GetAtomWithIdx(at).GetFormalCharge() and (at,) not in still:
            return False
    positive = len(mol.GetSubstructMatches(_CATION))
    lasting = len(mol.GetSubstructMatches(_AMMONIUM))
    if not mol.HasSubstructMatch(_CONJUGATED):
        lasting += len(mol.GetSubstructMatches(_PYRIDINIUM))
    n_groups = sum(len(mol.GetSubstructMatches(group)) for group in _SETTLED)
    if positive != n_groups + lasting or Chem.GetFormalCharge(mol) != lasting:
        return False
    return not (lasting and mol.HasSubstructMatch(_QUINOID))


def _has_geometry(mol: Chem.Mol) -> bool:
    return any(bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in mol.GetBonds())


def one_form(mol: Chem.Mol) -> Chem.Mol:
    """A standardised molecule in the form that depends on its standard InChI alone; `mol` where that fails.

    What comes back knows its InChI where that had to be made.
    """
    if not is_open(mol):
        return mol
    if mol.HasSubstructMatch(_SEPARATED):
        mol = read_back(_normaliser().normalize(mol)) or mol
        if not is_open(mol):
            return mol
    if (shifted := _shifted(mol, None, _rules()[:N_CERTAIN])) is not mol:
        certain = read_back(shifted)
        if certain is not None and not is_open(certain):
            return certain
    name = standard_inchi(mol)
    if not name:
        return mol
    if "(H" in name or _charged(mol):
        try:
            return _from_inchi(name, mol)
        except (ValueError, RuntimeError):  # of RDKit, on what the InChI gives of a complex
            return mol
    mol.SetProp(INCHI, name)
    return mol


def standard_inchi(mol: Chem.Mol) -> str:
    """The standard InChI of a molecule; empty where it has none. What InChI warns of is left unsaid."""
    return str(rdinchi.MolToInchi(mol, "/AuxNone")[0])


def read_inchi(name: str) -> Chem.Mol | None:
    """The molecule of an InChI; None where RDKit cannot read it.

    InChI states added protons as a number (`/p+1`), and RDKit puts them anywhere. Here they go to anions,
    then to where a nitrogen without hydrogen becomes the cation of an aromatic ring, as in pralidoxime.
    """
    mol = _protonated(name)[0] if _PROTONS.search(name) else None
    return inchi.MolFromInchi(name) if mol is None else mol


def _protonated(name: str) -> tuple[Chem.Mol | None, str]:
    """The molecule of an InChI with as many of its protons as have a place of their own, and its InChI."""
    found = _PROTONS.search(name)
    mol = inchi.MolFromInchi(_PROTONS.sub("", name))
    n_left = int(found[1]) if found else 0
    while n_left and mol is not None and (more := _with_proton(mol)) is not None:
        mol, n_left = more, n_left - 1
    if mol is not None and mol.HasSubstructMatch(_CONJUGATED_CATION):
        mol = _resonance_form(mol)
    n_placed = int(found[1]) - n_left if found else 0
    return mol, _PROTONS.sub(f"/p+{n_placed}" if n_placed else "", name)


def _with_proton(mol: Chem.Mol) -> Chem.Mol | None:
    """`mol` with one more proton, at its first anion or where that makes an aromatic cation; None without.

    The cation has more aromatic bonds than `mol`, or its proton is on an imine of an aromatic ring (and the
    two nitrogens are not those of one amidine, which is a base as any other).
    """
    n_most, best = _n_aromatic(mol), None
    for (at,) in mol.GetSubstructMatches(_ANION):
        for path in (
            *(one for kind in _ENOLATE for one in mol.GetSubstructMatches(kind) if one[0] == at),
            (at,),
        ):
            changed = Chem.RWMol(mol)
            _charge(changed, at, 0, 0)
            _charge(changed, path[-1], 0, 1)
            _shift_bonds(changed, path)
            if _sane(changed) and _n_aromatic(changed) >= n_most:
                return changed
    for path in (path for kind in _TO_ACCEPTOR for path in mol.GetSubstructMatches(kind)):
        changed = Chem.RWMol(mol)
        _charge(changed, path[0], 1, 0)
        _charge(changed, path[-1], 0, 1)
        _shift_bonds(changed, path)
        if not _sane(changed):
            continue
        acceptor = mol.GetAtomWithIdx(path[-1])
        on_imine = acceptor.GetAtomicNum() == 7 and not acceptor.GetIsAromatic() and len(path) > 3
        of_ring = changed.GetAtomWithIdx(path[0]).GetIsAromatic()
        n_now = _n_aromatic(changed)
        if n_now > n_most or (n_now == n_most and best is None and on_imine and of_ring):
            n_most, best = n_now, changed
    return best


def _resonance_form(mol: Chem.Mol) -> Chem.Mol:
    """The resonance form of a cation: most aromatic bonds, then charge on N, not O, and in a ring."""
    n_before = _n_aromatic(mol)
    for path in (path for kind in _TO_CATION for path in mol.GetSubstructMatches(kind)):
        changed = Chem.RWMol(mol)
        _charge(changed, path[0], 1, 0)
        _charge(changed, path[-1], 0, 0)
        _shift_bonds(changed, path)
        if not _sane(changed) or (n_now := _n_aromatic(changed)) < n_before:
            continue
        donor, acceptor = changed.GetAtomWithIdx(path[0]), changed.GetAtomWithIdx(path[-1])
        better = acceptor.GetAtomicNum() != 7 or (donor.GetIsAromatic() and not acceptor.IsInRing())
        if n_now > n_before or better:
            return _resonance_form(changed)
    return mol


def lasting_cation(mol: Chem.Mol, neutral: Chem.Mol) -> Chem.Mol:
    """`neutral`, what a cation is without its protons; the cation where a drawing of it has none to lose."""
    if Chem.GetFormalCharge(mol) <= max(0, Chem.GetFormalCharge(neutral)) or _with_proton(neutral) is None:
        return neutral
    other, _ = _protonated(standard_inchi(mol))
    if other is None or Chem.GetFormalCharge(other) < 1 or _n_bonds(other) != _n_bonds(mol):
        return neutral
    return other


def _from_inchi(name: str, drawn: Chem.Mol) -> Chem.Mol:
    """The form of an InChI; as it was drawn where that is the same, or the form would not be the compound."""
    drawn.SetProp(INCHI, name)
    start, stated = _protonated(name)
    if start is None or _n_bonds(start) != _n_bonds(drawn):  # InChI cuts bonds to metals
        return drawn
    if start.HasSubstructMatch(_SEPARATED):
        start = _normaliser().normalize(start)
        Chem.SanitizeMol(start)
    smiles, charged = Chem.MolToSmiles(drawn), _charged(drawn)
    # In a few ring systems a rule goes further than the InChI lets a hydrogen go: then step by step.
    for checked in (None, stated):
        form = Chem.MolToSmiles(_shifted(start, checked, _rules()))
        if form == smiles:
            return drawn
        mol = Chem.MolFromSmiles(form)
        if mol is None or not _kept(mol, drawn) or (charged and _n_aromatic(mol) < _n_aromatic(drawn)):
            continue
        if standard_inchi(mol) == stated:
            mol.SetProp(INCHI, stated)
            return mol
    return drawn


def read_back(mol: Chem.Mol) -> Chem.Mol | None:
    """The molecule as its own SMILES is read; None where RDKit cannot read that."""
    return Chem.MolFromSmiles(Chem.MolToSmiles(mol))


def _charged(mol: Chem.Mol) -> bool:
    return mol.HasSubstructMatch(_CHARGED)


def _kept(form: Chem.Mol, mol: Chem.Mol) -> bool:
    """Has `form` the bonds and radicals of `mol`, and no charges that `mol` has not, or that could go?"""
    (bonds, radicals, charges, acid), of_mol = _counts(form), _counts(mol)
    return (bonds, radicals) == of_mol[:2] and charges <= of_mol[2] and acid <= of_mol[3]


def _counts(mol: Chem.Mol) -> tuple[int, int, int, int]:
    """Bonds, unpaired electrons, charged atoms, and positive ones with a hydrogen."""
    charged = [mol.GetAtomWithIdx(at) for (at,) in mol.GetSubstructMatches(_CHARGED)]
    acid = sum(atom.GetFormalCharge() > 0 and atom.GetTotalNumHs() > 0 for atom in charged)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtomsMatchingQuery(_RADICAL))
    return _n_bonds(mol), unpaired, len(charged), acid


def _n_bonds(mol: Chem.Mol) -> int:
    """Bonds between heavy atoms."""
    return int(mol.GetNumBonds() - mol.GetNumAtoms() + mol.GetNumHeavyAtoms())


def _n_aromatic(mol: Chem.Mol) -> int:
    """Aromatic bonds."""
    return sum(bond.GetIsAromatic() for bond in mol.GetBonds())


def _sane(mol: Chem.RWMol) -> bool:
    failed = Chem.SanitizeMol(mol, catchErrors=True)
    return bool(failed == Chem.SanitizeFlags.SANITIZE_NONE)


def _shifted(mol: Chem.Mol, name: str | None, rules: Sequence[_Rule]) -> Chem.Mol:
    """`mol` after `rules`, of which only such steps are taken as keep the InChI `name`, if it is given."""
    for _ in range(MAX_STEPS):
        for gains, rule in _rules_for(mol, rules):
            if (changed := _apply(rule, mol, name, gains)) is not None:
                mol = changed
                break
        else:
            break
    return mol


def _apply(rule: Chem.Mol, mol: Chem.Mol, name: str | None, gains: bool) -> Chem.Mol | None:
    """`mol` with the rule applied where it can be; `gains`: only where more bonds become aromatic."""
    paths = mol.GetSubstructMatches(rule)
    apart: list[tuple[int, ...]] = []
    for path in paths:
        if not any(set(path) & set(other) for other in apart):
            apart.append(path)
    for chosen in (apart, *([path] for path in paths if len(paths) > 1)):
        changed = Chem.RWMol(mol)
        for path in chosen:
            _move(changed, path)
        if not _sane(changed) or (gains and _n_aromatic(changed) <= _n_aromatic(mol)):
            continue
        if name is None or standard_inchi(changed) == name:
            return changed
    return None


def _move(mol: Chem.RWMol, path: tuple[int, ...]) -> None:
    """Move a hydrogen from the first atom of a conjugated path to the last."""
    for place, change in ((path[0], -1), (path[-1], 1)):
        atom = mol.GetAtomWithIdx(place)
        n_hydrogens = atom.GetTotalNumHs() + change
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(n_hydrogens)
    _shift_bonds(mol, path)


def _charge(mol: Chem.RWMol, place: int, charge: int, n_more: int) -> None:
    """Give an atom a formal charge and `n_more` hydrogens."""
    atom = mol.GetAtomWithIdx(place)
    n_hydrogens = atom.GetTotalNumHs() + n_more
    atom.SetFormalCharge(charge)
    atom.SetNoImplicit(True)
    atom.SetNumExplicitHs(n_hydrogens)


def _shift_bonds(mol: Chem.RWMol, path: tuple[int, ...]) -> None:
    for one, next_one in pairwise(path):
        bond = mol.GetBondBetweenAtoms(one, next_one)
        if not bond.GetIsAromatic():
            single = bond.GetBondType() == Chem.BondType.SINGLE
            bond.SetStereo(Chem.BondStereo.STEREONONE)
            bond.SetBondType(Chem.BondType.DOUBLE if single else Chem.BondType.SINGLE)


class _Rule(NamedTuple):
    """One of `RULES`."""

    needs: tuple[tuple[str, Chem.Mol], ...]
    """what its molecules have: the first atom, and the path without `$(...)`"""
    path: Chem.Mol
    gains: bool
    """only where more bonds become aromatic"""


def _rules_for(mol: Chem.Mol, rules: Sequence[_Rule]) -> Iterator[tuple[bool, Chem.Mol]]:
    """The rules that fit `mol`, in order, and whether they need a gain of aromatic bonds."""
    there: dict[str, bool] = {}
    for rule in rules:
        for text, pattern in rule.needs:
            if text not in there:
                there[text] = mol.HasSubstructMatch(pattern)
            if not there[text]:
                break
        else:
            if mol.HasSubstructMatch(rule.path):
                yield rule.gains, rule.path


@cache
def _rules() -> tuple[_Rule, ...]:
    patterns = cache(Chem.MolFromSmarts)
    rules = []
    for name, path in RULES.items():
        bare = _bare(path)
        needs = tuple((text, patterns(text)) for text in (bare[: bare.index("]") + 1], bare))
        rules.append(_Rule(needs, patterns(path), name == "aromatic ring"))
    return tuple(rules)


def _bare(smarts: str) -> str:
    """SMARTS of the path alone: without conditions on the surroundings of its atoms."""
    while (start := smarts.find("$(")) >= 0:
        end, depth = start + 2, 1
        while depth:
            depth += {"(": 1, ")": -1}.get(smarts[end], 0)
            end += 1
        head = smarts[:start].rstrip("!")
        smarts = head[:-1] + smarts[end:] if head[-1] in ";," else head + "*" + smarts[end:]
    return smarts


@cache
def _normaliser() -> rdMolStandardize.Normalizer:
    return rdMolStandardize.Normalizer()
