"""The engines that `bench index` compares, one class each. A further one is a file and a line here."""

from acml_search.evaluation.index_bench.engines.base import Engine
from acml_search.evaluation.index_bench.engines.faiss_plain import FaissPlain
from acml_search.evaluation.index_bench.engines.ours import Ours
from acml_search.evaluation.index_bench.engines.usearch_hnsw import UsearchHnsw

ENGINES: dict[str, type[Engine]] = {"ours": Ours, "faiss": FaissPlain, "usearch": UsearchHnsw}

__all__ = ["ENGINES", "Engine"]
