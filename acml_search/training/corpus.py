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
from acml_search.training.config import CorpusFile, CorpusRecipe, Plan, Source

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
    """(n,) str, the source each molecule came from: its name in the plan, else its file's"""
    fingerprints: np.ndarray
    atoms: np.ndarray
    edges: np.ndarray
    bonds: np.ndarray
    atom_offsets: np.ndarray
    edge_offsets: np.ndarray
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
        a, b = self.atom_offsets[i], self.atom_offsets[i + 1]
        c, d = self.edge_offsets[i], self.edge_offsets[i + 1]
        graph = MolGraph(self.atoms[a:b], self.edges[:, c:d], self.bonds[c:d])
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
    table = plan.corpus
    recipe: CorpusRecipe
    if isinstance(table, CorpusFile):
        path = plan.path.parent / table.file
        recipe = check_table(read_toml(path, "plan"), CorpusRecipe, path)
    else:
        recipe = table
    corpus = prepare_corpus(recipe, plan.root_folder)
    return replace(corpus, skip=tuple(table.skip), stereo=plan.reads_stereo)


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
        atoms=graphs["atoms"],
        edges=graphs["edges"],
        bonds=graphs["bonds"],
        atom_offsets=np.asarray(graphs["atom_offsets"]),
        edge_offsets=np.asarray(graphs["edge_offsets"]),
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
    """Prepare a corpus, or open it when it is there already; its paths are relative to `root`.

    Raises `ConfigError`, also where another recipe was prepared in that folder.
    """
    directory = root / recipe.directory
    told = {
        "config": recipe.model_dump(exclude_unset=True, exclude={"directory", "skip"}, mode="json"),
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
    seen: set[str] = set()
    columns: dict[str, list[Any]] = {k: [] for k in ("smiles", "inchikey14", "formula", "source", "views")}
    arrays: dict[str, list[np.ndarray]] = {k: [] for k in ("atoms", "edges", "bonds", "counts", "bits")}
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
        name = source.name or Path(source.path).name
        counts: Counter[str] = Counter(used=0)
        with Workers(max(1, min(cpu_count(), len(tasks)))) as workers:
            for part in progress(workers.map(_prepared, tasks), total=len(tasks), desc=name, unit="chunk"):
                counts.update(part["left_out"])
                for molecule, views, graph, bits in part["molecules"]:
                    if molecule.inchikey in seen:
                        continue
                    seen.add(molecule.inchikey)
                    counts["used"] += 1
                    columns["smiles"].append(molecule.smiles)
                    columns["inchikey14"].append(molecule.inchikey[:14])
                    columns["formula"].append(molecule.formula)
                    columns["source"].append(name)
                    columns["views"].append(views)
                    atoms, edges, bonds = graph
                    arrays["atoms"].append(atoms)
                    arrays["edges"].append(edges.astype(np.int16))
                    arrays["bonds"].append(bonds)
                    arrays["counts"].append(np.array([len(atoms), len(bonds)]))
                    arrays["bits"].append(bits)
        report.append({"source": name, "file": Path(source.path).name, "rows": len(smiles), **counts})
    columns["inner"] = [is_dev(block) for block in columns["inchikey14"]]
    if not any(columns["inner"]) or all(columns["inner"]):
        raise ConfigError(f"{len(seen)} molecules are too few to train on and keep a dev split")
    pq.write_table(pa.table(columns), out / "molecules.parquet", compression="zstd")
    ends = np.concatenate([[[0, 0]], np.stack(arrays["counts"]).cumsum(axis=0)])
    np.save(out / "graphs" / "atoms.npy", np.concatenate(arrays["atoms"]))
    np.save(out / "graphs" / "edges.npy", np.concatenate(arrays["edges"], axis=1))
    np.save(out / "graphs" / "bonds.npy", np.concatenate(arrays["bonds"]))
    np.save(out / "graphs" / "atom_offsets.npy", ends[:, 0])
    np.save(out / "graphs" / "edge_offsets.npy", ends[:, 1])
    np.save(out / "fingerprints.npy", np.stack(arrays["bits"]))
    return report


def _prepared(task: tuple[list[str], int, int, set[str]]) -> dict[str, Any]:
    """One chunk in a worker: pure, so the corpus does not depend on the number of workers."""
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
        if molecule.inchikey[:14] in excluded:
            left_out["excluded"] += 1
        elif mol.GetNumAtoms() > MAX_ATOMS:
            left_out[f"over {MAX_ATOMS} atoms"] += 1
        else:
            views = list(Chem.MolToRandomSmilesVect(mol, n_views, randomSeed=seed + number + 1))
            bits = np.packbits(generator.GetFingerprintAsNumPy(mol))
            molecules.append((molecule, views, featurise(mol), bits))
    return {"molecules": molecules, "left_out": left_out}
