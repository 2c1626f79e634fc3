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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from acml_search.core.errors import ConfigError, IndexCorrupt, IndexNotFound
from acml_search.core.typing import Float16s, Float32s, Ints
from acml_search.index import factory as factories
from acml_search.index.calibrate import Calibration, calibrate
from acml_search.index.embeddings import Embeddings
from acml_search.index.exact import SPARE, VectorStore

MAX_SCAN = 10_000  # filtered positions scanned from the store: under 10 ms, and exact
FILTERABLE = (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ)
SEED = 7


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
        except FileNotFoundError:
            raise IndexNotFound(path, "there is no vector index here") from None
        except (ValueError, TypeError) as error:
            raise IndexCorrupt(path, f"the details of the vector index cannot be read ({error})") from error


class VectorIndex:
    """Nearest vectors of one side of one space, by inner product of unit vectors."""

    def __init__(self, index: Any, store: VectorStore, keys: Ints, details: Details) -> None:
        self._index, self._store, self._details = index, store, details
        self._ivf = factories.inverted_lists(index)
        self.keys = keys
        """(n,) int64 ascending; a position is a place in this array."""
        if self._ivf is not None and details.nprobe is not None:
            self._ivf.nprobe = details.nprobe
        if details.ef_search is not None:
            index.hnsw.efSearch = details.ef_search

    @property
    def n(self) -> int:
        return self._details.n

    @property
    def d(self) -> int:
        return self._details.d

    @property
    def details(self) -> Details:
        return self._details

    def __repr__(self) -> str:
        return f"VectorIndex(n={self.n}, d={self.d}, factory={self._details.factory!r})"

    @classmethod
    def build(
        cls, path: Path, source: Embeddings, factory: str = "auto", queries: Float32s | None = None
    ) -> Details:
        """Build the index of `source` at `path` (without ending).

        Trains on a sample and adds block by block. `queries` (nq, d) float32 are typical queries, such as the
        other side's vectors; how many lists a search visits is measured with them (without: with a sample of
        the vectors themselves).

        Raises ConfigError for a factory that FAISS refuses.
        """
        n, d = len(source), source.d
        text, reason = factories.resolve(factory, n, d)
        index = factories.make(text, d)
        exact = factories.is_exact(index)
        store_path = Path(f"{path}.fp16.npy")
        np.save(f"{path}.keys.npy", source.keys)
        if exact:  # the codes are the vectors themselves
            for block in source.blocks():
                factories.add(index, text, block.astype(np.float32))
            found = Calibration()
        else:
            xt = source.sample(factories.training_size(index, n), SEED)
            factories.train(index, text, xt)
            queries = xt[:256].copy() if queries is None else queries
            del xt
            with store_path.open("wb") as file:
                header = {"descr": "<f2", "fortran_order": False, "shape": (n, d)}
                np.lib.format.write_array_header_1_0(file, header)
                for block in source.blocks():
                    np.ascontiguousarray(block).tofile(file)
                    factories.add(index, text, block.astype(np.float32))
            found = calibrate(index, VectorStore.open(store_path), queries)
        faiss.write_index(index, f"{path}.faiss")
        files = [Path(f"{path}.faiss"), Path(f"{path}.keys.npy"), *([] if exact else [store_path])]
        details = Details(
            n=n,
            d=d,
            factory=text,
            reason=reason,
            bytes_per_vector=round(sum(file.stat().st_size for file in files) / max(n, 1), 1),
            shortlist_factor=1 if exact else factories.shortlist_factor(index, d),
            **found._asdict(),
        )
        Path(f"{path}.json").write_text(json.dumps(asdict(details), indent=1) + "\n", encoding="utf-8")
        return details

    @classmethod
    def open(cls, path: Path) -> VectorIndex:
        """Open the index at `path` (without ending), memory-mapped. Raises IndexNotFound or IndexCorrupt."""
        details = Details.read(Path(f"{path}.json"))
        index = _read_faiss(Path(f"{path}.faiss"), details.factory)
        keys_path = Path(f"{path}.keys.npy")
        try:
            keys = np.load(keys_path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise IndexCorrupt(
                keys_path, f"the keys cannot be read ({error}); build the index again"
            ) from error
        exact = factories.is_exact(index)
        store = VectorStore.of_codes(index) if exact else VectorStore.open(Path(f"{path}.fp16.npy"))
        for what, found in (("FAISS", index.ntotal), ("keys", len(keys)), ("stored vectors", store.n)):
            if found != details.n:
                raise IndexCorrupt(path, f"{details.n:,} vectors were indexed, but {what} holds {found:,}")
        if store.d != details.d or index.d != details.d:
            raise IndexCorrupt(path, f"vectors have {store.d} dimensions, {details.d} were indexed")
        return cls(index, store, keys, details)

    def searched(self, details: Details) -> VectorIndex:
        """The same vectors, searched from now on as `details` say (`nprobe`, `ef_search`)."""
        return VectorIndex(self._index, self._store, self.keys, details)

    def positions_of(self, keys: Ints) -> Ints:
        """The positions of `keys` (ascending), ascending; keys without a vector on this side are skipped."""
        left = np.searchsorted(self.keys, keys, side="left")
        right = np.searchsorted(self.keys, keys, side="right")
        if np.all(right - left <= 1):
            return left[right > left].astype(np.int64)
        return np.concatenate([np.arange(a, b) for a, b in zip(left, right, strict=True)]).astype(np.int64)

    def stored(self, positions: Ints) -> Float32s:
        """(m, d) float32: the stored vectors at `positions`."""
        return self._store.take(np.asarray(positions, np.int64))

    def blocks(self) -> Iterator[Float16s]:
        """All stored vectors, (m, d) float16, block by block."""
        return self._store.blocks()

    def search(self, xq: Float32s, k: int, positions: Ints | None = None) -> tuple[Float32s, Ints]:
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
        D = np.full((len(xq), k), -np.inf, np.float32)
        I = np.full((len(xq), k), -1, np.int64)  # noqa: E741 (FAISS's own names)
        for row, (scores, at) in enumerate(self._search(xq, k, positions)):
            D[row, : len(scores)] = scores
            I[row, : len(at)] = self.keys[at]
        return D, I

    def _search(self, xq: Float32s, k: int, positions: Ints | None) -> list[tuple[Float32s, Ints]]:
        if positions is None:
            found = self._shortlist(xq, k, None, self.n)
        elif len(positions) <= MAX_SCAN or not isinstance(
            self._index, (*FILTERABLE, faiss.IndexScalarQuantizer)
        ):
            return self._store.search(xq, k, positions)
        else:
            found = self._shortlist(xq, k, self._parameters(positions), len(positions))
        results = [self._store.rank(q, at[at >= 0], k) for q, at in zip(xq, found, strict=True)]
        # Inverted lists may hold fewer than k that pass: what is missing is found by an exact scan.
        passing = self.n if positions is None else len(positions)
        short = [row for row, (_, at) in enumerate(results) if len(at) < min(k, passing)]
        for row, exact in zip(
            short, self._store.search(xq[short], k, positions) if short else [], strict=True
        ):
            results[row] = exact
        return results

    def _shortlist(self, xq: Float32s, k: int, parameters: Any, passing: int) -> Ints:
        """Candidate positions (nq, m), -1 where there are fewer."""
        if factories.is_exact(self._index):
            wanted = k + SPARE
        else:
            wanted = max(factories.MIN_SHORTLIST, k * self._details.shortlist_factor)
        found = self._index.search(xq, min(wanted, passing), params=parameters)[1]
        if found.max(initial=-1) >= self.n:
            raise IndexCorrupt("faiss", "the FAISS index is damaged; run `acml-search verify` on the index")
        return found

    def _parameters(self, positions: Ints) -> Any:
        """FAISS parameters that let only `positions` through: the fewer, the more lists."""
        passes = np.zeros(self.n, bool)
        passes[positions] = True
        bits = np.packbits(passes, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)
        if self._ivf is None:
            return faiss.SearchParameters(sel=selector)
        # Twice as many vectors that pass are compared as without a filter: it may want what lies far from
        # the query. The others cost a bit test each.
        lists = math.ceil(2 * self._ivf.nprobe * self.n / len(positions))
        return faiss.SearchParametersIVF(sel=selector, nprobe=min(self._ivf.nlist, lists))


def _read_faiss(path: Path, factory: str) -> Any:
    if not path.is_file():
        raise IndexCorrupt(path, "the FAISS index is missing; build the index again")
    # Inverted lists have a mapping of their own; everything else is mapped, where it can be, by the other
    # flag.
    flag = faiss.IO_FLAG_MMAP if "IVF" in factory else faiss.IO_FLAG_MMAP_IFC
    try:
        index = faiss.read_index(str(path), flag)
    except (RuntimeError, MemoryError) as error:
        raise IndexCorrupt(path, "FAISS cannot read it; build the index again") from error
    inside = factories.inverted_lists(index)
    lists = None if inside is None else faiss.downcast_InvertedLists(inside.invlists)
    if isinstance(lists, faiss.OnDiskInvertedLists):
        lists.prefetch_nthread = 0  # threads that read ahead cost more than they bring for one query
    return index
