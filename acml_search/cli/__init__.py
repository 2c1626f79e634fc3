"""The command line: one small file per command, put together here."""

from acml_search.cli import bench, train
from acml_search.cli import properties as property_models
from acml_search.cli.app import app, main
from acml_search.cli.attribute import attribute
from acml_search.cli.build_index import add, build_index, embed
from acml_search.cli.check import check
from acml_search.cli.explain import explain
from acml_search.cli.inspect import info, models, verify
from acml_search.cli.map import map_
from acml_search.cli.mcp import mcp
from acml_search.cli.parse import parse
from acml_search.cli.probe import probe
from acml_search.cli.query import query
from acml_search.cli.read_images import read_images
from acml_search.cli.serve import serve
from acml_search.cli.upkeep import compact, merge, push, remove

app.command("build-index")(build_index)
app.command()(query)
app.command()(explain)
app.command()(check)
app.command()(parse)
app.command()(serve)
app.command()(mcp)
app.command("read-images")(read_images)
app.command()(add)
app.command()(remove)
app.command()(compact)
app.command()(merge)
app.command()(push)
app.command()(info)
app.command()(verify)
app.command()(embed)
app.command()(models)
app.command()(probe)
app.command("map")(map_)
app.command()(attribute)
app.add_typer(bench.app, name="bench")
app.add_typer(property_models.app, name="properties")
app.add_typer(train.app, name="train")

__all__ = ["app", "main"]
