"""`VectorIndex`: one side of one space, searched by FAISS and scored exactly.

On disk, next to one another:

    NAME.faiss      the FAISS index; ids are positions 0..n-1
    NAME.keys.npy   (n,) int64, ascending: the molecule's key at each position
    NAME.fp16.npy   (n, d) float16, the stored vectors; left out when the FAISS index itself holds just these
    NAME.json       n, d, factory, reason, how to search, recall measured at build time

The stored vectors are a file of their own, and not FAISS's `Refine(SQfp16)`, because that file is written
block by block (FAISS would hold all vectors in memory until it writes its index), is mapped whatever the kind
of index, and gives a score that depends on nothing but the query and the vector.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from acml_search.core.errors import ConfigError, IndexCorrupt
from acml_search.core.typing import Float16s, Float32s, Ints
from acml_search.index.directory import read_array

BLOCK = 8_192  # vectors scored at once: 8 MB at 256 dimensions, which stays in the cache
SPARE = 32  # candidates kept beyond k, so that rounding inside a block cannot decide the last place


class VectorStore:
    """(n, d) float16 unit vectors, in memory or in a .npy file.

    A file is memory-mapped for picking vectors, and read in blocks for a whole scan: pages of a mapping count
    as this process's memory, read blocks do not.
    """

    def __init__(self, vectors: Float16s, path: Path | None = None) -> None:
        self._vectors = vectors
        self._path = path
        self.n, self.d = vectors.shape

    @classmethod
    def open(cls, path: Path) -> VectorStore:
        """The store in a .npy file. Raises IndexCorrupt when it is none, or is cut short."""
        vectors = read_array(path, "r")
        if vectors.ndim != 2 or vectors.dtype != np.float16:
            raise IndexCorrupt(path, f"expected (n, d) float16, found {vectors.shape} {vectors.dtype}")
        return cls(vectors, path)

    @classmethod
    def of_codes(cls, index: Any) -> VectorStore:
        """The codes of a half-precision FAISS index, without a copy; they live as long as `index`."""
        size = index.codes.size()
        raw = faiss.rev_swig_ptr(index.codes.data(), size) if size else np.empty(0, np.uint8)
        return cls(raw.view(np.float16).reshape(index.ntotal, index.d))

    def take(self, positions: Ints) -> Float32s:
        """(m, d) float32: the stored vectors at `positions`."""
        return self._vectors[positions].astype(np.float32)

    def rank(self, q: Float32s, candidates: Ints, k: int) -> tuple[Float32s, Ints]:
        """The best k of `candidates` for `q` (d,): inner products and positions, best first, ties by
        position. Scored row by row: a score never depends on what else is scored, and equal vectors tie.
        """
        scores = np.einsum("nd,d->n", self.take(candidates), q, dtype=np.float32)
        order = np.lexsort((candidates, -scores))[:k]
        return scores[order], candidates[order]

    def search(self, xq: Float32s, k: int, positions: Ints | None = None) -> list[tuple[Float32s, Ints]]:
        """The exact best k of `positions` (ascending; None: all) for each of `xq` (nq, d), as `rank` gives
        them.
        """
        keep = k + SPARE
        best: list[tuple[Float32s, Ints]] = [(np.empty(0, np.float32), np.empty(0, np.int64))] * len(xq)
        for at, block in self._scanned(positions):
            for row, scores in enumerate(xq @ block.T):
                known, known_at = best[row]
                better = np.flatnonzero(scores > known[-1]) if len(known) == keep else np.arange(len(scores))
                if len(better) == 0:
                    continue
                merged, merged_at = np.append(known, scores[better]), np.append(known_at, at[better])
                order = np.lexsort((merged_at, -merged))[:keep]
                best[row] = merged[order], merged_at[order]
        return [self.rank(q, np.sort(at), k) for q, (_, at) in zip(xq, best, strict=True)]

    def _scanned(self, positions: Ints | None) -> Iterator[tuple[Ints, Float32s]]:
        """Positions (m,) and vectors (m, d) in blocks: of `positions`, or of all."""
        if positions is not None:
            for start in range(0, len(positions), BLOCK):
                at = positions[start : start + BLOCK]
                yield at, self.take(at)
            return
        start = 0
        for block in self.blocks():
            yield np.arange(start, start + len(block)), block.astype(np.float32)
            start += len(block)

    def blocks(self) -> Iterator[Float16s]:
        """All vectors, (m, d) float16, in blocks."""
        if not isinstance(self._vectors, np.memmap) or self._path is None:
            for start in range(0, self.n, BLOCK):
                yield self._vectors[start : start + BLOCK]
            return
        with self._path.open("rb") as file:
            file.seek(self._vectors.offset)
            for start in range(0, self.n, BLOCK):
                m = min(BLOCK, self.n - start)
                yield np.fromfile(file, np.float16, m * self.d).reshape(m, self.d)


MAX_SCAN = 10_000  # filtered positions scanned from the store: under 10 ms, and exact
FILTERABLE = (
    faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ, faiss.IndexIVFRaBitQFastScan
)  # fmt: skip
MIN_SHORTLIST = 100
LONG_SHORTLIST = 200
"""candidates beside four for each hit: enough for many hits, however short the codes"""
CALIBRATED_K = 10
"""hits for whose recall the number of lists is chosen"""


@dataclass(frozen=True)
class Details:
    """What `NAME.json` holds: how an index was made and how it is searched."""

    n: int
    d: int
    factory: str
    reason: str
    bytes_per_vector: float
    nprobe: int | None
    ef_search: int | None
    shortlist_factor: int
    recall_at_10: float | None

    @classmethod
    def read(cls, path: Path) -> Details:
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise IndexCorrupt(path, f"it cannot be read ({getattr(error, 'strerror', error)})") from error


class VectorIndex:
    """Nearest vectors of one side of one space, by inner product of unit vectors."""

    def __init__(
        self, index: Any, store: VectorStore, keys: Ints, details: Details, removed: Ints | None = None
    ) -> None:
        self._index, self._store, self.details = index, store, details
        self._ivf = inverted_lists(index)
        self._all_keys, self._removed = keys, removed
        self._path: Path | None = None
        self.keys = keys
        """(n,) int64 ascending, without those `removed`; a position is a place in this array."""
        self._rows: Ints | None = None  # of the positions among all that is stored; None: the same
        if removed is not None and len(rows := np.flatnonzero(~np.isin(keys, removed))) < len(keys):
            self.keys, self._rows = keys[rows], rows
        if self._ivf is not None and details.nprobe is not None:
            self._ivf.nprobe = details.nprobe
        if details.ef_search is not None:
            index.hnsw.efSearch = details.ef_search

    @property
    def n(self) -> int:
        return len(self.keys)

    @property
    def d(self) -> int:
        return self.details.d

    @classmethod
    def open(cls, path: Path, removed: Ints | None = None) -> VectorIndex:
        """Open the index at `path` (without ending), memory-mapped, without the keys `removed`. Raises
        IndexCorrupt."""
        details = Details.read(Path(f"{path}.json"))
        index = _read_faiss(Path(f"{path}.faiss"), details.factory)
        keys = read_array(Path(f"{path}.keys.npy"), "r")
        exact = is_exact(index)
        store = VectorStore.of_codes(index) if exact else VectorStore.open(Path(f"{path}.fp16.npy"))
        for what, found in (("FAISS", index.ntotal), ("keys", len(keys)), ("stored vectors", store.n)):
            if found != details.n:
                raise IndexCorrupt(path, f"{details.n:,} vectors were indexed, but {what} holds {found:,}")
        if store.d != details.d or index.d != details.d:
            raise IndexCorrupt(path, f"vectors have {store.d} dimensions, {details.d} were indexed")
        opened = cls(index, store, keys, details, removed)
        opened._path = path
        return opened

    def growing(self) -> Any | None:
        """The FAISS index once more, in memory, to be added to; None where its positions are not those of
        `keys`, or where it is made of nothing but the vectors or takes no more."""
        grows = isinstance(self._index, faiss.IndexIVF | faiss.IndexHNSW)
        if not grows or self._rows is not None or self._path is None:
            return None
        return faiss.read_index(f"{self._path}.faiss")

    def searched(self, details: Details) -> VectorIndex:
        """The same vectors, searched from now on as `details` say (`nprobe`, `ef_search`)."""
        return VectorIndex(self._index, self._store, self._all_keys, details, self._removed)

    def places(self, keys: Ints) -> Ints:
        """Where `keys` that are there stand among all keys, removed ones too."""
        return np.searchsorted(self._all_keys, keys).astype(np.int64)

    def _stored_at(self, positions: Ints) -> Ints:
        """Where the vectors of `positions` are stored."""
        positions = np.asarray(positions, np.int64)
        return positions if self._rows is None else self._rows[positions]

    def positions_of(self, keys: Any) -> Ints:
        """The positions of `keys` (ascending), ascending; keys without a vector on this side are skipped."""
        left = np.searchsorted(self.keys, keys, side="left")
        right = np.searchsorted(self.keys, keys, side="right")
        if np.all(right - left <= 1):
            return left[right > left].astype(np.int64)
        return np.concatenate([np.arange(a, b) for a, b in zip(left, right, strict=True)]).astype(np.int64)

    def stored(self, positions: Ints) -> Float32s:
        """(m, d) float32: the stored vectors at `positions`."""
        return self._store.take(self._stored_at(positions))

    def sample(self, n: int) -> Float32s:
        """(m, d) float32: `n` of the vectors, or all, from all over."""
        return self.stored(np.unique(np.linspace(0, self.n - 1, n).astype(np.int64)))

    def blocks(self) -> Iterator[Float16s]:
        """All vectors, (m, d) float16, block by block."""
        if self._rows is None:
            yield from self._store.blocks()
            return
        for start in range(0, self.n, BLOCK):
            yield self._store.take(self._rows[start : start + BLOCK]).astype(np.float16)

    def search(self, xq: Float32s, k: int, positions: Any = None) -> tuple[Float32s, Ints]:
        """The k best of each query `xq` (nq, d) float32 unit vectors, among `positions` only if given.

        Returns D (nq, k) float32 inner products, best first and ties by key, and I (nq, k) int64 keys. Where
        there are fewer than k, I is -1 and D is -inf. Filtered, a query gets k hits whenever k positions
        pass.
        """
        xq = np.ascontiguousarray(xq, np.float32)
        if xq.ndim != 2 or xq.shape[1] != self.d:
            raise ConfigError(f"queries have the shape {xq.shape}; this index takes (nq, {self.d})")
        if k < 1:
            raise ConfigError(f"k is {k}; ask for at least one hit")
        if positions is not None:
            positions = np.asarray(positions, np.int64)
            if np.any(positions[1:] <= positions[:-1]):
                positions = np.unique(positions)
            positions = self._stored_at(positions)
        D = np.full((len(xq), k), -np.inf, np.float32)
        I = np.full((len(xq), k), -1, np.int64)  # noqa: E741 (FAISS's own names)
        for row, (scores, at) in enumerate(self._search(xq, k, positions)):
            D[row, : len(scores)] = scores
            I[row, : len(at)] = self._all_keys[at]
        return D, I

    def _search(self, xq: Float32s, k: int, positions: Ints | None) -> list[tuple[Float32s, Ints]]:
        filterable = isinstance(self._index, (*FILTERABLE, faiss.IndexScalarQuantizer))
        selector, widen = None, 1.0
        if positions is None:
            positions = self._rows
            if positions is not None and filterable:
                selector = self._living
        elif len(positions) <= MAX_SCAN or not filterable:
            return self._store.search(xq, k, positions)
        else:
            # Twice as many vectors that pass are compared as without a filter: it may want what lies far from
            # the query. The others cost a bit test each.
            selector, widen = self._selector(positions), 2.0
        passing = self.n if positions is None else len(positions)
        found = self._shortlist(xq, k, passing, selector, widen)
        if positions is not None and selector is None:
            found[np.isin(self._all_keys[found], np.asarray(self._removed))] = -1
        results = [self._store.rank(q, at[at >= 0], k) for q, at in zip(xq, found, strict=True)]
        # Inverted lists may hold fewer than k that pass: what is missing is found by an exact scan.
        short = [row for row, (_, at) in enumerate(results) if len(at) < min(k, passing)]
        for row, exact in zip(
            short, self._store.search(xq[short], k, positions) if short else [], strict=True
        ):
            results[row] = exact
        return results

    def _shortlist(self, xq: Float32s, k: int, passing: int, selector: Any, widen: float) -> Ints:
        """Candidate positions (nq, m), -1 where there are fewer. The fewer vectors are `passing`, the more
        lists are visited, and `widen` times as many."""
        wanted = k + SPARE
        if not is_exact(self._index):
            wanted = max(MIN_SHORTLIST, min(k * self.details.shortlist_factor, LONG_SHORTLIST + 4 * k))
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        if self._ivf is not None:
            # Calibrated for ten hits; further ones lie in further lists.
            widen *= 1 + math.log10(max(1, k / CALIBRATED_K))
            lists = math.ceil(widen * self._ivf.nprobe * len(self._all_keys) / max(1, passing))
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=min(self._ivf.nlist, lists))
        found = self._index.search(xq, min(wanted, passing), params=parameters)[1]
        if found.max(initial=-1) >= len(self._all_keys):
            raise IndexCorrupt("faiss", "the FAISS index is damaged", "run `acml-search verify` on the index")
        return found

    @cached_property
    def _living(self) -> Any:
        """Lets through what was not removed."""
        return self._selector(np.asarray(self._rows))

    def _selector(self, positions: Ints) -> Any:
        """A FAISS selector that lets only `positions` through."""
        passes = np.zeros(len(self._all_keys), bool)
        passes[positions] = True
        return faiss.IDSelectorBitmap(np.packbits(passes, bitorder="little"))


def inverted_lists(index: Any) -> Any | None:
    """The IVF inside `index`, also behind a transform or refinement, or None."""
    return faiss.try_extract_index_ivf(index)


def is_exact(index: Any) -> bool:
    """Whether `index` scans half-precision vectors whole: then it is its own exact store."""
    return isinstance(index, faiss.IndexScalarQuantizer) and index.sq.qtype == faiss.ScalarQuantizer.QT_fp16


def _read_faiss(path: Path, factory: str) -> Any:
    # Inverted lists have a mapping of their own; everything else is mapped, where it can be, by the other
    # flag.
    flag = faiss.IO_FLAG_MMAP if "IVF" in factory else faiss.IO_FLAG_MMAP_IFC
    try:
        index = faiss.read_index(str(path), flag)
    except (RuntimeError, MemoryError) as error:
        raise IndexCorrupt(path, "FAISS cannot read it") from error
    inside = inverted_lists(index)
    lists = None if inside is None else faiss.downcast_InvertedLists(inside.invlists)
    if isinstance(lists, faiss.OnDiskInvertedLists):
        lists.prefetch_nthread = 0  # threads that read ahead cost more than they bring for one query
    return index
