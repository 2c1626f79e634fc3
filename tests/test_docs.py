"""README and docs: their code runs, their generated parts are up to date, their links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.main import get_command

from acml_search.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- (?P<how>run|not run): (?P<name>[^>]*) -->\n)?```(?P<language>sh|python)\n(?P<code>.*?)```\n",
    re.S,
)
# tables of results end in the commands that made them: hours of work
GENERATED = re.compile(r"<!-- (results|properties): begin -->.*?<!-- \1: end -->", re.S)


def blocks(page: Path) -> list[dict[str, str]]:
    text = GENERATED.sub("", page.read_text(encoding="utf-8"))
    return [{"page": page.name, **found.groupdict()} for found in BLOCK.finditer(text)]


BLOCKS = [block for page in PAGES for block in blocks(page)]


def run(block: dict[str, str], folder: Path) -> str:
    """What the block prints on stdout; it has to succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = ["bash", "-euo", "pipefail", "-c"] if block["language"] == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*shell, block["code"]], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block['page']}:\n{block['code']}\n{done.stderr}"
    return done.stdout


def test_every_block_says_whether_it_is_run() -> None:
    assert [block["code"] for block in BLOCKS if block["how"] is None] == []


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The folder in which all blocks ran, in their order, README first; and what each printed."""
    folder = tmp_path_factory.mktemp("docs")
    return folder, {block["name"]: run(block, folder) for block in BLOCKS if block["how"] == "run"}


def test_the_search_in_python_is_the_one_of_the_command_line(printed) -> None:
    _, output = printed
    assert len(output["query"].splitlines()) > 6
    assert output["python"] == output["query"]


def test_the_default_library_is_accounted_for(printed) -> None:
    pattern = r"indexes/default: 1\d,\d{3} molecules, [\d,]+ duplicates, [\d,]+ rejected\n"
    assert re.match(pattern, printed[1]["build"])


def test_the_spectrum_finds_its_molecule(printed) -> None:
    assert "CC(=O)Nc1ccc(O)cc1" in printed[1]["identify"].split("\n2")[0]


def test_the_filtered_query_finds_what_it_should(printed) -> None:
    own = printed[1]["own"]
    answer, _ = json.JSONDecoder().raw_decode(own, own.index("{"))
    for hits in answer["lists"]:
        assert [(hit["smiles"], hit["vendor"]) for hit in hits["hits"]] == [("CCO", "A"), ("CC(=O)O", "A")]


def test_the_benchmark_writes_what_the_page_says(printed) -> None:
    folder, _ = printed
    recall = json.loads((folder / "recall.json").read_text())
    assert (recall["n_queries"], recall["n_pool"]) == (3, 3)
    assert (folder / recall["per_query"]).exists()


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_constraints_pin_every_requirement() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line)] == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    for extra in project["project"]["optional-dependencies"].values():
        required += extra
    names = {re.match(r"[A-Za-z0-9-]+", requirement).group().lower() for requirement in required}
    assert names - pinned == set()


def test_the_galaxy_tool_asks_as_the_command_line_does() -> None:
    tool = ElementTree.parse(ROOT / "docs" / "galaxy.xml").getroot()
    command = tool.findtext("command") or ""
    options = {name for one in get_command(app).commands["query"].params for name in one.opts}
    assert set(re.findall(r"(?<=\s)-{1,2}[a-z][a-z-]*", command)) <= options
    given = {one.get("name") for one in tool.iter("param")}
    assert set(re.findall(r"\$(\w+)", command)) == {*given, "hits"}
