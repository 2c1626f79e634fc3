"""Put benchmark results into a model's card, each with the command that made it.

    python benchmarks/card_metrics.py acml_search/encoders/weights/acml-base results/recall-*.json

Refuses a result of another model. The card's digest does not change: it covers what vectors depend on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from acml_search.encoders.card import read_card

KEPT = (
    "modality",
    "direction",
    "n_queries",
    "n_failed",
    "n_pool",
    "filter",
    "recall",
    "mrr",
    "ci95",
    "chance",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    options = parser.parse_args()
    card = read_card(options.model)
    metrics = []
    for path in options.results:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["model_digest"] != card.digest:
            raise SystemExit(f"{path} was measured with another model; measure again")
        metrics.append(
            {**{key: result[key] for key in KEPT}, "seed": result["seed"], "command": result["command"]}
        )
    document = {**card.data, "metrics": metrics}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (card.directory / "card.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
