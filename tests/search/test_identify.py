"""Asking an index with observations: an untrained model, so that what is right is known by brute force."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit.Chem import AddHs, MolFromSmiles

import acml_search
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError, FilterError, InvalidRecord
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.modalities import Observation, get
from acml_search.modalities.base import reranker
from acml_search.nmr.hydrogens import hydrogen_prior
from acml_search.search import pipeline
from acml_search.search.in_library import UNKNOWN
from acml_search.search.pipeline import Index

SHIFTS = {"shifts": [23.9, 115.0, 121.2, 130.9, 153.2, 168.1]}
PROTONS = {"shifts": [9.14, 7.34, 6.68, 1.97]}
SPECTRUM = {
    "mzs": [65.04, 93.03, 110.06],
    "intensities": [0.2, 0.1, 1.0],
    "precursor_mz": 152.0706,
    "adduct": "[M+H]+",
}


@pytest.fixture(scope="session")
def index(spectral_index: Path) -> Index:
    return acml_search.open_index(spectral_index)


@pytest.fixture(scope="session")
def model(spectral_model: Path) -> Model:
    return load_model(spectral_model)


def observed(**records: Any) -> list[Observation]:
    return [get(name).observe(record, "test") for name, record in records.items()]


def logits(model: Model, index: Index, asked: list[Observation]) -> dict[int, float]:
    """By brute force: the sum of scale x cosine of every molecule."""
    totals: dict[int, float] = {}
    for one in asked:
        vector = model.encode_items(one.modality, [one.item])[0]
        side = index._directory.vectors(one.modality, "graph")
        for key, stored in zip(side.keys, side.stored(np.arange(side.n)), strict=True):
            cosine = float(stored @ vector)
            totals[int(key)] = totals.get(int(key), 0.0) + model.spaces[one.modality].scale * cosine
    return totals


@pytest.mark.parametrize(
    "records",
    [
        {"c_nmr": SHIFTS},
        {"c_nmr": SHIFTS, "h_nmr": PROTONS},
        {"c_nmr": SHIFTS, "h_nmr": PROTONS, "lc_ms": SPECTRUM},
    ],
    ids=["one", "two", "three"],
)
def test_hits_are_those_with_the_highest_sum_of_logits(
    model: Model, index: Index, records: dict[str, Any]
) -> None:
    asked = observed(**records)
    (found,) = index.identify(asked, k=7, rerank=False, by_precursor=False).lists
    totals = logits(model, index, asked)
    best = sorted(totals.values(), reverse=True)[:7]
    rows = list(found.rows())
    assert [sum(row["why"]["logits"].values()) for row in rows] == pytest.approx(best, abs=2e-3)
    assert [totals[row["key"]] for row in rows] == pytest.approx(best, abs=2e-3)
    assert set(rows[0]["why"]["logits"]) == set(records)
    assert found.modality == (next(iter(records)) if len(records) == 1 else "fused")


def test_probabilities_are_the_softmax_over_all_candidates(model: Model, index: Index) -> None:
    asked = observed(c_nmr=SHIFTS, h_nmr=PROTONS)
    (found,) = index.identify(asked, k=len(index), rerank=False).lists
    totals = np.array(sorted(logits(model, index, asked).values(), reverse=True))
    expected = np.exp(totals - totals.max())
    assert found.probabilities == pytest.approx(UNKNOWN * expected / expected.sum(), abs=1e-4)
    assert found.probabilities.sum() == pytest.approx(UNKNOWN)


def test_a_further_observation_that_says_nothing_changes_nothing(index: Index) -> None:
    alone = index.identify(observed(c_nmr=SHIFTS), k=5, rerank=False).lists[0]
    both = index.identify([*observed(c_nmr=SHIFTS), *observed(c_nmr=SHIFTS)], k=5, rerank=False).lists[0]
    assert [row["score"] for row in alone.rows()] == pytest.approx([r["score"] for r in both.rows()])


def test_the_precursor_limits_the_candidates_and_says_so(index: Index) -> None:
    answer = index.identify(observed(lc_ms=SPECTRUM), k=3, rerank=False)
    rows = list(answer.lists[0].rows())
    assert [row["smiles"] for row in rows] == ["CC(=O)Nc1ccc(O)cc1"]
    assert abs(rows[0]["why"]["mass_error_ppm"]) < 10
    assert any("151.0633" in note and "--any-mass" in note for note in answer.notes)
    assert any("1 of the 3 hits" in note for note in answer.notes)
    free = index.identify(observed(lc_ms=SPECTRUM), k=3, rerank=False, by_precursor=False)
    assert len(free.lists[0]) == 3
    wide = index.identify(observed(lc_ms=SPECTRUM), k=30, rerank=False, tol_da=40.0)
    assert 1 < len(wide.lists[0]) < len(index)


def test_a_formula_or_mass_comes_before_the_precursor(index: Index) -> None:
    answer = index.identify(observed(lc_ms=SPECTRUM), k=3, rerank=False, formula="C9H8O4")
    rows = list(answer.lists[0].rows())
    assert [row["formula"] for row in rows] == ["C9H8O4"]
    assert rows[0]["why"]["formula_matches"] is True


def test_a_filter_that_leaves_nothing_is_an_error(index: Index) -> None:
    with pytest.raises(FilterError, match="none of the"):
        index.identify(observed(c_nmr=SHIFTS), formula="C99H2")


def test_filters_hold_and_fill_up_to_k(index: Index) -> None:
    answer = index.identify(observed(c_nmr=SHIFTS), k=10, rerank=False, where="exact_mass < 100")
    rows = list(answer.lists[0].rows())
    assert len(rows) == 10
    assert all(row["exact_mass"] < 100 for row in rows)


def test_explain_needs_a_key(index: Index) -> None:
    with pytest.raises(ConfigError, match="without a key"):
        index.explain(observed(c_nmr=SHIFTS), [])


def test_what_was_understood_is_in_the_answer(index: Index) -> None:
    answer = index.identify(observed(c_nmr=SHIFTS, lc_ms=SPECTRUM), rerank=False).to_dict()
    carbon, mass = answer["query"]["observations"]
    assert [peak["position"] for peak in carbon["peaks"]] == SHIFTS["shifts"]
    assert (carbon["unit"], mass["unit"]) == ("ppm", "m/z")
    assert mass["adduct"] == "[M+H]+"
    assert mass["neutral_mass"] == pytest.approx(151.0633, abs=1e-3)
    assert answer["seconds"]["total"] > 0


def test_a_space_that_the_index_lacks_is_named(index: Index) -> None:
    with pytest.raises(ConfigError, match=r"no space for gc_ms; it has c_nmr, h_nmr, lc_ms"):
        index.identify(observed(gc_ms={"mzs": [50.0, 60.0], "intensities": [1.0, 2.0]}))


def test_nothing_observed_is_an_error(index: Index) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        index.identify({})


def test_text_and_files_are_read(index: Index, tmp_path: Path) -> None:
    text = "13C NMR (151 MHz, CDCl3) δ 168.1, 153.2, 130.9, 121.2, 115.0, 77.16, 23.9."
    answer = index.identify({"c_nmr": text}, k=2, rerank=False)
    (seen,) = answer.query["observations"]
    assert [peak["position"] for peak in seen["peaks"]] == [168.1, 153.2, 130.9, 121.2, 115.0, 23.9]
    assert any("77.16" in note for note in answer.notes)
    file = tmp_path / "compound.txt"
    file.write_text(text, encoding="utf-8")
    assert index.identify({"c_nmr": str(file)}, k=2, rerank=False).lists[0].hits == answer.lists[0].hits


@pytest.mark.parametrize(
    ("modality", "given", "reason"),
    [
        ("c_nmr", "", "."),
        ("c_nmr", "no shifts in here", "."),
        ("c_nmr", "spectrum.txt", "no file"),
        ("image", "absent.png", "absent.png cannot be read"),
        ("lc_ms", "absent.mgf", "absent.mgf"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(index: Index, modality: str, given: str, reason: str) -> None:
    with pytest.raises(InvalidRecord, match=reason) as caught:
        index.identify({modality: given})
    assert "\n" not in str(caught.value)


def test_reranked_logits_are_weighted_cosine_and_evidence(model: Model, reranking: Index) -> None:
    asked = observed(c_nmr=SHIFTS, lc_ms=SPECTRUM)
    (found,) = reranking.identify(asked, k=len(reranking), by_precursor=False).lists
    rows = list(found.rows())
    mols = [parse(row["smiles"])[0] for row in rows]
    said = reranker("c_nmr").evidence(model, asked[0].item, mols)
    for row, one in zip(rows, said, strict=True):
        why = row["why"]
        assert why["logits"]["c_nmr"] == pytest.approx(
            3.0 * why["cosines"]["c_nmr"] + 0.5 * one.score, abs=1e-3
        )
        assert why["logits"]["lc_ms"] == pytest.approx(10.0 * why["cosines"]["lc_ms"], abs=1e-3)
        assert why["evidence"]["c_nmr"]["score"] == pytest.approx(one.score, abs=1e-6)
        assert row["score"] == pytest.approx(sum(why["logits"].values()), abs=1e-3)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert found.probabilities.sum() == pytest.approx(UNKNOWN)


def test_each_logit_counts_for_what_the_card_says_of_such_a_set(
    spectral_model: Path, spectral_index: Path, reranking: Index, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(spectral_model, tmp_path / "trusted"))
    card = json.loads((copy / "card.json").read_text())
    card["spaces"]["c_nmr"]["rerank"] = {"cosine": 3.0, "evidence": 0.5}
    card["spaces"]["h_nmr"]["rerank"] = {"cosine": 2.0, "evidence": 0.25}
    factors = {"plain": {"c_nmr": 1.5, "h_nmr": 0.25}, "rerank": {"c_nmr": 1.25, "h_nmr": 0.5}}
    card["together"] = {"c_nmr+h_nmr": factors}
    (copy / "card.json").write_text(json.dumps(card))
    trusting = acml_search.open_index(spectral_index, model=copy)
    both = {"h_nmr": PROTONS, "c_nmr": SHIFTS}
    n = len(trusting)
    for rerank, kind in ((False, "plain"), (True, "rerank")):
        before = {
            row["key"]: row["why"]["logits"]
            for row in reranking.identify(observed(**both), k=n, rerank=rerank).lists[0].rows()
        }
        rows = list(trusting.identify(observed(**both), k=n, rerank=rerank).lists[0].rows())
        for row in rows:
            for name, logit in row["why"]["logits"].items():
                assert logit == pytest.approx(factors[kind][name] * before[row["key"]][name], abs=2e-3)
        totals = [sum(row["why"]["logits"].values()) for row in rows]
        assert totals == pytest.approx(sorted(totals, reverse=True), abs=2e-3)
    for other in ({"c_nmr": SHIFTS}, {"c_nmr": SHIFTS, "h_nmr": PROTONS, "lc_ms": SPECTRUM}):
        asked = observed(**other)
        (plain,), (same,) = (
            one.identify(asked, k=5, rerank=False, by_precursor=False).lists for one in (reranking, trusting)
        )
        assert plain.hits == same.hits


def test_reranking_can_be_left_out_and_changes_the_order(reranking: Index) -> None:
    asked = observed(c_nmr=SHIFTS)
    plain = list(reranking.identify(asked, k=10, rerank=False).lists[0].rows())
    ranked = list(reranking.identify(asked, k=10).lists[0].rows())
    assert "evidence" not in plain[0]["why"]
    assert "evidence" in ranked[0]["why"]
    assert [row["key"] for row in plain] != [row["key"] for row in ranked]


def test_evidence_names_atoms_of_the_hit(reranking: Index) -> None:
    (found,) = reranking.identify(observed(c_nmr=SHIFTS, h_nmr=PROTONS), k=3).lists
    for row in found.rows():
        n = parse(row["smiles"])[0].GetNumAtoms()
        carbon = row["why"]["evidence"]["c_nmr"]
        atoms = [i for match in carbon["matched"] for i in match["atoms"]]
        assert all(0 <= i < n for i in atoms)
        told = len({match["observed"] for match in carbon["matched"]}) + len(carbon["unmatched_observed"])
        assert told == len(SHIFTS["shifts"])


def test_candidates_that_were_not_compared_follow(reranking: Index) -> None:
    asked = observed(c_nmr=SHIFTS)
    first = {row["key"] for row in reranking.identify(asked, k=5, rerank=False).lists[0].rows()}
    (found,) = reranking.identify(asked, k=5, rerank_depth=5).lists
    assert {row["key"] for row in found.rows()} == first
    keys = [row["key"] for row in reranking.identify(asked, k=len(reranking), rerank=False).lists[0].rows()]
    (last,) = reranking.explain(asked, keys[-1:]).lists
    assert [row["key"] for row in last.rows()] == keys[-1:]


def carriers(smiles: str) -> list[int]:
    """The element that each hydrogen is on."""
    atoms = AddHs(MolFromSmiles(smiles)).GetAtoms()
    return [atom.GetNeighbors()[0].GetAtomicNum() for atom in atoms if atom.GetAtomicNum() == 1]


PRINTED = "1H NMR (400 MHz, CDCl3) δ 7.34 (d, J = 8.8 Hz, 2H), 6.68 (d, J = 8.8 Hz, 2H), 1.97 (s, 3H)"


@pytest.mark.parametrize("others", [{}, {"c_nmr": SHIFTS}], ids=["alone", "fused"])
def test_hydrogens_that_are_counted_choose_among_all_molecules(
    model: Model, index: Index, others: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few candidates are enough: those that fit are searched on their own."""
    monkeypatch.setattr(pipeline, "CANDIDATES", 4)
    asked = [get("h_nmr").read_input(PRINTED), *observed(**others)]
    table = index._directory.catalog.rows(index._directory.keys)
    carry = [carriers(text) for text in table.column("smiles").to_pylist()]
    prior = hydrogen_prior(7, [len(one) for one in carry], [sum(z != 6 for z in one) for one in carry])
    totals = logits(model, index, asked)
    expected = np.array([totals[key] for key in index._directory.keys.tolist()]) + prior
    answer = index.identify(asked, k=4, rerank=False)
    rows = list(answer.lists[0].rows())
    assert [row["key"] for row in rows] == index._directory.keys[np.argsort(-expected)[:4]].tolist()
    assert [sum(row["why"]["logits"].values()) for row in rows] == pytest.approx(
        np.sort(expected)[::-1][:4], abs=2e-3
    )
    assert [row["score"] for row in rows] == pytest.approx(np.sort(expected)[::-1][:4], abs=2e-3)
    assert any("count 7 hydrogens" in note for note in answer.notes)
    assert "hydrogens" in str(answer)


def test_without_counts_there_is_no_prior(index: Index) -> None:
    answer = index.identify({"h_nmr": "δ 7.34 (d, 2H), 6.68 (d), 1.97 (s)"}, k=3, rerank=False)
    assert not any("hydrogens" in row["why"]["logits"] for row in answer.lists[0].rows())
    assert not any("count" in note for note in answer.notes)


def test_hydrogens_keep_to_the_filter_and_outlast_re_ranking(reranking: Index) -> None:
    answer = reranking.identify({"h_nmr": PRINTED}, k=5, carbons="4-9")
    rows = list(answer.lists[0].rows())
    assert all("hydrogens" in row["why"]["logits"] for row in rows)
    assert all(MolFromSmiles(row["smiles"]).GetNumHeavyAtoms() >= 4 for row in rows)
    assert not any({"carbons", "hydrogens"} & set(row) for row in rows)
    (explained,) = reranking.explain({"h_nmr": PRINTED}, [rows[0]["key"]]).lists
    assert next(explained.rows())["why"]["logits"] == pytest.approx(rows[0]["why"]["logits"], abs=1e-3)


@pytest.mark.parametrize("depth", [0, 10_001, 1.5])
def test_a_depth_that_cannot_be_is_refused(index: Index, depth: Any) -> None:
    with pytest.raises(ConfigError, match=f"rerank_depth is {depth}; compare 1 to 10,000 candidates"):
        index.identify(observed(c_nmr=SHIFTS), rerank_depth=depth)
