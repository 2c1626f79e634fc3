# fmt: off
# ruff: noqa
# mypy: ignore-errors
from acml_search.evaluation.pool import QueryFile, read_queries  # shim
