"""Fragments against RDKit, which breaks one set of bonds at a time, and what they explain of spectra."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from untrained import flat

from acml_search import modalities
from acml_search.chem.masses import HYDROGEN, PROTON
from acml_search.chem.molecule import parse
from acml_search.core.errors import CheckpointError
from acml_search.ms.fragmenter import (
    MAX_SIDES,
    FragmentedMolecule,
    annotate_peaks,
    fragment,
    is_coarse,
    neutral_peaks,
    read_model,
    score_candidates,
    write_model,
)
from acml_search.ms.peaks import Spectrum

BENZOYL = 105.0335  # C7H5O+, of anything with a benzoyl group


def spectrum(mzs: list[float], mode: str = "+") -> Spectrum:
    item: Spectrum = modalities.get("lc_ms").read(
        {"mzs": mzs, "intensities": [1.0] * len(mzs), "ion_mode": mode}
    )
    return item


def test_a_peak_is_annotated_with_its_fragment() -> None:
    mol = parse("CCNC(=O)c1ccccc1")[0]
    found = annotate_peaks(mol, spectrum([BENZOYL, 111.1111]), flat())
    (peak,) = found.fragments
    kept = {mol.GetAtomWithIdx(i).GetSymbol() for i in peak.atoms}
    assert peak.formula == "C7H5O+"
    assert peak.hydrogens == -1
    assert peak.broken == 1
    assert len(peak.atoms) == 8
    assert kept == {"C", "O"}
    assert abs(peak.error_ppm) < 5
    assert found.unexplained == [pytest.approx(111.1111, abs=1e-4)]
    assert found.share == pytest.approx(0.5)


def test_an_ion_of_the_other_sign_has_other_hydrogens() -> None:
    mol = parse("OC(=O)c1ccccc1")[0]
    phenyl = 77.0391  # C6H5-
    (peak,) = annotate_peaks(mol, spectrum([phenyl], "-"), flat()).fragments
    assert peak.formula == "C6H5-"
    assert peak.hydrogens == 1
    assert len(peak.atoms) == 6


@pytest.mark.parametrize("adduct", ["[M+Na]+", "[M+H]+"])
def test_fragments_of_a_sodium_adduct_may_carry_the_sodium(adduct: str) -> None:
    about = {"adduct": adduct, "precursor_mz": 172.0733}
    record = {"mzs": [BENZOYL, 144.0420], "intensities": [1.0, 1.0], **about}
    found = annotate_peaks(parse("CCNC(=O)c1ccccc1")[0], modalities.get("lc_ms").read(record), flat())
    formulas = [peak.formula for peak in found.fragments]
    assert formulas == (["C7H5O+", "C7H7NNaO+"] if adduct == "[M+Na]+" else ["C7H5O+"])
    assert all(abs(peak.error_ppm) < 5 for peak in found.fragments)


def test_the_molecule_that_can_is_preferred_to_its_isomer() -> None:
    mols = [parse(smiles)[0] for smiles in ("CCNC(=O)c1ccccc1", "CC(=O)Nc1ccccc1C", "O=CNCCc1ccccc1")]
    found = score_candidates(mols, spectrum([BENZOYL]), flat())[:, 0]
    assert found.argmax() == 0
    assert found[0] - np.sort(found)[-2] > 0.5


def test_what_is_learned_moves_the_likelihood() -> None:
    mol = parse("CCNC(=O)c1ccccc1")[0]
    before = score_candidates([mol], spectrum([BENZOYL]), flat())[0, 0]
    after = score_candidates([mol], spectrum([BENZOYL]), flat(weights=np.full((2, 1), 3.0)))[0, 0]
    assert after > before + 1


def test_peaks_of_the_whole_molecule_say_nothing() -> None:
    mol = parse("CCNC(=O)c1ccccc1")[0]
    molecule = FragmentedMolecule(mol, flat())
    assert len(neutral_peaks(spectrum([molecule.mass + PROTON]), "lc_ms", molecule.mass, 10, 0.002).at) == 0
    found = annotate_peaks(mol, spectrum([molecule.mass + PROTON]), flat())
    assert found.score == 0
    assert not found.fragments
    assert not found.unexplained
    assert found.share == 0


def test_what_is_heavier_than_the_candidate_counts_against_it() -> None:
    item: Spectrum = modalities.get("lc_ms").read(
        {"mzs": [46.06, 180.05, 240.02, 300.1], "intensities": [1, 1, 1, 1], "precursor_mz": 300.1}
    )
    light, learned = parse("CCN")[0], flat()
    mass = FragmentedMolecule(light, learned).mass
    assert neutral_peaks(item, "lc_ms", mass, 10, 0.002).at.tolist() == [
        1,
        2,
    ]  # neither its own, nor the precursor
    found = annotate_peaks(light, item, learned)
    assert found.unexplained == [pytest.approx(180.05, abs=1e-3), pytest.approx(240.02, abs=1e-3)]
    assert found.score == pytest.approx(2 * np.log(learned.floor))


def test_tolerance_follows_the_decimals() -> None:
    assert is_coarse(np.array([77.1, 105.0, 133.2]))
    assert not is_coarse(np.array([77.0391, 105.0335, 122.0964]))
    mol = parse("CCNC(=O)c1ccccc1")[0]
    assert annotate_peaks(mol, spectrum([60.3, 105.2, 111.1]), flat()).share > 0.3
    assert annotate_peaks(mol, spectrum([105.2001, 111.1234, 60.3333]), flat()).share == 0


def test_electron_ionisation_goes_by_nominal_mass() -> None:
    item = modalities.get("gc_ms").read({"mzs": [77, 105, 149], "intensities": [4, 9, 3]})
    found = annotate_peaks(parse("CCNC(=O)c1ccccc1")[0], item, flat("gc_ms"))
    assert {peak.formula for peak in found.fragments} == {"C6H5+", "C7H5O+"}
    assert len(found.fragments) == 2  # 149 is the molecule


def test_the_score_is_the_sum_that_is_explained() -> None:
    mol, item, learned = parse("CCOC(=O)CCN")[0], spectrum([30.034, 72.04, 86.06, 116.0]), flat()
    assert annotate_peaks(mol, item, learned).score == pytest.approx(
        score_candidates([mol], item, learned)[0, 0]
    )


def test_the_prior_is_of_the_molecule_alone() -> None:
    weights = np.random.default_rng(0).normal(size=1024)
    mol = parse("CCNC(=O)c1ccccc1")[0]
    learned = flat(prior=weights)
    assert FragmentedMolecule(mol, flat()).prior == 0.0
    first, other = (score_candidates([mol], spectrum([mz]), learned)[0, 1] for mz in (60.0, BENZOYL))
    assert first == other == pytest.approx(FragmentedMolecule(mol, learned).prior)
    assert first != 0


def test_an_atom_alone_explains_nothing() -> None:
    assert annotate_peaks(parse("C")[0], spectrum([15.02]), flat()).fragments == []
    assert len(fragment(Chem.MolFromSmiles("C"))) == 0


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "lc_ms_rerank.json"
    learned = flat(weights=np.array([[0.5], [-0.25]]), prior=np.array([1.5, -2.0]), about={"n": 3})
    write_model(path, learned)
    read = read_model(path)
    assert read.features == learned.features
    assert read.about == {"n": 3}
    assert read.floor == learned.floor
    for name in ("weights", "codes", "depth", "shifts", "prior"):
        np.testing.assert_allclose(getattr(read, name), getattr(learned, name), atol=1e-4)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "garble"), ('{"format": 9}', "format 9"), ('{"format": 1}', "features")]
)
def test_damaged_weights_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lc_ms_rerank.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=said):
        read_model(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_model(tmp_path / "none.json")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(15, 400), min_size=1, max_size=30), st.sampled_from(["+", "-"]))
def test_fragments_fit_their_peaks(mzs: list[float], mode: str) -> None:
    mol = parse("CC(C)Cc1ccc(cc1)C(C)C(=O)NCC1CCCO1")[0]
    found = annotate_peaks(mol, spectrum(mzs, mode), flat())
    charge = PROTON if mode == "+" else -PROTON
    masses = FragmentedMolecule(mol, flat()).described.fragments.masses
    for peak in found.fragments:
        fits = np.abs(masses + HYDROGEN * peak.hydrogens + charge + peak.error - peak.mz)
        assert fits.min() < 1e-4
    assert 0 <= found.share <= 1
    assert np.isfinite(found.score)


MOLECULES = [
    "CCO",
    "c1ccccc1C(=O)NCC",
    "C1CC2CCC1C2",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "C1CC2(C1)CCC2",
    "CC12CCC3C(CCC4=CC(=O)CCC34C)C1CCC2O",
]


def _halves(mol: Chem.Mol, bonds: tuple[int, ...]) -> set[frozenset[int]]:
    broken = Chem.FragmentOnBonds(mol, bonds, addDummies=False)
    return {frozenset(part) for part in Chem.GetMolFrags(broken)}


@pytest.mark.parametrize("smiles", MOLECULES)
def test_cuts_are_all_smallest_sets_of_one_or_two_bonds(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    fragments = fragment(mol)
    expected = set()
    single = [b for b in range(mol.GetNumBonds()) if len(_halves(mol, (b,))) == 2]
    for bond in single:
        expected |= {(frozenset([bond]), side) for side in _halves(mol, (bond,))}
    for pair in combinations([b for b in range(mol.GetNumBonds()) if b not in single], 2):
        if len(halves := _halves(mol, pair)) == 2:
            expected |= {(frozenset(pair), side) for side in halves}
    found = {
        (frozenset(b for b in bonds if b >= 0), frozenset(np.flatnonzero(side).tolist()))
        for bonds, side in zip(fragments.bonds.tolist(), fragments.sides, strict=True)
    }
    assert found == expected


@pytest.mark.parametrize("smiles", MOLECULES)
def test_fragments_know_their_mass_atoms_and_bonds(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    fragments = fragment(mol)
    hydrogen = 1.00782503
    table = Chem.GetPeriodicTable()
    masses = np.array(
        [
            table.GetMostCommonIsotopeMass(atom.GetAtomicNum()) + hydrogen * atom.GetTotalNumHs()
            for atom in mol.GetAtoms()
        ]
    )
    for i in range(len(fragments)):
        assert fragments.masses[i] == pytest.approx((fragments.atoms(i) * masses).sum())
        assert 0 < fragments.atoms(i).sum() < mol.GetNumAtoms()
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()])
    for side in range(len(fragments.sides)):
        crossing = np.flatnonzero(fragments.sides[side][ends[:, 0]] != fragments.sides[side][ends[:, 1]])
        assert crossing.tolist() == sorted(b for b in fragments.bonds[side].tolist() if b >= 0)
        for kept, lost in zip(fragments.kept[side], fragments.lost[side], strict=True):
            assert kept < 0 or (fragments.sides[side][kept] and not fragments.sides[side][lost])


def test_two_cuts_leave_the_middle() -> None:
    fragments = fragment(Chem.MolFromSmiles("CC(=O)OCC"))
    held = {tuple(np.flatnonzero(fragments.atoms(i)).tolist()) for i in range(len(fragments))}
    assert (3,) in held
    assert (1, 2) in held
    assert (3, 4) in held
    assert int(fragments.broken[next(i for i in range(len(fragments)) if fragments.second[i] >= 0)]) == 2


def test_counting_is_summing_over_the_atoms() -> None:
    mol = Chem.MolFromSmiles("c1ccccc1C(=O)NCC")
    fragments = fragment(mol)
    values = np.random.default_rng(0).random((mol.GetNumAtoms(), 3))
    expected = [values[fragments.atoms(i)].sum(axis=0) for i in range(len(fragments))]
    np.testing.assert_allclose(fragments.sums(values), expected)


def test_a_macrocycle_stays_within_bounds() -> None:
    assert len(fragment(Chem.MolFromSmiles("C1" + "C" * 60 + "CC1")).sides) <= MAX_SIDES
