"""Weights of the model acml-research for acml-search: CC BY-NC-SA 4.0, not for commercial use."""
