# fmt: off
# ruff: noqa
# mypy: ignore-errors
from acml_search.evaluation.pool import CHUNK, LibraryStructures, choose, describe  # shim
from acml_search.evaluation.pool import describe_rows, make_pool  # shim
from acml_search.evaluation.pool import Described, Pool, Query, Structure, Text  # shim
