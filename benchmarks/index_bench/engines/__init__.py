"""The engines that `bench index` compares, one class each. A further one is a file and a line here."""

from benchmarks.index_bench.engines.base import Engine
from benchmarks.index_bench.engines.faiss_plain import FaissPlain
from benchmarks.index_bench.engines.ours import Ours
from benchmarks.index_bench.engines.usearch_hnsw import UsearchHnsw

ENGINES: dict[str, type[Engine]] = {"ours": Ours, "faiss": FaissPlain, "usearch": UsearchHnsw}

__all__ = ["ENGINES", "Engine"]
