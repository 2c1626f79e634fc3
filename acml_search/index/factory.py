"""Which FAISS index suits how many vectors, and how far a search in it must look."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.core.typing import Float32s

EXACT = "SQfp16"  # half precision, scanned whole: what is stored is what is compared
EXACT_BELOW = 200_000
TRAIN_PER_LIST = 40  # FAISS warns below 39 training vectors a list
MIN_TRAINING = 10_000
MIN_SHORTLIST = 100


def choose_factory(n: int, d: int) -> tuple[str, str]:
    """The FAISS factory string for `n` vectors of `d` dimensions, and the reason in a sentence.

    Below `EXACT_BELOW` an exact scan takes milliseconds. Above, inverted lists of 8-bit codes narrow the
    search to a shortlist that is scored again from the stored half-precision vectors.
    """
    if n < EXACT_BELOW:
        return EXACT, f"{n:,} vectors: below {EXACT_BELOW:,} an exact scan is fast enough"
    lists = lists_for(n)
    return f"IVF{lists},SQ8", (
        f"{n:,} vectors of {d} dimensions: {lists:,} inverted lists of 8-bit codes give a shortlist, "
        "which is scored again exactly"
    )


def lists_for(n: int) -> int:
    """How many inverted lists suit `n` vectors: a power of two, about 1.5 sqrt(n).

    More would make a search faster by little and training slower by much.
    """
    return int(2 ** round(np.log2(1.5 * np.sqrt(n))))


def resolve(factory: str, n: int, d: int) -> tuple[str, str]:
    """`auto` and `flat` as FAISS strings, anything else as it is; with the reason."""
    if factory == "auto":
        return choose_factory(n, d)
    if factory == "flat":
        return EXACT, "an exact scan, as chosen"
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


def inverted_lists(index: Any) -> Any | None:
    """The IVF inside `index`, also behind a transform or refinement, or None."""
    return faiss.try_extract_index_ivf(index)


def is_exact(index: Any) -> bool:
    """Whether `index` scans half-precision vectors whole: then it is its own exact store."""
    return isinstance(index, faiss.IndexScalarQuantizer) and index.sq.qtype == faiss.ScalarQuantizer.QT_fp16


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
    text = str(error)
    return (
        text.rsplit("failed: ", 1)[-1]
        .rsplit(": Error: ", 1)[-1]
        .split(".cpp:", 1)[-1]
        .split(": ", 1)[-1]
        .strip()
    )
