"""The page in a browser: every way of asking, correcting what was understood, answers, runs; and axe."""

from __future__ import annotations

import base64
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

import acml_search
from acml_search import modalities
from acml_search.serve.app import PAGE, create_app

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"
INCHI = "InChI=1S/C8H9NO2/c1-6(10)9-7-2-4-8(11)5-3-7/h2-5,11H,1H3,(H,9,10)"
LIBRARY = ["CCO", "CC(=O)O", "CC(=O)Oc1ccccc1C(=O)O", PARACETAMOL, "Cn1cnc2c1c(=O)n(C)c(=O)n2C"]
CARBON = "13C NMR (101 MHz, DMSO-d6) δ 167.5, 153.1, 131.0, 120.8, 115.0, 23.7."
PROTON = "1H NMR (400 MHz, DMSO-d6) δ 9.65 (s, 1H), 7.34 (d, J = 8.8 Hz, 2H), 6.68 (d, J = 8.8 Hz, 2H)."
MGF = "BEGIN IONS\nTITLE=q{n}\nPEPMASS=152.0706\nION=[M+H]+\n110.06 100\n65.04 {n}\nEND IONS\n"
JCAMP = (
    "##TITLE=x\n##JCAMP-DX=5.0\n##DATA TYPE=NMR PEAK TABLE\n##DATA CLASS=PEAK TABLE\n"
    "##.OBSERVE NUCLEUS=^13C\n##.OBSERVE FREQUENCY=100.6\n##XUNITS=PPM\n##NPOINTS=6\n##PEAK TABLE=(XY..XY)\n"
    "167.5, 10\n153.1, 10\n131.0, 10\n120.8, 20\n115.0, 20\n23.7, 10\n##END=\n"
)
SEND = """([type, name, kind, data]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type: kind }));
  const of = type === "paste" ? { clipboardData: files } : { dataTransfer: files };
  document.dispatchEvent(new (type === "paste" ? ClipboardEvent : DragEvent)(type, { bubbles: true, ...of }));
}"""


def picture() -> bytes:
    return bytes(modalities.get("image").derive(PARACETAMOL))


def pdf() -> bytes:
    pytest.importorskip("pypdfium2")
    sheet = Image.new("RGB", (900, 1200), "white")
    sheet.paste(Image.open(BytesIO(picture())).convert("RGB"), (150, 200))
    out = BytesIO()
    sheet.save(out, "PDF", resolution=150)
    return out.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; two small libraries, which are the same, by the shipped model."""
    folder = tmp_path_factory.mktemp("page")
    rows = [f"{smiles},molecule {n}" for n, smiles in enumerate(LIBRARY)]
    (folder / "library.csv").write_text("\n".join(["smiles,name", *rows]) + "\n", encoding="utf-8")
    acml_search.build_index([folder / "library.csv"], out=folder / "mine", workers=1)
    shutil.copytree(folder / "mine", folder / "other")
    app = create_app([folder / "mine", folder / "other"], workers=2)
    serving = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=serving.run)
    thread.start()
    while not serving.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{serving.servers[0].sockets[0].getsockname()[1]}"
    serving.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def context(server: str) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser.new_context(base_url=server, accept_downloads=True)
        browser.close()


@pytest.fixture
def page(context: Any, server: str) -> Iterator[Any]:
    """The page; at the end, nothing was asked of elsewhere, refused by its policy, or went wrong in it."""
    opened, wrong = context.new_page(), []
    opened.set_default_timeout(60_000)
    own = (server, "data:", "blob:")
    opened.on("request", lambda one: None if one.url.startswith(own) else wrong.append(one.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    opened.goto("/")
    opened.wait_for_selector("#index option", state="attached")
    yield opened
    opened.close()
    assert wrong == []


def write(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.wait_for_selector("#understood .seen")


def sent(kind: str, name: str, type_: str, data: bytes | Callable[[], bytes]) -> Callable[[Any], None]:
    """Drops or pastes a file."""

    def send(page: Any) -> None:
        content = data if isinstance(data, bytes) else data()
        page.evaluate(SEND, [kind, name, type_, base64.b64encode(content).decode()])
        page.wait_for_selector("#understood .seen")

    return send


def searched(page: Any) -> list[str]:
    """The SMILES of the hits, once the search that is pressed now has answered."""
    page.click("#go")
    page.wait_for_selector("#answer:not([hidden]) article")
    return [str(text) for text in page.locator("#shown dd.smiles").all_text_contents()]


@pytest.mark.parametrize(
    ("give", "understood"),
    [
        (lambda page: write(page, f"{PROTON} {CARBON}"), ["13C NMR 6 peaks", "1H NMR 3 peaks"]),
        (lambda page: write(page, PARACETAMOL), ["structure"]),
        (lambda page: write(page, INCHI), ["structure"]),
        (lambda page: write(page, "ppm\n167.5\n153.1\n131.0\n120.8\n115.0\n23.7\n"), ["13C NMR 6 peaks"]),
        (sent("drop", "a.mgf", "text/plain", MGF.format(n=1).encode()), ["LC-MS/MS"]),
        (sent("drop", "a.jdx", "text/plain", JCAMP.encode()), ["13C NMR 6 peaks"]),
        (sent("drop", "a.png", "image/png", picture), ["picture"]),
        (sent("paste", "image.png", "image/png", picture), ["picture"]),
        (sent("drop", "page.pdf", "application/pdf", pdf), ["picture"]),
    ],
    ids=["1H and 13C", "SMILES", "InChI", "table", "MGF", "JCAMP", "picture", "screenshot", "PDF"],
)  # fmt: skip
def test_every_way_of_asking_is_understood_and_answered(page, give, understood) -> None:
    give(page)
    heads = page.locator("#understood h2").all_inner_texts()
    plain = [" ".join(head.translate(str.maketrans("¹³", "13")).split()) for head in heads]
    assert [one[: len(said)] for one, said in zip(plain, understood, strict=True)] == understood
    if understood == ["picture"]:
        assert page.inner_text("#understood .smiles") == PARACETAMOL
        assert page.locator("#understood svg image").count() == 1
    assert searched(page)[0] == PARACETAMOL


def test_what_was_understood_is_corrected_before_the_search(page) -> None:
    write(page, CARBON.replace("153.1", "135.1").replace("23.7", "23.7, 77.0"))
    page.get_by_role("button", name="leave out 77").click()
    page.get_by_role("button", name="135.1", exact=True).click()
    page.get_by_label("correct this peak").fill("153.1 (C)")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=153.1 (C)")
    page.get_by_role("button", name="131", exact=True).click()
    page.get_by_label("correct this peak").fill("1310")
    page.keyboard.press("Enter")
    page.wait_for_selector("#understood .wrong >> text=1310")
    page.get_by_label("DEPT-135").fill("23.7, 115.0, 120.8")
    page.get_by_label("DEPT-135").press("Tab")
    page.wait_for_selector("text=115 (CH or CH3)")
    page.get_by_role("button", name="leave out 153.1 (C)").click()
    page.wait_for_selector("text=153.1 (C)", state="detached")
    page.get_by_role("button", name="add").click()
    page.get_by_label("another peak").fill("153.2")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=153.2 (C)")
    with page.expect_request("**/api/search") as asked:
        page.click("#go")
    (record,) = asked.value.post_data_json["c_nmr"]
    peaks = sorted(zip(record["shifts"], record["multiplicity"], strict=True))
    hydrogens = dict.fromkeys((23.7, 115.0, 120.8), "CH or CH3") | dict.fromkeys((131.0, 153.2, 167.5), "C")
    assert peaks == list(hydrogens.items())


def test_answers_are_sorted_compared_lit_linked_and_taken_along(page, context, server) -> None:
    page.select_option("#index", label="all of them")
    page.click("#filters summary")
    page.get_by_role("button", name="exact_mass").click()
    page.keyboard.type(" < 190")
    write(page, CARBON)
    hits = searched(page)
    assert page.locator("#shown h2.of-index").all_inner_texts() == ["mine", "other"]
    assert hits[0] == PARACETAMOL
    assert len(hits) == 8
    page.locator("#shown .sort", has_text="formula").first.click()
    assert "C9H8O4" in page.locator("#shown table.hits tbody tr").first.inner_text().replace("\n", "")
    first, second = page.locator("#shown article").all()[:2]
    row = first.locator(".peaks tr", has_text="153.1")
    row.hover()
    assert first.locator(".disc.lit").get_attribute("data-atom") == row.locator(".atoms").inner_text()
    first.locator(".disc[data-atom='0']").hover()
    assert first.locator(".peaks tr.lit td").all_inner_texts()[1] == "23.7"
    first.get_by_role("button", name="Compare").click()
    second.get_by_role("button", name="Compare").click()
    assert page.locator("#compare article").count() == 2
    page.keyboard.press("Escape")
    page.click("#map summary")
    assert "the first 4 hits by their ranks" in page.inner_text("#about-map:not(:empty)")
    with page.expect_download() as taken:
        page.get_by_role("button", name="CSV").click()
    assert Path(taken.value.path()).read_text(encoding="utf-8").startswith("modality,side")
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_url("**/#q=*")
    again = context.new_page()
    again.goto(page.url)
    again.wait_for_selector("#shown article", timeout=60_000)
    assert [str(text) for text in again.locator("#shown dd.smiles").all_text_contents()] == hits
    again.close()


def test_a_structure_is_compared_and_drawn_where_the_editor_was_built(page) -> None:
    write(page, CARBON)
    page.click("#checks summary")
    page.fill("#candidate", "Cc1ccccc1")
    page.get_by_role("button", name="Is it this one?").click()
    page.wait_for_selector("#checked >> text=probability 0.0")
    if "/editor.js" not in PAGE:
        page.wait_for_selector("#no-drawing:not([hidden])")
        return
    page.wait_for_selector("#drawn:not([hidden])")
    page.fill("#candidate", "")
    page.press("#candidate", "Tab")
    box = page.locator("#drawn").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    sync_api.expect(page.locator("#candidate")).to_have_value("CC")


def test_a_run_is_left_and_come_back_to_and_ends_in_a_sortable_table(page) -> None:
    page.click("#runs summary")
    page.select_option("#run-as", "lc_ms")
    data = "".join(MGF.format(n=n) for n in range(1, 4)).encode()
    page.set_input_files("#run-file", {"name": "run.mgf", "mimeType": "text/plain", "buffer": data})
    page.wait_for_selector("#run-list li")
    page.goto("about:blank")
    page.goto("/")
    page.wait_for_selector("#run-list table")
    column = page.locator("#run-list tbody td:first-child")
    assert column.all_inner_texts() == ["q1", "q2", "q3"]
    for names in (["q1", "q2", "q3"], ["q3", "q2", "q1"]):
        page.locator("#run-list .sort", has_text="query").click()
        assert column.all_inner_texts() == names
    page.get_by_role("button", name="Remove").click()
    page.wait_for_selector("#run-list li", state="detached")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 380)])
def test_axe_finds_nothing_but_trifles(page, scheme, width) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for fold in page.locator("details:not(#map) > summary").all():
        if fold.is_visible():
            fold.click()
    write(page, f"{CARBON} {PROTON}")
    searched(page)
    for hit in page.locator("#shown article").all()[:2]:
        hit.get_by_role("button", name="Compare").click()
    for _ in range(2):  # with the two hits side by side, and without
        found = axe.Axe().run(page).response["violations"]
        assert {one["id"]: one["nodes"][0]["html"] for one in found if one["impact"] != "minor"} == {}
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
