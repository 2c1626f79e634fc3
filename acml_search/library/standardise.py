"""Rows to molecules. Pure, so that a shard can be made anywhere and twice with the same result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rdkit import Chem

from acml_search.chem.molecule import Molecule, describe, has_work, inchikey_of, parse, parse_block
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.library.observed import Observed
from acml_search.library.source import Row

MAX_INPUT = 500
"""Characters of a rejected input that are stored."""
CHECKED = 64
"""Of the InChIKeys that a library states, one in so many rows is made again and compared."""
_INCHIKEY = re.compile(r"[A-Z]{14}-[A-Z]{8}SA-[A-Z]")


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


def prepare(rows: Iterable[Row], tautomer: bool = False, inchikey_column: str | None = None) -> Prepared:
    """Standardises and describes each row's structure; `tautomer` as in `chem.molecule.parse`.

    Standard InChIKeys come from `inchikey_column` of the metadata where there is one, unless standardising
    may change the structure. Duplicates are not looked for here, because they may lie in other shards.

    Raises ConfigError for a stated InChIKey, of those in `CHECKED` rows, that is another's.
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
            key = _stated(row, mol, tautomer, inchikey_column) if inchikey_column is not None else ""
            accepted.append(Accepted(row.row, describe(mol, removed, key), mol, row.metadata, row.observed))
        except InvalidMolecule as error:
            rejected.append(Rejected(row.row, row.text[:MAX_INPUT], error.reason))
    return Prepared(accepted, rejected)


def _stated(row: Row, mol: Chem.Mol, tautomer: bool, column: str) -> str:
    """The InChIKey that a row states of its structure, which is that of `mol`; or none."""
    key = row.metadata.get(column)
    if not isinstance(key, str) or not _INCHIKEY.fullmatch(key):
        return ""
    if tautomer or row.kind != "smiles" or row.text.startswith("InChI=") or has_work(row.text):
        return ""
    if row.row % CHECKED == 0 and (made := inchikey_of(mol)) and made != key:
        raise ConfigError(
            f"row {row.row:,} of the library states the InChIKey {key}, and its structure has {made}; "
            "leave --inchikey-column out, and InChIKeys are made"
        )
    return key
