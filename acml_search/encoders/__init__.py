"""Checkpoints: `card` reads what a model is, `model` (which imports torch) runs it."""
