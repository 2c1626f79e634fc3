"""One graph per standard InChI: charge-separated groups and mobile hydrogens drawn in one way.

The standard InChI (Heller et al., J. Cheminform. 2015, 7, 23) gives all spellings of a compound one name: it
leaves open where a mobile hydrogen sits and which resonance form is drawn. A graph encoder sees these
differences. `one_form` therefore rebuilds a molecule from its InChI alone and moves hydrogens by `RULES`
until none fits, so the result depends on the InChI and not on the drawing. The rules choose what medicinal
chemists mostly draw: amides, pyridones, aromatic amines, 1H-azoles.

The InChI is asked only where `is_open` finds something for it to decide. A drawing stays as it is where the
way to the InChI and back does not keep it: bonds to metals, radicals, charges that RDKit places elsewhere.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from rdkit import Chem
from rdkit.Chem import Descriptors, inchi
from rdkit.Chem.MolStandardize import rdMolStandardize

_TAKEN = "!$(N-C#N);!$(N-[O,N]);!$(N-C=[O,S]);!$(N-S=O)"  # what keeps the double bond of an amidine to itself

RULES = {
    "amide, sulfonamide, phosphonamide": "[O!H0]-[C,S,P]=N",
    "thioamide": "[S!H0]-C=N",
    "lactam, from 2-hydroxyazine": "[O!H0]-c:[nH0X2+0;!$(n:[n!H0])]",
    "lactam, from 4-hydroxyazine": "[O!H0]-[c;$(c1aanaa1)]:c:a:[nH0X2+0;$(n1aac(O)aa1)]",
    "lactam, H on the five-membered ring": "[O!H0]-c:c:a:[nH0X2+0;r5]",
    "2-lactam, not 4": "[O!H0]-[c;$(c[n!H0])]:c:c=O",
    "thiolactam, from 2-thiol": "[S!H0]-c:[nH0X2+0]",
    "thiolactam, from 4-thiol": "[S!H0]-[c;$(c1aanaa1)]:c:a:[nH0X2+0;$(n1aac(S)aa1)]",
    "amine, from 2-imine": "[n!H0]:c=[NX2+0]",
    "amine, from 4-imine": "[n!H0]:a:a:c=[NX2+0]",
    "amine, from 6-imine": "[n!H0]:a:a:a:a:c=[NX2+0]",
    "amine on pyridine": "[NH]-[CX3;$(C1(=N)-[NH]-*=,:*-*=,:*-1)]=[NX2+0]",
    "amine on pyridine, from 4-imine": "[NH]-*=*-[CX3;$(C1(=N)-*=*-[NH]-*=,:*-1)]=[NX2+0]",
    "amine on azole": "[NH]-[CX3;$(C1(=N)-[NH]-*=,:*-[N,O,S]-1),$(C1(=N)-[NH]-[N,O,S]-*=,:*-1)]=[NX2+0]",
    "amine on azole, from 4-imine": "[NH]-*=*-[CX3;$(C1(=N)-*=*-[NH]-[N,O,S]-1)]=[NX2+0]",
    "isatin": "[NH]-[CX3;R]=c:c=[NX2+0;R]",
    "lactam with H beside C=O": "[n!H0;!$(n:c=[O,S])]:c:[nH0X2;$(n:c=[O,S])]",
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
}
"""SMARTS by the form that a rule gives: a path from the atom that gives a hydrogen (the first) to the one
that takes it. Single and double bonds on the path change places and aromatic bonds stay. The first rule that
fits is applied, again and again: a rule overrules those below it."""
MAX_STEPS = 200
INCHI = "_standard_inchi"
"""Property of a molecule: its standard InChI, where it is known already."""


_KINDS = tuple(Chem.MolFromSmarts(kind) for kind in ("[NX2]=[#6,S,P]", "n"))  # what rules ask for
_ATOMS = Chem.MolFromSmarts("[!+0,nH,#7v5,SX3v4,sX3,SH,Se,se,Te,As]")
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
_MOBILE = Chem.MolFromSmarts("[#7,#8,#16;!H0]-*=[#7,#16,$(O=N)]")
_BENZENE = "$([cR1]1[cR1][cR1][cR1][cR1][cR1]1)"
_HYDROXYARYL = Chem.MolFromSmarts(f"[O!H0]-[c,n;!{_BENZENE}]")
_AMINOARYL = Chem.MolFromSmarts(f"[N;!H0]-,=[c,n;!{_BENZENE}]")
_PYRIDINE_LIKE = Chem.MolFromSmarts("[nX2H0]")
_EXOCYCLIC = Chem.MolFromSmarts("c=*")
# Where the rules leave a choice to the InChI: charges, amidines, azoles, pyrimidin-2-ones and the like.
_UNDECIDED = tuple(
    Chem.MolFromSmarts(choice)
    for choice in (
        "[!+0,#7v5,SX3v4,sX3,SH,Se,se,Te,As]",
        "[#7;!H0]-*=[#7]",
        "[n!H0]:c(=[O,S]):[nH0X2]",
        "[n!H0]:[n!H0]",
        "[n!H0;r6]:c:[nH0X2;r5]",
        "[c;r7]=*",
    )
)
_RING5_NH, _RING5_N = Chem.MolFromSmarts("[n!H0;r5]"), Chem.MolFromSmarts("[nH0X2;r5]")
_RING6_NH = Chem.MolFromSmarts("[n!H0;r6;!$(n:c=[O,S])]")
_SEPARATED = Chem.MolFromSmarts("[!+0,#7v5,SX3v4,sX3]")


def is_open(mol: Chem.Mol) -> bool:
    """May the standard InChI of `mol` have another form than this drawing? True in doubt.

    It takes 0.05 ms, and 0.15 ms for one molecule in five, which has a hydrogen that could move.
    """
    has = mol.HasSubstructMatch
    if not (
        (has(_ATOMS) and not _settled(mol))
        or has(_MOBILE)
        or (has(_HYDROXYARYL) and (has(_PYRIDINE_LIKE) or has(_EXOCYCLIC)))
        or (has(_AMINOARYL) and has(_EXOCYCLIC))
    ):
        return False
    if any(has(choice) for choice in _UNDECIDED) or (has(_RING5_NH) and has(_RING5_N)):
        return True
    if has(_RING6_NH) and has(_PYRIDINE_LIKE):
        return True
    there = [has(kind) for kind in _KINDS]
    return any(there[kind] and has(rule) for kind, rule in _rules())


def _settled(mol: Chem.Mol) -> bool:
    """Are the atoms of `_ATOMS` in groups that have one drawing only, or the N-H of pyrrole or indole?"""
    n_positive, nh = 0, False
    for (place,) in mol.GetSubstructMatches(_ATOMS):
        atom = mol.GetAtomWithIdx(place)
        charge = atom.GetFormalCharge()
        n_positive += charge > 0
        if not charge and not (atom.GetAtomicNum() == 7 and atom.GetIsAromatic()):
            return False
        nh = nh or not charge
    n_ammonium = len(mol.GetSubstructMatches(_AMMONIUM))
    n_groups = sum(len(mol.GetSubstructMatches(group)) for group in _SETTLED)
    if n_positive != n_groups + n_ammonium or Chem.GetFormalCharge(mol) != n_ammonium:
        return False
    return not (nh and (mol.HasSubstructMatch(_PYRIDINE_LIKE) or mol.HasSubstructMatch(_EXOCYCLIC)))


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
    name = inchi.MolToInchi(mol)
    if not name:
        return mol
    if "(H" in name or _charged(mol):
        try:
            mol = _from_inchi(name, mol)
        except (ValueError, RuntimeError):  # of RDKit, on what the InChI gives of a complex
            return mol
    mol.SetProp(INCHI, name)
    return mol


def _from_inchi(name: str, drawn: Chem.Mol) -> Chem.Mol:
    """The form of an InChI; as it was drawn where that is the same, or the form would not be the compound."""
    start = inchi.MolFromInchi(name)
    if start is None or _n_bonds(start) != _n_bonds(drawn):  # InChI cuts bonds to metals
        return drawn
    if start.HasSubstructMatch(_SEPARATED):
        start = _normaliser().normalize(start)
    smiles = Chem.MolToSmiles(drawn)
    # In a few ring systems a rule goes further than the InChI lets a hydrogen go: then step by step.
    for checked in (None, name):
        form = Chem.MolToSmiles(_shifted(start, checked))
        if form == smiles:
            return drawn
        mol = Chem.MolFromSmiles(form)
        if mol is not None and _kept(mol, drawn) and inchi.MolToInchi(mol) == name:
            return mol
    return drawn


def read_back(mol: Chem.Mol) -> Chem.Mol | None:
    """The molecule as its own SMILES is read; None where RDKit cannot read that."""
    return Chem.MolFromSmiles(Chem.MolToSmiles(mol))


def _charged(mol: Chem.Mol) -> bool:
    return any(atom.GetFormalCharge() for atom in mol.GetAtoms())


def _kept(form: Chem.Mol, mol: Chem.Mol) -> bool:
    """Has `form` the bonds and radicals of `mol`, and no charges that `mol` has not, or that could go?"""
    (bonds, radicals, charges, acid), of_mol = _counts(form), _counts(mol)
    return (bonds, radicals) == of_mol[:2] and charges <= of_mol[2] and acid <= of_mol[3]


def _counts(mol: Chem.Mol) -> tuple[int, int, int, int]:
    """Bonds, unpaired electrons, charged atoms, and positive ones with a hydrogen."""
    charged = [atom for atom in mol.GetAtoms() if atom.GetFormalCharge()]
    acid = sum(atom.GetFormalCharge() > 0 and atom.GetTotalNumHs() > 0 for atom in charged)
    return _n_bonds(mol), Descriptors.NumRadicalElectrons(mol), len(charged), acid


def _n_bonds(mol: Chem.Mol) -> int:
    """Bonds between heavy atoms."""
    return int(mol.GetNumBonds() - mol.GetNumAtoms() + mol.GetNumHeavyAtoms())


def _shifted(mol: Chem.Mol, name: str | None) -> Chem.Mol:
    """`mol` after `RULES`, of which only such steps are taken as keep the InChI `name`, if it is given."""
    for _ in range(MAX_STEPS):
        there = [mol.HasSubstructMatch(kind) for kind in _KINDS]
        for kind, rule in _rules():
            if (
                there[kind]
                and mol.HasSubstructMatch(rule)
                and (changed := _apply(rule, mol, name)) is not None
            ):
                mol = changed
                break
        else:
            break
    return mol


def _apply(rule: Chem.Mol, mol: Chem.Mol, name: str | None) -> Chem.Mol | None:
    """`mol` with the rule applied at all its places that share no atom, or else at the first that can be."""
    paths = mol.GetSubstructMatches(rule)
    apart: list[tuple[int, ...]] = []
    for path in paths:
        if not any(set(path) & set(other) for other in apart):
            apart.append(path)
    for chosen in (apart, *([path] for path in paths if len(paths) > 1)):
        changed = Chem.RWMol(mol)
        for path in chosen:
            _move(changed, path)
        sane = Chem.SanitizeMol(changed, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE
        if sane and (name is None or inchi.MolToInchi(changed) == name):
            return changed
    return None


def _move(mol: Chem.RWMol, path: tuple[int, ...]) -> None:
    """Move a hydrogen from the first atom of a conjugated path to the last."""
    for place, change in ((path[0], -1), (path[-1], 1)):
        atom = mol.GetAtomWithIdx(place)
        n_hydrogens = atom.GetTotalNumHs() + change
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(n_hydrogens)
    for one, next_one in pairwise(path):
        bond = mol.GetBondBetweenAtoms(one, next_one)
        if not bond.GetIsAromatic():
            single = bond.GetBondType() == Chem.BondType.SINGLE
            bond.SetStereo(Chem.BondStereo.STEREONONE)
            bond.SetBondType(Chem.BondType.DOUBLE if single else Chem.BondType.SINGLE)


@cache
def _rules() -> tuple[tuple[int, Chem.Mol], ...]:
    """For each rule, in order, which of `_KINDS` its molecules have."""
    return tuple(("[n" in path, Chem.MolFromSmarts(path)) for path in RULES.values())


@cache
def _normaliser() -> rdMolStandardize.Normalizer:
    return rdMolStandardize.Normalizer()
