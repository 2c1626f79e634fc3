from acml_search.search.render.html import drawing as draw  # noqa: F401  # shim
