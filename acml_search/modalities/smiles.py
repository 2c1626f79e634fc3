"""SMILES strings, as linked sequences of atom symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from acml_search.core.errors import InvalidRecord
from acml_search.modalities.base import Modality, register
from acml_search.modalities.structure import StructureReranker

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from acml_search.chem.graph import GraphBatch, MolGraph
    from acml_search.core.typing import Float32s


@register("smiles")
class Smiles(Modality):
    """A SMILES string as a linked sequence of atom symbols (`chem.smiles`).

    Shape: symbols (n, 7) uint8, links (2, m) int32, link codes (m,) uint8, in a `MolGraph`, with the
    configuration of the molecule, which no network reads (`chem.configuration`).
    """

    title = "SMILES"
    from_structure = True
    storage: ClassVar[dict[str, str]] = {}

    def read(self, record: Any) -> MolGraph:
        from acml_search.chem.configuration import of_smiles
        from acml_search.chem.smiles import linked_symbols

        if not isinstance(record, str) or not record.strip():
            raise InvalidRecord("it is empty or not text; give one SMILES string", modality=self.name)
        return linked_symbols(record.strip())._replace(configuration=of_smiles(record.strip()))

    def configurations(self, encoder: nn.Module, items: Sequence[MolGraph]) -> list[Float32s | None]:
        return [item.configuration for item in items]

    def collate(self, items: Sequence[MolGraph]) -> GraphBatch:
        from acml_search.chem.graph import collate

        return collate(items)

    def encoder(self, **config: Any) -> nn.Module:
        from acml_search.chem.smiles import N_LINK_CODES, SYMBOL_COLUMNS
        from acml_search.networks import GraphNet

        return GraphNet(list(SYMBOL_COLUMNS.values()), N_LINK_CODES, **config)

    def reranker(self) -> StructureReranker:
        return StructureReranker()

    def example(self, rng: np.random.Generator) -> str:
        chain = "".join(rng.choice(["C", "N", "O", "CC", "C(F)", "C(=O)"], size=int(rng.integers(1, 8))))
        return f"c1ccccc1C{chain}C"

    def derive(self, smiles: str, rng: np.random.Generator | None = None) -> str:
        """The canonical SMILES itself, or with `rng` a random walk over the same molecule."""
        if rng is None:
            return smiles
        from rdkit import Chem

        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise InvalidRecord(f"RDKit cannot read {smiles!r}", modality=self.name)
        return str(Chem.MolToRandomSmilesVect(mol, 1, randomSeed=int(rng.integers(1, 2**31 - 1)))[0])
