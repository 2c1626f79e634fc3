from acml_search.modalities.nmr import ShiftArrays, ShiftModality  # noqa: F401  # shim
