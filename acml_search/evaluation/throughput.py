"""`bench throughput`: SMILES text -> vectors, against parsing alone, a plain PyG pipeline and chemprop.

The pipelines do the same texts in turns, several rounds, so that whatever else the machine does falls on all
of them. Medians are reported, with the lowest and highest round; ratios are medians of the rounds' own
ratios. Starting processes and loading the model are not timed. A peer that is not there is named in
`why_not`. What each pipeline is stands in `PIPELINES`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.progress import progress
from acml_search.encoders.card import read_card
from acml_search.evaluation import pyg
from acml_search.evaluation import workers as processes
from acml_search.evaluation.chemprop_peer import ChempropPeer
from acml_search.evaluation.data.structures import LibraryRows
from acml_search.evaluation.recall import check_space
from acml_search.evaluation.results import check_out, write_json
from acml_search.evaluation.vectors.stages import time_stages
from acml_search.evaluation.workers import Workers, chunks

CHUNK = 512
PIPELINES = {
    "parse_only": "RDKit's MolFromSmiles and nothing else, in the workers",
    "end_to_end": "text -> standardised molecule -> graph -> float16 vectors of every space, in the workers",
    "one_space": "as end_to_end, but the vectors of one space alone (`one_space`)",
    "pyg": "from_smiles, DataLoader, the same network, in one process with as many torch threads as workers",
    "pyg_in_workers": "the same, but spread over the workers like ours",
    "chemprop": "chemprop 2's fingerprint (D-MPNN of width 300, its own featuriser and loader), in one "
    "process with as many torch threads as workers",
    "chemprop_in_workers": "the same, but in as many processes as workers, of one thread each",
}
NO_PYG = "torch-geometric is not installed: pip install 'acml-search[bench]'"
NO_CHEMPROP = "no Python with chemprop was named with --peer-python; see benchmarks/peers/README.md"


@dataclass(frozen=True)
class ThroughputOptions:
    """What is measured; the names are those of the command line."""

    out: Path
    n: int = 10_000
    library: Sequence[Path] = ()
    model: str = "acml-base"
    workers: int | None = 2
    rounds: int = 5
    seed: int = 0
    smiles_column: str | None = None
    one_space: str | None = None
    """the space that is timed alone against all in one pass; by default `smiles`, or the first by name"""
    peer_python: Path | None = None
    """a Python that has chemprop; benchmarks/peers/README.md says how to make one"""
    command: str | None = None
    """the command line that asked, for the result"""


def parse_only(texts: list[str]) -> int:
    """Task: RDKit's parsing and nothing else, the floor of any SMILES pipeline."""
    from rdkit import Chem

    return sum(Chem.MolFromSmiles(text) is not None for text in texts)


def end_to_end(texts: list[str]) -> int:
    """Task: texts to the vectors of every space, standardised as for an index, in an index's float16."""
    from acml_search.chem import molecule

    vectors = processes.model().encode_molecules([molecule.parse(text)[0] for text in texts])
    return sum(len(v.astype(np.float16)) for v in vectors.values())


def one_space(task: tuple[str, list[str]]) -> int:
    """Task: the same for one space alone."""
    from acml_search.chem import molecule

    space, texts = task
    model = processes.model()
    graphs = [model.featurise(molecule.parse(text)[0]) for text in texts]
    return len(model.encode_graphs(graphs, [space])[space].astype(np.float16))


def plain_pyg(texts: list[str]) -> int:
    """Task: the same by `from_smiles`, DataLoader and an equal network."""
    return sum(len(vectors.astype(np.float16)) for vectors in _pyg_pipeline().embed(texts))


_pipeline: pyg.PygPipeline | None = None


def _pyg_pipeline() -> pyg.PygPipeline:
    global _pipeline
    if _pipeline is None:
        _pipeline = pyg.PygPipeline(processes.model().card.data["hyper"])
    return _pipeline


def measure_throughput(options: ThroughputOptions) -> dict[str, Any]:
    """Run the benchmark, write OUT.json and return what it says; peers that are not there are null."""
    card = read_card(options.model)
    check_out(options.out)
    alone = options.one_space or ("smiles" if "smiles" in card.spaces else min(card.spaces))
    check_space(card, alone)
    with ExitStack() as stack:
        workers = stack.enter_context(Workers(options.workers, model=options.model))
        texts = usable_texts(options, workers)
        parts = list(chunks(texts, CHUNK))
        runs: dict[str, Callable[[], Any]] = {
            "parse_only": lambda: list(workers.map(parse_only, parts)),
            "end_to_end": lambda: list(workers.map(end_to_end, parts)),
        }
        if len(card.spaces) > 1:
            runs["one_space"] = lambda: list(workers.map(one_space, [(alone, part) for part in parts]))
        if pyg.available():
            runs["pyg"] = _pyg_here(card.data["hyper"], texts, workers.n)
            runs["pyg_in_workers"] = lambda: list(workers.map(plain_pyg, parts))
        peers = {}
        if options.peer_python is not None:
            for name, n, threads in (("chemprop", 1, workers.n), ("chemprop_in_workers", workers.n, 1)):
                peer = ChempropPeer(options.peer_python, texts, n_processes=n, threads=threads)
                peers[name] = stack.enter_context(peer)
                runs[name] = peer.run
        rates: dict[str, list[float]] = {name: [] for name in runs}
        with progress(total=(options.rounds + 1) * len(runs), desc="throughput", unit="run") as bar:
            for turn in range(options.rounds + 1):
                for name, run in runs.items():
                    began = time.perf_counter()
                    run()
                    if turn > 0:  # the first turn warms caches and imports
                        rates[name].append(len(texts) / (time.perf_counter() - began))
                    bar.update(1)
        stages = next(workers.map(time_stages, [texts[: 4 * CHUNK]]))
    result = _result(options, card.digest, len(texts), workers.n, rates, stages)
    result |= {"spaces": sorted(card.spaces), "one_space": alone}
    result["chemprop"] = peers["chemprop"].about if peers else None
    result["why_not"] = why_not(options)
    write_json(result, options.out)
    return result


def why_not(options: ThroughputOptions) -> dict[str, str]:
    """The pipelines that were not timed, and the reason."""
    found = {} if pyg.available() else dict.fromkeys(("pyg", "pyg_in_workers"), NO_PYG)
    if options.peer_python is None:
        found |= dict.fromkeys(("chemprop", "chemprop_in_workers"), NO_CHEMPROP)
    return found


def _pyg_here(hyper: dict[str, Any], texts: list[str], threads: int) -> Callable[[], Any]:
    """The plain pipeline in this process, with `threads` torch threads."""
    import torch

    pipeline = pyg.PygPipeline(hyper)

    def run() -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return pipeline.embed(texts)
        finally:
            torch.set_num_threads(before)

    return run


def usable_texts(options: ThroughputOptions, workers: Workers) -> list[str]:
    """A seeded choice of at most n SMILES that can be read, as the library writes them.

    Raises ConfigError when there is none.
    """
    from acml_search.library.read import default_library

    rows = LibraryRows(list(options.library) or default_library(), options.smiles_column)
    order = np.random.default_rng(options.seed).permutation(rows.count())
    texts: list[str] = []
    while len(texts) < options.n and len(order):
        wanted = int(1.05 * (options.n - len(texts))) + 100
        part, order = order[:wanted].tolist(), order[wanted:]
        drawn = rows.rows(set(part))
        for found in workers.map(readable, chunks((drawn[i] for i in part), CHUNK)):
            texts.extend(found)
    if not texts:
        raise ConfigError("the library holds no molecule that can be read")
    return texts[: options.n]


def readable(rows: list[tuple[str, str, str | None]]) -> list[str]:
    """Task: the SMILES of (text, kind, error) of library rows, without those that cannot be read."""
    from rdkit import Chem

    from acml_search.chem import molecule

    texts = []
    for text, kind, error in rows:
        if error is not None:
            continue
        try:
            mol, _ = molecule.parse_block(text) if kind == "molblock" else molecule.parse(text)
        except InvalidMolecule:
            continue  # a benchmark of speed wants readable input; `build-index` is what accounts for the rest
        texts.append(Chem.MolToSmiles(mol) if kind == "molblock" else text)
    return texts


def _result(
    options: ThroughputOptions,
    digest: str,
    n: int,
    n_workers: int,
    rates: dict[str, list[float]],
    stages: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    ours = rates["end_to_end"]

    def rate(name: str) -> float | None:
        return median(rates[name]) if name in rates else None

    def ratio(name: str) -> float | None:
        return median(a / b for a, b in zip(ours, rates[name], strict=True)) if name in rates else None

    return {
        "n": n,
        "workers": n_workers,
        "rounds": options.rounds,
        **{f"{name}_per_second": rate(name) for name in PIPELINES},
        "ratio_to_parse": ratio("parse_only"),
        "ratio_to_one_space": ratio("one_space"),
        "ratio_to_pyg": ratio("pyg"),
        "ratio_to_pyg_in_workers": ratio("pyg_in_workers"),
        "ratio_to_chemprop": ratio("chemprop"),
        "ratio_to_chemprop_in_workers": ratio("chemprop_in_workers"),
        "spread": {name: [min(seen), max(seen)] for name, seen in rates.items()},
        "pipelines": {name: PIPELINES[name] for name in rates},
        "stages": stages,
        "library": [str(path) for path in options.library] or "default",
        "model": options.model,
        "model_digest": digest,
        "seed": options.seed,
        "command": options.command,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    import rdkit
    import torch

    found = {"python": platform.python_version(), "machine": platform.machine()}
    found |= {"rdkit": rdkit.__version__, "torch": torch.__version__, "numpy": np.__version__}
    if pyg.available():
        found["torch_geometric"] = version("torch-geometric")
    return found
