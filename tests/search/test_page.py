"""The page of an answer: whole, self-contained, small, and safe whatever a library holds."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from answers import C13, CANDIDATES, answer, molecule_answer

from acml_search.chem.peaks import LeftOut, Peak
from acml_search.search.render.files import WRITERS
from acml_search.search.results import Answer

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} \x1b[31m\u202e]]>"
VOID = {"meta", "br", "img", "link", "hr", "input"}
SELF_CLOSING_SVG = {"path", "rect", "line", "ellipse"}


class Reader(HTMLParser):
    """Collects tags and attributes, and checks that tags are closed in their order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(asked: Answer) -> str:
    out = io.StringIO()
    WRITERS["html"](asked, out)
    return out.getvalue()


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


KINDS = [["c_nmr"], ["h_nmr"], ["lc_ms"], ["gc_ms"], ["image"], ["c_nmr", "h_nmr", "lc_ms"]]


@pytest.mark.parametrize("modalities", KINDS, ids="+".join)
def test_it_is_whole_and_asks_nothing_of_anyone(modalities: list[str]) -> None:
    text = page(answer(modalities))
    reader = read(text)
    assert len(text.encode()) < 1_000_000
    assert reader.tags.count("article") == len(CANDIDATES)
    assert "script" not in reader.tags
    assert {name for name, _ in reader.attributes} & {"src", "srcset", "data", "action", "style"} == set()
    assert all(value and value.startswith("#") for name, value in reader.attributes if name == "href")
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("asked", [answer(["c_nmr", "lc_ms"]), molecule_answer()], ids=["spectra", "smiles"])
def test_links_lead_somewhere(asked: Answer) -> None:
    reader = read(page(asked))
    anchors = {value for name, value in reader.attributes if name == "id"}
    links = [value for name, value in reader.attributes if name == "href"]
    assert links
    assert {link.removeprefix("#") for link in links if link} <= anchors


def test_it_says_what_was_asked_and_how_it_was_understood() -> None:
    text = read(page(answer(["c_nmr", "h_nmr"]))).text
    assert "8 peaks: 190.9, 151.7" in text
    assert "solvent CDCl3 · field 151 MHz" in text
    assert "77.16: the solvent, CDCl3" in text
    assert "formula C8H8O3 – 1,234 molecules pass" in text
    assert "d, J = 8.5 Hz, 1H" in text


def test_the_table_of_peaks_holds_every_match() -> None:
    asked = answer(["c_nmr"])
    text = page(asked)
    for row in asked.lists[0].rows():
        for match in row["why"]["evidence"]["c_nmr"]["matched"]:
            error = f"{abs(match['error']):.1f}"
            assert re.search(
                rf"{match['observed']:.1f}</td><td class=\"n\">{match['predicted']:.1f}</td>", text
            )
            assert error in text
        for position in row["why"]["evidence"]["c_nmr"]["unmatched_observed"]:
            assert f'<td class="n">{position:.1f}</td><td class="n">none</td>' in text


def test_atoms_have_the_colour_of_their_error() -> None:
    (hit,) = list(answer(["c_nmr"], candidates={"vanillin": CANDIDATES["vanillin"]}).lists[0].rows())
    matched = hit["why"]["evidence"]["c_nmr"]["matched"]
    expected = {"good": 0, "fair": 0, "poor": 0}
    for match in matched:
        size = abs(match["error"])
        expected["good" if size <= 2 else "fair" if size <= 5 else "poor"] += len(match["atoms"])
    text = page(answer(["c_nmr"], candidates={"vanillin": CANDIDATES["vanillin"]}))
    assert sum(expected.values()) == len(C13)
    for grade, n in expected.items():
        assert text.count(f"class='disc {grade}'") == n, grade


def test_the_peaks_that_matter_are_marked_and_fragments_named() -> None:
    text = page(answer(["lc_ms"], candidates={"vanillin": CANDIDATES["vanillin"]}))
    assert text.count('class="matters"') == 4
    assert "C₇H₉O₂" in text
    assert '<td class="n">+0.31</td>' in text
    assert '<g class="lost"><title>m/z 128.9511, 4.5 %, not explained</title>' in text


def test_a_page_of_molecules_has_a_list_per_side() -> None:
    text = read(page(molecule_answer())).text
    assert "which record would this molecule give" in text
    assert "similar molecules" in text
    assert "taken off Cl" in text


@pytest.mark.parametrize("keep", [(), ("logits",), ("evidence",), ("occlusion",)], ids=str)
def test_parts_of_the_reason_may_be_missing(keep: tuple[str, ...]) -> None:
    reader = read(page(answer(["c_nmr", "lc_ms"], keep=keep)))
    assert "vanillin" in reader.text


def test_no_hits() -> None:
    assert "No hits." in read(page(answer(["c_nmr"], candidates={}))).text


@pytest.mark.parametrize("asked", [answer(["c_nmr", "lc_ms"]), molecule_answer()], ids=["spectra", "smiles"])
def test_nothing_of_a_stranger_becomes_markup(asked: Answer) -> None:
    """A library's names, columns and values, what was typed, files' words, notes: all are text."""
    n = len(asked.lists[0])
    hits = asked.lists[0]
    table = hits.molecules.set_column(hits.molecules.column_names.index("name"), "name", [[EVIL] * n])
    table = table.append_column(EVIL, [[EVIL] * n])
    table = table.set_column(table.column_names.index("inchikey"), "inchikey", [[EVIL] * n])
    table = table.set_column(table.column_names.index("formula"), "formula", [[EVIL] * n])
    explanations = hits.explanations and [
        replace(
            one,
            evidence={
                name: replace(found, matched=[replace(match, label=EVIL) for match in found.matched])
                for name, found in one.evidence.items()
            },
            logits={EVIL: 1.0, **one.logits},
        )
        for one in hits.explanations
    ]
    query = dict(asked.query) | {"filter": {"where": EVIL, EVIL: EVIL}}
    for name in ("smiles", "removed", "inchikey", "formula"):
        if name in query:
            query[name] = EVIL
    observations = [
        replace(
            one,
            given=EVIL,
            peaks=replace(
                one.peaks,
                peaks=tuple(peak._replace(multiplicity=EVIL) for peak in one.peaks),
                left_out=(LeftOut(EVIL, EVIL),),
                solvent=EVIL,
                adduct=EVIL,
            ),
        )
        for one in asked.observations
        if one.peaks is not None
    ]
    lists = [replace(hits, molecules=table, explanations=explanations or None)]
    evil = replace(asked, query=query, index=EVIL, notes=[EVIL], lists=lists, observations=observations)
    text = page(evil)
    reader = read(text)
    assert {"script", "img"} & set(reader.tags) == set()
    assert [name for name, _ in reader.attributes if name.startswith("on")] == []
    assert "alert(1)" in reader.text
    assert "{{ 7*7 }}" in reader.text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_smiles_that_cannot_be_drawn_does_not_cost_the_page() -> None:
    asked = answer(["image"], candidates={"good": "CCO", "bad": "CCN"})
    hits = asked.lists[0]
    table = hits.molecules.set_column(1, "smiles", [["CCO", "</svg><script>"]])
    reader = read(page(replace(asked, lists=[replace(hits, molecules=table)])))
    assert "This SMILES cannot be drawn." in reader.text
    assert "script" not in reader.tags


def test_many_hits_and_many_peaks_stay_a_page() -> None:
    asked = answer(["lc_ms"], candidates={f"m{i}": "C" * (i + 1) + "O" for i in range(40)})
    (one,) = asked.observations
    assert one.peaks is not None
    many = tuple(Peak(50 + i / 100, intensity=float(i % 97)) for i in range(30_000))
    asked = replace(asked, observations=[replace(one, peaks=replace(one.peaks, peaks=many))])
    text = page(asked)
    assert text.count("<article") == 25
    assert "30000 peaks" in text
    assert len(text) < 4_000_000


def test_a_notebook_shows_the_page_in_a_frame_where_nothing_runs() -> None:
    asked = answer(["c_nmr"])
    frame = read(asked._repr_html_())
    assert frame.tags == ["iframe"]
    shown = dict(frame.attributes)
    assert (shown["srcdoc"], shown["sandbox"]) == (page(asked).strip(), None)
    assert "vanillin" in str(dict(read(asked.lists[0]._repr_html_()).attributes)["srcdoc"])
