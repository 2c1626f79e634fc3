from acml_search.search.render.formatting import clean  # noqa: F401  # shim
