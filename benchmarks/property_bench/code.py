"""What code kept features and cells were made by: syntax trees, so that comments do not count."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

import acml_search
from acml_search.evaluation.vectors.depends import what_runs

_ROOM = "acml_search.properties"


@cache
def code_of(module: str) -> str:
    """SHA-256 over a module of acml_search.properties and those of that package that it imports.

    Raises FileNotFoundError for a module there is not.
    """
    sha = hashlib.sha256()
    left, found = [f"{_ROOM}.{module}"], dict[str, str]()
    while left:
        name = left.pop()
        if name not in found:
            found[name] = _path(name).read_text(encoding="utf-8")
            left += _neighbours(found[name])
    for name in sorted(found):
        sha.update(f"{name}\n{what_runs(found[name])}\n".encode())
    return sha.hexdigest()


def _neighbours(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(_ROOM):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name for name in inside if _path(name).exists()] or [node.module]
    return [name for name in names if name != _ROOM]


def _path(name: str) -> Path:
    return Path(acml_search.__file__).parent.joinpath(*name.split(".")[1:]).with_suffix(".py")
