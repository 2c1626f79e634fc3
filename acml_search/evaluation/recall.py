# fmt: off
# ruff: noqa
# mypy: ignore-errors
from pathlib import Path  # shim
from typing import Any  # shim
from acml_search.evaluation.retrieval import LEAKAGE as SEEN  # shim
from acml_search.evaluation.retrieval import Filter, Question, check_space, measure_files  # shim
class RecallOptions:  # shim
    def __init__(self, modality: str, queries: Path, out: Path, library: Any = (), model: str = "acml-base", workers: int | None = None, seed: int = 0, command: str | None = None, cache: Path | None = None, **more: Any) -> None:  # shim
        self.out, self.run = Path(out), {"model": model, "workers": workers, "seed": seed, "command": command, "cache": cache}  # shim
        wanted = Filter(formula=more.pop("formula_filter", False), da=more.pop("mass_filter_da", None), ppm=more.pop("mass_filter_ppm", None))  # shim
        leakage: Any = more.pop("seen", "report")  # shim
        self.question = Question(name=str(queries), modality=modality, queries=queries, library=tuple(library), filters=(wanted,), leakage=leakage, **more)  # shim
def measure_recall(options: RecallOptions) -> dict[str, Any]:  # shim
    return measure_files(options.question, options.out, **options.run).document()  # type: ignore  # shim
