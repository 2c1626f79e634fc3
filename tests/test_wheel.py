"""The wheel: what it carries, and that it runs outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def build(source: Path, folder: Path) -> Path:
    code = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=source, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, without network and without what stands untracked in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        CHECKOUT / "acml_search", source / "acml_search", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    return build(source, folder)


def test_what_the_wheel_carries(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {one.filename: one.file_size for one in archive.infolist()}
    weights = "acml_search/encoders/weights/"
    assert {name for name in sizes if name.startswith(weights)} == {
        f"{weights}acml-base/{name}"
        for name in (
            "c_nmr_environments.safetensors",
            "card.json",
            "image_reader.safetensors",
            "lc_ms_rerank.json",
            "model.safetensors",
            "training_list.npz",
        )
    }
    assert sizes[f"{weights}acml-base/card.json"] < 30_000
    for name in ("acml_search/py.typed", "acml_search/ocsr/environments.json"):
        assert name in sizes
    assert any(name.endswith("licenses/LICENSE") for name in sizes)
    packages = {name.split("/")[0] for name in sizes}
    assert packages == {"acml_search", next(name for name in packages if name.endswith(".dist-info"))}
    assert not [name for name in sizes if name.endswith((".png", ".pyc")) or "research/" in name]


def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    (tmp_path / "lib.smi").write_text("CCO ethanol\nCC(=O)Nc1ccc(O)cc1 paracetamol\n")

    def run(*arguments: str) -> str:
        command = [
            sys.executable,
            "-c",
            "import sys; from acml_search.cli import main; sys.exit(main())",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "build-index" in run("--help")
    where = [sys.executable, "-c", "import acml_search; print(acml_search.__file__)"]
    found = subprocess.check_output(where, cwd=tmp_path, env=environment, text=True)
    assert found.startswith(str(site))
    run("build-index", "lib.smi", "--out", "index", "--workers", "1")
    assert "paracetamol" in run("query", "index", "--c-nmr", "167.6, 153.1, 131.0, 120.8, 115.0, 23.7")
    assert "acml-base" in run("models")


def test_acml_research_is_a_package_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "weights" / "acml-research", tmp_path / "source")
    with zipfile.ZipFile(build(tmp_path / "source", tmp_path)) as archive:
        names = {one.filename for one in archive.infolist()}
        entries = next(name for name in names if name.endswith("entry_points.txt"))
        assert "acml-research = acml_research" in archive.read(entries).decode()
    files = {name.removeprefix("acml_research/") for name in names if name.startswith("acml_research/")}
    assert files == {
        "__init__.py", "card.json", "gc_ms_rerank.json", "lc_ms_rerank.json", "model.safetensors",
        "training_list.npz",
    }  # fmt: skip
    assert any(name.endswith("licenses/LICENSE") for name in names)
