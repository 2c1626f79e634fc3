"""HSQC: reading pairs, assigning them, and the space that is made of the 13C and 1H spaces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import acml_search
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.encoders.card import read_card
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.encoders.shifts import ShiftModel, answers
from acml_search.index.build import build_index
from acml_search.index.verify import verify
from acml_search.modalities import get
from acml_search.modalities.base import Evidence, reranker
from acml_search.nmr.cross_peaks import CrossCosts, CrossPeaks, assign, log_likelihoods, observed_of

LIBRARY = ["COc1ccc(CCN)cc1", "CC(=O)Nc1ccc(O)cc1", "CCCCO", "O", "Cc1ccccc1", "CC(C)(C)O", "OC1CCCCC1"]
ASKED = "113.9/6.84, 129.7/7.11, 55.2/3.78, 43.6/2.93 (CH2), 39.2/2.68 (CH2)"
TOLUENE = [21.4, 129.0, 128.2, 125.3]
PAIRS = [(128.5, 7.26, None), (55.2, 3.81, "CH2")]
PLAIN = [(c, h, None) for c, h, _ in PAIRS]
EDITED = [(128.5, 7.26, "CH or CH3"), (55.2, 3.81, "CH2")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("128.5/7.26, 55.2/3.81 (CH2)", PAIRS),
        ("HSQC (400/101 MHz, CDCl3) δ 128.5/7.26; 55.2 / 3.81 (CH₂)", PAIRS),
        ("(128.5, 7.26), (55.2, 3.81)", PLAIN),
        ("1H-13C HSQC: δC 128.5 / δH 7.26, δC 55.2 / δH 3.81 (CH2)", PAIRS),
        ("128,5/7,26; 55,2/3,81", PLAIN),
        ("7.26/128.5, 3.81/55.2", PLAIN),
        ("128.5/7.26 (+), 55.2/3.81 (-)", EDITED),
        ("13C,1H,intensity\n128.5,7.26,1200\n55.2,3.81,-900", EDITED),
        ("Peak\tF2 [ppm]\tF1 [ppm]\tIntensity\n1\t7.26\t128.5\t1e3\n2\t3.81\t55.2\t-2e3", EDITED),
        ("1 128.5 7.26 12\n2 55.2 3.81 9", PLAIN),
        ("128.5\t7.26\tCH\n55.2\t3.81\tCH2", [(128.5, 7.26, "CH"), (55.2, 3.81, "CH2")]),
    ],
)
def test_pairs_are_read(text: str, wanted: list[Any], tmp_path: Path) -> None:
    (tmp_path / "peaks.txt").write_text(text)
    for given in (text, str(tmp_path / "peaks.txt")):
        one = get("hsqc").read_input(given)
        assert [(peak.position, peak.proton, peak.multiplicity) for peak in one.peaks or ()] == wanted
        assert one.item.tolist() == pytest.approx(np.array([[55.2, 3.81], [128.5, 7.26]]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("abc", "there are no pairs of shifts in 'abc'; give 13C/1H in ppm"),
        ("128.5, 77.1", "there are no pairs of shifts"),
        ("300.1/450.2", "450.2 ppm is no shift of 13C between -50 and 350 ppm"),
        ("128.5/77.2", "77.2 ppm is no shift of 1H between -40 and 40 ppm"),
        ("none.csv", "there is no file none.csv"),
        ("a,b,c,d\n1,2,3.5,4\n2,5,6.5,7", "nothing says which two are the shifts; name them in a first line"),
        ({"c_shifts": [1.0]}, "`c_shifts` and `h_shifts` in ppm are needed"),
        ({"c_shifts": [1.0, 2.0], "h_shifts": [1.0]}, "there are 2 shifts of 13C and 1 of 1H"),
        (
            {"c_shifts": [9.0], "h_shifts": [1.0], "multiplicity": ["CH", "CH"]},
            "there are 2 multiplicities",
        ),
        ([[1.0, 2.0, 3.0]], "it is no list of pairs of shifts"),
        ("1/1 " * 60_000, "it has 240,000 characters"),
        (np.ones((1_001, 2)), "1,001 pairs are more than 1,000"),
    ],
)
def test_what_is_none_is_refused_in_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        get("hsqc").read_input(given) if isinstance(given, str) else get("hsqc").observe(given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_a_spectrometer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecord, match="export the list of its peaks"):
        get("hsqc").read_input(str(tmp_path))


def test_what_is_no_pair_is_named() -> None:
    one = get("hsqc").read_input("7.26/128.5, 77.2, 3.81/55.2")
    assert one.notes == [
        "hsqc: the second shift of each pair is taken for 13C, since it is larger",
        "hsqc: left out '77.2': it is no pair of shifts, 13C/1H",
    ]


def test_pairs_are_assigned_one_to_one_and_then_shared() -> None:
    """Two protons of a CH2 share a carbon; one observed pair is foreign, one predicted pair is missing."""
    shifts = np.array([[20.0, 1.0], [40.0, 2.3], [130.0, 7.2]])
    molecule = CrossPeaks(shifts, np.array([8, 4, 2], np.uint8), np.full((3, 2), (1.0, 0.1)), [[0], [1], [2]])
    observed = observed_of(np.array([[40.1, 2.2], [40.1, 2.4], [80.0, 4.0], [20.5, 1.1]]), None)
    (found,) = assign(observed, [molecule], CrossCosts())
    assert found.pairs == [(0, 1), (1, 1), (3, 0)]
    assert (found.alone_observed, found.alone_predicted) == ([2], [2])
    nothing = CrossPeaks(np.zeros((0, 2)), np.zeros(0, np.uint8))
    scores = log_likelihoods(observed, [molecule, nothing], CrossCosts())
    assert scores == pytest.approx([found.log_likelihood, -4 * CrossCosts().extra])
    edited = observed_of(observed.shifts, ["CH2", "CH2", None, "CH2"])
    assert log_likelihoods(edited, [molecule], CrossCosts())[0] == pytest.approx(
        scores[0] - CrossCosts().contradicted
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("acml-base", spaces=["hsqc"])


def test_numpy_and_torch_give_the_same_numbers(model: Model) -> None:
    card = read_card("acml-base")
    assert answers(card, ["hsqc"])
    assert answers(card, ["hsqc", "c_nmr"])
    ours, kind = ShiftModel(card, ["hsqc"]), get("hsqc")
    items = [kind.read_input(ASKED).item, kind.read([[20.0, 1.0]])]
    assert ours.encode_items("hsqc", items) == pytest.approx(model.encode_items("hsqc", items), abs=1e-6)
    mols = [parse(smiles)[0] for smiles in LIBRARY]
    graphs = [model.featurise(mol) for mol in mols]
    vectors = model.encode_molecules(mols)["hsqc"]
    peaks = {space: ours.predicted_peaks(space, graphs) for space in kind.made_of}
    again = kind.embed_predicted(peaks, card.features("hsqc"))
    assert vectors == pytest.approx(again, abs=1e-4)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)  # water too, which has no pair
    assert set(model.networks) == {"c_nmr", "h_nmr"}
    comparing: Any = reranker("hsqc")
    for one, other in zip(comparing.prepare(ours, mols), comparing.prepare(model, mols), strict=True):
        assert one.shifts == pytest.approx(other.shifts, abs=0.03)
        assert one.atoms == other.atoms


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hsqc")
    spectra = [get("hsqc").read_input(ASKED).record, {"c_shifts": TOLUENE, "h_shifts": [2.3, 7.2, 7.25, 7.2]}]
    rows = [{"smiles": LIBRARY[i], **one} for i, one in zip((0, 4), spectra, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "measured.parquet")
    (folder / "library.smi").write_text("\n".join(LIBRARY) + "\n")
    files = [folder / "library.smi", folder / "measured.parquet"]
    build_index(files, folder / "index", modalities=[], records=["hsqc"], workers=1)
    return folder / "index"


def test_an_index_answers_and_explains(index: Path) -> None:
    assert verify(index) == []
    with acml_search.open_index(index) as opened:
        answer = opened.identify({"hsqc": ASKED}, k=3)
        (first, *_) = answer.lists[0].rows()
        assert first["smiles"] == LIBRARY[0]
        evidence = first["why"]["evidence"]["hsqc"]
        assert len(evidence["matched"]) == 5
        assert all(abs(one["proton_error"]) < 0.5 for one in evidence["matched"])
        (wrong,) = opened.explain({"hsqc": ASKED}, [1]).lists[0].explanations or ()
        found: Any = wrong.evidence["hsqc"]
        assert isinstance(found, Evidence)
        assert len(found.unmatched_protons) == len(found.unmatched_observed) > 0
        assert [one.atoms for one in found.unmatched_predicted] == [[0]]
        assert "¹H" in str(answer) or "113.9/6.84" in str(answer)
        records = opened.search(LIBRARY[4], modality="hsqc", k=1).lists[0]
        assert next(records.rows())["record_carbons"] == sorted(TOLUENE)


def test_an_index_of_before_answers_as_it_did_and_says_what_it_lacks(tmp_path: Path) -> None:
    copy = shutil.copytree(read_card("acml-base").directory, tmp_path / "model")
    now = json.loads((copy / "card.json").read_text())
    before = {**now, "spaces": {name: one for name, one in now["spaces"].items() if name != "hsqc"}}
    (copy / "card.json").write_text(json.dumps(before))
    (tmp_path / "library.smi").write_text("\n".join(LIBRARY) + "\n")
    build_index(tmp_path / "library.smi", tmp_path / "old", modalities=[], model=copy, workers=1)
    lacks = pytest.raises(ConfigError, match="the model acml-base has no space for hsqc; it has")
    with acml_search.open_index(tmp_path / "old") as opened, lacks:
        opened.identify({"hsqc": ASKED})
    (copy / "card.json").write_text(json.dumps(now))
    with acml_search.open_index(tmp_path / "old") as opened:
        assert opened.identify({"c_nmr": "158, 132, 130, 114, 55, 44, 39"}, k=1)
        with pytest.raises(ConfigError, match="this index has no space 'hsqc'; it has"):
            opened.identify({"hsqc": ASKED})
