"""Molecules to look at: a seeded choice from an index or from library files, standardised as everywhere."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, InvalidMolecule

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model
    from acml_search.library.read import Row

DEFAULT_INDEX = Path("indexes/default")
_ROWS = 5_000  # of a library, read at once
_SPARE = 0.1  # rows drawn beyond n, for those that are rejected or come twice

Vectors = npt.NDArray[np.float32]


class One(NamedTuple):
    """A molecule of the sample."""

    mol: Chem.Mol
    smiles: str
    """canonical"""
    block: str
    """first block of the InChIKey"""
    columns: Mapping[str, object]
    """the library's own columns, and `formula` and `exact_mass` (Da)"""


@dataclass(frozen=True)
class Sample:
    """n distinct molecules (by InChIKey block), the model that looks at them, and vectors that were kept.

    stored: {space: (n, d) float32}, from an index that the same weights made; rounded to half precision.
    """

    source: str
    molecules: list[One]
    model: Model
    stored: dict[str, Vectors] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.molecules)

    @property
    def mols(self) -> list[Chem.Mol]:
        return [one.mol for one in self.molecules]

    @property
    def smiles(self) -> list[str]:
        return [one.smiles for one in self.molecules]

    def n_seen(self) -> int | None:
        """How many of the molecules the contrastive training saw; None where the model has no such list."""
        from acml_search.encoders.seen import training_list

        seen = training_list(self.model.card)
        return None if seen is None else int(seen.any([one.block for one in self.molecules]).sum())


def read_sample(
    where: Path | None,
    *,
    n: int,
    seed: int,
    model: str | None = None,
    smiles_column: str | None = None,
) -> Sample:
    """`n` molecules of an index directory or library file, chosen at random by `seed`; all, if it has fewer.

    where: None for `indexes/default`, or RDKit's own molecules while that is not there. model: None for the
    index's own, or `acml-base`. Raises ConfigError for fewer than 2 molecules, and what reading raises.
    """
    if where is None and (DEFAULT_INDEX / "manifest.json").exists():
        where = DEFAULT_INDEX
    if where is not None and where.is_dir():
        sample = _from_index(where, n, seed, model)
    else:
        sample = _from_library(where, n, seed, model, smiles_column)
    if len(sample) < 2:
        raise ConfigError(f"{sample.source} gave {len(sample)} molecules; at least 2 are needed to compare")
    return sample


def _from_index(where: Path, n: int, seed: int, model: str | None) -> Sample:
    from acml_search.chem.molecule import parse
    from acml_search.encoders.model import load_model
    from acml_search.index.opened import IndexDirectory

    with IndexDirectory(where) as index:
        loaded = load_model(model or index.model)
        keys = index.keys
        # one more than is shown, so that two keys of one InChIKey block do not make the sample smaller
        drawn = np.random.default_rng(seed).choice(len(keys), min(len(keys), _spared(n)), replace=False)
        drawn.sort()
        table = index.catalog.rows(keys[drawn])
        rows = table.to_pylist()
        at: list[int] = []
        molecules: list[One] = []
        known: set[str] = set()
        for place, row in enumerate(rows):
            block = row["inchikey"].split("-")[0]
            if block in known or len(molecules) == n:
                continue
            known.add(block)
            columns = {name: value for name, value in row.items() if name not in ("smiles", "inchikey")}
            molecules.append(One(parse(row["smiles"])[0], row["smiles"], block, columns))
            at.append(place)
        stored = {
            name: index.vectors(name).stored(drawn[at])
            for name, space in index.spaces.items()
            if name in loaded.spaces and loaded.spaces[name].digest == space.digest
        }
    return Sample(str(where), molecules, loaded, stored)


def _from_library(
    where: Path | None, n: int, seed: int, model: str | None, smiles_column: str | None
) -> Sample:
    from acml_search.encoders.card import DEFAULT_MODEL
    from acml_search.encoders.model import load_model
    from acml_search.library.prepare import prepare
    from acml_search.library.read import default_library, open_library

    library = open_library(default_library() if where is None else where, smiles_column=smiles_column)
    chosen = _reservoir((row for batch in library.batches(_ROWS) for row in batch), _spared(n), seed)
    molecules: list[One] = []
    known: set[str] = set()
    for item in prepare(chosen).accepted:
        block = item.molecule.inchikey.split("-")[0]
        if block not in known and len(molecules) < n:
            known.add(block)
            ours = {"formula": item.molecule.formula, "exact_mass": item.molecule.exact_mass}
            molecules.append(One(item.mol, item.molecule.smiles, block, {**item.metadata, **ours}))
    source = "RDKit's own molecules" if where is None else str(where)
    return Sample(source, molecules, load_model(model or DEFAULT_MODEL))


def _spared(n: int) -> int:
    return n + max(10, int(n * _SPARE))


def _reservoir(rows: Any, size: int, seed: int) -> list[Row]:
    """`size` rows of a stream, each set as likely (Vitter 1985, algorithm R), in the order of the stream."""
    random_ = random.Random(seed)
    kept: list[Row] = []
    for i, row in enumerate(rows):
        if i < size:
            kept.append(row)
            continue
        at = random_.randrange(i + 1)
        if at < size:
            kept[at] = row
    return sorted(kept, key=lambda row: row.row)


def one_molecule(smiles: str) -> Chem.Mol:
    """The standardised molecule of a SMILES. Raises InvalidMolecule."""
    from acml_search.chem.molecule import parse

    mol, _ = parse(smiles)
    if mol.GetNumAtoms() < 2:
        raise InvalidMolecule(
            "one atom alone has nothing to share out; give a larger molecule", smiles=smiles
        )
    return mol


def column(sample: Sample, name: str) -> Sequence[object] | None:
    """A column of the library by its name, capitals aside; None where there is none."""
    names = {key.casefold(): key for one in sample.molecules for key in one.columns}
    key = names.get(name.casefold())
    return None if key is None else [one.columns.get(key) for one in sample.molecules]
