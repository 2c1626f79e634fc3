"""Networks of the baselines that learn. Torch is imported inside: other baselines need none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.progress import progress

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def fit_bits(
    x: Floats,
    y: Floats,
    inner_x: Floats,
    inner_y: Floats,
    asked: Floats,
    *,
    hidden: int,
    epochs: int,
    batch: int,
    seed: int,
    rate: float = 1e-3,
) -> tuple[Floats, dict[str, Any]]:
    """Train a network from spectra (n, bins) to bits (n, f) and return the logits (nq, f) of `asked` at the
    epoch that was best on the inner part (cross-entropy), with what was tried.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Linear(x.shape[1], hidden),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(hidden, y.shape[1]),
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    steps = epochs * max(1, len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps + 1)
    tried: list[float] = []
    best, logits = np.inf, np.zeros((len(asked), y.shape[1]), np.float32)
    for _ in progress(range(epochs), desc="fingerprint regression", unit="epoch"):
        net.train()
        order = rng.permutation(len(x))
        for start in range(0, max(1, len(order) - batch + 1), batch):
            rows = order[start : start + batch]
            loss = F.binary_cross_entropy_with_logits(
                net(torch.from_numpy(x[rows])), torch.from_numpy(y[rows])
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        net.eval()
        with torch.inference_mode():
            held = net(torch.from_numpy(inner_x)) if len(inner_x) else torch.zeros(0, y.shape[1])
            error = float(F.binary_cross_entropy_with_logits(held, torch.from_numpy(inner_y)))
            tried.append(round(error, 5))
            if error < best or not np.isfinite(error):
                best, logits = error, net(torch.from_numpy(asked)).numpy()
    return logits, {"epoch": int(np.argmin(tried)) + 1, "cross_entropy_by_epoch": tried}


def autoencoder(x: Floats, *, epochs: int, batch: int, seed: int, width: int = 256) -> Any:
    """A convolutional encoder of vectors (n, bins), trained to give them back from `width` numbers while a
    tenth of them is hidden. Returns the encoder, a torch module, frozen.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    convolutions = nn.Sequential(
        nn.Unflatten(1, (1, x.shape[1])),
        nn.Conv1d(1, 8, 9, stride=4, padding=4),
        nn.ReLU(),
        nn.Conv1d(8, 16, 7, stride=3, padding=3),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
    )
    with torch.inference_mode():
        flat = convolutions(torch.zeros(1, x.shape[1])).shape[1]
    encoder = nn.Sequential(convolutions, nn.Linear(flat, width))
    decoder = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, x.shape[1]))
    both = nn.Sequential(encoder, decoder)
    optimiser = torch.optim.Adam(both.parameters(), lr=1e-3)
    for _ in progress(range(epochs), desc="autoencoder", unit="epoch"):
        order = rng.permutation(len(x))
        for start in range(0, max(1, len(order) - batch + 1), batch):
            given = torch.from_numpy(x[order[start : start + batch]])
            hidden = given * (torch.rand_like(given) > 0.1)
            # Most bins are empty: the mean would be a good answer if full ones did not weigh more.
            loss = ((both(hidden) - given) ** 2 * (1 + 10 * (given > 0))).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    return encoder.eval().requires_grad_(False)


def encoded(encoder: Any, x: Floats) -> Floats:
    """(n, width) float32, in blocks."""
    import torch

    with torch.inference_mode():
        parts = [encoder(torch.from_numpy(x[low : low + 1024])).numpy() for low in range(0, len(x), 1024)]
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def gin(width: int, layers: int, d: int, d_record: int) -> Any:
    """ACML's two sides: a GIN over the atoms (Xu et al. 2019; sums of neighbours, no bond features, mean over
    the atoms) and a projection of each side, linear and layer-normalised. `graphs(batch)`, `records(x)`.
    """
    import torch
    from torch import nn

    from acml_search.chem.graph import ATOM_COLUMNS

    class Sides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            columns = list(ATOM_COLUMNS.values())
            self.register_buffer("offsets", torch.tensor([0, *columns[:-1]]).cumsum(0))
            self.embed = nn.EmbeddingBag(sum(columns), width, mode="sum")
            self.layers = nn.ModuleList(
                nn.Sequential(
                    nn.Linear(width, width),
                    nn.BatchNorm1d(width),
                    nn.ReLU(),
                    nn.Linear(width, width),
                    nn.ReLU(),
                )
                for _ in range(layers)
            )
            self.graph_side = nn.Sequential(nn.Linear(width, d), nn.LayerNorm(d))
            self.record_side = nn.Sequential(nn.Linear(d_record, d), nn.LayerNorm(d))

        def graphs(self, batch: Any) -> torch.Tensor:
            x = self.embed(batch.nodes + self.offsets)
            for layer in self.layers:
                x = layer(x.index_add(0, batch.target, x.index_select(0, batch.source)))
            summed = x.new_zeros(len(batch.sizes), x.shape[1]).index_add(0, batch.graph_of, x)
            vectors: torch.Tensor = self.graph_side(summed / batch.sizes.to(x.dtype).unsqueeze(1))
            return vectors

        def records(self, x: torch.Tensor) -> torch.Tensor:
            vectors: torch.Tensor = self.record_side(x)
            return vectors

    return Sides()


def graph_vectors_of(sides: Any, graphs: Sequence[Any], batch: int = 128) -> Floats:
    """(n, d) float32 of molecules' graph arrays."""
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    sides.eval()
    with torch.inference_mode():
        parts = [
            sides.graphs(TensorBatch.of(collate(graphs[low : low + batch]))).numpy()
            for low in range(0, len(graphs), batch)
        ]
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
