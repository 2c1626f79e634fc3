"""The command line, put together."""

from acml_search.cli import bench, train
from acml_search.cli import properties as property_models
from acml_search.cli.app import app, main
from acml_search.cli.index import add, build_index, compact, embed, info, merge, models, push, remove, verify
from acml_search.cli.interpret import attribute, map_, probe
from acml_search.cli.query import check, explain, parse, query, read_images
from acml_search.cli.serve import mcp, serve

for command in (
    build_index, query, explain, check, parse, serve, mcp, read_images, add, remove, compact,
    merge, push, info, verify, embed, models, probe, map_, attribute,
):  # fmt: skip
    app.command(command.__name__.strip("_").replace("_", "-"))(command)
app.add_typer(bench.app, name="bench")
app.add_typer(property_models.app, name="properties")
app.add_typer(train.app, name="train")

__all__ = ["app", "main"]
