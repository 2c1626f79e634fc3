"""Mass spectra: how likely the peaks are, given the pieces a candidate falls into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.ms.annotation import Explained, explain_peaks, scores
from acml_search.ms.fragmentation import Fragmentation, read_fragmentation
from acml_search.search.rerank.base import Evidence, Match, Reranker

if TYPE_CHECKING:
    from pathlib import Path

    from rdkit import Chem

    from acml_search.encoders.model import Model


class MassReranker(Reranker):
    """Score: the scaled log-likelihood of the peaks (`ms.annotation`) and the prior of the molecule.

    The learned weights stand beside the model's, as `<modality>_rerank.json`; a model without that file is
    not re-ranked.
    """

    def __init__(self, modality: str) -> None:
        self.modality = modality

    def available(self, model: Model) -> bool:
        """Have weights been learned for this model?"""
        return self._path(model).is_file()

    def evidence(self, model: Model, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
        """Raises `CheckpointError` where the weights are missing or damaged."""
        learned = self._learned(model)
        return [_told(explain_peaks(mol, item, learned)) for mol in mols]

    def scores(self, model: Model, item: Any, mols: Sequence[Chem.Mol]) -> npt.NDArray[np.float64]:
        """The pieces are not named: faster. Raises `CheckpointError` as `evidence` does."""
        return np.asarray(scores(mols, item, self._learned(model)).sum(axis=1))

    def _learned(self, model: Model) -> Fragmentation:
        return read_fragmentation(self._path(model))

    def _path(self, model: Model) -> Path:
        return model.card.directory / f"{self.modality}_rerank.json"


def _told(found: Explained) -> Evidence:
    matched = [
        Match(
            round(one.mz, 4),
            round(one.mz - one.error, 4),
            list(one.atoms),
            round(one.error_ppm, 1),
            f"{one.formula} ({one.hydrogens:+d} H)" if one.hydrogens else one.formula,
        )
        for one in found.fragments
    ]
    return Evidence(found.score + found.prior, matched, [round(mz, 4) for mz in found.unexplained])


RERANKERS: dict[str, Reranker] = {name: MassReranker(name) for name in ("lc_ms", "gc_ms")}
