"""Generate what the code knows of the documentation: `python docs/make.py` (`--check` only compares).

docs/cli.md is written from `acml-search COMMAND --help`. In docs/architecture.md the text between two markers
is replaced: the drawing of the layers, made from the imports, and the tree of the package, a line per file.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
from click import Group
from typer.main import get_command
from typer.testing import CliRunner

from acml_search.cli import app

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "acml_search"


def command_paths(group: Group, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as the words that call it; groups before their commands."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield (*prefix, name)
        if isinstance(command, Group):
            yield from command_paths(command, (*prefix, name))


def cli_reference() -> str:
    """docs/cli.md: the help of every command, 100 columns wide."""
    runner = CliRunner(env={"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"})
    parts = ["# Command line", "", "Generated from `--help` by `python docs/make.py`.", ""]
    for words in ((), *command_paths(get_command(app))):
        shown = runner.invoke(app, [*words, "--help"], prog_name="acml-search").stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines())
        parts += [f"{'##' if len(words) < 2 else '###'} acml-search {' '.join(words)}".rstrip(), ""]
        parts += ["```text", text, "```", ""]
    return "\n".join(parts)


def layers() -> str:
    """A Mermaid drawing: folders of the package, an arrow from each to those it imports directly."""
    graph = grimp.build_graph("acml_search", exclude_type_checking_imports=True, cache_dir=None)
    folders = sorted(child.split(".")[1] for child in graph.find_children("acml_search"))
    folders = [folder for folder in folders if (PACKAGE / folder).is_dir()]
    arrows = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            here, there = (name.split(".")[1:2] for name in (module, imported))
            if here and there and here != there and {*here, *there} <= set(folders):
                arrows.add((here[0], there[0]))
    direct = {(a, b) for a, b in arrows if not any((a, c) in arrows and (c, b) in arrows for c in folders)}
    return "\n".join(["```mermaid", "graph TD", *(f"    {a} --> {b}" for a, b in sorted(direct)), "```"])


def tree() -> str:
    """The files of the package with the first sentence of their docstrings."""
    lines = ["```text"]
    for folder in [PACKAGE, *sorted(path for path in PACKAGE.rglob("*") if path.is_dir())]:
        files = sorted(folder.glob("*.py"))
        inside = folder.relative_to(ROOT)
        described = [(file, first_sentence(file)) for file in files]
        if not any(sentence for _, sentence in described):
            continue
        lines.append(f"{inside}/")
        lines += [f"    {file.name:<22}{sentence}" for file, sentence in described if sentence]
    return "\n".join([*lines, "```"])


def first_sentence(file: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.!?])\s|\n\n", " ".join(text.split("\n\n")[0].split()), maxsplit=1)[0]


def replaced(text: str, name: str, generated: str) -> str:
    """`text` with `generated` between the markers of `name`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, rest = text.split(begin, 1)
    return f"{head}{begin}\n{generated}\n{end}{rest.split(end, 1)[1]}"


def pages() -> dict[Path, str]:
    """Every generated page, as it should be."""
    architecture = ROOT / "docs" / "architecture.md"
    text = replaced(architecture.read_text(encoding="utf-8"), "layers", layers())
    return {ROOT / "docs" / "cli.md": cli_reference(), architecture: replaced(text, "tree", tree())}


def main() -> int:
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date; run: python docs/make.py", file=sys.stderr)
        return bool(stale)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
