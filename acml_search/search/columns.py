"""The columns of a hit, what they are called, and their values in JSON's own types."""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

MOLECULE_COLUMNS = ("key", "smiles", "inchikey", "formula", "exact_mass")
OURS = ("modality", "side", "rank", "score", "probability", "why")


def extra_columns(columns: list[str]) -> dict[str, str]:
    """The library's own columns and their names in a hit: `input_` goes before one that would clash."""
    names = {}
    for column in columns:
        if column not in MOLECULE_COLUMNS:
            shown = column
            while shown in OURS or (shown != column and shown in columns):
                shown = f"input_{shown}"
            names[column] = shown
    return names


def plain(value: Any) -> Any:
    """`value` in JSON's own types: NaN and infinity as null, bytes base64, dates ISO 8601, else text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
