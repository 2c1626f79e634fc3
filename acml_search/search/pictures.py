"""Many pictures read into one table: a row for each structure, resumable, by worker processes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from acml_search import modalities
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.core.io import atomic
from acml_search.core.progress import progress
from acml_search.core.workers import Workers
from acml_search.search.batch import PICTURES

ENDINGS = (*PICTURES, ".pdf")
COLUMNS = ("file", "part", "smiles", "probability", "error")
_END = "$$$$\n"
_reader: Any = None


class ReadingReport(NamedTuple):
    """What a run did. files: read now; already: that were in the table before."""

    files: int
    already: int
    structures: int
    failed: int
    """parts without a structure, and files that cannot be read"""


def pictures_of(given: Iterable[Path]) -> list[Path]:
    """Files, and of folders the pictures in them, sorted. Raises ConfigError where there is none."""
    found: dict[Path, None] = {}
    for path in given:
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        found |= dict.fromkeys(one for one in inside if one == path or one.suffix.lower() in ENDINGS)
    if not found:
        raise ConfigError(f"there are no pictures ({', '.join(ENDINGS)}); name files, or a folder of them")
    return list(found)


def read_images(
    pictures: Sequence[Path], out: Path, *, model: str = "acml-base", workers: int | None = None
) -> ReadingReport:
    """Read pictures and append a row for each part to `out`, a whole file at a time and in their order.

    out: its ending is a key of `FORMATS`. Files that it names already are passed over, but for the last one,
    which may not be whole. workers: processes; None: one per core. Raises ConfigError for another table.
    """
    write, named = FORMATS[out.suffix.lower()]
    done = _resumed(out, named)
    waiting = [path for path in pictures if str(path) not in done]
    structures = failed = 0
    pool = Workers(workers if len(waiting) > 1 else 1, initializer=_load, initargs=(model,))
    with (
        out.open("a", encoding="utf-8", newline="") as stream,
        progress(total=len(waiting), desc="reading", unit="picture") as bar,
        pool,
    ):
        if out.suffix.lower() == ".csv" and out.stat().st_size == 0:
            stream.write(",".join(COLUMNS) + "\n")
        for rows in pool.map(_read, [str(path) for path in waiting]):
            stream.write("".join(map(write, rows)))
            stream.flush()
            structures += sum(not row["error"] for row in rows)
            failed += sum(bool(row["error"]) for row in rows)
            bar.update()
    return ReadingReport(len(waiting), len(pictures) - len(waiting), structures, failed)


def _load(model: str) -> None:
    global _reader
    import torch

    from acml_search.encoders.checkpoint import load_model

    torch.set_num_threads(1)
    _reader = load_model(model, spaces={"image"}).network.tower("image").encoder


def _read(path: str) -> list[dict[str, Any]]:
    """The rows of one file."""
    image: Any = modalities.get("image")
    try:
        read = [image.judged(_reader, one) for one in image.read_parts(path)]
    except (InvalidRecord, ConfigError) as error:  # a PDF may need a library
        read = [("", 0.0, str(getattr(error, "reason", error)).removeprefix(f"{path}: "))]
    return [
        {
            "file": path,
            "part": part,
            "smiles": "" if why else smiles,
            "probability": None if why else round(probability, 4),
            "error": why,
        }
        for part, (smiles, probability, why) in enumerate(read, 1)
    ]


def _resumed(out: Path, named: Callable[[str], list[tuple[str, str]]]) -> set[str]:
    """The files that `out` names, after what belongs to the last one was taken away."""
    if not out.exists():
        return set()
    try:
        rows = named(out.read_text(encoding="utf-8"))
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"{out} is no table of readings; name another file, or remove it") from error
    last = rows[-1][0] if rows else ""
    kept = [(name, text) for name, text in rows if name != last or not name]
    with atomic(out) as temporary:
        temporary.write_text("".join(text for _, text in kept), encoding="utf-8", newline="")
    return {name for name, _ in kept if name}


def _csv(row: dict[str, Any]) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="\n").writerow(row.values())
    return line.getvalue()


def _lines(text: str) -> list[str]:
    """But for a last one without an end."""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _csv_rows(text: str) -> list[tuple[str, str]]:
    lines = _lines(text)
    if lines and lines[0] != ",".join(COLUMNS) + "\n":
        raise ValueError(lines[0])
    return [(next(csv.reader([line]))[0] if i else "", line) for i, line in enumerate(lines)]


def _jsonl(row: dict[str, Any]) -> str:
    return json.dumps({**row, "mol_block": _mol_block(row["smiles"])}, ensure_ascii=False) + "\n"


def _jsonl_rows(text: str) -> list[tuple[str, str]]:
    return [(json.loads(line)["file"], line) for line in _lines(text)]


def _sdf(row: dict[str, Any]) -> str:
    items = "".join(f">  <{name}>\n{value}\n\n" for name, value in row.items() if value not in ("", None))
    return f"{_mol_block(row['smiles'])}{items}{_END}"


def _sdf_rows(text: str) -> list[tuple[str, str]]:
    records = [record + _END for record in text.split(_END)[:-1]]
    return [(record.partition(">  <file>\n")[2].splitlines()[0], record) for record in records]


def _mol_block(smiles: str) -> str:
    """2D coordinates by RDKit; no atoms where nothing was read."""
    from rdkit import Chem
    from rdkit.Chem import rdDepictor

    mol = Chem.MolFromSmiles(smiles) or Chem.Mol()
    rdDepictor.Compute2DCoords(mol)
    return str(Chem.MolToMolBlock(mol))


FORMATS: dict[str, tuple[Callable[[dict[str, Any]], str], Callable[[str], list[tuple[str, str]]]]] = {
    ".csv": (_csv, _csv_rows),
    ".jsonl": (_jsonl, _jsonl_rows),
    ".sdf": (_sdf, _sdf_rows),
}
"""by ending: a row as text, and a table's rows with the file of each"""
