"""The public surface: complete, sorted, and light to import."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import acml_search

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_all_is_sorted_and_names_what_can_be_had() -> None:
    assert acml_search.__all__ == sorted(acml_search.__all__)
    assert dir(acml_search) == acml_search.__all__
    for name in acml_search.__all__:
        assert getattr(acml_search, name) is not None


def test_all_is_complete() -> None:
    promised = {"Client", "Hits", "build_index", "check", "encode", "open_index", "to_pyg"}
    assert set(acml_search.__all__) == promised | {"__version__"}
    assert set(acml_search._HOME) == promised


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        acml_search.nothing  # noqa: B018


def test_the_package_takes_its_version_from_here() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", acml_search.__version__)
    settings = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert settings["dynamic"]["version"] == {"attr": "acml_search.__version__"}


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import acml_search", ("torch", "faiss", "duckdb", "pyarrow", "rdkit", "numpy")),
        ("from acml_search import Hits", ("torch", "faiss", "duckdb", "pyarrow", "rdkit")),
        ("import acml_search.search.pipeline", ("torch",)),
        ("import acml_search.cli.query", ("torch", "faiss", "duckdb", "pyarrow", "rdkit")),
    ],
)
def test_importing_is_light(statement: str, without: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print(*sorted(set({without!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_question_of_nmr_imports_little(spectral_index: Path, reranked_model: Path) -> None:
    code = (
        "import sys, acml_search\n"
        f"index = acml_search.open_index({str(spectral_index)!r}, model={str(reranked_model)!r})\n"
        "answer = index.identify({'c_nmr': '167.6, 130.2, 24.1', 'h_nmr': '2.1, 7.3'}, k=3)\n"
        "assert answer.lists[0].explanation(0).evidence\n"
        "print(answer, file=sys.stderr)\n"
        "heavy = {'torch', 'duckdb', 'pandas', 'scipy', 'pyarrow.compute', 'jinja2'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
