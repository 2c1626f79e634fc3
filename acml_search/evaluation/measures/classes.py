# fmt: off
# ruff: noqa
# mypy: ignore-errors
from benchmarks.suite.classes import BITS, by_class, failures, fingerprints, nearest_training  # shim
from benchmarks.suite.classes import class_figures as told  # shim
