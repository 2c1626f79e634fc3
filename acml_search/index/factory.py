"""FAISS indexes built: which one suits how many vectors, and how far a search must look, measured on real
queries instead of guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.core.typing import Float16s, Float32s
from acml_search.index.embeddings import Embeddings, write_npy
from acml_search.index.vectors import (
    CALIBRATED_K,
    MIN_SHORTLIST,
    Details,
    VectorStore,
    inverted_lists,
    is_exact,
)

SEED = 7


def build_vectors(
    path: Path,
    source: Embeddings,
    factory: str = "auto",
    queries: Float32s | None = None,
    *,
    grow: bool = True,
) -> Details:
    """Build the index of `source` at `path` (without ending).

    An index that `source` goes on from grows (unless not `grow`): its lists take the new vectors, where
    their centroids fit these too and the recall stays. Else trains on a sample and adds block by block.
    `queries` (nq, d) float32 are typical queries, such as the other side's vectors; how many lists a search
    visits is measured with them (without: with a sample of the vectors themselves).

    Raises ConfigError for a factory that FAISS refuses.
    """
    n, d = len(source), source.d
    text, reason = resolve(factory, n, d)
    old, kept, said = _growing(source, text) if grow else (None, None, "")
    index = make(text, d) if old is None else old
    exact = is_exact(index)
    store_path = Path(f"{path}.fp16.npy")
    write_npy(Path(f"{path}.keys.npy"), np.int64, (n,), [source.keys])
    if exact:  # the codes are the vectors themselves
        for block in source.blocks():
            add(index, text, block.astype(np.float32))
        found = Calibration()
    else:
        if old is None:
            xt = source.sample(training_size(index, n), SEED)
            train(index, text, xt)
            queries = xt[:256].copy() if queries is None else queries
            del xt
        indexed = index.ntotal

        def added() -> Iterator[Float16s]:
            at = 0
            for block in source.blocks():
                if at >= indexed:
                    add(index, text, block.astype(np.float32))
                at += len(block)
                yield block

        write_npy(store_path, np.float16, (n, d), added())
        queries = source.sample(256, SEED) if queries is None else queries
        found = calibrate(index, VectorStore.open(store_path), queries, kept)
        reached = found.recall_at_10
        if kept and reached and reached < min(TARGET - MAX_LOSS, kept.recall_at_10 or TARGET):
            low = f"built again: with {n - indexed:,} more, recall@10 was {reached}"
            made = build_vectors(path, source, factory, queries, grow=False)
            return _described(path, replace(made, reason=f"{made.reason}; {low}"))
    faiss.write_index(index, f"{path}.faiss")
    files = [Path(f"{path}.faiss"), Path(f"{path}.keys.npy"), *([] if exact else [store_path])]
    details = Details(
        n=n,
        d=d,
        factory=text,
        reason=reason + (f"; {said}" if said else ""),
        bytes_per_vector=round(sum(file.stat().st_size for file in files) / max(n, 1), 1),
        shortlist_factor=1 if exact else shortlist_factor(index, d),
        **found._asdict(),
    )
    return _described(path, details)


def _described(path: Path, details: Details) -> Details:
    Path(f"{path}.json").write_text(json.dumps(asdict(details), indent=1) + "\n", encoding="utf-8")
    return details


MAX_DRIFT = 1.1
MAX_LOSS = 0.005  # of the target recall; measured with 256 queries, it has an error of 0.002


def _growing(source: Embeddings, factory: str) -> tuple[Any, Details | None, str]:
    """The FAISS index that `source` goes on from, to be added to, and how it is searched; None where another
    has to be trained. And which it is, in words, where there is one.

    Centroids fit new vectors that are hardly farther (`MAX_DRIFT` times, as 1 - cosine, on average) from the
    nearest of them than the old ones are.
    """
    before = source.before
    if before is None or factory == EXACT:
        return None, None, ""
    if before.details.factory != factory:
        return None, None, f"built again: it was {before.details.factory}"
    index = before.growing()
    if index is None:
        return None, None, "built again: some were removed, or such an index does not grow"
    new = len(source) - before.n
    said = f"{new:,} new vectors were added to it"
    if isinstance(index, faiss.IndexIVF) and new:
        rng = np.random.default_rng(SEED + 1)  # SEED's are those trained on, which lie nearer
        old_ones = before.stored(np.sort(rng.permutation(before.n)[:MIN_TRAINING]))
        new_ones = source.take(before.n + rng.permutation(new)[:MIN_TRAINING])
        old_far, new_far = (1 - index.quantizer.search(x, 1)[0].mean() for x in (old_ones, new_ones))
        said = f"they are {new_far / old_far:.3f} times as far from the nearest centroid as the old ones"
        if new_far > MAX_DRIFT * old_far:
            return None, None, f"built again for {new:,} new vectors: {said}"
        said = f"{new:,} new vectors were added to its lists: {said}"
    return index, before.details, said


EXACT = "SQfp16"  # half precision, scanned whole: what is stored is what is compared
EXACT_BELOW = 100_000
TRAIN_PER_LIST = 40  # FAISS warns below 39 training vectors a list
MIN_TRAINING = 10_000


def choose_factory(n: int, d: int) -> tuple[str, str]:
    """The FAISS factory string for `n` vectors of `d` dimensions, and the reason in a sentence.

    Below `EXACT_BELOW` an exact scan takes milliseconds. Above, inverted lists of codes of one bit a
    dimension (RaBitQ, Gao and Long 2024) narrow the search to a shortlist that is scored again exactly.
    """
    if n < EXACT_BELOW:
        return EXACT, f"{n:,} vectors: below {EXACT_BELOW:,} an exact scan is fast enough"
    lists = lists_for(n)
    return f"IVF{lists},RaBitQfs", (
        f"{n:,} vectors of {d} dimensions: {lists:,} inverted lists of codes of one bit a dimension give a "
        "shortlist, which is scored again exactly"
    )


def lists_for(n: int) -> int:
    """How many inverted lists suit `n` vectors: a power of two, about 1.5 sqrt(n).

    More would make a search faster by little and training slower by much.
    """
    return int(2 ** round(np.log2(1.5 * np.sqrt(n))))


def resolve(factory: str, n: int, d: int) -> tuple[str, str]:
    """`auto`, `flat` and `fast` as FAISS strings, anything else as it is; with the reason."""
    if factory == "auto":
        return choose_factory(n, d)
    if factory == "flat":
        return EXACT, "an exact scan, as chosen"
    if factory == "fast":
        return "HNSW32,SQ8", "a graph of neighbours, as chosen: fast, but large and slow to build"
    return factory, "as chosen"


def make(factory: str, d: int) -> Any:
    """An empty, untrained FAISS index for inner products. Raises ConfigError for a string FAISS does not
    accept.
    """
    try:
        index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            f"FAISS cannot make an index {factory!r} for {d} dimensions: {_last(error)}"
        ) from error
    ivf = inverted_lists(index)
    if ivf is not None and ivf.nlist < 1:
        raise ConfigError(f"{factory!r} has no inverted lists; ask for one or more, as in IVF1024")
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        raise ConfigError(
            f"leave IDMap out of the factory {factory!r}; the index stores keys in a file of its own"
        )
    return index


def train(index: Any, factory: str, xt: Float32s) -> None:
    """Train on `xt` (nt, d). Raises ConfigError when FAISS cannot, such as more lists than vectors."""
    ivf = inverted_lists(index)
    if ivf is not None:
        ivf.cp.max_points_per_centroid = TRAIN_PER_LIST
    for owner in (ivf, getattr(ivf, "pq", None), getattr(index, "pq", None)):
        if owner is not None:
            owner.cp.min_points_per_centroid = 1  # a small library is the user's choice, not worth a warning
    try:
        index.train(xt)
    except RuntimeError as error:
        raise ConfigError(
            f"FAISS cannot train {factory!r} on {len(xt):,} vectors: {_last(error)}; "
            "use `auto` or a smaller index"
        ) from error


def add(index: Any, factory: str, xb: Float32s) -> None:
    """Add `xb` (nb, d). Raises ConfigError for an index that cannot grow in steps."""
    try:
        index.add(xb)
    except RuntimeError as error:
        raise ConfigError(
            f"FAISS cannot add part by part to {factory!r}: {_last(error)}; use another"
        ) from error


def training_size(index: Any, n: int) -> int:
    """How many of `n` vectors to train on."""
    ivf = inverted_lists(index)
    wanted = MIN_TRAINING if ivf is None else max(MIN_TRAINING, TRAIN_PER_LIST * ivf.nlist)
    return min(n, wanted)


def shortlist_factor(index: Any, d: int) -> int:
    """How many candidates per wanted hit are scored exactly: few for codes of 8 bits a dimension, many below
    that.
    """
    try:
        code = index.sa_code_size()
    except RuntimeError:  # graphs such as HNSW have no code of their own
        storage = getattr(index, "storage", None)
        code = faiss.downcast_index(storage).sa_code_size() if storage is not None else d
    return 4 if code >= d else 20


def _last(error: RuntimeError) -> str:
    """FAISS's own words without its source position."""
    text = str(error).rsplit("failed: ", 1)[-1].rsplit(": Error: ", 1)[-1]
    return text.split(".cpp:", 1)[-1].split(": ", 1)[-1].strip()


TARGET = 0.99  # recall@10 against an exact search
GAIN = 0.0005
"""of recall by looking twice as far; what brings less is limited by the shortlist"""
QUERIES = 256
MAX_CODES = 500_000  # codes compared for one query; about 10 ms with codes of 256 bits
TIE = 1e-6  # scores closer than this are the same place


class Calibration(NamedTuple):
    """Lists visited (IVF), candidates held (HNSW), and the recall@10 measured with them; None where a search
    has no such setting.
    """

    nprobe: int | None = None
    ef_search: int | None = None
    recall_at_10: float | None = None


def calibrate(index: Any, store: VectorStore, queries: Float32s, known: Details | None = None) -> Calibration:
    """Choose `nprobe` or `efSearch` as the smallest power of two that reaches the target recall, within
    reason, for `queries` (nq, d).

    The setting stays on `index`. A target out of reach is not an error: the recall that was reached is
    stored. `known`: the setting that is kept, where only the recall is measured.
    """
    queries = np.ascontiguousarray(queries[:QUERIES], np.float32)
    k = min(CALIBRATED_K, store.n)
    if len(queries) == 0 or k == 0:
        return Calibration()
    truth = np.stack([scores for scores, _ in store.search(queries, k)])
    wanted = min(store.n, max(MIN_SHORTLIST, k * shortlist_factor(index, store.d)))

    def recall() -> float:
        """Share of the first k hits that score as well as the true k-th."""
        right = 0
        for q, at, best in zip(queries, index.search(queries, wanted)[1], truth, strict=True):
            scores, _ = store.rank(q, at[at >= 0], k)
            right += int(np.sum(scores >= best[-1] - TIE))
        return round(right / truth.size, 4)

    fixed = None if known is None else known.nprobe or known.ef_search

    def smallest(owner: Any, name: str, first: int, largest: int) -> tuple[int, float]:
        setting, largest = (first, largest) if fixed is None else (fixed, fixed)
        before = -1.0
        while True:
            setattr(owner, name, setting)
            reached = recall()
            if reached >= TARGET or setting >= largest or reached - before < GAIN:
                return setting, reached
            setting, before = min(2 * setting, largest), reached

    ivf = inverted_lists(index)
    if ivf is not None:
        largest = max(1, min(ivf.nlist, MAX_CODES * ivf.nlist // store.n))
        setting, reached = smallest(ivf, "nprobe", 1, largest)
        return Calibration(nprobe=setting, recall_at_10=reached)
    if isinstance(index, faiss.IndexHNSW):
        setting, reached = smallest(index.hnsw, "efSearch", 16, 1024)
        return Calibration(ef_search=setting, recall_at_10=reached)
    return Calibration(recall_at_10=recall())
