from acml_search.search.results import plain  # noqa: F401  # shim
