"""Measuring: `data`, `vectors`, `measures`, `ranks` and `rerank` are what the benchmarks are made of."""
