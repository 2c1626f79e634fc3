"""What the modalities of structures share: candidates are compared with the structure that was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acml_search.modalities.base import Evidence, Reranker

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.core.typing import Floats


class StructureReranker(Reranker):
    """Compares structures by Morgan environments with counts (Tanimoto coefficient), as a mean over what
    may have been read. Configuration is left to the vectors.
    """

    def read(self, model: Any, observed: Any) -> Sequence[tuple[str, float]]:
        """SMILES of what `observed` may be, and their probabilities."""
        return [(observed, 1.0)]

    def observed(self, item: Any, record: Any) -> Any:
        return record

    def prepare(self, model: Any, mols: Sequence[Chem.Mol]) -> list[Any]:
        from acml_search.chem.fingerprints import morgan_counts

        return morgan_counts(mols)

    def scores(self, model: Any, observed: Any, prepared: Sequence[Any]) -> Floats:
        import numpy as np
        from rdkit import DataStructs

        from acml_search.chem.molecule import parse
        from acml_search.core.errors import InvalidMolecule

        total = np.zeros(len(prepared))
        for smiles, probability in self.read(model, observed):
            try:
                own = self.prepare(model, [parse(smiles)[0]])[0]
            except InvalidMolecule:  # a reading that is no structure is like none
                continue
            total += probability * np.array(DataStructs.BulkTanimotoSimilarity(own, list(prepared)))
        return total

    def explain(self, model: Any, observed: Any, prepared: Sequence[Any]) -> list[Evidence]:
        return [
            Evidence(score, said=f"Tanimoto similarity with what was read {score:.2f}")
            for score in self.scores(model, observed, prepared).tolist()
        ]
