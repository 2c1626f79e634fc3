"""Vectors made in one pass for every space of a model, and kept: one question after another can be asked.

    <cache>/vectors/<model digest>/<key>/<space>.npy     (n, d) float32, rows that failed are NaN

The key covers what the vectors depend on: the weights with their hyper-parameters, the code that computes
them, and the molecules. Single precision, as the model gives them, so that figures are those of
`bench recall`. Molecules are kept in parts: what an interrupted run finished is not done again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache as remember
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

import acml_search
from acml_search.encoders.card import ModelCard
from acml_search.errors import ConfigError, InvalidMolecule
from acml_search.evaluation import workers as processes
from acml_search.evaluation.embedding import BLOCK, Source, embed
from acml_search.evaluation.structures import Structure
from acml_search.evaluation.workers import Workers, chunks
from acml_search.progress import progress

PART = 65_536
RECORD_PART = 8_192  # a picture takes twenty times as long as a graph

Vectors = npt.NDArray[np.float32]

_CODE = ("chem/graph.py", "encoders/model.py", "evaluation/records.py", "modalities/**/*.py")


class StoredVectors:
    """Vectors of molecules, found by their SMILES. `parts`: (SMILES, {space: (n, d) array}) each."""

    def __init__(self, parts: Sequence[tuple[Sequence[str], Mapping[str, Vectors]]]) -> None:
        self._arrays = [arrays for _, arrays in parts]
        self._starts = np.cumsum([0, *(len(smiles) for smiles, _ in parts)])
        self._row: dict[str, int] = {}
        for start, (smiles, _) in zip(self._starts.tolist(), parts, strict=False):
            for i, text in enumerate(smiles):
                self._row.setdefault(text, start + i)

    def take(self, space: str, smiles: Iterable[str]) -> Vectors:
        """(n, d) float32, in the order of `smiles` (canonical); NaN where the model had no vector."""
        rows = np.fromiter((self._row[text] for text in smiles), np.int64)
        out = np.empty((len(rows), self._arrays[0][space].shape[1]), np.float32)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number, arrays in enumerate(self._arrays):
            here = np.flatnonzero(part_of == number)
            if len(here):
                out[here] = arrays[space][rows[here] - self._starts[number]]
        return out


def graph_vectors(
    files: Iterable[Sequence[Structure | str]], card: ModelCard, workers: Workers, cache: Path
) -> StoredVectors:
    """The graph side of every space, of all distinct molecules of `files` (a list of structures each)."""
    spaces = {name: space.d for name, space in card.spaces.items()}
    parts = [
        _Part.of(card, cache, spaces, part, "graph")
        for file in files
        for part in chunks(dict.fromkeys(one.smiles for one in file if not isinstance(one, str)), PART)
    ]
    missing = list({part.directory: part for part in parts if not part.directory.exists()}.values())
    blocks = workers.map(embed_graphs, chain.from_iterable(chunks(part.smiles, BLOCK) for part in missing))
    with progress(total=sum(len(part.smiles) for part in missing), desc="embedding", unit="mol") as bar:
        for part in missing:
            part.write(blocks, bar.update)
    return StoredVectors([(part.smiles, part.read()) for part in parts])


def record_vectors(
    modality: str,
    structures: Sequence[Structure],
    card: ModelCard,
    workers: Workers,
    cache: Path,
    *,
    seed: int,
) -> Vectors:
    """(n, d) float32, the record side of a derived modality, a varied record per molecule."""
    spaces = {modality: card.spaces[modality].d}
    found = []
    with progress(total=len(structures), desc=f"{modality} records", unit="mol") as bar:
        for chosen in chunks(structures, RECORD_PART):
            what = f"{modality} {seed} {' '.join(one.block for one in chosen)}"
            part = _Part.of(card, cache, spaces, [one.smiles for one in chosen], what)
            if not part.directory.exists():
                sources = chunks((Source(one) for one in chosen), BLOCK)
                blocks = embed("record", modality, sources, workers, seed)
                part.write(({modality: block.vectors} for block in blocks), bar.update)
            else:
                bar.update(len(chosen))
            found.append(part.read()[modality])
    return np.concatenate(found)


def embed_graphs(smiles: list[str]) -> dict[str, Vectors]:
    """Task: canonical SMILES to the vectors of every space; NaN rows for a molecule that is refused."""
    from acml_search.chem import molecule

    model = processes.model()
    mols, where = [], []
    for i, text in enumerate(smiles):
        try:
            mols.append(molecule.parse(text)[0])
            where.append(i)
        except InvalidMolecule:  # RDKit wrote this SMILES and refuses it: a NaN row, counted as failed
            continue
    out = {name: np.full((len(smiles), space.d), np.nan, np.float32) for name, space in model.spaces.items()}
    if mols:
        for name, vectors in model.encode_molecules(mols).items():
            out[name][where] = vectors
    return out


class _Part:
    """Some molecules, and the folder that holds their vectors or will."""

    def __init__(self, directory: Path, smiles: Sequence[str], spaces: Mapping[str, int]) -> None:
        self.directory = directory
        self.smiles = smiles
        self._spaces = spaces

    @classmethod
    def of(
        cls, card: ModelCard, cache: Path, spaces: Mapping[str, int], smiles: Sequence[str], what: str
    ) -> _Part:
        recipe = json.dumps([card.digest, code_digest(), dict(spaces), what])
        key = hashlib.sha256(recipe.encode())
        key.update("\n".join(smiles).encode())
        return cls(cache / "vectors" / card.digest[:16] / key.hexdigest()[:24], smiles, spaces)

    def write(self, blocks: Iterator[Mapping[str, Vectors]], tell: Callable[[int], object]) -> None:
        """Take blocks until all molecules have their vectors; the folder appears when it is complete."""
        writing = self.directory.with_name(f"{self.directory.name}.{os.getpid()}.writing")
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
        n = len(self.smiles)
        arrays = {
            name: np.lib.format.open_memmap(writing / f"{name}.npy", "w+", np.float32, (n, d))
            for name, d in self._spaces.items()
        }
        low = 0
        while low < n:
            block = next(blocks)
            size = len(next(iter(block.values())))
            for name, array in arrays.items():
                array[low : low + size] = block[name]
            low += size
            tell(size)
        for array in arrays.values():
            array.flush()
        os.replace(writing, self.directory)

    def read(self) -> dict[str, Vectors]:
        """{space: (n, d) float32}, mapped. Raises ConfigError where a kept file is damaged."""
        found: dict[str, Vectors] = {}
        for name, d in self._spaces.items():
            path = self.directory / f"{name}.npy"
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise ConfigError(
                    f"{path}: the kept vectors cannot be read ({error}); remove the folder"
                ) from error
            if array.shape != (len(self.smiles), d) or array.dtype != np.float32:
                raise ConfigError(f"{path}: the kept vectors have another shape; remove the folder")
            found[name] = array
        return found


@remember
def code_digest() -> str:
    """SHA-256 over the source that vectors depend on, so that none outlives a change of the code."""
    root = Path(acml_search.__file__).parent
    sha = hashlib.sha256()
    for pattern in _CODE:
        for path in sorted(root.glob(pattern)):
            sha.update(what_runs(path.read_text(encoding="utf-8")).encode())
    return sha.hexdigest()


def what_runs(source: str) -> str:
    """The syntax tree of `source` without docstrings: comments and formatting change no vector."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
