"""What a kept vector depends on: the weights, the hyper-parameters and the code of one side of one space.

The graph side is trunk and head, and the modality's tower only where the head sends its prediction through it
(shifts, lines). So a picture reader that is trained anew leaves every graph vector as it was. The record side
is the tower alone. Code is the syntax trees of the modules that compute the side, found by their imports.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache as remember
from pathlib import Path
from typing import Any

import acml_search
from acml_search.chem.molecule import STANDARDISATION
from acml_search.core.errors import CheckpointError
from acml_search.encoders.card import ModelCard
from acml_search.modalities import get
from acml_search.modalities.base import Modality

SIDES = ("graph", "record")
_ROOT = Path(acml_search.__file__).parent
_SILENT = frozenset({"acml_search", "acml_search.core.errors", "acml_search.core.progress"})
"""modules that say and show things, and compute nothing"""


def side_key(card: ModelCard, space: str, side: str) -> str:
    """SHA-256 over all that the vectors of one side of a space depend on, but the molecules.

    Raises CheckpointError where the weights cannot be read.
    """
    hyper = card.data["hyper"]
    mine = hyper["spaces"][space]
    told = {name: mine.get(name) for name in ("encoder", "projection", "memory")}
    parts = [f"towers.{space}."]
    if side == "graph":
        tower = told if uses_tower(card, space) else {}
        parts = ["trunk.", f"heads.{space}.", *(parts if tower else [])]
        told = {
            "trunk": hyper["trunk"],
            "stereo": hyper.get("reads_stereo", True),
            "head": mine["head"],
            **tower,
        }
    recipe = {
        "side": side,
        "d": card.spaces[space].d,
        "hyper": told,
        "weights": weights_digest(card, tuple(parts)),
        "code": code_digest(space, side),
        "standardisation": STANDARDISATION,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def uses_tower(card: ModelCard, space: str) -> bool:
    """Does the graph side of the space pass through the modality's tower? A plain projection of the pooled
    trunk does not; any other head is taken to.
    """
    from acml_search.networks import PooledHead

    return heads(card)[space] is not PooledHead


def heads(card: ModelCard) -> Mapping[str, type]:
    """What the graph side of each space of a model ends in; of a space with a memory, the head it had."""
    return _heads(json.dumps(card.data["hyper"], sort_keys=True))


@remember
def _heads(hyper: str) -> Mapping[str, type]:
    from acml_search.encoders.model import DualEncoder
    from acml_search.networks import RememberingHead

    made = DualEncoder(json.loads(hyper)).heads.items()
    return {name: type(one.head if isinstance(one, RememberingHead) else one) for name, one in made}


def weights_digest(card: ModelCard, prefixes: tuple[str, ...]) -> str:
    """SHA-256 over the tensors whose names begin with one of `prefixes`, names, types and shapes included."""
    from safetensors import SafetensorError, safe_open

    sha = hashlib.sha256()
    try:
        with safe_open(card.weights, framework="numpy") as file:
            for name in sorted(file.keys()):
                if name.startswith(prefixes):
                    tensor = file.get_tensor(name)
                    sha.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
                    sha.update(tensor.tobytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            card.weights, f"the weights cannot be read ({error}); copy the model again"
        ) from error
    return sha.hexdigest()


def code_digest(space: str, side: str) -> str:
    """SHA-256 over the source that one side of a space is computed by."""
    return _digest_of(frozenset(_modules(get(space), side)))


def modules_digest(names: Iterable[str]) -> str:
    """SHA-256 over the source of modules."""
    return _digest_of(frozenset(names))


def imported_digest(names: Iterable[str], besides: tuple[str, ...]) -> str:
    """SHA-256 over the source of modules and all they import, but what begins with one of `besides`."""
    return _digest_of(frozenset(_closure(names, besides)))


def _modules(modality: Modality, side: str) -> set[str]:
    """Names of the modules that compute one side, with all that these import."""
    kind = type(modality)
    classes = [cls for cls in kind.__mro__ if issubclass(cls, Modality)]
    if side == "graph" and kind.head is Modality.head:
        classes = classes[-1:]  # Modality: the modality has no say in its graph side
    roots = {cls.__module__ for cls in classes} | {"acml_search.chem.graph", "acml_search.networks"}
    if side == "record":
        roots.add("acml_search.evaluation.data.records")
    # What the model's own file imports is card and registry: of no meaning for a vector.
    passes = {"acml_search.encoders.model"} | ({"acml_search.encoders.predict"} if side == "graph" else set())
    return passes | _closure(roots)


def _closure(roots: Iterable[str], besides: tuple[str, ...] = ()) -> set[str]:
    left, found = list(roots), set[str]()
    while left:
        name = left.pop()
        if name not in found and name not in _SILENT and not name.startswith(besides):
            found.add(name)
            left += _imports(name)
    return found


@remember
def _imports(name: str) -> tuple[str, ...]:
    """Modules of this package that a module imports, at its head or inside functions."""
    return tuple(dict.fromkeys(_names_of(ast.parse(_source(name)))))


def _names_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("acml_search."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("acml_search"):
            yield str(node.module)
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in inside if _path(name) is not None)


def _path(name: str) -> Path | None:
    at = _ROOT.joinpath(*name.split(".")[1:])
    return next((path for path in (at.with_suffix(".py"), at / "__init__.py") if path.is_file()), None)


def _source(name: str) -> str:
    path = _path(name)
    if path is None:  # a modality from elsewhere
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{name} has no source to take a digest of")
        path = Path(spec.origin)
    return path.read_text(encoding="utf-8")


@remember
def _digest_of(modules: frozenset[str]) -> str:
    sha = hashlib.sha256()
    for name in sorted(modules):
        sha.update(f"{name}\n{what_runs(_source(name))}\n".encode())
    return sha.hexdigest()


def what_runs(source: str) -> str:
    """The syntax tree of `source` without docstrings: comments and formatting change no vector."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
