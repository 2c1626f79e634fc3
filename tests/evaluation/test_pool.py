"""Queries and their records."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

from acml_search.core.errors import ConfigError
from acml_search.evaluation.pool import Query, choose, read_queries, record_of
from acml_search.evaluation.workers import model_workers

PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"


def record(smiles, seed=0, molecule="RZVAJINKPMORJF"):
    return record_of("smiles", smiles, molecule, None, seed)


@pytest.mark.parametrize("smiles", [PARACETAMOL, "C[C@H](N)C(=O)O", "F/C=C/F", "CCN", "CC=O"])
@pytest.mark.parametrize("seed", range(5))
def test_another_spelling_of_the_same_molecule(smiles, seed) -> None:
    canonical = Chem.CanonSmiles(smiles)
    found = record(canonical, seed)
    assert found != canonical
    assert Chem.CanonSmiles(found) == canonical


def test_a_molecule_with_one_spelling_keeps_it() -> None:
    assert record("C") == "C"


def test_the_record_depends_on_seed_and_molecule_alone() -> None:
    assert record(PARACETAMOL) == record(PARACETAMOL)
    assert len({record(PARACETAMOL, seed) for seed in range(8)}) > 1
    assert len({record(PARACETAMOL, molecule=f"MOLECULE{i}") for i in range(8)}) > 1


def test_a_choice_of_queries_is_seeded_and_keeps_their_order() -> None:
    queries = [Query(i, None, {}, None) for i in range(100)]
    few = [query.row for query in choose(queries, 10, seed=1)]
    assert few == sorted(few)
    assert few == [query.row for query in choose(queries, 10, seed=1)]
    assert few != [query.row for query in choose(queries, 10, seed=2)]
    assert choose(queries, None, seed=1) == queries == choose(queries, 100, seed=1)


def test_all_columns_of_a_spectrum_are_named(tmp_path) -> None:
    pq.write_table(pa.table({"smiles": ["CCO"], "mzs": [[45.0]]}), tmp_path / "peaks.parquet")
    with model_workers(1) as workers:
        file = read_queries(tmp_path / "peaks.parquet", workers)
    words = r"needs a column named intensities \(mzs and intensities are read, and precursor_mz,"
    with pytest.raises(ConfigError, match=words):
        file.check_columns("lc_ms")


def test_printed_lines_are_read_as_records(tmp_path) -> None:
    lines = ["1H NMR (CDCl3) δ 3.72 (q, J = 7.0 Hz, 2H), 1.21 (t, J = 7.0 Hz, 3H)", None, "as expected", ""]
    table = pa.table({"smiles": ["CCO", "CC", "CCC", "C"], "text": lines, "split": ["valid"] * 4})
    pq.write_table(table, tmp_path / "lines.parquet")
    with model_workers(1) as workers:
        file = read_queries(tmp_path / "lines.parquet", workers)
    found = file.printed("h_nmr", "text")
    found.check_columns("h_nmr")
    read, unread = found.select(split="valid")  # rows without a line are no queries
    assert read.metadata["counts"] == [2, 3]
    assert read.metadata["couplings"] == [[7.0], [7.0]]
    (bare, _) = file.printed("h_nmr", "text", ["counts", "couplings"]).select(split="valid")
    assert {"counts", "couplings"}.isdisjoint(bare.metadata)
    assert bare.metadata["multiplicity"] == ["q", "t"]
    assert unread.structure is None
    assert unread.error
    with pytest.raises(ConfigError, match="needs a column named h_text"):
        file.printed("h_nmr", "h_text")
