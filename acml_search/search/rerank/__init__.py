from acml_search.modalities.base import reranked, reranker  # noqa: F401  # shim

RERANKED = frozenset(reranked())  # shim
