"""What of a result is stored, and when another one is the same."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from characterisation.adapter import Outcome
from characterisation.commands import Command
from rdkit import Chem

RELATIVE = ABSOLUTE = 1e-4

# differ from run to run or from machine to machine
VOLATILE = {
    *(
        "format_version",
        "format",  # of saved property models and indexes: newer ones may be written
        "seconds",
        "seconds_per_query",
        "bytes",
        "sha256",
        "created_by",
        "versions",
        "command",
        "rdkit",
        "inchi",
    ),
    *("workers", "commit", "created"),
}
# sentences, which may be worded better: there or not, and how many
PROSE = {"error", "reason", "why", "notes", "what", "steps", "split", "tie_rule", "licence"}
NUMBER = re.compile(r"[−+-]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")


# compared by the words that the rows of hits hold, or the structures of a page, not by their layout
LOOSE = ("table", "html", "info")


def stored(command: Command, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """The result of a command as it is kept in the snapshot."""
    text = outcome.stdout if command.out is None else _read(folder / command.out)
    return {
        "arguments": list(command.arguments),
        "status": outcome.status,
        "stderr": outcome.stderr,
        "result": _result(command, text, folder),
    }


def check(command: Command, expected: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises AssertionError where `found` is not the result that `expected` is."""
    assert found["status"] == expected["status"], found["stderr"]
    assert "Traceback" not in found["stderr"]
    difference = next(differences(command.kind, expected, found), None)
    assert difference is None, f"{' '.join(command.arguments)}\n{difference}"


def differences(kind: str, expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Sentences that say what differs."""
    before, now = expected["result"], found["result"]
    match kind:
        case "error":
            lines = [line for line in found["stderr"].splitlines() if line.strip()]
            if expected["status"] == 1 and len(lines) != len(expected["stderr"].strip().splitlines()):
                yield f"{len(lines)} lines on stderr: {found['stderr']}"
            if bool(before) != bool(now):
                yield f"stdout was {before!r} and is {now!r}"
        case "help":
            lacking = sorted(set(before) - set(now))
            if lacking:
                yield f"options that are not offered any more: {', '.join(lacking)}"
        case "table" | "info":
            yield from in_order(before, now)
        case "html":
            yield from (f"{word} is not on the page" for word in before if word not in now)
        case "text":
            yield from texts(before, now)
        case "bench":
            yield from benches(before, now)
        case _:
            yield from documents(before, now)


def documents(before: Any, now: Any, at: str = "") -> Iterator[str]:
    """Differences of two JSON documents, numbers within the tolerance."""
    if isinstance(before, dict) and isinstance(now, dict):
        if "unmatched_predicted" in before and "unmatched_predicted" in now:
            yield from _places(before, now, at)
            before, now = _without_atoms(before), _without_atoms(now)
        for key, value in before.items():
            if key in VOLATILE:
                continue
            if key not in now:
                yield f"{at}.{key} is not there; it was {value!r}"
            elif key in PROSE and isinstance(value, str | list | None):
                if bool(value) != bool(now[key]) or (isinstance(value, list) and len(value) != len(now[key])):
                    yield f"{at}.{key} was {value!r} and is {now[key]!r}"
            elif key == "hits":
                yield from _hits(value, now[key], f"{at}.{key}")
            else:
                yield from documents(value, now[key], f"{at}.{key}")
    elif isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            yield f"{at} had {len(before)} items and has {len(now)}"
        for i, (one, other) in enumerate(zip(before, now, strict=False)):
            yield from documents(one, other, f"{at}[{i}]")
    elif not same(before, now):
        yield f"{at} was {before!r} and is {now!r}"


def same(before: Any, now: Any, relative: float = RELATIVE, absolute: float = ABSOLUTE) -> bool:
    """Whether two values are alike, numbers within a tolerance."""
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (before, now)]
    if all(numbers) and not (isinstance(before, int) and isinstance(now, int)):
        if math.isnan(before) or math.isnan(now):
            return math.isnan(before) and math.isnan(now)
        return math.isclose(before, now, rel_tol=relative, abs_tol=absolute)
    return type(before) is type(now) and before == now


def _hits(before: list[Any], now: list[Any], at: str) -> Iterator[str]:
    """Hits may change places where their scores are the same within the tolerance."""
    if len(before) != len(now):
        yield f"{at} had {len(before)} hits and has {len(now)}"
        return
    unmatched = list(now)
    for hit, other in zip(before, now, strict=True):
        if not same(hit["score"], other["score"]):
            yield f"{at}: rank {hit['rank']} scored {hit['score']} and scores {other['score']}"
            return
        # a molecule with several records may stand here several times
        fitting = [one for one in unmatched if one["key"] == hit["key"]]
        if not fitting:
            if not same(hit["score"], now[-1]["score"]):
                yield f"{at}: {hit['smiles']} (rank {hit['rank']}) is not found any more"
            continue
        one = min(fitting, key=lambda one: (abs(one["score"] - hit["score"]), abs(one["rank"] - hit["rank"])))
        unmatched.remove(one)
        without_rank = {name: value for name, value in hit.items() if name != "rank"}
        yield from documents(without_rank, one, f"{at}[{hit['rank'] - 1}]")


def _places(before: dict[str, Any], now: dict[str, Any], at: str) -> Iterator[str]:
    """Each atom is predicted where it was. Which of several alike atoms a peak is given to is left to the
    last digit of a prediction, which the number of threads changes."""
    first, second = (
        {tuple(sorted(peak["atoms"])): x for peak, x in _predicted(one)} for one in (before, now)
    )
    for atoms, position in first.items():
        if atoms not in second or not same(position, second[atoms], 1e-3, 1e-3):
            yield f"{at}: atoms {atoms} were predicted at {position} and are at {second.get(atoms)}"


def _predicted(evidence: dict[str, Any]) -> list[tuple[dict[str, Any], float]]:
    found = [(peak, peak["predicted"]) for peak in evidence["matched"]]
    return found + [(peak, peak["position"]) for peak in evidence["unmatched_predicted"]]


def _without_atoms(evidence: dict[str, Any]) -> dict[str, Any]:
    def bare(peaks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in peak.items() if name != "atoms"} for peak in peaks]

    lists = {name: bare(evidence[name]) for name in ("matched", "unmatched_predicted")}
    return {**evidence, **lists}


def texts(before: str, now: str) -> Iterator[str]:
    """Texts are the same but for blanks and lines of a table, and for the last digits of numbers."""
    first, second = _plain(before), _plain(now)
    if NUMBER.sub("0", first) != NUMBER.sub("0", second):
        yield f"the text was\n{before}\nand is\n{now}"
        return
    for one, other in zip(NUMBER.findall(first), NUMBER.findall(second), strict=True):
        if one != other and not same(_value(one), _value(other), 2e-3, 2e-3):
            yield f"{one} became {other} in\n{now}"


def in_order(before: list[str], now: str) -> Iterator[str]:
    """The words and numbers `before` stand in the text `now`, in this order."""
    tokens = _plain(now).split(" ")
    at = 0
    for word in before:
        while at < len(tokens) and not _alike(word, tokens[at]):
            at += 1
        if at == len(tokens):
            yield f"{word!r} is not where it was, in\n{now}"
            return
        at += 1


def benches(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Ranks are the same, but that one query in fifty may change places with its neighbour."""
    yield from documents(before["summary"], now["summary"])
    moved = 0
    if len(before["queries"]) != len(now["queries"]):
        yield f"there were {len(before['queries'])} queries and are {len(now['queries'])}"
        return
    for one, other in zip(before["queries"], now["queries"], strict=True):
        if one["rank"] != other["rank"]:
            moved += 1
            if None in (one["rank"], other["rank"]) or abs(one["rank"] - other["rank"]) > 1:
                yield f"row {one['row']}: rank {one['rank']} became {other['rank']}"
        tied = same(one["best_other_score"], one["score"])
        left = {"rank", "best_other_smiles"} if tied or one["rank"] != other["rank"] else {"rank"}
        yield from documents({name: v for name, v in one.items() if name not in left}, other, f"{one['row']}")
    if moved > len(before["queries"]) // 50:
        yield f"{moved} ranks changed"


def _alike(word: str, token: str) -> bool:
    if word == token:
        return True
    if not (NUMBER.fullmatch(word) and NUMBER.fullmatch(token)):
        return False
    return same(_value(word), _value(token), 2e-3, 2e-3)


def _value(text: str) -> float | str:
    try:
        return float(text.replace("−", "-").replace(",", ""))
    except ValueError:
        return text


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[─│┌┐└┘├┤┬┴┼·]", " ", text).split())


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _result(command: Command, text: str, folder: Path) -> Any:
    match command.kind:
        case "json":
            return _without_volatile(json.loads(text)) if text else None
        case "lines":
            return [_without_volatile(json.loads(line)) for line in text.splitlines()]
        case "csv":
            return [
                {name: _value(value) for name, value in row.items()}
                for row in csv.DictReader(io.StringIO(text))
            ]
        case "sdf":
            return _molecules(text)
        case "help":
            return sorted(set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)))
        case "models":
            return [
                {"name": one["name"], "digest": one["card"]["digest"], "spaces": one["card"]["spaces"]}
                for one in json.loads(text)
            ]
        case "bench":
            summary = _without_volatile(json.loads(text))
            queries = pq.read_table(folder / summary["per_query"]).to_pylist()
            return {"summary": summary, "queries": queries}
    return text


def expected_words(command: Command, result: Any) -> Any:
    """What is compared of a result that is compared loosely: rows of a table, structures of a page."""
    if command.kind == "table":
        rows = [line.split() for line in result.splitlines() if re.match(r"\s*[1-3]\s", line)]
        return [word for row in rows for word in row]
    if command.kind == "info":
        rows = [line.split() for line in result.splitlines() if re.match(r"\w+\s+(graph|records)\s", line)]
        return [word for row in rows for word in row]
    keys = re.findall(r"\b[A-Z]{14}-[A-Z]{10}-[A-Z]\b", result)
    return ["<!DOCTYPE", *dict.fromkeys(keys)]


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_volatile(one) for key, one in value.items() if key not in VOLATILE}
    return [_without_volatile(one) for one in value] if isinstance(value, list) else value


def _molecules(text: str) -> list[dict[str, Any]]:
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text)
    return [
        {
            "structure": Chem.MolToSmiles(mol),
            "title": mol.GetProp("_Name"),
            **{name: _value(mol.GetProp(name)) for name in mol.GetPropNames()},
        }
        for mol in supplier
    ]
