"""Peaks of solvents and of TMS: which are left out, and which are the compound's."""

import pytest

from acml_search.chem.peaks import Peak, PeakList
from acml_search.nmr.parser import read_nmr_text
from acml_search.nmr.solvents import SOLVENTS, possible_impurities, solvent_name, without_solvent


def kept(text: str) -> list[float]:
    return [peak.position for peak in without_solvent(read_nmr_text(text))]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CDCl3", "CDCl3"), ("chloroform-d", "CDCl3"), ("cdcl3", "CDCl3"), ("CDCI3", "CDCl3"),
        ("DCCl3", "CDCl3"),
        ("DMSO-d6", "DMSO-d6"), ("d6-DMSO", "DMSO-d6"), ("[D6]DMSO", "DMSO-d6"), ("DMSOd6", "DMSO-d6"),
        ("(CD3)2SO", "DMSO-d6"), ("dimethyl sulfoxide-d6", "DMSO-d6"), ("CD3OD", "CD3OD"), ("MeOD", "CD3OD"),
        ("methanol-d4", "CD3OD"), ("acetone-d6", "acetone-d6"), ("(CD3)2CO", "acetone-d6"), ("C6D6", "C6D6"),
        ("D2O", "D2O"), ("CD3CN", "CD3CN"), ("MeCN-d3", "CD3CN"), ("CD2Cl2", "CD2Cl2"), ("THF-d8", "THF-d8"),
        ("pyridine-d5", "pyridine-d5"), ("toluene-d8", "toluene-d8"), ("DMF-d7", "DMF-d7"),
        ("CDCl3/CD3OD, 9:1", "CDCl3 + CD3OD"), ("400 MHz, 298 K", None),
    ],
)  # fmt: skip
def test_names(written: str, name: str | None) -> None:
    assert solvent_name(written) == name


def test_every_name_is_found_by_its_own_pattern() -> None:
    assert [solvent_name(name) for name in SOLVENTS] == list(SOLVENTS)


def test_the_solvent_is_left_out_and_named() -> None:
    peaks = without_solvent(read_nmr_text("13C NMR (101 MHz, CDCl3) δ 155.4, 77.2, 77.0, 55.1, 0.0"))
    assert [peak.position for peak in peaks] == [155.4, 55.1]
    assert [one.position for one in peaks.left_out] == [77.2, 77.0, 0.0]
    assert "the solvent CDCl3" in peaks.left_out[0].why
    assert "TMS" in peaks.left_out[2].why


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("13C NMR (101 MHz) δ 155.4, 77.16", [155.4, 77.16]),  # no solvent is stated
        ("13C NMR (101 MHz, DMSO-d6) δ 155.4, 77.16, 39.5", [155.4, 77.16]),  # not this solvent's
        ("13C NMR (101 MHz, CDCl3) δ 155.4, 77.16 (CH)", [155.4, 77.16]),  # claimed for the compound
        ("13C NMR (101 MHz, CDCl3) δ 155.4, 77.2 (2C)", [155.4, 77.2]),
        ("13C NMR (101 MHz, CDCl3) δ 155.4, 77.4, 76.8", [155.4, 77.4, 76.8]),  # near, and not it
        ("13C NMR (101 MHz, CDCl3) δ 155.4, 77.48, 77.16, 76.84, 76.1", [155.4, 76.1]),  # all three lines
        ("13C NMR (101 MHz, DMSO-d6) δ 155.4, 40.14, 39.93, 39.72, 39.52, 39.31, 39.10, 38.89", [155.4]),
        ("13C NMR (101 MHz, acetone-d6) δ 206.3, 155.4, 29.8", [155.4]),
        ("1H NMR (400 MHz, CDCl3) δ 7.26, 3.93 (s, 3H), 1.56", [3.93]),
        ("1H NMR (400 MHz, CDCl3) δ 7.26 (s, 1H), 3.93 (s, 3H), 1.56 (s, 3H)", [7.26, 3.93, 1.56]),
        ("1H NMR (400 MHz, DMSO-d6) δ 8.1 (s, 1H), 2.50, 3.33", [8.1]),
        ("1H NMR (400 MHz, D2O) δ 4.79, 3.93 (s, 3H), 0.00", [3.93]),
        ("1H NMR (400 MHz, CDCl3) δ 0.02, 3.93 (s, 3H)", [0.02, 3.93]),  # TMS stands at 0.00 exactly
    ],
)
def test_only_what_is_no_ones(text: str, expected: list[float]) -> None:
    assert kept(text) == expected


def test_a_list_without_solvent_peaks_is_the_same_list() -> None:
    peaks = PeakList("c_nmr", (Peak(155.4), Peak(21.0)), solvent="CDCl3")
    assert without_solvent(peaks) is peaks


@pytest.mark.parametrize(
    ("modality", "solvent", "names"),
    [
        ("h_nmr", "CDCl3", {2.05: "ethyl acetate", 6.05: None}),
        ("h_nmr", None, {2.05: "ethyl acetate or acetone-d6"}),
        ("h_nmr", "CDCl3", {4.12: "ethyl acetate", 2.05: "ethyl acetate", 1.26: "ethyl acetate or grease"}),
        ("h_nmr", "CDCl3", {1.62: "water", 0.07: "silicone grease", 5.3: "dichloromethane"}),
        ("h_nmr", "DMSO-d6", {5.76: "dichloromethane", 2.17: None}),
        ("h_nmr", "CD3OD", {2.15: "acetone", 4.9: "water"}),
        ("h_nmr", "D2O", {4.79: "D2O", 2.05: None}),  # shifts in CDCl3 are too far from those in D2O
        ("c_nmr", "CDCl3", {60.4: "ethyl acetate", 100.0: None}),
        ("c_nmr", None, {77.0: "CDCl3", 49.0: "CD3OD", 1.0: "silicone grease", 29.7: "grease or acetone-d6"}),
        ("c_nmr", "DMSO-d6", {162.3: "DMF", 54.9: "dichloromethane"}),
    ],
)
def test_what_a_peak_may_be_besides(
    modality: str, solvent: str | None, names: dict[float, str | None]
) -> None:
    peaks = PeakList(modality, tuple(map(Peak, names)), solvent=solvent)
    assert possible_impurities(peaks, list(names)) == {at: name for at, name in names.items() if name}
