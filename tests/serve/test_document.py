"""Whatever /openapi.json allows is answered as it says."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]


def test_every_route_answers_what_the_document_allows(client) -> None:
    document = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    routes = [found.ok() for found in document.get_all_operations()]
    assert {"/api/search", "/api/runs", "/api/molecules/{key}.svg", "/metrics"} <= {
        one.path for one in routes
    }
    for route in routes:

        @seed(31)
        @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(route.as_strategy())
        def ask(case: Case) -> None:
            kwargs = case.as_transport_kwargs(base_url="http://testserver")
            kwargs.pop("cookies", None)
            if isinstance(kwargs.get("data"), bytes | str):  # what requests calls data, httpx2 calls content
                kwargs["content"] = kwargs.pop("data")
            case.validate_response(client.request(**kwargs), checks=CHECKS)

        ask()
