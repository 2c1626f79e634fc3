"""Models that need no training, and small files to measure them on.

`hash_model`: a molecule's vector is made of its canonical SMILES by a hash.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from evaluation_files import write_measured
from rdkit import Chem
from untrained import PART, SHIFTS, save_untrained

from acml_search.core.errors import InvalidRecord
from acml_search.evaluation import workers as processes

D = 16


class HashModel:
    """Perfect but for what a test tells it: `bad` spoils records, `same` are molecules with one vector."""

    def __init__(self) -> None:
        self.spaces = {"smiles": SimpleNamespace(name="smiles", d=D)}
        self.digest = "0" * 64
        self.bad: set[str] = set()
        self.nan: set[str] = set()
        self.same: set[str] = set()
        self.records: list[str] = []

    def featurise(self, mol):
        return mol

    def made_by(self, space):
        return self.digest

    def encode_graphs(self, mols, spaces):
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


@pytest.fixture(scope="session")
def two_spaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a small, untrained checkpoint with the spaces `smiles` and `c_nmr`."""
    spaces = {"smiles": ({**PART, "layers": 5}, 14.0), "c_nmr": (SHIFTS, 9.0)}
    return save_untrained(tmp_path_factory.mktemp("models") / "two", spaces, seed=11)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A folder with the files of `write_measured`."""
    return write_measured(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory, two_spaces):
    """The folder of `write_measured`, the summary of the questions in `toy/` asked there, and a function that
    asks other files into another folder with the same model.

    One molecule in two is in the dev split there, for none of ten would be, and two molecules are a class.
    """
    from benchmarks.suite import measures, plan, run
    from benchmarks.suite.run import measure_suite

    folder = write_measured(tmp_path_factory.mktemp("suite"))
    files = tuple(folder / f"{name}.toml" for name in ("carbon", "spelled", "electrons", "both"))
    for file in files:
        shutil.copy(Path(__file__).parent / "benchmarks" / "toy" / file.name, file)

    def ask(files, out, model=two_spaces):
        cache = folder / "cache"
        return measure_suite(files, out, model=str(model), cache=cache, workers=1, command="as a test")

    with pytest.MonkeyPatch.context() as patch:
        for module in (plan, run):
            patch.setattr(module, "is_dev", lambda inchikey14: ord(inchikey14[0]) % 2 == 0)
        patch.setattr(measures, "MIN_MOLECULES", 2)
        return folder, ask(files, folder / "results"), ask
