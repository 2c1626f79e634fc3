"""Molecules to look at: a seeded random choice from an index or a library file, standardised."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.core.typing import Float32s
from acml_search.properties.features import TRUNK, embeddings_by_part

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.checkpoint import Model
    from acml_search.library.source import Row

DEFAULT_INDEX = Path("indexes/default")
_CHUNK = 5_000
_EXTRA_SHARE = 0.1
"""rows drawn beyond n, for those that are rejected or come twice"""


class SampledMolecule(NamedTuple):
    mol: Chem.Mol
    smiles: str
    """canonical"""
    inchikey14: str
    columns: Mapping[str, object]
    """the library's own columns, and `formula` and `exact_mass` (Da)"""


@dataclass(frozen=True)
class MoleculeSample:
    """n distinct molecules (by the first block of the InChIKey) and the model that embeds them.

    stored: {space: (n, d) float32}, from an index made with the same weights; rounded to half precision.
    """

    source: str
    molecules: list[SampledMolecule]
    model: Model
    stored: dict[str, Float32s] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.molecules)

    @property
    def mols(self) -> list[Chem.Mol]:
        return [one.mol for one in self.molecules]

    @property
    def smiles(self) -> list[str]:
        return [one.smiles for one in self.molecules]

    def column(self, name: str) -> Sequence[object] | None:
        """A column of the library by its name, ignoring case; None where there is none."""
        names = {key.casefold(): key for one in self.molecules for key in one.columns}
        key = names.get(name.casefold())
        return None if key is None else [one.columns.get(key) for one in self.molecules]

    def vectors(self, spaces: Sequence[str]) -> dict[str, Float32s]:
        """Space or `trunk` -> (n, f): from the index where it holds those of these weights, else embedded."""
        made = embeddings_by_part(self.model, self.mols, [one for one in spaces if one not in self.stored])
        return {name: self.stored[name] if name in self.stored else made[name] for name in spaces}


def check_space(model: Model, space: str, *others: str) -> None:
    """Raise ConfigError unless the model has the space, or it is `trunk` or one of the others."""
    known = [*model.networks, TRUNK, *others]
    if space not in known:
        raise ConfigError(f"the model {model.card.name} has no space {space!r}; there are {', '.join(known)}")


def read_sample(
    where: Path | None,
    *,
    n: int,
    seed: int,
    model: str | None = None,
    smiles_column: str | None = None,
) -> MoleculeSample:
    """`n` molecules of an index or a library file, chosen at random by `seed`; all, if it has fewer.

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


def _from_index(where: Path, n: int, seed: int, model: str | None) -> MoleculeSample:
    from acml_search.chem.molecule import read_stored
    from acml_search.encoders.checkpoint import load_model
    from acml_search.index.directory import IndexDirectory

    with IndexDirectory(where) as index:
        loaded = load_model(model or index.model)
        keys = index.keys
        drawn = np.random.default_rng(seed).choice(len(keys), min(len(keys), _with_extra(n)), replace=False)
        drawn.sort()
        rows = index.catalog.rows(keys[drawn]).to_pylist()
        chosen = _distinct([row["inchikey"].split("-")[0] for row in rows], n)
        molecules = []
        for inchikey14, i in chosen.items():
            columns = {name: value for name, value in rows[i].items() if name not in ("smiles", "inchikey")}
            smiles = rows[i]["smiles"]
            molecules.append(SampledMolecule(read_stored(smiles), smiles, inchikey14, columns))
        stored = {
            name: index.vectors(name).stored(drawn[list(chosen.values())])[:, : loaded.card.learned(name)]
            for name, space in index.spaces.items()
            if name in loaded.spaces and loaded.spaces[name].digest == space.digest
        }
    return MoleculeSample(str(where), molecules, loaded, stored)


def _from_library(
    where: Path | None, n: int, seed: int, model: str | None, smiles_column: str | None
) -> MoleculeSample:
    from acml_search.encoders.card import DEFAULT_MODEL
    from acml_search.encoders.checkpoint import load_model
    from acml_search.library.standardise import prepare
    from acml_search.library.stream import default_library, open_library

    library = open_library(default_library() if where is None else where, smiles_column=smiles_column)
    rows = (row for batch in library.batches(_CHUNK) for row in batch)
    accepted = prepare(_reservoir(rows, _with_extra(n), seed)).accepted
    molecules = []
    for inchikey14, i in _distinct([one.molecule.inchikey.split("-")[0] for one in accepted], n).items():
        known = accepted[i].molecule
        columns = {**accepted[i].metadata, "formula": known.formula, "exact_mass": known.exact_mass}
        molecules.append(SampledMolecule(accepted[i].mol, known.smiles, inchikey14, columns))
    source = "RDKit's own molecules" if where is None else str(where)
    return MoleculeSample(source, molecules, load_model(model or DEFAULT_MODEL))


def _with_extra(n: int) -> int:
    return n + max(10, int(n * _EXTRA_SHARE))


def _distinct(inchikeys: Sequence[str], n: int) -> dict[str, int]:
    """The first `n` distinct InChIKey blocks and where each comes first."""
    places = {key: i for i, key in reversed(list(enumerate(inchikeys)))}
    return dict(sorted(places.items(), key=lambda item: item[1])[:n])


def _reservoir(rows: Iterable[Row], size: int, seed: int) -> list[Row]:
    """`size` rows of a stream, each set as likely (Vitter 1985, algorithm R), in the order of the stream."""
    rng = random.Random(seed)
    chosen: list[Row] = []
    for i, row in enumerate(rows):
        if i < size:
            chosen.append(row)
        elif (place := rng.randrange(i + 1)) < size:
            chosen[place] = row
    return sorted(chosen, key=lambda row: row.row)
