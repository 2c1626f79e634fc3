"""Fixtures of toy benchmarks."""

from evaluation_fixtures import *  # noqa: F403
