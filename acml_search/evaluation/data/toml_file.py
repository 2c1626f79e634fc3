# fmt: off
# ruff: noqa
# mypy: ignore-errors
from benchmarks.suite.plan import read_toml  # shim
