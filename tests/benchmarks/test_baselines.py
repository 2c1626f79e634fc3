"""Baselines: each ranks as computed by hand, learns from training rows alone, is asked as the model is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from evaluation_files import SHIFTS, write_measured
from rdkit import Chem

from acml_search.chem.graph import featurise
from acml_search.chem.molecule import describe
from acml_search.core.errors import ConfigError
from acml_search.core.workers import Workers
from acml_search.encoders.shifts import Predicted
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.embedding import MoleculeVectors
from acml_search.evaluation.pool import Pool, Query, Structure
from acml_search.ms.peaks import Spectrum
from acml_search.nmr.predicted import pack, symmetry_classes
from benchmarks import baselines
from benchmarks.baselines import Material, NearestSpectrum, Rows, baseline
from benchmarks.suite.measures import fingerprints, tanimoto, unpacked
from benchmarks.suite.run import measure_suite

NAMES = list(SHIFTS)


def structure(smiles: str) -> Structure:
    known = describe(Chem.MolFromSmiles(smiles), None)
    return Structure(known.smiles, known.inchikey[:14], known.formula, known.exact_mass)


@pytest.fixture
def material(tmp_path: Path) -> Iterator[Material]:
    """Three molecules ask; the others are training rows, one of them taken as the inner part."""
    pool = Pool([structure(smiles) for smiles in NAMES], 0)
    rows = [
        Query(i, one, {"shifts": SHIFTS[name]}, None)
        for i, (name, one) in enumerate(zip(NAMES, pool.structures, strict=True))
    ]
    items = [np.array(SHIFTS[name], np.float32) for name in NAMES[:3]]
    with Workers(1) as workers:
        yield Material(
            "c_nmr", pool, items, np.arange(3), rows[3:], workers, Cache(tmp_path), MoleculeVectors([])
        )


def whole(name: str, material: Material) -> np.ndarray:
    return baseline(name).prepare(material)(np.arange(len(material.pool)))


def test_formula_ties_all_isomers(material: Material) -> None:
    scores = whole("formula", material)
    # ethanol and dimethyl ether are isomers, acetic acid is alone
    np.testing.assert_array_equal(scores[:2, :3], [[1, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(scores[2], np.arange(10) == 2)
    assert material.about["expected_at_1"] == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_nearest_spectrum_finds_the_molecules_like_those_of_the_nearest_one(
    material: Material, monkeypatch: Any
) -> None:
    alone = material.training[4]  # tert-butanol
    monkeypatch.setattr(baselines, "is_dev", lambda key: key == alone.structure.inchikey14)
    material.records[0] = np.array(SHIFTS["CCOCC"], np.float32)  # as the training row of diethyl ether
    scores = whole("nearest_spectrum", material)
    assert scores[0].argmax() == NAMES.index("CCOCC")
    assert alone.structure.inchikey14 not in material.train.inchikeys
    assert material.dev.inchikeys == [alone.structure.inchikey14]
    told = material.about["chosen_on_inner"]
    assert told["neighbours"] in NearestSpectrum.neighbours
    assert told["power"] in NearestSpectrum.powers


def test_neighbours_that_queries_share_count_for_each(material: Material, monkeypatch: Any) -> None:
    """Against the sum over each query's own neighbours, written out."""
    monkeypatch.setattr(NearestSpectrum, "neighbours", (3,))
    monkeypatch.setattr(baselines, "is_dev", lambda key: key == material.training[4].structure.inchikey14)
    found = whole("nearest_spectrum", material)
    told = material.about["chosen_on_inner"]
    tables = [
        baselines.shift_histograms("c_nmr", records, told["width"])
        for records in (material.records, material.train.records)
    ]
    near, weight = baselines.nearest(*tables, 3)
    bits = unpacked(material.bits_of(material.train.smiles))
    pool = unpacked(material.bits)
    for query, (rows, cosines) in enumerate(zip(near, weight, strict=True)):
        parts = tanimoto(bits[rows], pool) * (cosines ** told["power"])[:, None]
        np.testing.assert_allclose(found[query], parts.sum(axis=0), rtol=1e-5)
    assert len(np.unique(near)) < near.size


def test_bits_are_computed_once_and_kept(material: Material, monkeypatch: Any) -> None:
    first = material.bits_of(["CCO", "CCN", "CCO"])
    np.testing.assert_array_equal(first, fingerprints(["CCO", "CCN", "CCO"]))
    monkeypatch.setattr(baselines, "fingerprints", None)
    np.testing.assert_array_equal(material.bits_of(["CCO", "CCN"]), first[:2])
    next(material.cache.folder.rglob("*.npy")).write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="remove the file"):
        material.bits_of(["CCO", "CCN"])


def test_binned_observations_by_hand() -> None:
    near = (
        baselines.shift_histograms("c_nmr", [[50.0], [50.5], [90.0]], 1.0)
        @ baselines.shift_histograms("c_nmr", [[50.0]], 1.0).T
    )
    # two Gaussians a half of their width apart overlap by exp(-1/16)
    np.testing.assert_allclose(near[:, 0], [1.0, np.exp(-1 / 16), 0.0], atol=1e-3)
    spectrum = Spectrum(np.array([100.25]), np.array([4.0]), 150.25, (0, 0, 0), 0.0)
    table = baselines.mass_bins([spectrum], 0.5).toarray()[0]
    # the peak half between two bins, the neutral loss of 50 on one
    np.testing.assert_allclose(np.sort(table[table > 0]), np.array([1.0, 1.0, 2.0]) / np.sqrt(6.0), rtol=1e-6)


def test_predicted_peaks_in_a_histogram_by_hand() -> None:
    mols = [Chem.MolFromSmiles(smiles) for smiles in ("CC", "O", "C")]
    graphs = [featurise(mol) for mol in mols]
    known = zip(graphs, ([50.0, 50.0], [], [90.0]), strict=True)
    predicted = [
        Predicted(np.arange(len(shifts)), np.array(shifts), np.full(len(shifts), 0.25), np.ones(len(shifts)))
        for _, shifts in known
    ]
    # two equivalent atoms show one peak; the second molecule has none, the third was refused
    kept = pack("C", [symmetry_classes(mol) for mol in mols], graphs, predicted)
    lists = kept.placed([0, 1, 3], 4)
    width = baselines.ShiftMatching.widths["c_nmr"]
    table = baselines.predicted_histograms("c_nmr", lists, width)
    asked = baselines.shift_histograms("c_nmr", [[50.0]], width)
    apart = np.exp(-((40 / width) ** 2) / 4)
    np.testing.assert_allclose(asked @ table.T, [[1.0, 0.0, 0.0, apart]], atol=2e-3)


def test_records_of_a_molecule_are_limited_and_unreadable_ones_left_out() -> None:
    one = structure("CCO")
    rows = [Query(i, one, {"shifts": [10.0 + i]}, None) for i in range(5)] + [
        Query(9, one, {"shifts": []}, None)
    ]
    assert len(Rows.of(rows, "c_nmr", 3)) == 3
    assert len(Rows.of(rows, "c_nmr")) == 5


def test_what_cannot_be_answered_says_why(material: Material) -> None:
    with pytest.raises(ConfigError, match="there is no baseline 'oracle'; there are formula, nearest"):
        baseline("oracle")
    with pytest.raises(ConfigError, match="no peaks in the space c_nmr; leave the baseline 'shifts'"):
        baseline("shifts").prepare(material)
    assert "no shifts in lc_ms" in str(baseline("shifts").why_not("lc_ms"))
    assert "nothing new" in str(baseline("nearest_spectrum").why_not("image"))
    material.training = []
    with pytest.raises(ConfigError, match="name such rows with `training`"):
        baseline("nearest_spectrum").prepare(material)


QUESTION = """library = ["library.smi"]
[[question]]
name = "one"
modality = "c_nmr"
queries = "spectra.parquet"
where = "split = 'valid'"
filters = ["none", "formula"]
isomers = true
batch = 0
training = "split = 'train'"
baselines = ["formula", "shifts"]
"""


def test_a_suite_measures_baselines_as_it_measures_the_model(two_spaces: Path, tmp_path: Path) -> None:
    write_measured(tmp_path)
    (tmp_path / "one.toml").write_text(QUESTION)
    out = tmp_path / "out"
    measure_suite([tmp_path / "one.toml"], out, model=str(two_spaces), workers=1)
    ours = json.loads((out / "one.json").read_text())
    for name in ("formula", "shifts"):
        theirs = json.loads((out / f"one.baseline-{name}.json").read_text())
        assert theirs["baseline"] == name
        assert all(theirs[key] == ours[key] for key in ("n_queries", "n_pool", "n_failed"))
        assert (out / f"one.baseline-{name}.isomers.json").exists()
    ranks = pq.read_table(out / "one.baseline-formula.queries.parquet").to_pylist()
    assert {row["rank"] for row in ranks if row["smiles"] == "CCO"} == {2}  # dimethyl ether ties
    without = measure_suite(
        [tmp_path / "one.toml"], tmp_path / "without", model=str(two_spaces), baselines=False, workers=1
    )
    assert not [name for name in without["results"] if "baseline" in name]
