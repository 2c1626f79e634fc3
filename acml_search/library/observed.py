"""Measured records in a library: which modality the spectra of a file are, and whose molecule each is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem

from acml_search import modalities
from acml_search.core.errors import ConfigError, LibraryError

MAX_PEAKS = 1_000
"""Peaks of a mass spectrum that are taken, the strongest; towers read fewer. It bounds the rows in flight."""

USUAL_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles", "can_smiles", "smiles_string", "smi")
"""Names of a SMILES column that needs no `--smiles-column`, blanks as `_`; the first that exists counts."""

_ABSENT = {"", "n/a", "na", "none", "null", "nan", "-", "unknown"}
"""What spectral libraries write where a structure is not known."""

_IN_COMMENT = re.compile(r'"?\b(SMILES|InChI)\s*[=:]\s*([^"\s]+)"?', re.IGNORECASE)


class Observed(NamedTuple):
    """One measured record of a row's molecule, not yet read by its modality."""

    modality: str
    record: Mapping[str, Any]
    """as the modality's `read` takes it: `shifts`, or `mzs` and `intensities` and what else is known"""
    file: str
    number: int
    """of the spectrum, or the row, in its file, from 1"""

    @classmethod
    def of(cls, modality: str, record: Mapping[str, Any], file: Path, number: int) -> Observed:
        """A record made small: its lists as arrays, of many peaks the strongest `MAX_PEAKS`.

        An invalid record stays as it is, for the modality's `read` to refuse.
        """
        columns = modalities.get(modality).columns
        small = {**record, **{name: _array(record[name]) for name in columns if name in record}}
        if columns[1:] == ("intensities",):
            strongest = _strongest(*(small.get(name) for name in columns))
            small |= dict(zip(columns, strongest, strict=False))
        return cls(modality, small, str(file), number)


def check_measured(names: Sequence[str]) -> None:
    """Raises ConfigError or UnknownModality for a name in `--records` that is no measured modality."""
    if isinstance(names, str):
        raise ConfigError(f"records is a list of names; write [{names!r}]")
    for name in names:
        if modalities.get(name).from_structure:
            raise ConfigError(
                f"records of {name} are made from structures, not read from files; "
                "name it in --modalities, not in --records"
            )


def modality_of(path: Path, columns: Collection[str], named: Sequence[str]) -> str | None:
    """The modality of the records of a table with these columns; None when it holds structures alone.

    `named`: the modalities the user named, of which those that fit the columns count. Peaks of masses need no
    name: with a precursor they are lc_ms, else gc_ms.

    Raises LibraryError when several fit and none, or more than one, was named.
    """
    fitting = [
        name
        for name in modalities.names()
        if (kind := modalities.get(name)).columns
        and not kind.from_structure
        and set(kind.columns) <= set(columns)
    ]
    wanted = [name for name in fitting if name in named]
    if len(wanted) == 1 or not fitting:
        return wanted[0] if wanted else None
    of_ions = [name for name in fitting if modalities.get(name).has_precursor]
    if not wanted and len(fitting) == 2 and len(of_ions) == 1:
        return next(name for name in fitting if (name in of_ions) == ("precursor_mz" in columns))
    there = " or ".join(wanted or fitting)
    used = sorted({column for name in fitting for column in modalities.get(name).columns})
    raise LibraryError(
        path, f"its columns {', '.join(used)} may be records of {there}; name the one with --records"
    )


def structure_of(about: Mapping[str, Any]) -> tuple[str, str | None]:
    """The SMILES of what a spectrum's source says of it, and, where there is none, why not.

    Looked for under the usual names of a SMILES, then as `inchi`, then in the comments of an MSP file. Of a
    structure that cannot be read the text comes back with the reason.
    """
    known = {
        str(name).strip().casefold().replace(" ", "_"): str(value).strip()
        for name, value in about.items()
        if value is not None and str(value).strip().casefold() not in _ABSENT
    }
    for match in _IN_COMMENT.finditer(known.get("comments", known.get("comment", ""))):
        if match[2].casefold() not in _ABSENT:
            known.setdefault(match[1].casefold(), match[2])
    for name in USUAL_NAMES:
        if name in known:
            return known[name], None
    if "inchi" not in known:
        return "", "the spectrum states no structure (no SMILES and no InChI)"
    text = known["inchi"].strip('"')
    mol = Chem.MolFromInchi(text if text.startswith("InChI=") else f"InChI={text}")
    if mol is None:
        return text, "RDKit cannot read the InChI of the spectrum"
    return Chem.MolToSmiles(mol), None


def _array(values: Any) -> Any:
    """(p,) float64, a tenth of the memory of a list; what is no list of numbers as it is."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return values
    return array if array.ndim == 1 else values


def _strongest(positions: Any, intensities: Any) -> tuple[Any, ...]:
    """The strongest `MAX_PEAKS` where there are more, to replace the columns; none where these are wrong."""
    if not (isinstance(positions, np.ndarray) and isinstance(intensities, np.ndarray)):
        return ()
    n = len(positions)
    if n != len(intensities) or n <= MAX_PEAKS or not np.isfinite([positions, intensities]).all():
        return ()
    strongest = np.sort(np.argsort(-intensities, kind="stable")[:MAX_PEAKS])
    return positions[strongest], intensities[strongest]
