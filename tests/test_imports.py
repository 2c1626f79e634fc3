"""Heavy packages are imported where they run and nowhere else; the layers are import-linter's to check."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import acml_search

PACKAGE = Path(acml_search.__file__).parent
TORCH_FOLDERS = {"encoders", "training", "networks"}
TORCH_FILES = {"ocsr/detector.py", "ocsr/reader.py", "properties/finetune.py"}


def runs_at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: no function bodies, no `if TYPE_CHECKING`."""
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


def imports_torch(source: str) -> bool:
    """Whether importing a module with this source imports torch or torch_geometric."""
    names = []
    for node in runs_at_import(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return any(name.split(".")[0] in ("torch", "torch_geometric") for name in names)


def test_torch_is_imported_at_module_level_only_where_networks_are() -> None:
    wrong = [
        place
        for module in PACKAGE.rglob("*.py")
        if (place := module.relative_to(PACKAGE).as_posix()).split("/")[0] not in TORCH_FOLDERS
        and place not in TORCH_FILES
        and imports_torch(module.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_an_import_inside_a_function_does_not_count() -> None:
    assert imports_torch("class A:\n    import torch.nn\n")
    assert not imports_torch("def f():\n    import torch\n")
    assert not imports_torch("if TYPE_CHECKING:\n    from torch import nn\n")


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
