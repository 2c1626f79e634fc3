"""Alignment: one graph trunk and a head per space learn to meet frozen unimodal encoders (ACML, arXiv
2311.06456).

A batch is put together from several streams of molecules (those with a 13C spectrum, those with an MS/MS
spectrum, library molecules ...), isomers side by side in each. The trunk reads it once; every space takes
the molecules it has a record of. The encoders never change, so what they say of a record is kept where
saying it is dear.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.encoders.model import DualEncoder
from acml_search.networks import TensorBatch
from acml_search.networks.nmr import Peaks, ShiftHead
from acml_search.training.batches import endless_batches
from acml_search.training.corpus import Corpus
from acml_search.training.feeds import Feed
from acml_search.training.loop import Task
from acml_search.training.losses import ContrastiveLoss, pair_recall
from acml_search.training.observations import Observations
from acml_search.training.shifts import Assigned, graph_batch, set_errors, shift_loss

POOL = 10_000


class Aligner(nn.Module):
    """The whole model, and a loss with its own scale per space."""

    def __init__(self, hyper: dict[str, Any], closeness: dict[str, float]) -> None:
        super().__init__()
        self.network = DualEncoder(hyper)
        self.losses = nn.ModuleDict(
            {name: ContrastiveLoss(closeness=closeness.get(name, 0.0)) for name in hyper["spaces"]}
        )

    def contrast(self, name: str) -> ContrastiveLoss:
        """The loss of one space."""
        return cast("ContrastiveLoss", self.losses[name])

    def graphs(self, batch: TensorBatch) -> tuple[dict[str, Tensor], dict[str, Peaks]]:
        """Graph side of every space, and the peaks that the NMR heads predict on the way."""
        network = self.network
        states = network.trunk.node_states(batch)
        pooled = network.trunk.pool(states, batch)
        vectors, peaks = {}, {}
        for name, head in network.heads.items():
            if isinstance(head, ShiftHead):
                peaks[name] = head.peaks(states, pooled, batch)
                vectors[name] = head.embed(peaks[name], pooled, network.tower(name))
            else:
                vectors[name] = head(states, pooled, batch, network.tower(name))
        return vectors, peaks


class Stream:
    """A source of molecules: `n` of every batch, `isomers` of one formula side by side where there are.

    `companions` molecules of the same formula, from anywhere in the corpus, follow each one: they have no
    record, but are what its record must be told from.
    """

    def __init__(
        self, corpus: Corpus, rows: np.ndarray, n: int, isomers: int = 1, companions: int = 0
    ) -> None:
        self.rows, self.n, self.isomers, self.companions = rows, n, isomers, companions
        self.formulas = corpus.formulas
        self.all = corpus.learned[np.argsort(corpus.formulas[corpus.learned], kind="stable")]
        self.size = n * (1 + companions)

    def draw(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Batches without end, each (size,) int64."""
        sorted_formulas = self.formulas[self.all]
        for rows in endless_batches(self.rows, self.formulas, self.n, self.isomers, rng):
            if not self.companions:
                yield rows
                continue
            mine = np.repeat(self.formulas[rows], self.companions)
            low = np.searchsorted(sorted_formulas, mine)
            high = np.searchsorted(sorted_formulas, mine, side="right")
            yield np.concatenate(
                [rows, self.all[low + (rng.random(len(mine)) * (high - low)).astype(np.int64)]]
            )


class AlignTask(Task[Aligner]):
    """`feeds`: where each space's records come from; `weights`: of each space's loss, 1 unless named.

    `labels`: peak lists as listed and assigned shifts, by modality, for the node heads. `dropout`: share of a
    space's frozen features that is left out at random.
    """

    def __init__(
        self,
        corpus: Corpus,
        model: Aligner,
        feeds: dict[str, Feed],
        streams: list[Stream],
        labels: tuple[dict[str, Observations], dict[str, Assigned]],
        weights: dict[str, float],
        unfrozen: frozenset[str] = frozenset(),
        dropout: dict[str, float] | None = None,
    ) -> None:
        self.corpus, self.model = corpus, model
        self.dropout = dropout or {}
        self.feeds, self.streams, self.weights = feeds, streams, weights
        self.observed, self.assigned = labels
        self.unfrozen = unfrozen
        self.rows = np.unique(np.concatenate([stream.rows for stream in streams]))
        self.formulas = corpus.formulas
        # The inner part: every molecule that has a real record in some space first.
        kept = corpus.kept
        known = np.logical_or.reduce([feed.real(kept) for feed in feeds.values()])
        self.inner = np.concatenate([kept[known], kept[~known]])

    def to_training(self) -> None:
        self.model.train()
        for name in self.feeds:
            if name not in self.unfrozen:  # frozen means its normalisation statistics, too
                self.model.network.tower(name).encoder.eval()

    def batches(self, settings: dict[str, Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        drawn = [stream.draw(rng) for stream in self.streams]
        while True:
            yield np.concatenate([next(stream) for stream in drawn])

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        vectors, peaks = self.model.graphs(graph_batch(self.corpus, rows))
        same = torch.from_numpy(self.corpus.blocks[rows])
        terms = {}
        for name, feed in self.feeds.items():
            at = np.flatnonzero(feed.has(rows))
            encoded = F.dropout(feed.encoded(rows[at], rng), self.dropout.get(name, 0.0))
            records = self.model.network.tower(name).projection(encoded)
            term = self.model.contrast(name)(vectors[name], records, same, torch.from_numpy(at))
            terms[name] = self.weights.get(name, 1.0) * term
        for name, found in peaks.items():
            if name in self.observed:
                shifts = shift_loss(found, rows, self.observed[name], self.assigned.get(name), rng)
                terms[f"{name}_shifts"] = self.weights.get("shifts", 1.0) * shifts
        return terms

    @torch.inference_mode()
    def evaluate(self, model: Aligner) -> dict[str, float]:
        """Recall at 1 of inner records among the inner molecules (10,000), and the node heads' errors."""
        pool = self.inner[:POOL]
        vectors: dict[str, list[Tensor]] = {name: [] for name in self.feeds}
        errors: dict[str, list[np.ndarray]] = {name: [] for name in self.observed}
        rng = np.random.default_rng(0)
        for start in range(0, len(pool), 256):
            rows = pool[start : start + 256]
            found, peaks = model.graphs(graph_batch(self.corpus, rows))
            for name in self.feeds:
                vectors[name].append(found[name])
            for name in errors.keys() & peaks.keys():
                errors[name].append(set_errors(peaks[name], rows, self.observed[name], rng))
        out: dict[str, float] = {"inner_pool": float(len(pool))}
        for name, feed in self.feeds.items():
            known = np.flatnonzero(feed.real(pool))
            order = np.concatenate([known, np.setdiff1d(np.arange(len(pool)), known)])
            graphs = torch.cat(vectors[name])[torch.from_numpy(order)]
            same = torch.from_numpy(self.corpus.blocks[pool[order]])
            records = torch.cat(
                [
                    model.network.tower(name).projection(feed.plain(pool[known[i : i + 256]]))
                    for i in range(0, len(known), 256)
                ]
            )
            out[f"{name}_inner_at_1"] = pair_recall(records, graphs, same)
            out[f"{name}_scale"] = model.contrast(name).scale.item()
        for name, values in errors.items():
            if values:
                out[f"{name}_set_error"] = float(np.concatenate(values).mean())
        return out
