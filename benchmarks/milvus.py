"""The first hits of an index in Milvus beside those of the directory it was pushed from, and their times."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from acml_search import modalities
from acml_search.core.io import versions
from acml_search.core.typing import Float32s
from benchmarks.shared import finish, percentiles, records

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
    from acml_search.index.directory import open_store
    from acml_search.search.pipeline import Pipeline

    items = [modalities.get(modality).read(one) for one in records(queries, modality, "TRUE", limit, seed)]
    with open_store(index) as here, open_store(pushed) as there:
        pipeline = Pipeline(here, here.model)
        encoded = pipeline.reader([modality]).encode_items(modality, items)
        xq = pipeline._asked(modality, encoded.astype(np.float32))
        measured: dict[str, Any] = {}
        found = {}
        for name, store in (("directory", here), ("milvus", there)):
            found[name], measured[name] = _timed(store.vectors(modality), xq)
        least = found["directory"][:, -1:]
        recall = float(np.mean(found["milvus"] >= least - TIE))
        about = {
            "n": here.manifest.counts["molecules"],
            "n_queries": len(xq),
            "recall_at_10_of_directory": round(recall, 4),
            "milliseconds": measured,
            "versions": versions("acml-search", "pymilvus", "milvus-lite", "faiss-cpu"),
        }
    finish("milvus", about, None)


def _timed(vectors: Any, xq: Float32s) -> tuple[Float32s, dict[str, float]]:
    """Scores (nq, K) of the hits, and quantiles of the times after the first ten questions."""
    scores, seconds = [], []
    for q in xq:
        began = time.perf_counter()
        scores.append(vectors.search(q[None], K)[0][0])
        seconds.append(time.perf_counter() - began)
    return np.stack(scores), percentiles(seconds[10:] or seconds)
