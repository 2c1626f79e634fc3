"""Mean ranks of systems over the sets of several property benchmarks together.

    python -m benchmarks.mean_ranks benchmarks/results/moleculenet/moleculenet.json \\
        benchmarks/results/tdc/tdc.json --systems full-each single-c_nmr single-h_nmr untrained

Sets that all of the systems answered count. The first system is compared with each of the others: on how many
sets it is better, and how much better its rank is, with the 95 % interval of a bootstrap over sets.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from acml_search.evaluation.metrics import bootstrap_interval
from benchmarks.properties import mean_ranks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--systems", nargs="+", required=True)
    arguments = parser.parse_args()
    sets = [one for path in arguments.results for one in json.loads(path.read_text())["sets"]]
    each = [mean_ranks(arguments.systems, [one])["ranks"] for one in sets]
    answered = [ranks for ranks in each if ranks]
    if not answered:
        parser.error("there is no set that all of these systems answered")
    first, *others = arguments.systems
    mine = np.array([ranks[first] for ranks in answered])
    print(f"{len(answered)} sets; mean rank of {first}: {mine.mean():.2f}")
    for other in others:
        theirs = np.array([ranks[other] for ranks in answered])
        low, high = bootstrap_interval(theirs - mine, seed=0)
        print(
            f"{other}: {theirs.mean():.2f}; {first} better on {int((mine < theirs).sum())}, "
            f"by {float((theirs - mine).mean()):.2f} ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
