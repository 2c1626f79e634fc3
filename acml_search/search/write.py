from acml_search.search.render.files import WRITERS, write_csv  # noqa: F401  # shim
