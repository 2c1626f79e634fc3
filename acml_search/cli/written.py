from acml_search.cli.output import check_out  # noqa: F401  # shim
