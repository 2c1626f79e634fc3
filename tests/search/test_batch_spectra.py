"""A batch of spectra asks with the spectra, and never with what is written beside them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from nmr_files import ETHYL_ACETATE_C, bruker, spectrum
from typer.testing import CliRunner

from acml_search.chem.adducts import LIKELY_ADDUCTS
from acml_search.cli import app
from acml_search.core.errors import ConfigError, NoCandidates
from acml_search.search.batch import BatchReport, asks_with_records, run
from acml_search.search.pipeline import Index
from acml_search.search.request import Ask

NMR = Path(__file__).parents[1] / "cases" / "nmr"
PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"
PEAKS = "65.04 20\n93.03 10\n110.06 100\nEND IONS\n"
SPECTRA = "".join(
    f"BEGIN IONS\n{head}\n{PEAKS}"
    for head in (
        "PEPMASS=152.0706\nCHARGE=1+\nSMILES=CCO",
        "PEPMASS=152.0706\nMSLEVEL=1",
        "PEPMASS=152.0706\nCHARGE=1-\nIONMODE=positive",
        "PEPMASS=617.3186\nCHARGE=1+",
        "PEPMASS=152.0706\nIONMODE=positive",
    )
)


@pytest.fixture
def opened(spectral_index: Path) -> Index:
    return Index(spectral_index)


def lines(
    opened: Index, path: Path, modality: str | None = "lc_ms", **more: Any
) -> tuple[BatchReport, list[Any]]:
    out = io.StringIO()
    report = run(opened, path, Ask(modality, 2, rerank=False, **more), out)
    return report, [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("modality", ["lc_ms", None])
@pytest.mark.parametrize("name", ["x.mgf", "x.MGF", "spectra.txt", "noending"])
def test_spectra_are_the_question(tmp_path: Path, opened: Index, name: str, modality: str | None) -> None:
    path = tmp_path / name
    path.write_text(SPECTRA, encoding="utf-8")
    assert asks_with_records(path, "lc_ms")
    report, (first, wrong, empty, likely) = lines(opened, path, modality)
    assert report.taken_as == (None if modality else "lc_ms")
    assert report == BatchReport(queries=4, failed=1, empty=1, passed_over=1)
    assert [one["smiles"] for one in first["lists"][0]["hits"]] == [PARACETAMOL]
    assert first["query"]["about"]["smiles"] == "CCO"
    assert "IONMODE=positive and CHARGE=1- contradict each other" in wrong["error"]
    assert wrong["query"]["row"] == 2
    assert "no molecule of 616.3113 Da ± 10 ppm" in empty["error"]
    assert "as [M+H]+, taken from CHARGE=1+); --adduct names another ion, --any-mass" in empty["error"]
    assert any("taken as [M+H]+" in note for note in empty["notes"])
    (hit,) = [one for one in likely["lists"][0]["hits"] if one["smiles"] == PARACETAMOL]
    assert hit["why"]["adduct"] == "[M+H]+"
    assert abs(hit["why"]["mass_error_ppm"]) < 10
    named, _ = lines(opened, path, adduct="[M+H]+", by_precursor=False)
    assert named == BatchReport(queries=4, failed=0, empty=0, passed_over=1)


def test_a_file_of_ei_spectra_says_so(tmp_path: Path, opened: Index) -> None:
    ei = "Spectrum_type: EI\nNum Peaks: 3\n109 100; 151 60; 80 20\n"
    (tmp_path / "a.msp").write_text(f"Name: a\n{ei}\nName: b\n{ei}", encoding="utf-8")
    with pytest.raises(ConfigError, match="the model spectral has no space for gc_ms"):
        lines(opened, tmp_path, None)
    shutil.copy(NMR / "peaktable.jdx", tmp_path / "A.jdx")
    with pytest.raises(ConfigError, match="it holds NMR spectra; --modality c_nmr or h_nmr says"):
        lines(opened, tmp_path / "A.jdx", None)


def test_parquet_is_parquet_whatever_its_ending(tmp_path: Path, opened: Index) -> None:
    import pyarrow as pa

    table = pa.table({"smiles": [PARACETAMOL], "shifts": [[18.1, 57.9]]})
    found = []
    for name in ("a.parquet", "a.PARQUET", "a.pq", "a"):
        pq.write_table(table, tmp_path / name)
        assert asks_with_records(tmp_path / name, "c_nmr")
        found.append(lines(opened, tmp_path / name, "c_nmr")[1][0])
    assert len({json.dumps(one["lists"]) for one in found}) == 1
    assert found[0]["query"]["about"] == {"smiles": PARACETAMOL}


@pytest.mark.parametrize(
    ("modality", "says"),
    [
        (None, "it holds spectra; ask with them by --modality lc_ms or gc_ms"),
        ("smiles", "it holds spectra; ask with them by --modality"),
        ("c_nmr", "it holds no c_nmr that can be asked in a batch; give a Parquet of records"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, modality: str | None, says: str) -> None:
    (tmp_path / "x.mgf").write_text(SPECTRA, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        asks_with_records(tmp_path / "x.mgf", modality)
    (tmp_path / "x.smi").write_text("CCO\n", encoding="utf-8")
    assert not asks_with_records(tmp_path / "x.smi", modality)


def test_notes_are_printed_when_nothing_passes(tmp_path: Path, spectral_index: Path, opened: Index) -> None:
    path = tmp_path / "x.mgf"
    path.write_text(SPECTRA, encoding="utf-8")
    for more in ((), ("--json",)):
        asked = ["query", str(spectral_index), "--lc-ms", f"{path}#4", *more]
        done = CliRunner().invoke(app, asked)
        assert (done.exit_code, done.stdout) == (1, "")
        first, second = done.stderr.splitlines()
        assert first == "acml-search: lc_ms: taken as [M+H]+, for CHARGE=1+; --adduct names another"
        assert "precursor m/z 617.3186 as [M+H]+, taken from CHARGE=1+" in second
    with pytest.raises(NoCandidates, match=r"no molecule of 616\.3113 Da ± 10 ppm with elements Br present"):
        opened.identify({"lc_ms": f"{path}#4"}, elements_required="Br")
    done = CliRunner().invoke(
        app, ["query", str(spectral_index), "--c-nmr", "20", "--out", str(tmp_path / "x.xlsx")]
    )
    assert done.exit_code == 2


def test_a_folder_and_an_archive_of_nmr_are_the_questions(tmp_path: Path, opened: Index) -> None:
    carbon = spectrum(ETHYL_ACETATE_C, 220.0, -20.0, 100.6, 8192, 3.0)
    for name, nucleus, mhz in (("9", "13C", 100.6), ("10", "1H", 400.0), ("11", "13C", 100.6)):
        bruker(
            tmp_path / "d" / name, processed=carbon, nucleus=nucleus, mhz=mhz, sweep=240 * mhz, centre=100.0
        )
    (tmp_path / "d" / "11" / "pdata" / "1" / "1r").write_bytes(b"cut off")
    archive = shutil.make_archive(str(tmp_path / "d"), "zip", tmp_path / "d")
    for path in (tmp_path / "d", Path(archive)):
        assert asks_with_records(path, "c_nmr")
        report, (first, broken) = lines(opened, path, "c_nmr")
        assert report == BatchReport(queries=2, failed=1, empty=0, passed_over=1)
        assert first["query"]["about"]["place"] == "9"
        assert any("4 peaks picked from the curve" in note for note in first["notes"])
        assert "11: its 1r has" in broken["error"]


def test_an_sd_file_with_shifts_asks_with_them_where_nmr_is_asked_for(tmp_path: Path, opened: Index) -> None:
    structure, shifts = ((NMR / name).read_text("utf-8") for name in ("structure.sdf", "nmredata.sdf"))
    path = tmp_path / "library.sdf"
    path.write_text(structure, "utf-8")
    assert not asks_with_records(path, "c_nmr")
    path.write_text(f"{structure.rstrip()}\n$$$$\n{shifts}", "utf-8")
    assert not asks_with_records(path, None)
    assert asks_with_records(path, "c_nmr")
    report, (none, found) = lines(opened, path, "c_nmr")
    assert report == BatchReport(queries=2, failed=1)
    assert "this is a structure, not a list of peaks" in none["error"]
    assert found["query"]["observations"][0]["modality"] == "c_nmr"


def test_a_rare_ion_needs_a_better_spectrum_than_a_usual_one(tmp_path: Path, opened: Index) -> None:
    path = tmp_path / "x.mgf"
    path.write_text(SPECTRA, encoding="utf-8")
    hits = opened.identify({"lc_ms": f"{path}#5"}, rerank=False).lists[0]
    for i in range(len(hits)):
        why = hits.explanation(i)
        assert why.logits["adduct"] == LIKELY_ADDUCTS["+"][str(why.adduct)]
        assert hits.hits.scores[0, i] == pytest.approx(sum(why.logits.values()))
    assert len(hits)
    named = opened.identify({"lc_ms": f"{path}#1"}, rerank=False).lists[0]
    assert list(named.explanation(0).logits) == ["lc_ms"]
