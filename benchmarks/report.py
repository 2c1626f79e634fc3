"""`python -m benchmarks report`: results of all benchmarks as one Markdown page with tables and plots.

Every row of the model is compared with the baselines that answered the same question, query by query where
both files of queries are there, and says in words where it is not ahead. The page's order and prose stand in
`report.md.jinja`, the tables that docs show too in `tables.md.jinja`, the plots in `plots`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError
from acml_search.core.io import atomic
from acml_search.evaluation.metrics import bootstrap_interval, hits_at_k, per_molecule

PAGE = "report.md"
KS = ("1", "5", "10", "20")
ORDER = ("c_nmr", "h_nmr", "c_nmr+h_nmr", "lc_ms", "gc_ms", "image", "smiles")
FILTERS = ("all", "5 Da", "10 ppm", "formula")
BASELINES = {"formula": "formula only", "nearest_spectrum": "nearest spectrum", "shifts": "shift matching"}
"""names in tables, in their order"""
COMPARED = ("recall", "isomers")
OF_NO_MODEL = ("index", "properties", "suite")
FURTHER = {
    "stereoisomers": {"accuracy": "accuracy", "chance": "chance"},
    "peaks": {"set error, ppm": "set_error", "median": "median", "90th percentile": "p90"},
    "batches": {"top-1 to molecule": "to-molecule.top.1", "to record": "to-record.top.1"},
    "calibration": {
        "scale": "scale", "ECE before": "valid.before.ece", "after": "valid.after.ece",
        "ECE of the dev split before": "inner.before.ece", "after, crossed": "inner.after.ece",
    },
    "rerank": {
        "weights": "cosine", "and": "evidence", "R@1 by cosine": "inner.cosine.recall.1",
        "by evidence": "inner.evidence.recall.1", "by both, crossed": "inner.together.recall.1",
    },
}  # fmt: skip
"""kinds that are no ranking: their figures by name, and where these stand in the document"""
NOT_SHOWN = ("together", "throughput", "latency")
"""kinds that another result sums up, or that their command prints"""
LOWER_IS_BETTER = ("rmse", "mae", "mse")


class Entry:
    """A result and its file. The document's keys are attributes; those it does not have are None."""

    def __init__(self, document: Mapping[str, Any], path: Path) -> None:
        self.document, self.path = document, path

    def __getattr__(self, name: str) -> Any:
        return self.document.get(name)

    @property
    def leakage(self) -> dict[str, Any]:
        return dict(self.document.get("leakage") or {})

    @property
    def question(self) -> str:
        return self.document.get("question") or self.path.stem

    @property
    def reranked(self) -> bool:
        return bool(self.rerank) and self.kind in COMPARED

    @property
    def maker(self) -> tuple[str, str]:
        """Model and digest: results of different makers do not share a table."""
        return self.model or "no model named", self.model_digest or ""

    @property
    def system(self) -> str:
        if self.baseline is not None:
            return BASELINES.get(self.baseline, self.baseline.replace("_", " "))
        return self.maker[0] + (", re-ranked" if self.reranked else "")

    @property
    def candidates(self) -> str:
        """`all`, `formula`, `5 Da`, `10 ppm`, ..."""
        text = str(self.filter or "all")
        return text.replace("same formula", "formula").replace("neutral exact mass within ", "")

    @property
    def to_record(self) -> bool:
        return self.direction == "to-record"

    @property
    def task(self) -> tuple[object, ...]:
        """Results that agree here can be compared."""
        return (self.maker, self.kind, self.question, self.to_record, self.candidates)

    @property
    def among(self) -> str:
        if self.kind != "recall":
            return str(self.kind)
        return "to record" if self.to_record else self.candidates

    @property
    def first(self) -> float:
        """The figure that systems are compared by: recall at 1, or accuracy."""
        return float(self.recall["1"] if self.kind == "recall" else self.accuracy)

    @property
    def first_interval(self) -> Any:
        return self.ci95["1"] if self.kind == "recall" else self.ci95

    @property
    def chance_first(self) -> float:
        return float(self.chance["1"] if self.kind == "recall" else self.chance)

    @cached_property
    def queries_table(self) -> list[dict[str, Any]]:
        """The queries, one by one; empty where their file is not there."""
        path = self.path.with_name(self.per_query) if self.per_query else None
        return pq.read_table(path).to_pylist() if path is not None and path.is_file() else []


KEYS: dict[str, tuple[str, ...]] = {
    "throughput": ("n", "parse_only_per_second", "end_to_end_per_second", "spread", "stages"),
    "isomers": ("accuracy", "recall"),
    "recall": ("recall", "mrr"),
    "stereoisomers": ("accuracy", "chance"),
    "calibration": ("scale", "temperature"),
    "rerank": ("cosine", "evidence"),
    "together": ("plain",),
    "batches": ("to-molecule", "to-record"),
    "peaks": ("set_error",),
    "baseline": ("baseline", "why_not"),
    "index": ("engines",),
    "properties": ("benchmark", "sets"),
    "latency": ("molecules", "queries", "with_rerank", "without_rerank"),
    "suite": ("results", "seconds"),
}
"""all kinds of results, and keys that each must hold"""


def read_result(path: Path) -> dict[str, Any]:
    """The result document in a file. Raises ConfigError for another file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the result cannot be read ({error.strerror})") from error
    except ValueError:  # of JSON, or of UTF-8
        document = None
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in KEYS:
        named = f" that this version knows: its kind is {kind!r}" if kind else ""
        raise ConfigError(f"{path}: not a result of a benchmark{named}")
    if missing := [key for key in KEYS[kind] if key not in document]:
        raise ConfigError(
            f"{path}: a result of the kind {kind!r} needs {missing[0]!r}; run its benchmark again"
        )
    return dict(document)


def read_results(paths: Sequence[Path]) -> tuple[list[Entry], list[str]]:
    """Results in files and folders, and sentences on files left out. Raises ConfigError if none."""
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: there is no such file or folder of results")
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    entries: dict[object, Entry] = {}
    left_out = []
    resolved = [file.resolve() for file in files]
    for file in (file for i, file in enumerate(files) if resolved.index(resolved[i]) == i):
        try:
            one = Entry(read_result(file), file)
        except ConfigError as error:
            left_out.append(str(error))
            continue
        key: object = (one.task, one.system) if one.modality or one.kind == "baseline" else file
        if key in entries:
            left_out.append(f"{file}: {entries[key].path}, named before it, answers the same question")
        elif one.kind not in NOT_SHOWN:
            entries[key] = one
    if not any(one.kind != "suite" for one in entries.values()):
        raise ConfigError(
            f"{', '.join(map(str, paths))}: no result of a benchmark is among these files; name the folder "
            "that a benchmark wrote with --out, or its JSON files"
        )
    return list(entries.values()), left_out


def make_report(
    paths: Sequence[Path], out: Path, *, into: Path | None = None, command: str | None = None
) -> dict[str, Any]:
    """Write `report.md` and its plots into OUT, and the summary tables into the file `into`.

    Returns `{"page", "plots", "results", "left_out", "not_ahead", "into"}`: paths, the number of results by
    kind, sentences on files that were left out and on rows in which a baseline is not beaten. Raises
    ConfigError where nothing is a result, or `into` has no place for a table; then nothing is written.
    """
    entries, left_out = read_results(paths)
    filled = None if into is None else filled_in(into, entries, command)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is no folder; name one with --out")
    from benchmarks.plots import Plots  # matplotlib is slow to import

    plots = Plots(out / "plots")
    page = render(entries, plots, title="Results", command=command, left_out=left_out)
    for path, text in ((out / PAGE, page), (into, filled)):
        if path is not None and text is not None:
            with atomic(path.resolve()) as temporary:
                temporary.write_bytes(text.encode())
    kinds = [str(one.kind) for one in entries]
    return {
        "page": str(out / PAGE),
        "plots": [str(path) for path in plots.written],
        "results": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "left_out": left_out,
        "not_ahead": not_ahead(entries),
        "into": None if into is None else str(into),
    }


def suite_page(
    summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]], folder: Path = Path()
) -> str:
    """The page that a suite writes beside its results: the tables without plots, and what was skipped."""
    files = ((one, folder / str(one.get("result", f"{one.get('question')}.json"))) for one in results)
    entries = [Entry(one, path) for one, path in files if one["kind"] not in NOT_SHOWN]
    title = f"{summary['model']}: {summary['suite']}"
    return render(entries, None, title=title, command=summary["command"], summary=summary)


def render(entries: Sequence[Entry], plots: Any, *, title: str, command: str | None, **more: Any) -> str:
    """The page. `plots`: None for a page without them."""
    groups = by("maker", (one for one in entries if one.kind not in OF_NO_MODEL))
    pictures: dict[Any, Any] = {}
    if plots is not None:
        for (model, digest), group in groups.items():
            suffix = f"-{model.rsplit('/', 1)[-1]}-{digest[:8]}" if len(groups) > 1 else ""
            pictures[model, digest] = plots.of_model(in_order(group), suffix)
        pictures |= {str(one.path): plots.of_index(one) for one in entries if one.kind == "index"}
    text = template("report.md.jinja").render(
        title=title,
        command=command,
        not_ahead=not_ahead(entries),
        models=[in_order(group) for group in groups.values()],
        entries=entries,
        pictures=pictures,
        **{"left_out": [], "summary": None, **more},
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def template(name: str) -> jinja2.Template:
    """A template of this folder, with the filters for figures, and the groups and comparisons of results."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True
    )
    filters = "share with_interval signed count distinct commands further targets score"
    functions = "by nearest_baseline result_rows best_baseline property_view KS FURTHER"
    environment.filters |= {one: globals()[one] for one in filters.split()}
    environment.globals |= {one: globals()[one] for one in functions.split()}
    return environment.get_template(name)


# --- figures as text ----------------------------------------------------------------------------------------


def share(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def with_interval(value: Any, interval: Any) -> str:
    """`0.689 (0.674 to 0.706)`"""
    if not share(value) or not isinstance(interval, list | tuple) or None in interval:
        return share(value)
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def signed(value: float, interval: Sequence[float] | None = None) -> str:
    """`+0.231 (+0.210 to +0.251)`"""
    return f"{value:+.3f}" + (f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval is not None else "")


def count(n: Any, digits: int = 0) -> str:
    return f"{n:,.{digits}f}" if isinstance(n, int | float) else ""


def distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(one) for one in values if one is not None and one != ""))


def commands(entries: Iterable[Entry]) -> str:
    lines = distinct(one.command for one in entries)
    return "Made by:\n\n```sh\n" + "\n".join(lines) + "\n```" if lines else ""


def further(one: Entry) -> str:
    """What a result says that is no ranking: its figures by name, with the interval of the first."""
    found = {name: value_at(one.document, keys) for name, keys in FURTHER[str(one.kind)].items()}
    texts = [f"{name} {share(value)}" for name, value in found.items() if value is not None]
    if isinstance(one.ci95, list):
        texts[0] += f" ({one.ci95[0]:.3f} to {one.ci95[1]:.3f})"
    return ", ".join(texts)


def value_at(document: Any, keys: str) -> Any:
    """The value at `a.b.c` of a document, None where there is none."""
    for key in keys.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document


def targets(entries: Sequence[Entry]) -> list[tuple[str, str, str, str]]:
    """The targets of questions (`must`) and what was measured; a baseline has none."""
    rows = []
    for one in entries:
        for key, wanted in (one.must or {}).items() if one.baseline is None else ():
            value = value_of(one, key)
            if value is not None:
                at_most = key == "set error"
                reached = value <= wanted if at_most else value >= wanted
                words = f"{'at most' if at_most else 'at least'} {wanted:g}"
                rows.append((f"{one.question} {key}", words, share(value), "yes" if reached else "**no**"))
    return rows


def value_of(one: Entry, key: str) -> float | None:
    """What a target (`"none@10"`, `"isomers"`, `"gain"`) names in a result; None where it is not there."""
    if key == "set error":
        found = one.set_error
    elif key == "gain":
        found = (one.gain or {}).get("recall_at_1")
    else:
        k = key.partition("@")[2]
        found = (one.recall or {}).get(k) if k else one.accuracy
    return None if found is None else float(found)


# --- order and comparison -----------------------------------------------------------------------------------


def place(names: Sequence[str], name: str) -> tuple[int, str]:
    """Sorts by the order of `names`, others after those by themselves."""
    return (names.index(name) if name in names else len(names), name)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """By question, direction and filter, recall before isomers; the model first, then the baselines."""
    return sorted(
        entries,
        key=lambda one: (
            place(ORDER, one.modality or ""), place(ORDER, one.question), one.to_record, one.kind != "recall",
            place(FILTERS, one.candidates), one.baseline is not None, one.reranked,
            place(tuple(BASELINES), one.baseline or ""),
        ),
    )  # fmt: skip


def by(key: str | Callable[[Any], Any], items: Iterable[Any]) -> dict[Any, list[Any]]:
    """Groups by a key, or by the attribute or item of that name."""
    groups: dict[Any, list[Any]] = {}
    for one in items:
        value = key(one) if callable(key) else one[key] if isinstance(one, dict) else getattr(one, key)
        groups.setdefault(value, []).append(one)
    return groups


@dataclass(frozen=True)
class Comparison:
    """The model against one baseline. `interval` is None where only the two figures were compared."""

    baseline: Entry
    difference: float
    interval: tuple[float, float] | None

    @property
    def ahead(self) -> bool:
        """The whole interval is above zero."""
        return self.difference > 0 and (self.interval is None or self.interval[0] > 0)

    @property
    def words(self) -> str:
        by = signed(self.difference, self.interval) + ("" if self.interval else ", not paired")
        if self.ahead:
            return f"ahead; nearest is {self.baseline.system}, {by}"
        behind = self.difference < 0 and (self.interval is None or self.interval[1] < 0)
        return f"**{'behind' if behind else 'not ahead of'} {self.baseline.system}**, {by}"


@cache
def compare(ours: Entry, baseline: Entry) -> Comparison:
    """Paired by query where both files are there, over molecules, with a 95 % bootstrap interval."""
    mine, theirs = _hits(ours), _hits(baseline)
    shared = [row for row in mine if row in theirs]
    if not shared:
        return Comparison(baseline, ours.first - baseline.first, None)
    gains = per_molecule([mine[row][1] - theirs[row][1] for row in shared], [mine[row][0] for row in shared])
    return Comparison(baseline, float(gains.mean()), bootstrap_interval(gains, seed=ours.seed or 0))


def _hits(one: Entry) -> dict[int, tuple[str, float]]:
    """Row of the queries' file -> (molecule, 1.0 where it came first)."""
    rows = one.queries_table
    hits = hits_at_k([np.inf if row["rank"] is None else row["rank"] for row in rows], 1).tolist()
    return {
        row["row"]: (row["molecule"] or f"row {row['row']}", hit) for row, hit in zip(rows, hits, strict=True)
    }


def nearest_baseline(ours: Entry, entries: Sequence[Entry]) -> Comparison | None:
    """The baseline that comes closest, or is furthest ahead. None for a baseline, and where there is none."""
    if ours.baseline is not None or ours.kind not in COMPARED:
        return None
    rivals = [compare(ours, one) for one in entries if one.baseline is not None and one.task == ours.task]
    return min(rivals, key=lambda one: one.difference, default=None)


def not_ahead(entries: Sequence[Entry]) -> list[str]:
    """A sentence for every row in which the model is not ahead of a baseline."""
    rows = [(one, nearest_baseline(one, entries)) for one in entries]
    return [
        f"{one.question}, {one.among}, {one.system}: {nearest.words}."
        for one, nearest in rows
        if nearest is not None and not nearest.ahead
    ]


# --- properties ---------------------------------------------------------------------------------------------


def property_view(one: Entry, brief: bool) -> dict[str, Any]:
    """What the tables show. `brief`: without systems that answered fewer than half of the sets."""
    n_sets = {
        name: sum(_mean(each, name) is not None for each in one.sets)
        for name in dict.fromkeys(name for each in one.sets for name in each["systems"])
    }
    sets = [each for each in one.sets if any(_mean(each, name) is not None for name in n_sets)]
    systems = [name for name, n in n_sets.items() if n and (not brief or 2 * n >= len(sets))]
    unseen = [each for each in sets if any(_mean(each, name, "unseen") is not None for name in systems)]
    outcomes = ("ahead", "within", "behind")
    groups = {title: group for title, group in (one.groups or {}).items() if group.get("ranks")}
    return {
        "sets": sets,
        "systems": systems,
        "unseen": [] if brief else unseen,
        "groups": groups,
        "wins": {name: won for name, won in (one.wins or {}).items() if any(won.get(x) for x in outcomes)},
    }


def property_page(result: Mapping[str, Any]) -> str:
    """The tables of one property benchmark as Markdown."""
    tables: Any = template("tables.md.jinja").module
    text = str(tables.property_tables(Entry(result, Path()), False))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _mean(each: Mapping[str, Any], system: str, key: str = "mean") -> float | None:
    return each["systems"].get(system, {}).get(key)


def score(each: Mapping[str, Any], system: str, systems: Sequence[str], key: str) -> str:
    """A system's mean on a set, the best one bold; over fewer runs than the set has it says so."""
    value, of = _mean(each, system, key), each["systems"].get(system, {})
    if value is None:
        return ""
    values = of.get("values", [])
    n_runs = sum(one is not None for one in values)
    spread = f" ± {of['sd']:.3f}" if key == "mean" and of.get("sd") is not None and n_runs > 1 else ""
    text = f"{value:.3f}{spread}"
    if n_runs < len(values):
        return f"{text} ({n_runs} of {len(values)} runs)"
    return f"**{text}**" if system in best_of(each, systems, key) else text


def best_of(each: Mapping[str, Any], systems: Sequence[str], key: str = "mean") -> set[str]:
    """The best systems of a set among those that did all runs; none where fewer than two did."""
    known = {
        name: value
        for name in systems
        if (value := _mean(each, name, key)) is not None
        and None not in each["systems"][name].get("values", [])
    }
    best = (min if each["metric"].lower() in LOWER_IS_BETTER else max)(known.values(), default=None)
    return {name for name, value in known.items() if value == best} if len(known) > 1 else set()


# --- the tables of docs -------------------------------------------------------------------------------------


def filled_in(path: Path, entries: Sequence[Entry], command: str | None) -> str:
    """The text of a file with new tables between `<!-- results: begin -->` and `<!-- results: end -->`, and
    the same of `properties`; a table without results stays. Raises ConfigError where a file has neither pair,
    or a pair not once, or no table has results.
    """
    old = text = path.read_bytes().decode() if path.is_file() else ""
    tables = template("tables.md.jinja").module
    kinds = {"results": COMPARED, "properties": ("properties",)}
    marks = {name: re.findall(f"<!-- {name}: (begin|end) -->", old) for name in kinds}
    for name, of in kinds.items():
        if marks[name] != ["begin", "end"] and (marks[name] or not any(marks.values())):
            raise ConfigError(
                f"{path}: put the line `<!-- {name}: begin -->` once where the table of {name} is to begin, "
                f"and `<!-- {name}: end -->` once after it; what stands between them is replaced"
            )
        chosen = [one for one in entries if one.kind in of]
        if chosen and marks[name]:
            new = re.sub(r"\n{3,}", "\n\n", getattr(tables, name)(chosen)).strip()
            new += f"\n\nThis table was put here by `{command}`." if command else ""
            pattern = f"(?s)(<!-- {name}: begin -->).*(<!-- {name}: end -->)"
            text = re.sub(pattern, lambda match, new=new: f"{match[1]}\n{new}\n{match[2]}", text)
    if text == old:
        raise ConfigError(f"{path} was left as it was: no result that fills its tables was named")
    return text


def result_rows(entries: Sequence[Entry]) -> list[dict[str, Entry]]:
    """Rows of the table of results: one per question, direction and re-ranking, its results by candidates."""
    mine = in_order(one for one in entries if one.baseline is None and not one.question.endswith("-alone"))
    rows = by(lambda one: (one.modality, one.question, one.to_record, one.reranked), mine)
    return [{one.among if not one.to_record else one.candidates: one for one in row} for row in rows.values()]


def best_baseline(row: Mapping[str, Entry], entries: Sequence[Entry]) -> str:
    """The best baseline with the row's widest filter; and each column in which the model is not ahead."""
    rivals = ([each for each in entries if each.baseline and each.task == one.task] for one in row.values())
    best = next((max(some, key=lambda one: one.first) for some in rivals if some), None)
    if best is None:
        return ""
    filtered = f" ({best.candidates})" if best.candidates != "all" else ""
    nearest = {among: nearest_baseline(one, entries) for among, one in row.items()}
    behind = ", ".join(
        f"{among}: {one.baseline.system} {share(one.baseline.first)}"
        for among, one in nearest.items()
        if one is not None and not one.ahead
    )
    text = f"{best.system} {share(best.first)}{filtered}"
    return f"{text}; **not ahead**: {behind}" if behind else text
