"""What the modalities of structures share: candidates are compared with the structure that was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acml_search.modalities.base import Evidence, Reranker

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.core.typing import Float32s, Floats

CONFIGURED = 0.25
"""of a similarity of 1, what agreement in configuration adds"""


class StructureReranker(Reranker):
    """Compares structures by Morgan environments with counts (Tanimoto coefficient), as a mean over what
    may have been read; of those that have just these, configurations too (`chem.configuration`).
    """

    def read(self, model: Any, observed: Any) -> Sequence[tuple[str, float]]:
        """SMILES of what `observed` may be, and their probabilities."""
        return [(observed, 1.0)]

    def configuration(self, model: Any, observed: Any) -> Float32s | None:
        """`chem.configuration` of what was read."""
        from acml_search.chem.configuration import of_smiles

        return of_smiles(observed)

    def observed(self, item: Any, record: Any) -> Any:
        return record

    def prepare(self, model: Any, mols: Sequence[Chem.Mol]) -> list[Any]:
        from acml_search.chem.fingerprints import morgan_counts

        return list(zip(morgan_counts(mols), mols, strict=True))

    def scores(self, model: Any, observed: Any, prepared: Sequence[Any]) -> Floats:
        import numpy as np
        from rdkit import DataStructs

        from acml_search.chem.configuration import configuration
        from acml_search.chem.graph import featurise
        from acml_search.chem.molecule import parse
        from acml_search.core.errors import InvalidMolecule

        total, counts = np.zeros(len(prepared)), [one for one, _ in prepared]
        for smiles, probability in self.read(model, observed):
            try:
                own, _ = self.prepare(model, [parse(smiles)[0]])[0]
            except InvalidMolecule:  # a reading that is no structure is like none
                continue
            total += probability * np.array(DataStructs.BulkTanimotoSimilarity(own, counts))
        stated = self.configuration(model, observed)
        if stated is None:
            return total
        for i in np.flatnonzero(total > total.max(initial=0.0) - 1e-9).tolist():
            mol = prepared[i][1]
            other = configuration(mol, featurise(mol, stereo=False))
            total[i] += 0.0 if other is None else CONFIGURED * float(stated @ other)
        return total

    def explain(self, model: Any, observed: Any, prepared: Sequence[Any]) -> list[Evidence]:
        return [
            Evidence(score, said=f"similarity with what was read {score:.2f}")
            for score in self.scores(model, observed, prepared).tolist()
        ]
