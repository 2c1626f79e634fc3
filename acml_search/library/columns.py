"""Which column holds the SMILES, and under which names the other columns are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from acml_search.core.errors import LibraryError

_OURS = ("key", "smiles", "inchikey", "formula", "exact_mass", "source_row", "removed")
_OF_A_HIT = ("modality", "side", "rank", "score", "probability", "why")
_OF_A_RECORD = (
    "record_id",
    "molecule_key",
    "record_file",
    "record_number",
    "record_positions",
    "record_intensities",
)
RESERVED = (*_OURS, *_OF_A_RECORD, *_OF_A_HIT)
"""Our columns of the molecules table, of a measured record and of a hit. A column of the input with such a
name becomes `input_<name>`, so that a filter calls it what the hits call it."""

USUAL_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles", "can_smiles", "smiles_string", "smi")
"""Names under which a SMILES column is found without being asked for; the first that exists is taken."""


def smiles_column(names: Sequence[str], wanted: str | None) -> int | None:
    """Position of the SMILES column: `wanted` if given, else the first of the usual names; None if absent.

    An exact match wins over one that differs in case.
    """
    folded = [name.strip().casefold() for name in names]
    if wanted is not None:
        if wanted in names:
            return list(names).index(wanted)
        return folded.index(wanted.strip().casefold()) if wanted.strip().casefold() in folded else None
    for usual in USUAL_NAMES:
        if usual in folded:
            return list(names).index(usual) if usual in names else folded.index(usual)
    return None


def no_smiles_column(path: Path, names: Iterable[str], wanted: str | None, hint: str = "") -> LibraryError:
    """The error for a table without a SMILES column; it lists the columns there are."""
    there = ", ".join(repr(name) for name in names) or "none"
    missing = "no column named 'smiles'" if wanted is None else f"no column named {wanted!r}"
    return LibraryError(path, f"{missing}; its columns are {there}; name one with --smiles-column{hint}")


def safe_names(names: Sequence[str]) -> list[str]:
    """Names fit for the molecules table: not empty, not ours, and, as in SQL, unique whatever their case."""
    taken: set[str] = set()
    result = []
    for place, name in enumerate(names, start=1):
        clean = "".join(character for character in " ".join(name.split()) if character.isprintable())
        clean = clean or f"column_{place}"
        if clean.casefold() in RESERVED:
            clean = f"input_{clean}"
        unique, n = clean, 1
        while unique.casefold() in taken:
            n += 1
            unique = f"{clean}_{n}"
        taken.add(unique.casefold())
        result.append(unique)
    return result
