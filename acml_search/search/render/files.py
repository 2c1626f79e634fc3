"""Answers in the formats of `acml-search query --format`, the lines of JSON of a run, and runs as tables,
mzTab-M or a page."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from acml_search.core.errors import ConfigError, InvalidMolecule, shorten
from acml_search.search.results import Answer, plain, q_values

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_SMILES = 500  # characters of a SMILES that could not be read, in a batch's line
Answers = Answer | Sequence[Answer]
"""one, or those to the structures that a picture shows"""
Writer = Callable[[Answers, TextIO], None]
Document = dict[str, Any]
Documents = Callable[[], Iterator[Document]]
"""reads the lines of a run from the beginning"""
MAX_SHOWN = 300
"""queries of a page's table"""
NAMES = ("title", "name", "feature_id", "spectrum_id", "id")
PRECURSOR = ("pepmass", "precursor_mz", "precursormz", "precursor_m/z")
"""under which sources name a query, and state the m/z of its precursor"""
SUPPORTED = 0.8
"""probability of the first hit from which a query counts as supported on the page"""


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
    _write_rows(list(names), _flat(answer), out, ",")


def _write_rows(names: list[str], table: Iterable[dict[str, Any]], out: TextIO, delimiter: str) -> None:
    writer = csv.DictWriter(out, names, restval="", delimiter=delimiter, lineterminator="\n")
    if names:
        writer.writeheader()
    for row in table:
        writer.writerow({name: text_of(value) for name, value in row.items()})


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


# Runs


def write_run(documents: Documents, path: Path, form: str, *, name: str, source: Path) -> None:
    """Write a run of `source`, called `name`, as jsonl (or json), csv, tsv, parquet, mztab or html."""
    if form in ("csv", "tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            _write_rows(columns(rows(documents)), rows(documents), file, "," if form == "csv" else "\t")
    elif form == "parquet":
        write_parquet(documents, path)
    elif form == "html":
        write_page(documents, path)
    elif form == "mztab":
        from acml_search.search.render.mztab import write_mztab

        write_mztab(documents, path, name, source)
    else:
        with path.open("w", encoding="utf-8") as file:
            for document in documents():
                del document["outcome"]
                file.write(json.dumps(document, ensure_ascii=False) + "\n")


def rows(documents: Documents) -> Iterator[dict[str, Any]]:
    """A flat row per hit; of a query without one, one row that says why in `message`.

    What the source says of a query comes first (`row`, `file`, then its own columns, `query_` before a name
    that a hit has as well), then `status`, then the hit, the first one with its `q_value` in the run.
    """
    first = [_first_probability(document) for document in documents()]
    q = iter(q_values(np.array([p for p in first if p is not None])).round(4).tolist())
    for document in documents():
        query = dict(document["query"])
        about = query.pop("about", None) or {}
        own = {name: query[name] for name in ("file", "row", "rows", "smiles") if query.get(name) is not None}
        if "smiles" in own:
            own["query_smiles"] = own.pop("smiles")
        hits = [
            {"p_in_library": document.get("p_in_library"), **{n: one[n] for n in ("modality", "side")}, **hit}
            for one in document.get("lists", ())
            for hit in one["hits"]
        ]
        if _first_probability(document) is not None:
            hits[0]["q_value"] = next(q)
        for hit in hits or [{}]:
            why = hit.pop("why", None) or {}
            hit |= {name: why[name] for name in ("adduct", "mass_error_ppm") if why.get(name) is not None}
            taken = {*hit, "status", "message", *own} | {"smiles", "inchikey", "formula", "key", "adduct"}
            source = {f"query_{name}" if name in taken else name: value for name, value in about.items()}
            message = document.get("error") or ("" if hits else "no molecule passes")
            yield {**own, **source, "status": _status(document), "message": message, **hit}


def _first_probability(document: Document) -> float | None:
    """Of the first hit, where it is calibrated."""
    if document.get("p_in_library") is None or not document["lists"][0]["hits"]:
        return None
    return float(document["lists"][0]["hits"][0]["probability"])


def _status(document: Document) -> str:
    """answered; nothing fits: no hit, or the compound is more probably none of the molecules; unreadable."""
    if document["outcome"] == "failed":
        return "unreadable"
    some = any(one["hits"] for one in document.get("lists", ()))
    return "answered" if some and (document.get("p_in_library") or 1.0) >= 0.5 else "nothing fits"


def columns(table: Iterable[dict[str, Any]]) -> list[str]:
    """The columns of all `rows`: of queries, then of hits."""
    first: dict[str, None] = {}
    last: dict[str, None] = {}
    for row in table:
        names = list(row)
        at = names.index("status")
        first |= dict.fromkeys(names[:at])
        last |= dict.fromkeys(names[at:])
    return [*(name for name in first if name not in last), *last]


def write_parquet(documents: Documents, path: Path) -> None:
    """Parquet of the same rows; a column of mixed types is text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = list(rows(documents))
    table = {name: _column([row.get(name) for row in found]) for name in columns(found)}
    pq.write_table(pa.table(table), path, compression="zstd")


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else text_of(value) for value in values])


def write_page(documents: Documents, path: Path) -> None:
    """One self-contained page: how the run went, the best supported answers, the doubtful ones, the rest."""
    from acml_search.search.render.html import environment
    from acml_search.search.render.structure import structure

    groups: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("well supported", "doubtful", "nothing fits", "unreadable")
    }
    for document in documents():
        hits = [hit for one in document.get("lists", ()) for hit in one["hits"]]
        best, second = (*hits[:2], None, None)[:2]
        name = _status(document)
        if best is not None:
            name = "well supported" if (_first_probability(document) or 0.0) >= SUPPORTED else "doubtful"
        groups[name].append(
            {
                "name": _name(document["query"]),
                "precursor": said(document["query"], *PRECURSOR) or "",
                "best": best,
                "second": second,
                "error": document.get("error", ""),
            }
        )
    counts = {name: len(group) for name, group in groups.items()}
    for name in ("well supported", "doubtful"):
        groups[name] = sorted(groups[name], key=lambda one: -one["best"]["probability"])[:MAX_SHOWN]
        for one in groups[name]:
            one["drawing"] = structure(one["best"]["smiles"], small=True)
    text = (
        environment()
        .get_template("run.html")
        .render(
            title="Run",
            counts=counts,
            groups={name: group[:MAX_SHOWN] for name, group in groups.items()},
            supported=SUPPORTED,
        )
    )
    path.write_text(text + "\n", encoding="utf-8")


def said(query: Document, *names: str) -> str | None:
    """What the source says of a query under the first of these names that it knows."""
    about = query.get("about") or {}
    return next((str(about[name]) for name in names if about.get(name) not in (None, "")), None)


def _name(query: Document) -> str:
    """What a query is called: by its source, else by its row, from 1."""
    row = query.get("row")
    parts = (query.get("file"), None if row is None else f"#{row + 1}", said(query, *NAMES))
    return " ".join(str(part) for part in parts if part) or str(query.get("smiles"))
