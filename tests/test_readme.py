"""The README's code is run, in its order, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- (?P<how>run|not run): (?P<name>[^>]*) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)```\n", re.S
)
# The tables that `bench report` puts there end in the commands that made them: hours of work.
OURS = re.sub(r"<!-- (results|properties): begin -->.*?<!-- \1: end -->", "", README, flags=re.S)
BLOCKS = [found.groupdict() for found in BLOCK.finditer(OURS)]


def run(block: dict[str, str], folder: Path) -> str:
    """What the block prints on stdout; it has to succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = ["bash", "-euo", "pipefail", "-c"] if block["language"] == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*shell, block["code"]], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block['code']}\n{done.stderr}"
    return done.stdout


def test_every_block_says_whether_it_is_run() -> None:
    assert [block["code"] for block in BLOCKS if block["how"] is None] == []
    assert {block["language"] for block in BLOCKS if block["how"] == "run"} == {"sh", "python"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The folder the blocks were run in, and what each printed."""
    folder = tmp_path_factory.mktemp("readme")
    return folder, {block["name"]: run(block, folder) for block in BLOCKS if block["how"] == "run"}


def test_the_search_in_python_is_the_one_of_the_command_line(ran) -> None:
    _, printed = ran
    assert len(printed["query"].splitlines()) > 6
    assert printed["python"] == printed["query"]


def test_the_default_library_is_accounted_for(ran) -> None:
    assert re.match(
        r"indexes/default: 1\d,\d{3} molecules, [\d,]+ duplicates, [\d,]+ rejected\n", ran[1]["build"]
    )


def test_the_filtered_query_finds_what_it_should(ran) -> None:
    answer, _ = json.JSONDecoder().raw_decode(ran[1]["own"], ran[1]["own"].index("{"))
    for found in answer["lists"]:
        assert [(hit["smiles"], hit["vendor"]) for hit in found["hits"]] == [("CCO", "A"), ("CC(=O)O", "A")]


def test_the_benchmarks_write_what_the_readme_says(ran) -> None:
    folder, _ = ran
    recall = json.loads((folder / "recall.json").read_text())
    assert (recall["n_queries"], recall["n_pool"]) == (3, 3)
    assert (folder / recall["per_query"]).exists()
    assert json.loads((folder / "throughput.json").read_text())["n"] == 200


def test_every_command_is_in_the_readme() -> None:
    from acml_search.cli import app

    names = {info.name or info.callback.__name__ for info in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    assert [
        name
        for name in sorted(names)
        if not re.search(rf"`(acml-search )?{name}\b|acml-search {name}\b", README)
    ] == []


def test_constraints_are_names_and_versions_of_what_is_required() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line)] == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    names = {re.match(r"[A-Za-z0-9-]+", requirement).group().lower() for requirement in wanted}
    assert names - pinned == set()
