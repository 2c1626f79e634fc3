"""What scripts of this folder share: records that ask, times and shares as figures, and result documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acml_search import modalities
from acml_search.cli.app import command_line
from acml_search.core.errors import InvalidRecord
from acml_search.core.io import write_json
from acml_search.search.results import plain

PROGRAM = "from acml_search.cli import main; main()"
"""`acml-search`, for `python -c`"""


def records(path: Path, modality: str, where: str, n: int, seed: int) -> list[dict[str, Any]]:
    """At most n records of a Parquet file that can be read, a seeded choice; `where`: SQL on its rows."""
    import duckdb

    kind, found = modalities.get(modality), list[dict[str, Any]]()
    query = f"SELECT * FROM read_parquet(?) WHERE {where}"
    with duckdb.connect() as db:
        rows = db.sql(query, params=[str(path)]).to_arrow_table().to_pylist()
    for i in np.random.default_rng(seed).permutation(len(rows)).tolist():
        names = (*kind.columns, *kind.optional)
        record = {name: plain(rows[i][name]) for name in names if rows[i].get(name) is not None}
        try:
            kind.read(record)
        except InvalidRecord:
            continue
        found.append(record)
        if len(found) == n:
            break
    return found


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    p50, p95 = np.percentile(seconds or [np.nan], [50, 95]) * 1000
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """The share that is true, with its 95 % interval (Wilson 1927)."""
    from scipy.stats import binomtest

    low, high = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return {"share": sum(hits) / len(hits), "ci95": [float(low), float(high)], "n": len(hits)}


def share_text(one: dict[str, Any]) -> str:
    return f"{one['share']:.3f} ({one['ci95'][0]:.3f} to {one['ci95'][1]:.3f}, {one['n']})"


def finish(kind: str, fields: dict[str, Any], out: Path | None, *, show: bool = True) -> dict[str, Any]:
    """The result document, with the command that made it; written to `out` and printed."""
    document = {"kind": kind, **fields, "command": command_line()}
    if out is not None:
        write_json(document, out)
    if show:
        print(json.dumps(document, indent=1, ensure_ascii=False))
    return document
