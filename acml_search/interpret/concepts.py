"""Concepts of chemistry that probes look for: numbers, and functional groups that are there or not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import QED, Crippen, Descriptors, Fragments, rdMolDescriptors

from acml_search.core.typing import Bools, Floats

MIN_SHARE, MIN_MOLECULES = 0.01, 20
"""molecules that must have a group, and that must lack it, for a probe of it; the larger of the two counts"""
MIN_PER_PART = 5
"""molecules of either part of a split that must have a group, and lack it"""


class Concept(NamedTuple):
    """A property of a molecule. kind: "number" (any real value) or "group" (0 or 1)."""

    name: str
    kind: str
    about: str
    of: Callable[[Chem.Mol], float]


def _stereocentres(mol: Chem.Mol) -> float:
    """Stereocentres, stated or not: a molecule drawn flat has them too."""
    return float(len(Chem.FindMolChiralCenters(mol, includeUnassigned=True, useLegacyImplementation=False)))


def _aromatic(mol: Chem.Mol) -> float:
    n = mol.GetNumHeavyAtoms()
    return sum(atom.GetIsAromatic() for atom in mol.GetAtoms()) / n if n else 0.0


NUMBERS = (
    Concept("molecular weight", "number", "Da", Descriptors.MolWt),
    Concept("logP", "number", "Crippen", Crippen.MolLogP),
    Concept("TPSA", "number", "square angstroms", rdMolDescriptors.CalcTPSA),
    Concept("H donors", "number", "Lipinski", rdMolDescriptors.CalcNumHBD),
    Concept("H acceptors", "number", "Lipinski", rdMolDescriptors.CalcNumHBA),
    Concept("rotatable bonds", "number", "strict", rdMolDescriptors.CalcNumRotatableBonds),
    Concept("rings", "number", "smallest set", rdMolDescriptors.CalcNumRings),
    Concept("aromatic fraction", "number", "aromatic atoms over heavy atoms", _aromatic),
    Concept("fraction sp3", "number", "of carbons", rdMolDescriptors.CalcFractionCSP3),
    Concept("QED", "number", "Bickerton 2012", QED.qed),
    Concept("stereocentres", "number", "stated or not", _stereocentres),
)

# Groups of RDKit's `Fragments` that do not say nearly the same as another of the list.
GROUPS = {
    "alcohol, aliphatic": "fr_Al_OH",
    "phenol": "fr_phenol",
    "ether": "fr_ether",
    "methoxy": "fr_methoxy",
    "carbonyl, any": "fr_C_O",
    "aldehyde": "fr_aldehyde",
    "ketone": "fr_ketone",
    "carboxylic acid": "fr_COO",
    "ester": "fr_ester",
    "lactone": "fr_lactone",
    "amide": "fr_amide",
    "lactam": "fr_lactam",
    "imide": "fr_imide",
    "urea": "fr_urea",
    "carbamate": "fr_alkyl_carbamate",
    "nitrile": "fr_nitrile",
    "nitro": "fr_nitro",
    "imine": "fr_Imine",
    "hydrazone": "fr_hdrzone",
    "azo": "fr_azo",
    "amidine": "fr_amidine",
    "amine, primary": "fr_NH2",
    "amine, tertiary": "fr_NH0",
    "aniline": "fr_aniline",
    "halogen": "fr_halogen",
    "alkyl halide": "fr_alkyl_halide",
    "thioether": "fr_sulfide",
    "sulfonamide": "fr_sulfonamd",
    "sulfone": "fr_sulfone",
    "thiocarbonyl": "fr_C_S",
    "benzene ring": "fr_benzene",
    "pyridine": "fr_pyridine",
    "pyrrole NH": "fr_Nhpyrrole",
    "imidazole": "fr_imidazole",
    "thiazole": "fr_thiazole",
    "oxazole": "fr_oxazole",
    "furan": "fr_furan",
    "thiophene": "fr_thiophene",
    "piperidine": "fr_piperdine",
    "piperazine": "fr_piperzine",
    "morpholine": "fr_morpholine",
    "epoxide": "fr_epoxide",
    "alkyne, terminal": "fr_term_acetylene",
    "phosphoric acid or ester": "fr_phos_acid",
}


def _group(name: str, function: str) -> Concept:
    count = getattr(Fragments, function)
    # `countUnique` looks for all places a pattern fits; whether there is one is all that is asked
    about = f"{function}: {inspect.getdoc(count) or ''}".splitlines()[0].strip()
    return Concept(name, "group", about, lambda mol: float(count(mol) > 0))


CONCEPTS: tuple[Concept, ...] = (
    *NUMBERS,
    # Nearly every standardised molecule is neutral, so a count would be a constant with rare exceptions.
    Concept("charged", "group", "net formal charge is not 0", lambda m: float(Chem.GetFormalCharge(m) != 0)),
    *(_group(name, function) for name, function in GROUPS.items()),
)


class Labels(NamedTuple):
    """Values of k concepts of n molecules."""

    concepts: list[Concept]
    values: Floats
    """(n, k); groups 0 or 1"""
    left_out: list[dict[str, object]]
    """concepts that vary too little: name, how many molecules have it, of how many, why"""


def concept_called(name: str) -> Concept | None:
    """The concept of this name, ignoring case, also by RDKit's name (`fr_ketone`)."""
    wanted = name.strip().casefold()
    for concept in CONCEPTS:
        if wanted in (concept.name.casefold(), concept.about.split(":")[0].casefold()):
            return concept
    return None


def label(
    mols: Sequence[Chem.Mol], concepts: Sequence[Concept] = CONCEPTS, test: Bools | None = None
) -> Labels:
    """Work out the concepts, without those that vary too little to teach and test something.

    test (n,): the molecules that probes are tested on, where the others are to teach: one scaffold may hold
    nearly all of a group.
    """
    values = np.array([[concept.of(mol) for concept in concepts] for mol in mols], np.float64)
    return without_constants(concepts, values.reshape(len(mols), len(concepts)), test)


def without_constants(concepts: Sequence[Concept], values: Floats, test: Bools | None = None) -> Labels:
    """The concepts whose values (n, k) vary enough, in all molecules and in either part of `test` (n,)."""
    chosen: list[int] = []
    left_out: list[dict[str, object]] = []
    least = max(MIN_MOLECULES, int(np.ceil(MIN_SHARE * len(values))))
    for i, (concept, column) in enumerate(zip(concepts, values.T, strict=True)):
        count = _unlike_most(column) if concept.kind == "number" else int(column.sum())
        parts = [] if test is None else [_unlike_most(column[~test]), _unlike_most(column[test])]
        why = None
        if _unlike_most(column) < least or not np.isfinite(column).all():
            rare = "too rare" if count < least else "too common"
            why = "nearly the same in all" if concept.kind == "number" else rare
        elif parts and min(parts) < MIN_PER_PART:
            why, count = "too few in one part of the split", sum(parts)
        if why is None:
            chosen.append(i)
        else:
            left_out.append({"concept": concept.name, "molecules": count, "of": len(values), "why": why})
    return Labels([concepts[i] for i in chosen], values[:, chosen], left_out)


def _unlike_most(values: Floats) -> int:
    """Molecules without the most frequent value; of a group, the fewer of those with and without it."""
    return len(values) - int(np.unique(values, return_counts=True)[1].max(initial=0))
