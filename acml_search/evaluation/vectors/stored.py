# fmt: off
# ruff: noqa
# mypy: ignore-errors
from acml_search.evaluation.embedding import PART, graph_vectors  # shim
from acml_search.evaluation.embedding import MoleculeVectors as StoredVectors  # shim
