from acml_search.modalities.evidence import Evidence, Match, Missing, Reranker  # noqa: F401  # shim
