"""The vectors that `bench index` is about, written once so that every engine's process maps the same file.

<folder>/base.npy       (n, d) float32 unit vectors, what is indexed
<folder>/queries.npy    (nq, d) float32, what is asked
<folder>/typical.npy    (m, d) float32, other queries, for an engine that measures itself when it is built
<folder>/data.json      what they were made of; other vectors are another folder
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.evaluation.results import write_json
from benchmarks.index_bench.plan import Plan, digest

Floats = npt.NDArray[np.float32]

BLOCK = 65_536
TYPICAL = 256  # queries that a calibration gets, as `build-index` gives them
ABOUT = "data.json"


@dataclass(frozen=True)
class Source:
    """Where embeddings come from; the names are those of the command line."""

    model: str
    cache: Path
    workers: int | None


@dataclass(frozen=True)
class Data:
    """A folder with vectors, and what is told of them."""

    folder: Path
    about: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of what the vectors were made of."""
        return str(self.about["digest"])

    def base(self) -> Floats:
        """(n, d), mapped."""
        return self._load("base")

    def queries(self) -> Floats:
        """(nq, d)."""
        return np.array(self._load("queries"))

    def typical(self) -> Floats:
        """(m, d); none where the plan names none."""
        return np.array(self._load("typical"))

    def _load(self, name: str) -> Floats:
        path = self.folder / f"{name}.npy"
        try:
            found: Floats = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ConfigError(f"{path}: the vectors cannot be read ({error}); remove the folder") from error
        return found


def prepare(plan: Plan, n: int | None, source: Source, folder: Path) -> Data:
    """The vectors of `plan`, made now or kept; `n` of them (None: all that there are).

    Raises ConfigError where the files hold none, or the model has no such space.
    """
    kind = plan.data["kind"]
    recipe = {"data": dict(plan.data), "n": n, "seed": plan.seed}
    if kind == "embeddings":
        recipe |= _depends(plan, source)
    key = digest(recipe)
    found = Data(folder / f"data-{key}", {})
    path = found.folder / ABOUT
    if path.exists():
        return Data(found.folder, json.loads(path.read_text(encoding="utf-8")))
    found.folder.mkdir(parents=True, exist_ok=True)
    make = _embeddings if kind == "embeddings" else _synthetic
    about = {"digest": key, "kind": kind, **make(plan, n, source, found.folder)}
    write_json(about, path)  # last: the folder is complete
    return Data(found.folder, about)


def clustered(n: int, d: int, clusters: int, seed: int, *, of: int = 0) -> Floats:
    """(n, d) unit vectors around the same `clusters` random centres for any `of`, which tells sets apart.

    The noise is as long as the way to the centre, spread over a quarter of the dimensions in each cluster, so
    that neighbours differ in score as embeddings do, and a few dimensions tell them apart.
    """
    rng = np.random.default_rng([seed, 0])
    centres = rng.standard_normal((clusters, d)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    inner = max(1, d // 4)
    ways = rng.standard_normal((clusters, inner, d)).astype(np.float32) / np.sqrt(inner * d)
    rng = np.random.default_rng([seed, 1 + of])
    out = np.empty((n, d), np.float32)
    of_cluster = rng.integers(clusters, size=n)
    noise = rng.standard_normal((n, inner)).astype(np.float32)
    for cluster in range(clusters):
        here = np.flatnonzero(of_cluster == cluster)
        out[here] = centres[cluster] + noise[here] @ ways[cluster]
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def _synthetic(plan: Plan, n: int | None, source: Source, folder: Path) -> dict[str, Any]:
    table = plan.data
    n, d, clusters = n or int(table["n"]), int(table["d"]), int(table["clusters"])
    sizes = {"base": n, "queries": int(table["n_queries"]), "typical": TYPICAL}
    for number, (name, size) in enumerate(sizes.items()):
        np.save(folder / f"{name}.npy", clustered(size, d, clusters, plan.seed, of=number))
    return {"n": n, "d": d, "n_queries": sizes["queries"], "space": None}


def _depends(plan: Plan, source: Source) -> dict[str, Any]:
    """What the vectors of the files depend on: their content, the weights, and the code that embeds."""
    from acml_search.encoders.card import read_card
    from acml_search.evaluation.recall import check_space
    from acml_search.evaluation.vectors.depends import side_key
    from acml_search.library.read import open_library

    card = read_card(source.model)
    space = plan.data["space"]
    check_space(card, space)
    files = [plan.root / name for name in (*plan.data["base"], plan.data["queries"])]
    return {
        "files": [open_library([path]).digest() for path in files],
        "sides": [side_key(card, space, side) for side in ("graph", "record")],
    }


def _embeddings(plan: Plan, n: int | None, source: Source, folder: Path) -> dict[str, Any]:
    """Graph vectors of the molecules of `base`, record vectors of the rows of `queries`."""
    from acml_search.encoders.card import read_card
    from acml_search.evaluation.workers import Workers

    card = read_card(source.model)
    with Workers(source.workers, model=source.model) as workers:
        told = _write_base(plan, n, source, card, workers, folder)
        told |= _write_queries(plan, source, workers, folder)
    space = plan.data["space"]
    return {"space": space, "model": source.model, "model_digest": card.digest, **told}


def _write_base(
    plan: Plan, n: int | None, source: Source, card: Any, workers: Any, folder: Path
) -> dict[str, Any]:
    from acml_search.evaluation.data.described import described_file
    from acml_search.evaluation.vectors.stored import PART, graph_vectors

    space = plan.data["space"]
    files = []
    left = n
    for name in plan.data["base"]:
        found = [
            one for one in described_file(plan.root / name, workers, source.cache) if not isinstance(one, str)
        ]
        distinct = list({one.smiles: one for one in found}.values())
        if left is not None:
            # whole parts of the cache, so that a small run makes nothing that a large one cannot use
            distinct = distinct[: PART * -(-left // PART)]
            left = max(0, left - len(distinct))
        files.append(distinct)
    vectors = graph_vectors(files, card, workers, source.cache, spaces=[space])
    smiles = list(dict.fromkeys(one.smiles for file in files for one in file))
    if n is not None and n < len(smiles):
        chosen = np.random.default_rng(plan.seed).choice(len(smiles), n, replace=False)
        smiles = [smiles[i] for i in np.sort(chosen).tolist()]
    usable = 0
    for low in range(0, len(smiles), BLOCK):  # twice over the files rather than all in memory
        usable += int(np.isfinite(vectors.take(space, smiles[low : low + BLOCK])).all(axis=1).sum())
    if usable == 0:
        raise ConfigError(f"{plan.path}: the files of [data] base hold no molecule that can be embedded")
    d = card.spaces[space].d
    out = np.lib.format.open_memmap(folder / "base.npy", "w+", np.float32, (usable, d))
    at = 0
    for low in range(0, len(smiles), BLOCK):
        block = vectors.take(space, smiles[low : low + BLOCK])
        block = block[np.isfinite(block).all(axis=1)]
        out[at : at + len(block)] = block
        at += len(block)
    out.flush()
    return {"n": usable, "d": d, "n_without_vector": len(smiles) - usable}


def _write_queries(plan: Plan, source: Source, workers: Any, folder: Path) -> dict[str, Any]:
    """Records that were asked, a seeded choice; those that could not be embedded are counted and left out."""
    from acml_search.evaluation.data.queries import read_queries
    from acml_search.evaluation.vectors.embedding import BLOCK as AT_ONCE
    from acml_search.evaluation.vectors.embedding import Source as Record
    from acml_search.evaluation.vectors.embedding import embed
    from acml_search.evaluation.workers import chunks

    space, told = plan.data["space"], {}
    file = read_queries(plan.root / plan.data["queries"], workers, cache=source.cache)
    file.check_columns(space)
    wanted = {
        "queries": (plan.data.get("where"), int(plan.data["n_queries"])),
        "typical": (plan.data.get("calibrate"), TYPICAL),
    }
    for name, (where, size) in wanted.items():
        rows = [] if name == "typical" and where is None else file.select(where=where)
        known = [row for row in rows if row.structure is not None]
        order = np.random.default_rng(plan.seed).permutation(len(known)).tolist()
        sources = (Record(known[i].structure, known[i].metadata) for i in islice(order, size))
        found = [one.vectors for one in embed("record", space, chunks(sources, AT_ONCE), workers, plan.seed)]
        d = found[0].shape[1] if found else 1
        vectors = np.concatenate([np.empty((0, d), np.float32), *found])
        usable = vectors[np.isfinite(vectors).all(axis=1)]
        if name == "queries" and len(usable) == 0:
            raise ConfigError(f"{plan.path}: no row of [data] queries can be embedded")
        np.save(folder / f"{name}.npy", usable)
        told[f"n_{name}"] = len(usable)
        told[f"n_{name}_failed"] = len(vectors) - len(usable)
    return told
