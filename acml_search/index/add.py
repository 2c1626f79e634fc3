from acml_search.index.build import add_library as add_library  # shim
