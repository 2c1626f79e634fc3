"""Asking an index: `open_index(path).search(...)`."""
