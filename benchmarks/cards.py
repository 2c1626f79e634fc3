"""Put benchmark results into a model's card, each with the command that made it, and calibrate its scales.

    python -m benchmarks.cards acml_search/encoders/weights/acml-base benchmarks/results/acml-base

Takes folders of `python -m benchmarks suite` and JSON files of `bench recall` and `bench isomers`; refuses a
result of another model. The card's digest does not change: it covers what vectors depend on, and a scale only
multiplies scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from acml_search.cli.app import command_line
from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.core.io import write_json
from acml_search.encoders.card import ModelCard, read_card
from benchmarks.report import read_result
from benchmarks.suite.measures import failures

_RANKING = (
    "question", "asks", "modality", "direction", "filter", "n_queries", "n_molecules", "n_failed", "n_pool",
    "rerank", "rerank_weights", "by_cosine",
)  # fmt: skip
_ISOMERS = (
    *_RANKING, "n_groups", "group_size", "accuracy", "ci95", "chance", "mrr", "mrr_ci95", "mrr_chance",
)  # fmt: skip
KEYS: dict[str, tuple[str, ...]] = {
    "recall": (
        *_RANKING, "candidates_per_query", "recall", "mrr", "ci95", "chance", "tie_rule", "by_pool",
        "leakage",
    ),
    "isomers": _ISOMERS,
    "stereoisomers": (
        "question", "modality", "n_molecules", "n_failed", "n_candidates", "accuracy", "ci95", "chance",
    ),
    "peaks": (
        "question", "modality", "set_error", "ci95", "median", "p90", "n_asked", "n_spectra", "n_molecules",
        "unit", "assigned",
    ),
    "batches": (
        "question", "modality", "batch", "shuffles", "n_molecules", "note", "chance", "to-molecule",
        "to-record",
    ),
    "calibration": (
        "question", "modality", "scale_before", "factor", "scale", "temperature", "shortlist", "n_pool",
        "inner", "valid",
    ),
    "rerank": ("question", "modality", "signals", "cosine", "evidence", "shortlist", "n_pool", "inner"),
    "together": ("question", "modality", "signals", "plain", "rerank", "shortlist", "n_pool", "inner"),
}  # fmt: skip
"""the keys of each kind of result that a card holds"""


def fill_card(directory: Path, sources: Sequence[Path], *, command: str | None = None) -> ModelCard:
    """Put the results of suites (their folders) and of single benchmarks (JSON files) into a card.

    Replaces `metrics`, `within_batches`, `calibration`, `together`, `recall_by_class` and
    `known_failures_by_class`, and sets the scale of every calibrated space and the fitted weights of
    re-ranking. Raises ConfigError for a result of another model, for two fits of one space,
    and for a folder without results.
    """
    card = read_card(directory)
    results = [(path, one) for path in sources for one in _results(path) if "baseline" not in one]
    entries: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KEYS}
    for path, one in results:
        if one.get("model_digest") != card.digest:
            raise ConfigError(f"{path}: it was measured with another model than {directory}; measure again")
        kind = one["kind"]
        values = {key: one[key] for key in KEYS[kind] if key in one}
        entries[kind].append({"kind": kind, **values, "seed": one.get("seed"), "command": one["command"]})
    new: dict[str, Any] = {
        "metrics": [one for kind in ("recall", "isomers", "stereoisomers", "peaks") for one in entries[kind]],
        "within_batches": entries["batches"],
        "calibration": _by_space(entries["calibration"]),
        "together": _by_space(one for one in entries["together"] if not one.get("signals")),
    }
    new["recall_by_class"], new["known_failures_by_class"] = _classes(results)
    spaces: dict[str, dict[str, Any]] = {name: {} for name in card.data["spaces"]}
    for one in entries["calibration"]:
        spaces[one["modality"]] |= {"scale": one["scale"]}
    weights = ("cosine", "evidence", "shortlist", "n_pool", "inner", "command")
    for kind, stated in (("rerank", False), ("signals", True)):
        for name, one in _by_space(x for x in entries["rerank"] if bool(x.get("signals")) is stated).items():
            spaces[name] |= {kind: {key: one[key] for key in weights}}
    for name, one in _by_space(x for x in entries["together"] if x.get("signals")).items():
        new["together"].setdefault(name, {})["signals"] = one["rerank"]
    new["spaces"] = {name: {**space, **spaces[name]} for name, space in card.data["spaces"].items()}
    write_json({**card.data, **new, "metrics_command": command}, directory / "card.json", indent=1)
    return read_card(directory)


def _results(path: Path) -> list[dict[str, Any]]:
    """The results in a folder, of however many runs of suites, or of one file."""
    files = [one for one in sorted(path.glob("*.json")) if one.name != "suite.json"]
    if not path.is_dir() and path.exists():
        files = [path]
    if not files:
        raise ConfigError(
            f"{path}: there are no results to read here; give the --out of `python -m benchmarks suite`, or "
            "the JSON file of another benchmark"
        )
    return [read_result(file) for file in files]


def _by_space(fits: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for one in fits:
        other = found.setdefault(one["modality"], one)
        if other is not one:
            raise ConfigError(
                f"the space {one['modality']} was calibrated by {other['question']} and by {one['question']}"
                "; take one of them out of the suite"
            )
    return found


def _classes(results: Sequence[tuple[Path, dict[str, Any]]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Recall by class of each question, and sentences on classes missed more often than the rest."""
    recalls = [one for _, one in results if one.get("kind") == "recall" and "question" in one]
    measured: list[dict[str, Any]] = []
    sentences: list[str] = []
    for question in dict.fromkeys(one["question"] for one in recalls):
        mine = [one for one in recalls if one["question"] == question]
        for one in [one for one in mine if one["must"]] or [one for one in mine if one["asks"] == "none"]:
            measured += [{"question": question, "asks": one["asks"], **each} for each in one["by_class"]]
            candidates = "all molecules of the pool" if one["asks"] == "none" else one["asks"]
            sentences += failures(one["by_class"], one["recall"]["1"], f"{question}, {candidates}")
    return measured, sentences


def main(
    model: Annotated[Path, typer.Argument(help="The model's folder.")],
    results: Annotated[list[Path], typer.Argument(help="Folders of suites, JSON files of benchmarks.")],
) -> None:
    """Put benchmark results into a model's card."""
    try:
        card = fill_card(model, results, command=command_line())
    except AcmlSearchError as error:
        raise SystemExit(str(error)) from error
    for name, space in card.spaces.items():
        print(f"{name}: scale {space.scale:.3f}")
    print(f"{len(card.data['metrics'])} measurements")
    print("\n".join(card.data["known_failures_by_class"]))


if __name__ == "__main__":
    typer.run(main)
