"""Libraries to index directories: complete, repeatable, resumable, and refusing invalid input."""

from __future__ import annotations

import gzip
import json
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from worker_tasks import lives

from acml_search.cli import app
from acml_search.core.errors import AcmlSearchError, ConfigError, IndexCorrupt, IndexNotFound, UnknownModality
from acml_search.core.workers import Workers
from acml_search.index import build, shards
from acml_search.index.build import add_library, build_index, embed_library, locked
from acml_search.index.directory import IndexDirectory, read_manifest
from acml_search.index.verify import verify
from acml_search.library import standardise
from tests.index.conftest import contents

BAD = ["CC(C)(C)(C)C", "not a molecule", "*CC", "C1CC"]


def alkanes_and_friends() -> list[str]:
    """70 distinct molecules, 6 of them again in another way of writing, and 4 that are none."""
    tails = ["C" * n for n in range(1, 36)]
    rows = [f"{tail}O" for tail in tails] + [f"{tail}N" for tail in tails]
    rows[20:20] = BAD[:2]
    rows += ["OC", "OCC", "NCC", "CCN.Cl", "[CH3:1]O", "[NH3+]CCC", *BAD[2:]]
    return rows


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "small.csv"
    lines = [f"{smiles},{row},{row / 4},id-{row}" for row, smiles in enumerate(alkanes_and_friends())]
    path.write_text("smiles,number,quarter,name\n" + "\n".join(lines) + "\n")
    return path


def test_a_factory_that_fails_late_does_not_cost_the_embedding(
    library: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    with pytest.raises(AcmlSearchError, match="PQ16"):  # needs more vectors to train on than there are
        build_index(library, out, model=tiny_model, factory="PQ16", workers=1)

    def made_again(*given: object) -> None:
        raise AssertionError("a shard was made again")

    monkeypatch.setattr(build, "Workers", lambda n, **options: Workers(1))
    monkeypatch.setattr(shards, "make_shard", made_again)
    report = build_index(library, out, model=tiny_model, factory="flat", workers=1)
    assert report.to_dict()["molecules"] == 70
    assert verify(out) == []


@pytest.fixture(scope="module")
def built(library: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of `library`, by two processes in shards of 9 rows."""
    out = tmp_path_factory.mktemp("built") / "index"
    report = build_index(library, out, model=tiny_model, workers=2, shard_size=9).to_dict()
    assert not report["already_complete"]
    return out


def test_every_row_is_accounted_for(built: Path, library: Path) -> None:
    counts = read_manifest(built).counts
    assert counts == {"rows": 80, "molecules": 70, "rejected": 4, "duplicates": 6, "no_record": 0}
    rows = alkanes_and_friends()
    rejects = pq.read_table(built / "rejects.parquet")
    assert [rows[row] for row in rejects.column("source_row").to_pylist()] == BAD
    assert all(rejects.column("reason").to_pylist())
    duplicates = pq.read_table(built / "duplicates.parquet").to_pylist()
    assert [rows[item["source_row"]] for item in duplicates] == rows[72:78]
    assert [rows[item["key"]] for item in duplicates] == ["CO", "CCO", "CCN", "CCN", "CO", "CCCN"]


def test_molecules_and_vectors_share_their_keys(built: Path) -> None:
    with IndexDirectory(built) as index:
        molecules = pq.ParquetDataset(index.files("molecules")).read()
        assert molecules.column("key").to_pylist() == index.keys.tolist()
        assert molecules.column("source_row").to_pylist() == index.keys.tolist()
        assert molecules.column("number").to_pylist() == index.keys.tolist()
        assert molecules.column("quarter").to_pylist() == (index.keys / 4).tolist()
        assert molecules.column("name").to_pylist() == [f"id-{key}" for key in index.keys]
        for side in ("graph", "records"):
            vectors = index.vectors("smiles", side)
            assert np.array_equal(vectors.keys, index.keys)
            assert index.files(f"embeddings/smiles/{side}") == []  # vectors are stored once
            np.testing.assert_allclose(np.linalg.norm(vectors.stored(np.arange(70)), axis=1), 1, atol=2e-3)


def test_stored_vectors_are_what_the_model_gives(built: Path, tiny_model: Path) -> None:
    from acml_search.chem.molecule import parse
    from acml_search.encoders.checkpoint import load_model

    with IndexDirectory(built) as index:
        smiles = pq.ParquetDataset(index.files("molecules")).read().column("smiles").to_pylist()
        model = load_model(tiny_model)
        graphs = model.encode_molecules([parse(text)[0] for text in smiles])["smiles"]
        np.testing.assert_allclose(index.vectors("smiles").stored(np.arange(70)), graphs, atol=1e-3)
        records = model.encode_records("smiles", smiles)
        np.testing.assert_allclose(
            index.vectors("smiles", "records").stored(np.arange(70)), records, atol=1e-3
        )


def test_a_sound_index_verifies(built: Path) -> None:
    assert verify(built) == []


def test_the_same_command_again_does_nothing(built: Path, library: Path, tiny_model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    report = build_index(library, built, model=tiny_model, workers=1, shard_size=500).to_dict()
    assert report["already_complete"]
    assert report["molecules"] == 70
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    assert [path.name for path in built.parent.iterdir()] == ["index"]


def test_another_input_in_the_same_folder_is_refused(built: Path, library: Path, tiny_model: Path) -> None:
    before = contents(built)
    for other in ({"limit": 5}, {"factory": "flat"}, {"tautomer": True}, {"modalities": ()}):
        with pytest.raises(ConfigError, match="--restart"):
            build_index(library, built, model=tiny_model, **other)
    assert contents(built) == before


KILLED_AT = {
    "the second shard": "shards/000001",
    "the merge": "index/molecules",
    "the indexing": "index/faiss",
}


@pytest.mark.parametrize("stage", KILLED_AT)
def test_killed_at_any_time_it_resumes_to_the_same_bytes(
    stage: str, built: Path, library: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "index", tmp_path / "index.building"
    code = (
        "from acml_search.index.build import build_index\n"
        f"build_index({str(library)!r}, {str(out)!r}, model={str(tiny_model)!r}, workers=1, shard_size=9)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not (work / KILLED_AT[stage]).exists():
        assert process.poll() is None, "it finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")  # where the system has it (Linux)
    workers = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGTERM if stage == "the second shard" else signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(lives(int(pid)) for pid in workers):  # they have to notice by themselves
        assert time.monotonic() < deadline, "a worker outlived the build"
        time.sleep(0.05)
    assert not out.exists()
    assert (work / "shards" / "000000" / "done.json").exists()
    made: list[str] = []
    make = shards.make_shard

    def watched(task: tuple[object, Path, object]) -> None:
        made.append(task[1].name)
        make(task)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "Workers", lambda n, **options: Workers(1))
        patch.setattr(shards, "make_shard", watched)
        report = build_index(library, out, model=tiny_model, workers=1, shard_size=9)
    assert "000000" not in made
    assert not report.complete
    assert contents(out) == contents(built)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.usefixtures("in_process")
def test_a_half_written_shard_is_made_again(
    built: Path, library: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Other leftovers than a kill makes: a power cut may leave a marker beside a file that is cut short."""
    out = tmp_path / "index"
    with pytest.MonkeyPatch.context() as patch:

        def stop(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(build, "Merge", stop)
        with pytest.raises(KeyboardInterrupt):
            build_index(library, out, model=tiny_model, workers=2, shard_size=9)
    cut = tmp_path / "index.building" / "shards" / "000003" / "smiles.graph.parquet"
    cut.write_bytes(cut.read_bytes()[:100])
    for file in ("smiles.graph.parquet", "molecules.parquet"):  # or one as long, of zeros
        blank = tmp_path / "index.building" / "shards" / "000001" / file
        blank.write_bytes(blank.read_bytes()[:50] + bytes(blank.stat().st_size - 50))
    with pytest.raises(ConfigError, match="unfinished build"):
        build_index(library, out, model=tiny_model, workers=2, shard_size=10)
    build_index(library, out, model=tiny_model, workers=2, shard_size=9)
    assert contents(out) == contents(built)


@pytest.mark.usefixtures("in_process")
def test_a_full_disk_is_said_and_costs_nothing_that_is_done(
    built: Path, library: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """At every size that a file may have, from almost none up to what the largest one needs."""
    out, limits = tmp_path / "index", resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in built.rglob("*") if path.is_file())
    shards_there = 0
    try:
        for allowed in [16, 500, *range(1_000, largest, largest // 12)]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, limits[1]))
            with pytest.raises(AcmlSearchError, match="File too large; make room and run the same command"):
                build_index(library, out, model=tiny_model, shard_size=9)
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            done = len(list(tmp_path.glob("index.building/shards/*/done.json")))
            assert done >= shards_there
            shards_there = done
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert shards_there == 9
    build_index(library, out, model=tiny_model, shard_size=9)
    assert contents(out) == contents(built)


@pytest.mark.usefixtures("in_process")
def test_inchikeys_come_from_a_column_and_a_sample_is_made(
    few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build_index(few, tmp_path / "made", model=tiny_model)
    there = pq.read_table(tmp_path / "made" / "molecules").select(["smiles", "inchikey"])
    rows = [f"{smiles},{key}" for smiles, key in zip(*map(list, there.to_pydict().values()), strict=True)]
    path = tmp_path / "stated.csv"
    path.write_text("\n".join(["smiles,inchikey", *rows, "CCC[NH3+],wrong", "CCCCCC=O,", ""]))
    options: dict[str, Any] = {"model": tiny_model, "inchikey_column": "inchikey"}
    asked: list[str] = []
    make = standardise.inchikey_of
    monkeypatch.setattr(standardise, "inchikey_of", lambda mol: asked.append("") or make(mol))
    stated = build_index(path, tmp_path / "stated", **options)
    assert stated.manifest.counts["molecules"] == made.manifest.counts["molecules"] + 2
    table = pq.read_table(tmp_path / "stated" / "molecules").select(["smiles", "inchikey"])
    assert table.slice(0, len(there)).to_pydict() == there.to_pydict()
    assert len(asked) == 1  # of row 0
    path.write_text(path.read_text().replace(rows[0], f"{rows[0][:-1]}M"))
    with pytest.raises(
        ConfigError, match=r"row 0 of the library states the InChIKey .*M, and its structure has"
    ):
        build_index(path, tmp_path / "wrong", **options)
    with pytest.raises(ConfigError, match="no column 'key'; its columns are"):
        build_index(few, tmp_path / "none", model=tiny_model, inchikey_column="key")


@pytest.mark.usefixtures("in_process")
def test_restart_replaces_an_index_but_nothing_else(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(ConfigError, match="no index"):
            build_index(library, out, model=tiny_model, limit=4, restart=restart)
    assert (out / "thesis.tex").read_text() == "years of work"
    (out / "thesis.tex").unlink()
    build_index(library, out, model=tiny_model, workers=1, limit=4, modalities=())
    with IndexDirectory(out) as index:
        assert not index.has_side("smiles", "records")
        with pytest.raises(ConfigError, match="graph"):
            index.vectors("smiles", "records")
    (out / "manifest.json").write_text("{}")
    with pytest.raises(IndexCorrupt):
        build_index(library, out, model=tiny_model, workers=1, limit=4)
    build_index(library, out, model=tiny_model, workers=1, limit=6, factory="IVF2,SQ8", restart=True)
    assert verify(out) == []
    assert read_manifest(out).counts["rows"] == 6


@pytest.mark.usefixtures("in_process")
def test_nothing_usable_names_the_reasons(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.smi"
    path.write_text("\n".join(BAD) + "\n")
    with pytest.raises(AcmlSearchError, match=r"none of the 4 rows .*rejects\.parquet"):
        build_index(path, tmp_path / "index", model=tiny_model, workers=1)
    assert pq.read_table(tmp_path / "index.building" / "rejects.parquet").num_rows == 4
    assert not (tmp_path / "index").exists()


def test_two_builds_of_one_folder_do_not_mix(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "index"), pytest.raises(AcmlSearchError, match="another process"):
        build_index(library, tmp_path / "index", model=tiny_model)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_process")
def test_added_molecules_go_on_after_the_last_row(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, more = tmp_path / "index", tmp_path / "more.csv"
    build_index(library, out, model=tiny_model, workers=1, shard_size=30)
    before = read_manifest(out).counts
    more.write_text("smiles,number,colour\nCO,1,red\nc1ccccc1,2.5,blue\nnonsense,3,green\n")
    report = add_library(out, more, workers=1)
    assert report.manifest.counts == {
        "rows": before["rows"] + 3,
        "molecules": 71,
        "rejected": before["rejected"] + 1,
        "duplicates": before["duplicates"] + 1,
        "no_record": 0,
    }
    assert verify(out) == []
    with IndexDirectory(out) as index:
        rows = pq.ParquetDataset(index.files("molecules")).read().to_pylist()
        assert {name: rows[-1][name] for name in ("key", "smiles", "number", "colour")} == {
            "key": 81,
            "smiles": "c1ccccc1",
            "number": 2.5,
            "colour": "blue",
        }
        assert rows[0]["colour"] is None
        assert (
            index.vectors("smiles", "records").search(
                index.vectors("smiles", "records").stored(np.array([70])), 1
            )[1]
            == 81
        )
    assert pq.read_table(out / "duplicates.parquet").to_pylist()[-1]["source_row"] == 80
    assert add_library(out, more, workers=1).complete
    assert read_manifest(out).counts["rows"] == before["rows"] + 3


@pytest.mark.usefixtures("in_process")
def test_embeddings_alone_are_no_index(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    report = embed_library(library, out, model=tiny_model, workers=1).to_dict()
    assert report["spaces"]["smiles"]["graph"] == 70
    assert not (out / "faiss").exists()
    assert verify(out) == []
    table = pq.ParquetDataset(out / "embeddings/smiles/graph").read()
    assert table.num_rows == 70
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: halffloat>[32]"
    assert embed_library(library, out, model=tiny_model, workers=1).complete
    with pytest.raises(IndexNotFound, match="embeddings only"):
        IndexDirectory(out)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "library.csv"
    path.write_text("smiles\nCCO\nCCN\nOCC\nC1CC\n")
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("ending", ["building", "replaced"])
@pytest.mark.parametrize("there", ["nothing", "an index"])
def test_a_folder_of_the_users_with_such_a_name(
    ending: str, there: str, few: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    if there == "an index":
        build_index(few, out, model=tiny_model, workers=1)
    precious = tmp_path / f"mine.{ending}" / "notes.txt"
    precious.parent.mkdir()
    precious.write_text("precious")
    for restart in (False, True):
        with pytest.raises(ConfigError, match=rf"mine\.{ending} is in the way"):
            build_index(few, out, model=tiny_model, workers=1, restart=restart)
    assert precious.read_text() == "precious"
    assert out.exists() == (there == "an index")
    precious.unlink()  # an empty folder may be what an interruption left
    build_index(few, out, model=tiny_model, workers=1)
    assert not precious.parent.exists()


def test_a_file_of_the_users_with_such_a_name(few: Path, tiny_model: Path, tmp_path: Path) -> None:
    for ending in ("building", "replaced"):
        precious = tmp_path / f"mine.{ending}"
        precious.write_text("precious")
        with pytest.raises(ConfigError, match="is in the way"):
            build_index(few, tmp_path / "mine", model=tiny_model, workers=1)
        assert precious.read_text() == "precious"
        precious.unlink()


@pytest.mark.usefixtures("in_process")
def test_a_library_that_was_cut_off_is_said(tiny_model: Path, tmp_path: Path) -> None:
    rows = "\n".join(["smiles", *("C" * (1 + n % 40) + "NO"[n % 2] for n in range(8_000))])
    library = tmp_path / "library.csv.gz"
    whole = gzip.compress(rows.encode())
    library.write_bytes(whole[: len(whole) // 2])
    build = ("build-index", library, "--out", tmp_path / "mine", "--model", tiny_model, "--workers", 1)
    for _ in range(2):  # also where all is done already
        done = run(*build)
        assert done.exit_code == 0
        (said,) = done.stderr.splitlines()
        assert said.startswith("acml-search: row ")
        assert "damaged or cut off here, and nothing after this was read" in said
    (damage,) = json.loads(run(*build, "--json").stdout)["damaged"]
    assert damage in said


@pytest.mark.usefixtures("in_process")
def test_add_tells_what_is_new(few: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    build_index(few, out, model=tiny_model, workers=1)
    more = tmp_path / "more.smi"
    more.write_text("CCO\nCCCl\nnone\n")
    first = run("add", out, more, "--workers", 1)
    assert "3 molecules, 2 duplicates, 2 rejected" in first.stdout
    assert "of these added now: 1 molecules, 1 duplicates, 1 rejected" in first.stdout
    again = json.loads(run("add", out, more, "--workers", 1, "--json").stdout)
    assert again["already_complete"]
    assert set(again["added"].values()) == {0}
    assert add_library(out, more, workers=1).damaged() == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"workers": "2"}, "workers is '2'; give a whole number"),
        ({"shard_size": 1.5}, "shard_size is 1.5; give a whole number"),
        ({"smiles_column": 0}, "smiles_column is 0; give the column's name"),
        ({"libraries": 5}, "a library is the path of a file, or a list of them, and not 5"),
        ({"factory": "IVF0,Flat"}, "'IVF0,Flat' has no inverted lists"),
        ({"workers": 0}, "workers"),
        ({"shard_size": 0}, "shard"),
        ({"engine": "spark"}, "spark"),
        ({"factory": "nonsense"}, "nonsense"),
        ({"modalities": "smiles"}, "smiles"),
        ({"modalities": ("smell",)}, "smell"),
        ({"out": "."}, "."),
        ({"out": "/"}, "."),
    ],
)
def test_senseless_arguments_are_refused_before_any_work(
    wrong: dict[str, Any], says: str, few: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, UnknownModality), match=says):
        build_index(**{"libraries": few, "out": tmp_path / "x", "model": tiny_model, **wrong})
    assert list(tmp_path.iterdir()) == [few]


class FakeRay:
    """What `Workers` calls of Ray, in this process."""

    class exceptions:
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            pass

    def __init__(self, fails: bool = False) -> None:
        self.running, self.options, self.fails = False, {}, fails  # type: ignore[var-annotated]

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **options: Any) -> None:
        self.running, self.options = True, options

    def shutdown(self) -> None:
        self.running = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Any:
        return lambda function: SimpleNamespace(remote=partial(partial, function))

    def get(self, waiting: Any) -> Any:
        if self.fails:
            raise self.exceptions.RayError("the node is gone")
        return waiting()


@pytest.mark.usefixtures("in_process")
def test_ray_makes_the_same_index(
    few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "by-ray"
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"acml-search\[ray\]"):
        build_index(few, out, model=tiny_model, engine="ray")
    for fails in (True, False):
        ray: Any = FakeRay(fails)
        monkeypatch.setitem(sys.modules, "ray", ray)
        if fails:
            with pytest.raises(AcmlSearchError, match="run the same command again to resume"):
                build_index(few, out, model=tiny_model, engine="ray", shard_size=2)
    build_index(few, out, model=tiny_model, engine="ray", shard_size=2, workers=1)
    assert ray.options["num_cpus"] == 1
    assert not ray.running
    build_index(few, tmp_path / "local", model=tiny_model, shard_size=2, workers=1)
    assert contents(out) == contents(tmp_path / "local")
