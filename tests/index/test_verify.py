"""A changed byte anywhere in an index is found and its file named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from acml_search.cli import app
from acml_search.core.errors import IndexNotFound, SpaceMismatch
from acml_search.index.build import build_index
from acml_search.index.directory import IndexDirectory, file_entry, read_manifest, write_manifest
from acml_search.index.embeddings import write_vectors
from acml_search.index.upkeep import remove
from acml_search.index.verify import verify
from tests.index.conftest import contents

pytestmark = pytest.mark.usefixtures("in_this_process")
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def built(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    (folder / "in.smi").write_text("\n".join(["C" * n for n in range(1, 40)] + ["CC", "bad"]) + "\n")
    build_index(
        folder / "in.smi", folder / "index", model=tiny_model, workers=1, factory="IVF2,SQ8", shard_size=25
    )
    return folder / "index"


def test_a_flipped_byte_in_any_file_is_found(built: Path) -> None:
    names = sorted(path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file())
    assert {name.rsplit(".", 1)[-1] for name in names} == {"json", "parquet", "faiss", "npy"}
    assert len(names) == 15
    rng = np.random.default_rng(0)
    for name in names:
        path = built / name
        whole = path.read_bytes()
        for at in {0, len(whole) - 1, int(rng.integers(len(whole)))}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
            assert [problem.file for problem in verify(built, sample=0)] == [name]
        path.write_bytes(whole)
    assert verify(built) == []


COMMANDS = [
    "query INDEX --c-nmr 58,18",
    "explain INDEX 0 --c-nmr 58,18",
    "info INDEX",
    "verify INDEX",
    "add INDEX MORE --workers 1",
    "remove INDEX --keys 0",
    "compact INDEX",
    "merge OTHER INDEX --out NEW",
    "push INDEX milvus:NEW.db",
    "serve INDEX",
]


@pytest.fixture(scope="module")
def measured(toy_model: Path, spectra: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with every kind of file: records, peaks, inverted lists, removed rows."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "more.smi").write_text("CCCC\nCCCN\nCCCO\n")
    options: dict[str, Any] = {"model": toy_model, "workers": 1, "factory": "IVF2,SQ8", "shard_size": 9}
    build_index([spectra, folder / "more.smi"], folder / "index", **options)
    shutil.copytree(folder / "index", folder / "other")
    remove(folder / "index", [10])
    return folder / "index"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_or_cut_file_is_one_sentence_of_every_command(
    command: str, measured: Path, tmp_path: Path
) -> None:
    """Of any file that the manifest lists; and no command changes what is there."""
    there, lost = contents(measured), tmp_path / "lost"
    places = {"INDEX": measured, "OTHER": measured.parent / "other", "MORE": measured.parent / "more.smi"}
    arguments = [
        str(places.get(word, word.replace("NEW", str(tmp_path / "new")))) for word in command.split()
    ]
    names = read_manifest(measured).files
    assert {name.split("/")[0] for name in names} > {"molecules", "records", "faiss", "peaks", "removed"}
    for name in [*names, "manifest.json"]:
        (measured / name).rename(lost)
        for cut in (False, True):
            if cut:
                (measured / name).write_bytes(there[name][: len(there[name]) // 2])
            done = CliRunner().invoke(app, arguments)
            assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
            said = done.stderr.strip()
            assert (name in said, said.count("\n"), "again" in said or "build-index" in said) == (
                True,
                0,
                True,
            )
        lost.replace(measured / name)
    assert contents(measured) == there
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["add INDEX MORE --workers 1", "merge OTHER INDEX --out NEW"])
@pytest.mark.parametrize(
    "name", ["molecules/part-00000.parquet", "duplicates.parquet", "faiss/smiles.graph.keys.npy"]
)
def test_a_file_of_zeros_is_named_too(command: str, name: str, measured: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(measured, tmp_path / "index"))
    (copy / name).write_bytes(bytes((copy / name).stat().st_size))
    places = {"INDEX": copy, "OTHER": measured.parent / "other", "MORE": measured.parent / "more.smi"}
    done = CliRunner().invoke(
        app, [str(places.get(word, tmp_path / "new" if word == "NEW" else word)) for word in command.split()]
    )
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert f"{name}: it cannot be read" in done.stderr


def test_no_index_at_all(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound):
        verify(tmp_path / "nowhere")


def test_vectors_of_other_molecules_are_found_in_old_formats(tmp_path: Path) -> None:
    """Formats 1 and 2 have vectors twice: both copies are compared."""
    copy = tmp_path / "index"
    shutil.copytree(GOLDEN / "v1-ivf", copy)
    name = "embeddings/smiles/graph/part-00000.parquet"
    table = pq.read_table(copy / name)
    turned = table.set_column(
        1, "vector", table.column("vector").take(pa.array(range(table.num_rows - 1, -1, -1)))
    )
    write_vectors(turned.combine_chunks(), copy / name)
    manifest = read_manifest(copy)
    manifest.files[name] = file_entry(copy / name)
    write_manifest(copy, manifest)
    assert [problem.file for problem in verify(copy, sample=0)] == ["faiss/smiles.graph.faiss"]


def test_a_space_of_another_model_is_refused(built: Path) -> None:
    with IndexDirectory(built) as index:
        digest = index.spaces["smiles"].digest
        index.check_spaces({"smiles": digest, "image": "any"})
        with pytest.raises(SpaceMismatch, match=digest[:12]):
            index.check_spaces({"smiles": "f" * 64})


def test_a_model_that_is_gone_is_a_problem(built: Path, tmp_path: Path) -> None:
    problems = verify(built, model=tmp_path / "gone")
    assert [problem.file for problem in problems] == ["model"]


def test_opening_and_searching_stored_vectors_imports_no_torch(built: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from acml_search.index.directory import IndexDirectory\n"
        f"index = IndexDirectory({str(built)!r})\n"
        "side = index.vectors('smiles')\n"
        "assert side.search(side.stored(side.positions_of(index.keys[:2])), 3)[1].shape == (2, 3)\n"
        "assert index.catalog.count() == 39\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
