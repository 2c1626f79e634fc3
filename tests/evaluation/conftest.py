"""A model that needs no training: a molecule's vector is made of its canonical SMILES by a hash."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from rdkit import Chem

from acml_search.errors import InvalidRecord
from acml_search.evaluation import workers as processes

D = 16


class HashModel:
    """Perfect but for what a test tells it: `bad` spoils records, `same` are molecules with one vector."""

    def __init__(self) -> None:
        self.spaces = {"smiles": SimpleNamespace(name="smiles", d=D)}
        self.bad: set[str] = set()
        self.nan: set[str] = set()
        self.same: set[str] = set()
        self.records: list[str] = []

    def encode_molecules(self, mols):
        return {"smiles": np.array([self._vector(mol) for mol in mols], np.float32)}

    def encode_records(self, modality, records):
        assert modality == "smiles"
        mols = [Chem.MolFromSmiles(record) for record in records]
        for mol in mols:
            if Chem.MolToSmiles(mol) in self.bad:
                raise InvalidRecord("spoilt", modality=modality)
        self.records += records
        return np.array([self._vector(mol) for mol in mols], np.float32)

    def _vector(self, mol):
        smiles = Chem.MolToSmiles(mol)
        if smiles in self.nan:
            return np.full(D, np.nan)
        digest = hashlib.sha256(b"same" if smiles in self.same else smiles.encode()).digest()
        vector = np.frombuffer(digest[:D], np.uint8) - 127.5
        return vector / np.linalg.norm(vector)


@pytest.fixture
def hash_model(monkeypatch):
    model = HashModel()
    monkeypatch.setattr(processes, "_model", model)
    return model
