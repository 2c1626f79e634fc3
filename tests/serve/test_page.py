"""The page: from this server alone, and about what the registry has."""

from __future__ import annotations

import re


def test_the_page_has_nothing_from_elsewhere_and_no_inline_script(client) -> None:
    page = client.get("/").text
    assert not re.search(r"https?://|style=| on\w+=|javascript:", page)
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="/page.js">']
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(client.get(source).status_code == 200 for source in sources)
    for name in ("/page.js", "/answers.js"):
        script = client.get(name).text
        assert not re.search(r"https?://(?!www.w3.org/2000/svg)|innerHTML|eval\(|document\.write", script)
        assert set(re.findall(r'\$\("([\w-]+)"\)', script)) <= set(re.findall(r'id="([\w-]+)"', page))


def test_every_field_has_a_label(client) -> None:
    page = client.get("/").text
    for field in re.findall(r"<(?:input|select|textarea)[^>]*>", page):
        (name,) = re.findall(r'id="([^"]+)"', field)
        wrapped = re.search(rf'<label[^>]*>(?:(?!</label>).)*id="{name}"', page, re.DOTALL)
        assert f'for="{name}"' in page or "aria-label=" in field or wrapped, field


def test_drawings_are_of_any_structure(client) -> None:
    assert "<path" in client.get("/api/structure.svg", params={"smiles": "c1ccccc1"}).text
    for smiles in ("", "<script>", "C" * 3000):
        answer = client.get("/api/structure.svg", params={"smiles": smiles})
        assert (answer.status_code, "<script" in answer.text) == (422, False)
