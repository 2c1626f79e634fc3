"""Molecules removed, indexes compacted, merged, added to: what answers, which bytes, kills at any moment."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spectra_files import SPECTRA, msp
from typer.testing import CliRunner

import acml_search
from acml_search.cli import app
from acml_search.core.errors import AcmlSearchError, ConfigError, NoCandidates
from acml_search.index.build import add_library, build_index
from acml_search.index.directory import NAME, IndexDirectory, read_manifest
from acml_search.index.upkeep import compact, merge, remove
from acml_search.index.verify import verify
from tests.index.conftest import contents

pytestmark = pytest.mark.usefixtures("in_this_process")
STRUCTURES = "smiles,vendor\nCCCO,A\nCCO,B\nnonsense,C\nCCCCN,D\nOCCC,E\n"
MORE = "smiles,price\nCCCl,1\nCCO,2\nCCBr,3\n"
KINDS = ["flat", "IVF2,SQ8", "IVF2,RaBitQfs", "HNSW8"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.csv").write_text(STRUCTURES)
    (folder / "a.msp").write_text(msp(SPECTRA))
    (folder / "b.csv").write_text(MORE)
    return folder


@pytest.fixture(scope="module")
def first(files: Path, toy_model: Path) -> Path:
    """Five structures, two of them one molecule, and eight spectra, in shards of three rows. Keys 0 CCCO, 1
    CCO and 3 CCCCN; spectra of CCO in rows 5, 7 and 12."""
    out = files / "first"
    build_index([files / "a.csv", files / "a.msp"], out, model=toy_model, workers=1, shard_size=3)
    return out


@pytest.fixture
def index(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "index"))


def smiles_of(path: Path) -> list[str]:
    with IndexDirectory(path) as there:
        return [str(text) for text in there.catalog.rows(there.keys).column("smiles").to_pylist()]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_what_was_removed_is_nowhere(index: Path) -> None:
    before = smiles_of(index)
    counts = read_manifest(index).counts
    with acml_search.open_index(index) as opened, IndexDirectory(index) as low:
        assert len(opened) == len(before)
        report = remove(index, [1])
        assert (report.molecules, report.already, report.unknown) == (1, 0, [])
        # what was opened before answers as before; the next question is asked of what is there now
        with low.unreplaced():
            assert 1 in low.keys
            assert low.catalog.rows([1]).num_rows == 1
        for hits in opened.search("CCO", k=20).lists:
            assert "CCO" not in [row["smiles"] for row in hits.rows()]
        assert len(opened) == len(before) - 1
        found = opened.identify({"c_nmr": "58.0, 18.1"}, k=20).lists[0]
        assert sorted(row["smiles"] for row in found.rows()) == sorted(set(before) - {"CCO"})
        with pytest.raises(NoCandidates, match="none of the 4 molecules"):
            opened.identify({"c_nmr": "58.0, 18.1"}, mass=46.0419, tol_da=0.01)
        with pytest.raises(ConfigError, match="no molecule 1"):
            opened.explain({"c_nmr": "58.0, 18.1"}, [1])
    with IndexDirectory(index) as there:
        assert len(there.catalog.keys()) == there.catalog.count() == len(there.keys) == len(before) - 1
        assert len(there.catalog.numbers("hydrogens")) == len(there.keys)
        assert there.catalog.of_inchikeys(["LFQSCWFLJHTTHZ-UHFFFAOYSA-N"]) == {}
        assert 1 not in there.records("lc_ms").rows(there.vectors("lc_ms", "records").keys)["molecule_key"]
        with pytest.raises(KeyError, match="removed"):
            there.catalog.rows([1])
    after = read_manifest(index).counts
    assert after == {**counts, "molecules": 4, "duplicates": counts["duplicates"] - 3, "removed": 4}
    assert verify(index) == []
    assert "4 rows removed" in run("info", index).stdout
    again = remove(index, [1])
    assert (again.molecules, again.already) == (0, 1)
    assert len(list((index / "removed").iterdir())) == 1


@pytest.mark.parametrize("factory", KINDS)
def test_a_search_without_the_removed_is_one_of_the_others(
    factory: str, toy_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.smi").write_text("\n".join("C" * n + end for n in range(1, 60) for end in "ON") + "\n")
    index = tmp_path / "index"
    build_index(tmp_path / "in.smi", index, model=toy_model, workers=1, factory=factory)
    with IndexDirectory(index) as there:
        xq = there.vectors("smiles").stored(np.arange(0, 110, 10))
        gone = np.unique(there.vectors("smiles").search(xq, 4)[1])
    remove(index, gone.tolist())
    with IndexDirectory(index) as there:
        vectors = there.vectors("smiles")
        scores, keys = vectors.search(xq, 200)
        stored = vectors.stored(np.arange(vectors.n))
        exact = np.sort(xq @ stored.T, axis=1)[:, ::-1]
        np.testing.assert_allclose(scores[:, : vectors.n], exact, atol=1e-6)
        assert not np.isin(keys, gone).any()
        some = vectors.positions_of(there.keys[::3])
        assert np.array_equal(np.sort(vectors.search(xq[:1], len(some), some)[1][0]), there.keys[::3])
    compacted = compact(index)
    assert not compacted.complete
    assert verify(index) == []
    with IndexDirectory(index) as there:
        assert np.array_equal(there.vectors("smiles").search(xq, 200)[0], scores)
        assert np.array_equal(there.vectors("smiles").stored(np.arange(len(stored))), stored)
    assert compact(index).complete


def assert_same(found: Path, wanted: Path) -> None:
    """The same files to the byte, but for vectors: their last bit depends on what is embedded beside them."""
    one, other = contents(found, NAME), contents(wanted, NAME)
    assert one.keys() == other.keys()
    assert all(one[name] == other[name] for name in one if not name.endswith((".faiss", "_nmr.npy")))
    with IndexDirectory(found) as ours, IndexDirectory(wanted) as theirs:
        for space in ours.spaces:
            vectors = [there.vectors(space).stored(np.arange(len(there.keys))) for there in (ours, theirs)]
            np.testing.assert_allclose(*vectors, atol=2e-3)


def test_compacted_it_is_the_build_of_what_is_left(toy_model: Path, tmp_path: Path) -> None:
    for name, rows in (("all", 5), ("left", 4)):
        (tmp_path / f"{name}.csv").write_text("".join(STRUCTURES.splitlines(keepends=True)[:rows]))
        build_index(tmp_path / f"{name}.csv", tmp_path / name, model=toy_model, workers=1, shard_size=4)
    remove(tmp_path / "all", [3])
    assert not compact(tmp_path / "all").complete
    assert verify(tmp_path / "all") == []
    assert_same(tmp_path / "all", tmp_path / "left")
    counts = {"rows": 4, "molecules": 2, "duplicates": 0, "rejected": 1, "no_record": 0, "removed": 1}
    assert read_manifest(tmp_path / "all").counts == counts


def test_merged_or_added_to_and_compacted_it_is_one_build(
    files: Path, first: Path, toy_model: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"model": toy_model, "workers": 1, "shard_size": 3}
    libraries = [files / "a.csv", files / "a.msp", files / "b.csv"]
    build_index(libraries, tmp_path / "one", **options)
    build_index(files / "b.csv", tmp_path / "second", **options)
    merged, added = tmp_path / "merged", Path(shutil.copytree(first, tmp_path / "added"))
    assert (
        merge([first, tmp_path / "second"], merged).manifest.counts == read_manifest(tmp_path / "one").counts
    )
    assert verify(merged) == []
    assert merge([first, tmp_path / "second"], merged).complete
    add_library(added, files / "b.csv", workers=1)
    for path in (merged, added):
        assert not compact(path).complete
        assert_same(path, tmp_path / "one")
        assert verify(path) == []
    with IndexDirectory(merged) as there:
        rows = {row["smiles"]: row for row in there.catalog.rows(there.keys).to_pylist()}
        assert (rows["CCO"]["key"], rows["CCO"]["vendor"], rows["CCO"]["price"]) == (1, "B", None)
        assert (rows["CCCl"]["key"], rows["CCCl"]["price"]) == (13, 1)
    assert run("add", added, files / "b.csv", "--workers", 1).stdout.count("complete already") == 1


def test_spaces_that_are_asked_for_are_built_alone(files: Path, toy_model: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build_index(files / "a.csv", index, model=toy_model, workers=1, spaces=("c_nmr",))
    add_library(index, files / "b.csv", workers=1)
    remove(index, [0])
    compact(index)
    assert list(read_manifest(index).spaces) == ["c_nmr"]
    assert list(read_manifest(index).spaces["c_nmr"].sides) == ["graph"]
    assert verify(index) == []
    with acml_search.open_index(index) as opened:
        assert len(opened.identify({"c_nmr": "58.0, 18.1"}, k=9).lists[0]) == len(opened)
        with pytest.raises(ConfigError, match="lc_ms"):
            opened.search("CCO", modality="lc_ms")
    for libraries, spaces, says in (("a.csv", "smell", "smell"), ("a.msp", "c_nmr", "no such space")):
        with pytest.raises(ConfigError, match=says):
            build_index(files / libraries, tmp_path / "none", model=toy_model, spaces=[spaces])
    with pytest.raises(ConfigError, match="no such space"):
        add_library(index, files / "a.msp", workers=1)


def test_records_of_a_duplicate_follow_to_the_index_that_goes_first(
    files: Path, first: Path, toy_model: Path, tmp_path: Path
) -> None:
    build_index(files / "b.csv", tmp_path / "second", model=toy_model, workers=1)
    merge([tmp_path / "second", first], tmp_path / "merged")
    assert verify(tmp_path / "merged") == []
    with IndexDirectory(tmp_path / "merged") as there:
        records = there.records("lc_ms").rows(there.vectors("lc_ms", "records").keys).to_pylist()
        assert [row["molecule_key"] for row in records if row["smiles"] == "CCO"] == [1, 1, 1]
        assert there.manifest.counts["rows"] == 16


def test_what_was_removed_comes_back_when_it_is_added_again(files: Path, index: Path) -> None:
    add_library(index, files / "b.csv", workers=1)
    remove(index, [1, 13])
    assert sorted({"CCO", "CCCl"} & set(smiles_of(index))) == []
    report = add_library(index, files / "b.csv", workers=1)
    assert not report.complete
    assert sorted({"CCO", "CCCl"} & set(smiles_of(index))) == ["CCCl", "CCO"]
    assert not (index / "removed").exists()
    assert verify(index) == []


def test_the_commands_say_what_they_did(index: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("LFQSCWFLJHTTHZ-UHFFFAOYSA-N ethanol\n\nVNWKTOKETHGBQD-UHFFFAOYSA-N\n")
    done = run("remove", index, "--inchikeys", tmp_path / "keys.txt", "--keys", "0, 99", "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["removed_now"], said["unknown"]) == (2, ["99", "VNWKTOKETHGBQD-UHFFFAOYSA-N"])
    assert "does not hold 2 of these: 99, VNWKTOKETHGBQD-UHFFFAOYSA-N" in done.stderr
    assert (
        "0 molecules removed (1 were removed before), 3 are left" in run("remove", index, "--keys", 0).stdout
    )
    assert json.loads(run("compact", index, "--json").stdout)["removed"] == said["removed"]
    assert "nothing to do" in run("compact", index).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["remove", "INDEX", "--keys", "99"], 1, "holds no molecule of what is to be removed: 99"),
        (["remove", "INDEX"], 1, "nothing named"),
        (["remove", "INDEX", "--keys", "x"], 2, "not made of whole numbers"),
        (["remove", "INDEX", "--keys", ",".join(map(str, range(13)))], 1, "would leave no molecule"),
        (["remove", "INDEX", "--inchikeys", "BAD"], 1, "line 2: 'CCO' is no InChIKey"),
        (["remove", "none", "--keys", "1"], 1, "none"),
        (["compact", "none"], 1, "none"),
        (["merge", "INDEX", "--out", "new"], 1, "two indexes or more"),
        (["merge", "INDEX", "OTHER", "--out", "new"], 1, "only one of"),
        (["merge", "INDEX", "TINY", "--out", "new"], 1, "space"),
        (["merge", "INDEX", "INDEX", "--out", "OTHER"], 1, "holds another index"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str], status: int, says: str, index: Path, files: Path, toy_model: Path, tiny_model: Path
) -> None:
    folder = index.parent
    (folder / "bad.txt").write_text("\nCCO\n")
    for name, model in (("other", toy_model), ("tiny", tiny_model)):
        build_index(files / "b.csv", folder / name, model=model, modalities=(), workers=1)
    places = {"INDEX": index, "OTHER": folder / "other", "TINY": folder / "tiny", "BAD": folder / "bad.txt"}
    before = contents(index)
    done = run(*(places.get(one, folder / one if one in ("none", "new") else one) for one in arguments))
    assert done.exit_code == status
    assert says in done.stderr
    assert contents(index) == before


def test_an_index_of_format_1_is_compacted_first(tmp_path: Path) -> None:
    index = Path(shutil.copytree(Path(__file__).parents[1] / "golden" / "v1-flat", tmp_path / "index"))
    with pytest.raises(ConfigError, match="compact` on it first"):
        remove(index, [0])
    assert not compact(index).complete
    remove(index, [0])
    assert verify(index, sample=0) == []


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from acml_search.core.workers import Workers
from acml_search.encoders import checkpoint
from acml_search.index import build, upkeep
build.Workers = lambda n, **options: Workers(1)
command, more, *copies = sys.argv[1:]

def work(index):
    if command == "remove": upkeep.remove(index, [1, 5, 9])
    elif command == "compact": upkeep.compact(index)
    elif command == "merge": upkeep.merge([index, more], index + ".merged")
    else: build.add_library(index, more + ".smi", workers=1, shard_size=5)

def forked(index, seconds=None):
    began, child = time.monotonic(), os.fork()
    if not child:
        try:
            work(index)
        finally:
            os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return time.monotonic() - began

whole = forked(copies[0])
for n, copy in enumerate(copies[1:], start=1):
    forked(copy, random.Random(n).uniform(0.1, 1) * whole)
"""


COMMANDS = ["remove", "compact", "merge", "add"]


@pytest.fixture
def old(command: str, tiny_model: Path, tmp_path: Path) -> Path:
    """An index of 39 molecules that the command changes, beside what it takes: `more`, `more.smi`."""
    (tmp_path / "in.smi").write_text("\n".join("C" * n + "O" for n in range(1, 40)) + "\n")
    (tmp_path / "more.smi").write_text("\n".join("C" * n + "N" for n in range(1, 40)) + "\n")
    options: dict[str, Any] = {"model": tiny_model, "workers": 1, "shard_size": 4, "factory": "IVF2,SQ8"}
    build_index(tmp_path / "in.smi", tmp_path / "old", **options)
    if command == "merge":
        build_index(tmp_path / "more.smi", tmp_path / "more", **options)
    if command == "compact":
        remove(tmp_path / "old", [2, 3, 30])
    return tmp_path / "old"


def work(command: str, index: Path) -> Path:
    """Give a command; where the index is that it makes."""
    more, out = index.parent / "more", index
    match command:
        case "remove":
            remove(index, [1, 5, 9])
        case "compact":
            compact(index)
        case "merge":
            out = index.with_name(f"{index.name}.merged")
            merge([index, more], out)
        case _:
            add_library(index, more.with_suffix(".smi"), workers=1, shard_size=5)
    return out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_the_old_index_and_is_said(command: str, old: Path, tmp_path: Path) -> None:
    """At every size that a file may have, from none to what the largest one needs."""
    before, copy = contents(old), Path(shutil.copytree(old, tmp_path / "copy"))
    new, limits = contents(work(command, copy)), resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(len(data) for name, data in new.items() if before.get(name) != data)
    try:
        for allowed in [0, 16, *range(300, largest, largest // 8)]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, limits[1]))
            with pytest.raises(AcmlSearchError, match="File too large; make room and run the same command"):
                work(command, old)
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert before.items() <= contents(old).items()  # `removed/` may have what nothing names
            assert verify(old, sample=0) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    out = work(command, old)
    assert {**contents(out), NAME: b""} == {**new, NAME: b""}


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_moment_an_index_is_the_old_one_or_the_new(
    command: str, old: Path, tmp_path: Path
) -> None:
    copies = [Path(shutil.copytree(tmp_path / "old", tmp_path / f"copy{n}")) for n in range(5)]
    arguments = [sys.executable, "-c", KILLED, command, str(tmp_path / "more"), *map(str, copies)]
    subprocess.run(arguments, check=True)
    made = [Path(f"{copy}.merged") if command == "merge" else copy for copy in copies]
    before, new = contents(old), contents(made[0])
    assert new != before
    states = []
    for copy, out in zip(copies[1:], made[1:], strict=True):
        if command == "merge":
            assert contents(copy) == before
        if not out.exists() and out.with_name(f"{out.name}.replaced").exists():
            states.append("between")  # two renames: the next command puts it back
        elif out.exists():
            states.append("new" if contents(out).keys() == new.keys() and contents(out) == new else "old")
            leftover = {name for name in contents(out) if name.startswith("removed/")}
            listed = set(read_manifest(out).parts("removed"))
            assert contents(out, *(leftover - listed)) == (new if states[-1] == "new" else before)
            assert verify(out, sample=0) == []
    for copy, out in zip(copies[1:], made[1:], strict=True):
        work(command, copy)
        reason = read_manifest(out).spaces["smiles"].sides["graph"]["reason"]
        assert ("new vectors" in reason) == (command == "add")
        assert contents(out, NAME) == contents(made[0], NAME)
        assert verify(out, sample=0) == []
        assert not out.with_name(f"{out.name}.building").exists()
