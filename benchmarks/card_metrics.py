"""Put benchmark results into a model's card, each with the command that made it, and calibrate its scales.

    python benchmarks/card_metrics.py acml_search/encoders/weights/acml-base benchmarks/results/acml-base \\
        --measurements docs/models/acml-base.json

Takes folders of `python -m benchmarks suite` and JSON files of `bench recall` and `bench isomers`; refuses a
result of another model. The card's digest does not change: it covers what vectors depend on, not the scales.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from acml_search.core.errors import AcmlSearchError
from benchmarks.cards import fill_card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="the model's folder")
    parser.add_argument("results", type=Path, nargs="+", help="folders of suites, JSON files of benchmarks")
    parser.add_argument(
        "--before", type=Path, help="folder of an earlier version: what it says of unchanged spaces stays"
    )
    parser.add_argument(
        "--measurements", type=Path, help="file for what was measured, so that the card stays short"
    )
    options = parser.parse_args()
    try:
        card = fill_card(
            options.model,
            options.results,
            command=shlex.join(["python", *sys.argv]),
            before=options.before,
            measurements=options.measurements,
        )
    except AcmlSearchError as error:
        raise SystemExit(str(error)) from error
    for name, space in card.spaces.items():
        print(f"{name}: scale {space.scale:.3f}")
    found = card.measurements
    print(f"{len(found['metrics'])} measurements, {len(found['recall_by_class'])} classes of molecules")
    for sentence in found["known_failures_by_class"]:
        print(sentence)


if __name__ == "__main__":
    main()
