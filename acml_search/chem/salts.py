"""Counter-ions and solvents: what is taken off before the largest fragment is looked for.

The largest fragment of a pamoate, a xinafoate or a bitartrate is often the acid. As in the curation of ChEMBL
(Bento et al., J. Cheminform. 2020, 12, 51), fragments of a list are therefore salts unless nothing else is
there. The list below is our own: what pharmacopoeias and catalogues make salts and solvates with.
"""

from __future__ import annotations

from functools import cache

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

# Without carbon a fragment goes in any case when there is one with carbon.
_ACIDS = """
    OC=O CC(=O)O CCC(=O)O CCCC(=O)O CCCCCC(=O)O CCCCCCCC(=O)O CCCCCCCCCC(=O)O CCCCCCCCCCCC(=O)O
    CCCCCCCCCCCCCC(=O)O CCCCCCCCCCCCCCCC(=O)O CCCCCCCCCCCCCCCCCC(=O)O CCCCCCCCC=CCCCCCCCC(=O)O
    C=CCCCCCCCCC(=O)O OC(=O)C(F)(F)F OC(=O)C(Cl)(Cl)Cl OC(=O)CCl OC(=O)C(Cl)Cl OCC(=O)O CC(O)C(=O)O
    CC(=O)C(=O)O CC(C)(C)C(=O)O OC(=O)C(=O)O OC(=O)CC(=O)O OC(=O)CCC(=O)O OC(=O)CCCC(=O)O OC(=O)CCCCC(=O)O
    OC(=O)CCCCCCCCC(=O)O OC(=O)C=CC(=O)O OC(=O)CC(O)C(=O)O OC(=O)C(O)C(O)C(=O)O OC(=O)CC(O)(CC(=O)O)C(=O)O
    OC(=O)CC(C(=O)O)C(O)C(=O)O OC(=O)C(OC(=O)c1ccccc1)C(OC(=O)c1ccccc1)C(=O)O
    Cc1ccc(cc1)C(=O)OC(C(=O)O)C(OC(=O)c1ccc(C)cc1)C(=O)O OC(=O)c1ccc(O)cc1O OC(=O)c1cc(O)ccc1O
    OC(=O)c1cc(O)c(O)c(O)c1 OC(=O)C1CCC(=O)N1 OC(=O)c1cc2ccccc2cc1O OC(=O)c1ccc2ccccc2c1O
    OC(=O)c1cc2ccccc2c(c1O)Cc1c(O)c(cc2ccccc12)C(=O)O CS(=O)(=O)O CCS(=O)(=O)O CCCS(=O)(=O)O OCCS(=O)(=O)O
    NCCS(=O)(=O)O OS(=O)(=O)CCS(=O)(=O)O OS(=O)(=O)C(F)(F)F OS(=O)(=O)c1ccccc1 Cc1ccc(cc1)S(=O)(=O)O
    Clc1ccc(cc1)S(=O)(=O)O Cc1ccc(C)c(c1)S(=O)(=O)O Cc1cc(C)c(c(C)c1)S(=O)(=O)O OS(=O)(=O)c1cccc2ccccc12
    OS(=O)(=O)c1ccc2ccccc2c1 OS(=O)(=O)c1cccc2c1cccc2S(=O)(=O)O CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2
    CC1(C)C2CCC1(C)C(=O)C2S(=O)(=O)O OS(=O)(=O)NC1CCCCC1 COS(=O)(=O)O CCOS(=O)(=O)O
    CCCCCCCCCCCCOS(=O)(=O)O OCC(O)C(O)C(O)C(O)C(=O)O OCC(O)C(O)C(O)C(O)C(O)C(=O)O
    OC(C(O)C(O)C(=O)O)C(O)C(=O)O OC(=O)C(O)C(O)C(O)C(O)C=O OCC(O)C(O)C(OC1OC(CO)C(O)C(O)C1O)C(O)C(=O)O
    OC1OC(C(O)C(O)C1O)C(=O)O OCC(O)C1OC(=O)C(O)=C1O OCC(O)C(O)P(O)(O)=O OCC(O)COP(O)(O)=O
    OC(=O)CC(O)(CC(=O)O)C(=O)OC Oc1c([N+](=O)[O-])cc([N+](=O)[O-])cc1[N+](=O)[O-]
    O=c1[nH]c(=O)c2n(C)c(Cl)nc2n1C Cn1c(=O)c2[nH]c(Cl)nc2n(C)c1=O OC(=O)CN(CCN(CC(=O)O)CC(=O)O)CC(=O)O
    N#CS SC#N C#N
"""
# Bases, and acids that are as often the compound itself.
_BASES = """
    CN CNC CN(C)C CCN CCNCC CCN(CC)CC CCN(C(C)C)C(C)C CC(C)(C)N CC(C)NC(C)C CC(C)N NCCN NCCO OCCNCCO
    OCCN(CCO)CCO CNCCO CN(C)CCO CCN(CC)CCO OCCN1CCCC1 NC(CO)(CO)CO CNCC(O)C(O)C(O)C(O)CO
    NCC(O)C(O)C(O)C(O)CO C1CCNCC1 C1COCCN1 C1CNCCN1 C1CCNC1 CN1CCOCC1 c1ccncc1 Cc1cccc(C)n1
    Cc1cc(C)nc(C)c1 c1c[nH]cn1 NC1CCCCC1 C1CCC(CC1)NC1CCCCC1 NCc1ccccc1 C(NCCNCc1ccccc1)c1ccccc1
    CNCc1ccccc1 NCCc1ccccc1 NCC(=O)O NCCCCC(N)C(=O)O NC(=N)NCCCC(N)C(=O)O NC(CC(=O)O)C(=O)O
    NC(CCC(=O)O)C(=O)O NC(Cc1c[nH]cn1)C(=O)O CC(N)C(=O)O O=C(O)C1CCCN1 CN(C)CC(=O)O NC(N)=O NC(=N)N
    CN1CCCC1=O C[N+](C)(C)CCO C[N+](C)(C)C CC[N+](CC)(CC)CC CCCC[N+](CCCC)(CCCC)CCCC C[N+](C)(C)CC(=O)[O-]
    C[N+](C)(C)Cc1ccccc1 c1ccc(cc1)[P+](c1ccccc1)(c1ccccc1)c1ccccc1 CCN1CCCC1 CCCCN Nc1ccccc1 C1CCC(N)CC1
    OC(=O)c1ccccc1 OC(=O)c1ccccc1O OC(=O)c1ccc(O)cc1 OC(=O)C(O)c1ccccc1 OC(=O)C=Cc1ccccc1 OC(=O)CCc1ccccc1
    OC(=O)COc1ccccc1 OC(=O)CNC(=O)c1ccccc1 OC(=O)c1cccnc1 OC(=O)c1cc(=O)[nH]c(=O)[nH]1
    O=C1NS(=O)(=O)c2ccccc12 CC1=CC(=O)NS(=O)(=O)O1
"""
_SOLVENTS = """
    CO CCO CCCO CC(C)O CCCCO CC(C)CO CCC(C)O CC(C)(C)O OCCO CC(O)CO OCC(O)CO COCCO CC(C)=O CCC(C)=O CC#N
    CS(C)=O CN(C)C=O NC=O CNC=O CN(C)C(C)=O CCOCC C1CCOC1 CC1CCCO1 C1COCCO1 COC(C)(C)C CC(C)OC(C)C COCCOC
    CCOC(C)=O COC(C)=O CC(C)OC(C)=O CCCCOC(C)=O CCOC=O ClCCl ClC(Cl)Cl ClCCCl ClC(Cl)(Cl)Cl Clc1ccccc1
    c1ccccc1 Cc1ccccc1 Cc1ccccc1C Cc1cccc(C)c1 Cc1ccc(C)cc1 CCCCC CCCCCC CCCCCCC C1CCCCC1 CC1CCCCC1
    CC(=O)CC(C)C CC1COC(=O)O1 S=C=S C[N+](=O)[O-] O=C1CCCCC1 OC1CCCCC1 CC(C)CCO
"""
METAL_SYMBOLS = "Li|Na|K|Rb|Cs|Be|Mg|Ca|Sr|Ba|Al|Zn|Ag"
"""Metals of salts that are drawn covalently, `CC(=O)O[Na]`."""
_METALS = frozenset(map(Chem.GetPeriodicTable().GetAtomicNumber, METAL_SYMBOLS.split("|")))
_METAL_BOND = Chem.MolFromSmarts(f"[{METAL_SYMBOLS.replace('|', ',')}]~*")
_ANIONS = frozenset({7, 8, 9, 16, 17, 34, 35, 53})


def dispensable(fragment: Chem.Mol) -> int:
    """Of two fragments, the one with the greater number goes: 2 for an acid or a solvent of the list, 1 for a
    base of it (ethanolamine tosylate is about the amine), 0 for all else. Charges and configuration are left
    aside."""
    return _listed().get(_flat(fragment), 0)


def split_metals(mol: Chem.Mol) -> Chem.Mol:
    """Single bonds of metals of `METAL_SYMBOLS` to N, O, S, Se or halogens become charges.

    A metal with any other bond keeps all: a Grignard reagent is one compound.
    """
    if not mol.HasSubstructMatch(_METAL_BOND):
        return mol
    cut = [
        (metal, other)
        for bond in mol.GetBonds()
        for metal, other in (
            (bond.GetBeginAtom(), bond.GetEndAtom()),
            (bond.GetEndAtom(), bond.GetBeginAtom()),
        )
        if metal.GetAtomicNum() in _METALS and all(_is_salt_bond(b, metal) for b in metal.GetBonds())
    ]
    if not cut:
        return mol
    apart = Chem.RWMol(mol)
    for metal, other in cut:
        apart.RemoveBond(metal.GetIdx(), other.GetIdx())
        for place, change in ((metal.GetIdx(), 1), (other.GetIdx(), -1)):
            atom = apart.GetAtomWithIdx(place)
            atom.SetFormalCharge(atom.GetFormalCharge() + change)
            atom.SetNoImplicit(True)
            atom.SetNumExplicitHs(mol.GetAtomWithIdx(place).GetTotalNumHs())
    Chem.SanitizeMol(apart)
    return apart.GetMol()


def _is_salt_bond(bond: Chem.Bond, metal: Chem.Atom) -> bool:
    other = bond.GetOtherAtom(metal)
    single = bond.GetBondType() == Chem.BondType.SINGLE
    return single and other.GetAtomicNum() in _ANIONS and other.GetFormalCharge() <= 0


def _flat(mol: Chem.Mol) -> str:
    if any(atom.GetFormalCharge() for atom in mol.GetAtoms()):
        mol = rdMolStandardize.Uncharger(canonicalOrder=True).uncharge(mol)
    return str(Chem.MolToSmiles(mol, isomericSmiles=False))


@cache
def _listed() -> dict[str, int]:
    texts = {1: _BASES, 2: f"{_ACIDS} {_SOLVENTS}"}
    return {_flat(Chem.MolFromSmiles(one)): rank for rank, text in texts.items() for one in text.split()}
