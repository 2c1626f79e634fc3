"""Measured records in libraries: of which modality, whose, and what is said of those that cannot be read."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem
from spectra_files import SPECTRA, msp

from acml_search import modalities
from acml_search.core.errors import ConfigError, InvalidRecord, LibraryError, UnknownModality
from acml_search.library.observed import MAX_PEAKS, Observed, modality_of, structure_of
from acml_search.library.source import Row
from acml_search.library.stream import Library, open_library

MASSES = ["smiles", "mzs", "intensities"]


def rows_of(library: Library) -> list[Row]:
    return [row for batch in library.batches(3) for row in batch]


@pytest.mark.parametrize(
    ("columns", "named", "found"),
    [
        (["smiles", "name"], [], None),
        (["smiles", "name"], ["c_nmr"], None),
        (["smiles", "mzs"], [], None),
        (MASSES, [], "gc_ms"),
        ([*MASSES, "precursor_mz"], [], "lc_ms"),
        ([*MASSES, "precursor_mz"], ["gc_ms"], "gc_ms"),
        ([*MASSES, "precursor_mz"], ["c_nmr"], "lc_ms"),
        (["smiles", "shifts"], ["c_nmr", "lc_ms"], "c_nmr"),
        ([*MASSES, "shifts"], ["h_nmr"], "h_nmr"),
    ],
)
def test_columns_tell_the_modality(columns: list[str], named: list[str], found: str | None) -> None:
    assert modality_of(Path("x.parquet"), columns, named) == found


@pytest.mark.parametrize(
    ("columns", "named", "asked"),
    [
        (["smiles", "shifts"], [], "c_nmr or h_nmr"),
        (["smiles", "shifts"], ["lc_ms"], "c_nmr or h_nmr"),
        (["smiles", "shifts"], ["c_nmr", "h_nmr"], "c_nmr or h_nmr"),
        (MASSES, ["lc_ms", "gc_ms"], "gc_ms or lc_ms"),
        ([*MASSES, "shifts"], [], "c_nmr or gc_ms or h_nmr or lc_ms"),
    ],
)
def test_columns_that_leave_it_open(columns: list[str], named: list[str], asked: str) -> None:
    with pytest.raises(LibraryError, match=rf"^x\.parquet: .* may be records of {asked}; .* --records$"):
        modality_of(Path("x.parquet"), columns, named)


@pytest.mark.parametrize(
    ("about", "smiles"),
    [
        ({"SMILES": "CCO"}, "CCO"),
        ({"smiles": " CCO ", "InChI": "InChI=1S/CH4/h1H4"}, "CCO"),
        ({"Canonical SMILES": "CCO"}, "CCO"),
        ({"SMILES": "N/A", "INCHI": "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"}, "CCO"),
        ({"inchi": '"1S/C2H6O/c1-2-3/h3H,2H2,1H3"'}, "CCO"),
        ({"Comments": '"author=X" "SMILES=CCO" "collision energy=10"'}, "CCO"),
        ({"Comment": "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"}, "CCO"),
    ],
)
def test_whose_a_spectrum_is(about: dict[str, Any], smiles: str) -> None:
    text, error = structure_of(about)
    assert error is None
    assert Chem.CanonSmiles(text) == smiles


def test_a_spectrum_of_nobody() -> None:
    assert structure_of({"SMILES": "", "Name": "x", "InChI": None}) == (
        "",
        "the spectrum states no structure (no SMILES and no InChI)",
    )
    text, error = structure_of({"INCHI": "InChI=1S/nonsense"})
    assert text == "InChI=1S/nonsense"
    assert error is not None
    assert "InChI" in error


@pytest.mark.parametrize("ending", [".msp", ".msp.gz", ".MSP"])
def test_an_msp_library(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"toy{ending}"
    text = msp(SPECTRA).encode()
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    library = open_library(path, records=())
    assert library.measured == ["lc_ms"]
    assert library.metadata_types["precursor_mz"] == pa.float64()
    names = ["precursor_mz", "adduct", "collision_energy", "Name", "Precursor_type", "DB#"]
    assert library.metadata_columns == names
    rows = rows_of(library)
    assert [row.row for row in rows] == list(range(8))
    assert [row.text for row in rows if row.error is None] == [
        smiles for n, (smiles, _, _) in enumerate(SPECTRA) if n not in (3, 5)
    ]
    assert rows[3].text == f"{path}#4"
    assert rows[5].text == f"{path}#6"
    assert rows[5].error is not None
    assert "zero" in rows[5].error
    observed = rows[6].observed
    assert observed is not None
    assert (observed.modality, observed.file, observed.number) == ("lc_ms", str(path), 7)
    assert observed.record["mzs"].tolist() == [39.02, 65.04, 94.04]
    assert observed.record["precursor_mz"] == 106.5
    assert rows[6].metadata["Name"] == "phenol"
    assert rows[6].metadata["collision_energy"] == "60 eV"
    assert library.fraction() == 1.0


def test_an_mgf_library_beside_structures(tmp_path: Path) -> None:
    mgf, smi = tmp_path / "a.mgf", tmp_path / "b.smi"
    mgf.write_text(
        "BEGIN IONS\nTITLE=first\nPEPMASS=47.05\nCHARGE=1+\nSMILES=CCO\n31.0 5\n45.0 9\nEND IONS\n\n"
        "BEGIN IONS\nTITLE=second\nPEPMASS=46.06\nSMILES=CCN\n30.0 x\nEND IONS\n"
    )
    smi.write_text("CCC propane\n")
    library = open_library([smi, mgf], records=("lc_ms",))
    first, second, third = rows_of(library)
    assert first.observed is None
    assert second.observed is not None
    assert second.observed.record["precursor_mz"] == 47.05
    assert third.error is not None
    assert third.observed is None
    # as structures alone, by default, the same rows without records, and another digest
    plain = open_library([smi, mgf])
    assert plain.measured == []
    assert [row.observed for row in rows_of(plain)] == [None] * 3
    assert [row.text for row in rows_of(plain)] == [row.text for row in (first, second, third)]
    assert plain.digest() != library.digest()


def test_spectra_without_precursors_are_gc_ms(tmp_path: Path) -> None:
    path = tmp_path / "ei.msp"
    path.write_text("Name: ethanol\nSMILES: CCO\nNum Peaks: 2\n31 999\n45 500\n")
    assert open_library(path, records=()).measured == ["gc_ms"]
    assert open_library(path, records=("lc_ms",)).measured == ["lc_ms"]


def test_a_parquet_is_read_as_it_was_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"smiles": ["CCO"], "shifts": [[18.1, 57.8]], "id": ["a"]}), path)
    (row,) = rows_of(open_library(path))
    assert row.metadata == {"shifts": [18.1, 57.8], "id": "a"}
    assert row.observed is None
    (row,) = rows_of(open_library(path, records=("c_nmr",)))
    assert row.metadata == {"id": "a"}
    assert row.observed is not None
    assert {name: values.tolist() for name, values in row.observed.record.items()} == {"shifts": [18.1, 57.8]}
    assert row.observed.number == 1


def test_names_that_make_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "x.smi"
    path.write_text("CCO\n")
    with pytest.raises(UnknownModality):
        open_library(path, records=("smell",))
    with pytest.raises(ConfigError, match="--modalities"):
        open_library(path, records=("image",))
    with pytest.raises(ConfigError, match="a list of names"):
        open_library(path, records="c_nmr")
    with pytest.raises(ConfigError, match="no file of the library holds records of c_nmr"):
        open_library(path, records=("c_nmr",))


def test_a_file_that_is_no_spectral_library(tmp_path: Path) -> None:
    path = tmp_path / "x.msp"
    path.write_text("BEGIN IONS\nPEPMASS=1\n1 1\nEND IONS\n")
    with pytest.raises(LibraryError, match="MGF"):
        open_library(path)
    with pytest.raises(LibraryError, match="no such file"):
        open_library(tmp_path / "gone.mgf")


def test_of_many_peaks_the_strongest_are_taken() -> None:
    rng = np.random.default_rng(0)
    record = {
        "mzs": np.arange(50_000.0).tolist(),
        "intensities": rng.random(50_000).tolist(),
        "adduct": "[M+H]+",
    }
    small = Observed.of("lc_ms", record, Path("x.mgf"), 1).record
    assert small["adduct"] == "[M+H]+"
    assert len(small["mzs"]) == len(small["intensities"]) == MAX_PEAKS
    assert small["intensities"].min() == np.sort(record["intensities"])[-MAX_PEAKS]
    assert [record["intensities"][int(mz)] for mz in small["mzs"]] == small["intensities"].tolist()


@pytest.mark.parametrize(
    "record",
    [
        {"mzs": [1.0] * 2_000, "intensities": [float("nan")] * 2_000},
        {"mzs": [1.0] * 2_000, "intensities": [1.0] * 1_999},
        {"mzs": ["x"], "intensities": [1.0]},
        {"mzs": None, "intensities": None},
        {},
    ],
)
def test_what_is_wrong_with_a_record_is_left_for_its_modality_to_tell(record: dict[str, Any]) -> None:
    observed = Observed.of("lc_ms", record, Path("x.parquet"), 1)
    with pytest.raises(InvalidRecord):
        modalities.get("lc_ms").read(observed.record)
