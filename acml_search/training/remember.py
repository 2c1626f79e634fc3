"""Give a space of an aligned model a memory of its training records (`networks.memory`): trunk,
encoder and what the space says of its own stay to the bit.

A step asks the memory with records of some molecules, all records of these molecules left out, and what comes
back must be nearer to the molecule than to its isomers and to molecules of the library. So that vectors of
molecules that no record was measured of fall into place, too, their inner products with what was remembered
must tell the Tanimoto similarity of their Morgan bits. How much the space's own vector counts beside what is
remembered cannot be learned from the records that it was trained on; it is chosen on the inner part, by the
mean reciprocal rank among all molecules and that among molecules of the formula, which count alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.encoders.card import ModelCard, model_below, read_card
from acml_search.encoders.model import DualEncoder, save_model
from acml_search.encoders.seen import training_list, write_training_list
from acml_search.networks import Kin, Memory, RememberingHead, tensors
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import Corpus
from acml_search.training.further import ABOUT, started, steps_before
from acml_search.training.loop import Task, train
from acml_search.training.observations import Observations, read_observations
from acml_search.training.shifts import graph_batch
from acml_search.training.spaces import commit_of

BALANCES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0)
NEAR = 8.0
"""how much more an error counts between molecules that are alike in all, beside such that are in nothing"""


class Recalling(nn.Module):
    """What is trained: the memory, the graph side's view of likeness, and the scales of the losses."""

    def __init__(self, memory: Memory, kin: Kin) -> None:
        super().__init__()
        self.memory, self.kin = memory, kin
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.line = nn.Parameter(torch.tensor([0.85, -0.07]))  # from an inner product to a similarity


class Sides(NamedTuple):
    """Molecules by their place: corpus rows (n,), pooled trunk and the space's own vectors, both float16."""

    rows: np.ndarray
    pooled: np.ndarray
    own: np.ndarray


class RememberTask(Task[Recalling]):
    """`sides`: the molecules with a record first, in the order of `observed`, then others. `encoder`: the
    space's, frozen; `own`: what the space says of the inner records, by number of the record.
    """

    def __init__(
        self,
        corpus: Corpus,
        observed: Observations,
        sides: Sides,
        tower: Any,
        model: Recalling,
        settings: dict[str, Any],
    ) -> None:
        self.corpus, self.sides, self.settings, self.model = corpus, sides, settings, model
        self.modality: Any = modalities.get(tower.modality)
        self.tower, self.observed = tower, observed
        self.blocks = torch.from_numpy(corpus.blocks[sides.rows])
        self.formulas = corpus.formulas[sides.rows]
        inner = corpus.inner[sides.rows]
        measured = np.arange(len(observed.molecules))
        self.rows, self.kept = measured[~inner[measured]], measured[inner[measured]]
        self.others = np.setdiff1d(np.arange(len(sides.rows)), self.kept)
        self.by_formula = self.others[np.argsort(self.formulas[self.others], kind="stable")]
        place = np.searchsorted(observed.molecules, observed.rows)
        self.records = remembered(observed, ~inner[place], settings.get("most"))
        self.asking = remembered(observed, inner[place], 1)
        self.molecule = place
        self.lines = F.normalize(self._lines(self.records), dim=1).to_sparse()  # most are empty
        self.known = self.blocks[torch.from_numpy(place[self.records])]

    def _lines(self, records: np.ndarray) -> Tensor:
        items = [self.observed.items[i] for i in records]
        with torch.inference_mode():
            parts = [
                self.tower.encoder.lines(tensors(self.modality.collate(items[at : at + 512])))
                for at in range(0, len(items), 512)
            ]
        return torch.cat(parts).clone()

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        memory, kin = self.model.memory, self.model.kin
        drawn = self.observed.draw(self.observed.molecules[rows], rng)
        items = [self.modality.augment(self.observed.items[i], rng) for i in drawn]
        asked = memory.asked(self.tower.encoder.lines(tensors(self.modality.collate(items))))
        mine = self.blocks[rows]
        cosines = asked @ self._keys(memory).T
        counts, which = memory.counted(cosines.masked_fill(mine[:, None] == self.known[None], -1.0))
        found, at = np.unique(self.molecule[self.records][which.numpy()], return_inverse=True)
        candidates = np.concatenate([rows, self._rivals(rows, rng)])
        vectors = kin(_tensor(self.sides.pooled[np.concatenate([found, candidates])]))
        values, graphs = vectors[: len(found)], vectors[len(found) :]
        recalled = memory.answer(asked, counts, values[torch.from_numpy(at.reshape(which.shape))])
        logits = self.model.log_scale.exp() * recalled @ graphs.T
        same = mine[:, None] == self.blocks[candidates][None]
        truth = torch.arange(len(rows))
        same[truth, truth] = False
        likeness = self._likeness(values @ graphs.T, found, candidates)
        return {
            "contrast": F.cross_entropy(logits.masked_fill(same, -torch.inf), truth),
            "likeness": self.settings["likeness_weight"] * likeness,
        }

    def _keys(self, memory: Memory) -> Tensor:
        """Keys of what is to be kept: (records, key)."""
        return F.normalize(torch.sparse.mm(self.lines, memory.key.weight.T), dim=1)

    def _rivals(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Isomers of each molecule, and as many others as `settings` says."""
        formulas = self.formulas[self.by_formula]
        mine = np.repeat(self.formulas[rows], self.settings["companions"])
        low, high = np.searchsorted(formulas, mine), np.searchsorted(formulas, mine, side="right")
        isomers = self.by_formula[low + (rng.random(len(mine)) * (high - low)).astype(np.int64)]
        return np.concatenate([isomers, rng.choice(self.others, self.settings["negatives"], replace=False)])

    def _likeness(self, products: Tensor, these: np.ndarray, those: np.ndarray) -> Tensor:
        """Squared error of the Tanimoto similarities that inner products tell."""
        a, b = (torch.from_numpy(self.corpus.bits(self.sides.rows[some])) for some in (these, those))
        common = a @ b.T
        alike = common / (a.sum(dim=1)[:, None] + b.sum(dim=1)[None] - common).clamp(min=1)
        gain, offset = self.model.line
        return ((1 + NEAR * alike) * (gain * products + offset - alike).square()).mean()

    @torch.inference_mode()
    def evaluate(self, model: Recalling) -> dict[str, float]:
        """A record of each inner molecule among all molecules of `sides`, with the best balance: shares
        among 1, 10 and 100, and first of its formula. Stereoisomers do not compete, a tie is a miss.
        """
        if not len(self.asking):
            return {}
        own, recalled = self.scores(model)
        best = {balance: self._judged(balance * own + recalled) for balance in (0.0, *BALANCES)}
        chosen = max(BALANCES, key=lambda one: best[one]["mrr"] + best[one]["formula_mrr"])
        return {
            "inner_queries": float(len(self.asking)),
            "inner_pool": float(len(self.sides.rows)),
            "balance": chosen,
            **{f"inner_{name}": value for name, value in best[chosen].items()},
            "inner_own_alone_at_10": self._judged(own)["at_10"],
            "inner_recalled_alone_at_10": best[0.0]["at_10"],
            "power": model.memory.power.item(),
        }

    def scores(self, model: Recalling) -> tuple[Tensor, Tensor]:
        """(asking, molecules) each: the space's own cosines, and what is remembered of molecules."""
        graphs = self.kin(model, np.arange(len(self.sides.rows)))
        self.fill(model)
        recalled = model.memory(self._lines(self.asking)) @ graphs.T
        items = [self.observed.items[i] for i in self.asking]
        batch = tensors(self.modality.collate(items))
        own = self.tower.projection(self.tower.encoder(batch)) @ _tensor(self.sides.own).T
        return own, recalled

    def kin(self, model: Recalling, places: np.ndarray) -> Tensor:
        """Vectors (n, d) of molecules."""
        parts = [
            model.kin(_tensor(self.sides.pooled[places[at : at + 8192]]))
            for at in range(0, len(places), 8192)
        ]
        return torch.cat(parts)

    def fill(self, model: Recalling) -> None:
        """Put keys and vectors of all records into the memory."""
        model.memory.keys.copy_(self._keys(model.memory))
        places, at = np.unique(self.molecule[self.records], return_inverse=True)
        model.memory.molecule.copy_(torch.from_numpy(at))
        model.memory.values.copy_(self.kin(model, places))

    def _judged(self, scores: Tensor) -> dict[str, float]:
        at = torch.from_numpy(self.molecule[self.asking])
        formulas = torch.from_numpy(self.formulas)
        above = scores >= scores.gather(1, at[:, None])
        above &= self.blocks[None] != self.blocks[at][:, None]
        ranks = 1 + above.sum(dim=1).numpy()
        first = 1 + (above & (formulas[None] == formulas[at][:, None])).sum(dim=1).numpy()
        shares = {f"at_{k}": float((ranks <= k).mean()) for k in (1, 10, 100)}
        return {
            **shares,
            "formula_at_1": float((first == 1).mean()),
            "mrr": float((1 / ranks).mean()),
            "formula_mrr": float((1 / first).mean()),
        }


def remembered(observed: Observations, learned: np.ndarray, most: int | None) -> np.ndarray:
    """Numbers of the records to be kept: those in `learned` (n,) bool, of one molecule at most `most`, spread
    over its records in their order.
    """
    if most is None:
        return np.flatnonzero(learned)
    kept = []
    for low, high in zip(observed.starts, observed.starts[1:], strict=False):
        mine = low + np.flatnonzero(learned[low:high])
        kept.append(mine[np.unique(np.linspace(0, len(mine) - 1, min(most, len(mine))).astype(np.int64))])
    return np.concatenate(kept)


def run(path: Path | str) -> ModelCard:
    """Train a memory as the configuration file says and write the model directory, `out/model`.

    Raises `ConfigError` for a configuration that cannot be followed, `CheckpointError` for a model that is
    not there.
    """
    config = read_config(path, ("name", "start", "space", "memory", "corpus", "training"))
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    card = read_card(model_below(config.root, config.data["start"]))
    space = config.data["space"]["name"]
    if space not in card.spaces:
        raise ConfigError(f"{path}: {card.name} has no space {space!r} to give a memory")
    hyper, network = started(config, card, forget=space)
    network.requires_grad_(False)
    task = _task(config, network, space)
    averaged = train(task, config.data["training"], config.seed, config.out)
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    with torch.inference_mode():
        task.fill(averaged)
        averaged.memory.balance.fill_(log[-1].get("balance", 1.0))
    hyper["spaces"][space]["memory"] = {
        "records": len(task.records),
        "molecules": len(task.rows),
        **{key: config.data["memory"][key] for key in ("key", "d", "nearest", "guess", "hidden")},
    }
    network.heads[space] = RememberingHead(network.heads[space], averaged.kin)
    network.tower(space).memory = averaged.memory
    about = {
        **{key: value for key, value in (card.data | card.measurements).items() if key in ABOUT},
        "seed": config.seed,
        "commit": commit_of(config.root),
        "sharpened": [*steps_before(card), {"config": config.data, "start": card.digest, "log": log}],
    }
    scales = {name: one.scale for name, one in card.spaces.items()}
    made = save_model(
        config.out / "model", config.data["name"], network, hyper, scales, about,
        half=config.data.get("half", False),
    )  # fmt: skip
    seen = training_list(card)  # the memory holds records that the alignment saw
    if seen is None:
        return made
    return write_training_list(made.directory, seen, card.data["training_list"]["made_by"])


def _task(config: TrainingConfig, network: DualEncoder, space: str) -> RememberTask:
    corpus, settings, tower = config.corpus(), config.data["training"], network.tower(space)
    encoder: Any = tower.encoder
    if not hasattr(encoder, "lines"):
        raise ConfigError(f"the encoder of {space} lays out no records; it cannot ask a memory")
    observed = read_observations(space, config.data["space"]["records"], corpus, config.root)
    rows = observed.among(corpus, settings["others"], config.seed)
    sizes = config.data["memory"]
    records = len(remembered(observed, ~corpus.inner[observed.rows], settings.get("most")))
    molecules = int((~corpus.inner[observed.molecules]).sum())
    memory = Memory(
        encoder.n_lines, records, molecules, *(sizes[key] for key in ("key", "d", "nearest", "guess"))
    )
    model = Recalling(memory, Kin(network.trunk.width, sizes["hidden"], sizes["d"]))
    task = RememberTask(corpus, observed, _sides(network, space, corpus, rows), tower, model, settings)
    with torch.no_grad():  # keys begin as the principal axes of the records
        axes = torch.svd_lowrank(task.lines, q=sizes["key"], niter=4)[2]
        memory.key.weight.copy_(axes.T)
    return task


@torch.inference_mode()
def _sides(network: DualEncoder, space: str, corpus: Corpus, rows: np.ndarray) -> Sides:
    """One pass of the trunk over all molecules."""
    head, tower = network.heads[space], network.tower(space)
    pooled, own = [], []
    for start in progress(range(0, len(rows), 64), desc="trunk", unit="batch"):
        batch = graph_batch(corpus, rows[start : start + 64])
        states = network.trunk.node_states(batch)
        whole = network.trunk.pool(states, batch)
        pooled.append(whole.half().numpy())
        own.append(head(states, whole, batch, tower).half().numpy())
    return Sides(rows, np.concatenate(pooled), np.concatenate(own))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
