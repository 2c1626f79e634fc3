# fmt: off
# ruff: noqa
# mypy: ignore-errors
from acml_search.evaluation.metrics import *  # shim
