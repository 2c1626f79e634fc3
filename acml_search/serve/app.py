"""The API and the page as one ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from acml_search import __version__, modalities
from acml_search.core.errors import (
    AcmlSearchError,
    CheckpointError,
    ConfigError,
    IndexCorrupt,
    IndexNotFound,
    IndexReplaced,
    SpaceMismatch,
    shorten,
)
from acml_search.core.workers import cpu_count
from acml_search.library.catalog import sql_seconds
from acml_search.search.render.files import WRITERS, write_run
from acml_search.search.render.html import drawing
from acml_search.search.results import Answer, plain
from acml_search.serve.agents import protocol
from acml_search.serve.gate import LOOPBACK, Gate, Limits, Metrics, Refused, refusal
from acml_search.serve.observations import Given, Upload, endings_of, name_of, observable, sentence
from acml_search.serve.pool import Pool, Shelf
from acml_search.serve.requests import (
    ERRORS,
    KINDS,
    Kind,
    ParseBody,
    RunBody,
    described,
    described_run,
    observed_as,
)
from acml_search.serve.runs import FORMATS, Runs

T = TypeVar("T")

TYPES = {"json": "application/json", "csv": "text/csv", "sdf": "chemical/x-mdl-sdfile", "html": "text/html"}
TYPES["mztab"] = FORMATS["mztab"]
MAX_DRAWN = 500  # characters
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# editor.js is there where it was built: see editor/README.md
PAGE = {
    "/" if one.name == "index.html" else f"/{one.name}": Path(str(one))
    for one in (
        *files("acml_search.serve").joinpath("page").iterdir(),
        files("acml_search.search.render").joinpath("page.css"),
    )
    if one.name.endswith(tuple(_KINDS))
}
_SAID: tuple[tuple[type[AcmlSearchError], Refused], ...] = (
    (IndexReplaced, Refused(503, "the index was replaced while it was asked; ask again", 1)),
    (IndexNotFound, Refused(503, "the index is not there now; it may be built anew; ask again", 5)),
    *(
        (broken, Refused(500, "the index or its model cannot be used; the server's log says why"))
        for broken in (IndexCorrupt, CheckpointError, SpaceMismatch)
    ),
)
"""what is the server's fault, and no business of who asks"""
log = logging.getLogger(__name__)


def create_app(
    indexes: Sequence[Path],
    *,
    model: str | None = None,
    token: str | None = None,
    hosts: Sequence[str] | None = LOOPBACK,
    origins: Sequence[str] = (),
    workers: int | None = None,
    limits: Limits | None = None,
    warm: bool = False,
) -> FastAPI:
    """The application. hosts: names that it may be called by, None for any; see `Gate` for token and
    origins. workers: threads that search; None for one per core. warm: load models at once, not when they
    are first needed. Raises as `Shelf` does."""
    server = Server(indexes, model, limits or Limits(), workers)
    agents = protocol(server)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            threading.Thread(target=server.shelf.warm).start()
        async with agents.session_manager.run():
            yield
        await asyncio.to_thread(server.close)

    app = FastAPI(
        title="acml-search",
        version=__version__,
        summary="Molecules by what was observed of them.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
    )
    for name, kind in KINDS.items():
        app.add_api_route(
            f"/api/{name}", server.route(kind), methods=["POST"], name=name,
            openapi_extra=described(name), response_class=JSONResponse,
        )  # fmt: skip
    app.post("/api/runs", openapi_extra=described_run())(server.run)
    routes: dict[str, Callable[..., Awaitable[Any]]] = {
        "/api/runs/{made}": server.run_state,
        "/api/runs/{made}/events": server.run_events,
        "/api/runs/{made}/result": server.run_result,
        "/api/indexes": server.indexes,
        "/api/map": server.map,
        "/api/molecules/{key}.svg": server.molecule_svg,
        "/api/molecules/{key}.json": server.molecule,
        "/api/structure.svg": server.structure,
        "/health": server.health,
        "/metrics": server.metrics.answer,
    }
    for path, answer in routes.items():
        app.get(path)(answer)
    app.delete("/api/runs/{made}")(server.run_end)
    # stateless: an agent has no session that could be lost; hosts and origins are checked by the gate
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app.router.routes += agents.streamable_http_app(
        stateless_http=True, json_response=True, transport_security=unchecked,
        max_request_body_size=server.limits.body,
    ).routes  # fmt: skip
    for path, file in PAGE.items():
        app.router.add_route(path, partial(_static, file), include_in_schema=False)
    for error in (AcmlSearchError, Refused, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, server.failed)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(
        Gate, limits=server.limits, token=token, hosts=hosts, origins=origins, public={*PAGE, "/health"},
        metrics=server.metrics,
    )  # fmt: skip
    return app


class Server:
    """The answers, by what they are asked for."""

    def __init__(
        self, indexes: Sequence[Path], model: str | None, limits: Limits, workers: int | None = None
    ) -> None:
        self.shelf, self.limits = Shelf(indexes, model), limits
        self.pool = Pool(workers or cpu_count(), limits)
        self.runs = Runs(limits)
        self.metrics = Metrics(lambda: self.pool.open)

    def close(self) -> None:
        """End all searches and runs."""
        for one in (self.pool, self.runs, self.shelf):
            one.close()

    def route(self, kind: Kind) -> Callable[[Request], Awaitable[Response]]:
        """A route whose body is JSON, or where files may be parsed a form with them."""

        async def route(request: Request) -> Response:
            uploads: list[Upload] = []
            content = request.headers.get("content-type", "")
            if kind.body is ParseBody and content.startswith("multipart/form"):
                fields, uploads = await self._form(request)
                body = self.valid(kind.body, fields)
            else:
                body = self.valid(kind.body, _json(await request.body()))
            form = getattr(body, "format", "json")
            more = {"uploads": uploads} if uploads else {}

            def work(given: Given) -> str:
                found = kind.answer(given, *self.shelf.get(body.index), body, **more)
                if not isinstance(found, Answer):
                    return json.dumps(found, ensure_ascii=False)
                return _written(found, form)

            return Response(await self.do(work, request.is_disconnected), media_type=TYPES[form])

        route.__doc__ = kind.answer.__doc__
        return route

    async def _form(self, request: Request) -> tuple[dict[str, Any], list[Upload]]:
        """The fields and the files of a form."""
        uploads, fields = [], {}
        async with request.form(max_files=self.limits.observations, max_fields=20) as form:
            for name, part in form.multi_items():
                if isinstance(part, UploadFile):
                    uploads.append(Upload(part.filename or name, await part.read()))
                else:
                    fields[name] = part
        return fields, uploads

    async def run(self, request: Request) -> dict[str, Any]:
        """Begin a run: a file of many queries (`file`), and how each is answered (`ask`, JSON)."""
        async with request.form(max_files=1, max_fields=1) as form:
            file, ask = form.get("file"), form.get("ask", "{}")
            if not isinstance(file, UploadFile) or not isinstance(ask, str):
                raise Refused(422, "a run is a form with a file, `file`, and JSON, `ask`")
            body = self.valid(RunBody, _json(ask))
            _, index = self.shelf.get(body.index)
            observed_as(body.modality)
            name = shorten(name_of(file.filename or "run"))
            given = (index, body.ask(), file.file, name, endings_of(name))
            return (await asyncio.to_thread(self.runs.start, *given)).to_dict()

    async def run_state(self, made: str) -> dict[str, Any]:
        """How far a run is: `state` is queued, running, done, failed or cancelled."""
        return self.runs.get(made).to_dict()

    async def run_events(self, made: str) -> Response:
        """The same whenever it changes, as server-sent events."""
        return StreamingResponse(self.runs.events(self.runs.get(made)), media_type="text/event-stream")

    async def run_result(self, made: str, format: str = "jsonl") -> Response:
        """The answers: jsonl, csv, tsv, parquet, or a page as html."""
        path = await asyncio.to_thread(self.runs.result, made, format)
        return FileResponse(path, media_type=FORMATS[format])

    async def run_end(self, made: str) -> dict[str, Any]:
        """Cancel a run, or forget one that has ended."""
        return self.runs.end(made).to_dict()

    async def indexes(self) -> dict[str, Any]:
        """The indexes, with the columns that a condition in SQL may name; the modalities; the limits."""
        kinds = [modalities.get(name) for name in observable()]
        return {
            "indexes": [
                {"name": name, "columns": index.columns, "molecules": len(index), "modalities": index.spaces}
                for name, index in self.shelf.indexes.items()
            ],
            "modalities": [
                {
                    **{name: getattr(kind, name) for name in ("name", "title", "unit", "nuclei")},
                    "help": kind.option.help if kind.option else "",
                    "picture": kind.says_reading,
                    "details": list(kind.details),
                    "checks": bool(kind.nuclei) and not kind.made_of,
                }
                for kind in kinds
            ],
            "limits": self.limits.__dict__,
            "version": __version__,
        }

    async def map(self, request: Request, space: str, keys: str = "", index: str | None = None) -> Any:
        """Molecules from all over an index, and the molecules `keys` (1,2,3), in the plane of the first two
        principal axes of a space."""
        _, opened = self.shelf.get(index)
        if not re.fullmatch(r"(\d{1,15}(,\d{1,15}){,99})?", keys):
            raise Refused(422, "keys are numbers, a hundred at most: 1,2,3")
        wanted = [int(key) for key in keys.split(",") if key]

        def work(given: Given) -> dict[str, Any]:
            library = opened.vectors(space)
            if len(library) < 3:
                raise ConfigError("an index of less than three molecules has no map")
            middle = library.mean(axis=0)
            variances, axes = np.linalg.eigh(np.cov((library - middle).T))
            hits = opened.vectors(space, wanted)
            return {
                "molecules": ((library - middle) @ axes[:, :-3:-1]).round(4).tolist(),
                "hits": ((hits - middle) @ axes[:, :-3:-1]).round(4).tolist(),
                "share": round(float(variances[:-3:-1].sum() / variances.sum()), 4),
            }

        return await self.do(work, request.is_disconnected)

    async def molecule(self, request: Request, key: int, index: str | None = None) -> dict[str, Any]:
        """One molecule, with the library's own columns."""
        _, opened = self.shelf.get(index)
        try:
            found = await self.do(lambda given: opened.molecules([key]), request.is_disconnected)
        except (ConfigError, OverflowError) as error:
            raise Refused(404, f"there is no molecule {key}") from error
        return dict(plain(found[0]))

    async def molecule_svg(self, request: Request, key: int, index: str | None = None) -> Response:
        """A drawing of one molecule."""
        return await self.structure(request, (await self.molecule(request, key, index))["smiles"])

    async def structure(self, request: Request, smiles: str) -> Response:
        """A drawing of a structure."""
        if len(smiles) > MAX_DRAWN:
            raise Refused(422, f"a SMILES of {len(smiles):,} characters is not drawn")
        svg = await self.do(lambda given: str(drawing(smiles)), request.is_disconnected)
        if not svg.startswith("<svg "):
            raise Refused(422, "this SMILES cannot be drawn")
        svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        style = (
            "</title><style>.line{fill:none;stroke:#222;stroke-linecap:round}.ink{fill:#222;stroke:#222;"
            "stroke-width:.3}@media(prefers-color-scheme:dark){.line{stroke:#ddd}.ink{fill:#ddd;stroke:#ddd}}"
            "</style>"
        )
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(svg.replace("</title>", style, 1), 200, policy, "image/svg+xml")

    async def health(self) -> dict[str, Any]:
        """Whether the server answers."""
        return {"status": "ok", "version": __version__, "indexes": list(self.shelf.indexes)}

    async def do(self, work: Callable[[Given], T], gone: Callable[[], Awaitable[bool]]) -> T:
        """`work` in the pool, in a folder of its own. gone: whether who asks went away."""

        def run() -> T:
            sql_seconds.set(self.limits.sql_seconds)
            with TemporaryDirectory(prefix="acml-search-") as folder:
                given = Given(Path(folder), self.limits)
                try:
                    return work(given)
                except AcmlSearchError as error:
                    error.args = tuple(given.said(list(error.args)))
                    if notes := getattr(error, "__notes__", None):
                        error.__notes__ = given.said(notes)
                    raise

        return await self.pool.do(run, gone)

    def valid(self, kind: type[BaseModel], document: Mapping[str, Any]) -> Any:
        """The body of a request. Raises Refused (422) for one that is not as it should be."""
        try:
            body = kind.model_validate(document)
        except ValidationError as error:
            raise Refused(422, _first(error.errors())) from error
        k = getattr(body, "k", 1)
        if k > self.limits.k:
            raise Refused(422, f"k is {k:,}; ask for {self.limits.k:,} hits at most")
        return body

    async def failed(self, request: Request, error: Exception) -> Response:
        """The answer that says what went wrong."""
        if isinstance(error, Refused):
            return refusal(error)
        if isinstance(error, HTTPException):
            return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)
        if isinstance(error, RequestValidationError):
            return refusal(Refused(422, _first(error.errors())))
        if not isinstance(error, AcmlSearchError):  # Starlette logs it
            return refusal(Refused(500, "the server failed; its log says why"))
        for kind, refused in _SAID:
            if isinstance(error, kind):
                log.error("%s", error)
                return refusal(refused)
        document = sentence(error)
        document["error"] = self.shelf.said(document["error"])
        return JSONResponse(document, 422)


async def _static(file: Path, request: Request) -> Response:
    return FileResponse(file, media_type=_KINDS[file.suffix])


def _written(answer: Answer, form: str) -> str:
    if form == "mztab":
        document = answer.to_dict()
        document |= {"query": {"row": 0, **document["query"]}, "outcome": "answered"}
        with TemporaryDirectory(prefix="acml-search-") as folder:
            path = Path(folder) / "answer.mztab"
            write_run(lambda: iter([document]), path, form, name="answer", source=Path("query"))
            return path.read_text(encoding="utf-8")
    out = StringIO()
    WRITERS[form](answer, out)
    return out.getvalue()


def _json(text: str | bytes) -> dict[str, Any]:
    """Raises Refused (422) for what is no JSON object."""
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"the body is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise Refused(422, "the body is no JSON object; send one, as /openapi.json shows")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _first(errors: Sequence[Any]) -> str:
    """What is wrong first with a body, as a sentence."""
    where = ".".join(map(str, errors[0]["loc"]))
    if errors[0]["type"] == "extra_forbidden":
        return f"there is no field {where[:80]!r} here; /openapi.json shows those there are"
    return f"{where}: {errors[0]['msg'][0].lower()}{errors[0]['msg'][1:]}"
