"""Mass spectra as people bring them: every file of `tests/cases/ms`, one of a kind, all of vanillin."""

from __future__ import annotations

from pathlib import Path

import pytest

from acml_search.core.errors import InvalidRecord
from acml_search.modalities import get
from acml_search.ms.io import BadSpectrum, holds_spectra, read_spectra

CASES = Path(__file__).parents[1] / "cases" / "ms"
VANILLIN = 152.0473
# name: spectrum that is taken, adduct, half the width of its mass in Da where a window states one
READ = {
    "mzmine-formate.mgf": (1, "[M+FA]-", None),
    "mzmine-acetate.mgf": (1, "[M+Ac]-", None),
    "msdial-tfa.mgf": (1, "[M+TFA-H]-", None),
    "unsigned-adduct.mgf": (1, "[M+H]+", None),
    "gnps-charge-1.mgf": (1, "[M-H]-", None),
    "sirius-charge.MGF": (1, "[M-H]-", None),
    "retention-range.mgf": (1, "[M+H]+", None),
    "wrong-structure.mgf": (1, "[M+H]+", None),
    "sirius-levels.mgf": (2, "[M+H]+", None),
    "msdial.msp": (1, "[M+H]+", None),
    "riken.msp": (1, "[M-H]-", None),
    "mona.msp": (1, "[M+H]+", None),
    "nist-tandem.msp": (1, "[M+H-H2O]+", None),
    "decimal-comma.msp": (1, "[M+H]+", None),
    "gnps.json": (1, "[M+H]+", None),
    "mona.json": (1, "[M+H]+", None),
    "massbank.txt": (1, "[M+H]+", None),
    "dda.MZML": (1, "[M+H]+", None),
    "isolated-other-isotope.mzML": (1, "[M+H]+", None),
    "nested.mzXML": (2, "[M+H]+", None),
    "dia.mzML": (2, "[M+H]+", 12.5),
    "selected-in-window.mzML": (1, "[M+H]+", 1.5),
}
LIKELY = ("no-adduct.mgf", "sirius-unknown.mgf", "dia-window-alone.mzML")
REFUSED = {
    "contradiction.mgf": "contradiction.mgf#1: IONMODE=positive and CHARGE=1- contradict each other",
    "ms1.msp": "it is an MS1 spectrum (Spectrum_type=MS1), and lc_ms takes MS2",
    "ms1-only.mzML": "none of its 2 spectra is of lc_ms: it is an MS1 scan, and lc_ms takes MS2; give MS/MS",
    "nist-ei.msp": "its m/z are whole numbers, as those of 70-eV EI spectra; give it to --gc-ms",
    "ei-tof.msp": "it is an MS1 spectrum (Spectrum_type=MS1)",
    "two-columns.csv": "its m/z are whole numbers, as those of 70-eV EI spectra",
    "two-columns.TXT": "its m/z are whole numbers",
    "two-columns-semicolons.csv": "its m/z are whole numbers",
    "three-columns.csv": "it holds some other text",
}
EI = {
    **{name: [51, 81, 109, 123, 151, 152] for name in ("nist-ei.msp", "two-columns.csv", "two-columns.TXT")},
    "two-columns-semicolons.csv": [51, 81, 151, 152],
    "ei-tof.msp": [51.0229, 81.0335, 151.039, 152.0468],
}


def test_every_case_is_told() -> None:
    assert {path.name for path in CASES.iterdir()} == {*READ, *LIKELY, *REFUSED}


@pytest.mark.parametrize("name", READ)
def test_what_is_read_tells_the_mass(name: str) -> None:
    number, adduct, width = READ[name]
    one = get("lc_ms").read_input(str(CASES / name))
    assert one.peaks is not None
    assert (one.peaks.number, one.peaks.adduct) == (number, adduct)
    assert one.mass_width == (None if width is None else pytest.approx(width))
    assert one.neutral_mass == pytest.approx(VANILLIN, abs=width or 2e-4)
    assert list(one.masses) == [adduct]
    assert one.item.precursor == (0.0 if width else one.peaks.precursor_mz)  # not known of a window


@pytest.mark.parametrize("name", LIKELY)
def test_without_an_adduct_the_likely_ones_are_tried(name: str) -> None:
    one = get("lc_ms").read_input(str(CASES / name))
    assert one.neutral_mass is None
    assert len(one.masses) > 4
    assert one.masses["[M+H]+"] == pytest.approx(VANILLIN, abs=one.mass_width or 2e-4)
    assert "a likely ion of the positive mode" in one.mass_source


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(name: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        get("lc_ms").read_input(str(CASES / name))
    assert REFUSED[name] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*READ, *LIKELY, *EI])
def test_ei_and_tandem_spectra_are_not_taken_for_each_other(name: str) -> None:
    if name in EI:
        one = get("gc_ms").read_input(str(CASES / name))
        assert one.peaks is not None
        assert [peak.position for peak in one.peaks] == EI[name]
        assert (one.neutral_mass, dict(one.masses)) == (None, {})
        return
    for peaks in read_spectra(CASES / name, "gc_ms", on_error="yield"):
        if isinstance(peaks, BadSpectrum):
            assert "takes EI" in str(peaks)
        else:
            assert peaks.about.get("ms level", peaks.about.get("msLevel")) == "1"


def test_the_isolated_ion_counts_and_the_other_is_said() -> None:
    one = get("lc_ms").read_input(str(CASES / "isolated-other-isotope.mzML"))
    assert one.peaks is not None
    assert one.peaks.precursor_mz == 153.0546
    assert any("m/z 153.0546 was isolated and counts" in note for note in one.notes)


def test_spectra_are_told_by_their_content() -> None:
    assert {path.name for path in CASES.iterdir() if not holds_spectra(path)} == {
        *("two-columns.csv", "two-columns.TXT", "two-columns-semicolons.csv", "three-columns.csv")
    }
