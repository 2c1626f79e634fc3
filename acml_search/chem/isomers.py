"""Positional isomers: what else a substituted ring may be, where spectra were measured to tell which."""

from __future__ import annotations

from collections.abc import Iterator

from rdkit import Chem, rdBase

MAX_ISOMERS = 50


def positional_isomers(mol: Chem.Mol, most: int = MAX_ISOMERS) -> tuple[list[Chem.Mol], int]:
    """Isomers of a standardised molecule in which one substituent of a ring sits at another atom of the same
    ring system that is free, or two have changed places.

    At most `most`, those of the smallest ring systems first, and how many there are in all: one of each
    constitution, with the configuration of atoms that were touched left open.
    """
    found: dict[str, Chem.Mol] = {_constitution(mol): mol}
    with rdBase.BlockLogs():
        for changed in _changed(mol):
            key = _constitution(changed)
            again = None if key in found else Chem.MolFromSmiles(Chem.MolToSmiles(changed))
            if again is not None:
                found[key] = again
    isomers = list(found.values())[1:]
    return isomers[:most], len(isomers)


def _constitution(mol: Chem.Mol) -> str:
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    return str(Chem.MolToSmiles(flat))


def _changed(mol: Chem.Mol) -> Iterator[Chem.Mol]:
    for system in _ring_systems(mol):
        arms = [
            (atom, bond.GetOtherAtomIdx(atom))
            for atom in system
            for bond in mol.GetAtomWithIdx(atom).GetBonds()
            if bond.GetBondType() == Chem.BondType.SINGLE and not bond.IsInRing()
            if not mol.GetAtomWithIdx(atom).GetFormalCharge()
        ]
        for number, (atom, arm) in enumerate(arms):
            moves = [[(atom, arm, free)] for free in system if mol.GetAtomWithIdx(free).GetTotalNumHs()]
            moves += [
                [(atom, arm, other), (other, second, atom)]
                for other, second in arms[number + 1 :]
                if other != atom
            ]
            yield from (one for move in moves if (one := _moved(mol, move)) is not None)


def _ring_systems(mol: Chem.Mol) -> list[list[int]]:
    """Atoms of rings that share bonds or atoms, the smallest system first."""
    systems: list[set[int]] = []
    for ring in map(set, mol.GetRingInfo().AtomRings()):
        joined = [one for one in systems if one & ring]
        systems = [one for one in systems if not one & ring] + [ring.union(*joined)]
    return sorted((sorted(one) for one in systems), key=lambda one: (len(one), one))


def _moved(mol: Chem.Mol, moves: list[tuple[int, int, int]]) -> Chem.Mol | None:
    """The molecule with each (ring atom, substituent, new ring atom) moved; None where that cannot be."""
    changed = Chem.RWMol(mol)
    for atom, arm, _ in moves:
        changed.RemoveBond(atom, arm)
        _add_hydrogens(changed.GetAtomWithIdx(atom), 1)
    for _, arm, new in moves:
        changed.AddBond(arm, new, Chem.BondType.SINGLE)
        _add_hydrogens(changed.GetAtomWithIdx(new), -1)
        for number in (arm, new):
            changed.GetAtomWithIdx(number).SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for atom, _, _ in moves:
        changed.GetAtomWithIdx(atom).SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    try:
        Chem.SanitizeMol(changed)
    except ValueError:  # RDKit's own exceptions derive from it
        return None
    Chem.AssignStereochemistry(changed, cleanIt=True, force=True)
    return changed.GetMol()


def _add_hydrogens(atom: Chem.Atom, number: int) -> None:
    """Where the hydrogens of an atom are not implied by its bonds."""
    stated = atom.GetNumExplicitHs()
    if atom.GetNoImplicit() or (atom.GetIsAromatic() and atom.GetSymbol() != "C") or (stated and number < 0):
        atom.SetNumExplicitHs(max(0, stated + number))
