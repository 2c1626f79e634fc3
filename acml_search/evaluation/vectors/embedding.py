# fmt: off
# ruff: noqa
# mypy: ignore-errors
from acml_search.evaluation.embedding import BLOCK, Source, embed  # shim
