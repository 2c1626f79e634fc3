"""What a server counts, in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.responses import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)


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
