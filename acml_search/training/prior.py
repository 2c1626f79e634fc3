"""How often symbols are drawn, and what atoms have around them.

Symbols: in training, where rare ones are made frequent, and in molecules as they are.

A classifier trained on other shares than it meets says the rare too often. Its logits are corrected by the
logarithm of the ratio of the shares (Saerens, Latinne and Decaestecker 2002), which here goes into the bias
of the last layer.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import torch
from rdkit import Chem

from acml_search.ocsr.assemble import SYMBOLS
from acml_search.ocsr.depict import Drawing
from acml_search.ocsr.detector import Recogniser
from acml_search.ocsr.prior import environment

MOST = 6.0  # a symbol loses or gains no more: some were not drawn at all

_INDEX = {symbol: i for i, symbol in enumerate(SYMBOLS)}


def shares(drawings: Iterable[Drawing]) -> np.ndarray:
    """(symbols,) float64: how often each is drawn, each counted once more than it was."""
    counts = np.ones(len(SYMBOLS))
    for drawing in drawings:
        np.add.at(counts, [_INDEX.get(s, len(SYMBOLS) - 1) for s in drawing.symbols], 1.0)
    return np.asarray(counts / counts.sum())


@torch.no_grad()
def settle(network: Recogniser, trained: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Move the bias of the symbols' logits from the shares `trained` to those that will be `met`; returns by
    how much, (symbols,) float64."""
    shift = np.clip(np.log(met / trained), -MOST, MOST)
    last = network.symbol[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias.add_(torch.from_numpy(shift).to(last.bias.dtype))
    return np.asarray(shift)


def drawn(make: Callable[[], Drawing | None], n: int) -> Iterable[Drawing]:
    """`n` drawings of those that `make` gives."""
    done = 0
    while done < n:
        drawing = make()
        if drawing is not None:
            yield drawing
            done += 1


def environments(mols: Iterable[Chem.Mol]) -> str:
    """The table that `ocsr.environments` holds: name and atoms in a million, the most frequent
    first, of all environments that are met more than once."""
    counts = Counter(environment(atom) for mol in mols for atom in mol.GetAtoms())
    share = 1e6 / max(counts.total(), 1)
    rows = sorted((-max(round(n * share), 1), name) for name, n in counts.items() if n > 1)
    words = " ".join(f"{name} {-n}" for n, name in rows)
    return textwrap.fill(words, 108, break_long_words=False, break_on_hyphens=False)
