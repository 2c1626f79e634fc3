"""`bench throughput`: SMILES text -> vectors, against parsing alone and a plain PyG pipeline.

The pipelines do the same texts in turns, several rounds, so that whatever else the machine does affects all
of them. Medians are reported, with the lowest and highest round; ratios are medians of the rounds' own
ratios. Starting processes and loading the model are not timed. `PIPELINES` says what each pipeline is.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rdkit import Chem

from acml_search.chem import molecule
from acml_search.chem.graph import collate
from acml_search.core.errors import ConfigError
from acml_search.core.io import versions
from acml_search.core.progress import progress
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import read_card
from acml_search.evaluation import workers as processes
from acml_search.evaluation.pool import describe, library_texts
from acml_search.evaluation.results import Result, check_out
from acml_search.evaluation.retrieval import check_space
from acml_search.evaluation.workers import model_workers
from acml_search.library.stream import default_library

CHUNK = 512
BATCH = 64
REPEATS = 3
PIPELINES = {
    "parse_only": "RDKit's MolFromSmiles and nothing else, in the workers",
    "end_to_end": "text -> standardised molecule -> graph -> float16 vectors of every space, in the workers",
    "one_space": "as end_to_end, but the vectors of one space alone (`one_space`)",
    "pyg": "from_smiles, DataLoader, the same network, in one process with as many torch threads as workers",
    "pyg_in_workers": "the same, but spread over the workers like ours",
}


def parse_only(texts: list[str]) -> int:
    """Worker task: RDKit's parsing and nothing else, the floor of any SMILES pipeline."""
    return sum(Chem.MolFromSmiles(text) is not None for text in texts)


def end_to_end(task: tuple[list[str], list[str] | None]) -> int:
    """Worker task: texts to the float16 vectors of some spaces (None: all), standardised as for an index."""
    texts, spaces = task
    model = processes.model()
    graphs = [model.featurise(molecule.parse(text)[0]) for text in texts]
    return sum(len(v.astype(np.float16)) for v in model.encode_graphs(graphs, spaces).values())


def plain_pyg(texts: list[str]) -> int:
    """Worker task: the same by `from_smiles`, DataLoader and an equal network."""
    return sum(len(vectors.astype(np.float16)) for vectors in _pyg_pipeline().embed(texts))


@cache
def _pyg_pipeline() -> PygPipeline:
    return PygPipeline(processes.model().card.data["hyper"])


class PygPipeline:
    """SMILES -> vectors as most projects do it: PyG's `from_smiles`, its DataLoader, then the network.

    The network is the model's own trunk and heads at their own size, folded and batched as ours, with
    embedding tables for PyG's atom and bond columns and random weights (speed does not depend on their
    values): only the way from text to tensors differs. `hyper`: the hyper-parameters in a model's card.
    """

    def __init__(self, hyper: dict[str, Any]) -> None:
        from torch_geometric.utils.smiles import e_map, x_map

        from acml_search.networks import GraphNet, Projection

        self._sizes = [len(values) for values in e_map.values()]
        n_links = self._sizes[0] * self._sizes[1] * self._sizes[2]
        self._trunk = GraphNet([len(values) for values in x_map.values()], n_links, **hyper["trunk"]).eval()
        self._trunk.fold()
        heads = [space["head"] for space in hyper["spaces"].values()]  # each a plain projection here
        self._heads = [
            Projection(self._trunk.width, head.get("hidden", head["d"]), head["d"]).eval() for head in heads
        ]

    def embed(self, texts: list[str]) -> list[Any]:
        """A float32 array (n, d) for each space."""
        import torch
        from torch_geometric.loader import DataLoader
        from torch_geometric.utils import from_smiles

        graphs = [from_smiles(text) for text in texts]
        found: list[list[Any]] = [[] for _ in self._heads]
        with torch.inference_mode():
            for batch in DataLoader(graphs, BATCH):
                pooled = self._trunk(self._batch(batch))
                for vectors, head in zip(found, self._heads, strict=True):
                    vectors.append(head(pooled))
        return [torch.cat(vectors).numpy() for vectors in found]

    def _batch(self, batch: Any) -> Any:
        from acml_search.networks import TensorBatch

        _, stereo, conjugated = self._sizes
        kind = batch.edge_attr
        return TensorBatch(
            x=batch.x,
            edge_index=batch.edge_index,
            edge_attr=(kind[:, 0] * stereo + kind[:, 1]) * conjugated + kind[:, 2],
            batch=batch.batch,
            ptr=batch.ptr,
        )


def measure_throughput(
    out: Path,
    *,
    n: int = 10_000,
    library: Sequence[Path] = (),
    model: str = "acml-base",
    workers: int | None = 2,
    rounds: int = 5,
    seed: int = 0,
    smiles_column: str | None = None,
    one_space: str | None = None,
    command: str | None = None,
) -> Result:
    """Run the benchmark and write OUT.json.

    `n`: molecules per round; `one_space`: timed alone against all in one pass, by default `smiles`, or the
    first by name; its figures are null where the model has no other.
    """
    import torch

    card = read_card(model)
    check_out(out)
    alone = one_space or ("smiles" if "smiles" in card.spaces else min(card.spaces))
    check_space(card, alone)
    with model_workers(workers, model=model) as pool:
        texts = readable_texts(library, n, pool, seed, smiles_column)
        parts = list(chunks(texts, CHUNK))
        runs: dict[str, Callable[[], Any]] = {
            "parse_only": lambda: list(pool.map(parse_only, parts)),
            "end_to_end": lambda: list(pool.map(end_to_end, [(part, None) for part in parts])),
        }
        if len(card.spaces) > 1:
            runs["one_space"] = lambda: list(pool.map(end_to_end, [(part, [alone]) for part in parts]))
        torch.set_num_threads(pool.n)  # of the plain pipeline here; a worker has one
        pyg = PygPipeline(card.data["hyper"])
        runs["pyg"] = lambda: pyg.embed(texts)
        runs["pyg_in_workers"] = lambda: list(pool.map(plain_pyg, parts))
        rates = _timed_in_turns(runs, len(texts), rounds)
        stages = next(pool.map(time_stages, [texts[: 4 * CHUNK]]))
    ours = rates["end_to_end"]
    ratios = {
        name: median(a / b for a, b in zip(ours, rates[name], strict=True)) if name in rates else None
        for name in PIPELINES
    }
    fields: dict[str, Any] = {
        "n": len(texts),
        "workers": pool.n,
        "rounds": rounds,
        **{f"{name}_per_second": median(rates[name]) if name in rates else None for name in PIPELINES},
        "ratio_to_parse": ratios["parse_only"],
        **{f"ratio_to_{name}": x for name, x in ratios.items() if name not in ("parse_only", "end_to_end")},
        "spread": {name: [min(seen), max(seen)] for name, seen in rates.items()},
        "pipelines": {name: PIPELINES[name] for name in rates},
        "stages": stages,
        "library": [str(path) for path in library] or "default",
        "model": model,
        "model_digest": card.digest,
        "seed": seed,
        "command": command,
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            **versions("rdkit", "torch", "numpy", "torch-geometric"),
        },
        "spaces": sorted(card.spaces),
        "one_space": alone,
    }
    result = Result(kind="throughput", **fields)
    result.write(out)
    return result


def _timed_in_turns(runs: dict[str, Callable[[], Any]], n: int, rounds: int) -> dict[str, list[float]]:
    """Molecules per second of each run in each round; a first round warms caches and imports."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    with progress(total=(rounds + 1) * len(runs), desc="throughput", unit="run") as bar:
        for number in range(rounds + 1):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                if number > 0:
                    rates[name].append(n / (time.perf_counter() - began))
                bar.update(1)
    return rates


def readable_texts(
    library: Sequence[Path], n: int, workers: Workers, seed: int = 0, smiles_column: str | None = None
) -> list[str]:
    """At most n readable SMILES, a seeded choice, as the library (default: RDKit's) writes them."""
    rows = list(library_texts(list(library) or default_library(), smiles_column))
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    parts = list(chunks((rows[i] for i in order), CHUNK))
    texts: list[str] = []
    for part, found in zip(parts, workers.map(describe, parts), strict=True):
        for (text, kind, _), one in zip(part, found, strict=True):
            if not isinstance(one, str):
                texts.append(text if kind == "smiles" else one.smiles)
        if len(texts) >= n:
            break
    if not texts:
        raise ConfigError("the library holds no molecule that can be read")
    return texts[:n]


def time_stages(texts: list[str]) -> dict[str, dict[str, float | None]]:
    """Worker task: `{stage: {"microseconds": per molecule, "share": of end to end}}`, the share null where
    the stage is not part of it: canonical SMILES and InChIKey belong to building an index.

    Standardising and the network are differences: a standardised parse less RDKit's, and the encoding of
    graphs less collating.
    """
    model = processes.model()

    def standardised() -> list[Any]:
        return [molecule.parse(text)[0] for text in texts]

    def graphs() -> list[Any]:
        return [model.featurise(mol) for mol in standardised()]

    def collate_all(inputs: list[Any]) -> None:
        for low in range(0, len(inputs), BATCH):
            collate(inputs[low : low + BATCH])

    def timed(make_input: Callable[[], Any], work: Callable[[Any], Any]) -> float:
        """Median microseconds per molecule of `work`, on fresh input each time, since RDKit caches."""
        seconds = []
        for _ in range(REPEATS):
            inputs = make_input()
            began = time.perf_counter()
            work(inputs)
            seconds.append(time.perf_counter() - began)
        return median(seconds) / len(texts) * 1e6

    parse = timed(lambda: texts, lambda texts: [Chem.MolFromSmiles(text) for text in texts])
    standardise = timed(lambda: None, lambda _: standardised())
    featurise = timed(standardised, lambda mols: [model.featurise(mol) for mol in mols])
    collating = timed(graphs, collate_all)
    encode = timed(graphs, model.encode_graphs)
    whole = standardise + featurise + encode
    steps = {
        "parse": parse,
        "standardise": max(standardise - parse, 0.0),
        "featurise": featurise,
        "collate": collating,
        "network": max(encode - collating, 0.0),
    }
    beside = {
        "canonical SMILES": timed(standardised, lambda mols: [Chem.MolToSmiles(mol) for mol in mols]),
        "InChIKey": timed(standardised, lambda mols: [Chem.MolToInchiKey(mol) for mol in mols]),
    }
    stages: dict[str, dict[str, float | None]] = {
        name: {"microseconds": spent, "share": spent / whole} for name, spent in steps.items()
    }
    return stages | {name: {"microseconds": spent, "share": None} for name, spent in beside.items()}
