"""The first hits of an index in Milvus beside those of the directory it was pushed from, and their times."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from acml_search import modalities
from acml_search.cli.app import command_line, print_json
from acml_search.core.io import versions
from acml_search.core.typing import Float32s

K = 10
TIE = 1e-6  # scores closer than this are the same place


def milvus(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", readable=False)],
    pushed: Annotated[str, typer.Argument(metavar="milvus:URI", help="Where it was pushed.")],
    queries: Annotated[Path, typer.Option(help="Parquet of measured records.", readable=False)],
    modality: Annotated[str, typer.Option(help="Of the records, and the space.")] = "c_nmr",
    limit: Annotated[int, typer.Option(min=1, help="So many records, of a seeded choice.")] = 1000,
    seed: int = 0,
) -> None:
    """Recall@10 against the directory's own answers, and milliseconds a question, one at a time.

    \b
    python -m benchmarks milvus indexes/mine milvus:http://localhost:19530 --queries nmr_c13.parquet
    """
    import pyarrow.parquet as pq

    from acml_search.core.errors import InvalidRecord
    from acml_search.index.directory import open_store

    rows, kind, items = pq.read_table(queries).to_pylist(), modalities.get(modality), []
    for row in (rows[i] for i in np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit])):
        try:
            items.append(kind.read({name: value for name, value in row.items() if value is not None}))
        except InvalidRecord:
            continue
    with open_store(index) as here, open_store(pushed) as there:
        from acml_search.search.pipeline import Pipeline

        pipeline = Pipeline(here, here.model)
        encoded = pipeline.reader([modality]).encode_items(modality, items)
        xq = pipeline._asked(modality, encoded.astype(np.float32))
        measured: dict[str, Any] = {}
        found = {}
        for name, store in (("directory", here), ("milvus", there)):
            found[name], measured[name] = _timed(store.vectors(modality), xq)
        least = found["directory"][:, -1:]
        recall = float(np.mean(found["milvus"] >= least - TIE))
        print_json(
            {
                "n": here.manifest.counts["molecules"],
                "n_queries": len(xq),
                "recall_at_10_of_directory": round(recall, 4),
                "milliseconds": measured,
                "versions": versions("acml-search", "pymilvus", "milvus-lite", "faiss-cpu"),
                "command": command_line(),
            }
        )


def _timed(vectors: Any, xq: Float32s) -> tuple[Float32s, dict[str, float]]:
    """Scores (nq, K) of the hits, and quantiles of the times after the first ten questions."""
    scores, milliseconds = [], []
    for q in xq:
        began = time.perf_counter()
        scores.append(vectors.search(q[None], K)[0][0])
        milliseconds.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.percentile(milliseconds[10:] or milliseconds, [50, 95])
    return np.stack(scores), {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}
