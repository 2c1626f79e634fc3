"""The figures, from ranks and predictions that are already there."""
