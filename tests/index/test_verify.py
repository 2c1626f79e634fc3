"""A changed byte anywhere in an index is found and its file named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import IndexCorrupt, IndexNotFound, SpaceMismatch
from acml_search.index.build import build_index
from acml_search.index.directory import IndexDirectory, file_entry, read_manifest, write_manifest
from acml_search.index.embeddings import write_vectors
from acml_search.index.verify import verify

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


def test_a_missing_or_cut_file_is_found_at_once(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "index"
    shutil.copytree(built, copy)
    path = copy / "molecules/part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IndexCorrupt, match=path.name):
        IndexDirectory(copy)
    assert [problem.file for problem in verify(copy)] == ["molecules/part-00001.parquet"]
    path.unlink()
    with pytest.raises(IndexCorrupt, match=r"part-00001\.parquet.*missing"):
        IndexDirectory(copy)
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
