"""The API answers as the command line does."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from rdkit import Chem

import acml_search
from acml_search import modalities
from acml_search.core.timing import Stopped, Stopwatch
from acml_search.search.pipeline import Pipeline
from acml_search.search.results import plain
from acml_search.serve.app import create_app
from acml_search.serve.gate import Limits, Refused
from acml_search.serve.pool import Pool

CARBON = "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
BOTH = "1H NMR (400 MHz, CDCl3) δ 7.31 (d, 2H), 2.10 (s, 3H). 13C NMR (101 MHz, CDCl3) δ 168.5, 153.0, 24.1."
MGF = "BEGIN IONS\nPEPMASS=152.0706\nION={}\n110.06 100\n65.04 20\nEND IONS\n"
TWO = MGF.format("[M+H]+") + MGF.format("[M+H]+").replace("110.06", "93.03")


def hits(document: dict[str, Any]) -> list[Any]:
    return [(hit["key"], hit["score"], hit["why"]) for one in document["lists"] for hit in one["hits"]]


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"c_nmr": CARBON, "formula": "C8H9NO2"}, {"c_nmr": CARBON, "formula": "C8H9NO2"}),
        ({"c_nmr": CARBON, "h_nmr": [2.1, 7.3], "where": "exact_mass < 170"}, None),
        (
            {"lc_ms": {"mzs": [110.06], "intensities": [1.0], "precursor_mz": 152.07, "adduct": "[M+H]+"}},
            None,
        ),
        ({"c_nmr": CARBON, "mass": 151.063, "tol_da": 0.1, "rerank": False}, None),
    ],
)
def test_a_search_answers_as_the_index_does(client, index, body, asked) -> None:
    answer = client.post("/api/search", json={**body, "k": 3})
    assert answer.status_code == 200, answer.text
    conditions = {
        name: body[name] for name in ("formula", "where", "mass", "tol_da", "rerank") if name in body
    }
    observed = {name: value for name, value in body.items() if name not in conditions}
    with acml_search.open_index(index) as opened:
        expected = opened.identify(observed, k=3, occlude=True, **conditions).to_dict()
    found = answer.json()
    assert hits(found) == hits(json.loads(json.dumps(expected)))
    assert found["index"] == "mine"
    assert list(found) == list(expected)


def test_a_structure_is_searched_in_every_space_and_in_every_format(client) -> None:
    body = {"smiles": "CCO", "k": 2}
    assert {one["side"] for one in client.post("/api/search", json=body).json()["lists"]} == {
        "records",
        "graph",
    }
    kinds = {"csv": "modality,side", "sdf": "V2000", "html": "<!doctype html>"}
    for form, holds in kinds.items():
        answer = client.post("/api/search", json={**body, "format": form})
        assert holds in answer.text.replace("DOCTYPE", "doctype")
    spectrum = {"lc_ms": {"mzs": [110.06], "intensities": [1.0], "precursor_mz": 152.07, "adduct": "[M+H]+"}}
    assert "\nSME\t1" in client.post("/api/search", json={**spectrum, "format": "mztab"}).text
    # options are called as a body calls them
    assert any(" any_mass none" in note for note in client.post("/api/search", json=spectrum).json()["notes"])
    assert client.post("/api/search", json={**body, "format": "mztab"}).status_code == 422


@pytest.mark.parametrize(
    ("text", "understood", "also"),
    [
        (BOTH, {"c_nmr": 3, "h_nmr": 2}, set()),
        (CARBON, {"c_nmr": 6}, set()),
        ("7.26, 3.93, 2.1", {"h_nmr": 3}, {"c_nmr"}),
        ("128.5/7.26, 55.2/3.81", {"hsqc": 2}, {"c_nmr"}),
        (MGF.format("[M+H]+"), {"lc_ms": 2}, {"c_nmr"}),
        ("41 100\n43 50\n58 20.5", {"gc_ms": 3}, set()),
    ],
)
def test_a_text_is_understood(client, text, understood, also) -> None:
    answer = client.post("/api/parse", json={"text": text}).json()
    assert {one["modality"]: len(one["peaks"]) for one in answer["observations"]} == understood
    assert also <= {name for one in answer["observations"] for name in one["also"]}
    assert set(answer["query"]) == set(understood)


def test_a_structure_is_understood_as_one(client) -> None:
    for text in ("OC(C)=O", "InChI=1S/C2H4O2/c1-2(3)4/h1H3,(H,3,4)"):
        assert client.post("/api/parse", json={"text": text}).json()["query"] == {"smiles": "CC(=O)O"}


def test_a_mol_block_is_a_structure_and_may_hold_spectra(client) -> None:
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    plain_block = client.post("/api/parse", files={"file": ("a.mol", block.encode())}).json()
    assert plain_block["query"] == {"smiles": "CCO"}
    with_spectrum = f"{block}>  <NMREDATA_1D_13C>\nLarmor=100.0\n58.0\n18.3\n\n$$$$\n"
    found = client.post("/api/parse", files={"file": ("a.sdf", with_spectrum.encode())}).json()
    assert [len(one["peaks"]) for one in found["observations"]] == [2]


def test_what_parse_returns_can_be_searched(client, index) -> None:
    file = ("two.mgf", TWO.encode())
    parsed = client.post("/api/parse", files={"file": file}, data={"number": "2"}).json()
    (one,) = parsed["observations"]
    assert (one["number"], one["given"]) == (2, "two.mgf#2")
    assert one["send"]["mzs"] == [93.03, 65.04] or sorted(one["send"]["mzs"]) == [65.04, 93.03]
    found = client.post("/api/search", json={**parsed["query"], "k": 2})
    assert found.status_code == 200, found.text
    sent = {"file": base64.b64encode(TWO.encode()).decode(), "name": "two.mgf", "number": 2}
    assert hits(client.post("/api/search", json={"lc_ms": sent, "k": 2}).json()) == hits(found.json())
    first = client.post("/api/parse", files={"file": file}).json()["observations"][0]
    assert first["of"] == 2


def test_a_picture_comes_back_as_its_file(client) -> None:
    picture = modalities.get("image").derive("CC(=O)Nc1ccc(O)cc1")
    parsed = client.post("/api/parse", files={"file": ("a.png", picture)}).json()
    assert base64.b64decode(parsed["query"]["image"][0]["file"]) == picture
    as_text = base64.b64encode(picture).decode()
    again = client.post("/api/parse", json={"image": as_text}).json()
    assert again["observations"][0]["modality"] == "image"


def test_every_example_of_the_description_is_understood(client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    examples = paths["/api/parse"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    observable = {name for name in modalities.names() if modalities.get(name).option}
    assert set(examples) == observable
    for name, example in examples.items():
        answer = client.post("/api/parse", json=example["value"])
        assert answer.status_code == 200, answer.text
        assert [one["modality"] for one in answer.json()["observations"]] == [name]
    assert {"/api/search", "/api/check", "/api/explain", "/api/indexes", "/health"} <= set(paths)


def test_given_molecules_are_explained(client, index) -> None:
    answer = client.post("/api/explain", json={"c_nmr": CARBON, "keys": [4, 0]}).json()
    with acml_search.open_index(index) as opened:
        expected = plain(opened.explain({"c_nmr": CARBON}, [4, 0]).to_dict())
    assert hits(answer) == hits(expected)


def test_molecules_have_rows_and_drawings(client) -> None:
    row = client.get("/api/molecules/4.json").json()
    assert (row["smiles"], row["vendor"]) == ("CC(=O)Nc1ccc(O)cc1", "4")
    drawing = client.get("/api/molecules/4.svg", params={"index": "mine"})
    assert drawing.headers["content-type"] == "image/svg+xml"
    assert drawing.text.startswith("<svg xmlns=")
    assert client.get("/api/molecules/99.json").status_code == 404
    assert client.get("/api/molecules/4.svg", params={"index": "../mine"}).status_code == 404


def test_hits_lie_where_the_map_has_their_molecules(client) -> None:
    found = client.get("/api/map", params={"space": "c_nmr", "keys": "4,0"}).json()
    assert found["hits"] == [found["molecules"][4], found["molecules"][0]]
    for wrong in ({"space": "x"}, {"space": "c_nmr", "keys": "1;2"}, {"space": "c_nmr", "keys": "99"}):
        assert client.get("/api/map", params=wrong).status_code == 422


def test_indexes_and_health_and_counts(client) -> None:
    described = client.get("/api/indexes").json()
    assert described["indexes"][0]["name"] == "mine"
    assert "vendor" in described["indexes"][0]["columns"]
    assert client.get("/health").json()["status"] == "ok"
    client.post("/api/search", json={"smiles": "not a structure"})
    counts = client.get("/metrics").text
    assert 'acml_search_requests_total{route="/api/search",status="422"}' in counts


def test_an_index_built_anew_is_picked_up(index: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(index, tmp_path / "index"))
    with TestClient(create_app([place], hosts=None, workers=1)) as client:
        more = tmp_path / "more.smi"
        more.write_text("CCCCCCCCS\n")
        acml_search.index.build.add_library(place, [more], workers=1)
        assert client.get("/api/indexes").json()["indexes"][0]["molecules"] == 8
        found = client.post("/api/search", json={"c_nmr": CARBON, "formula": "C8H18S"})
        assert found.status_code == 200, found.text
        place.rename(tmp_path / "elsewhere")
        assert client.post("/api/search", json={"c_nmr": CARBON}).status_code == 503


def test_a_full_queue_is_said(index: Path, monkeypatch) -> None:
    limits = Limits(waiting=0, seconds=5)
    with TestClient(create_app([index], hosts=None, workers=1, limits=limits)) as client:
        begun, go = threading.Event(), threading.Event()

        def slow(self: Any, keys: Any) -> list[Any]:
            begun.set()
            go.wait(5)
            return [{}]

        monkeypatch.setattr("acml_search.search.pipeline.Index.molecules", slow)
        first = threading.Thread(target=client.get, args=("/api/molecules/1.json",))
        first.start()
        assert begun.wait(5)
        second = client.get("/api/molecules/1.json")
        go.set()
        first.join()
    assert (second.status_code, second.headers["retry-after"]) == (503, "2")


def test_a_search_that_takes_long_stops_and_leaves_its_thread(index: Path, monkeypatch) -> None:
    go, encode, fuse, fused = threading.Event(), Pipeline._encode_observations, Pipeline._fuse, []
    monkeypatch.setattr(Pipeline, "_encode_observations", lambda *a: go.wait(9) and encode(*a))
    monkeypatch.setattr(Pipeline, "_fuse", lambda *a: fused.append(a) or fuse(*a))
    app = create_app([index], hosts=None, workers=1, limits=Limits(seconds=0.3, waiting=0))
    with TestClient(app) as client:
        answer = client.post("/api/search", json={"c_nmr": CARBON})
        assert (answer.status_code, "0.3 seconds" in answer.json()["error"]) == (408, True)
        assert client.get("/api/molecules/1.json").status_code == 503
        go.set()  # the stage that runs ends, and no further one begins
        end = time.monotonic() + 5
        while (again := client.get("/api/molecules/1.json").status_code) == 503 and time.monotonic() < end:
            time.sleep(0.01)
    assert (again, fused) == (200, [])


def test_a_search_whose_asker_goes_away_stops() -> None:
    pool, began, went, ended = Pool(1, Limits()), threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        went.wait(5)
        try:
            Stopwatch().lap("read")
        except Stopped:
            ended.set()
            raise

    async def gone() -> bool:
        return await asyncio.to_thread(began.wait, 5)

    with pytest.raises(Refused):
        asyncio.run(pool.do(work, gone))
    went.set()
    assert ended.wait(5)
