"""Give a space of a model a memory of its training records (`networks.memory`): trunk, encoder and the own
vectors of the space stay as they are.

A step queries the memory with records of some molecules, all records of these molecules left out, and the
vector that is retrieved must be nearer to the molecule than to its isomers and to molecules of the library.
So that vectors of molecules without a measured record fall into place, too, their inner products with
retrieved vectors must tell the Tanimoto similarity of their Morgan bits. How much the space's own vector
counts beside the retrieved one cannot be learned from the records that it was trained on; it is chosen on the
dev split, by the mean reciprocal rank among all molecules and that among molecules of the formula, which
count alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.encoders.checkpoint import DualEncoder, device_of
from acml_search.networks import KNNMemory, MemoryAugmentedHead, SimilarityHead, placement, tensors
from acml_search.training.config import MemoryPlan, read_plan
from acml_search.training.contrast import IsomerPool, same_molecules
from acml_search.training.corpus import corpus_of
from acml_search.training.finetune import finetune_from, pooled_vectors, save_finetuned
from acml_search.training.loop import Task, read_log, train
from acml_search.training.records import MeasuredRecords, encoded, read_records

BALANCES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0)
SIMILAR_WEIGHT = 8.0
"""how much more an error of the similarity counts at similarity 1 than at 0"""


def run(path: Path | str, root: Path | None = None, device: str = "auto") -> ModelCard:
    """Train a memory as the plan says and write `out/model`. Raises `ConfigError` or `CheckpointError`."""
    plan = read_plan(path, MemoryPlan, root)
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    space = plan.space.name
    start, hyper, network = finetune_from(plan, space, new_memory=True)
    network.to(device_of(device)).requires_grad_(False)
    task = MemoryTask(plan, network)
    averaged = train(task, plan)
    with torch.inference_mode():
        task.fill(averaged)
        averaged.memory.balance.fill_(read_log(plan.out_folder)[-1].get("balance", 1.0))
    hyper["spaces"][space]["memory"] = {
        "records": len(task.records),
        "molecules": len(task.rows),
        **plan.memory.model_dump(),
    }
    network.heads[space] = MemoryAugmentedHead(network.heads[space], averaged.similarity)
    network.tower(space).memory = averaged.memory
    return save_finetuned(plan, start, network, hyper, {name: s.scale for name, s in start.spaces.items()})


class MemoryModule(nn.Module):
    """What is trained: the memory, the graph side's vectors in its space, and the scales of the losses."""

    def __init__(self, memory: KNNMemory, similarity: SimilarityHead) -> None:
        super().__init__()
        self.memory, self.similarity = memory, similarity
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.line = nn.Parameter(torch.tensor([0.85, -0.07]))  # from an inner product to a similarity


class MemoryTask(Task[MemoryModule]):
    """`molecules` (n,): corpus rows, those with a record first, in the order of `measured`, then others;
    everything else counts them by their place. `pooled`, `own`: trunk and space's own vectors of them, both
    float16. `tower`: the space's, frozen, as `network` is.
    """

    def __init__(self, plan: MemoryPlan, network: DualEncoder) -> None:
        space, sizes, settings = plan.space.name, plan.memory, plan.training
        self.corpus = corpus = corpus_of(plan)
        self.tower, self.modality, self.settings = network.tower(space), modalities.get(space), settings
        encoder: Any = self.tower.encoder
        if not hasattr(encoder, "binned"):
            raise ConfigError(f"the encoder of {space} bins no records, so it cannot query a memory")
        self.measured = measured = read_records(space, plan.space.records, corpus, plan.root_folder)
        others = np.random.default_rng([plan.seed, 1]).permutation(corpus.train_rows)
        others = others[~measured.has(others)][: settings.unmeasured]
        self.molecules = np.concatenate([measured.molecules, others])
        self.formulas = corpus.formulas[self.molecules]
        in_dev = corpus.is_dev[self.molecules]
        with_record = np.arange(len(measured.molecules))
        self.rows, self.dev = with_record[~in_dev[with_record]], with_record[in_dev[with_record]]
        self.negatives = np.setdiff1d(np.arange(len(self.molecules)), self.dev)
        self.isomers = IsomerPool(self.negatives, self.formulas)
        self.molecule = np.searchsorted(measured.molecules, measured.rows)
        """(records,) int64, the molecule of each record"""
        self.records = kept_records(measured, ~in_dev[self.molecule], settings.max_records)
        self.dev_records = kept_records(measured, in_dev[self.molecule], 1)
        memory = KNNMemory(
            encoder.n_bins, len(self.records), len(self.rows), sizes.key, sizes.d, sizes.nearest, sizes.guess
        )
        similarity = SimilarityHead(network.trunk.width, sizes.hidden, sizes.d)
        self.model = MemoryModule(memory, similarity).to(placement(network)[0])
        self.pooled, self.own = pooled_vectors(network, corpus, self.molecules, space)
        self.inchikey_hashes = self.tensor(corpus.inchikey_hashes[self.molecules])
        self.record_hashes = self.inchikey_hashes[self.tensor(self.molecule[self.records])]
        self.binned = F.normalize(self._binned(self.records), dim=1).to_sparse()  # most bins are empty
        with torch.no_grad():  # keys begin as the principal axes of the records
            axes = torch.svd_lowrank(self.binned, q=sizes.key, niter=4)[2]
            memory.key.weight.copy_(axes.T)

    def _binned(self, records: np.ndarray) -> Tensor:
        items, encoder = [self.measured.items[i] for i in records], cast("Any", self.tower.encoder)
        with torch.no_grad():
            return encoded(self.modality, items, self.tower, encoder.binned, size=512)

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        memory, encoder = self.model.memory, self.tower.encoder
        drawn = self.measured.drawn(self.measured.molecules[rows], rng)
        items = [self.modality.augment(item, rng) for item in drawn]
        binned = encoder.binned(tensors(self.modality.collate(items), self.tower))  # type: ignore[operator]
        queries = memory.query_key(binned)
        own = self.inchikey_hashes[self.tensor(rows)]
        cosines = (queries @ self._keys(memory).T).masked_fill(own[:, None] == self.record_hashes, -1.0)
        weights, which = memory.neighbour_weights(cosines)
        found, at = np.unique(self.molecule[self.records][which.cpu().numpy()], return_inverse=True)
        isomers = self.isomers.draw(rows, self.settings.isomer_negatives, rng)
        others = rng.choice(self.negatives, self.settings.negatives, replace=False)
        candidates = np.concatenate([rows, isomers, others])
        vectors = self.model.similarity(self.floats(self.pooled[np.concatenate([found, candidates])]))
        values, graphs = vectors[: len(found)], vectors[len(found) :]
        retrieved = memory.retrieve(queries, weights, values[self.tensor(at.reshape(which.shape))])
        logits = self.model.log_scale.exp() * retrieved @ graphs.T
        duplicate = same_molecules(own, self.inchikey_hashes[self.tensor(candidates)])
        truth = torch.arange(len(rows), device=self.device)
        similarity = self._similarity_error(values @ graphs.T, found, candidates)
        return {
            "contrast": F.cross_entropy(logits.masked_fill(duplicate, -torch.inf), truth),
            "similarity": self.settings.similarity_weight * similarity,
        }

    def _keys(self, memory: KNNMemory) -> Tensor:
        """Keys of the records that are kept: (records, key)."""
        return F.normalize(torch.sparse.mm(self.binned, memory.key.weight.T), dim=1)

    def _similarity_error(self, products: Tensor, these: np.ndarray, those: np.ndarray) -> Tensor:
        """Squared error of the Tanimoto similarities that inner products tell."""
        a, b = (self.tensor(self.corpus.bits(self.molecules[some])) for some in (these, those))
        common = a @ b.T
        tanimoto = common / (a.sum(dim=1)[:, None] + b.sum(dim=1)[None] - common).clamp(min=1)
        gain, offset = self.model.line
        return ((1 + SIMILAR_WEIGHT * tanimoto) * (gain * products + offset - tanimoto).square()).mean()

    @torch.inference_mode()
    def evaluate(self, model: MemoryModule) -> dict[str, float]:
        """A record of each molecule of the dev split among all molecules, with the best balance: shares among
        1, 10 and 100, and first of its formula. Stereoisomers do not compete, a tie is a miss.
        """
        if not len(self.dev_records):
            return {}
        own, retrieved = self.scores(model)
        ranked = {balance: self._ranked(balance * own + retrieved) for balance in (0.0, *BALANCES)}
        best = max(BALANCES, key=lambda one: ranked[one]["mrr"] + ranked[one]["formula_mrr"])
        return {
            "dev_queries": float(len(self.dev_records)),
            "dev_pool": float(len(self.molecules)),
            "balance": best,
            **{f"dev_{name}": value for name, value in ranked[best].items()},
            "dev_own_alone_at_10": self._ranked(own)["at_10"],
            "dev_memory_alone_at_10": ranked[0.0]["at_10"],
            "power": model.memory.power.item(),
        }

    def scores(self, model: MemoryModule) -> tuple[Tensor, Tensor]:
        """(dev records, molecules) each: the space's own cosines, and those of what is retrieved."""
        graphs = self.similarity_vectors(model, np.arange(len(self.molecules)))
        self.fill(model)
        retrieved = model.memory(self._binned(self.dev_records)) @ graphs.T
        items = [self.measured.items[i] for i in self.dev_records]
        features = encoded(self.modality, items, self.tower, self.tower.encoder)
        return self.tower.projection(features) @ self.floats(self.own).T, retrieved

    def similarity_vectors(self, model: MemoryModule, places: np.ndarray) -> Tensor:
        """Vectors (n, d) of molecules in the memory's space."""
        parts = [self.pooled[places[at : at + 8192]] for at in range(0, len(places), 8192)]
        return torch.cat([model.similarity(self.floats(part)) for part in parts])

    def fill(self, model: MemoryModule) -> None:
        """Put keys and vectors of all records into the memory."""
        model.memory.keys.copy_(self._keys(model.memory))
        places, at = np.unique(self.molecule[self.records], return_inverse=True)
        model.memory.molecule.copy_(self.tensor(at))
        model.memory.values.copy_(self.similarity_vectors(model, places))

    def _ranked(self, scores: Tensor) -> dict[str, float]:
        at = self.tensor(self.molecule[self.dev_records])
        formulas = self.tensor(self.formulas)
        above = scores >= scores.gather(1, at[:, None])
        above &= self.inchikey_hashes[None] != self.inchikey_hashes[at][:, None]
        ranks = 1 + above.sum(dim=1).cpu().numpy()
        of_formula = above & (formulas[None] == formulas[at][:, None])
        formula_ranks = 1 + of_formula.sum(dim=1).cpu().numpy()
        return {
            **{f"at_{k}": float((ranks <= k).mean()) for k in (1, 10, 100)},
            "formula_at_1": float((formula_ranks == 1).mean()),
            "mrr": float((1 / ranks).mean()),
            "formula_mrr": float((1 / formula_ranks).mean()),
        }


def kept_records(measured: MeasuredRecords, allowed: np.ndarray, limit: int | None) -> np.ndarray:
    """Numbers of the `allowed` (n,) records to keep, of a molecule at most `limit`, spread over its own."""
    if limit is None:
        return np.flatnonzero(allowed)
    kept = []
    for low, high in zip(measured.starts, measured.starts[1:], strict=False):
        own = low + np.flatnonzero(allowed[low:high])
        kept.append(own[np.unique(np.linspace(0, len(own) - 1, min(limit, len(own))).astype(np.int64))])
    return np.concatenate(kept)
