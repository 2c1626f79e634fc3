"""Benchmarks of acml-search: run them in a checkout with `python -m benchmarks`."""
