# fmt: off
# ruff: noqa
# mypy: ignore-errors
from acml_search.evaluation.metrics import GROUP_SIZES as SIZES  # shim
from acml_search.evaluation.metrics import by_group_size as by_size, group_size_summary as sizes_of  # shim
