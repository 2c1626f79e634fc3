"""What every request passes first: host, origin, token and size; the headers that every answer has; and how
many there were."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """bytes of a body, of a run's file and of what is packed in a file; peaks of a mass spectrum; signals of
    an NMR spectrum; hits; seconds of a search and of its SQL condition; searches that may wait, per one that
    runs; runs that may wait, and that are kept when they are done."""

    body: int = 20 << 20
    run: int = 500 << 20
    unpacked: int = 128 << 20
    peaks: int = 10_000
    signals: int = 500
    k: int = 1_000
    observations: int = 20
    seconds: float = 60.0
    sql_seconds: float = 10.0
    waiting: int = 8
    runs: int = 8
    kept_runs: int = 20


class Refused(Exception):
    """A request that is not answered. status: of HTTP; retry_after: seconds, after which another may be."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after = retry_after


class Gate:
    """ASGI middleware. token: that every path but the `public` ones needs. hosts: names that the server may
    be called by, None for any; a page elsewhere could else reach it by a name of its own (DNS rebinding).
    origins: of pages elsewhere that may ask. metrics: what counts the requests."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        token: str | None,
        hosts: Sequence[str] | None,
        origins: Sequence[str],
        public: Collection[str],
        metrics: Metrics,
    ) -> None:
        self._app, self._limits, self._token, self._hosts = app, limits, token, hosts
        self._origins, self._public, self._metrics = origins, public, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status, taken = time.perf_counter(), 500, 0
        headers = Headers(scope=scope)
        most = self._limits.run if scope["path"] == "/api/runs" else self._limits.body

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        async def received() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise self._too_large(most)
            return message

        try:
            self._check(scope, headers)
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > most:
                raise self._too_large(most)
        except Refused as refused:
            await refusal(refused)(scope, receive, answered)
        else:
            await self._app(scope, received, answered)
        finally:
            route: Any = scope.get("route")
            self._metrics.seen(getattr(route, "path", "other"), status, time.perf_counter() - begun)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raises Refused."""
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if self._hosts is not None and host not in self._hosts:
            raise Refused(421, "this server is not called by that name; call it by its address")
        origin = headers.get("origin")
        own = origin is None or urlsplit(origin).netloc == headers.get("host")
        if not own and origin not in self._origins:
            raise Refused(403, f"pages of {origin} may not ask here; --allow-origin lets them")
        if self._token is None or scope["path"] in self._public or scope["method"] == "OPTIONS":
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), self._token.encode()):
            raise Refused(401, "this server wants its token, as the header Authorization: Bearer TOKEN")

    def _too_large(self, most: int) -> Refused:
        return Refused(413, f"what is sent has more than {most >> 20} MB; send less")


def refusal(refused: Refused) -> JSONResponse:
    """The answer that says why a request is refused."""
    headers = {"retry-after": str(refused.retry_after)} if refused.retry_after is not None else {}
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": str(refused)}, refused.status, headers)


class Metrics:
    """open_searches: how many searches run or wait now."""

    def __init__(self, open_searches: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "acml_search_requests",
            "Requests, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "acml_search_seconds", "Seconds until a request was answered, by route.", ["route"],
            registry=self._registry,
        )  # fmt: skip
        gauge = Gauge("acml_search_open_searches", "Searches that run or wait.", registry=self._registry)
        gauge.set_function(open_searches)

    def seen(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    async def answer(self) -> Response:
        """The counts."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
