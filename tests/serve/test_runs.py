"""Runs over HTTP."""

from __future__ import annotations

import io
import json
import threading
import time
from typing import Any

import pyarrow.parquet as pq
import pytest

SPECTRUM = "BEGIN IONS\nTITLE=q{n}\nPEPMASS=152.0706\nION=[M+H]+\n110.06 100\n65.04 {n}\nEND IONS\n"
MGF = "".join(SPECTRUM.format(n=n) for n in range(1, 5)).encode() + b"BEGIN IONS\nPEPMASS=x\n1 1\nEND IONS\n"


def start(client: Any, data: bytes, **ask: Any) -> dict[str, Any]:
    answer = client.post("/api/runs", files={"file": ("my run.mgf", data)}, data={"ask": json.dumps(ask)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ended(client: Any, made: str) -> list[dict[str, Any]]:
    """All states that its events tell."""
    with client.stream("GET", f"/api/runs/{made}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


def test_a_run_is_answered_told_and_written(client) -> None:
    made = start(client, MGF, modality="lc_ms", k=2)["id"]
    last = ended(client, made)[-1]
    assert (last["state"], last["name"], last["done"], last["failed"]) == ("done", "my run.mgf", 5, 1)
    assert client.get(f"/api/runs/{made}").json() == last
    lines = client.get(f"/api/runs/{made}/result").text.splitlines()
    documents = [json.loads(line) for line in lines]
    assert [len(one["lists"][0]["hits"]) for one in documents[:4]] == [1, 1, 1, 1]
    assert documents[0]["query"]["about"]["title"] == "q1"
    assert "error" in documents[4]
    assert "acml-search-runs" not in "".join(lines)
    assert client.get(f"/api/runs/{made}/result?format=csv").text.count("\n") == 6
    assert "5 queries" in client.get(f"/api/runs/{made}/result?format=html").text
    parquet = client.get(f"/api/runs/{made}/result?format=parquet").content
    assert pq.read_table(io.BytesIO(parquet)).num_rows == 5
    assert client.get(f"/api/runs/{made}/result?format=exe").status_code == 422
    assert client.delete(f"/api/runs/{made}").status_code == 200
    assert client.get(f"/api/runs/{made}").status_code == 404


def test_a_run_is_cancelled(client, monkeypatch) -> None:
    begun = threading.Event()

    def slow(*_: Any, watch: Any, **__: Any) -> None:
        begun.set()
        while True:
            time.sleep(0.01)
            watch(type("Report", (), dict.fromkeys(("queries", "failed", "empty", "passed_over"), 0))(), 9)

    monkeypatch.setattr("acml_search.serve.runs.run", slow)
    made = start(client, MGF, modality="lc_ms")["id"]
    assert begun.wait(5)
    assert client.get(f"/api/runs/{made}").json()["state"] == "running"
    assert client.get(f"/api/runs/{made}/result").status_code == 409
    client.delete(f"/api/runs/{made}")
    end = time.monotonic() + 5
    while client.get(f"/api/runs/{made}").json()["state"] == "running" and time.monotonic() < end:
        time.sleep(0.02)
    assert client.get(f"/api/runs/{made}").json()["state"] == "cancelled"


@pytest.mark.parametrize(
    ("data", "ask", "state"), [(b"not spectra", {"modality": "lc_ms"}, "failed"), (b"\0" * 99, {}, "failed")]
)
def test_a_run_that_cannot_be_read_says_why(client, data, ask, state) -> None:
    last = ended(client, start(client, data, **ask)["id"])[-1]
    assert last["state"] == state
    assert last["error"]
    assert "acml-search-runs" not in last["error"]


@pytest.mark.parametrize(
    ("ask", "status"),
    [("[]", 422), ('{"k": 9999}', 422), ('{"modality": "x"}', 422), ('{"index": "x"}', 404)],
)
def test_a_wrong_run_is_refused(client, ask, status) -> None:
    answer = client.post("/api/runs", files={"file": ("a.mgf", MGF)}, data={"ask": ask})
    assert (answer.status_code, "error" in answer.json()) == (status, True)
    assert client.post("/api/runs", data={"ask": "{}"}).status_code == 422
    assert client.get("/api/runs/unknown").status_code == 404
