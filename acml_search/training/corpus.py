"""The molecules a model learns from, prepared once: everything that a step of training would compute again.

A corpus is a directory:

    molecules.parquet     smiles, inchikey14, formula, source, inner (kept for choices), views (random SMILES)
    graphs/*.npy          all graph arrays end to end, with offsets
    fingerprints.npy      (n, bits / 8) uint8, Morgan bits of radius 2, packed
    corpus.json           sources with counts, what was left out and why, versions

Molecules whose InChIKey block stands in an `exclude` file never enter, so that no evaluation set is trained
on. The inner part, about 2 %, is fixed by a hash of the InChIKey block: no training step sees it, choices
use it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from acml_search.chem.graph import MolGraph, featurise, flatten
from acml_search.chem.molecule import STANDARDISATION, describe, parse
from acml_search.chem.splits import block_hash, is_inner
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.progress import progress

BITS = 1024
_CHUNK = 2_000


@dataclass
class Corpus:
    """A prepared corpus, opened. Arrays hold all molecules end to end."""

    directory: Path
    smiles: pa.Array
    views: pa.Array
    """n_views random SMILES per molecule, flat: view v of molecule i is entry i * n_views + v"""
    n_views: int
    blocks: np.ndarray
    """(n,) int64, a hash of the InChIKey's first block: equal for stereoisomers"""
    formulas: np.ndarray
    """(n,) int32, equal for equal formulas"""
    inner: np.ndarray
    """(n,) bool"""
    sources: list[str]
    """the source each molecule came from: its name in the configuration, else its file's"""
    fingerprints: np.ndarray
    atoms: np.ndarray
    edges: np.ndarray
    bonds: np.ndarray
    atom_offsets: np.ndarray
    edge_offsets: np.ndarray
    skipped: frozenset[str] = frozenset()
    """sources that are not to be learned from"""
    flat: bool = False
    """give graphs without configuration"""

    @property
    def learned(self) -> np.ndarray:
        """(n,) int64, the molecules that a training step may see: neither inner nor of a skipped source."""
        skipped = np.array([source in self.skipped for source in self.sources])
        return np.flatnonzero(~self.inner & ~skipped)

    @property
    def kept(self) -> np.ndarray:
        """(k,) int64, the inner part without skipped sources: what choices are made on."""
        skipped = np.array([source in self.skipped for source in self.sources])
        return np.flatnonzero(self.inner & ~skipped)

    def __len__(self) -> int:
        return len(self.blocks)

    def graph(self, i: int) -> MolGraph:
        a, b = self.atom_offsets[i], self.atom_offsets[i + 1]
        c, d = self.edge_offsets[i], self.edge_offsets[i + 1]
        graph = MolGraph(self.atoms[a:b], self.edges[:, c:d], self.bonds[c:d])
        return flatten(graph) if self.flat else graph

    def view(self, i: int, v: int) -> str:
        return str(self.views[i * self.n_views + v].as_py())

    def bits(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), BITS) float32 of 0 and 1."""
        return np.unpackbits(self.fingerprints[rows], axis=1).astype(np.float32)


def open_corpus(directory: Path) -> Corpus:
    """Open a prepared corpus. Raises `ConfigError` when there is none."""
    if not (directory / "corpus.json").exists():
        raise ConfigError(f"there is no corpus in {directory}")
    table = pq.read_table(directory / "molecules.parquet").combine_chunks()
    graphs = {f.stem: np.load(f, mmap_mode="r") for f in sorted((directory / "graphs").glob("*.npy"))}
    blocks = np.array([block_hash(str(b)) for b in table["inchikey14"].to_pylist()], np.int64)
    views = pc.list_flatten(table["views"].combine_chunks())
    return Corpus(
        directory=directory,
        smiles=table["smiles"].combine_chunks(),
        views=views,
        n_views=len(views) // len(table),
        blocks=blocks,
        formulas=table["formula"].combine_chunks().dictionary_encode().indices.to_numpy(),
        inner=table["inner"].to_numpy(),
        sources=[str(source) for source in table["source"].to_pylist()],
        fingerprints=np.load(directory / "fingerprints.npy", mmap_mode="r"),
        atoms=graphs["atoms"],
        edges=graphs["edges"],
        bonds=graphs["bonds"],
        atom_offsets=np.asarray(graphs["atom_offsets"]),
        edge_offsets=np.asarray(graphs["edge_offsets"]),
    )


def read_table(path: Path, where: str) -> pa.Table:
    """Rows of a Parquet file that satisfy an SQL expression."""
    found = duckdb.sql(f"SELECT * FROM read_parquet(?) WHERE {where}", params=[str(path)])
    return cast("duckdb.DuckDBPyRelation", found).to_arrow_table()


def prepare_corpus(config: dict[str, Any], base: Path, directory: Path, workers: int) -> Corpus:
    """Prepare the corpus a configuration names, or open it when it is there already.

    `config` is the `[corpus]` table: `source` (list of path, optional name, where and limit), `exclude`
    (list of path, optional where), `views`, `seed`. Paths are relative to `base`. Raises `ConfigError`.
    """
    recipe = {"config": config, "standardisation": STANDARDISATION, "bits": BITS}
    done = directory / "corpus.json"
    if done.exists():
        if json.loads(done.read_text())["recipe"] != json.loads(json.dumps(recipe)):
            raise ConfigError(f"{directory} holds another corpus; name another folder or remove it")
        return open_corpus(directory)
    for entry in [*config["source"], *config.get("exclude", [])]:
        if not (base / entry["path"]).exists():
            raise ConfigError(f"{base / entry['path']} does not exist; the [corpus] table names it")
    building = directory.with_name(directory.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    (building / "graphs").mkdir(parents=True)
    excluded = _excluded(config.get("exclude", []), base)
    report = _write(config, base, building, excluded, workers)
    (building / "corpus.json").write_text(json.dumps({"recipe": recipe, "report": report}, indent=1))
    os.replace(building, directory)
    return open_corpus(directory)


def _excluded(entries: list[dict[str, Any]], base: Path) -> set[str]:
    """InChIKey blocks to leave out: as the file gives them, and of its structures as standardised here."""
    blocks: set[str] = set()
    for entry in entries:
        query = f"SELECT DISTINCT inchikey14, smiles FROM read_parquet(?) WHERE {entry.get('where', 'true')}"
        for block, smiles in duckdb.execute(query, [str(base / entry["path"])]).fetchall():
            blocks.add(block)
            try:
                blocks.add(describe(*parse(smiles)).inchikey[:14])
            except InvalidMolecule:  # nothing that standardises alike can enter
                continue
    return blocks


def _source_smiles(entry: dict[str, Any], base: Path, seed: int) -> list[str]:
    """Distinct SMILES of one source, in an order that depends on the text alone."""
    where, limit = entry.get("where", "true"), entry.get("limit")
    distinct = f"SELECT DISTINCT smiles FROM read_parquet(?) WHERE smiles IS NOT NULL AND {where}"
    query = f"SELECT smiles FROM ({distinct}) ORDER BY md5(smiles || '{seed}')"
    if limit:
        query += f" LIMIT {int(limit)}"
    return [row[0] for row in duckdb.execute(query, [str(base / entry["path"])]).fetchall()]


def _write(
    config: dict[str, Any], base: Path, out: Path, excluded: set[str], workers: int
) -> list[dict[str, Any]]:
    seen: set[str] = set()
    columns: dict[str, list[Any]] = {k: [] for k in ("smiles", "inchikey14", "formula", "source", "views")}
    arrays: dict[str, list[np.ndarray]] = {k: [] for k in ("atoms", "edges", "bonds", "counts", "bits")}
    report = []
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    with pool:
        for entry in config["source"]:
            smiles = _source_smiles(entry, base, config["seed"])
            tasks = list(_chunks(smiles, config["views"], config["seed"], excluded))
            name = entry.get("name", Path(entry["path"]).name)
            tally: dict[str, Any] = {
                "source": name,
                "file": Path(entry["path"]).name,
                "rows": len(smiles),
                "used": 0,
            }
            for part in progress(pool.map(_digest, tasks), total=len(tasks), desc=name, unit="chunk"):
                fresh = [i for i, key in enumerate(part["inchikey"]) if key not in seen]
                seen.update(part["inchikey"][i] for i in fresh)
                tally["used"] += len(fresh)
                for reason, count in part["left_out"].items():
                    tally[reason] = tally.get(reason, 0) + count
                for i in fresh:
                    columns["smiles"].append(part["smiles"][i])
                    columns["inchikey14"].append(part["inchikey"][i][:14])
                    columns["formula"].append(part["formula"][i])
                    columns["source"].append(name)
                    columns["views"].append(part["views"][i])
                    graph: MolGraph = part["graphs"][i]
                    arrays["atoms"].append(graph.atoms)
                    arrays["edges"].append(graph.edges.astype(np.int16))
                    arrays["bonds"].append(graph.bonds)
                    arrays["counts"].append(np.array([len(graph.atoms), len(graph.bonds)]))
                    arrays["bits"].append(part["bits"][i])
            report.append(tally)
    columns["inner"] = [is_inner(b) for b in columns["inchikey14"]]
    if not any(columns["inner"]) or all(columns["inner"]):
        raise ConfigError(f"{len(seen)} molecules are too few to train on and keep some for choices")
    pq.write_table(pa.table(columns), out / "molecules.parquet", compression="zstd")
    counts = np.stack(arrays["counts"])
    np.save(out / "graphs" / "atoms.npy", np.concatenate(arrays["atoms"]))
    np.save(out / "graphs" / "edges.npy", np.concatenate(arrays["edges"], axis=1))
    np.save(out / "graphs" / "bonds.npy", np.concatenate(arrays["bonds"]))
    np.save(out / "graphs" / "atom_offsets.npy", np.concatenate([[0], counts[:, 0].cumsum()]))
    np.save(out / "graphs" / "edge_offsets.npy", np.concatenate([[0], counts[:, 1].cumsum()]))
    np.save(out / "fingerprints.npy", np.stack(arrays["bits"]))
    return report


def _chunks(
    smiles: list[str], views: int, seed: int, excluded: set[str]
) -> Iterator[tuple[list[str], int, int, set[str]]]:
    for start in range(0, len(smiles), _CHUNK):
        yield smiles[start : start + _CHUNK], views, seed + start, excluded


def _digest(task: tuple[list[str], int, int, set[str]]) -> dict[str, Any]:
    """One chunk in a worker: pure, so the corpus does not depend on the number of workers."""
    smiles, n_views, seed, excluded = task
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)
    part: dict[str, Any] = {k: [] for k in ("smiles", "inchikey", "formula", "views", "graphs", "bits")}
    left_out: dict[str, int] = {}
    for number, text in enumerate(smiles):
        try:
            mol, removed = parse(text)
            molecule = describe(mol, removed)
        except InvalidMolecule:
            left_out["invalid"] = left_out.get("invalid", 0) + 1
            continue
        if molecule.inchikey[:14] in excluded:
            left_out["excluded"] = left_out.get("excluded", 0) + 1
            continue
        if mol.GetNumAtoms() > 200:
            left_out["over 200 atoms"] = left_out.get("over 200 atoms", 0) + 1
            continue
        part["smiles"].append(molecule.smiles)
        part["inchikey"].append(molecule.inchikey)
        part["formula"].append(molecule.formula)
        part["views"].append(list(Chem.MolToRandomSmilesVect(mol, n_views, randomSeed=seed + number + 1)))
        part["graphs"].append(featurise(mol))
        part["bits"].append(np.packbits(generator.GetFingerprintAsNumPy(mol)))
    return {**part, "left_out": left_out}
