"""The molecules a model learns from, prepared once: everything that a step of training would compute again.

A corpus is a directory:

    molecules.parquet     smiles, inchikey14, formula, source, inner (of the dev split), views (random SMILES)
    graphs/*.npy          all graph arrays end to end, with offsets
    fingerprints.npy      (n, bits / 8) uint8, Morgan bits of radius 2, packed
    corpus.json           sources with counts, what was left out and why, versions

Molecules whose InChIKey block stands in an `exclude` file never enter, so that no evaluation set is trained
on. The dev split, about 2 %, is fixed by a hash of the InChIKey block: no training step sees it, choices are
made on it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from rdkit import Chem

from acml_search.chem.fingerprints import morgan_generator
from acml_search.chem.graph import MolGraph, featurise, flatten
from acml_search.chem.molecule import STANDARDISATION, describe, parse
from acml_search.chem.splits import inchikey14_hash, is_dev
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.io import atomic
from acml_search.core.progress import progress
from acml_search.core.toml import check_table, read_toml
from acml_search.core.workers import Workers, chunks, cpu_count
from acml_search.networks.pyg import to_batch
from acml_search.training.config import CorpusRecipe, Plan, Source

if TYPE_CHECKING:
    from torch_geometric.data import Batch

BITS = 1024
MAX_ATOMS = 200
_CHUNK = 2_000


@dataclass
class Corpus:
    """A prepared corpus, opened. Arrays hold all molecules end to end."""

    directory: Path
    smiles: pa.Array
    views: pa.Array
    """n_views random SMILES per molecule, flat: view v of molecule i is entry i * n_views + v"""
    n_views: int
    inchikey_hashes: np.ndarray
    """(n,) int64, a hash of the InChIKey's first block: equal for stereoisomers"""
    formulas: np.ndarray
    """(n,) int32, equal for equal formulas"""
    is_dev: np.ndarray
    """(n,) bool"""
    sources: np.ndarray
    """(n,) str, name of the source that each molecule came from"""
    fingerprints: np.ndarray
    graphs: dict[str, np.ndarray]
    """atoms, edges and bonds of all molecules end to end, atom_offsets and edge_offsets"""
    skip: tuple[str, ...] = ()
    """sources that are not to be learned from"""
    stereo: bool = True
    """is configuration part of the graphs?"""

    @cached_property
    def train_rows(self) -> np.ndarray:
        """(n,) int64, the molecules that a training step may see."""
        return np.flatnonzero(~self.is_dev & ~np.isin(self.sources, self.skip))

    @cached_property
    def dev_rows(self) -> np.ndarray:
        """(k,) int64, the dev split without skipped sources."""
        return np.flatnonzero(self.is_dev & ~np.isin(self.sources, self.skip))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each canonical SMILES."""
        return {str(smiles): row for row, smiles in enumerate(self.smiles.to_pylist())}

    def __len__(self) -> int:
        return len(self.inchikey_hashes)

    def graph(self, i: int) -> MolGraph:
        atoms, edges = (slice(*self.graphs[k][i : i + 2]) for k in ("atom_offsets", "edge_offsets"))
        graph = MolGraph(
            self.graphs["atoms"][atoms], self.graphs["edges"][:, edges], self.graphs["bonds"][edges]
        )
        return graph if self.stereo else flatten(graph)

    def graph_batch(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Batch:
        """Graphs of `rows` (b,) int64 as one torch_geometric `Batch` on `device`."""
        return to_batch([self.graph(int(i)) for i in rows]).to(device)

    def smiles_of(self, i: int) -> str:
        return str(self.smiles[int(i)].as_py())

    def view(self, i: int, v: int) -> str:
        return str(self.views[i * self.n_views + v].as_py())

    def bits(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), BITS) float32 of 0 and 1."""
        return np.unpackbits(self.fingerprints[rows], axis=1).astype(np.float32)


def corpus_of(plan: Plan) -> Corpus:
    """The corpus that a plan names, prepared on first use. Raises `ConfigError`."""
    path = plan.path.parent / plan.corpus.file
    recipe = check_table(read_toml(path, "plan"), CorpusRecipe, path)
    corpus = prepare_corpus(recipe, plan.root_folder)
    return replace(corpus, skip=tuple(plan.corpus.skip), stereo=plan.reads_stereo)


def open_corpus(directory: Path) -> Corpus:
    """Open a prepared corpus. Raises `ConfigError` when there is none."""
    if not (directory / "corpus.json").exists():
        raise ConfigError(f"there is no corpus in {directory}")
    table = pq.read_table(directory / "molecules.parquet").combine_chunks()
    graphs = {f.stem: np.load(f, mmap_mode="r") for f in sorted((directory / "graphs").glob("*.npy"))}
    views = pc.list_flatten(table["views"].combine_chunks())
    return Corpus(
        directory=directory,
        smiles=table["smiles"].combine_chunks(),
        views=views,
        n_views=len(views) // len(table),
        inchikey_hashes=np.array(
            [inchikey14_hash(str(b)) for b in table["inchikey14"].to_pylist()], np.int64
        ),
        formulas=table["formula"].combine_chunks().dictionary_encode().indices.to_numpy(),
        is_dev=table["inner"].to_numpy(),
        sources=np.array(table["source"].to_pylist(), np.str_),
        fingerprints=np.load(directory / "fingerprints.npy", mmap_mode="r"),
        graphs=graphs,
    )


def read_rows(root: Path, source: Source) -> pa.Table:
    """The rows of a source. Raises `ConfigError` where the file is missing or `where` is no such SQL."""
    path = root / source.path
    return _select(path, f"SELECT * FROM read_parquet(?) WHERE {source.where}").to_arrow_table()


def _select(path: Path, query: str) -> duckdb.DuckDBPyRelation:
    if not path.exists():
        raise ConfigError(f"{path} does not exist; the plan names it")
    try:
        return cast("duckdb.DuckDBPyRelation", duckdb.sql(query, params=[str(path)]))
    except duckdb.Error as error:
        raise ConfigError(f"{path}: `where` cannot be used: {str(error).splitlines()[0]}") from error


def prepare_corpus(recipe: CorpusRecipe, root: Path) -> Corpus:
    """Prepare a corpus, or open it. Raises `ConfigError` where another recipe was prepared there."""
    directory = root / recipe.directory
    told = {
        "config": recipe.model_dump(exclude_unset=True, exclude={"directory"}, mode="json"),
        "standardisation": STANDARDISATION,
        "bits": BITS,
    }
    if (directory / "corpus.json").exists():
        if json.loads((directory / "corpus.json").read_text())["recipe"] != told:
            raise ConfigError(f"{directory} holds another corpus; name another folder or remove it")
        return open_corpus(directory)
    excluded = _excluded(recipe.exclude, root)
    with atomic(directory) as folder:
        (folder / "graphs").mkdir(parents=True)
        report = _write(recipe, root, folder, excluded)
        (folder / "corpus.json").write_text(json.dumps({"recipe": told, "report": report}, indent=1))
    return open_corpus(directory)


def _excluded(sources: Iterable[Source], root: Path) -> set[str]:
    """InChIKey blocks to leave out: as the file gives them, and of its structures as standardised here."""
    blocks: set[str] = set()
    for source in sources:
        query = f"SELECT DISTINCT inchikey14, smiles FROM read_parquet(?) WHERE {source.where}"
        for block, smiles in _select(root / source.path, query).fetchall():
            blocks.add(block)
            try:
                blocks.add(describe(*parse(smiles)).inchikey[:14])
            except InvalidMolecule:  # nothing that standardises alike can enter
                continue
    return blocks


def _write(recipe: CorpusRecipe, root: Path, out: Path, excluded: set[str]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}  # by InChIKey
    graphs: list[MolGraph] = []
    bits: list[np.ndarray] = []
    report = []
    for source in recipe.source:
        # Distinct SMILES, in an order that depends on the text alone.
        distinct = f"SELECT DISTINCT smiles FROM read_parquet(?) WHERE smiles IS NOT NULL AND {source.where}"
        limit = f" LIMIT {source.limit}" if source.limit else ""
        query = f"SELECT smiles FROM ({distinct}) ORDER BY md5(smiles || '{recipe.seed}'){limit}"
        smiles = [row[0] for row in _select(root / source.path, query).fetchall()]
        tasks = [
            (chunk, recipe.views, recipe.seed + i * _CHUNK, excluded)
            for i, chunk in enumerate(chunks(smiles, _CHUNK))
        ]
        name, before, counts = source.name, len(rows), Counter[str]()
        with Workers(max(1, min(cpu_count(), len(tasks)))) as workers:
            parts = workers.map(_prepared, tasks)
            for molecules, left_out in progress(parts, total=len(tasks), desc=name, unit="chunk"):
                counts.update(left_out)
                for inchikey, row, graph, fingerprint in molecules:
                    if inchikey not in rows:
                        rows[inchikey] = {**row, "source": name}
                        graphs.append(graph)
                        bits.append(fingerprint)
        used = len(rows) - before
        report.append(
            {"source": name, "file": Path(source.path).name, "rows": len(smiles), "used": used, **counts}
        )
    inner = [row["inner"] for row in rows.values()]
    if not any(inner) or all(inner):
        raise ConfigError(f"{len(rows)} molecules are too few to train on and keep a dev split")
    pq.write_table(pa.Table.from_pylist([*rows.values()]), out / "molecules.parquet", compression="zstd")
    sizes = np.array([(len(graph.x), len(graph.edge_attr)) for graph in graphs]).cumsum(axis=0)
    atoms, edges, bonds = zip(*((one.x, one.edge_index, one.edge_attr) for one in graphs), strict=True)
    for file, array in {
        "graphs/atoms": np.concatenate(atoms),
        "graphs/edges": np.concatenate(edges, axis=1).astype(np.int16),
        "graphs/bonds": np.concatenate(bonds),
        "graphs/atom_offsets": np.append(0, sizes[:, 0]),
        "graphs/edge_offsets": np.append(0, sizes[:, 1]),
        "fingerprints": np.stack(bits),
    }.items():
        np.save(out / f"{file}.npy", array)
    return report


def _prepared(task: tuple[list[str], int, int, set[str]]) -> tuple[list[Any], Counter[str]]:
    """One chunk: (InChIKey, row, graph, packed Morgan bits) of each molecule; how many left out, and why."""
    smiles, n_views, seed, excluded = task
    generator = morgan_generator(BITS)
    molecules = []
    left_out: Counter[str] = Counter()
    for number, text in enumerate(smiles):
        try:
            mol, removed = parse(text)
            molecule = describe(mol, removed)
        except InvalidMolecule:
            left_out["invalid"] += 1
            continue
        block = molecule.inchikey[:14]
        if block in excluded:
            left_out["excluded"] += 1
        elif mol.GetNumAtoms() > MAX_ATOMS:
            left_out[f"over {MAX_ATOMS} atoms"] += 1
        else:
            views = list(Chem.MolToRandomSmilesVect(mol, n_views, randomSeed=seed + number + 1))
            texts = {"smiles": molecule.smiles, "inchikey14": block, "formula": molecule.formula}
            row = {**texts, "inner": is_dev(block), "views": views}
            bits = np.packbits(generator.GetFingerprintAsNumPy(mol))
            molecules.append((molecule.inchikey, row, featurise(mol), bits))
    return molecules, left_out
