"""What a feature system sees of a molecule: fingerprints, descriptors, our embeddings, a peer's.

All systems read the same standardised SMILES (chem.molecule), one molecule once. A molecule that a system
refuses has a row of NaN there; cells.py counts these.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.encoders.card import ModelCard, model_below, read_card
from acml_search.evaluation.data.feature_store import Columns
from acml_search.properties.features import POOLED, descriptors, part_width
from benchmarks.property_bench.code import code_of
from benchmarks.property_bench.peers import peer_versions, run_peer
from benchmarks.property_bench.plan import Plan, System

MORGAN_BITS = 2048
MORGAN_RADIUS = 2
UNTRAINED_SEED = 0

PART = {"minimol": 4_096}
"""molecules per task and kept part, where not 2,048: MiniMol's Python takes long to start"""


@dataclass(frozen=True)
class Recipe:
    """How features are made: what a worker is told, and in `depends` what they depend on, for the key."""

    kind: str
    depends: tuple[tuple[str, Any], ...]
    model: str = ""
    parts: tuple[str, ...] = ()
    python: str = ""

    @property
    def key(self) -> dict[str, Any]:
        return {"kind": self.kind, "parts": list(self.parts), **dict(self.depends)}


@dataclass(frozen=True)
class Task:
    recipe: Recipe
    smiles: list[str]


def recipe_of(system: System, plan: Plan, peer_python: Path | None) -> tuple[Recipe, Columns]:
    """The recipe of a feature system and the columns of it that are the system's.

    Embeddings of one model share a recipe: its parts are worked out together, for all systems that name it.
    Raises CheckpointError for a model that is not there, ConfigError for a part it does not have or a peer
    that cannot be asked.
    """
    from acml_search.chem.molecule import STANDARDISATION

    depends: list[tuple[str, Any]] = [("standardisation", STANDARDISATION)]
    if system.kind in ("morgan", "rdkit"):
        depends.append(("rdkit", importlib.metadata.version("rdkit")))
        if system.kind == "morgan":
            depends.append(("morgan", [MORGAN_BITS, MORGAN_RADIUS]))
        return Recipe(system.kind, tuple(depends)), None
    if system.kind == "minimol":
        if peer_python is None:
            raise ConfigError("minimol has an environment of its own; name its Python with --peer-python")
        depends.append(("versions", peer_versions(str(peer_python), "minimol_embed.py")))
        return Recipe("minimol", tuple(depends), python=str(peer_python)), None
    card = read_card(model_of(system, plan))
    together = [
        one
        for one in plan.systems.values()
        if one.kind == system.kind and model_of(one, plan) == model_of(system, plan)
    ]
    named = {part for one in together for part in parts_of(one, card)}
    parts = tuple(part for part in (*POOLED, *card.spaces) if part in named)
    # an untrained network has the shape of the model and nothing of its weights
    depends.append(("hyper", card.data["hyper"]) if system.kind == "untrained" else ("digest", card.digest))
    depends.append(("code", code_of("features")))
    if system.kind == "untrained":
        depends.append(("seed", UNTRAINED_SEED))
    recipe = Recipe(system.kind, tuple(depends), model=model_of(system, plan), parts=parts)
    return recipe, columns_of(parts_of(system, card), parts, card)


def model_of(system: System, plan: Plan) -> str:
    """The model of an embedding: a folder below the plan's root, or the name of a shipped one."""
    return plan.model if system.model is None else model_below(plan.root, system.model)


def parts_of(system: System, card: ModelCard) -> tuple[str, ...]:
    """The parts a system concatenates, "spaces" spelt out. Raises ConfigError for one there is not."""
    parts: list[str] = []
    for part in system.parts or (*POOLED, "spaces"):
        parts += list(card.spaces) if part == "spaces" else [part]
    for part in parts:
        if part not in (*POOLED, *card.spaces):
            raise ConfigError(
                f"system {system.name!r}: the model {card.name} has no part {part!r}; it has "
                f"{', '.join((*POOLED, *card.spaces))}"
            )
    return tuple(parts)


def columns_of(mine: Sequence[str], stored: Sequence[str], card: ModelCard) -> tuple[int, int]:
    """Which of the stored columns are `mine`: parts that stand side by side there.

    Raises ConfigError where they do not.
    """
    trunk, spaces = card.data["hyper"]["trunk"], {name: space.d for name, space in card.spaces.items()}
    widths = {
        part: part_width(part, int(trunk["layers"]), int(trunk["width"]), spaces)
        for part in (*POOLED, *spaces)
    }
    ordered = [part for part in stored if part in mine]
    first, last = stored.index(ordered[0]), stored.index(ordered[-1])
    if list(stored[first : last + 1]) != ordered:
        raise ConfigError(f"the parts {', '.join(mine)} do not stand side by side in {', '.join(stored)}")
    start = sum(widths[part] for part in stored[:first])
    return start, start + sum(widths[part] for part in ordered)


def compute(task: Task) -> npt.NDArray[Any]:
    """Task of a worker: (k, f) features, uint8 for bits, else float32 with NaN rows for what was refused."""
    if task.recipe.kind == "minimol":
        return _minimol(task)
    mols, where = [], []
    from acml_search.chem import molecule

    for i, text in enumerate(task.smiles):
        try:
            mols.append(molecule.parse(text)[0])
            where.append(i)
        except InvalidMolecule:  # its own SMILES is refused: a row of NaN, counted as failed
            continue
    if task.recipe.kind == "morgan" and len(where) == len(task.smiles):
        return _morgan(mols)
    found: npt.NDArray[Any] = (
        _morgan(mols)
        if task.recipe.kind == "morgan"
        else descriptors(mols)
        if task.recipe.kind == "rdkit"
        else _embeddings(task.recipe, mols)
    )
    out = np.full((len(task.smiles), found.shape[1]), np.nan, np.float32)
    out[where] = found
    return out


def _morgan(mols: Sequence[Any]) -> npt.NDArray[np.uint8]:
    """(n, 2048) bits of RDKit's Morgan fingerprint, radius 2 (Rogers and Hahn, JCIM 2010)."""
    from rdkit.Chem import rdFingerprintGenerator

    maker = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    bits = [maker.GetFingerprintAsNumPy(mol) for mol in mols]
    return np.array(bits, np.uint8).reshape(len(mols), MORGAN_BITS)


def _embeddings(recipe: Recipe, mols: Sequence[Any]) -> npt.NDArray[np.float32]:
    from acml_search.properties.features import embeddings

    return np.asarray(embeddings(_model(recipe.kind, recipe.model), mols, recipe.parts), np.float32)


@cache
def _model(kind: str, name: str) -> Any:
    """A worker's model: as trained, or of the same shape with random weights."""
    import torch

    from acml_search.encoders.model import DualEncoder, Model, load_model

    torch.set_num_threads(1)
    if kind == "embedding":
        return load_model(name)
    card = read_card(name)
    torch.manual_seed(UNTRAINED_SEED)
    network = DualEncoder(card.data["hyper"])
    return Model(card, network.eval())


def _minimol(task: Task) -> npt.NDArray[np.float32]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / "in.parquet", Path(scratch) / "out.npy"
        pq.write_table(pa.table({"smiles": task.smiles}), source)
        run_peer(task.recipe.python, "minimol_embed.py", [str(source), str(out)])
        vectors: npt.NDArray[np.float32] = np.load(out, allow_pickle=False)
    return vectors
