"""Whether the compound is in the library at all, and what that does to the probabilities of hits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acml_search.encoders.card import read_card
from acml_search.search import in_library
from acml_search.search.in_library import InLibrary
from acml_search.search.query import Index
from acml_search.search.results import q_values

SPACES = (("c_nmr",), ("h_nmr",), ("h_nmr", "c_nmr"), ("lc_ms",))
SHIFTS = "169.1, 153.2, 131.0, 121.2"


def constant(logit: float) -> InLibrary:
    none = np.zeros(0)
    return InLibrary((), none, none, none, logit, 1.0)


def test_hits_share_what_is_in_the_library(spectral_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index(spectral_index) as index:
        plain = index.identify({"c_nmr": SHIFTS}, k=39)
        assert plain.p_in_library is None
        assert plain.to_dict()["p_in_library"] is None
        assert plain.lists[0].probabilities.sum() == pytest.approx(1)
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


def test_the_shipped_model_says_it_for_its_spectra() -> None:
    card = read_card("acml-base")
    for fit in (in_library.fitted(card, spaces) for spaces in SPACES):
        assert fit is not None
        assert len(fit.names) == len(fit.weights) == len(fit.means) == len(fit.scales)
        assert 0 < fit.probability(dict(zip(fit.names, fit.means, strict=True))) < 1
    assert in_library.fitted(card, ["smiles"]) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_rise_as_probabilities_fall(probabilities: list[float]) -> None:
    p = np.array(probabilities)
    q = q_values(p)
    order = np.argsort(-p, kind="stable")
    assert (np.diff(q[order]) >= -1e-12).all()
    assert q.max() == pytest.approx(1 - p.mean())
