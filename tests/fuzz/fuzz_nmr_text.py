"""Fuzz the reader of NMR text: nothing but InvalidRecord may come out, and no list may hold nonsense.

python tests/fuzz/fuzz_nmr_text.py [--seconds 600] [--seeds FILE.parquet]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import time
from pathlib import Path

from acml_search.core.errors import InvalidRecord
from acml_search.nmr.parser import peak_lists, read_nmr_text
from acml_search.nmr.solvents import without_solvent

SEEDS = [
    "1H NMR (600 MHz, CDCl3): δ 9.21 (dd, J = 4.3, 1.7 Hz, 1H), 7.66 – 7.51 (m, 7H), 3.93 (s, 3H).",
    "13C NMR (151 MHz, CDCl3) δ 176.0, 85.8 (CH), 128.5 (d, J = 245.1 Hz), 126.4 (2C), 77.16, −5.4",
    "six olefinic methines (δH 6.81, 6.87 and 7.18) in the 1H NMR, two methylenes (δC 25.2; 29.7)",
    "155,4; 151,7; 148,6",
]
PIECES = [
    *("(", ")", "[", "δ", "δH ", "δC ", "J = ", " Hz", "13C NMR ", "1H NMR ", "–", "-", ", ", "; ", ".", "0"),
    *(
        "3H",
        "2 × C",
        " ppm",
        " and ",
        "between ",
        "nan",
        "\n",
        "′",
        "^{13}",
        "<sup>",
        "MS ",
        "…",
        "\x00",
        "日",
    ),
]
SLOW = 2.0  # seconds of CPU


def one(text: str) -> None:
    """Reads a text in all ways. Raises AssertionError for what must not be, anything else is a bug too."""
    started = time.process_time()
    for modality in ("c_nmr", "h_nmr", None):
        try:
            peaks = read_nmr_text(text, modality)
        except InvalidRecord as refused:
            reason = refused.reason
            peaks = None
        if peaks is None:
            assert reason, "an empty sentence"
            assert "\n" not in reason, "more than one line"
            continue
        low, high = (-50, 350) if peaks.modality == "c_nmr" else (-40, 40)
        assert len(peaks), "an empty list"
        assert all(low <= peak.position <= high for peak in peaks), "a shift that cannot be"
        assert all(0 <= coupling <= 2000 for peak in peaks for coupling in peak.couplings)
        assert len(without_solvent(peaks)) <= len(peaks)
    with contextlib.suppress(InvalidRecord):
        peak_lists(text)
    assert time.process_time() - started < SLOW, "too slow"


def mutated(rng: random.Random, seeds: list[str]) -> str:
    text = rng.choice(seeds)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(text) + 1)
        to = min(at + rng.randint(0, 6), len(text))
        match rng.randrange(5):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:at] + rng.choice(PIECES) * rng.choice((1, 1, 1, 2, 50)) + text[at:]
            case 2:
                text = text[:at] + text[at:to] * rng.choice((2, 3, 40)) + text[to:]
            case 3:
                other = rng.choice(seeds)
                cut = rng.randrange(len(other) + 1)
                text = text[:at] + other[cut : cut + 60]
            case _:
                sign = rng.randrange(32, 127) if rng.random() < 0.5 else rng.randrange(0x2000, 0x2100)
                text = text[:at] + chr(sign) + text[to:]
    return text[:20_000]


def by_mutation(seconds: float, seeds: list[str], seed: int) -> None:
    rng = random.Random(seed)
    until, done, failed = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        text = mutated(rng, seeds)
        done += 1
        try:
            one(text)
        except Exception as error:  # every kind is a finding
            failed += 1
            print(f"{type(error).__name__}: {error}\n  {text!r}"[:2000], flush=True)
    print(f"{done:,} texts, {failed:,} findings, seed {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seeds", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seeds = list(SEEDS)
    if arguments.seeds:
        import pyarrow.parquet as pq

        table = pq.read_table(arguments.seeds, columns=["h_text", "c_text"])
        seeds += [text for column in table.columns for text in column.to_pylist() if text]
    by_mutation(arguments.seconds, seeds, arguments.seed)


if __name__ == "__main__":
    main()
