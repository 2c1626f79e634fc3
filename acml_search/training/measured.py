"""Pretraining of an encoder of measured records against the molecules they were measured of.

Mass spectra know the mass, so the molecules that a search must tell apart have the same mass, exactly or to
the unit. Every record meets its molecule among others of that mass (within `ppm`, isomers preferred), drawn
from the whole corpus (`negatives` a molecule), and among all molecules of the batch; and it must tell the
molecule's Morgan bits. The molecule's side is the modality's own head, and it reads what is cheap enough for
many negatives: Morgan bits, and then it is thrown away, for alignment brings the graph trunk; or, with
`trunk` in the configuration, what the frozen trunk of that model says, and then projection and head are kept
with the encoder, to take the place of the model's own (`training.further`). A head that predicts a spectrum
(`LineHead`) is taught the measured one, too.

Molecules that were measured are not like molecules of a library, so part of what is gained this way is a
prior: what kind of molecule gets measured. `inner_prior_*` in the log says how far that alone goes, with the
mean vector of all records in place of the record's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.chem.masses import atom_masses
from acml_search.encoders.card import model_below
from acml_search.encoders.model import load_model
from acml_search.networks import Projection, tensors, width_of
from acml_search.networks.ei import LineHead, LineTower
from acml_search.training.batches import isomer_batches
from acml_search.training.config import read_config
from acml_search.training.corpus import BITS, Corpus
from acml_search.training.known import FrozenTrunk, Known, MorganBits, trunk_digest
from acml_search.training.loop import Task, train
from acml_search.training.losses import ContrastiveLoss
from acml_search.training.observations import Observations, read_observations
from acml_search.training.shifts import graph_batch

JUDGED_PPM = 10.0  # what counts as the same mass when the inner part is judged
PREFER_ISOMERS = 3.0  # an isomer is drawn as a negative this many times as readily as another of the mass


class StandIn(nn.Module):
    """Stands for a graph trunk: what is known of a molecule, some of it hidden in training."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.dropout = nn.Dropout(dropout)

    def forward(self, known: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(known)
        return hidden


class Meeting(nn.Module):
    """Encoder, projection and fingerprint head of a modality, and the molecule's side, which reads `width`
    numbers of a molecule.
    """

    def __init__(self, config: dict[str, Any], width: int) -> None:
        super().__init__()
        modality, dropout = modalities.get(config["modality"]), config["training"]["dropout"]
        self.encoder = modality.tower(**config["tower"])
        features = width_of(self.encoder)
        self.dropout = nn.Dropout(dropout)
        self.projection = Projection(features, **config["head"])
        self.bits = nn.Linear(features, BITS)
        self.trunk = StandIn(width, config["training"].get("trunk_dropout", dropout))
        self.head = modality.head(self.trunk, self, **config["molecule"])
        self.contrast = ContrastiveLoss()

    def records(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Unit vectors (n, d) of a batch, and logits of its molecules' Morgan bits."""
        features = self.encoder(batch)
        varied = self.dropout(features)
        return self.projection(varied), self.bits(varied)

    def molecules(self, corpus: Corpus, known: Known, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Unit vectors (n, d) of corpus rows, and the lines that were predicted on the way, if any."""
        pooled = self.trunk(known.of(rows))
        if not isinstance(self.head, LineHead):
            return self.head([], pooled, None, self), None
        lines = self.head.lines(pooled, graph_batch(corpus, rows))
        return self.head.embed(lines, self), lines


class SameMass:
    """Molecules of nearly the same mass, found by bisection. `rows`: those there are to find."""

    def __init__(self, corpus: Corpus, rows: np.ndarray, ppm: float) -> None:
        self.blocks, self.formulas, self.ppm = corpus.blocks, corpus.formulas, ppm
        atoms = np.asarray(corpus.atoms)
        self.masses = np.add.reduceat(atom_masses(atoms[:, 0], atoms[:, 3]), corpus.atom_offsets[:-1])
        self.order = rows[np.argsort(self.masses[rows], kind="stable")]
        self.sorted = self.masses[self.order]

    def of(self, row: int) -> np.ndarray:
        """Rows within the tolerance of a molecule's mass, without the molecule and its stereoisomers."""
        mass = self.masses[row]
        low, high = np.searchsorted(self.sorted, [mass * (1 - self.ppm * 1e-6), mass * (1 + self.ppm * 1e-6)])
        found = self.order[low:high]
        return np.asarray(found[self.blocks[found] != self.blocks[row]])

    def draw(self, row: int, n: int, rng: np.random.Generator) -> np.ndarray:
        """At most `n` of them, isomers preferred."""
        found = self.of(row)
        if len(found) <= n:
            return found
        ease = np.where(self.formulas[found] == self.formulas[row], PREFER_ISOMERS, 1.0)
        # The n smallest of exponential waiting times: drawn without replacement, by weight.
        return np.asarray(found[np.argpartition(rng.exponential(size=len(found)) / ease, n)[:n]])


class MeasuredTask(Task[Meeting]):
    """A record of each molecule in the batch, and molecules of the same mass beside."""

    def __init__(self, corpus: Corpus, observed: Observations, known: Known, config: dict[str, Any]) -> None:
        self.corpus, self.observed, self.known = corpus, observed, known
        self.modality: Any = modalities.get(config["modality"])
        self.settings = config["training"]
        self.model = Meeting(config, known.width)
        mine = observed.molecules
        skipped = np.isin(corpus.sources, list(corpus.skipped))
        self.rows = mine[~corpus.inner[mine]]
        self.inner = mine[corpus.inner[mine]]
        self.alike = SameMass(corpus, np.intersect1d(corpus.learned, known.rows), self.settings["ppm"])
        self.pool = SameMass(corpus, known.rows[~skipped[known.rows]], JUDGED_PPM)
        # Molecules of one mass stand side by side in a batch: to the isomer batches, 0.05 Da is a formula.
        self.formulas = np.round(self.alike.masses * 20).astype(np.int64)

    def batches(self, settings: dict[str, Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        return isomer_batches(self.rows, self.formulas, settings["batch"], settings["isomers"], rng)

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        drawn = self.observed.draw(rows, rng)
        items = [self.modality.augment(self.observed.items[i], rng) for i in drawn]
        vectors, bits = self.model.records(tensors(self.modality.collate(items)))
        n = self.settings["negatives"]
        everything = np.concatenate([rows, *(self.alike.draw(int(row), n, rng) for row in rows)])
        molecules, predicted = self.model.molecules(self.corpus, self.known, everything)
        logits = self.model.contrast.scale * vectors @ molecules.T
        truth = torch.arange(len(rows))
        blocks = torch.from_numpy(self.corpus.blocks[everything])
        same = blocks[: len(rows), None] == blocks[None]
        same[truth, truth] = False
        logits = logits.masked_fill(same, -torch.inf)
        masses = torch.from_numpy(self.alike.masses[everything])
        apart = (masses[: len(rows), None] - masses[None]).abs() / masses[None]
        rivals = logits.masked_fill(apart > 2e-6 * self.settings["ppm"], -torch.inf)
        back = logits[:, : len(rows)].T
        among_all = (F.cross_entropy(logits, truth) + F.cross_entropy(back, truth)) / 2
        told = F.binary_cross_entropy_with_logits(bits, torch.from_numpy(self.corpus.bits(rows)))
        terms = {
            "same_mass": self.settings.get("same_mass_weight", 1.0) * F.cross_entropy(rivals, truth),
            "all": self.settings["all_weight"] * among_all,
            "fingerprint": self.settings["fingerprint_weight"] * told,
        }
        if predicted is not None:
            batch = tensors(self.modality.collate([self.observed.items[i] for i in drawn]))
            measured = cast("LineTower", self.model.encoder).lines(batch)
            off = 1 - F.cosine_similarity(predicted[: len(rows)], measured, dim=1).mean()
            terms["spectrum"] = self.settings["spectrum_weight"] * off
        return terms

    @torch.inference_mode()
    def evaluate(self, model: Meeting) -> dict[str, float]:
        """Each inner molecule's first record against the corpus's molecules of its mass; a tie is a miss."""
        if not len(self.inner):
            return {}
        items = [self.observed.items[i] for i in self.observed.draw(self.inner, np.random.default_rng(0))]
        vectors = torch.cat(
            [
                model.records(tensors(self.modality.collate(items[at : at + 256])))[0]
                for at in range(0, len(items), 256)
            ]
        )
        prior = vectors.mean(dim=0)
        ranks = []
        for row, vector in zip(self.inner, vectors, strict=True):
            rivals = self.pool.of(int(row))
            if not len(rivals):
                continue
            molecules, _ = model.molecules(self.corpus, self.known, np.concatenate([[row], rivals]))
            scores = molecules @ torch.stack([vector, prior], dim=1)
            ranks.append((scores[1:] >= scores[0]).sum(dim=0).tolist())
        if not ranks:
            return {}
        found = np.array(ranks)
        return {
            "inner_same_mass_at_1": float((found[:, 0] < 1).mean()),
            "inner_same_mass_at_5": float((found[:, 0] < 5).mean()),
            "inner_prior_at_1": float((found[:, 1] < 1).mean()),
            "inner_prior_at_5": float((found[:, 1] < 5).mean()),
            "inner_queries": float(len(found)),
        }


def run(path: Path | str) -> Path:
    """Pretrain as the configuration says and return the directory with `encoder.safetensors`.

    Raises `ConfigError` for a configuration that cannot be followed.
    """
    config = read_config(path, ("modality", "records", "corpus", "tower", "head", "molecule", "training"))
    corpus = config.corpus()
    observed = read_observations(config.data["modality"], config.data["records"], corpus, config.root)
    told = dict(config.data)
    known: Known = MorganBits(corpus)
    if "trunk" in told:
        model = load_model(model_below(config.root, told["trunk"]))
        rows = observed.among(corpus, told["training"]["others"], config.seed)
        known = FrozenTrunk(model.network, corpus, rows)
        told["trunk_digest"] = trunk_digest(load_file(model.card.weights))
    torch.manual_seed(config.seed)
    task = MeasuredTask(corpus, observed, known, config.data)
    averaged = train(task, config.data["training"], config.seed, config.out)
    parts = ("encoder.", "projection.", *(("head.",) if "trunk" in told else ()))
    kept = {
        name: value.contiguous() for name, value in averaged.state_dict().items() if name.startswith(parts)
    }
    save_file(kept, config.out / "encoder.safetensors")
    (config.out / "config.json").write_text(json.dumps(told, indent=1))
    return config.out
