"""Rows to molecules. Pure, so that a shard can be made anywhere and twice with the same result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rdkit import Chem

from acml_search.chem.molecule import Molecule, describe, parse, parse_block
from acml_search.core.errors import InvalidMolecule
from acml_search.library.observed import Observed
from acml_search.library.source import Row

MAX_INPUT = 500
"""Characters of a rejected input that are stored."""


class Accepted(NamedTuple):
    row: int
    molecule: Molecule
    mol: Chem.Mol
    metadata: Mapping[str, object]
    observed: Observed | None = None


class Rejected(NamedTuple):
    row: int
    input: str
    """The first 500 characters."""
    reason: str


class Prepared(NamedTuple):
    """Every row is in one of the two lists; each is in the order of rows."""

    accepted: list[Accepted]
    rejected: list[Rejected]


def prepare(rows: Iterable[Row], tautomer: bool = False) -> Prepared:
    """Standardises and describes each row's structure; `tautomer` as in `chem.molecule.parse`.

    Duplicates are not looked for here, because they may lie in other shards.
    """
    accepted: list[Accepted] = []
    rejected: list[Rejected] = []
    for row in rows:
        if row.error is not None:
            rejected.append(Rejected(row.row, row.text[:MAX_INPUT], row.error))
            continue
        read = parse if row.kind == "smiles" else parse_block
        try:
            mol, removed = read(row.text, tautomer=tautomer)
            accepted.append(Accepted(row.row, describe(mol, removed), mol, row.metadata, row.observed))
        except InvalidMolecule as error:
            rejected.append(Rejected(row.row, row.text[:MAX_INPUT], error.reason))
    return Prepared(accepted, rejected)
