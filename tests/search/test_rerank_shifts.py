"""Evidence from shifts: what is said of a candidate adds up, and the shipped model tells molecules apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError
from acml_search.encoders.checkpoint import load_model
from acml_search.modalities.base import reranked, reranker

BENZOATE = {"shifts": [166.9, 132.9, 130.2, 129.6, 128.3, 52.0]}
CANDIDATES = ["COC(=O)c1ccccc1", "CC(=O)Oc1ccccc1", "Cc1ccc(C(=O)O)cc1", "O=CCOc1ccccc1", "O"]


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def found(model):
    item = modalities.get("c_nmr").read(BENZOATE)
    return reranker("c_nmr").evidence(model, item, [parse(text)[0] for text in CANDIDATES])


def test_the_true_molecule_is_the_likeliest(found) -> None:
    scores = [one.score for one in found]
    assert int(np.argmax(scores)) == 0
    assert np.isfinite(scores).all()


def test_every_peak_is_accounted_for(found) -> None:
    for text, one in zip(CANDIDATES, found, strict=True):
        seen = {match.observed for match in one.matched} | set(one.unmatched_observed)
        assert sorted(seen) == pytest.approx(sorted(BENZOATE["shifts"]), abs=1e-3)
        atoms = {atom for match in one.matched for atom in match.atoms}
        atoms |= {atom for missing in one.unmatched_predicted for atom in missing.atoms}
        mol = parse(text)[0]
        assert atoms == {atom.GetIdx() for atom in mol.GetAtoms() if atom.GetSymbol() == "C"}


def test_atoms_are_those_of_the_candidate(found) -> None:
    carbonyl = max(found[0].matched, key=lambda match: match.observed)
    assert carbonyl.atoms == [2]
    assert carbonyl.error == pytest.approx(carbonyl.observed - carbonyl.predicted, abs=1e-3)
    assert abs(carbonyl.error) < 5


def test_it_is_plain_json(found) -> None:
    told = json.loads(json.dumps([one.to_dict() for one in found]))
    assert set(told[0]) == {"score", "matched", "unmatched_observed", "unmatched_predicted"}
    assert set(told[0]["matched"][0]) == {"observed", "predicted", "atoms", "error", "label"}
    water = told[-1]
    assert water["matched"] == []
    assert len(water["unmatched_observed"]) == len(BENZOATE["shifts"])


def test_scores_alone_are_the_same(model, found) -> None:
    chosen = reranker("c_nmr")
    item = chosen.observed(modalities.get("c_nmr").read(BENZOATE), None)
    prepared = chosen.prepare(model, [parse(text)[0] for text in CANDIDATES])
    assert chosen.scores(model, item, prepared) == pytest.approx([one.score for one in found], rel=1e-5)


def test_what_cannot_be_re_ranked_says_so(model, monkeypatch) -> None:
    monkeypatch.setattr(type(modalities.get("smiles")), "reranker", lambda self: None)
    assert {"c_nmr", "h_nmr"} <= set(reranked())
    assert "smiles" not in reranked()
    with pytest.raises(ConfigError, match="nothing to re-rank by for 'smiles'"):
        reranker("smiles").evidence(model, None, [])


def test_dept_tells_isomers_apart_and_says_what_contradicts(model) -> None:
    """Told what each carbon carries, a molecule that has something else at these shifts falls back."""
    told = {**BENZOATE, "multiplicity": ["C", "CH", "C", "CH", "CH", "CH3"]}
    chosen = reranker("c_nmr")
    item = modalities.get("c_nmr").read(BENZOATE)
    mols = [parse(text)[0] for text in CANDIDATES[:4]]
    prepared = chosen.prepare(model, mols)
    plain = chosen.scores(model, item, prepared)
    dept = chosen.scores(model, chosen.observed(item, told), prepared)
    assert dept[0] == pytest.approx(plain[0])  # nothing contradicts the truth
    assert (dept[1:] <= plain[1:] + 1e-9).all()
    assert dept[3] < plain[3]
    labels = [
        m.label for m in reranker("c_nmr").evidence(model, chosen.observed(item, told), mols)[3].matched
    ]
    assert "C observed, CH here" in labels


def test_what_a_1h_line_states_is_compared(model) -> None:
    record = {"shifts": [1.2, 3.4], "multiplicity": ["t", "q"], "counts": [6, 4]}
    item, chosen = modalities.get("h_nmr").read(record), reranker("h_nmr")
    prepared = chosen.prepare(model, [parse("CCOCC")[0]])
    right, swapped, uncounted = (
        chosen.scores(model, chosen.observed(item, record | other), prepared)[0]
        for other in ({}, {"multiplicity": ["q", "t"]}, {"counts": [3, 2]})
    )
    assert right > max(swapped, uncounted) + 2


@pytest.mark.parametrize(("n", "alone"), [(100, False), (101, True)])
def test_of_very_many_1h_signals_the_shifts_alone_are_compared_and_a_note_says_so(n, alone) -> None:
    record = {"shifts": np.linspace(1, 9, n).round(2).tolist(), "counts": [1] * n}
    one = modalities.get("h_nmr").observe(record)
    chosen = reranker("h_nmr")
    assert (chosen.weights(chosen.observed(one.item, record)) == "rerank") == alone
    assert any("the shifts alone" in note for note in one.notes) == alone


def test_what_is_stated_of_carbons_goes_with_the_observation() -> None:
    """A "d" with its coupling is fluorine, not a CH."""
    printed = modalities.get("c_nmr").read_input("13C NMR δ 161.0 (d, J = 245.1 Hz), 52.0 (CH3), 128.5")
    assert printed.record["multiplicity"] == [None, "CH3", None]
    assert [note for note in printed.notes if "hydrogens" in note]
    plain = modalities.get("c_nmr").read_input("13C NMR δ 161.0 (d, J = 245.1 Hz), 52.0, 128.5")
    assert "multiplicity" not in plain.record
    assert not plain.notes
    row = modalities.get("c_nmr").observe({"shifts": [52.0, 161.0], "multiplicity": ["Q", "S"]}, "row 1")
    assert [peak.multiplicity for peak in row.peaks or ()] == ["Q", "S"]
    assert [note for note in row.notes if "hydrogens" in note]
