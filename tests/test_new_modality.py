"""A new modality is one file: infrared, in a package of its own, works in every command."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

INFRARED = '''
"""Infrared spectra: absorbance by wavenumber."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from acml_search.core.errors import InvalidRecord
from acml_search.modalities import Modality, Observation, Option, register

GRID = np.arange(500.0, 4000.0, 10.0)


@register("ir")
class Infrared(Modality):
    """Shape: (350,) float32 absorbance from 500 to 3990 cm-1, the largest 1."""

    title = "IR"
    unit = "cm-1"
    decimals = 0
    descending = True
    option = Option("--ir", "FILE", "Infrared spectrum: a wavenumber (cm-1) and an absorbance per line.")
    columns = ("wavenumber", "absorbance")
    tiny_config: ClassVar[dict[str, Any]] = {"width": 16}

    def read(self, record: Any) -> np.ndarray:
        try:
            if isinstance(record, dict):
                x, y = (np.asarray(record[name], float) for name in self.columns)
            else:
                y = np.asarray(record, float)
                x = np.linspace(GRID[0], GRID[-1], len(y))
            found = np.interp(GRID, x, y).astype(np.float32)
            return found / found.max()
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidRecord(f"it is no infrared spectrum ({error})", modality=self.name) from None

    def read_input(self, given: str, adduct: str | None = None) -> Observation:
        try:
            x, y = np.loadtxt(given, ndmin=2).T
        except (OSError, ValueError) as error:
            raise InvalidRecord(f"{given} cannot be read ({error})", modality=self.name) from None
        return self.observe({"wavenumber": x.tolist(), "absorbance": y.tolist()}, given)

    def collate(self, items: Any) -> np.ndarray:
        return np.stack(items)

    def encoder(self, width: int) -> Any:
        from torch import nn

        encoder = nn.Sequential(nn.Linear(len(GRID), width), nn.ReLU())
        encoder.width = width
        return encoder

    def example(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"wavenumber": GRID.tolist(), "absorbance": rng.random(len(GRID)).tolist()}
'''
MODEL = """
import sys, torch
from pathlib import Path
from acml_search import modalities
from acml_search.encoders.checkpoint import DualEncoder, save_model
torch.manual_seed(7)
sides = {"head": {"hidden": 16, "d": 16}, "projection": {"hidden": 16, "d": 16}}
spaces = {name: {**sides, "encoder": modalities.get(name).tiny_config} for name in ("ir", "smiles")}
hyper = {"trunk": {"width": 16, "hidden": 16, "layers": 2}, "spaces": spaces}
scales = {"ir": 14.0, "smiles": 14.0}
save_model(Path(sys.argv[1]), "tiny", DualEncoder(hyper), hyper, scales, {"data": "none"})
"""
COMMANDS = """
import json, sys
from typer.testing import CliRunner
from acml_search.cli import app
results = []
for arguments in json.load(sys.stdin):
    done = CliRunner().invoke(app, arguments)
    problem = repr(done.exception) if done.exit_code else ""
    results.append([done.exit_code, done.stdout, done.stderr + problem])
print(json.dumps(results))
"""
PYTHON = """
import json, sys
import acml_search
index = acml_search.open_index("index")
record = json.load(open("record.json"))
given = [record["absorbance"], record, "spectrum.txt"]
print(json.dumps([[r["key"] for r in index.identify({"ir": one}, k=3).lists[0].rows()] for one in given]))
"""
LIBRARY = ["CCO", "CCN", "c1ccccc1", "CC(=O)O", "CCOC(C)=O", "CC(C)=O", "Cc1ccccc1", "CCCCO"]


def spectrum(i: int) -> dict[str, list[float]]:
    wavenumbers = [500.0 + 10 * j for j in range(350)]
    return {
        "wavenumber": wavenumbers,
        "absorbance": [1.0 / (1 + abs(x - 900 - 300 * i) / 40) for x in wavenumbers],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package `acml_ir` beside a model, a library of spectra and one spectrum."""
    folder = tmp_path_factory.mktemp("infrared")
    (folder / "acml_ir.py").write_text(INFRARED)
    about = folder / "acml_ir-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acml-ir\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[acml_search.modalities]\nir = acml_ir\n")
    table = pa.Table.from_pylist([{"smiles": smiles, **spectrum(i)} for i, smiles in enumerate(LIBRARY)])
    pq.write_table(table, folder / "ir.parquet")
    one = spectrum(2)
    lines = [f"{x} {y}" for x, y in zip(one["wavenumber"], one["absorbance"], strict=True)]
    (folder / "spectrum.txt").write_text("\n".join(lines))
    (folder / "record.json").write_text(json.dumps(one))
    python(folder, MODEL, "model")
    return folder


def python(folder: Path, script: str, *arguments: str, given: str = "") -> str:
    """What a script prints that runs in `folder` with its package installed."""
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "120"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, tuple[int, str, str]]:
    query = "query index --ir spectrum.txt -k 3"
    commands = {
        "build": "build-index ir.parquet --records ir --model model --out index --workers 1 --json",
        "help": "query --help",
        "query": f"{query} --json",
        "table": query,
        "page": f"{query} --format html",
        "smiles": "query index --smiles CCO --modality ir -k 3 --json",
        "parse": "parse --ir spectrum.txt",
        "explain": "explain index 0 3 --ir spectrum.txt",
        "verify": "verify index",
        "batch": "query index --batch ir.parquet --modality ir -k 2",
        "bench": "bench recall --modality ir --queries ir.parquet --model model --workers 1 --out out.json",
        "missing": "query index --ir none.txt",
    }
    arguments = [shlex.split(command) for command in commands.values()]
    found = json.loads(python(folder, COMMANDS, given=json.dumps(arguments)))
    return dict(zip(commands, found, strict=True))


def ok(results: dict[str, Any], name: str) -> str:
    status, stdout, stderr = results[name]
    assert status == 0, stderr
    return str(stdout)


def test_the_index_holds_its_records(results: dict[str, Any]) -> None:
    report = json.loads(ok(results, "build"))
    assert report["molecules"] == len(LIBRARY)
    assert report["spaces"]["ir"] | {"graph": 8, "records": 8} == report["spaces"]["ir"]
    ok(results, "verify")


def test_the_command_line_has_its_option(results: dict[str, Any]) -> None:
    assert "--ir FILE" in " ".join(ok(results, "help").split())
    status, _, stderr = results["missing"]
    assert status == 1
    assert stderr.startswith("acml-search: this ir record cannot be used: none.txt cannot be read")


def test_a_spectrum_finds_molecules_and_a_molecule_spectra(results: dict[str, Any]) -> None:
    document = json.loads(ok(results, "query"))
    (one,) = document["query"]["observations"]
    assert (one["modality"], one["unit"], len(one["peaks"])) == ("ir", "cm-1", 350)
    assert [len(hits["hits"]) for hits in document["lists"]] == [3]
    lists = json.loads(ok(results, "smiles"))["lists"]
    assert (lists[0]["modality"], lists[0]["side"]) == ("ir", "records")
    assert len(lists[0]["hits"][0]["record_positions"]) == 350
    assert len(ok(results, "batch").splitlines()) == len(LIBRARY)


def test_it_is_shown(results: dict[str, Any]) -> None:
    assert "350 peaks: 500, 510, 520" in ok(results, "table")
    page = ok(results, "page")
    assert "350 peaks: <span" in page
    assert "IR" in page
    assert ok(results, "parse").startswith("ir: 350 peaks\ncm-1")
    assert "query   IR: 350 peaks" in ok(results, "explain")


def test_it_is_measured(results: dict[str, Any], folder: Path) -> None:
    ok(results, "bench")
    assert json.loads((folder / "out.json").read_text())["n_queries"] == len(LIBRARY)


def test_python_takes_a_list_a_record_and_a_file(results: dict[str, Any], folder: Path) -> None:
    ok(results, "build")
    by_list, by_record, by_file = json.loads(python(folder, PYTHON))
    assert by_list == by_record == by_file
    assert len(by_file) == 3
