"""`acml-search serve` starts, and says why where it cannot."""

from __future__ import annotations

import socket

import pytest
from typer.testing import CliRunner

from acml_search.cli import app


@pytest.fixture
def served(monkeypatch) -> list[dict[str, object]]:
    """What the application was made of; nothing is served."""
    made: list[dict[str, object]] = []
    monkeypatch.setattr(
        "acml_search.serve.app.create_app", lambda paths, **how: made.append({"paths": paths, **how})
    )
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: sockets[0].close())
    return made


def test_only_this_machine_may_ask_unless_there_is_a_token(served) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["serve", "--port", "0"]).exit_code == 0
    assert "127.0.0.1" in served[0]["hosts"]
    refused = runner.invoke(app, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert (refused.exit_code, len(served)) == (2, 1)
    told = {"ACML_SEARCH_TOKEN": "secret"}
    assert runner.invoke(app, ["serve", "--host", "0.0.0.0", "--port", "0"], env=told).exit_code == 0
    assert (served[1]["token"], served[1]["hosts"]) == ("secret", None)


def test_a_port_that_is_taken_is_said(served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["serve", "--port", port])
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened at" in result.stderr


def test_an_index_that_is_not_there_is_said(tmp_path) -> None:
    result = CliRunner().invoke(app, ["serve", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "there is no index here" in result.stderr
