"""`acml-search serve`: the page and the API; `acml-search mcp`: the tools of agents."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli.app import IndexModel, say


def serve(
    indexes: Annotated[
        list[Path] | None, typer.Argument(metavar="INDEX", help="Folders of indexes.", readable=False)
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for all, which needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ACML_SEARCH_TOKEN",
            help="What requests must send, as the header Authorization: Bearer TOKEN.",
            show_envvar=True,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Pages of this origin may ask as well; may be repeated."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name that a proxy calls the server by; may be repeated."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Searches at a time. Default: one per core.")
    ] = None,
    model: IndexModel = None,
) -> None:
    """Answer at a page for people and an API for programs, until it is stopped. Only this machine can ask,
    unless --host says otherwise.

    \b
    acml-search serve
    acml-search serve indexes/screening indexes/spectra --port 8080
    ACML_SEARCH_TOKEN=secret acml-search serve --host 0.0.0.0
    """
    from acml_search.core.errors import ConfigError
    from acml_search.core.extras import require
    from acml_search.core.workers import ONE_THREAD

    # searches run side by side: threads inside each of them would only wait for one another
    for name, one in ONE_THREAD.items():
        os.environ.setdefault(name, one)
    require("fastapi", "mcp", "uvicorn", "python_multipart", "prometheus_client")

    import uvicorn

    from acml_search.serve.app import create_app
    from acml_search.serve.gate import LOOPBACK

    local = host in LOOPBACK
    if not local and not token:
        raise typer.BadParameter(f"whoever reaches {host} could ask; set --token", param_hint="'--host'")
    names = [*LOOPBACK, host, *(allow_host or ())] if local or allow_host else None
    app = create_app(
        indexes or [Path("indexes/default")],
        model=model,
        token=token or None,
        hosts=names,
        origins=allow_origin or (),
        workers=workers,
        warm=True,
    )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=2048)
        # inherited by connections: else a body waits 40 ms for the acknowledgement of its header
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{host}:{port} cannot be listened at ({reason}); name another --port") from error
    shown = f"[{host}]" if ":" in host else host
    say(f"http://{shown}:{listening.getsockname()[1]} (Ctrl-C ends it)")
    # longer than clients and proxies keep a connection that nobody uses: else they ask where nobody listens
    config = uvicorn.Config(
        app, log_level="warning", server_header=False, access_log=False, timeout_keep_alive=75
    )
    sys.setswitchinterval(0.001)  # what comes in waits no longer for the searches that run
    uvicorn.Server(config).run(sockets=[listening])


def mcp(
    indexes: Annotated[
        list[Path] | None, typer.Argument(metavar="INDEX", help="Folders of indexes.", readable=False)
    ] = None,
    model: IndexModel = None,
) -> None:
    """Answer an agent at stdin and stdout, by the Model Context Protocol: tools search, parse, check and
    predict_peaks. `acml-search serve` answers the same at http://HOST:PORT/mcp.

    \b
    acml-search mcp
    acml-search mcp indexes/screening indexes/spectra
    """
    from acml_search.core.extras import require

    require("fastapi", "mcp", "python_multipart", "prometheus_client")

    from acml_search.serve.agents import serve_stdio
    from acml_search.serve.app import Server
    from acml_search.serve.gate import Limits

    serve_stdio(Server(indexes or [Path("indexes/default")], model, Limits()))
