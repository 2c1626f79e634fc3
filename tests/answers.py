"""Hand-made answers, as the engine gives them: to a 13C or 1H spectrum, an MS/MS spectrum, several at once, a
molecule. The observations are those of vanillin; predictions come from a crude rule, not from a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from rdkit import Chem
from rdkit.Chem import inchi, rdMolDescriptors

from acml_search.chem.peaks import LeftOut, Peak, PeakList
from acml_search.modalities import Observation
from acml_search.modalities.base import Evidence, Match, Missing
from acml_search.search.results import Answer, Explanation, HitList, Hits

CANDIDATES = {
    "vanillin": "COc1cc(C=O)ccc1O",
    "isovanillin": "COc1ccc(C=O)cc1O",
    "o-vanillin": "COc1cccc(C=O)c1O",
    "methylparaben": "COC(=O)c1ccc(O)cc1",
    "2,4-dihydroxyacetophenone": "CC(=O)c1ccc(O)cc1O",
    "resorcinol monoacetate": "CC(=O)Oc1cccc(O)c1",
    "p-anisic acid": "COc1ccc(C(=O)O)cc1",
    "mandelic acid": "OC(C(=O)O)c1ccccc1",
    "phenoxyacetic acid": "O=C(O)COc1ccccc1",
    "3,4-dihydroxyphenylacetaldehyde": "O=CCc1ccc(O)c(O)c1",
}
C13 = [190.9, 151.7, 147.1, 129.9, 127.5, 114.4, 108.7, 56.1]
H1 = [
    (9.83, 1, "s", ()),
    (7.42, 2, "m", ()),
    (7.04, 1, "d", (8.5,)),
    (6.21, 1, "br s", ()),
    (3.96, 3, "s", ()),
]
# [M+H]+ of vanillin fragmented: m/z, relative intensity, formula of the fragment (None: of the background)
MS2 = [
    (39.0229, 3.0, "C3H3"), (55.0178, 4.0, "C3H3O"), (65.0386, 42.0, "C5H5"), (71.9912, 2.5, None),
    (79.0178, 6.0, "C5H3O"), (83.0491, 2.0, "C5H7O"), (93.0335, 100.0, "C6H5O"), (97.0284, 1.5, "C5H5O2"),
    (110.0362, 9.0, "C6H6O2"), (111.0441, 23.0, "C6H7O2"), (121.0284, 3.0, "C7H5O2"),
    (125.0597, 71.0, "C7H9O2"), (128.9511, 4.5, None), (138.0311, 5.0, "C7H6O3"), (153.0546, 38.0, "C8H9O3"),
]  # fmt: skip
ELECTRON = 0.000548580


def answer(
    modalities: Sequence[str],
    *,
    candidates: Mapping[str, str] = CANDIDATES,
    columns: Mapping[str, Sequence[Any]] | None = None,
    keep: Sequence[str] = ("logits", "evidence", "occlusion", "mass_error_ppm", "formula_matches"),
) -> Answer:
    """The answer to observations of `modalities`. columns: more metadata; keep: the parts of `why`."""
    names, smiles = list(candidates), list(candidates.values())
    observations = [_observation(name) for name in modalities]
    whys = []
    for i, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        parts: dict[str, Any] = {
            "logits": {
                name: round(14.0 - 2.5 * i + 3.0 * j - (i == 3) * 6 * j, 4)
                for j, name in enumerate(modalities)
            },
            "evidence": {name: _evidence(name, mol) for name in modalities if name != "image"},
            "formula_matches": rdMolDescriptors.CalcMolFormula(mol) == "C8H8O3",
            "mass_error_ppm": round((rdMolDescriptors.CalcExactMolWt(mol) / 152.047344 - 1) * 1e6, 2),
        }
        if "lc_ms" in modalities:
            parts["occlusion"] = {
                "lc_ms": [(93.0335, 0.31), (125.0597, 0.22), (65.0386, 0.12), (71.9912, -0.01)]
            }
        whys.append(Explanation(**{part: value for part, value in parts.items() if part in keep}))
    totals = np.array([sum(why.logits.values()) for why in whys], np.float64)
    weights = np.exp(totals - totals.max(initial=-np.inf))
    hits = HitList(
        modalities[0] if len(modalities) == 1 else "fused",
        "graph",
        Hits([list(range(100, 100 + len(smiles)))], [totals]),
        weights / weights.sum(),
        1.0,
        _molecules(names, smiles, columns or {}),
        explanations=whys,
    )
    query = {
        "observations": [one.to_dict() for one in observations],
        "k": len(smiles),
        "rerank": True,
        "filter": {"formula": "C8H8O3"},
        "passed": 1234,
    }
    notes = ["c_nmr: left out '77.16': the solvent, CDCl3"] if "c_nmr" in modalities else []
    return Answer(query, "indexes/x", [hits], {"encode": 0.01, "total": 0.123}, notes, observations)


def molecule_answer() -> Answer:
    """The answer to a SMILES: two lists, no evidence."""
    names, smiles = list(CANDIDATES)[:5], list(CANDIDATES.values())[:5]
    lists = [
        HitList(
            "smiles",
            side,
            Hits([[10, 11, 12, 13, 14]], [[1.0, 0.91, 0.83, 0.4, 0.2]]),
            np.array([0.6, 0.2, 0.1, 0.06, 0.04]),
            14.0,
            _molecules(names, smiles, {}),
        )
        for side in ("records", "graph")
    ]
    query = {
        "smiles": "O=Cc1ccc(O)c(OC)c1.Cl",
        "standardised": CANDIDATES["vanillin"],
        "inchikey": "MWOOGOJBHIARFG-UHFFFAOYSA-N",
        "formula": "C8H8O3",
        "exact_mass": 152.047344116,
        "removed": "Cl",
        "k": 5,
        "filter": {},
        "passed": None,
    }
    return Answer(query, "indexes/x", lists, {"total": 0.01}, ["the query is searched without Cl"])


def _molecules(names: Sequence[str], smiles: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    mols = [Chem.MolFromSmiles(text) for text in smiles]
    return pa.table(
        {
            "key": pa.array(range(100, 100 + len(mols)), pa.int64()),
            "smiles": list(smiles),
            "inchikey": [inchi.MolToInchiKey(mol) for mol in mols],
            "formula": [rdMolDescriptors.CalcMolFormula(mol) for mol in mols],
            "exact_mass": [rdMolDescriptors.CalcExactMolWt(mol) for mol in mols],
            "source_row": pa.array(range(len(mols)), pa.int64()),
            "name": list(names),
            "price": [9.5 * i for i in range(len(mols))],
            **columns,
        }
    )


def _observation(modality: str) -> Observation:
    if modality == "image":
        return Observation(modality, "scan.png", None)
    if modality == "c_nmr":
        given = f"13C NMR (151 MHz, CDCl3) δ {', '.join(str(x) for x in C13)}, 77.16."
        left_out = (LeftOut("77.16", "the solvent, CDCl3", 77.16),)
        peaks = tuple(Peak(x) for x in C13)
        found = PeakList(modality, peaks, left_out, solvent="CDCl3", field_mhz=151.0)
        return Observation(modality, given, None, found)
    if modality == "h_nmr":
        protons = [Peak(x, count=n, multiplicity=word, couplings=js) for x, n, word, js in H1]
        protons[1] = protons[1]._replace(low=7.40, high=7.44)
        found = PeakList(modality, tuple(protons), field_mhz=600.0)
        return Observation(modality, "1H NMR (600 MHz, CDCl3) δ 9.83 (s, 1H), …", None, found)
    masses = tuple(Peak(mz, intensity=intensity) for mz, intensity, _ in MS2)
    found = PeakList(modality, masses, precursor_mz=153.0546, adduct="[M+H]+")
    return Observation(modality, "vanillin.mgf#2", None, found, neutral_mass=152.0473)


def _evidence(modality: str, mol: Chem.Mol) -> Evidence:
    if modality.endswith("_ms"):
        return _fragments(mol)
    observed = C13 if modality == "c_nmr" else [peak[0] for peak in H1]
    groups = _predicted(mol, modality)
    left = dict(enumerate(groups))
    matched, lost = [], []
    for position in observed:
        best = min(left, key=lambda i: abs(left[i][0] - position), default=None)
        if best is None or abs(left[best][0] - position) > (25.0 if modality == "c_nmr" else 2.5):
            lost.append(position)
            continue
        predicted, atoms = left.pop(best)
        matched.append(Match(position, predicted, atoms, position - predicted))
    missing = [Missing(p, atoms) for p, atoms in left.values()]
    return Evidence(-1.5 * len(lost) - len(left), matched, lost, missing)


def _predicted(mol: Chem.Mol, modality: str) -> list[tuple[float, list[int]]]:
    """Shift and atoms of each group of atoms that are alike, by a rule of thumb and a little disorder."""
    ranks = list(Chem.CanonicalRankAtoms(mol, breakTies=False))
    groups: dict[int, list[int]] = {}
    for atom in mol.GetAtoms():
        if atom.GetTotalNumHs() if modality == "h_nmr" else atom.GetAtomicNum() == 6:
            groups.setdefault(ranks[atom.GetIdx()], []).append(atom.GetIdx())
    out = []
    for rank, atoms in groups.items():
        atom = mol.GetAtomWithIdx(atoms[0])
        disorder = (rank * 7 % 11 - 5) / 5
        oxygens = sum(neighbour.GetAtomicNum() == 8 for neighbour in atom.GetNeighbors())
        carbonyl = any(b.GetBondTypeAsDouble() == 2 for b in atom.GetBonds())
        if modality == "c_nmr":
            base = (190.0 - 22.0 * (oxygens - 1)) if carbonyl else 122.0 + 27.0 * oxygens
            if not atom.GetIsAromatic() and not carbonyl:
                base = 24.0 + 32.0 * oxygens
            out.append((round(base + (6.0 if atom.GetIsAromatic() else 1.5) * disorder, 2), atoms))
        else:
            base = (
                6.0 if atom.GetAtomicNum() == 8 else 9.7 if carbonyl else 7.1 if atom.GetIsAromatic() else 3.8
            )
            out.append((round(base + 0.25 * disorder, 3), atoms))
    return out


def _fragments(mol: Chem.Mol) -> Evidence:
    """Peaks whose formula the molecule holds; each fourth isomer is denied one, so that hits differ."""
    matched, lost = [], []
    for i, (mz, _, formula) in enumerate(MS2):
        if formula is None or (mol.GetSubstructMatch(Chem.MolFromSmarts("C(=O)O")) and i % 4 == 2):
            lost.append(mz)
            continue
        mass = _mass(formula) - ELECTRON
        matched.append(Match(mz, mass, [], (mz / mass - 1) * 1e6, formula + "+"))
    return Evidence(float(len(matched)), matched, lost)


def _mass(formula: str) -> float:
    table = Chem.GetPeriodicTable()
    parts = re.findall(r"([A-Z])(\d*)", formula)
    return sum(table.GetMostCommonIsotopeMass(symbol) * int(n or 1) for symbol, n in parts)
