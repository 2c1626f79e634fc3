"""Measurements into a model's card: metrics with their commands, calibrated scales, what is missed.

The card's digest does not change: it covers what vectors depend on, and a scale only multiplies scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError
from acml_search.core.io import atomic
from acml_search.encoders.card import MEASUREMENTS, ModelCard, read_card
from acml_search.evaluation.measures.classes import by_class, failures
from benchmarks.carried import BY_SPACE, LISTS, carried
from benchmarks.suite.run import SUMMARY

_WHAT = (
    "question",
    "asks",
    "modality",
    "direction",
    "filter",
    "n_queries",
    "n_molecules",
    "n_failed",
    "n_pool",
    "rerank",
    "rerank_weights",
    "by_cosine",
)
KEPT: dict[str, tuple[str, ...]] = {
    "recall": (
        *_WHAT, "candidates_per_query", "recall", "mrr", "ci95", "chance", "tie_rule", "by_pool", "leakage",
    ),
    "isomers": (
        *_WHAT, "n_groups", "group_size", "accuracy", "ci95", "chance", "mrr", "mrr_ci95", "mrr_chance",
    ),
    "stereoisomers": (
        *_WHAT, "n_groups", "group_size", "accuracy", "ci95", "chance", "mrr", "mrr_ci95", "mrr_chance",
        "reads_stereo",
    ),
    "batches": ("question", "modality", "batch", "shuffles", "n_molecules", "note", "chance", "to-molecule",
                "to-record"),
    "peaks": ("question", "modality", "set_error", "ci95", "median", "p90", "n_asked", "n_spectra",
              "n_molecules", "unit", "assigned"),
    "calibration": ("question", "modality", "scale_before", "factor", "scale", "temperature", "shortlist",
                    "n_pool", "inner", "valid"),
    "rerank": ("question", "modality", "cosine", "evidence", "shortlist", "n_pool", "inner"),
    "together": ("question", "modality", "plain", "rerank", "shortlist", "n_pool", "inner"),
}  # fmt: skip
"""What a card keeps of each kind of result."""


def fill_card(
    directory: Path,
    sources: Sequence[Path],
    *,
    command: str | None = None,
    before: Path | None = None,
    measurements: Path | None = None,
) -> ModelCard:
    """Put the results of suites (their folders) and of single benchmarks (JSON files) into a card.

    `before`, the folder of an earlier version of the model: what its card says of spaces that have the same
    weights stays, unless it was measured again (`carried`). `measurements`: see `write_card`.

    Replaces `metrics`, `within_batches`, `calibration`, `together`, `recall_by_class` and
    `known_failures_by_class`, and sets the scale of every calibrated space and the weights of every one whose
    re-ranking was fitted. Raises ConfigError for a result of another model, for two fits of one space, and
    for a folder without results.
    """
    card = read_card(directory)
    found = [(path, one) for path in sources for one in _results(path) if "baseline" not in one]
    for path, result in found:
        if result.get("model_digest") != card.digest:
            raise ConfigError(f"{path}: it was measured with another model than {directory}; measure again")
    by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KEPT}
    for _, result in found:
        kind = result.get("kind") or ("isomers" if "accuracy" in result else "recall")
        kept = {key: result[key] for key in KEPT[kind] if key in result}
        by_kind[kind].append({"kind": kind, **kept, "seed": result.get("seed"), "command": result["command"]})
    asked = {result["question"] for _, result in found if "question" in result}
    earlier = carried(read_card(before), card, asked) if before else None
    data = card.data | card.measurements
    data["metrics"] = [
        one for kind in ("recall", "isomers", "stereoisomers", "peaks") for one in by_kind[kind]
    ]
    data["within_batches"] = by_kind["batches"]
    data["calibration"] = calibration = _by_space(by_kind["calibration"])
    reranking = _by_space(by_kind["rerank"])
    data["together"] = _by_space(by_kind["together"])
    data["spaces"] = {
        name: {
            **space,
            **(earlier["spaces"].get(name, {}) if earlier else {}),
            **({"scale": calibration[name]["scale"]} if name in calibration else {}),
            **({"rerank": _weights(reranking[name])} if name in reranking else {}),
        }
        for name, space in card.data["spaces"].items()
    }
    classes, told = _classes(found)
    data["recall_by_class"], data["known_failures_by_class"] = classes, told
    if earlier:
        for key in (*LISTS, "known_failures_by_class"):
            data[key] = [*earlier[key], *data[key]]
        for key in BY_SPACE:
            data[key] = {**earlier[key], **data[key]}
    data["metrics_command"] = command
    write_card(directory, data, measurements)
    return read_card(directory)


def write_card(directory: Path, data: Mapping[str, Any], measurements: Path | None = None) -> None:
    """Write `card.json`; with `measurements`, a file for what was measured (`MEASUREMENTS`), a short one."""
    if measurements is not None:
        found = {key: data[key] for key in ("name", "digest", *MEASUREMENTS) if key in data}
        data = {key: value for key, value in data.items() if key not in MEASUREMENTS}
        with atomic(measurements) as temporary:
            temporary.write_text(_text(found), encoding="utf-8")
    with atomic(directory / "card.json") as temporary:
        temporary.write_text(_text(data), encoding="utf-8")


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _results(path: Path) -> list[dict[str, Any]]:
    """The results in a folder, of however many runs of suites, or of one file, each with its `folder`."""
    folder = path if path.is_dir() else path.parent
    files = sorted(one for one in path.glob("*.json") if one.name != SUMMARY) if path.is_dir() else [path]
    try:
        if not files:
            raise FileNotFoundError("no JSON file")
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: there are no results to read here ({error}); give the --out of `bench suite`, or the "
            "JSON file of another benchmark"
        ) from error
    return [{**one, "folder": folder} for one in found]


def _weights(fitted: Mapping[str, Any]) -> dict[str, Any]:
    """What a space's entry keeps of a fit of re-ranking."""
    return {key: fitted[key] for key in ("cosine", "evidence", "shortlist", "n_pool", "inner", "command")}


def _by_space(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        name = result["modality"]
        if name in found:
            raise ConfigError(
                f"the space {name} was calibrated by {found[name]['question']} and by {result['question']}; "
                "take one of them out of the suite"
            )
        found[name] = result
    return found


def _classes(found: Sequence[tuple[Path, dict[str, Any]]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Recall by class for every ranking that must reach something, or the unfiltered one of its question."""
    recalls = [one for _, one in found if one.get("kind") == "recall" and "question" in one]
    measured: list[dict[str, Any]] = []
    told: list[str] = []
    for question in dict.fromkeys(result["question"] for result in recalls):
        of_it = [one for one in recalls if one["question"] == question]
        chosen = [one for one in of_it if one["must"]] or [one for one in of_it if one["asks"] == "none"]
        for result in chosen:
            rows = pq.read_table(result["folder"] / result["per_query"]).to_pylist()
            classes = by_class(rows, seed=int(result["seed"]))
            asks = "all molecules of the pool" if result["asks"] == "none" else result["asks"]
            measured += [{"question": question, "asks": result["asks"], **one} for one in classes]
            told += failures(classes, result["recall"]["1"], f"{question}, {asks}")
    return measured, told
