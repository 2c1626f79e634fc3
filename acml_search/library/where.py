"""Is a user's SQL one harmless expression over the columns of `molecules`?

DuckDB's own parser answers: the query with the expression in its WHERE must be the query without it, but for
that WHERE, and the expression may hold columns, constants, operators and plain functions only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from acml_search.core.errors import FilterError, shorten

MAX_CHARACTERS = 10_000

_REFUSED_CLASSES = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "LAMBDA": "a lambda",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "DEFAULT": "DEFAULT",
}
# Listed one by one, because some functions look at the engine instead of the molecules, some answer
# differently every time, and some (repeat, replace, range) make gigabytes, which no memory limit stops.
_OPERATORS = "+ - * / // % ** ^ & | ~ << >> || ~~ !~~ ~~* !~~* ~~~ ^@ -> ->> && @> <@"
_TEXT = """
    ascii concat contains ends_with ilike_escape instr json_extract json_extract_string left length
    like_escape lower ltrim not_ilike_escape not_like_escape position prefix regexp_extract
    regexp_full_match regexp_matches right rtrim sha256 split_part starts_with strlen strpos substr substring
    suffix trim upper
"""
_NUMBERS = """
    abs cbrt ceil ceiling exp floor greatest if ifnull isfinite isinf isnan least ln log log10 log2 mod
    nullif pow power round sign sqrt trunc
"""
_DATES = "date_diff date_part date_trunc day month to_days to_hours to_months to_years year"
_NESTED = """
    array_extract cardinality element_at len list_any_value list_avg list_contains list_extract list_has
    list_has_all list_has_any list_max list_min list_sum list_value map_contains map_extract
    struct_extract struct_pack
"""
FUNCTIONS = frozenset(f"{_OPERATORS} {_TEXT} {_NUMBERS} {_DATES} {_NESTED}".split())
"""What a filter may call."""


def where_clause(connection: duckdb.DuckDBPyConnection, where: str) -> str:
    """`where` in brackets, to be put behind WHERE.

    Raises `FilterError` when it is not one expression, or does more than look at the columns of a molecule.
    """
    if not isinstance(where, str) or not where.strip():
        raise FilterError("the filter is empty; give one SQL expression, such as exact_mass < 300")
    if len(where) > MAX_CHARACTERS:
        n = f"{len(where):,} characters, and {MAX_CHARACTERS:,} is the limit"
        raise FilterError(f"the filter has {n}; put long lists of molecules into a library of their own")
    clause = f"(\n{where}\n)"  # on its own lines, so that a comment cannot swallow the bracket
    try:
        found, expected = _tree(connection, where, clause), _tree(connection, where, "TRUE")
    except RecursionError as error:
        raise FilterError(f"the filter {shorten(where)!r} is nested too deeply") from error
    expression = found.pop("where_clause", None)
    expected.pop("where_clause", None)
    if _without_places(found) != _without_places(expected):
        raise _refused(where, "it is more than one expression")
    # A bracket of the user's must not close ours: `a) OR (b` would let a molecule pass other filters by.
    bare = _tree(connection, where, f"\n{where}\n").get("where_clause")
    if _without_places(bare) != _without_places(expression):
        raise _refused(where, "it is more than one expression")
    for node in _nodes(expression):
        if node.get("class") in _REFUSED_CLASSES:
            raise _refused(where, f"it has {_REFUSED_CLASSES[str(node['class'])]}")
        name = str(node.get("function_name") or "").lower()
        if name and name not in FUNCTIONS:
            raise _refused(where, f"it calls {name}(), which is not among the functions of a filter")
        if str(node.get("type_name", "")).lower() == "array":
            raise _refused(where, "it casts to an array")
    return clause


def parsed(connection: duckdb.DuckDBPyConnection, where: str) -> dict[str, Any]:
    """DuckDB's tree of a condition that `where_clause` has let pass."""
    tree: Any = _tree(connection, where, f"(\n{where}\n)")["where_clause"]
    return dict(tree)


def _tree(connection: duckdb.DuckDBPyConnection, where: str, clause: str) -> dict[str, object]:
    """DuckDB's parse of one SELECT with `clause`, made of `where`, behind WHERE; or a FilterError with the
    parser's message."""
    query = f"SELECT key FROM molecules WHERE {clause}"
    row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    parsed: dict[str, Any] = json.loads(row[0]) if row is not None else {"error": True}
    if parsed["error"]:
        message = " ".join(str(parsed.get("error_message", "no reason given")).split())
        raise _refused(where, f"SQL cannot read it: {message}")
    statements = parsed["statements"]
    if len(statements) != 1:
        raise _refused(where, "it is more than one statement")
    return dict(statements[0]["node"])


def _refused(where: str, reason: str) -> FilterError:
    advice = "give one SQL expression over the columns of a molecule"
    return FilterError(f"the filter {shorten(where)!r} is refused: {reason}; {advice}")


def _nodes(tree: object) -> Iterator[dict[str, object]]:
    """Every node of a tree of JSON, without recursion."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _without_places(tree: object) -> object:
    if isinstance(tree, dict):
        return {k: _without_places(v) for k, v in tree.items() if not k.startswith("query_location")}
    if isinstance(tree, list):
        return [_without_places(node) for node in tree]
    return tree
