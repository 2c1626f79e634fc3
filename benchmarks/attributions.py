"""Do attributions name the atoms that a score hangs on? The deletion test of
`benchmarks.deletion`.

    python benchmarks/attributions.py --out benchmarks/results/attributions.json

200 molecules of the default library, gradient x input and occlusion, the similarity to the nearest in every
space and three linear probes; a fifth of the atoms removed in two ways. The JSON says what removing is, and
what of the result is guaranteed. One to two minutes of processor time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from acml_search.evaluation.results import check_out, write_json
from benchmarks.deletion import DeletionOptions, measure_deletion


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "where", nargs="?", type=Path, help="index or library; default: RDKit's own molecules"
    )
    parser.add_argument("--model", help="name or folder of a checkpoint")
    parser.add_argument("--n", type=int, default=200, help="molecules that are tested")
    parser.add_argument("--fit-on", type=int, default=1_500, help="further molecules, that probes learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attributions.json"))
    given = parser.parse_args()
    check_out(given.out)
    command = f"python benchmarks/attributions.py --n {given.n} --fit-on {given.fit_on} --seed {given.seed}"
    result = measure_deletion(
        DeletionOptions(given.where, given.model, given.n, given.fit_on, given.seed, command)
    )
    write_json(result, given.out)
    print("how much more the named atoms move a score, in units of the movement by random atoms:")
    for row in result["summary"]:
        told = []
        for other, words in (("random", "random atoms"), ("least", "the least named")):
            low, high = row[f"gain_over_{other}_ci95"]
            told.append(f"{row[f'gain_over_{other}']:+.2f} ({low:+.2f} to {high:+.2f}) than {words}")
        print(f"{row['method']}, {row['removal']}: {', '.join(told)}; {row['n']} x {row['n_scores']} scores")


if __name__ == "__main__":
    main()
