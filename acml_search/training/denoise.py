"""Pretraining of a peak-list tower on simulated spectra, finished with measured ones.

A molecule's predicted peaks, seen through the tower as distributions, must meet a spectrum of it - drawn
from the prediction, or a measured one - and differ from the predictions of every other molecule in the
batch, isomers among them. The tower learns which differences between peak lists mean another molecule and
which are only error. A second head tells Morgan bits from the spectrum, so that likeness of molecules is
in the vectors. No graph encoder takes part: the predictions were made beforehand (`simulate`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.modalities.shift_list import ShiftModality
from acml_search.networks import Projection, tensors, width_of
from acml_search.networks.nmr import ShiftTower, expected_features
from acml_search.training import simulate
from acml_search.training.batches import isomer_batches
from acml_search.training.config import read_config
from acml_search.training.corpus import BITS, Corpus
from acml_search.training.loop import Task, train
from acml_search.training.losses import ContrastiveLoss, pair_recall
from acml_search.training.observations import Observations, read_observations
from acml_search.training.simulate import Simulated, open_simulated


class Denoiser(nn.Module):
    """Tower, projection and fingerprint head."""

    def __init__(self, modality: str, tower: dict[str, Any], head: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = cast("ShiftTower", modalities.get(modality).tower(**tower))
        width = width_of(self.encoder)
        self.projection = Projection(width, **head)
        self.bits = nn.Linear(width, BITS)
        self.contrast = ContrastiveLoss()


class DenoiseTask(Task[Denoiser]):
    """A batch holds simulated spectra of any molecules, and measured ones."""

    def __init__(
        self,
        corpus: Corpus,
        modality: str,
        config: dict[str, Any],
        simulated: Simulated,
        measured: Observations,
    ) -> None:
        self.corpus, self.simulated, self.measured = corpus, simulated, measured
        self.kind = cast("ShiftModality", modalities.get(modality))
        self.model = Denoiser(modality, config["tower"], config["head"])
        self.width = modalities.get(modality).head_defaults["scale"] / 400  # type: ignore[attr-defined]
        self.rows = corpus.learned[simulated.has(corpus.learned)]
        self.formulas = corpus.formulas
        self.bits_weight = float(config["training"]["fingerprint_weight"])
        self.share = float(config["training"]["measured_share"])
        self.known = np.intersect1d(measured.molecules, self.rows)
        kept = corpus.kept[simulated.has(corpus.kept)]
        self.inner = np.intersect1d(measured.molecules, kept)
        self.pool = np.concatenate([self.inner, np.setdiff1d(kept, self.inner)])[:10_000]

    def batches(self, settings: dict[str, Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Simulated molecules first, then measured ones, each with their isomers."""
        n = int(settings["batch"] * self.share)
        real: Iterator[np.ndarray] = iter(())
        for rows in isomer_batches(self.rows, self.formulas, settings["batch"] - n, settings["isomers"], rng):
            found = next(real, None)
            if found is None:
                real = isomer_batches(self.known, self.formulas, n, settings["isomers"], rng)
                found = next(real)
            yield np.concatenate([rows, found])

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        model = self.model
        n = int(len(rows) * self.share)
        made = model.encoder(tensors(self._drawn(rows[:-n], rng)))
        seen = model.encoder(tensors(self._measured(rows[-n:], rng)))
        records = torch.cat([made, seen])
        shown = expected_features(self.simulated.peaks(rows), len(rows), model.encoder, self.width)
        same = torch.from_numpy(self.corpus.blocks[rows])
        bits = torch.from_numpy(self.corpus.bits(rows))
        return {
            "contrastive": model.contrast(model.projection(shown), model.projection(records), same),
            # The mean over 1,024 bits is near 0.05; 20 times it weighs like the contrastive term.
            "fingerprint": 20
            * self.bits_weight
            * F.binary_cross_entropy_with_logits(model.bits(records), bits),
        }

    @torch.inference_mode()
    def evaluate(self, model: Denoiser) -> dict[str, float]:
        """Measured spectra of inner molecules against the predictions of all inner molecules.

        The predictor has not seen them, so this is what the tower is worth with its errors.
        """
        parts = [self.pool[i : i + 1024] for i in range(0, len(self.pool), 1024)]
        shown = torch.cat(
            [
                model.projection(
                    expected_features(self.simulated.peaks(p), len(p), model.encoder, self.width)
                )
                for p in parts
            ]
        )
        rng = np.random.default_rng(0)
        items = self.kind.collate([self.measured.items[i] for i in self.measured.draw(self.inner, rng)])
        records = model.projection(model.encoder(tensors(items)))
        same = torch.from_numpy(self.corpus.blocks[self.pool])
        return {
            "inner_to_molecule_at_1": pair_recall(records, shown, same),
            "inner_queries": float(len(self.inner)),
            "inner_pool": float(len(self.pool)),
            "scale": model.contrast.scale.item(),
        }

    def _drawn(self, rows: np.ndarray, rng: np.random.Generator) -> Any:
        return self.simulated.draw(rows, rng)

    def _measured(self, rows: np.ndarray, rng: np.random.Generator) -> Any:
        items = [self.measured.items[i] for i in self.measured.draw(rows, rng)]
        return self.kind.collate([self.kind.augment(item, rng) for item in items])


def run(path: Path | str) -> Path:
    """Pretrain as the configuration says and return the directory with `encoder.safetensors`.

    Simulates the spectra first, with the shift predictor the configuration names (`simulator`, its
    configuration file). Raises `ConfigError` for a configuration that cannot be followed.
    """
    config = read_config(path, ("modality", "corpus", "simulator", "records", "tower", "head", "training"))
    simulated = open_simulated(
        simulate.run(config.path.parent / config.data["simulator"]), config.data["modality"]
    )
    corpus = config.corpus()
    torch.manual_seed(config.seed)
    measured = read_observations(config.data["modality"], config.data["records"], corpus, config.root)
    task = DenoiseTask(corpus, config.data["modality"], config.data, simulated, measured)
    model = train(task, config.data["training"], config.seed, config.out)
    kept = {
        k: v.contiguous() for k, v in model.state_dict().items() if k.startswith(("encoder.", "projection."))
    }
    save_file(kept, config.out / "encoder.safetensors")
    (config.out / "config.json").write_text(json.dumps(config.data, indent=1))
    return config.out
