from acml_search.nmr.parser import printed_shifts as shift_values  # noqa: F401  # shim
