"""The floors of the house: imports go down only, and torch stays where it belongs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import acml_search

PACKAGE = Path(acml_search.__file__).parent
FLOOR = {
    "cli": 9,
    "semantics": 8,  # measures with the benchmark's measures
    "evaluation": 7,
    "training": 7,
    "properties": 6,
    "search": 6,
    "index": 5,
    "library": 4,
    "encoders": 4,
    "modalities": 3,
    "spectra": 2,  # a peak is explained by pieces of a molecule
    "chem": 1,
    "errors": 0,
    "progress": 0,
}
SHELVES = (
    "workers",
    "data",
    "vectors",
    "measures",
    "ranks",
    "results",
    "rerank",
    "recall",
    "isomers",
    "baselines",
    "report",
    "suite",
    "carried",
    "cards",
    "throughput",
    "index_bench",
    "property_bench",
)
"""folders and modules of `evaluation`: each imports those before it only"""
MODULES = sorted(PACKAGE.rglob("*.py"))
TORCH_AT_HOME = ("encoders", "training")
TORCH_PARTS_OF_TOWERS = "modalities/blocks"


def room(module: Path) -> str:
    """The room a module lives in; the package's own __init__ lives in none."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported module's dotted name, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def runs_at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: no function bodies, no `if TYPE_CHECKING`."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def upward(source: str, here: str) -> list[str]:
    """Imports of `source`, a module of room `here`, that do not go down."""
    wrong = []
    for name in imports(ast.parse(source)):
        parts = name.split(".")
        if parts[0] != "acml_search" or len(parts) == 1 or parts[1] not in FLOOR:
            continue
        if parts[1] != here and FLOOR[parts[1]] >= FLOOR[here]:
            wrong.append(name)
    return wrong


def torch_imports(source: str) -> list[str]:
    """Names of torch modules that `source` imports when it is imported itself."""
    found = []
    for node in runs_at_import(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [name for name in imports(node) if name.split(".")[0] in ("torch", "torch_geometric")]
    return found


INSIDE = [module for module in MODULES if module != PACKAGE / "__init__.py"]  # all but the package's own door


@pytest.mark.parametrize("module", INSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(module: Path) -> None:
    assert room(module) in FLOOR, "a new room needs a floor"
    assert upward(module.read_text(encoding="utf-8"), room(module)) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_is_imported_at_module_level_only_where_it_is_at_home(module: Path) -> None:
    if room(module) in TORCH_AT_HOME or str(module.relative_to(PACKAGE).parent) == TORCH_PARTS_OF_TOWERS:
        return
    assert torch_imports(module.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "module", sorted((PACKAGE / "evaluation").rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_folders_of_the_benchmarks_import_one_way(module: Path) -> None:
    here = module.relative_to(PACKAGE / "evaluation").parts[0].removesuffix(".py")
    if here == "__init__":
        return
    allowed = SHELVES[: SHELVES.index(here) + 1]
    names = [name.split(".") for name in imports(ast.parse(module.read_text(encoding="utf-8")))]
    assert [
        name for name in names if name[:2] == ["acml_search", "evaluation"] and name[2] not in allowed
    ] == []


def test_an_upward_import_is_seen() -> None:
    assert upward("def f():\n    from acml_search.search import open_index\n", "index") == [
        "acml_search.search.open_index"
    ]
    assert upward("from acml_search.encoders import card", "library") == ["acml_search.encoders.card"]
    assert upward("from acml_search.library import store\nimport numpy", "index") == []


def test_a_torch_import_is_seen_outside_functions_only() -> None:
    assert torch_imports("class A:\n    import torch.nn\n") == ["torch.nn"]
    assert torch_imports("def f():\n    import torch\n") == []
    assert torch_imports("if TYPE_CHECKING:\n    from torch import nn\n") == []


HEAVY = {"torch", "faiss", "rdkit", "duckdb", "pyarrow", "numpy"}


@pytest.mark.parametrize("arguments", [["--help"], ["build-index", "--help"], ["query", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from acml_search.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        f"print('heavy:', sorted(set(sys.modules) & {HEAVY!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
