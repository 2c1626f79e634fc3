"""Groups that drawings write as letters: one table of abbreviations, and the labels that a detector knows."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem import rdAbbreviations

ABBREVIATIONS: dict[str, str] = {
    name: smiles
    for smiles, *names in map(
        str.split,
        """\
*C Me
*CC Et
*CCC Pr nPr n-Pr
*C(C)C iPr i-Pr Pri
*CCCC Bu nBu n-Bu
*CC(C)C iBu i-Bu
*C(C)CC sBu s-Bu sec-Bu
*C(C)(C)C tBu t-Bu But tert-Bu
*CCCCC Pent nPent Pen
*CCC(C)C iPent
*CCCCCC Hex nHex
*CCCCCCC Hept nHept
*CCCCCCCC Oct nOct
*CCCCCCCCC nNon
*CCCCCCCCCC Dec nDec
*C1CC1 cPr c-Pr
*C1CCCCC1 Cy cHex C6H11
*c1ccccc1 Ph C6H5
*Cc1ccccc1 Bn Bzl
*C(=O)c1ccccc1 Bz
*C(=O)C Ac
*C(=O)C(C)(C)C Piv
*C(=O)C(F)(F)F Tfa
*C(=O)OC(C)(C)C Boc BOC t-BOC t-Boc
*C(=O)OCc1ccccc1 Cbz CBZ CbZ
*C(=O)OCC=C Alloc
*C(=O)OCC1c2ccccc2-c2ccccc12 Fmoc FMOC
*Cc1ccc(OC)cc1 PMB
*COCc1ccccc1 BOM
*COC MOM
*COCCOC MEM
*COCC[Si](C)(C)C SEM
*C1CCCCO1 THP
*S(=O)(=O)C Ms
*S(=O)(=O)c1ccc(C)cc1 Ts Tos
*S(=O)(=O)C(F)(F)F Tf
*C(c1ccccc1)(c1ccccc1)c1ccccc1 Tr Trt
*[Si](C)(C)C TMS
*[Si](CC)(CC)CC TES
*[Si](C)(C)C(C)(C)C TBS TBDMS
*[Si](C(C)C)(C(C)C)C(C)C TIPS
*[Si](c1ccccc1)(c1ccccc1)C(C)(C)C TBDPS
*c1cc(C)cc(C)c1C Mes
*[N+](=O)[O-] NO2 O2N
*N=[N+]=[N-] N3
*[N+]#N N2+
*S(=O)(=O)[OH] SO3H HO3S
*P(=O)(O)O PO3H2 H2O3P
*S(F)(F)(F)(F)F SF5 F5S""".splitlines(),
    )
    for name in names
}
"""letters -> SMILES, the attachment being `*`; whatever else is written is a formula (`ocsr.formula`)"""

# What the detector was taught beside RDKit's own list, and how it is drawn to the left of a bond.
_TAUGHT = {"Boc": "Boc", "Cbz": "Cbz", "Ts": "Ts", "Ms": "Ms", "TBS": "TBS", "TMS": "TMS", "OBn": "BnO",
           "OPh": "PhO", "Bz": "Bz", "Bn": "Bn", "Ph": "Ph", "Me": "Me"}  # fmt: skip
# RDKit writes iBu on sec-butyl, iPent on 1-methylbutyl: as all others, these labels mean what the table says.
_RENAMED = ("iBu", "iPent")


def _definitions() -> list[rdAbbreviations.AbbreviationDefinition]:
    def defined(label: str, smiles: str, west: str = "") -> rdAbbreviations.AbbreviationDefinition:
        return rdAbbreviations.ParseAbbreviations(f"{label} {smiles} {label} {west}")[0]

    phenyl = {"OBn": "*OCc1ccccc1", "OPh": "*Oc1ccccc1"}
    taught = [defined(name, ABBREVIATIONS.get(name) or phenyl[name], west) for name, west in _TAUGHT.items()]
    others = [
        defined(one.label, ABBREVIATIONS[one.label]) if one.label in _RENAMED else one
        for one in rdAbbreviations.GetDefaultAbbreviations()
    ]
    # The methyl comes last: it is part of most of the others.
    return [*taught[:-1], *others, taught[-1]]


DEFINITIONS = _definitions()
"""what drawings for training condense, in the order it is looked for"""

GROUPS: dict[str, str] = {definition.label: Chem.MolToSmiles(definition.mol) for definition in DEFINITIONS}
"""label that the detector knows -> SMILES, the attachment being `*`"""
