"""An index in Milvus: pushed there from a directory, and searched there by the pipeline that searches one.

A side of a space is a collection NAME_SPACE_SIDE. Its rows are those of `molecules/` or `records/`, each with
its vector (the half-precision values that a directory holds, as float32, so that scores are the same),
on a graph side with its kind by hydrogens and, of an NMR space, with its predicted peaks. NAME_manifest holds
the manifest in pieces; its first row, written last, says that all is there. A client needs only the URI.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from acml_search import modalities
from acml_search.core.errors import ConfigError, IndexCorrupt, StoreError, shorten
from acml_search.core.extras import require
from acml_search.core.io import digest_of
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Float32s, Ints
from acml_search.index.directory import MILVUS, SIDES, IndexDirectory, Manifest, OpenedIndex, SpaceInfo
from acml_search.library.catalog import Catalog
from acml_search.library.tables import RECORDS, write_parquet
from acml_search.library.where import parsed
from acml_search.nmr.predicted import DTYPES, PeakLists

DEFAULT_NAME = "acml_search"
TOKEN = "MILVUS_TOKEN"
TIMEOUT = 60.0  # seconds for one question, or for one batch of rows
BATCH = 2_000  # rows sent at once; a push goes on at a multiple of it
AT_ONCE = 4_000  # rows asked for at once, and vectors that come with the hits of several queries
WINDOW = 16_384  # the most that Milvus gives of one search
EXACT_BELOW = 100_000
GRAPH = {"index_type": "HNSW", "params": {"M": 32, "efConstruction": 200}}
TEXT = 65_535  # bytes of the longest text Milvus holds
NOT_LOADED = 101  # its code for a collection that has to be loaded first


class Server:
    """A Milvus server, or the folder of a milvus-lite; all that goes wrong there is a StoreError.

    where: `milvus:URI` or `milvus:URI#NAME`.
    """

    def __init__(self, where: str) -> None:
        uri, _, name = where.removeprefix(MILVUS).partition("#")
        self.where, self.uri, self.name = where, uri, name or DEFAULT_NAME
        if not re.fullmatch(r"[A-Za-z_]\w{0,100}", self.name, re.ASCII):
            raise ConfigError(f"{where}: {self.name!r} is no name of a collection; use letters, digits and _")
        if not re.match(r"(https?|tcp)://.|.*\.db$", uri):
            raise ConfigError(f"{where}: give milvus:http://HOST:19530, or milvus:FILE.db for milvus-lite")
        if "@" in uri:
            raise ConfigError(
                f"{MILVUS}...: leave user and password out; {TOKEN}=user:password is read instead"
            )
        require("pymilvus")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from pymilvus import MilvusClient

        for name in ("pymilvus", "milvus_lite", "grpc"):  # they write to stderr what they raise too
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # Channels share, without that option, how long an address that was away is not tried again.
        options: dict[str, Any] = {"dedicated": True, "grpc_options": {"grpc.use_local_subchannel_pool": 1}}
        self._client: MilvusClient = self._told(
            lambda: MilvusClient(uri, token=os.environ.get(TOKEN, ""), timeout=TIMEOUT, **options)
        )

    def call(self, method: str, *arguments: Any, timeout: float | None = TIMEOUT, **named: Any) -> Any:
        """A method of MilvusClient; a collection that is not loaded, as after a restart, is loaded."""

        def ask() -> Any:
            return getattr(self._client, method)(*arguments, timeout=timeout, **named)

        try:
            return self._told(ask)
        except StoreError as error:
            if getattr(error.__cause__, "code", None) != NOT_LOADED:
                raise
        self._told(lambda: self._client.load_collection(arguments[0]))
        return self._told(ask)

    def _told(self, ask: Any) -> Any:
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            return ask()
        except (MilvusException, RpcError, ConnectionError) as error:
            said = error.details() if isinstance(error, RpcError) else getattr(error, "message", error)
            reason = shorten(" ".join(str(said).split()), 200)
            raise StoreError(
                f"{self.where}: Milvus does not answer, or refuses ({reason}); see that it runs and that "
                f"{TOKEN} is its token, then give the same command again: it goes on with what is there"
            ) from error

    def side(self, space: str, side: str) -> str:
        """The collection of a side of a space."""
        return f"{self.name}_{space}_{side}"

    @property
    def _manifest(self) -> str:
        return f"{self.name}_manifest"

    def read(self, part: int | None = None) -> dict[str, Any] | None:
        """The document that `write` wrote; None where there is none."""
        if not self.call("has_collection", self._manifest):
            return None
        rows = self.call("query", self._manifest, filter="key >= 0", output_fields=["key", "text"])
        texts = {row["key"]: row["text"] for row in rows}
        if 0 not in texts:
            return None
        head: dict[str, Any] = json.loads(texts[0])
        return {**json.loads("".join(texts[i + 1] for i in range(head["parts"])) or "{}"), **head}

    def write(self, identity: str, document: dict[str, Any] | None = None) -> None:
        """Say which index is here, and, with `document`, that all of it is."""
        text = "" if document is None else json.dumps(document)
        parts = [text[i : i + TEXT // 4] for i in range(0, len(text), TEXT // 4)]
        head = {"identity": identity, "complete": document is not None, "parts": len(parts)}
        self.create(self._manifest, 2, [("text", "VARCHAR")], n=0)
        rows = [{"key": i, "vector": [1.0, 0.0], "text": part} for i, part in enumerate(parts, 1)]
        for row in [*rows, {"key": 0, "vector": [1.0, 0.0], "text": json.dumps(head)}]:
            self.call("upsert", self._manifest, [row])
        self.call("flush", self._manifest, timeout=None)

    def create(self, name: str, d: int, fields: Sequence[tuple[str, str]], n: int) -> None:
        """A collection for `n` rows of `key`, `vector` (d) and `fields` with the names of their types, unless
        it is there; indexed by what filters ask for most. Made anew where a push was killed while it did."""
        from pymilvus import DataType

        indexed = {"inchikey", "formula", "exact_mass", "kind"}.intersection(one for one, _ in fields)
        if self.call("has_collection", name):
            if indexed | {"vector"} <= set(self.call("list_indexes", name)):
                return
            self.call("drop_collection", name)
        elif self.uri.endswith(".db"):  # a folder that milvus-lite takes for none, and stumbles over
            shutil.rmtree(Path(self.uri, "collections", name), ignore_errors=True)
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=d)
        for field, kind in fields:
            length = {"max_length": TEXT} if kind == "VARCHAR" else {}
            schema.add_field(field, DataType[kind], nullable=True, **length)
        indexes = self._client.prepare_index_params()
        how = {"index_type": "FLAT"} if n < EXACT_BELOW else GRAPH
        indexes.add_index("vector", index_name="vector", metric_type="IP", **how)
        for field in indexed:
            indexes.add_index(field, index_name=field, index_type="INVERTED")
        self.call("create_collection", name, schema=schema, index_params=indexes, consistency_level="Strong")

    def close(self) -> None:
        self._client.close()


# Columns.


_KINDS = ((pa.types.is_boolean, "BOOL"), (pa.types.is_integer, "INT64"), (pa.types.is_floating, "DOUBLE"))


class Column(NamedTuple):
    """A column of a table, as Milvus holds it: numbers and text as they are, the rest as text."""

    field: str
    type: pa.DataType

    @property
    def kind(self) -> str:
        return next((kind for is_so, kind in _KINDS if is_so(self.type)), "VARCHAR")

    def encoded(self, values: pa.ChunkedArray) -> list[Any]:
        if pa.types.is_nested(self.type):
            return [None if one is None else json.dumps(one) for one in values.to_pylist()]
        return list((values.cast(pa.string()) if self.kind == "VARCHAR" else values).to_pylist())

    def decoded(self, values: list[Any]) -> pa.Array:
        if pa.types.is_nested(self.type):
            return pa.array([None if one is None else json.loads(one) for one in values], self.type)
        if self.kind == "VARCHAR" and not pa.types.is_null(self.type):
            return pa.array(values, pa.string()).cast(self.type)
        return pa.array(values, self.type)


def columns_of(schema: pa.Schema) -> dict[str, Column]:
    """By name, our columns under their own names, the library's, which may have any, by their number."""
    return {
        one.name: Column(one.name if one.name in RECORDS.names else f"own_{i}", one.type)
        for i, one in enumerate(schema)
        if one.name != "key"
    }


_SIGNS = {"EQUAL": "==", "LESSTHAN": "<", "LESSTHANOREQUALTO": "<=", "GREATERTHAN": ">"}
_SIGNS["GREATERTHANOREQUALTO"] = ">="


class _Untranslated(Exception):
    """Milvus has no such expression, or another opinion of what it means."""


def expression(node: dict[str, Any], columns: dict[str, Column]) -> str:
    """A condition (DuckDB's tree) as an expression of Milvus: comparisons of columns of integers, doubles and
    text with constants, IN and BETWEEN, joined by AND and OR. Raises _Untranslated for any other."""

    def column(of: dict[str, Any]) -> Column:
        names = of.get("column_names", ())
        if of["class"] != "COLUMN_REF" or len(names) != 1 or names[0] not in columns:
            raise _Untranslated
        return columns[names[0]]

    def constant(of: dict[str, Any], like: Column) -> str:
        kind, text = (of.get("literal", {}).get(name) for name in ("kind", "text"))
        if kind == "STRING" and like.type == pa.string() and not re.search(r'[\x00-\x1f"\\]', text):
            return f'"{text}"'
        if kind in ("INTEGER", "NUMERIC") and like.type == pa.float64():
            return repr(float(text))
        if kind == "INTEGER" and like.kind == "INT64":
            return str(int(text))
        raise _Untranslated

    match node:
        case {"class": "CONJUNCTION", "children": parts}:
            joined = " and " if node["type"] == "CONJUNCTION_AND" else " or "
            return joined.join(f"({expression(one, columns)})" for one in parts)
        case {"class": "COMPARISON", "left": left, "right": right}:
            one, sign = column(left), _SIGNS.get(node["type"].removeprefix("COMPARE_"))
            if sign is None or (one.kind == "VARCHAR" and sign != "=="):
                raise _Untranslated
            return f"{one.field} {sign} {constant(right, one)}"
        case {"class": "BETWEEN", "input": inner, "lower": low, "upper": high} if (
            column(inner).kind != "VARCHAR"
        ):
            one = column(inner)
            return f"{one.field} >= {constant(low, one)} and {one.field} <= {constant(high, one)}"
        case {"class": "OPERATOR", "type": "COMPARE_IN", "children": [inner, *values]}:
            one = column(inner)
            return f"{one.field} in [{', '.join(constant(value, one) for value in values)}]"
    raise _Untranslated


# Searching.


class Collection:
    """The rows of one side: what Milvus is asked, and how it answers."""

    def __init__(self, server: Server, name: str, about: dict[str, Any]) -> None:
        self.server, self.name = server, name
        self.n, self.last, self.nan = about["n"], about["last"], about["nan"]
        self.schema = pa.ipc.read_schema(pa.py_buffer(b64decode(about["schema"])))
        self.columns = columns_of(self.schema)

    def count(self, selected: str) -> int:
        found = self.server.call("query", self.name, filter=selected, output_fields=["count(*)"])
        return int(found[0]["count(*)"])

    def query(self, selected: str, fields: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Rows by key."""
        found = self.server.call("query", self.name, filter=selected, output_fields=["key", *fields])
        return {int(row["key"]): row for row in found}

    def rows(self, keys: Ints, fields: Sequence[str], missing: bool = False) -> list[dict[str, Any]]:
        """The rows of `keys`, in their order; those that are `missing` may be left out.

        Raises KeyError for a key that is not there.
        """
        found: dict[int, dict[str, Any]] = {}
        for start in range(0, len(keys), AT_ONCE):
            found |= self.query(f"key in {keys[start : start + AT_ONCE].tolist()}", fields)
        if not missing and len(keys) and (gone := set(keys.tolist()).difference(found)):
            raise KeyError(f"there is no molecule with key {min(gone)}")
        return [found[key] for key in keys.tolist() if key in found]

    def table(self, rows: list[dict[str, Any]], names: Sequence[str]) -> pa.Table:
        arrays = {
            name: pa.array([row["key"] for row in rows], pa.int64())
            if name == "key"
            else self.columns[name].decoded([row.get(self.columns[name].field) for row in rows])
            for name in names
        }
        return pa.table(arrays, schema=pa.schema([self.schema.field(name) for name in names]))

    def fields(self, names: Sequence[str]) -> list[str]:
        return [self.columns[name].field for name in names if name != "key"]


class Selection:
    """Rows that pass a filter: not their keys, but the expression by which Milvus knows them."""

    def __init__(self, collection: Collection, selected: str) -> None:
        self._collection, self.selected = collection, selected

    @cached_property
    def _n(self) -> int:
        return self._collection.count(self.selected)

    def __len__(self) -> int:
        return self._n

    def __contains__(self, key: int) -> bool:
        return self._collection.count(f"key == {key} and ({self.selected})") > 0

    def among(self, selected: str) -> Selection:
        return Selection(self._collection, f"({self.selected}) and {selected}")

    def union(self, *others: Selection) -> Selection:
        return Selection(self._collection, " or ".join(f"({one.selected})" for one in (self, *others)))


class MilvusVectors:
    """One side of a space. A position is a key, or a `Selection`."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def positions_of(self, keys: Any) -> Any:
        return keys

    def stored(self, positions: Ints) -> Float32s:
        try:
            rows = self._collection.rows(positions, ["vector"])
        except KeyError as error:
            raise IndexCorrupt(self._collection.name, error.args[0], "push the index again") from error
        return np.array([row["vector"] for row in rows], np.float32).reshape(len(positions), -1)

    def sample(self, n: int) -> Float32s:
        keys = np.unique(np.linspace(0, self._collection.last, n).astype(np.int64))
        rows = self._collection.rows(keys, ["vector"], missing=True)
        return np.array([row["vector"] for row in rows], np.float32)

    def search(self, xq: Float32s, k: int, positions: Any = None) -> tuple[Float32s, Ints]:
        D = np.full((len(xq), k), -np.inf, np.float32)
        I = np.full((len(xq), k), -1, np.int64)  # noqa: E741 (FAISS's own names)
        wanted = min(WINDOW, max(100, k + 32))  # a few more, so that ties are resolved by key
        selected = "" if positions is None else positions.selected
        ask: dict[str, Any] = {
            "filter": selected,
            "limit": wanted,
            "output_fields": ["vector"],
            "anns_field": "vector",
        }
        how = {"metric_type": "IP", "params": {"ef": max(256, 2 * wanted)}}
        size = max(1, AT_ONCE // wanted)
        for row, q in enumerate(xq):
            if row % size == 0:
                several = xq[row : row + size].tolist()
                answers = self._collection.server.call(
                    "search", self._collection.name, data=several, search_params=how, **ask
                )
            hits = [(int(hit["key"]), hit["entity"]["vector"]) for hit in answers[row % size]]
            if len(hits) < k:
                passing = self._collection.n if positions is None else len(positions)
                if len(hits) < passing <= WINDOW:  # a graph may not reach all that pass: they are few
                    every = self._collection.query(selected or "key >= 0", ["vector"])
                    hits = [(key, one["vector"]) for key, one in every.items()]
            if hits:
                keys = np.array([key for key, _ in hits], np.int64)
                vectors = np.array([vector for _, vector in hits], np.float32)
                scores = np.einsum("nd,d->n", vectors, q, dtype=np.float32)
                order = np.lexsort((keys, -scores))[:k]
                D[row, : len(order)], I[row, : len(order)] = scores[order], keys[order]
        return D, I


class MilvusPeaks:
    """Predicted peaks; the rows of molecules are their keys."""

    def __init__(self, collection: Collection, nucleus: str) -> None:
        self._collection, self._dtype = collection, DTYPES[nucleus]

    def take(self, rows: Ints) -> PeakLists:
        packed = [b64decode(row["peaks"]) for row in self._collection.rows(rows, ["peaks"])]
        sizes = np.array([len(one) // self._dtype.itemsize for one in packed], np.int64)
        return PeakLists(np.frombuffer(b"".join(packed), self._dtype), np.cumsum(sizes))


class MilvusCatalog(Catalog):
    """The rows of a collection. Parquet files without rows, and of all rows once a filter needs them, are in
    `folder`."""

    def __init__(self, collection: Collection, folder: Path, notes: list[str]) -> None:
        self._collection, self._folder, self._notes = collection, folder, notes
        folder.mkdir()
        write_parquet(collection.schema.empty_table(), folder / "none.parquet")
        super().__init__([folder / "none.parquet"])

    def count(self) -> int:
        return self._collection.n

    def keys(self, where: str | None = None, **asked: Any) -> Selection:  # type: ignore[override]
        super().keys(where, **asked)  # refuses what is to be refused
        try:
            return Selection(
                self._collection, " and ".join(f"({one})" for one in self._parts(where, **asked))
            )
        except _Untranslated:
            keys = self._copy.keys(where, **asked)
        return Selection(self._collection, f"key in {keys.tolist()}")

    def _parts(self, where: str | None = None, **asked: Any) -> Iterator[str]:
        """Expressions that all hold of what passes; none is of elements."""
        if where is not None:
            columns = {n: one for n, one in self._collection.columns.items() if n not in self._collection.nan}
            key = {"key": Column("key", pa.int64())}
            with self._connection.cursor() as cursor:
                yield expression(parsed(cursor, where), columns | key)
        tolerance = asked.pop("tol_da", None) or 0.0
        for name, value in asked.items():
            match name:
                case _ if value is None or value == []:
                    continue
                case "formula":
                    yield f'formula == "{value}"'
                case "mass":
                    yield f"exact_mass >= {value - tolerance!r} and exact_mass <= {value + tolerance!r}"
                case "hydrogens" | "carbons" if self.has_counts:
                    yield f"{name} >= {value[0]} and {name} <= {value[1]}"
                case _:
                    raise _Untranslated

    @cached_property
    def _copy(self) -> Catalog:
        """All rows, fetched once."""
        names, tables = self.columns(), []
        for start in progress(range(0, self._collection.last + 1, WINDOW), desc="columns", unit="page"):
            rows = self._collection.query(
                f"key >= {start} and key < {start + WINDOW}", self._collection.fields(names)
            )
            tables.append(self._collection.table([rows[key] for key in sorted(rows)], names))
        write_parquet(pa.concat_tables(tables), self._folder / "all.parquet")
        self._notes.append(
            f"a filter that Milvus has no expression for: the columns of all {self.count():,} rows were "
            "fetched to apply it"
        )
        return Catalog([self._folder / "all.parquet"])

    def of_inchikeys(self, inchikeys: Sequence[str], removed: bool = False) -> dict[str, tuple[int, str]]:
        found = self._collection.query(f"inchikey in {json.dumps(list(inchikeys))}", ["inchikey", "smiles"])
        return {row["inchikey"]: (key, row["smiles"]) for key, row in sorted(found.items(), reverse=True)}

    def rows(self, keys: Sequence[int] | Ints, columns: Sequence[str] | None = None) -> pa.Table:
        names = list(dict.fromkeys(["key", *(self.shown() if columns is None else columns)]))
        found = self._collection.rows(np.asarray(keys, np.int64), self._collection.fields(names))
        return self._collection.table(found, names)

    def close(self) -> None:
        super().close()
        if "_copy" in self.__dict__:
            self._copy.close()


class MilvusStore(OpenedIndex):
    """An index that was pushed to Milvus. Raises StoreError where there is none, or not yet all of it."""

    def __init__(self, where: str) -> None:
        self.path = where
        self._server = Server(where)
        document = self._server.read()
        if document is None or not document["complete"]:
            what = (
                "no index was pushed here" if document is None else "the index here was not pushed to its end"
            )
            raise StoreError(f"{where}: {what}; run `acml-search push INDEX {where}`")
        manifest = document["manifest"]
        spaces = {name: SpaceInfo(**space) for name, space in manifest.pop("spaces").items()}
        self.manifest = Manifest(spaces=spaces, **manifest)
        kinds = document["hydrogens"]
        self.hydrogens = None if kinds is None else np.array(kinds, np.int64).reshape(-1, 2)
        self._about: dict[str, dict[str, Any]] = document["sides"]
        self._catalogs: dict[str, MilvusCatalog] = {}
        self._folder: TemporaryDirectory[str] | None = None
        self.notes: list[str] = []

    def _side(self, space: str, side: str) -> Collection:
        name = self._server.side(space, side)
        return Collection(self._server, name, self._about[f"{space}_{side}"])

    @property
    def _graph(self) -> Collection:
        return self._side(next(iter(self.spaces)), "graph")

    def _catalog(self, collection: Collection) -> MilvusCatalog:
        if collection.name not in self._catalogs:
            self._folder = self._folder or TemporaryDirectory()
            folder = Path(self._folder.name, collection.name)
            self._catalogs[collection.name] = MilvusCatalog(collection, folder, self.notes)
        return self._catalogs[collection.name]

    @property
    def catalog(self) -> Catalog:
        return self._catalog(self._graph)

    def records(self, modality: str) -> Catalog:
        if not self.is_measured(modality):
            raise ConfigError(f"the index {self.path} holds no measured records of {modality!r}")
        return self._catalog(self._side(modality, "records"))

    def vectors(self, space: str, side: str = "graph") -> MilvusVectors:
        if not self.has_side(space, side):
            raise ConfigError(f"the index {self.path} has no {side} side of space {space!r}")
        return MilvusVectors(self._side(space, side))

    def peaks(self, space: str) -> MilvusPeaks | None:
        nucleus = self._about.get(f"{space}_graph", {}).get("peaks")
        return None if nucleus is None else MilvusPeaks(self._side(space, "graph"), nucleus)

    def places(self, keys: Ints) -> Ints:
        return keys

    def holds(self, keys: Ints) -> Bools:
        return np.isin(keys, [row["key"] for row in self._graph.rows(keys, [], missing=True)])

    def kinds_of(self, keys: Ints) -> Ints:
        return np.array([row["kind"] for row in self._graph.rows(keys, ["kind"])], np.int64)

    def of_kinds(self, kinds: Bools, positions: Any = None) -> Selection:
        selected = f"kind in {np.flatnonzero(kinds).tolist()}"
        return Selection(self._graph, selected) if positions is None else positions.among(selected)

    def replaced(self) -> bool:
        return False

    def unreplaced(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        while self._catalogs:
            self._catalogs.popitem()[1].close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._server.close()


# Pushing.


def push(index: Path, where: str, *, restart: bool = False) -> dict[str, Any]:
    """Copy the index in a directory to `where` (`milvus:URI#NAME`), and say how many rows each side has.

    Rows go in the order of their keys, and a row that is there is written over, so that a push that was
    interrupted goes on where it stopped. restart: drop what is there first.

    Raises StoreError when Milvus refuses, does not answer, or holds another number of rows in the end, or
    another index; and as `IndexDirectory` does.
    """
    with IndexDirectory(index) as source:
        manifest, server = source.manifest, Server(where)
        identity = digest_of([manifest.job, manifest.added, manifest.counts, sorted(manifest.files)])
        sides = [
            (space, side) for space, info in source.spaces.items() for side in SIDES if side in info.sides
        ]
        if restart:
            names = {server.side(space, side) for space in modalities.names() for side in SIDES}
            for name in names.intersection(server.call("list_collections")) | {f"{server.name}_manifest"}:
                server.call("drop_collection", name)
        there = server.read()
        if there is not None and there["identity"] != identity:
            raise StoreError(
                f"{where}: another index, or this one before it was changed, is here; give another "
                "--collection, or --restart to replace it"
            )
        complete = there is not None and there["complete"]
        if not complete:
            server.write(identity)
            document = {
                "sides": {
                    f"{space}_{side}": _push_side(source, server, space, side) for space, side in sides
                },
                "manifest": asdict(replace(manifest, files={})),
                "hydrogens": None if source.hydrogens is None else source.hydrogens.tolist(),
            }
            server.write(identity, document)
        counts = {f"{space}_{side}": source.spaces[space].sides[side]["n"] for space, side in sides}
        server.close()
        return {"index": str(index), "store": where, "rows": counts, "already_complete": complete}


def _push_side(source: IndexDirectory, server: Server, space: str, side: str) -> dict[str, Any]:
    """Send one side; how its collection is to be read."""
    vectors, name = source.vectors(space, side), server.side(space, side)
    measured = source.is_measured(space, side)
    catalog = source.records(space) if measured else source.catalog
    table = catalog.rows([], catalog.columns())
    columns = columns_of(table.schema)
    peaks = source.peaks(space) if side == "graph" else None
    kinds = not measured and source.hydrogens is not None
    fields = [(one.field, one.kind) for one in columns.values()]
    fields += [("peaks", "VARCHAR")] * (peaks is not None) + [("kind", "INT64")] * kinds
    server.create(name, vectors.d, fields, vectors.n)

    def stored() -> int:
        found = server.call("query", name, filter="", output_fields=["count(*)"], timeout=None)
        return int(found[0]["count(*)"])

    begin = stored()
    begin -= begin % BATCH
    blocks = range(begin, vectors.n, BATCH)
    for start in progress(blocks, total=vectors.n // BATCH, initial=begin // BATCH, desc=name, unit="block"):
        positions = np.arange(start, min(start + BATCH, vectors.n))
        keys = np.asarray(vectors.keys[positions])
        table = catalog.rows(keys, catalog.columns())
        sent: dict[str, list[Any]] = {"key": keys.tolist(), "vector": list(vectors.stored(positions))}
        for title, column in columns.items():
            try:
                sent[column.field] = column.encoded(table.column(title))
            except (TypeError, ValueError) as error:
                raise StoreError(
                    f"{source.path}: the column {title!r} ({column.type}) cannot be pushed"
                ) from error
        if peaks is not None:
            lists = peaks.take(source.places(keys))
            cuts = zip(lists.ends - lists.sizes, lists.ends, strict=True)
            sent["peaks"] = [b64encode(lists.peaks[low:high].tobytes()).decode() for low, high in cuts]
        if kinds:
            sent["kind"] = source.kinds_of(keys).tolist()
        server.call(
            "upsert", name, [dict(zip(sent, row, strict=True)) for row in zip(*sent.values(), strict=True)]
        )
    server.call("flush", name, timeout=None)
    if (n := stored()) != vectors.n:
        raise StoreError(
            f"{server.where}: {name} has {n:,} rows and should have {vectors.n:,}; push again with --restart"
        )
    doubles = [title for title, one in columns.items() if one.kind == "DOUBLE"]
    return {
        "n": n,
        "last": int(vectors.keys[-1]) if n else -1,
        "schema": b64encode(table.schema.serialize().to_pybytes()).decode(),
        "peaks": None
        if peaks is None
        else next(key for key, kind in DTYPES.items() if kind == peaks.peaks.dtype),
        "nan": [title for title in doubles if len(catalog.keys(f'isnan("{title}")'))],
    }
