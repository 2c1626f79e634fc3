"""Agents use the tools by the protocol's own client."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import mcp
import pytest
from mcp.client.stdio import StdioServerParameters

import acml_search
from acml_search.search.results import plain

CARBON = "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
PROGRAM = ["-c", "from acml_search.cli import main; main()", "mcp"]
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "search": ("search", {"c_nmr": CARBON, "formula": "C8H9NO2", "k": 2}),
    "parse": ("parse", {"text": "1H NMR (400 MHz, CDCl3) δ 7.31 (d, 2H), 2.10 (s, 3H)."}),
    "check": ("check", {"smiles": "CC(=O)Nc1ccc(O)cc1", "c_nmr": CARBON, "isomers": True}),
    "predict": ("predict_peaks", {"smiles": "OC(=O)C"}),
    "path": ("search", {"c_nmr": "/etc/hostname"}),
    "field": ("search", {"c_nmr": CARBON, "colour": "red"}),
    "tool": ("destroy", {}),
}


@pytest.fixture(scope="module")
def answers(index: Path) -> dict[str, Any]:
    """What a server at stdin and stdout answers, and under `tools` what it has."""

    async def ask() -> dict[str, Any]:
        program = StdioServerParameters(command=sys.executable, args=[*PROGRAM, str(index)])
        async with mcp.Client(program) as client:
            tools = (await client.list_tools()).tools
            found = {name: await client.call_tool(*call) for name, call in CALLS.items()}
        return {"tools": {tool.name: tool for tool in tools}, **found}

    return asyncio.run(ask())


def document(answer: Any) -> dict[str, Any]:
    (content,) = answer.content
    assert not answer.is_error, content.text
    return dict(json.loads(content.text))


def test_the_tools_say_what_they_take(answers) -> None:
    tools = answers["tools"]
    assert set(tools) == {"search", "parse", "check", "predict_peaks"}
    taken = tools["search"].input_schema["properties"]
    assert {"c_nmr", "lc_ms", "formula", "where", "k"} <= set(taken)
    assert "format" not in taken
    assert tools["check"].input_schema["required"] == ["smiles"]


def test_answers_are_those_of_the_index_in_short(answers, index) -> None:
    found = document(answers["search"])
    with acml_search.open_index(index) as opened:
        expected = plain(opened.identify({"c_nmr": CARBON}, k=2, formula="C8H9NO2").to_dict())
    (hit,), (same,) = found["lists"][0]["hits"], expected["lists"][0]["hits"]
    assert (hit["key"], hit["score"], hit["probability"]) == (same["key"], same["score"], same["probability"])
    assert "evidence" not in hit["why"]
    signals = document(answers["parse"])["observations"][0]["peaks"]
    assert [one["position"] for one in signals] == [7.31, 2.10]
    checked = document(answers["check"])
    assert 0 <= checked["probability"] <= 1
    assert len(checked["alternatives"]) <= 10
    predicted = document(answers["predict"])
    assert predicted["smiles"] == "CC(=O)O"
    assert [one["atoms"] for one in predicted["h_nmr"] if one["of"] == 3] == [[0]]
    assert sorted(atom for one in predicted["c_nmr"] for atom in one["atoms"]) == [0, 1]


@pytest.mark.parametrize(
    ("name", "said"), [("path", "files of the server are not read"), ("field", "colour"), ("tool", "destroy")]
)
def test_a_wrong_call_is_said(answers, name, said) -> None:
    assert answers[name].is_error
    assert said in answers[name].content[0].text


def test_a_server_answers_agents_over_http(client) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    asked = {**call, "params": {"name": "predict_peaks", "arguments": {"smiles": "CCO"}}}
    headers = {"accept": "application/json, text/event-stream"}
    answer = client.post("/mcp", json=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.json()["result"]["content"][0]["text"])["smiles"] == "CCO"
