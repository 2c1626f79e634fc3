from acml_search.ms.io.base import plain_name as plain  # noqa: F401  # shim
