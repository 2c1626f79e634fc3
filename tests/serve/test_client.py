"""`acml_search.Client` answers as an open index does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import acml_search
from acml_search.core.errors import ConfigError, FilterError, InvalidMolecule, InvalidRecord
from acml_search.search.results import plain
from acml_search.serve.app import create_app

CARBON = "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
MGF = "BEGIN IONS\nPEPMASS=152.0706\nION=[M+H]+\n110.06 100\n65.04 20\nEND IONS\n"


@pytest.fixture(scope="module")
def url(index: Path) -> Iterator[str]:
    """A real server with the token "secret"."""
    server = uvicorn.Server(
        uvicorn.Config(create_app([index], token="secret", workers=1), port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def hits(document: dict[str, Any]) -> list[Any]:
    return [(hit["key"], hit["score"], hit["why"]) for one in document["lists"] for hit in one["hits"]]


def test_its_answers_are_those_of_the_index(url: str, index: Path, tmp_path: Path) -> None:
    client = acml_search.Client(f"{url}/", token="secret", index="mine")
    (tmp_path / "two.mgf").write_text(MGF + MGF.replace("65.04", "93.03"))
    asked = {
        "c_nmr": CARBON,
        "lc_ms": [f"{tmp_path / 'two.mgf'}#2", tmp_path / "two.mgf"],
        "h_nmr": [2.1, 7.3],
    }
    with acml_search.open_index(index) as opened:
        expected = plain(opened.identify(asked, k=2, occlude=True, formula="C8H9NO2").to_dict())
        assert hits(client.identify(asked, k=2, formula="C8H9NO2")) == hits(expected)
        assert hits(client.search("CCO", k=2)) == hits(plain(opened.search("CCO", k=2).to_dict()))
        found = client.explain({"c_nmr": CARBON}, [3])
        assert hits(found) == hits(plain(opened.explain({"c_nmr": CARBON}, [3]).to_dict()))
        assert client.molecules([3, 0]) == plain(opened.molecules([3, 0]))
    parsed = client.parse(asked)
    assert hits(client.identify(parsed["query"], k=2, formula="C8H9NO2")) == hits(expected)
    assert client.indexes()[0]["name"] == "mine"


def test_its_errors_are_those_of_the_index(url: str) -> None:
    client = acml_search.Client(url, token="secret")
    for error, ask in (
        (InvalidMolecule, lambda: client.search("C1CC")),
        (FilterError, lambda: client.search("CCO", where="1; 2")),
        (InvalidRecord, lambda: client.identify({"c_nmr": "nothing"})),
        (ConfigError, lambda: client.explain({"c_nmr": CARBON}, [99])),
        (ConfigError, lambda: acml_search.Client(url).search("CCO")),
        (ConfigError, lambda: acml_search.Client(url, token="secret", index="other").search("CCO")),
        (ConfigError, lambda: acml_search.Client("http://127.0.0.1:1").search("CCO")),
        (ConfigError, lambda: acml_search.Client("file:///etc/passwd")),
        (ConfigError, lambda: client.identify({"c_nmr": Path("missing.txt")})),
    ):
        with pytest.raises(error):
            ask()
