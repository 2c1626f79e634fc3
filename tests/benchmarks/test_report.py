"""`bench report`: the figures of the page are those of the results, and what is not ahead says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report_files import (
    DIGEST,
    write_calibration,
    write_index,
    write_isomers,
    write_properties,
    write_recall,
)
from typer.testing import CliRunner

from acml_search.core.errors import ConfigError
from benchmarks.__main__ import app
from benchmarks.plots import front
from benchmarks.report import best_of, make_report, nearest_baseline, not_ahead, read_results, suite_page

# 40 molecules: the model has 30 first, one fails
OURS = [1] * 30 + [3] * 9 + [None]
WORSE = [1] * 5 + [50] * 35
BETTER = [1] * 40
README = "# Title\n\n<!-- results: begin -->\nold\n<!-- results: end -->\nlast line, no newline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("results")
    more = {"pools": (100, 1_000, 5_000)}
    write_recall(place, "c_nmr", OURS, **more)
    write_recall(place, "c_nmr.baseline-formula", WORSE, baseline="formula", **more)
    write_recall(place, "c_nmr.5-da", OURS, asks="5 Da", n_candidates=[60] * 40)
    write_recall(place, "c_nmr.baseline-shifts.5-da", BETTER, asks="5 Da", baseline="shifts")
    write_recall(place, "c_nmr.formula", OURS, asks="formula", n_candidates=[4] * 40)
    write_isomers(place, "c_nmr.isomers", [1] * 20 + [2] * 12, [2] * 16 + [7] * 16)
    write_calibration(place)
    write_index(place)
    write_properties(place)
    (place / "c_nmr.baseline-shifts.json").write_text(
        json.dumps(
            {"kind": "baseline", "question": "c_nmr", "baseline": "shifts", "why_not": "no spectra"}
            | {"modality": "c_nmr", "model": "toy", "model_digest": DIGEST}
        )
    )
    (place / "notes.json").write_text("[1, 2]")
    (place / "broken.json").write_text("{")
    return place


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory) -> tuple[str, dict, Path]:
    out = tmp_path_factory.mktemp("page")
    written = make_report([folder], out, command="python -m benchmarks report r --out page")
    return (out / "report.md").read_text(), written, out


def row(page: str, *parts: str) -> list[str]:
    """The cells of the one table row that holds all of `parts`."""
    lines = [line for line in page.splitlines() if line.startswith("|") and all(x in line for x in parts)]
    assert len(lines) == 1, lines
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


def test_figures_are_those_of_the_results(made, folder) -> None:
    page, _, _ = made
    data = json.loads((folder / "c_nmr.json").read_text())
    low, high = data["ci95"]["1"]
    cells = row(page, "| c_nmr | all | toy |")
    assert cells[3] == f"0.750 ({low:.3f} to {high:.3f})"  # 30 of 40
    assert cells[4] == "0.975"  # 39 of 40 within five
    assert cells[8:13] == ["0.0002", "5,000", "40", "1", "0"]
    assert row(page, "| c_nmr | formula |")[8:10] == ["0.25", "4"]
    assert row(page, "| c_nmr | isomers |")[3].startswith("0.625 (")
    assert "A tie is a miss" in page


def test_rows_say_whether_the_model_is_ahead(made) -> None:
    page, written, _ = made
    # the same molecules: 30 against 5 first, and 30 against 40
    assert row(page, "| c_nmr | all | toy |")[-1].startswith("ahead; nearest is formula only, +0.625 (+0.")
    assert row(page, "| c_nmr | 5 Da | toy |")[-1].startswith("**behind shift matching**, -0.250 (-0.")
    assert row(page, "| c_nmr | formula | toy |")[-1] == ""
    assert "**not ahead** of every baseline in:\n\n- c_nmr, 5 Da, toy: " in page
    assert [line.split(":")[0] for line in written["not_ahead"]] == ["c_nmr, 5 Da, toy"]
    assert "- c_nmr: shift matching: no spectra" in page


def test_no_clear_difference_is_not_ahead(tmp_path) -> None:
    for name, theirs, words in (
        ("a", [1] * 29 + [3] * 11, "+0.025 ("),  # one molecule is no difference
        ("b", [1] * 30 + [3] * 10, "+0.000 (+0.000 to +0.000)"),
    ):
        write_recall(tmp_path / name, "c_nmr", OURS)
        write_recall(tmp_path / name, "c_nmr.baseline-shifts", theirs, baseline="shifts")
        (sentence,) = not_ahead(read_results([tmp_path / name])[0])
        assert f"**not ahead of shift matching**, {words}" in sentence


def test_queries_are_paired_where_both_files_are_there(tmp_path) -> None:
    # ten of the queries were re-ranked; the baseline has these first, and none of the other thirty
    write_recall(tmp_path, "c_nmr.rerank", [1] * 10, asks="rerank none")
    write_recall(tmp_path, "c_nmr.baseline-shifts", [1] * 10 + [9] * 30, baseline="shifts")
    assert not_ahead(read_results([tmp_path])[0]) == [
        "c_nmr, all, toy, re-ranked: **not ahead of shift matching**, +0.000 (+0.000 to +0.000)."
    ]
    (tmp_path / "c_nmr.baseline-shifts.queries.parquet").unlink()
    ours = next(one for one in read_results([tmp_path])[0] if one.baseline is None)
    words = nearest_baseline(ours, read_results([tmp_path])[0]).words
    assert words == "ahead; nearest is shift matching, +0.750, not paired"


def test_other_kinds_have_their_tables(made) -> None:
    page, _, _ = made
    assert row(page, "| acml-search auto | IVF4096,SQ8 |")[2:5] == ["0.990 (0.980 to 1.000)", "2.00", "3.00"]
    assert row(page, "| esol | rmse ↓ | 1,117 |")[3:] == ["**0.900 ± 0.020**", "1.200 ± 0.030", ""]
    assert row(page, "| bbbp | roc-auc ↑ |")[3:] == [
        "0.700 ± 0.010",
        "**0.720 ± 0.010**",
        "0.730 (1 of 2 runs)",
    ]
    assert row(page, "| esol | rmse ↓ | 12 |")[3:] == ["**0.950**", "1.250", ""]
    assert row(page, "| acml | 1.50 |")
    assert row(page, "| fingerprints | acml against morgan |")[2:] == ["1", "0", "1", "bbbp"]
    assert "- esol, chemprop: no time" in page
    assert row(page, "| c_nmr isomers | at least 0.99 |")[2:] == ["0.625", "**no**"]
    assert "- c_nmr, calibration: scale 20.000, ECE of the dev split before 0." in page
    assert "python -m benchmarks index --out index.json" in page


def test_plots_are_written_and_shown(made) -> None:
    page, written, out = made
    names = {Path(path).stem for path in written["plots"]}
    assert names == {"isomers", "index"}
    for name in names:
        assert f"](plots/{name}.png)" in page
        assert (out / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (out / "plots" / f"{name}.svg").read_bytes()


def test_the_same_results_give_the_same_bytes(made, folder, tmp_path) -> None:
    _, _, out = made
    make_report([folder / "index.json"], tmp_path)
    for kind in ("png", "svg"):
        assert (tmp_path / f"plots/index.{kind}").read_bytes() == (out / f"plots/index.{kind}").read_bytes()


def test_what_is_no_result_is_named(made, folder, tmp_path) -> None:
    _, written, _ = made
    assert [line.split(": ", 1) for line in written["left_out"]] == [
        [str(folder / name), "not a result of a benchmark"] for name in ("broken.json", "notes.json")
    ]
    write_index(tmp_path)
    (tmp_path / "odd.json").write_text(json.dumps({"kind": "index"}))
    (tmp_path / "other.json").write_text(json.dumps({"kind": "ablation"}))
    odd, other = read_results([tmp_path])[1]
    assert "needs 'engines'; run its benchmark again" in odd
    assert "not a result of a benchmark" in other


def test_two_answers_to_one_question_are_not_mixed(tmp_path) -> None:
    write_recall(tmp_path / "a", "c_nmr", OURS)
    write_recall(tmp_path / "b", "c_nmr", BETTER)
    entries, left_out = read_results([tmp_path / "a", tmp_path / "b"])
    assert len(entries) == 1
    assert "named before it, answers the same" in left_out[0]
    entries, left_out = read_results([tmp_path / "a", tmp_path / "a" / "c_nmr.json"])
    assert (len(entries), left_out) == (1, [])


def test_models_stand_apart(tmp_path) -> None:
    for name, digest in (("a", DIGEST), ("b", "f" * 64)):
        write_recall(tmp_path / name, "c_nmr", OURS, model_digest=digest)
        write_isomers(tmp_path / name, "c_nmr.isomers", [1] * 20, [2] * 20, model_digest=digest)
    written = make_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    page = (tmp_path / "out/report.md").read_text()
    assert "results of 2 models or states of a model" in page
    assert f"## Retrieval: toy ({DIGEST[:12]})" in page
    assert "## Retrieval: toy (ffffffffffff)" in page
    assert "isomers-toy-ffffffff.png" in {Path(path).name for path in written["plots"]}
    docs = tmp_path / "docs.md"
    docs.write_text(README)
    make_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out", into=docs)
    assert "toy, digest `ffffffffffff`:" in docs.read_text()


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_nothing_to_report_is_an_error(tmp_path, name) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=name):
        make_report([tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_page_of_docs_keeps_every_other_byte(folder, tmp_path) -> None:
    docs = tmp_path / "benchmarks.md"
    docs.write_text(README)
    make_report([folder], tmp_path / "out", into=docs, command="python -m benchmarks report X")
    text = docs.read_text()
    assert text.startswith("# Title\n\n<!-- results: begin -->\n")
    assert text.endswith("\n<!-- results: end -->\nlast line, no newline")
    assert "old" not in text
    cells = row(text, "| `c_nmr` |")
    assert cells[1:3] == ["5,000", "40"]
    assert cells[3].startswith("0.750 (")
    assert cells[4:9] == ["0.975", "0.750", "", "0.750", "0.625"]
    assert cells[9] == "formula only 0.125; **not ahead**: 5 Da: shift matching 1.000"
    assert "python -m benchmarks suite benchmarks/c_nmr.toml" in text
    assert "`python -m benchmarks report X`" in text


@pytest.mark.parametrize(
    "text",
    [
        "no markers",
        "<!-- results: begin -->",
        "<!-- results: end -->\n<!-- results: begin -->",
        README + README,
    ],
)
def test_a_readme_without_a_place_is_left_as_it_is(folder, tmp_path, text) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes(text.encode())
    with pytest.raises(ConfigError, match="put the line `<!-- results: begin -->` once where"):
        make_report([folder], tmp_path / "out", into=readme)
    assert readme.read_bytes() == text.encode()
    assert not (tmp_path / "out").exists()


def test_the_readme_takes_the_tables_it_has_room_for(folder, tmp_path) -> None:
    readme = tmp_path / "README.md"
    both = (
        "<!-- results: begin -->\nkept\n<!-- results: end -->\n"
        "<!-- properties: begin -->\nold\n<!-- properties: end -->\n"
    )
    readme.write_text(both)
    alone = tmp_path / "alone"
    alone.mkdir()
    write_properties(alone)
    make_report([alone], tmp_path / "out", into=readme)
    text = readme.read_text()
    assert text.startswith("<!-- results: begin -->\nkept\n<!-- results: end -->\n")
    assert "old" not in text
    assert "python -m benchmarks properties benchmarks/toynet.toml" in text
    assert "| esol | rmse ↓ | 1,117 | **0.900 ± 0.020** | 1.200 ± 0.030 |" in text
    assert "### toynet" not in text


def test_a_pareto_front() -> None:
    # cost, recall: (2, 0.5) costs more than (1, 0.6) and finds less
    assert front([(2, 0.5), (1, 0.6), (3, 0.9), (3, 0.8), (4, 0.9)]) == [(1, 0.6), (3, 0.9)]


def test_the_best_of_a_metric() -> None:
    def best(metric: str, **means: float | None) -> set[str]:
        systems = {name: {"mean": mean} for name, mean in means.items()}
        return best_of({"metric": metric, "systems": systems}, list(means))

    assert best("rmse", a=1.0, b=0.5, c=None) == {"b"}
    assert best("roc-auc", a=0.7, b=0.7) == {"a", "b"}
    assert best("roc-auc", a=0.7, b=None) == set()


def test_docs_tell_benchmarks_apart(tmp_path) -> None:
    one = write_properties(tmp_path)
    systems = {"acml": {"mean": 0.9, "sd": 0.0, "values": [0.9]}}
    groups = {"features": {"ranks": {"acml": 1.0, "untrained": 2.0}, "sets": ["one"]}}
    sets = [{"set": "one", "metric": "roc-auc", "n": 10, "systems": systems}]
    other = {**one, "benchmark": "othernet", "sets": sets, "groups": groups, "wins": {}}
    (tmp_path / "othernet.json").write_text(json.dumps(other))
    docs = tmp_path / "properties.md"
    docs.write_text("<!-- properties: begin -->\n<!-- properties: end -->\n")
    make_report([tmp_path / "toynet.json", tmp_path / "othernet.json"], tmp_path / "out", into=docs)
    text = docs.read_text()
    assert text.index("### toynet\n\n| set |") < text.index("### othernet\n\n| set |")
    assert "| set | metric | molecules | acml |\n" in text
    assert "| acml | 1.00 |" in text


def test_the_suites_page(folder) -> None:
    summary = {
        "suite": "toy.toml", "model": "toy", "model_digest": DIGEST, "command": None, "spaces": ["c_nmr"],
        "skipped": [{"question": "x", "why": "no space"}], "n_molecules": 9, "workers": 1,
        "seconds": {"embed": 1.0}, "peak_memory_mb": {"main": 1.0, "largest_worker": 2.0},
    }  # fmt: skip
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("c_nmr*.json"))]
    page = suite_page(summary, results, folder)
    assert row(page, "| c_nmr | 5 Da | toy |")[-1].startswith("**behind shift matching**")
    assert "- x: no space" in page
    assert "c_nmr, calibration: scale" in page


def test_the_command(folder, tmp_path) -> None:
    done = CliRunner().invoke(app, ["report", str(folder / "index.json"), "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["results"] == {"index": 1}
    failed = CliRunner().invoke(app, ["report", str(tmp_path / "x.json"), "--out", str(tmp_path)])
    assert failed.exit_code == 1
    assert "x.json: there is no such file or folder of results" in failed.stderr


def test_intervals_of_failures_are_misses(tmp_path) -> None:
    write_recall(tmp_path, "all", [None] * 5)
    (one,), _ = read_results([tmp_path])
    assert one.recall["1"] == 0
    assert np.isfinite(one.mrr)
