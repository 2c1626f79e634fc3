"""Groups that drawings write as letters: RDKit's own list, and some that papers use beside it."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem import rdAbbreviations

# label, SMILES with the attachment as *, the label as drawn to the right of its bond, and to the left
_FURTHER = """\
Boc  *C(=O)OC(C)(C)C  Boc  Boc
Cbz  *C(=O)OCc1ccccc1  Cbz  Cbz
Ts   *S(=O)(=O)c1ccc(C)cc1  Ts  Ts
Ms   *S(=O)(=O)C  Ms  Ms
TBS  *[Si](C)(C)C(C)(C)C  TBS  TBS
TMS  *[Si](C)(C)C  TMS  TMS
OBn  *OCc1ccccc1  OBn  BnO
OPh  *Oc1ccccc1  OPh  PhO
Bz   *C(=O)c1ccccc1  Bz  Bz
Bn   *Cc1ccccc1  Bn  Bn
Ph   *c1ccccc1  Ph  Ph
Me   *C  Me  Me"""

DEFINITIONS = [
    *rdAbbreviations.ParseAbbreviations(_FURTHER)[:-1],
    *rdAbbreviations.GetDefaultAbbreviations(),
    # The methyl comes last: it is part of most of the others.
    rdAbbreviations.ParseAbbreviations(_FURTHER)[-1],
]
"""definitions in the order they are looked for"""

GROUPS: dict[str, str] = {definition.label: Chem.MolToSmiles(definition.mol) for definition in DEFINITIONS}
"""label -> SMILES, the attachment being `*`"""
