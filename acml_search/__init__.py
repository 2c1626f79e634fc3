"""Search molecules by what was observed of them.

    >>> import acml_search
    >>> acml_search.build_index(["library.smi"], out="indexes/mine")        # doctest: +SKIP
    >>> print(acml_search.open_index("indexes/mine").search(smiles="CCO"))  # doctest: +SKIP

The names below are the public surface. Each is imported when first used, so that `import acml_search`
itself brings in neither torch nor FAISS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acml_search.index.build import build_index
    from acml_search.networks.pyg import to_pyg
    from acml_search.search.check import check
    from acml_search.search.encode import encode
    from acml_search.search.pipeline import open_index
    from acml_search.search.results import Hits
    from acml_search.serve.client import Client

__version__ = "0.1.0"

__all__ = ["Client", "Hits", "__version__", "build_index", "check", "encode", "open_index", "to_pyg"]

_HOME = {
    "Client": "acml_search.serve.client",
    "Hits": "acml_search.search.results",
    "build_index": "acml_search.index.build",
    "check": "acml_search.search.check",
    "encode": "acml_search.search.encode",
    "open_index": "acml_search.search.pipeline",
    "to_pyg": "acml_search.networks.pyg",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return __all__
