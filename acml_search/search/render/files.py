"""Answers in the formats of `acml-search query --format`, and the lines of JSON of a batch."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from acml_search.core.errors import ConfigError, InvalidMolecule, shorten
from acml_search.search.results import Answer, plain

_MAX_SMILES = 500  # characters of a SMILES that could not be read, in a batch's line
Answers = Answer | Sequence[Answer]
"""one, or those to the structures that a picture shows"""
Writer = Callable[[Answers, TextIO], None]


def write_json(answer: Answers, out: TextIO) -> None:
    """One JSON document: of several answers a list."""
    document = answer.to_dict() if isinstance(answer, Answer) else [one.to_dict() for one in answer]
    json.dump(document, out, indent=2, ensure_ascii=False, allow_nan=False)
    out.write("\n")


def write_csv(answer: Answers, out: TextIO) -> None:
    """A header and one line per hit of every list; the library's own columns last.

    A list of records has columns that a list of molecules has not; they are empty there.
    """
    names = dict.fromkeys(name for row in _flat(answer) for name in row)
    lines = csv.DictWriter(out, list(names), restval="", lineterminator="\n")
    if names:
        lines.writeheader()
    for row in _flat(answer):
        lines.writerow({name: text_of(value) for name, value in row.items()})


def write_sdf(answer: Answers, out: TextIO) -> None:
    """One SDF record per hit of every list: 2D coordinates, and every column as a data item."""
    from rdkit import Chem
    from rdkit.Chem import rdDepictor

    for row in _flat(answer):
        mol = Chem.MolFromSmiles(row["smiles"])
        rdDepictor.Compute2DCoords(mol)
        mol.SetProp("_Name", row["inchikey"])
        out.write(Chem.MolToMolBlock(mol))
        for name, value in row.items():
            out.write(f">  <{_field(name)}>\n{_item(text_of(value))}\n\n")
        out.write("$$$$\n")


def write_html(answer: Answers, out: TextIO) -> None:
    """One self-contained page with the reason for each hit. Raises ConfigError for several answers."""
    from acml_search.search.render.html import page  # Jinja2, for this format alone

    if not isinstance(answer, Answer):
        raise ConfigError(f"a page answers for one structure, not {len(answer)}; name one as FILE#1")
    out.write(page(answer) + "\n")


WRITERS: dict[str, Writer] = {
    "json": write_json,
    "csv": write_csv,
    "sdf": write_sdf,
    "html": write_html,
}


def line(answer: Answer | InvalidMolecule) -> str:
    """One query of a batch as one line of JSON; a query that failed has "error" instead of "lists"."""
    if isinstance(answer, InvalidMolecule):
        given = None if answer.smiles is None else shorten(answer.smiles, _MAX_SMILES)
        return failure_line({"row": answer.row, "smiles": given}, answer)
    return json.dumps(answer.to_dict(), ensure_ascii=False, allow_nan=False)


def failure_line(query: dict[str, Any], error: Exception) -> str:
    """A query of a batch that failed, as one line of JSON, with the notes on it."""
    notes = {"notes": said} if (said := getattr(error, "__notes__", None)) else {}
    return json.dumps({"query": plain(query), "error": str(error), **notes}, ensure_ascii=False)


def _flat(answer: Answers) -> Iterator[dict[str, Any]]:
    """One flat dict per hit of every list, of several answers with the number of each."""
    for part, one in enumerate([answer] if isinstance(answer, Answer) else answer, 1):
        for hits in one.lists:
            for row in hits.rows():
                del row["why"]
                number = {} if isinstance(answer, Answer) else {"part": part}
                yield {**number, "modality": hits.modality, "side": hits.side} | row


def text_of(value: Any) -> str:
    """A value as CSV and SDF show it: empty for none, JSON for lists and the like."""
    value = plain(value)
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else str(value)


def _field(name: str) -> str:
    """A data item's name cannot hold the brackets around it, nor a line's end."""
    return "".join("_" if c in "<>\r\n" else c for c in name)


def _item(text: str) -> str:
    """A data item ends at an empty line and a record at $$$$, so its text must hold neither."""
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(" $$$$" + line[4:] if line.startswith("$$$$") else line for line in lines if line)
