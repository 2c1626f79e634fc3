"""Whether the compound is in the library at all, and what that does to the probabilities of hits."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import acml_search
from acml_search.encoders.card import read_card
from acml_search.search import in_library
from acml_search.search.in_library import UNKNOWN, InLibrary
from acml_search.search.pipeline import Index
from acml_search.search.render.html import page
from acml_search.search.render.text import explained
from acml_search.search.results import q_values

SPACES = (("c_nmr",), ("h_nmr",), ("h_nmr", "c_nmr"), ("lc_ms",))
SHIFTS = "169.1, 153.2, 131.0, 121.2"
ASKED = {
    "c_nmr": SHIFTS,
    "h_nmr": "7.32, 6.68, 1.97",
    "lc_ms": {
        "precursor_mz": 152.0706,
        "adduct": "[M+H]+",
        "mzs": [110.06, 65.04],
        "intensities": [1.0, 0.2],
    },
}


def constant(logit: float) -> InLibrary:
    none = np.zeros(0)
    return InLibrary((), none, none, none, logit, 1.0)


def test_hits_share_what_is_in_the_library(spectral_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index(spectral_index) as index:
        plain = index.identify({"c_nmr": SHIFTS}, k=39)
        assert plain.p_in_library is None
        assert plain.to_dict()["p_in_library"] is None
        assert plain.lists[0].probabilities.sum() == pytest.approx(UNKNOWN)
        for logit, said in ((-1.0, True), (1.0, False)):
            monkeypatch.setattr(in_library, "fitted", lambda card, spaces, x=logit: constant(x))
            answer = index.identify({"c_nmr": SHIFTS}, k=39)
            assert answer.p_in_library == pytest.approx(1 / (1 + np.exp(-logit)))
            assert answer.lists[0].probabilities.sum() == pytest.approx(answer.p_in_library)
            assert any(note.startswith("nothing fits well") for note in answer.notes) is said
        few = index.identify({"c_nmr": SHIFTS}, k=39, min_probability=0.9)
        assert len(few.lists[0]) == 0
        assert "nothing fits: no hit has a probability of 0.9 or more" in few.notes
        # the one candidate of a mass is not certain
        alone = index.identify({"c_nmr": SHIFTS}, formula="C8H9NO2")
        assert alone.lists[0].probabilities[0] < 0.75


@pytest.mark.parametrize("observed", [("c_nmr",), ("lc_ms",), ("h_nmr", "lc_ms"), tuple(ASKED)])
@pytest.mark.parametrize("stored", [[], ["h_nmr"], ["lc_ms", "c_nmr"]])
def test_a_lone_candidate_is_never_certain(
    observed: Sequence[str], stored: list[str], spectral_model: Path, spectral_index: Path, tmp_path: Path
) -> None:
    sure = {"features": [], "means": [], "scales": [], "weights": [], "intercept": 9, "temperature": 1}
    model = Path(shutil.copytree(spectral_model, tmp_path / "spectral"))
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps({**card, "in_library": dict.fromkeys(stored, sure)}))
    judge = next((one for one in stored if one in observed), None)
    with acml_search.open_index(spectral_index, model=model) as index:
        answer = index.identify({name: ASKED[name] for name in observed}, formula="C8H9NO2")
    said = [note for note in answer.notes if note.startswith("whether the compound is")]
    assert len(answer.lists[0]) == 1
    if judge is None:
        assert answer.p_in_library is None
        assert answer.lists[0].probabilities[0] == UNKNOWN
        assert "is not known" in said[0]
    else:
        assert answer.lists[0].probabilities[0] == answer.p_in_library == pytest.approx(0.99, abs=1e-3)
        assert [f"is judged by {judge}" in note for note in said] == [True] * (len(observed) > 1)
    for shown in (str(answer), page(answer), explained(answer), json.dumps(answer.to_dict())):
        assert not re.search(r"probability\W+1\.0|\b1\.000\b", shown)


def test_a_molecule_is_certain_where_it_is_found_itself(small_index: Path) -> None:
    with Index(small_index) as index:
        known, unknown = (index.search(smiles, formula="C7H8") for smiles in ("Cc1ccccc1", "Cc1ccccc1C"))
    assert {hits.probabilities[0] for hits in known.lists} == {1.0}
    assert {hits.probabilities[0] for hits in unknown.lists} == {UNKNOWN}
    assert any("another molecule than the one asked about" in note for note in unknown.notes)


def test_the_shipped_model_says_it_for_its_spectra() -> None:
    card = read_card("acml-base")
    for fit in (in_library.fitted(card, spaces) for spaces in SPACES):
        assert fit is not None
        assert len(fit.names) == len(fit.weights) == len(fit.means) == len(fit.scales)
        assert 0 < fit.probability(dict(zip(fit.names, fit.means, strict=True))) < 1
    several = in_library.fitted(card, ["hsqc", "h_nmr", "c_nmr"])
    assert several is not None
    assert several.spaces == ("c_nmr", "h_nmr")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_rise_as_probabilities_fall(probabilities: list[float]) -> None:
    p = np.array(probabilities)
    q = q_values(p)
    order = np.argsort(-p, kind="stable")
    assert (np.diff(q[order]) >= -1e-12).all()
    assert q.max() == pytest.approx(1 - p.mean())
