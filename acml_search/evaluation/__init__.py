"""Measuring: `retrieval` asks questions of a model, `metrics` sums the ranks up, `results` writes them."""
