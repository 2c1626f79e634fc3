"""What a molecule explains of a spectrum, with weights set by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search import modalities
from acml_search.chem.masses import HYDROGEN, PROTON
from acml_search.chem.molecule import parse
from acml_search.core.errors import CheckpointError
from acml_search.ms.annotation import Breaking, explain_peaks, is_coarse, observe, prior_of, scores
from acml_search.ms.fragmentation import Fragmentation, read_fragmentation, write_fragmentation
from acml_search.ms.fragments import N_CODES, SHIFTS
from acml_search.ms.peaks import Spectrum

BENZOYL = 105.0335  # C7H5O+, of anything with a benzoyl group


def flat(modality: str = "lc_ms", **changes: object) -> Fragmentation:
    """No piece is likelier than another."""
    plain = Fragmentation(
        modality,
        {"X C2H6N1": 0},
        np.zeros((2, 1)),
        np.zeros((2, N_CODES)),
        np.zeros((2, 4, 2)),
        np.full((2, 4, len(SHIFTS)), 1 / len(SHIFTS)),
        1e-5,
        1.0,
        10.0,
        0.002,
        np.zeros(0),
        {},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def spectrum(mzs: list[float], mode: str = "+") -> Spectrum:
    item: Spectrum = modalities.get("lc_ms").read(
        {"mzs": mzs, "intensities": [1.0] * len(mzs), "ion_mode": mode}
    )
    return item


def test_a_peak_is_given_its_piece() -> None:
    mol = parse("CCNC(=O)c1ccccc1")[0]
    found = explain_peaks(mol, spectrum([BENZOYL, 111.1111]), flat())
    (fragment,) = found.fragments
    kept = {mol.GetAtomWithIdx(i).GetSymbol() for i in fragment.atoms}
    assert fragment.formula == "C7H5O+"
    assert fragment.hydrogens == -1
    assert fragment.broken == 1
    assert len(fragment.atoms) == 8
    assert kept == {"C", "O"}
    assert abs(fragment.error_ppm) < 5
    assert found.unexplained == [pytest.approx(111.1111, abs=1e-4)]
    assert found.share == pytest.approx(0.5)


def test_an_ion_of_the_other_sign_has_other_hydrogens() -> None:
    mol = parse("OC(=O)c1ccccc1")[0]
    phenyl = 77.0391  # C6H5-
    (fragment,) = explain_peaks(mol, spectrum([phenyl], "-"), flat()).fragments
    assert fragment.formula == "C6H5-"
    assert fragment.hydrogens == 1
    assert len(fragment.atoms) == 6


def test_the_molecule_that_can_is_preferred_to_its_isomer() -> None:
    mols = [parse(smiles)[0] for smiles in ("CCNC(=O)c1ccccc1", "CC(=O)Nc1ccccc1C", "O=CNCCc1ccccc1")]
    found = scores(mols, spectrum([BENZOYL]), flat())[:, 0]
    assert found.argmax() == 0
    assert found[0] - np.sort(found)[-2] > 0.5


def test_what_is_learned_moves_the_likelihood() -> None:
    mol = parse("CCNC(=O)c1ccccc1")[0]
    before = scores([mol], spectrum([BENZOYL]), flat())[0, 0]
    after = scores([mol], spectrum([BENZOYL]), flat(weights=np.full((2, 1), 3.0)))[0, 0]
    assert after > before + 1


def test_peaks_of_the_whole_molecule_say_nothing() -> None:
    mol = parse("CCNC(=O)c1ccccc1")[0]
    breaking = Breaking(mol, flat())
    assert len(observe(spectrum([breaking.mass + PROTON]), "lc_ms", breaking.mass, 10, 0.002).at) == 0
    found = explain_peaks(mol, spectrum([breaking.mass + PROTON]), flat())
    assert found.score == 0
    assert not found.fragments
    assert not found.unexplained
    assert found.share == 0


def test_what_is_heavier_than_the_candidate_counts_against_it() -> None:
    item: Spectrum = modalities.get("lc_ms").read(
        {"mzs": [46.06, 180.05, 240.02, 300.1], "intensities": [1, 1, 1, 1], "precursor_mz": 300.1}
    )
    light, learned = parse("CCN")[0], flat()
    mass = Breaking(light, learned).mass
    assert observe(item, "lc_ms", mass, 10, 0.002).at.tolist() == [1, 2]  # neither its own, nor the precursor
    found = explain_peaks(light, item, learned)
    assert found.unexplained == [pytest.approx(180.05, abs=1e-3), pytest.approx(240.02, abs=1e-3)]
    assert found.score == pytest.approx(2 * np.log(learned.floor))


def test_tolerance_follows_the_decimals() -> None:
    assert is_coarse(np.array([77.1, 105.0, 133.2]))
    assert not is_coarse(np.array([77.0391, 105.0335, 122.0964]))
    mol = parse("CCNC(=O)c1ccccc1")[0]
    assert explain_peaks(mol, spectrum([60.3, 105.2, 111.1]), flat()).share > 0.3
    assert explain_peaks(mol, spectrum([105.2001, 111.1234, 60.3333]), flat()).share == 0


def test_electron_ionisation_goes_by_nominal_mass() -> None:
    item = modalities.get("gc_ms").read({"mzs": [77, 105, 149], "intensities": [4, 9, 3]})
    found = explain_peaks(parse("CCNC(=O)c1ccccc1")[0], item, flat("gc_ms"))
    assert {fragment.formula for fragment in found.fragments} == {"C6H5+", "C7H5O+"}
    assert len(found.fragments) == 2  # 149 is the molecule


def test_the_score_is_the_sum_that_is_explained() -> None:
    mol, item, learned = parse("CCOC(=O)CCN")[0], spectrum([30.034, 72.04, 86.06, 116.0]), flat()
    assert explain_peaks(mol, item, learned).score == pytest.approx(scores([mol], item, learned)[0, 0])


def test_the_prior_is_of_the_molecule_alone() -> None:
    weights = np.random.default_rng(0).normal(size=1024)
    mol = parse("CCNC(=O)c1ccccc1")[0]
    learned = flat(prior=weights)
    assert prior_of(mol, flat()) == 0.0
    first, other = (scores([mol], spectrum([mz]), learned)[0, 1] for mz in (60.0, BENZOYL))
    assert first == other == pytest.approx(prior_of(mol, learned))
    assert first != 0


def test_an_atom_alone_explains_nothing() -> None:
    assert explain_peaks(parse("C")[0], spectrum([15.02]), flat()).fragments == []


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "lc_ms_rerank.json"
    learned = flat(weights=np.array([[0.5], [-0.25]]), prior=np.array([1.5, -2.0]), about={"n": 3})
    write_fragmentation(path, learned)
    read = read_fragmentation(path)
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
        read_fragmentation(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_fragmentation(tmp_path / "none.json")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(15, 400), min_size=1, max_size=30), st.sampled_from(["+", "-"]))
def test_fragments_fit_their_peaks(mzs: list[float], mode: str) -> None:
    mol = parse("CC(C)Cc1ccc(cc1)C(C)C(=O)NCC1CCCO1")[0]
    found = explain_peaks(mol, spectrum(mzs, mode), flat())
    charge = PROTON if mode == "+" else -PROTON
    masses = Breaking(mol, flat()).described.pieces.masses
    for fragment in found.fragments:
        fits = np.abs(masses + HYDROGEN * fragment.hydrogens + charge + fragment.error - fragment.mz)
        assert fits.min() < 1e-4
    assert 0 <= found.share <= 1
    assert np.isfinite(found.score)
