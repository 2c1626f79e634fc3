from acml_search.modalities.nmr import ShiftReranker  # noqa: F401  # shim
