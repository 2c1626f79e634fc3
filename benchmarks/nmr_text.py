"""How well NMR is read as papers print it: the lines of `nmr_text.parquet` against what people marked.

    python -m benchmarks.nmr_text [FILE] [--show KIND] [--json]

Each row has a 1H and a 13C line and, annotated by people, the part of it with the shifts. From that part the
shifts are taken in another way than ours: brackets are cut out by counting them, and every number that is
left counts. A line is read when the two multisets are equal to the last digit, both ends of ranges included.
The annotation has misprints and drops parts; `--show` prints the lines of one kind, to be looked at.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer

from acml_search.core.errors import InvalidRecord
from acml_search.nmr.parser import printed_shifts, read_nmr_text

FILE = Path("../shared/data/nmr_text.parquet")
KINDS = {
    "read": "every shift, and no other",
    "left out": "some shifts missing, each named in left_out",
    "missed": "some shifts missing, not named",
    "wrong": "a peak that the annotation does not have",
    "refused": "no list read where the annotation has one",
    "rightly refused": "no list, and none in the annotation",
    "list where none": "peaks read where the annotation has none",
}


def marked(annotation: str | None) -> Counter[float]:
    """The shifts of an annotated part: the numbers outside all brackets, signs of ranges aside."""
    depth, kept = 0, []
    for sign in annotation or "":
        depth = max(depth + (sign in "([{") - (sign in ")]}"), 0)
        kept.append(sign if depth == 0 and sign not in ")]}" else " ")
    plain = re.sub(r"(^|[,;=δ]\s*)[-−–](?=\d)", r"\1~", "".join(kept))  # a sign, not a range
    return Counter(
        (-1 if found[1] else 1) * float(found[2])
        for found in re.finditer(r"(?<![\w.'′])(~?)(\d+(?:\.\d+)?)(?!\s?(?:Hz|H\b))", plain)
    )


def judge(text: str, annotation: str | None, modality: str) -> tuple[str, str]:
    """The kind of a line, and what differs."""
    expected = marked(annotation)
    try:
        peaks = read_nmr_text(text, modality)
    except InvalidRecord as error:
        return ("refused" if expected else "rightly refused"), error.reason
    got = Counter(printed_shifts(peaks.peaks))
    if not expected:
        return "list where none", str(sorted(got))
    extra, missing = got - expected, expected - got
    named = Counter(
        float(number) for left in peaks.left_out for number in re.findall(r"-?\d+\.?\d*", left.text)
    )
    differs = f"extra {sorted(extra.elements())} missing {sorted(missing.elements())}"
    if extra:
        return "wrong", differs
    if missing:
        return ("missed" if missing - named else "left out"), differs
    return "read", ""


def main(
    file: Annotated[Path, typer.Argument(help="Parquet of printed lines and annotations.")] = FILE,
    show: Annotated[list[str] | None, typer.Option(help="Print the lines of this kind; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """How well is NMR read as papers print it?"""
    counts: dict[str, Counter[str]] = {"h_nmr": Counter(), "c_nmr": Counter()}
    for row, cells in enumerate(pq.read_table(file).to_pylist()):
        for modality, side in (("h_nmr", "h"), ("c_nmr", "c")):
            text = cells[f"{side}_text"]
            if not (text or "").strip():
                continue
            kind, differs = judge(text, cells[f"{side}_shifts"], modality)
            counts[modality][kind] += 1
            if kind in (show or ()):
                print(f"[{row} {modality} {kind}] {differs}\n    {text}\n    -> {cells[f'{side}_shifts']}")
    both = counts["h_nmr"] + counts["c_nmr"]
    lists = sum(both[kind] for kind in ("read", "left out", "missed", "wrong", "refused"))
    if as_json:
        print(json.dumps({"lists": lists, "read": both["read"] / lists, "kinds": counts}, indent=2))
        return
    print(f"{'':16} {'1H':>5} {'13C':>5}  what it means")
    for kind, meaning in KINDS.items():
        print(f"{kind:16} {counts['h_nmr'][kind]:5} {counts['c_nmr'][kind]:5}  {meaning}")
    print(f"read: {both['read']} of {lists} lines with a list, {both['read'] / lists:.1%}")


if __name__ == "__main__":
    typer.run(main)
