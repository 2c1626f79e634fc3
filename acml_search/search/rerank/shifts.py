"""NMR: the peaks that the node head predicts of a candidate, against those observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.search.rerank.base import Evidence, Match, Missing, Reranker
from acml_search.spectra.assign import (
    Assignment,
    Costs,
    Groups,
    assign_all,
    group_atoms,
    log_likelihoods,
)

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model


class ShiftReranker(Reranker):
    """Score: the log-likelihood of the best assignment (`spectra.assign`)."""

    def __init__(self, modality: str, costs: Costs) -> None:
        self.modality, self.costs = modality, costs

    def available(self, model: Model) -> bool:
        """Does the model's space predict peaks?"""
        from acml_search.encoders.predict import predicts_peaks

        return predicts_peaks(model, self.modality)

    def evidence(self, model: Model, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
        observed = np.asarray(item, np.float64)
        found = assign_all(observed, self.prepare(model, mols), self.costs)
        return [_told(observed, one) for one in found]

    def scores(self, model: Model, item: Any, prepared: Sequence[Groups]) -> npt.NDArray[np.float64]:
        return log_likelihoods(np.asarray(item, np.float64), prepared, self.costs)

    def prepare(self, model: Model, mols: Sequence[Chem.Mol]) -> list[Groups]:
        """The predicted peaks of each candidate."""
        from acml_search.encoders.predict import predicted_peaks

        graphs = [model.featurise(mol) for mol in mols]
        return [group_atoms(one, self.costs.alike) for one in predicted_peaks(model, self.modality, graphs)]


def _told(observed: npt.NDArray[np.float64], one: Assignment) -> Evidence:
    groups, positions = one.groups, observed.round(3).tolist()
    predicted, present = groups.position.round(3).tolist(), groups.present.round(3).tolist()
    return Evidence(
        one.log_likelihood,
        [
            Match(positions[i], predicted[j], groups.atoms[j], round(positions[i] - predicted[j], 3))
            for i, j in one.pairs
        ],
        [positions[i] for i in one.unmatched_observed],
        [Missing(predicted[j], groups.atoms[j], present[j]) for j in one.unmatched_predicted],
    )


# Chosen one after another on half of the inner part of `train`, by the likelihood of the truth in real
# shortlists (among all of half a million, of its formula, within 5 Da); held against the other half.
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
