"""Filters and rows, with a list of Python dicts as the oracle."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.core.errors import FilterError, IndexCorrupt
from acml_search.library.catalog import Catalog
from acml_search.library.tables import COUNTS, MOLECULES, write_parquet

N = 3_000


def table(first: int, last: int) -> pa.Table:
    """Made-up molecules with keys 2 * n, so that every odd key is missing; without counts of atoms, as before
    version 0.2."""
    n = np.arange(first, last)
    columns = {
        "key": 2 * n,
        "smiles": [f"C{i}" for i in n],
        "inchikey": [f"K{i}" for i in n],
        "formula": [f"C{i % 7}H4" for i in n],
        "exact_mass": 100 + n / 100,
        "source_row": 2 * n,
        "removed": [None] * len(n),
    }
    own = pa.table({name: pa.array(columns[name], MOLECULES.field(name).type) for name in columns})
    own = own.append_column(
        "price", pa.array([None if i % 5 == 0 else float(i % 11) for i in n], pa.float64())
    )
    return own.append_column("my name's", pa.array([f"n{i % 3}" for i in n]))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("it's an index") / "molecules"
    bounds = [0, 1_500, 1_501, N]
    for part, (first, last) in enumerate(itertools.pairwise(bounds)):
        write_parquet(table(first, last), folder / f"part-{part:05d}.parquet")
    with Catalog(sorted(folder.iterdir())) as opened:
        yield opened


@pytest.fixture(scope="module")
def oracle() -> list[Any]:
    return table(0, N).to_pylist()


def cheap(molecule: dict[str, Any]) -> bool:
    return molecule["price"] is not None and molecule["price"] < 3


def test_count_and_columns(catalog: Catalog):
    assert catalog.count() == N
    assert catalog.columns() == [*MOLECULES.names[: -len(COUNTS)], "price", "my name's"]


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, lambda m: True),
        ({"formula": "C3H4"}, lambda m: m["formula"] == "C3H4"),
        ({"mass": 110.0, "tol_da": 0.05}, lambda m: abs(m["exact_mass"] - 110) < 0.0500001),
        ({"mass": 110.0, "tol_da": 0.0}, lambda m: m["exact_mass"] == 110.0),
        ({"where": "price < 3"}, lambda m: cheap(m)),
        ({"where": "price IS NULL -- a comment"}, lambda m: m["price"] is None),
        (
            {"where": "\"my name's\" = 'n1' OR key IN (4, 6)"},
            lambda m: m["my name's"] == "n1" or m["key"] in (4, 6),
        ),
        ({"where": "lower(smiles) LIKE 'c29%'"}, lambda m: m["smiles"].startswith("C29")),
        ({"where": "regexp_matches(smiles, '^C1.$')"}, lambda m: 10 <= int(m["smiles"][1:]) < 20),
        (
            {"where": "price < 3", "formula": "C3H4"},
            lambda m: cheap(m) and m["formula"] == "C3H4",
        ),
        ({"where": "FALSE"}, lambda m: False),
    ],
)
def test_keys_agree_with_python(
    catalog: Catalog, oracle: list[Any], filters: dict[str, Any], passes: Callable[[Any], bool]
):
    found = catalog.keys(**filters)
    assert found.dtype == np.int64
    assert found.tolist() == [molecule["key"] for molecule in oracle if passes(molecule)]


@given(st.lists(st.integers(0, N - 1).map(lambda n: 2 * n), max_size=50))
@settings(deadline=None)
def test_rows_come_in_the_order_of_keys(catalog: Catalog, oracle: list[Any], keys: list[int]):
    assert catalog.rows(keys).to_pylist() == [oracle[key // 2] for key in keys]


@pytest.mark.parametrize("key", [-1, 1, 3_001, 2 * N, 10**12])
def test_a_key_that_is_not_there(catalog: Catalog, key: int):
    with pytest.raises(KeyError, match=str(key)):
        catalog.rows([0, key])


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "is empty"),
        ("nope = 1", r"the columns are key, smiles, .*, price, \"my name's\""),
        ("price = 'cheap'", "Could not convert"),
        ("price <", "SQL cannot read it"),
        ("price < 3; DROP TABLE molecules", "SQL cannot read it"),
        ("true); DROP VIEW molecules; --", "SQL cannot read it"),
        ("true) UNION SELECT 1 WHERE (true", "more than one expression"),
        ("true) LIMIT (1", "more than one expression"),
        ("true) GROUP BY (key", "more than one expression"),
        ("true) ORDER BY (key", "more than one expression"),
        ("false) OR (true", "SQL cannot read it"),
        ("key IN (SELECT key FROM molecules)", "a subquery"),
        ("EXISTS (FROM read_text('pyproject.toml'))", "a subquery"),
        ("EXISTS (FROM 'pyproject.toml')", "a subquery"),
        ("row_number() OVER () < 3", "a window function"),
        ("COLUMNS(*) > 1", "a star"),
        ("key = $1", "a parameter"),
        ("current_setting('threads') = '1'", r"current_setting\(\)"),
        ("getenv('HOME') = ''", r"getenv\(\)"),
        ("random() < 0.5", r"random\(\)"),
        ("repeat(smiles, 1000000000) = ''", r"repeat\(\)"),
        ("replace(smiles, 'C', 'CC') = ''", r"replace\(\)"),
        ("key::INT[100000] IS NULL", "an array"),
        ("count(*) > 1", "count_star"),
        ("SET threads = 1", "SQL cannot read it"),
        ("COPY molecules TO 'x'", "SQL cannot read it"),
        ("(" * 4_000 + "true" + ")" * 4_000, "SQL cannot read it"),
        ("key = 1 OR " * 1_000 + "true", "the limit"),
        ("regexp_matches(smiles, '(')", "cannot be applied"),
    ],
)
def test_filters_that_are_refused(catalog: Catalog, where: str, words: str):
    with pytest.raises(FilterError, match=words) as caught:
        catalog.keys(where=where)
    assert "\n" not in str(caught.value)
    assert catalog.keys(where="key = 2").tolist() == [2]


def test_a_mass_needs_a_tolerance(catalog: Catalog):
    for tolerance in (None, -1.0, float("nan")):
        with pytest.raises(FilterError, match="tolerance"):
            catalog.keys(mass=100.0, tol_da=tolerance)


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=100)
def test_any_text_is_a_filter_or_a_filter_error(catalog: Catalog, where: str):
    try:
        found = catalog.keys(where=where)
    except FilterError:
        found = np.array([], np.int64)
    assert set(found.tolist()) <= set(range(0, 2 * N, 2))


def test_several_threads_may_ask_at_once(catalog: Catalog):
    answers: list[int] = []

    def ask(n: int) -> None:
        for _ in range(5):
            answers.append(len(catalog.keys(where=f"key < {2 * n}")) - n + len(catalog.rows([2 * n])))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1] * 25


def test_parts_added_later_may_have_other_columns(tmp_path: Path):
    write_parquet(table(0, 2), tmp_path / "a.parquet")
    write_parquet(
        table(2, 4).drop_columns(["price"]).append_column("extra", pa.array(["x", "y"])),
        tmp_path / "b.parquet",
    )
    with Catalog([tmp_path / "a.parquet", tmp_path / "b.parquet"]) as catalog:
        assert catalog.columns()[-3:] == ["price", "my name's", "extra"]
        assert catalog.keys(where="extra = 'y' OR price = 1").tolist() == [2, 6]
        assert catalog.rows([6, 2]).select(["price", "extra"]).to_pylist() == [
            {"price": None, "extra": "y"},
            {"price": 1.0, "extra": None},
        ]


def test_columns_are_named_as_sql_takes_them(tmp_path: Path):
    odd = table(0, 2).append_column('say "hi"', pa.array(["x", "y"]))
    write_parquet(odd, tmp_path / "a.parquet")
    with Catalog([tmp_path / "a.parquet"]) as catalog:
        with pytest.raises(FilterError, match='"say ""hi"""'):
            catalog.keys(where="nope = 1")
        assert catalog.keys(where='"say ""hi""" = \'y\'').tolist() == [2]


def test_a_pattern_in_a_path_finds_no_other_files(tmp_path: Path):
    for folder, first in (("a*b", 0), ("aXb", 5), ("a[X]b", 9)):
        write_parquet(table(first, first + 2), tmp_path / folder / "a.parquet")
    for folder, key in (("a*b", 0), ("a[X]b", 18)):
        with Catalog([tmp_path / folder / "a.parquet"]) as catalog:
            assert catalog.keys(where="key >= 0").tolist() == [key, key + 2]


def test_damaged_parts_are_named(tmp_path: Path):
    path = tmp_path / "a.parquet"
    with pytest.raises(IndexCorrupt, match=r"a\.parquet"):
        Catalog([path])
    path.write_bytes(b"junk")
    with pytest.raises(IndexCorrupt, match=r"a\.parquet"):
        Catalog([path])
    write_parquet(pa.table({"x": [1]}), path)
    with pytest.raises(IndexCorrupt, match="no column 'key'"):
        Catalog([path])
