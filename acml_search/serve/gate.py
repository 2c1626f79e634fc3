"""What every request passes first: host, origin, token and size; and the headers that every answer has."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acml_search.serve.limits import Limits, Refused

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Gate:
    """ASGI middleware. token: that every path but the `public` ones needs. hosts: names that the server may
    be called by, None for any; a page elsewhere could else reach it by a name of its own (DNS rebinding).
    origins: of pages elsewhere that may ask. seen: what counts requests, by route, status and seconds."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        token: str | None,
        hosts: Sequence[str] | None,
        origins: Sequence[str],
        public: Callable[[str], bool],
        seen: Callable[[str, int, float], None],
    ) -> None:
        self._app, self._limits, self._token, self._hosts = app, limits, token, hosts
        self._origins, self._public, self._seen = origins, public, seen

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
            self._seen(getattr(route, "path", "other"), status, time.perf_counter() - begun)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raises Refused."""
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if self._hosts is not None and host not in self._hosts:
            raise Refused(421, "this server is not called by that name; call it by its address")
        origin = headers.get("origin")
        own = origin is None or urlsplit(origin).netloc == headers.get("host")
        if not own and origin not in self._origins:
            raise Refused(403, f"pages of {origin} may not ask here; --allow-origin lets them")
        if self._token is None or self._public(scope["path"]) or scope["method"] == "OPTIONS":
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
