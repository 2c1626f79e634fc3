"""Alignment: one graph trunk and a head per space learn to meet frozen unimodal encoders (ACML, arXiv
2311.06456).

A batch is put together from several samplers of molecules (those with a 13C spectrum, those with an MS/MS
spectrum, library molecules ...), isomers side by side in each. The trunk reads it once; every space takes the
molecules it has a record of. The encoders never change, so features of derived records are computed once.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.encoders.checkpoint import DualEncoder, device_of, save_model
from acml_search.encoders.training_molecules import TrainingMolecules, write_training_list
from acml_search.modalities.nmr import ShiftModality
from acml_search.networks import current_names
from acml_search.networks.nmr import Peaks, ShiftHead
from acml_search.training.config import AlignPlan, SamplerTable, SpaceTable, read_plan
from acml_search.training.contrast import ContrastiveLoss, MoleculeSampler, pair_recall
from acml_search.training.corpus import Corpus, corpus_of
from acml_search.training.loop import Task, encoder_file, read_log, train
from acml_search.training.records import (
    MeasuredRecords,
    MeasuredSource,
    RecordSource,
    frozen_features,
    read_records,
)
from acml_search.training.shifts import (
    AssignedShifts,
    open_simulated,
    read_assigned,
    set_errors,
    shift_loss,
)

if TYPE_CHECKING:
    from torch_geometric.data import Batch

POOL = 10_000
"""molecules of the dev split among which records are searched after each epoch"""
Labels = tuple[dict[str, MeasuredRecords], dict[str, AssignedShifts]]
"""peak lists as listed and assigned shifts, by modality, for the node heads"""


def run(path: Path | str, root: Path | None = None, device: str = "auto") -> ModelCard:
    """Align as the plan in a file says; see `align`. `root` replaces the plan's own."""
    return align(read_plan(path, AlignPlan, root), device)


def align(plan: AlignPlan, device: str = "auto") -> ModelCard:
    """Align and write the model directory, `out/model`. Raises `ConfigError` where that cannot be."""
    corpus = corpus_of(plan)
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    trained = {name: space for name, space in plan.space.items() if space.copy_of is None}
    weights = {name: space.alignment_weight for name, space in trained.items()}
    model = Aligner(_hyper(plan, trained), weights)
    _initialise(plan, model, trained)
    model.to(device_of(device))
    measured = {
        name: read_records(name, space.records, corpus, plan.root_folder, keep_rows=_is_nmr(name))
        for name, space in trained.items()
        if space.records is not None
    }
    labels: Labels = (
        {name: records for name, records in measured.items() if _is_nmr(name)},
        read_assigned(plan.root_folder, plan.assigned, corpus),
    )
    task = AlignTask(
        corpus,
        model,
        {name: _source(plan, corpus, model, name, measured.get(name)) for name in trained},
        [_sampler(table, corpus, measured) for table in plan.sampler],
        labels,
        trained,
    )
    averaged = train(task, plan).cpu()
    about = {
        "training": plan.written(),
        "molecules": json.loads((corpus.directory / "corpus.json").read_text())["report"],
        "records": {
            name: {"records": len(r.items), "molecules": len(r.molecules), "left_out": r.left_out}
            for name, r in measured.items()
        },
        "split": "spectral sets: train; dev split (choices) = 1 InChIKey block in 50, by hash",
        "seed": plan.seed,
        "commit": commit_of(plan.root_folder),
        "log": read_log(plan.out_folder),
        **plan.card,
    }
    hyper = _hyper(plan, plan.space)
    network, scales = _with_copies(plan, hyper, averaged)
    directory = plan.out_folder / "model"
    save_model(directory, plan.name, network, hyper, scales, about, half=plan.half)
    molecules = training_molecules(corpus, measured, labels[1])
    return write_training_list(directory, molecules, f"acml-search train align {plan.path.name}")


class Aligner(nn.Module):
    """The whole model, and a loss with its own scale per space."""

    def __init__(self, hyper: dict[str, Any], alignment_weights: Mapping[str, float]) -> None:
        super().__init__()
        self.network = DualEncoder(hyper)
        losses = {
            name: ContrastiveLoss(alignment_weight=weight) for name, weight in alignment_weights.items()
        }
        self.losses = nn.ModuleDict(losses)

    def contrast(self, name: str) -> ContrastiveLoss:
        return cast("ContrastiveLoss", self.losses[name])

    def graphs(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Peaks]]:
        """Graph side of every space, and the peaks that the NMR heads predict on the way."""
        network = self.network
        states, pooled = network.trunk.states_and_pooled(batch)
        vectors, peaks = {}, {}
        for name, head in network.heads.items():
            if isinstance(head, ShiftHead):
                peaks[name] = head.peaks(states, pooled, batch)
                vectors[name] = head.embed(peaks[name], pooled, network.tower(name))
            else:
                vectors[name] = head(states, pooled, batch, network.tower(name))
        return vectors, peaks


class AlignTask(Task[Aligner]):
    """`sources`: where the records of each of the `spaces` come from."""

    def __init__(
        self,
        corpus: Corpus,
        model: Aligner,
        sources: dict[str, RecordSource],
        samplers: list[MoleculeSampler],
        labels: Labels,
        spaces: Mapping[str, SpaceTable],
    ) -> None:
        self.corpus, self.model = corpus, model
        self.sources, self.samplers, self.spaces = sources, samplers, spaces
        self.lists, self.assigned = labels
        self.batch_size = sum(sampler.size for sampler in samplers)
        self.rows = np.unique(np.concatenate([sampler.rows for sampler in samplers]))
        self.formulas = corpus.formulas
        # The dev split: every molecule that has a real record in some space first.
        dev = corpus.dev_rows
        known = np.logical_or.reduce([source.measured(dev) for source in sources.values()])
        self.pool = np.concatenate([dev[known], dev[~known]])[:POOL]

    def set_train_mode(self) -> None:
        self.model.train()
        for name in self.spaces:  # frozen means the encoders' normalisation statistics, too
            self.model.network.tower(name).encoder.eval()

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        drawn = [sampler.draw(rng) for sampler in self.samplers]
        while True:
            yield np.concatenate([next(rows) for rows in drawn])

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        vectors, peaks = self.model.graphs(self.corpus.graph_batch(rows, self.device))
        same = self.tensor(self.corpus.inchikey_hashes[rows])
        terms = {}
        for name, source in self.sources.items():
            at = np.flatnonzero(source.has(rows))
            features = F.dropout(source.sample(rows[at], rng), self.spaces[name].dropout)
            records = self.model.network.tower(name).projection(features)
            terms[name] = self.model.contrast(name)(vectors[name], records, same, self.tensor(at))
        for name, found in peaks.items():
            if name in self.lists:
                assigned = self.assigned.get(name)
                terms[f"{name}_shifts"] = shift_loss(found, rows, self.lists[name], assigned, rng)
        return terms

    @torch.inference_mode()
    def evaluate(self, model: Aligner) -> dict[str, float]:
        """Recall at 1 of the dev split's records among its molecules (10,000), and the node heads' errors."""
        pool = self.pool
        vectors: dict[str, list[Tensor]] = {name: [] for name in self.sources}
        errors: dict[str, list[np.ndarray]] = {name: [] for name in self.lists}
        rng = np.random.default_rng(0)
        for start in range(0, len(pool), 256):
            rows = pool[start : start + 256]
            found, peaks = model.graphs(self.corpus.graph_batch(rows, self.device))
            for name in self.sources:
                vectors[name].append(found[name])
            for name in errors.keys() & peaks.keys():
                errors[name].append(set_errors(peaks[name], rows, self.lists[name], rng))
        out: dict[str, float] = {"dev_pool": float(len(pool))}
        for name, source in self.sources.items():
            known = np.flatnonzero(source.measured(pool))
            order = np.concatenate([known, np.setdiff1d(np.arange(len(pool)), known)])
            graphs = torch.cat(vectors[name])[self.tensor(order)]
            same = self.tensor(self.corpus.inchikey_hashes[pool[order]])
            parts = [pool[known[i : i + 256]] for i in range(0, len(known), 256)]
            records = torch.cat([model.network.tower(name).projection(source.fixed(part)) for part in parts])
            out[f"{name}_dev_at_1"] = pair_recall(records, graphs, same)
            out[f"{name}_scale"] = model.contrast(name).scale.item()
        for name, values in errors.items():
            if values:
                out[f"{name}_set_error"] = float(np.concatenate(values).mean())
        return out


def _is_nmr(name: str) -> bool:
    return isinstance(modalities.get(name), ShiftModality)


def _hyper(plan: AlignPlan, spaces: Mapping[str, SpaceTable]) -> dict[str, Any]:
    """Hyper-parameters of the network, those of the encoders as their pretraining left them."""
    hyper: dict[str, Any] = {"trunk": plan.trunk, "spaces": {}, "reads_stereo": plan.reads_stereo}
    for name, space in spaces.items():
        file = plan.below(space.pretrained) / "config.json"
        if not file.exists():
            raise ConfigError(
                f"{file} does not exist; pretrain this encoder first (`acml-search train pretrain`)"
            )
        pretrained = json.loads(file.read_text())
        of = plan.space.get(space.copy_of or name)
        if of is None or of.head is None:
            raise ConfigError(f"{plan.path}: space.{space.copy_of or name} has no head")
        hyper["spaces"][name] = {
            "head": of.head,
            "encoder": pretrained["tower"],
            "projection": pretrained["head"],
        }
    return hyper


def _initialise(plan: AlignPlan, model: Aligner, trained: Mapping[str, SpaceTable]) -> None:
    """Frozen encoders in place; trunk, heads and projections (and scales) from what `start` names."""
    for name, space in trained.items():
        tower = model.network.tower(name)
        tower.load_state_dict(load_file(encoder_file(plan.below(space.pretrained))))
        tower.encoder.requires_grad_(False).eval()
        if space.frozen_projection:
            tower.projection.requires_grad_(False)
    if plan.start is None:
        return
    known = model.network.state_dict()
    fixed = {name for name, parameter in model.network.named_parameters() if not parameter.requires_grad}
    used = {
        k: v
        for k, v in current_names(load_file(plan.below(plan.start))).items()
        if (k.startswith(("trunk.", "heads.")) or (".projection." in k and k not in fixed))
        and k in known
        and known[k].shape == v.shape
    }
    if not any(k.startswith("trunk.") for k in used):
        raise ConfigError(f"{plan.start} holds no trunk of these dimensions to start from")
    model.network.load_state_dict(used, strict=False)
    card = plan.below(plan.start).with_name("card.json")
    for name, space in json.loads(card.read_text())["spaces"].items() if card.exists() else ():
        if name in trained:
            model.contrast(name).log_scale.data.fill_(math.log(space["scale"]))


def _source(
    plan: AlignPlan, corpus: Corpus, model: Aligner, name: str, measured: MeasuredRecords | None
) -> RecordSource:
    space, tower = plan.space[name], model.network.tower(name)
    if measured is not None:
        simulated = open_simulated(plan.below(space.simulated), name) if space.simulated else None
        return MeasuredSource(tower, measured, simulated)
    return frozen_features(plan, corpus, name, space, tower)


def _sampler(table: SamplerTable, corpus: Corpus, measured: Mapping[str, MeasuredRecords]) -> MoleculeSampler:
    """Molecules with a record of modality `records`, or those of the named `sources`."""
    if table.records is not None:
        if table.records not in measured:
            raise ConfigError(f"sampler.records names {table.records!r}, a space without records")
        rows = measured[table.records].molecules
    else:
        rows = np.flatnonzero(np.isin(corpus.sources, table.sources))
    rows = np.intersect1d(rows, corpus.train_rows)
    return MoleculeSampler(corpus, rows, table.n, table.group_size, table.isomer_negatives)


def _with_copies(plan: AlignPlan, hyper: dict[str, Any], averaged: Aligner) -> tuple[Any, dict[str, float]]:
    """With the spaces that are copies: the same head and projection over another encoder."""
    network = DualEncoder(hyper)
    state = dict(averaged.network.state_dict())
    scales = {name: averaged.contrast(name).scale.item() for name in averaged.losses}
    for name, space in plan.space.items():
        of = space.copy_of
        if of is None:
            continue
        for key, value in list(state.items()):
            if key.startswith((f"heads.{of}.", f"towers.{of}.projection.")):
                state[key.replace(f".{of}.", f".{name}.", 1)] = value
        for key, value in load_file(encoder_file(plan.below(space.pretrained))).items():
            if key.startswith("encoder."):
                state[f"towers.{name}.{key}"] = value
        scales[name] = scales[of]
    network.load_state_dict(state)
    return network, scales


def training_molecules(
    corpus: Corpus, measured: Mapping[str, MeasuredRecords], assigned: Mapping[str, AssignedShifts]
) -> TrainingMolecules:
    """All molecules that a training step may see, and by modality those whose records it may.

    Shifts assigned to atoms count as records of the modality they teach. The dev split is in no step. What a
    model starts from has learned from the same corpus and the same rows, or fewer.
    """
    table = pq.read_table(corpus.directory / "molecules.parquet", columns=["inchikey14"])
    blocks = np.array(table["inchikey14"].to_pylist(), np.str_)
    rows = {name: records.molecules for name, records in measured.items()}
    for name, shifts in assigned.items():
        more = np.fromiter(shifts, np.int64, len(shifts))
        rows[name] = np.union1d(rows.get(name, np.zeros(0, np.int64)), more)
    records = {name: blocks[np.intersect1d(of, corpus.train_rows)].tolist() for name, of in rows.items()}
    return TrainingMolecules.of(blocks[corpus.train_rows].tolist(), records)


def commit_of(root: Path) -> str:
    """The commit that is checked out, for a card."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "not in a git checkout"
