"""Runs: every format, interrupted and gone on with, features of several spectra, the files that come out."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from acml_search.cli import app
from acml_search.search import batch
from acml_search.search.batch import run
from acml_search.search.pipeline import Index
from acml_search.search.request import Ask

PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"
PEAKS = "65.04 20\n93.03 10\n110.06 100\n"


def mgf(*heads: str) -> str:
    return "".join(f"BEGIN IONS\n{head}\n{PEAKS}END IONS\n\n" for head in heads)


SPECTRA = mgf(
    "FEATURE_ID=1\nPEPMASS=152.0706\nADDUCT=[M+H]+\nRTINSECONDS=61.5",
    "FEATURE_ID=1\nPEPMASS=152.0706\nADDUCT=[M+H]+\nRTINSECONDS=62.0",
    "FEATURE_ID=2\nPEPMASS=617.3186\nADDUCT=[M+H]+",
    "FEATURE_ID=3\nPEPMASS=152.0706\nCHARGE=1-\nIONMODE=positive",
    "FEATURE_ID=4\nPEPMASS=152.0706\nMSLEVEL=1",
)


@pytest.fixture
def spectra(tmp_path: Path) -> Path:
    path = tmp_path / "run.mgf"
    path.write_text(SPECTRA, encoding="utf-8")
    return path


def ask(index: Path, source: Path, *more: str) -> Any:
    return CliRunner().invoke(
        app, ["query", str(index), "--batch", str(source), "--modality", "lc_ms", "-k", "2", *more]
    )


def test_a_row_a_hit_and_a_row_where_there_is_none(spectral_index: Path, spectra: Path) -> None:
    out = spectra.with_suffix(".csv")
    done = ask(spectral_index, spectra, "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert "3 queries; 1 could not be read" in done.stderr
    assert "1 have no candidate" in done.stderr
    assert "1 unreadable: " in done.stderr
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert [(row["feature_id"], row["status"]) for row in rows] == [
        ("1", "answered"), ("2", "nothing fits"), ("3", "unreadable"),
    ]  # fmt: skip
    assert rows[0]["rows"] == "[0, 1]"
    assert (rows[0]["rank"], rows[0]["smiles"]) == ("1", PARACETAMOL)
    assert "no molecule of 616.3113 Da" in rows[1]["message"]
    assert not list(spectra.parent.glob("*.unfinished"))


def test_tables_of_all_kinds_hold_the_same(spectral_index: Path, spectra: Path) -> None:
    for ending in ("csv", "tsv", "parquet", "jsonl", "html"):
        assert ask(spectral_index, spectra, "--out", str(spectra.with_suffix(f".{ending}"))).exit_code == 0
    comma, tab = (
        list(csv.DictReader(spectra.with_suffix(f".{ending}").read_text("utf-8").splitlines(), delimiter=by))
        for ending, by in (("csv", ","), ("tsv", "\t"))
    )
    assert comma == tab
    table = pq.read_table(spectra.with_suffix(".parquet"))
    assert table.column_names == list(comma[0])
    assert table.column("exact_mass").type == pa.float64()
    assert table.column("status").to_pylist() == [row["status"] for row in comma]
    lines = [json.loads(text) for text in spectra.with_suffix(".jsonl").read_text().splitlines()]
    assert ["error" in line for line in lines] == [False, True, True]
    page = spectra.with_suffix(".html").read_text(encoding="utf-8")
    assert "<h2>unreadable" in page
    assert PARACETAMOL in page


def test_an_interrupted_run_goes_on(
    spectral_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "run.mgf", tmp_path / "hits.csv"
    source.write_text(mgf(*(f"FEATURE_ID={i}\nPEPMASS=152.0706\nADDUCT=[M+H]+" for i in range(6))), "utf-8")
    whole = tmp_path / "whole.csv"
    assert ask(spectral_index, source, "--out", str(whole)).exit_code == 0
    answered: list[Any] = []
    identified = batch._identified

    def until_stopped(index: Index, how: Ask, question: Any) -> Any:
        if len(answered) == 4:
            raise KeyboardInterrupt
        answered.append(question.about["row"])
        return identified(index, how, question)

    monkeypatch.setattr(batch, "_identified", until_stopped)
    stopped = ask(spectral_index, source, "--out", str(out))
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    kept = tmp_path / "hits.csv.unfinished"
    kept.write_bytes(kept.read_bytes()[:-7])  # killed while it wrote
    monkeypatch.setattr(batch, "_identified", lambda *a: answered.append(a[2].about["row"]) or identified(*a))
    other = ask(spectral_index, source, "--out", str(out), "--any-mass")
    assert other.exit_code == 1
    assert "keeps the answers of another run" in other.stderr
    done = ask(spectral_index, source, "--out", str(out))
    assert done.exit_code == 0
    assert "going on with the run" in done.stderr
    assert answered == [0, 1, 2, 3, 3, 4, 5]
    assert out.read_bytes() == whole.read_bytes()
    assert not kept.exists()


def test_workers_answer_as_one_process_does(spectral_index: Path, tmp_path: Path) -> None:
    source = tmp_path / "run.mgf"
    source.write_text(mgf(*(f"FEATURE_ID={i}\nPEPMASS=152.0706\nADDUCT=[M+H]+" for i in range(40))), "utf-8")
    found = []
    for n in ("1", "2"):
        out = tmp_path / f"{n}.csv"
        assert ask(spectral_index, source, "--workers", n, "--out", str(out)).exit_code == 0
        found.append(out.read_text())
    assert found[0] == found[1]
    assert found[0].count(PARACETAMOL) == 40


def test_a_folder_a_text_and_stdin_are_runs(spectral_index: Path, tmp_path: Path, spectra: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.mgf", "a.mgf"):
        (folder / name).write_text(SPECTRA, "utf-8")
    (folder / "notes.txt").write_text("nothing", "utf-8")
    lines = [json.loads(text) for text in ask(spectral_index, folder).stdout.splitlines()]
    assert [line["query"]["file"] for line in lines] == ["a.mgf"] * 3 + ["b.mgf"] * 3
    piped = CliRunner().invoke(
        app, ["query", str(spectral_index), "--batch", "-", "--modality", "lc_ms", "-k", "2"], input=SPECTRA
    )
    assert len(piped.stdout.splitlines()) == 3
    printed = tmp_path / "papers.txt"
    printed.write_text(
        "13C NMR (101 MHz, CDCl3) δ 169.1, 153.2, 131.0\n\nno shifts here\n20.1, 55.0\n", "utf-8"
    )
    with (tmp_path / "out").open("w") as out:
        report = run(Index(spectral_index), printed, Ask("c_nmr", 1), out)
    assert (report.queries, report.failed) == (3, 1)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "none of its files holds records of lc_ms" in ask(spectral_index, empty).stderr


# what the specification of mzTab-M 2.0 demands of a file: entries of the metadata, and columns by section
MANDATORY = """
    mzTab-version mzTab-ID software[1] quantification_method study_variable[1] study_variable[1]-assay_refs
    study_variable[1]-description ms_run[1]-location ms_run[1]-scan_polarity[1] assay[1] assay[1]-ms_run_ref
    cv[1]-label cv[1]-full_name cv[1]-version cv[1]-uri database[1] database[1]-prefix database[1]-version
    database[1]-uri small_molecule-quantification_unit small_molecule_feature-quantification_unit
    small_molecule-identification_reliability id_confidence_measure[1]
""".split()  # noqa: SIM905
PARAMETER = re.compile(r"\[[^,\]]*, [^,\]]*, [^,\]]+, [^\]]*\]")


def sections(text: str) -> dict[str, list[dict[str, str]]]:
    """The tables of an mzTab-M file by the prefix of their rows, and that it keeps the form."""
    found: dict[str, list[dict[str, str]]] = {"MTD": [], "SML": [], "SMF": [], "SME": []}
    heads: dict[str, list[str]] = {}
    order = []
    for line in filter(None, text.splitlines()):
        prefix, *cells = line.split("\t")
        order.append(prefix)
        if prefix in ("SMH", "SFH", "SEH"):
            heads[{"SMH": "SML", "SFH": "SMF", "SEH": "SME"}[prefix]] = cells
        elif prefix == "MTD":
            name, value = cells
            found["MTD"].append({"name": name, "value": value})
        elif prefix != "COM":
            assert len(cells) == len(heads[prefix])
            assert all(cells), "an empty cell is `null`"
            found[prefix].append(dict(zip(heads[prefix], cells, strict=True)))
    assert [one for one in dict.fromkeys(order) if one != "COM"][:2] == ["MTD", "SMH"]
    return found


def test_mztab_keeps_the_specification(spectral_index: Path, spectra: Path) -> None:
    out = spectra.with_suffix(".mztab")
    assert ask(spectral_index, spectra, "--out", str(out)).exit_code == 0
    found = sections(out.read_text(encoding="utf-8"))
    metadata = {one["name"]: one["value"] for one in found["MTD"]}
    assert [name for name in MANDATORY if name not in metadata] == []
    assert metadata["mzTab-version"] == "2.0.0-M"
    for name in ("software[1]", "quantification_method", "database[1]", "id_confidence_measure[1]"):
        assert PARAMETER.fullmatch(metadata[name]), metadata[name]
    evidence = {one["SME_ID"]: one for one in found["SME"]}
    features = {one["SMF_ID"]: one for one in found["SMF"]}
    assert len(evidence) == len(found["SME"])
    for small in found["SML"]:
        for feature in small["SMF_ID_REFS"].split("|"):
            refs = features[feature]["SME_ID_REFS"].split("|")
            assert {evidence[ref]["evidence_input_id"] for ref in refs} == {feature}
            assert [evidence[ref]["rank"] for ref in refs] == [str(i + 1) for i in range(len(refs))]
            assert (features[feature]["SME_ID_REF_ambiguity_code"] == "null") == (len(refs) == 1)
    (first,) = [one for one in found["SME"] if one["evidence_input_id"] == "1" and one["rank"] == "1"]
    assert first["spectra_ref"] == "ms_run[1]:index=0|ms_run[1]:index=1"
    assert (first["adduct_ion"], first["charge"], first["exp_mass_to_charge"]) == ("[M+H]+", "1", "152.0706")
    assert abs(float(first["theoretical_mass_to_charge"]) - 152.0706) < 1e-3
    assert first["inchi"].startswith("InChI=1S/C8H9NO2/")
    assert found["SMF"][0]["retention_time_in_seconds"] == "61.5"
    assert found["SML"][0]["reliability"] == "3"
    carbon = spectra.with_name("c.txt")
    carbon.write_text("20.1, 55.0\n", "utf-8")
    refused = CliRunner().invoke(
        app,
        ["query", str(spectral_index), "--batch", str(carbon), "--modality", "c_nmr", "--out", str(out)],
    )
    assert refused.exit_code == 1
    assert "mzTab-M holds MS/MS results" in refused.stderr
