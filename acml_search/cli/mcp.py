"""`acml-search mcp`: the tools of agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options


def mcp(
    indexes: Annotated[
        list[Path] | None, typer.Argument(metavar="INDEX", help="Folders of indexes.", readable=False)
    ] = None,
    model: options.IndexModel = None,
) -> None:
    """Answer an agent at stdin and stdout, by the Model Context Protocol: tools search, parse, check and
    predict_peaks. `acml-search serve` answers the same at http://HOST:PORT/mcp.

    \b
    acml-search mcp
    acml-search mcp indexes/screening indexes/spectra
    """
    from acml_search.core.extras import require

    require("fastapi", "mcp", "python_multipart", "prometheus_client")

    from acml_search.core.workers import cpu_count
    from acml_search.serve.agents import serve_stdio
    from acml_search.serve.app import Server
    from acml_search.serve.limits import Limits
    from acml_search.serve.pool import Shelf

    serve_stdio(Server(Shelf(indexes or [Path("indexes/default")], model), Limits(), cpu_count()))
