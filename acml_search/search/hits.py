from acml_search.search.results import Hits  # noqa: F401  # shim
