"""What a user holds, read or refused: texts and files, adducts that help or not, several of one kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import acml_search
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.modalities import get
from acml_search.nmr.sources import nmr_peaks
from acml_search.search.pipeline import Index
from acml_search.search.request import read_observations

SHIFTS = "168.1, 153.2, 130.9, 121.2, 115.0, 23.9"
LONG = "1H NMR (400 MHz, CDCl3) δ " + ", ".join(
    f"{9 - i / 10:.2f} (d, J = 8.{i % 10} Hz, 1H)" for i in range(40)
)
MGF = """BEGIN IONS
PEPMASS=152.0706
{more}
65.04 20
93.03 10
110.06 100
END IONS
"""


def positions(given: str) -> list[float]:
    return [peak.position for peak in nmr_peaks(given, "c_nmr")]


def mgf(folder: Path, *headers: str, name: str = "x.mgf") -> str:
    path = folder / name
    path.write_text(MGF.format(more="\n".join(headers)), encoding="utf-8")
    return str(path)


@pytest.fixture
def opened(spectral_index: Path) -> Index:
    return acml_search.open_index(spectral_index)


class TestNmr:
    def test_a_line_longer_than_a_file_name_is_a_line(self) -> None:
        assert len(LONG) > 255
        for text in (LONG, LONG[:990]):
            assert len(nmr_peaks(text, "h_nmr")) > 20

    @pytest.mark.parametrize("name", ["45.txt", "120.5.txt", "NMR 2.csv", "data/spectrum1.dat", "7_13C.PDF"])
    def test_a_file_that_is_not_there_is_not_taken_for_shifts(self, name: str) -> None:
        with pytest.raises(InvalidRecord, match=re.escape(f"there is no file {name}")):
            nmr_peaks(name, "c_nmr")

    def test_a_folder_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "45").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidRecord, match="45: it is a folder without NMR data"):
            nmr_peaks("45", "c_nmr")

    @pytest.mark.parametrize("text", ["45", "45.5", "45.5, 20", 'δ 151.2, 23.9"', '"168.1, 23.9"', " 23.9 "])
    def test_shifts_are_shifts(self, text: str) -> None:
        assert positions(text) == [float(x) for x in re.findall(r"[\d.]+", text)]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_text_files_of_windows_are_read(self, tmp_path: Path, encoding: str) -> None:
        path = tmp_path / "1.txt"
        path.write_text(f"δ {SHIFTS}", encoding=encoding)
        assert positions(str(path)) == positions(SHIFTS)

    def test_another_encoding_says_what_to_do(self, tmp_path: Path) -> None:
        path = tmp_path / "1.txt"
        path.write_bytes("δ 1,2 – Ä".encode()[:-1] + b"\xe4 23.9")
        with pytest.raises(InvalidRecord, match=r"1\.txt is no text in UTF-8 .* save it as plain text"):
            positions(str(path))

    def test_a_table_gives_its_column_and_names_its_file_where_it_cannot(self, tmp_path: Path) -> None:
        path = tmp_path / "1.csv"
        path.write_text("ppm,intensity\n169.81,0.34\n151.20,0.22\n20.90,0.9\n")
        assert positions(str(path)) == [169.81, 151.2, 20.9]
        path.write_text("169.81,0.34\n151.20,0.22\n20.90,0.9\n")
        with pytest.raises(InvalidRecord, match=r"1\.csv: its 3 lines have 2 numbers each"):
            positions(str(path))

    def test_jcamp_under_another_name_is_read_as_what_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "1.txt"
        path.write_text("##TITLE=x\n##JCAMP-DX=5.01\n##PEAK TABLE=(XY..XY)\n21.5,2\n##END=")
        assert positions(str(path)) == [21.5]
        with pytest.raises(InvalidRecord, match="it is JCAMP-DX; give it as a file"):
            positions(path.read_text())


class TestAdduct:
    def test_the_one_that_was_named_is_the_one_that_is_told(self, tmp_path: Path) -> None:
        path = mgf(tmp_path, "CHARGE=1+")
        assumed, named = get("lc_ms").read_input(path), get("lc_ms").read_input(path, "[M+Na]+")
        assert (assumed.to_dict()["adduct"], named.to_dict()["adduct"]) == ("[M+H]+", "[M+Na]+")
        assert named.neutral_mass == pytest.approx(152.0706 - 22.98922, abs=1e-4)

    def test_it_is_that_of_a_record_as_well(self, opened: Index) -> None:
        record = {"mzs": [65.04, 110.06], "intensities": [1.0, 2.0], "precursor_mz": 152.0706}
        answer = opened.identify({"lc_ms": record}, adduct="[M+H]+", k=1)
        assert answer.query["observations"][0]["neutral_mass"] == pytest.approx(151.0633, abs=1e-3)
        with pytest.raises(InvalidRecord, match="is not understood"):
            opened.identify({"lc_ms": record}, adduct="[M+Foo]+")

    def test_a_charge_without_a_sign_leaves_two_ions(self, tmp_path: Path, opened: Index) -> None:
        path = mgf(tmp_path, "CHARGE=1")
        read = get("lc_ms").read_input(path)
        assert read.neutral_mass is None
        assert dict(read.masses) == {
            "[M+H]+": pytest.approx(151.0633, abs=1e-4), "[M-H]-": pytest.approx(153.0779, abs=1e-4)
        }  # fmt: skip
        (hit,) = opened.identify({"lc_ms": path}, k=1, rerank=False).lists[0].rows()
        assert (hit["smiles"], hit["why"]["adduct"]) == ("CC(=O)Nc1ccc(O)cc1", "[M+H]+")

    def test_a_charge_of_none_says_nothing(self, tmp_path: Path) -> None:
        read = get("lc_ms").read_input(mgf(tmp_path, "CHARGE=0+"))
        assert (read.neutral_mass, read.notes) == (None, [])

    def test_one_that_is_not_understood_is_a_note(self, tmp_path: Path, opened: Index) -> None:
        path = mgf(tmp_path, "ADDUCT=[M+Foo]+")
        answer = opened.identify({"lc_ms": path}, k=3, rerank=False)
        assert len(answer.lists[0]) == 3
        first, second, _ = answer.notes
        assert "'[M+Foo]+' is not understood" in first
        assert second.endswith("candidates of any mass compete; name another with --adduct")
        with pytest.raises(InvalidRecord, match=r"'\[M\+Foo\]\+' is not understood"):
            opened.identify({"lc_ms": path}, adduct="[M+Foo]+")

    @pytest.mark.parametrize("conditions", [{"mass": 151.0633}, {"formula": "C8H9NO2"}])
    def test_who_gives_a_mass_is_not_asked_for_one(
        self, tmp_path: Path, opened: Index, conditions: dict[str, Any]
    ) -> None:
        path = mgf(tmp_path)
        assert any("any mass" in note for note in opened.identify({"lc_ms": path}, k=1).notes)
        notes = opened.identify({"lc_ms": path}, k=1, **conditions).notes
        assert not any("any mass" in note for note in notes)

    def test_a_contradiction_is_said(self, tmp_path: Path) -> None:
        path = mgf(tmp_path, "ADDUCT=[M-H]-", "IONMODE=positive")
        with pytest.raises(InvalidRecord, match=r"x\.mgf#1: ADDUCT=\[M-H\]- and IONMODE=positive contradict"):
            get("lc_ms").read_input(path)
        named = get("lc_ms").read_input(path, "[M-H]-")
        assert (named.neutral_mass, named.notes) == (pytest.approx(153.0779, abs=1e-4), [])
        record = {"mzs": [65.04], "intensities": [1.0], "precursor_mz": 152.0706, "ion_mode": "-"}
        with pytest.raises(InvalidRecord, match=r"\[M\+H\]\+ and the stated negative mode contradict"):
            get("lc_ms").observe({**record, "adduct": "[M+H]+"})
        (note,) = get("lc_ms").observe(record, adduct="[M+H]+").notes
        assert "contradict each other; the adduct counts" in note

    def test_a_missing_precursor_of_a_table_is_none(self) -> None:
        record = {"mzs": [65.04, 110.06], "intensities": [1.0, 2.0], "precursor_mz": float("nan")}
        read = get("lc_ms").observe({**record, "adduct": "[M+H]+"})
        assert read.neutral_mass is None
        assert "precursor_mz" not in read.to_dict()


def test_several_spectra_of_one_kind_are_averaged(tmp_path: Path, opened: Index) -> None:
    texts = (SHIFTS, "29.8, 130.9, 170.2")
    model = opened._pipeline.loaded()
    vectors = model.encode_records("c_nmr", [{"shifts": positions(text)} for text in texts])
    mean = vectors.mean(axis=0) / np.linalg.norm(vectors.mean(axis=0))
    (both,) = opened.identify({"c_nmr": list(texts)}, k=5, rerank=False).lists
    side = opened._directory.vectors("c_nmr", "graph")
    scores = sorted((side.stored(np.arange(side.n)) @ mean).tolist(), reverse=True)
    assert both.hits.scores[0] == pytest.approx(scores[:5], abs=1e-3)
    answer = opened.identify({"c_nmr": list(texts)}, k=1)
    assert [one["given"] for one in answer.query["observations"]] == list(texts)


class TestExplain:
    def test_a_rank_is_the_true_one_or_none(self, opened: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = {"c_nmr": SHIFTS}
        every = [row["key"] for row in opened.identify(asked, k=len(opened), rerank=False).lists[0].rows()]
        known = opened.explain(asked, [every[30], every[2]], rerank=False).lists[0]
        assert [(row["key"], row["rank"]) for row in known.rows()] == [(every[2], 3), (every[30], 31)]
        monkeypatch.setattr("acml_search.search.pipeline.CANDIDATES", 10)
        answer = opened.explain(asked, [every[30], every[2]], rerank=False)
        assert [row["rank"] for row in answer.lists[0].rows()] == [3, None]
        assert any(str(every[30]) in note and "without a rank" in note for note in answer.notes)
        assert answer.to_arrow().column("rank").to_pylist() == [3, None]
        assert str(every[30]) in str(answer)

    def test_a_key_of_no_molecule_is_refused_whatever_its_size(self, opened: Index) -> None:
        for key in (10**20, -1, 10**6):
            with pytest.raises(ConfigError, match=f"no molecule {key}; keys are in the answers"):
                opened.explain({"c_nmr": SHIFTS}, [key])


def test_only_the_first_candidates_are_compared_however_many_are_asked_for(reranking: Index) -> None:
    rows = list(reranking.identify({"c_nmr": SHIFTS}, k=12, rerank_depth=5).lists[0].rows())
    assert ["evidence" in row["why"] for row in rows] == [True] * 5 + [False] * 7
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_shifts_records_and_paths_are_observations_too(tmp_path: Path, opened: Index) -> None:
    path = tmp_path / "carbon.txt"
    path.write_text(SHIFTS, encoding="utf-8")
    shifts = [float(x) for x in SHIFTS.split(", ")]
    same = [SHIFTS, shifts, np.array(shifts), {"shifts": shifts}, path, [path], [{"shifts": shifts}]]
    found = [opened.identify({"c_nmr": one}, k=3, rerank=False).lists[0].hits.scores for one in same]
    for scores in found:
        assert scores[0] == pytest.approx(found[0][0], abs=1e-6)
    for wrong in (SHIFTS, [SHIFTS]):
        with pytest.raises(ConfigError, match="observations are given by modality, such as"):
            opened.identify(wrong)  # type: ignore[arg-type]


def test_an_array_or_a_list_of_numbers_is_one_observation() -> None:
    pixels = np.zeros((40, 50), np.uint8)
    pixels[10:30, 10:40] = 255
    png = get("image").example(np.random.default_rng(7))
    assert len(read_observations({"image": pixels})) == 1
    assert len(read_observations({"image": png})) == 1
    assert len(read_observations({"image": [png, pixels]})) == 2
    for shifts in (np.array([20.5, 7.25]), (20.5, 7.25), [20.5, 7.25]):
        (one,) = read_observations({"c_nmr": shifts})
        assert [peak.position for peak in one.peaks or ()] == [7.25, 20.5]
