"""The same answers for agents, as tools of the Model Context Protocol, in short."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mcp.types as types
from mcp.server.lowlevel import Server as Protocol
from mcp.server.stdio import stdio_server
from pydantic import BaseModel

from acml_search import __version__
from acml_search.core.errors import AcmlSearchError
from acml_search.search.results import Answer
from acml_search.serve.gate import Refused
from acml_search.serve.observations import Given
from acml_search.serve.requests import KINDS, Kind, PredictBody, predict_peaks

if TYPE_CHECKING:
    from acml_search.serve.app import Server

log = logging.getLogger(__name__)

INSTRUCTIONS = """Which molecule of a library gives these spectra? Observations are texts as papers print them
("13C NMR (101 MHz, CDCl3) δ 169.1, 153.2"), lists of numbers, MGF or MSP text, or files in base64; several of
one call are of one compound. `probability` is that of a hit being the compound, `p_in_library` that the
compound is in the library at all: below 0.5, take no hit for the answer. Shifts are in ppm, masses in Da."""
SHOWN = 10  # of what is listed at length

# by name: what it does, what it takes and what answers, and what of the answer an agent would read in vain
TOOLS: dict[str, tuple[str, Kind, tuple[str, ...]]] = {
    "search": (
        "The molecules of a library that fit what was observed of a compound, the likeliest first; or that "
        "are like a structure (smiles).",
        KINDS["search"],
        ("evidence", "occlusion", "peaks"),
    ),
    "parse": (
        "What is understood of a text or of observations: peaks, what was left out and why.",
        KINDS["parse"],
        ("send", "query"),
    ),
    "check": (
        "How probable a structure is by its NMR spectra, which peaks speak against it (misfits), and which "
        "alternatives or positional isomers fit better.",
        KINDS["check"],
        ("evidence", "peaks"),
    ),
    "predict_peaks": (
        "The 13C and 1H shifts that are predicted of a structure, with their expected errors.",
        Kind(PredictBody, predict_peaks),
        (),
    ),
}


def protocol(server: Server) -> Protocol[Any]:
    """The tools of a server."""

    async def listed(_: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    description=said,
                    input_schema=_schema(kind.body),
                    annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
                )
                for name, (said, kind, *_) in TOOLS.items()
            ]
        )

    async def called(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            document = await _answered(server, params.name, params.arguments or {})
        except (AcmlSearchError, Refused) as error:
            return _result("\n".join([server.shelf.said(str(error)), *getattr(error, "__notes__", ())]), True)
        except Exception:
            log.exception("%s", params.name)
            return _result("the server failed; its log says why", True)
        return _result(json.dumps(document, ensure_ascii=False))

    return Protocol(
        "acml-search",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=listed,
        on_call_tool=called,
    )


def serve_stdio(server: Server) -> None:
    """Answer an agent at stdin and stdout, until it closes them."""

    async def run() -> None:
        made = protocol(server)
        async with stdio_server() as (incoming, outgoing):
            await made.run(incoming, outgoing, made.create_initialization_options())

    try:
        asyncio.run(run())
    finally:
        server.close()


async def _answered(server: Server, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a tool. Raises Refused, and AcmlSearchError."""
    if name not in TOOLS:
        raise Refused(404, f"there is no tool {name!r}; there are {', '.join(TOOLS)}")
    _, kind, left_out = TOOLS[name]
    body = server.valid(kind.body, arguments)

    def work(given: Given) -> dict[str, Any]:
        found = kind.answer(given, *server.shelf.get(body.index), body)
        return dict(_short(found.to_dict() if isinstance(found, Answer) else found, left_out))

    async def gone() -> bool:  # one who cancels a call cancels the waiting
        return False

    return await server.do(work, gone)


def _result(text: str, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=is_error)


def _short(document: Any, left_out: Sequence[str]) -> Any:
    if isinstance(document, dict):
        return {
            name: _short(value, left_out)[: SHOWN if name in ("alternatives", "misfits", "better") else None]
            if isinstance(value, list)
            else _short(value, left_out)
            for name, value in document.items()
            if name not in left_out
        }
    return [_short(one, left_out) for one in document] if isinstance(document, list) else document


def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    schema["properties"].pop("format", None)
    return schema
