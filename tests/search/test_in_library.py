"""Whether the compound is in the library at all, and what that does to the probabilities of hits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acml_search.encoders.card import read_card
from acml_search.search import in_library
from acml_search.search.in_library import InLibrary, feature_names
from acml_search.search.query import Index
from acml_search.search.results import q_values

SHIFTS = "169.1, 153.2, 131.0, 121.2"


def constant(spaces: list[str], logit: float, temperature: float = 1.0) -> InLibrary:
    n = len(feature_names(spaces))
    return InLibrary(np.zeros(n), np.ones(n), np.zeros(n), logit, temperature)


def test_hits_share_what_is_in_the_library(spectral_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index(spectral_index) as index:
        plain = index.identify({"c_nmr": SHIFTS}, k=39)
        assert plain.p_in_library is None
        assert plain.to_dict()["p_in_library"] is None
        assert plain.lists[0].probabilities.sum() == pytest.approx(1)
        for logit, said in ((-1.0, True), (1.0, False)):
            monkeypatch.setattr(in_library, "fitted", lambda card, spaces, x=logit: constant(spaces, x))
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


def test_features_are_as_many_as_their_names(spectral_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def kept(card: object, spaces: list[str]) -> InLibrary:
        fit = constant(spaces, 0.0)
        seen.append(feature_names(spaces))
        return fit

    monkeypatch.setattr(in_library, "fitted", kept)
    with Index(spectral_index) as index:
        index.identify({"c_nmr": SHIFTS, "h_nmr": "7.1, 2.1"})
    (names,) = seen
    assert len(names) == 5 + 2 * 4


def test_the_shipped_model_says_it_for_its_spectra() -> None:
    card = read_card("acml-base")
    for spaces in (["c_nmr"], ["h_nmr"], ["h_nmr", "c_nmr"], ["lc_ms"]):
        fit = in_library.fitted(card, spaces)
        assert fit is not None
        names = feature_names(spaces)
        assert len(fit.weights) == len(fit.means) == len(fit.scales) == len(names)
        assert 0 < fit.probability(fit.means) < 1
    assert in_library.fitted(card, ["smiles"]) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_rise_as_probabilities_fall(probabilities: list[float]) -> None:
    p = np.array(probabilities)
    q = q_values(p)
    order = np.argsort(-p, kind="stable")
    assert (np.diff(q[order]) >= -1e-12).all()
    assert q.max() == pytest.approx(1 - p.mean())
