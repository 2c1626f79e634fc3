"""Commands on a small library: exit status and exact output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from acml_search.cli import app

runner = CliRunner()

LIBRARY = "smiles,vendor\nCCO,A\nOCC,B\nCC(=O)O,A\nc1ccccc1,B\nnonsense,A\n"


def run(*arguments: object):
    return runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model) -> Path:
    """A folder with library.csv and the index `mine` of it: 3 molecules, 1 duplicate, 1 rejected row."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "library.csv").write_text(LIBRARY)
    done = build(folder, tiny_model)
    assert done.exit_code == 0, done.output
    return folder


def build(folder: Path, model: Path, *more: object):
    how = ("--out", folder / "mine", "--model", model, "--workers", 1)
    return run("build-index", folder / "library.csv", *how, *more)


REPORT = """\
{index}: 3 molecules, 1 duplicates, 1 rejected{already}
  smiles: 3 graph vectors, 3 records, SQfp16, {bytes:g} bytes per vector
  rejected rows and why: {index}/rejects.parquet
"""


def test_the_same_build_again_says_that_it_is_complete(folder, tiny_model) -> None:
    done = build(folder, tiny_model)
    size = json.loads(build(folder, tiny_model, "--json").stdout)["spaces"]["smiles"]["bytes_per_vector"]
    expected = REPORT.format(index=folder / "mine", already=" (complete already, nothing to do)", bytes=size)
    assert (done.exit_code, done.stdout, done.stderr) == (0, expected, "")


def test_info(folder) -> None:
    done = run("info", folder / "mine")
    first, second, third = done.stdout.splitlines()[:3]
    assert first.startswith(
        f"{folder / 'mine'}: 5 rows read, 3 molecules, 1 duplicates, 1 rejected, 0 without a record; "
    )
    assert second.startswith("model: tiny, digest ")
    assert third == f"library: {folder / 'library.csv'}"
    assert [line.split() for line in done.stdout.splitlines()[-3:]] == [
        ["space", "side", "vectors", "d", "factory"],
        ["smiles", "graph", "3", "32", "SQfp16"],
        ["smiles", "records", "3", "32", "SQfp16"],
    ]


def test_info_without_an_index_names_the_command_that_builds_one(tmp_path) -> None:
    done = run("info", tmp_path / "none")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"acml-search: {tmp_path / 'none'}: there is no index here; "
        f"build one with `acml-search build-index --out {tmp_path / 'none'}`\n"
    )


def test_verify_names_the_damaged_file(folder, tiny_model) -> None:
    index = folder / "damaged"
    made = run("build-index", folder / "library.csv", "--out", index, "--model", tiny_model, "--workers", 1)
    assert made.exit_code == 0
    path = index / "molecules" / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = run("verify", index)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{index}/molecules/part-00000.parquet: " in done.stderr
    asked = json.loads(run("verify", index, "--json").stdout)
    assert (asked["sound"], asked["problems"][0]["file"]) == (False, "molecules/part-00000.parquet")


def test_embed_writes_parquet_only(folder, tiny_model) -> None:
    out = folder / "embedded"
    done = run("embed", folder / "library.csv", "--out", out, "--model", tiny_model, "--workers", 1)
    expected = (
        f"{out}: 3 molecules, 1 duplicates, 1 rejected\n"
        "  smiles: 3 graph vectors, 0 records\n"
        f"  rejected rows and why: {out}/rejects.parquet\n"
    )
    assert (done.exit_code, done.stdout) == (0, expected)
    assert pq.read_table(out / "embeddings/smiles/graph/part-00000.parquet").num_rows == 3
    assert not list(out.rglob("*.faiss"))


def test_bench_recall(folder, tiny_model) -> None:
    out = folder / "recall.json"
    done = run(
        "bench", "recall", "--modality", "smiles", "--queries", folder / "library.csv", "--model", tiny_model,
        "--workers", 1, "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    head, names, *rows = done.stdout.splitlines()
    assert head == "smiles to-molecule: 5 queries (1 failed), pool of 3"
    assert names.split() == ["value", "95", "%", "interval", "chance"]
    assert [row.split()[0] for row in rows] == ["recall@1", "recall@5", "recall@10", "recall@20", "mrr"]
    assert rows[1].split() == ["recall@5", "0.7500", "0.2500", "to", "1.0000", "1"]
    assert json.loads(out.read_text())["n_pool"] == 3
    for name, smiles in (("a", "CCCC"), ("b", "CCS")):
        (folder / f"{name}.smi").write_text(f"{smiles}\n")
    done = run(
        "bench", "recall", "--modality", "smiles", "--queries", folder / "library.csv", "--library",
        folder / "a.smi", folder / "b.smi", "--model", tiny_model, "--workers", 1, "--out", out,
    )  # fmt: skip
    assert done.stdout.splitlines()[0].endswith("pool of 5")


def test_bench_isomers(folder, tiny_model) -> None:
    (folder / "isomers.smi").write_text("COC\nCCCC\n")
    out = folder / "isomers.json"
    done = run(
        "bench", "isomers", "--modality", "smiles", "--queries", folder / "library.csv", "--library",
        folder / "isomers.smi", "--model", tiny_model, "--workers", 1, "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    head, names, *rows = done.stdout.splitlines()
    expected = "smiles: 2 queries (0 failed) in 1 formulas, groups of 2 (median) to 2 molecules"
    assert head == expected  # ethanol twice, with dimethyl ether
    assert names.split() == ["value", "95", "%", "interval", "chance"]
    assert [row.split()[0] for row in rows] == ["accuracy", "mrr"]
    assert rows[0].split()[-1] == "0.5"
    result = json.loads(out.read_text())
    assert result["accuracy"] == float(rows[0].split()[1])
    assert result["group_size"].keys() >= {"median", "p90", "max"}


def test_bench_recall_warns_of_what_training_saw(folder, tiny_model, tmp_path) -> None:
    from acml_search.chem.molecule import describe, parse
    from acml_search.encoders.training_molecules import TrainingMolecules, write_training_list

    model = shutil.copytree(tiny_model, tmp_path / "trained")
    ethanol = describe(*parse("CCO")).inchikey[:14]
    write_training_list(model, TrainingMolecules.of([ethanol], {}), "by hand")
    (tmp_path / "mine.smi").write_text("CCO\nCCN\nCCC\n")
    mine = tmp_path / "mine.smi"
    command = ["bench", "recall", "--modality", "smiles", "--queries", mine, "--model", model,
               "--workers", 1, "--out", tmp_path / "r.json"]  # fmt: skip
    done = run(*command)
    assert done.exit_code == 0, done.output
    assert "warning: training saw 1 of the molecules that ask (0 with measured records)" in done.stderr
    assert "warning" not in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["leakage"]["n_unseen"] == 2
    dropped = run(*command, "--seen", "drop")
    assert (dropped.exit_code, "warning" in dropped.stderr) == (0, False)
    assert json.loads((tmp_path / "r.json").read_text())["n_queries"] == 2
    failed = run(*command, "--seen", "fail")
    assert failed.exit_code == 1
    assert "1 of the molecules that ask were in the training of tiny, such as that of row 0" in failed.stderr


def test_bench_throughput(folder, tiny_model) -> None:
    done = run(
        "bench", "throughput", "--n", 3, "--library", folder / "library.csv", "--model", tiny_model,
        "--workers", 1, "--rounds", 1, "--out", folder / "throughput.json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "3 molecules, 1 workers, 1 rounds"
    assert [line.split()[0] for line in lines[2:6]] == ["parse_only", "end_to_end", "pyg", "pyg_in_workers"]
    assert lines[6].startswith("end to end is ")
