"""What a client must not be able to do."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from acml_search import modalities
from acml_search.serve.app import create_app
from acml_search.serve.gate import Limits
from benchmarks import fuzz

OBSERVABLE = [name for name in modalities.names() if modalities.get(name).option]
DETAILS = [(detail, name) for name in OBSERVABLE for detail in modalities.get(name).details]


def refused(answer: Any, status: int = 422) -> str:
    """The sentence of an answer that has one."""
    assert answer.status_code == status, answer.text
    sentence = answer.json()["error"]
    assert "\n" not in sentence
    assert len(sentence) < 1000
    return str(sentence)


def secret(name: str, folder: Path) -> Path:
    """A file that the modality could read if it were opened."""
    spectrum = "BEGIN IONS\nPEPMASS=152.07\nION=[M+H]+\n110.06 9\nEND IONS\n"
    kind: Any = modalities.get(name)
    content: dict[str, bytes] = {"c_nmr": b"155.4, 151.7", "h_nmr": b"7.2, 3.9", "hsqc": b"128.5/7.26"}
    if kind.says_reading:
        data, ending = kind.derive("c1ccccc1O"), ".png"
    elif name in content:
        data, ending = content[name], ".txt"
    else:
        data, ending = spectrum.encode() if kind.has_precursor else b"41 100\n43 50\n58 20\n", ".mgf"
        ending = ending if kind.has_precursor else ".txt"
    path = folder / f"secret{ending}"
    path.write_bytes(data)
    assert kind.read_input(str(path))
    return path


@pytest.mark.parametrize("name", OBSERVABLE)
def test_a_path_is_never_opened(client, tmp_path, monkeypatch, name) -> None:
    path = secret(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    real_open, real_stat = io.open, Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **how: opened.append(str(self)) or real_stat(self, **how))
    monkeypatch.setattr(
        io, "open", lambda file, *how, **more: opened.append(str(file)) or real_open(file, *how, **more)
    )
    for given in (
        str(path),
        f"{path}#1",
        path.name,
        f"./{path.name}",
        f"../{tmp_path.name}/{path.name}",
        path.as_uri(),
    ):
        for value in (given, [given], {"file": given}, {"file": base64.b64encode(given.encode()).decode()}):
            for route in ("/api/search", "/api/parse"):
                refused(client.post(route, json={name: value}))
        refused(client.post("/api/parse", json={"text": given}))
        refused(client.post("/api/parse", json={"text": given, "modality": name}))
    assert not [one for one in opened if one.endswith((path.name, f"{path.name}#1"))]


@pytest.mark.parametrize(("detail", "name"), DETAILS)
def test_a_path_of_a_detail_is_never_opened(client, tmp_path, detail, name) -> None:
    path = secret(name, tmp_path)
    said = refused(client.post("/api/search", json={name: "155.4, 151.7", detail: str(path)}))
    assert "files of the server are not read" in said


def test_the_name_of_an_upload_leads_nowhere(client, tmp_path) -> None:
    place = tmp_path / "planted.txt"
    for name in (str(place), f"../../../{place}", "..", "fid", "a/b\\c.txt#1", "x" * 5000, "\x00.txt"):
        answer = client.post("/api/parse", files={"file": (name, b"155.4, 151.7")})
        assert answer.status_code in (200, 400, 422)
        sent = {"file": base64.b64encode(b"155.4, 151.7").decode(), "name": name}
        assert client.post("/api/search", json={"c_nmr": sent}).status_code == 200
    assert not place.exists()


@pytest.mark.parametrize(
    "where",
    ["1=1) OR (1=1", "key IN (SELECT 1)", "read_text('/etc/passwd') <> ''", "1; DROP TABLE molecules"],
)
def test_sql_is_one_harmless_condition(client, where) -> None:
    assert "refused" in refused(client.post("/api/search", json={"smiles": "CCO", "where": where}))


def test_sql_has_a_time_limit(client, monkeypatch) -> None:
    def endless(cursor: Any, where: str) -> str:
        return "(SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range > 7) > 0"

    monkeypatch.setattr("acml_search.library.where.where_clause", endless)
    said = refused(client.post("/api/search", json={"smiles": "CCO", "where": "key > 0"}))
    assert "took more than 0.5 s" in said


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


def tiff(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.MAX_IMAGE_PIXELS, most = None, Image.MAX_IMAGE_PIXELS
    Image.new("1", (width, height)).save(out, "TIFF", compression="group4")
    Image.MAX_IMAGE_PIXELS = most
    return out.getvalue()


def archive(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("1/acqus", b"0" * size)
    return out.getvalue()


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">'
    '<!ENTITY f SYSTEM "file:///etc/hostname">]><{0} xmlns="http://psi.hupo.org/ms/mzml">&b;&f;</{0}>'
)


@pytest.mark.parametrize(
    ("name", "data", "status", "said"),
    [
        ("bomb.png", png(20_000, 20_000), 422, "too many pixels"),
        ("bomb.tif", tiff(30_000, 30_000), 422, "TIFF"),
        ("bomb.zip", archive(3 << 20), 413, "unpacks to more"),
        ("bomb.mgf.gz", gzip.compress(b"1 1\n" * (1 << 19)), 413, "unpacks to more"),
        ("laughs.mzML", LAUGHS.format("mzML").encode(), 422, "document type"),
        ("laughs.nmrML", LAUGHS.format("nmrML").encode(), 422, ""),
        ("damaged.gz", b"\x1f\x8b" + b"x" * 50, 422, "damaged"),
        ("many.txt", b"".join(b"%d 1\n" % i for i in range(100_000)), 422, ""),
        ("pickle.pkl", b"\x80\x04cos\nsystem\n(S'true'\ntR.", 422, ""),
    ],
)  # fmt: skip
def test_a_file_that_is_out_to_harm_is_refused(client, name, data, status, said) -> None:
    assert said in refused(client.post("/api/parse", files={"file": (name, data)}), status)


def test_damaged_uploads_are_answered_or_refused(client) -> None:
    """Files of every kind that is read, cut, mixed and sprinkled with what readers stumble over."""
    rng = random.Random(31)
    seeds = [
        ("a.png", modalities.get("image").derive("CCO")),
        ("a.zip", archive(99)),
        ("a.gz", b"\x1f\x8b\x08"),
    ]
    seeds += [seed for one in fuzz.READERS.values() for seed in one.seeds()]
    for name, content in rng.choices(seeds, k=60):
        damaged = fuzz.mutated(content, rng, [other for _, other in seeds])
        answer = client.post("/api/parse", files={"file": (name, damaged)})
        assert answer.status_code in (200, 400, 413, 422), (name, damaged, answer.text)


def test_nothing_of_the_server_is_told(client, index) -> None:
    """Neither paths of the index nor of the request's own folder."""
    for body in ({"c_nmr": {"file": "eHh4", "name": "a.mgf"}}, {"smiles": "CCO", "modality": "nothing"}):
        said = refused(client.post("/api/search", json=body))
        assert "/" not in said.replace("13C/1H", ""), said
    answer = client.post("/api/search", json={"c_nmr": "155.4, 151.7"})
    assert str(index.parent) not in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"c_nmr": {"shifts": [20.0] * 100_000}}, 422),
        ({"h_nmr": ", ".join(f"{i / 100}" for i in range(1, 600))}, 422),
        ({"lc_ms": {"mzs": list(range(20_000)), "intensities": [1] * 20_000}}, 422),
        ({"c_nmr": ["20.1"] * 50}, 422),
        ({"c_nmr": "20.1", "k": 51}, 422),
        ({"c_nmr": "20.1", "k": 0}, 422),
        ({"c_nmr": {"shifts": [1.0], "counts": 5}}, 422),
        ({"lc_ms": {"mzs": {"a": 1}, "intensities": None}}, 422),
        ({"c_nmr": {"file": 7}}, 422),
        ({"c_nmr": True}, 422),
        ({"mass": 1e999, "smiles": "CCO"}, 422),
        ({"index": "../mine", "smiles": "CCO"}, 404),
        ({"smiles": "C" * 3_000_000}, 413),
    ],
)
def test_what_is_too_much_or_wrong_is_refused(client, body, status) -> None:
    refused(client.post("/api/search", content=json.dumps(body)), status)


@pytest.mark.parametrize("record", [{"couplings": -5}, {"counts": [[1]]}, {"shifts": [["x"], [7.2, "x"]]}])
@pytest.mark.parametrize("route", ["search", "check", "explain", "parse"])
def test_a_record_that_is_none_is_refused(client, route, record) -> None:
    needed = {"check": {"smiles": "CCO"}, "explain": {"keys": [0]}}.get(route, {})
    for name in ("c_nmr", "h_nmr"):
        refused(client.post(f"/api/{route}", json={name: {"shifts": [1.0], **record}, **needed}))


@pytest.mark.parametrize("gap", [" ", "\t", "(", "1-", "13C "])
def test_long_texts_of_nothing_take_no_time(client, gap) -> None:
    """The readers are linear: nobody keeps the server busy with blanks."""
    begun = time.process_time()
    client.post("/api/parse", json={"text": f"13C NMR 1 {gap * (30_000 // len(gap))}x"})
    assert time.process_time() - begun < 10


def test_a_body_without_an_end_is_refused(client) -> None:
    async def endless() -> dict[str, Any]:
        return {"type": "http.request", "body": b" " * 65536, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/api/search", "/api/parse"):
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
        asyncio.run(client.app(scope, endless, send))
        assert sent[0]["status"] == 413
        sent.clear()


def test_a_body_that_is_no_json_is_refused(client) -> None:
    refused(client.post("/api/search", content=b"[" * 100_000))
    refused(client.post("/api/search", content=b"\xff\xfe"))


def test_markup_of_a_library_or_a_query_is_text(client) -> None:
    page = client.post("/api/search", json={"smiles": "CCO", "format": "html"}).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    evil = "δ 20.1, 30.2. <img src=x onerror=alert(1)>"
    answer = client.post("/api/search", json={"c_nmr": evil, "format": "html"})
    assert "&lt;img" in answer.text
    assert "<img" not in answer.text


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/health", "/nothing"])
def test_every_answer_has_the_headers(client, path) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_token_opens(index: Path) -> None:
    app = create_app([index], hosts=None, token="secret", limits=Limits())
    with TestClient(app) as client:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "secret"},
            {"authorization": "Bearer sécret".encode()},
        ):
            refused(client.get("/api/indexes", headers=headers), 401)
        assert client.get("/api/indexes", headers={"authorization": "Bearer secret"}).status_code == 200
        assert client.get("/health").status_code == 200
        refused(client.get("/metrics"), 401)


def test_other_pages_and_names_need_leave(index: Path) -> None:
    app = create_app([index], origins=["https://lab.example"], limits=Limits())
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        refused(client.get("/health", headers={"host": "evil.example"}), 421)
        refused(client.get("/health", headers={"origin": "https://evil.example"}), 403)
        refused(client.get("/health", headers={"origin": "null"}), 403)
        assert client.get("/health", headers={"origin": "http://127.0.0.1:8000"}).status_code == 200
        allowed = client.get("/health", headers={"origin": "https://lab.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://lab.example"
