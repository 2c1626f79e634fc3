"""What a baseline answered is kept: it does not change when the model does.

    <cache>/baselines/<key>/     the results (JSON) and their queries (Parquet)

The key covers pool, queries, training rows, filters, seed, what the model's training saw and the baseline's
code; of a baseline that takes the model's predicted peaks, these and their matching too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from acml_search.evaluation.data.structures import Query
from acml_search.evaluation.ranks.retrieval import Asked
from acml_search.evaluation.results import write_json
from acml_search.evaluation.vectors.depends import imported_digest, side_key
from acml_search.modalities import get
from benchmarks.baselines.base import Baseline
from benchmarks.suite.asking import Asking

_RESULTS = "results.json"
_MODEL = ("acml_search.encoders", "acml_search.networks", "acml_search.evaluation.vectors",
          "acml_search.evaluation.rerank", "benchmarks.suite")  # fmt: skip
"""code that baselines import and that has no say in their answers"""


class KeptAnswers:
    """The folder of one baseline's answers to one question; `asked`: the queries it is asked."""

    def __init__(
        self, asking: Asking, one: Baseline, asked: Sequence[Asked], training: Sequence[Query]
    ) -> None:
        self._asking, self._asked = asking, asked
        question, card = asking.question, asking.bench.card
        modality = type(get(question.modality)).__module__
        roots = [type(one).__module__, modality, "acml_search.evaluation.ranks.retrieval"]
        recipe = {
            "baseline": one.name,
            "code": imported_digest(roots, () if one.matches_peaks else _MODEL),
            "pool": _digest(asking.pool.structures),
            "queries": _digest((each.truth, each.query) for each in asked),
            "training": _digest(training),
            "seen": card.data.get("training_list"),
            "modality": question.modality,
            "filters": [each.text for each in question.filters],
            "isomers": question.isomers,
            "recall_at": list(asking.bench.suite.recall_at),
            "seed": asking.bench.suite.seed,
            "peaks": side_key(card, question.modality, "graph") if one.matches_peaks else None,
        }
        key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        self.folder = asking.bench.cache / "baselines" / key

    def read(self) -> list[dict[str, Any]] | None:
        """The results, written anew as of this question and model; None where none are kept."""
        path = self.folder / _RESULTS
        if not path.exists():
            return None
        asking = self._asking
        now = {
            "question": asking.question.name,
            "model": asking.bench.model,
            "model_digest": asking.bench.card.digest,
        }
        results: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
        for result in results:
            result |= now
            _rename(result, self.folder, asking)
            write_json(result, asking.bench.out / result["result"])
        return results

    def write(self, results: Sequence[dict[str, Any]]) -> None:
        """Keep results that were just written; all of them or none."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=self.folder.parent))
        for result in results:
            if "per_query" in result:
                shutil.copyfile(self._asking.bench.out / result["per_query"], aside / result["per_query"])
        write_json({"results": list(results)}, aside / _RESULTS)
        if self.folder.exists():  # of an earlier run that kept none of it readable
            shutil.rmtree(self.folder)
        os.replace(aside, self.folder)


def _rename(result: dict[str, Any], folder: Path, asking: Asking) -> None:
    """Put the queries of a kept result into this run's folder, under this question's name."""
    before = result["result"].partition(".baseline-")[0]
    name = asking.question.name
    if "per_query" in result:
        kept = folder / result["per_query"]
        result["per_query"] = name + result["per_query"].removeprefix(before)
        shutil.copyfile(kept, asking.bench.out / result["per_query"])
    result["result"] = name + result["result"].removeprefix(before)


def _digest(rows: Iterable[Any]) -> str:
    """SHA-256 over rows of named tuples, mappings and arrays."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(json.dumps(row, default=_plain).encode())
    return sha.hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
