"""NMR: the peaks that the node head predicts of a candidate, against those observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.nmr.assign import (
    Assignment,
    Costs,
    assign_all,
    log_likelihoods,
)
from acml_search.nmr.dept import Bits, Observed, observed, word
from acml_search.nmr.groups import Groups, group_atoms
from acml_search.search.rerank.base import Evidence, Match, Missing, Reranker

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model
    from acml_search.encoders.predict import Predicted


class ShiftReranker(Reranker):
    """Score: the log-likelihood of the best assignment (`nmr.assign`)."""

    def __init__(self, modality: str, costs: Costs) -> None:
        self.modality, self.costs = modality, costs

    def available(self, model: Model) -> bool:
        """Does the model's space predict peaks?"""
        from acml_search.encoders.predict import predicts_peaks

        return predicts_peaks(model, self.modality)

    def observed(self, item: Any, record: Any) -> Observed:
        """The peaks, of 13C with the hydrogens that their carbons carry where the record tells."""
        return observed(item, record if self.modality == "c_nmr" else None)

    def evidence(self, model: Model, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
        peaks = item if isinstance(item, Observed) else self.observed(item, None)
        found = assign_all(peaks, self.prepare(model, mols), self.costs)
        return [_told(peaks, one) for one in found]

    def scores(self, model: Model, item: Any, prepared: Sequence[Groups]) -> npt.NDArray[np.float64]:
        return log_likelihoods(item, prepared, self.costs)

    def prepare(self, model: Model, mols: Sequence[Chem.Mol]) -> list[Groups]:
        """The predicted peaks of each candidate."""
        from acml_search.encoders.predict import predicted_peaks

        graphs = [model.featurise(mol) for mol in mols]
        return self.grouped(mols, predicted_peaks(model, self.modality, graphs))

    def grouped(self, mols: Sequence[Chem.Mol], found: Sequence[Predicted]) -> list[Groups]:
        """As `prepare`, of what was predicted already."""
        return [
            group_atoms(one, self.costs.alike, _attached(mol, one.atoms))
            for mol, one in zip(mols, found, strict=True)
        ]


def _attached(mol: Chem.Mol, atoms: npt.NDArray[np.int64]) -> Bits:
    """(p,) bit n set where an atom carries n hydrogens; methane's four are taken as three."""
    counts = [min(mol.GetAtomWithIdx(i).GetTotalNumHs(), 3) for i in atoms.tolist()]
    return np.array([1 << n for n in counts], np.uint8)


def _told(observed: Observed, one: Assignment) -> Evidence:
    groups, positions = one.groups, observed.positions.round(3).tolist()
    predicted, present = groups.position.round(3).tolist(), groups.present.round(3).tolist()
    return Evidence(
        one.log_likelihood,
        [
            Match(
                positions[i],
                predicted[j],
                groups.atoms[j],
                round(positions[i] - predicted[j], 3),
                _contradiction(int(observed.attached[i]), int(groups.attached[j])),
            )
            for i, j in one.pairs
        ],
        [positions[i] for i in one.unmatched_observed],
        [Missing(predicted[j], groups.atoms[j], present[j]) for j in one.unmatched_predicted],
    )


def _contradiction(told: int, here: int) -> str | None:
    return None if told & here else f"{word(told)} observed, {word(here)} here"


# Chosen one after another on half of the inner part of `train`, by the likelihood of the truth in real
# shortlists (among all of half a million, of its formula, within 5 Da); held against the other half. What a
# contradiction costs: 0, 2, 4 and 6 tried on the whole inner part, by its recall at 1.
CARBON = Costs(
    alike=0.03,
    wider=1.0,
    floor=0.02,
    tail=0.02,
    reach=3.0,
    extra=12.0,
    missing=0.0,
    shared=0.5,
    split=2.0,
    sure=0.96,
    contradicted=4.0,
)
PROTON = Costs(
    alike=0.001,
    wider=0.8,
    floor=0.0,
    tail=0.02,
    reach=3.0,
    extra=8.0,
    missing=0.0,
    shared=1.5,
    split=0.3,
    sure=0.99,
)
RERANKERS: dict[str, Reranker] = {
    "c_nmr": ShiftReranker("c_nmr", CARBON),
    "h_nmr": ShiftReranker("h_nmr", PROTON),
}
