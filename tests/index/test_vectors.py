"""VectorIndex against a brute-force NumPy oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acml_search.core.errors import ConfigError, IndexCorrupt
from acml_search.index import factory as factory_module
from acml_search.index import vectors as vectors_module
from acml_search.index.embeddings import Embeddings, embedding_table, write_vectors
from acml_search.index.factory import build_vectors, choose_factory
from acml_search.index.vectors import VectorIndex

TOLERANCE = 1e-6
Halves = npt.NDArray[np.float16]
Keys = npt.NDArray[np.int64]


def unit(rng: np.random.Generator, n: int, d: int) -> npt.NDArray[np.float32]:
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def write(folder: Path, keys: Keys, xb: Halves, part: int = 700) -> Embeddings:
    paths = []
    for number, start in enumerate(range(0, len(keys), part)):
        paths.append(folder / f"part-{number:05d}.parquet")
        write_vectors(embedding_table(keys[start : start + part], xb[start : start + part]), paths[-1])
    return Embeddings(paths)


def oracle(xq: npt.NDArray[np.float32], xb: Halves, keys: Keys, k: int) -> list[list[tuple[float, int]]]:
    """The k best (score, key) of each query, best first, ties by key."""
    scores = xq.astype(np.float64) @ xb.astype(np.float64).T
    rows = []
    for row in scores:
        order = np.lexsort((keys, -np.round(row, 7)))[:k]
        rows.append([(float(row[at]), int(keys[at])) for at in order])
    return rows


def assert_same_hits(
    D: npt.NDArray[np.float32],
    found: Keys,
    xq: npt.NDArray[np.float32],
    xb: Halves,
    keys: Keys,
    k: int,
) -> None:
    """Scores equal place by place; keys equal as sets, among hits clearly better than the last place."""
    for q, d_row, i_row, wanted in zip(xq, D, found, oracle(xq, xb, keys, k), strict=True):
        n = len(wanted)
        assert np.all(i_row[n:] == -1)
        assert np.all(np.isneginf(d_row[n:]))
        scores = np.array([score for score, _ in wanted])
        np.testing.assert_allclose(d_row[:n], scores, atol=TOLERANCE)
        sure = scores > scores[-1] + 2 * TOLERANCE if n == k else np.ones(n, bool)
        assert {key for (_, key), good in zip(wanted, sure, strict=True) if good} <= set(i_row[:n].tolist())
        assert len(set(i_row[:n].tolist())) == n
        own = {int(key): at for at, key in enumerate(keys)}
        again = [float(xb[own[int(key)]].astype(np.float64) @ q) for key in i_row[:n]]
        np.testing.assert_allclose(d_row[:n], again, atol=TOLERANCE)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 400),
    d=st.sampled_from([4, 16, 33]),
    k=st.integers(1, 60),
    share=st.one_of(st.none(), st.floats(0, 1)),
    repeats=st.integers(0, 40),
    seed=st.integers(0, 2**31),
)
def test_exact_index_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    d: int,
    k: int,
    share: float | None,
    repeats: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    xb = unit(rng, n, d).astype(np.float16)
    xb[rng.integers(0, n, repeats)] = xb[0]  # equal vectors: ties
    keys = np.sort(rng.choice(5 * n, n, replace=False)).astype(np.int64)
    folder = tmp_path_factory.mktemp("exact")
    build_vectors(folder / "v", write(folder, keys, xb), "auto")
    index = VectorIndex.open(folder / "v")
    xq = np.concatenate([unit(rng, 2, d), xb[:1].astype(np.float32)])
    if share is None:
        D, found = index.search(xq, k)
        assert_same_hits(D, found, xq, xb, keys, k)
        return
    passing = keys[rng.random(n) < share]
    D, found = index.search(xq, k, index.positions_of(passing))
    here = np.isin(keys, passing)
    if len(passing) == 0:
        assert np.all(found == -1)
        return
    assert_same_hits(D, found, xq, xb[here], keys[here], k)


@pytest.fixture(scope="module")
def clustered() -> tuple[Keys, Halves, npt.NDArray[np.float32]]:
    """3,000 vectors in 60 clusters, and 20 queries near them."""
    rng = np.random.default_rng(3)
    centres = unit(rng, 60, 32)

    def near(n: int, spread: float) -> npt.NDArray[np.float32]:
        x = centres[rng.integers(0, 60, n)] + spread * unit(rng, n, 32)
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    return np.arange(10, 9_010, 3, dtype=np.int64), near(3_000, 0.6).astype(np.float16), near(20, 0.6)


@pytest.mark.parametrize(
    "factory",
    ["flat", "Flat", "fast", "IVF32,RaBitQfs", "IVF32,SQ8", "IVF16,PQ16x4", "OPQ8,IVF16,PQ8x4", "SQ8"],
)
def test_any_factory_keeps_recall_and_gives_exact_scores(
    tmp_path: Path, clustered: tuple[Keys, Halves, npt.NDArray[np.float32]], factory: str
) -> None:
    keys, xb, xq = clustered
    details = build_vectors(tmp_path / "v", write(tmp_path, keys, xb), factory)
    index = VectorIndex.open(tmp_path / "v")
    D, found = index.search(xq, 10)
    wanted = np.sort(xq @ xb.astype(np.float32).T, axis=1)[:, ::-1][:, :10]
    assert (wanted[:, -1:] - TOLERANCE <= D).mean() >= 0.9
    assert details.recall_at_10 is None or details.recall_at_10 >= 0.9
    stored = index.stored(np.searchsorted(keys, found[0]))
    np.testing.assert_allclose(D[0], stored @ xq[0], atol=TOLERANCE)
    assert np.all(D[:, :-1] >= D[:, 1:])
    _, own_keys = index.search(index.stored(np.arange(0, 3_000, 300)), 1)
    assert np.array_equal(own_keys[:, 0], keys[::300])


def test_many_hits_visit_more_lists_than_ten(
    tmp_path: Path, clustered: tuple[Keys, Halves, npt.NDArray[np.float32]]
) -> None:
    keys, xb, xq = clustered
    build_vectors(tmp_path / "v", write(tmp_path, keys, xb), "IVF32,RaBitQfs")
    index = VectorIndex.open(tmp_path / "v")
    index = index.searched(replace(index.details, nprobe=4))
    wanted = np.sort(xq @ xb.astype(np.float32).T, axis=1)[:, ::-1][:, 299:300] - TOLERANCE
    in_four_lists = index._index.search(xq, len(xb))[1]
    reachable = sum(
        (xb[at[at >= 0]] @ q >= least).sum() for q, at, least in zip(xq, in_four_lists, wanted, strict=True)
    )
    assert (index.search(xq, 300)[0] >= wanted).sum() > 1.1 * reachable


@pytest.mark.parametrize("factory", ["flat", "IVF32,RaBitQfs", "IVF32,SQ8", "HNSW16"])
@pytest.mark.parametrize("passing", [0, 5, 60, 500, 2_999])
def test_filter_gives_k_hits_whenever_k_pass(
    tmp_path: Path,
    clustered: tuple[Keys, Halves, npt.NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
    factory: str,
    passing: int,
) -> None:
    # The lists are searched under the filter too, however few vectors there are.
    monkeypatch.setattr(vectors_module, "MAX_SCAN", 50)
    keys, xb, xq = clustered
    build_vectors(tmp_path / "v", write(tmp_path, keys, xb), factory)
    index = VectorIndex.open(tmp_path / "v")
    # The positions farthest from the first query: near lists hold none of them.
    allowed = np.sort(np.argsort(xb.astype(np.float32) @ xq[0])[:passing])
    D, found = index.search(xq, 20, allowed)
    assert np.array_equal((found >= 0).sum(axis=1), np.full(len(xq), min(20, passing)))
    assert np.isin(found[found >= 0], keys[allowed]).all()
    if passing:
        wanted = np.sort(xq @ xb[allowed].astype(np.float32).T, axis=1)[:, ::-1][:, : min(20, passing)]
        assert (wanted[:, -1:] - TOLERANCE <= D[:, : wanted.shape[1]]).mean() >= 0.9


def test_a_score_does_not_depend_on_the_other_queries(
    tmp_path: Path, clustered: tuple[Keys, Halves, npt.NDArray[np.float32]]
) -> None:
    keys, xb, xq = clustered
    build_vectors(tmp_path / "v", write(tmp_path, keys, xb), "IVF32,RaBitQfs")
    index = VectorIndex.open(tmp_path / "v")
    D, found = index.search(xq, 10)
    for row, q in enumerate(xq):
        alone, alone_keys = index.search(q[None], 10)
        assert np.array_equal(alone[0], D[row])
        assert np.array_equal(alone_keys[0], found[row])


def test_several_records_of_one_molecule_keep_their_key(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys = np.array([3, 3, 3, 8, 9, 9], np.int64)
    build_vectors(tmp_path / "v", write(tmp_path, keys, unit(rng, 6, 8).astype(np.float16)))
    index = VectorIndex.open(tmp_path / "v")
    assert index.positions_of(np.array([3, 4, 9])).tolist() == [0, 1, 2, 4, 5]
    assert index.positions_of(np.array([8])).tolist() == [3]


def test_a_side_that_grows_is_the_index_then_the_new_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    xb = unit(rng, 9, 8).astype(np.float16)
    build_vectors(tmp_path / "v", write(tmp_path, np.arange(5), xb[:5], part=2), "flat")
    more = tmp_path / "more.parquet"
    write_vectors(embedding_table(np.arange(5, 9), xb[5:]), more)
    grown = Embeddings([more], dropped=np.array([6, 8]), before=VectorIndex.open(tmp_path / "v"))
    assert grown.keys.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert np.array_equal(np.concatenate(list(grown.blocks())), xb[grown.keys])
    assert np.array_equal(grown.take(np.array([6, 0, 5])), xb[[7, 0, 5]].astype(np.float32))
    sample = grown.sample(7, seed=3)
    assert sorted(sample[:, 0].tolist()) == sorted(xb[grown.keys, 0].astype(np.float32).tolist())


@pytest.mark.parametrize("factory", ["IVF32,SQ8", "IVF32,RaBitQfs", "HNSW16", "flat", "OPQ8,IVF16,PQ8x4"])
@pytest.mark.parametrize("what", ["alike", "others", "removed", "less recall", "other factory"])
def test_an_index_grows_where_its_lists_fit_what_is_new(
    tmp_path: Path,
    clustered: tuple[Keys, Halves, npt.NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
    factory: str,
    what: str,
) -> None:
    keys, xb, xq = clustered
    if what == "others":
        xb = np.concatenate([xb[:2_500], unit(np.random.default_rng(5), 500, 32).astype(np.float16)])
    first = "IVF16,SQ8" if what == "other factory" else factory
    (tmp_path / "new").mkdir()
    old = build_vectors(tmp_path / "v", write(tmp_path, keys[:2_500], xb[:2_500]), first, xq)
    more = tmp_path / "more.parquet"
    write_vectors(embedding_table(keys[2_500:], xb[2_500:]), more)
    before = VectorIndex.open(tmp_path / "v", keys[7:9] if what == "removed" else None)
    trained: list[str] = []
    train = factory_module.train
    monkeypatch.setattr(factory_module, "train", lambda *given: (trained.append(given[1]), train(*given)))
    if what == "less recall":
        monkeypatch.setattr(factory_module, "TARGET", 1.2)
        before = before.searched(replace(before.details, recall_at_10=1.1))
        before._path = tmp_path / "v"
    details = build_vectors(tmp_path / "new" / "v", Embeddings([more], before=before), factory, xq)
    grows = (what == "alike" and factory[:2] in ("IV", "HN")) or (what == "others" and factory == "HNSW16")
    assert (not trained) == (grows or factory == "flat")
    if factory != "flat":
        assert ("were added to it" in details.reason) == grows
        assert ("built again" in details.reason) == (not grows)
    if grows:
        assert (details.nprobe, details.ef_search) == (old.nprobe, old.ef_search)
    index = VectorIndex.open(tmp_path / "new" / "v")
    there = np.isin(keys, keys[7:9], invert=True) if what == "removed" else np.ones(len(keys), bool)
    assert np.array_equal(index.keys, keys[there])
    assert np.array_equal(index.stored(np.arange(index.n)), xb[there].astype(np.float32))
    wanted = np.sort(xq @ xb[there].astype(np.float32).T, axis=1)[:, ::-1][:, :10]
    assert (wanted[:, -1:] - TOLERANCE <= index.search(xq, 10)[0]).mean() >= 0.9


@pytest.mark.parametrize(("factory", "codes"), [("flat", 0), ("IVF16,SQ8", 1)])
def test_a_vector_is_stored_once(tmp_path: Path, factory: str, codes: int) -> None:
    n, d = 20_000, 64
    xb = unit(np.random.default_rng(2), n, d).astype(np.float16)
    folder = tmp_path / "faiss"
    folder.mkdir()
    build_vectors(folder / "v", write(tmp_path, np.arange(n), xb, part=n), factory)
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert size <= 1.15 * n * d * 2 + codes * n * (d + 8)  # codes of a byte a dimension, and ids


def test_choice_of_factory_says_why() -> None:
    assert choose_factory(99_999, 256)[0] == "SQfp16"
    factory, reason = choose_factory(1_900_000, 256)
    assert factory == "IVF2048,RaBitQfs"
    assert "1,900,000" in reason


@pytest.mark.parametrize("factory", ["nonsense", "PQ7", "IVF9000,SQ8", "IDMap,Flat"])
def test_what_faiss_refuses_is_a_config_error(tmp_path: Path, factory: str) -> None:
    rng = np.random.default_rng(0)
    parts = write(tmp_path, np.arange(300), unit(rng, 300, 16).astype(np.float16))
    with pytest.raises(ConfigError, match=factory):
        build_vectors(tmp_path / "v", parts, factory)


def test_wrong_queries_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    build_vectors(tmp_path / "v", write(tmp_path, np.arange(9), unit(rng, 9, 16).astype(np.float16)))
    index = VectorIndex.open(tmp_path / "v")
    with pytest.raises(ConfigError, match=r"\(nq, 16\)"):
        index.search(unit(rng, 2, 8), 3)
    with pytest.raises(ConfigError, match="k is 0"):
        index.search(unit(rng, 2, 16), 0)


def test_keys_out_of_order_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(IndexCorrupt, match="ascend"):
        write(tmp_path, np.array([1, 5, 4]), unit(rng, 3, 16).astype(np.float16))


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(IndexCorrupt, match=r"v\.json: it cannot be read \(No such file.*\); restore"):
        VectorIndex.open(tmp_path / "v")
    rng = np.random.default_rng(0)
    build_vectors(tmp_path / "v", write(tmp_path, np.arange(99), unit(rng, 99, 16).astype(np.float16)), "SQ8")
    for name in ("v.faiss", "v.keys.npy", "v.fp16.npy"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(IndexCorrupt, match=name):
            VectorIndex.open(tmp_path / "v")
        (tmp_path / name).write_bytes(whole)
    assert VectorIndex.open(tmp_path / "v").n == 99


def test_a_damaged_id_in_an_inverted_list_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = write(tmp_path, np.arange(99), unit(rng, 99, 16).astype(np.float16))
    build_vectors(tmp_path / "v", parts, "IVF1,SQ8")
    path = tmp_path / "v.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40  # the last byte of the last id
    path.write_bytes(bytes(content))
    with pytest.raises(IndexCorrupt, match="verify"):
        VectorIndex.open(tmp_path / "v").search(unit(rng, 1, 16), 99)
