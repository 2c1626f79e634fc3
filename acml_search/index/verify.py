"""`verify`: is an index what its manifest says? Checksums, counts, keys, and a sample embedded again."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import AcmlSearchError, CheckpointError
from acml_search.core.io import read_sealed, sha256
from acml_search.core.progress import progress
from acml_search.encoders.card import read_card
from acml_search.index import parts
from acml_search.index.manifest import BUILD, NAME, Manifest, read_manifest
from acml_search.index.records import measured_of
from acml_search.index.vectors import VectorIndex
from acml_search.index.verify_records import check_records, sample_again

SAMPLE = 64


class Problem(NamedTuple):
    """Something wrong with `file`, a path relative to the index (or "model")."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def verify(directory: Path | str, *, sample: int = SAMPLE, model: Path | str | None = None) -> list[Problem]:
    """All problems found in an index (or folder of embeddings); none when it is sound.

    sample: molecules embedded again with the model (0: none); `model` says where the model is now.
    Raises IndexNotFound when there is no index at all.
    """
    directory = Path(directory)
    try:
        manifest = read_manifest(directory)
    except AcmlSearchError as error:
        if not (directory / NAME).exists():
            raise
        return [Problem(NAME, _what(error))]
    problems = _check_files(directory, manifest)
    if problems:  # what is damaged cannot be read any further
        return problems
    problems = _check_counts(directory, manifest)
    for space, info in manifest.spaces.items():
        for side in info.sides:
            problems += _check_vectors(directory, manifest, space, side)
    if sample and not problems:
        problems += _check_sample(directory, manifest, sample, model)
    return problems


def _check_files(directory: Path, manifest: Manifest) -> list[Problem]:
    problems = []
    for name, entry in progress(sorted(manifest.files.items()), desc="checksums", unit=" files"):
        path = directory / name
        if not path.is_file():
            problems.append(Problem(name, "the file is missing"))
        elif path.stat().st_size != entry["bytes"]:
            problems.append(
                Problem(name, f"it has {path.stat().st_size:,} bytes and should have {entry['bytes']:,}")
            )
        elif sha256(path) != entry["sha256"]:
            problems.append(Problem(name, "its contents changed: the checksum is not the manifest's"))
    try:
        read_sealed(directory / BUILD)
    except AcmlSearchError as error:
        problems.append(Problem(BUILD, _what(error)))
    return problems


def _check_counts(directory: Path, manifest: Manifest) -> list[Problem]:
    counts = manifest.counts
    found = {
        "molecules": parts.count([directory / name for name in manifest.parts("molecules")]),
        "rejected": parts.count([directory / "rejects.parquet"]),
        "duplicates": parts.count([directory / "duplicates.parquet"]),
        "no_record": parts.count([directory / "no_record.parquet"]),
    }
    problems = [
        Problem(NAME, f"it counts {counts[name]:,} {name}, the files hold {rows:,}")
        for name, rows in found.items()
        if counts[name] != rows
    ]
    if counts["molecules"] + counts["duplicates"] + counts["rejected"] != counts["rows"]:
        problems.append(Problem(NAME, f"molecules, duplicates and rejected do not add up to rows: {counts}"))
    return problems


def _check_vectors(directory: Path, manifest: Manifest, space: str, side: str) -> list[Problem]:
    """The keys of one side against the molecules', and the search index against the embeddings."""
    folder = f"embeddings/{space}/{side}"
    files = [directory / name for name in manifest.parts(folder)]
    info = manifest.spaces[space]
    problems = []
    n = parts.count(files)
    if n != info.sides[side]["n"]:
        problems.append(
            Problem(folder, f"there are {n:,} vectors, the manifest counts {info.sides[side]['n']:,}")
        )
    if n and parts.width(files) != info.d:
        problems.append(
            Problem(folder, f"vectors have {parts.width(files)} dimensions and should have {info.d}")
        )
    keys = _keys(files)
    measured = side == "records" and space in measured_of(manifest)
    molecules = _keys([directory / name for name in manifest.parts("molecules")])
    if np.any(np.diff(keys) < 0):
        problems.append(Problem(folder, "the keys do not ascend"))
    if measured:
        tables = [directory / name for name in manifest.parts(f"records/{space}")]
        problems += [Problem(f"records/{space}", what) for what in check_records(tables, keys, molecules)]
    elif not np.isin(keys, molecules).all():
        problems.append(Problem(folder, "there are vectors of molecules that the index does not hold"))
    if side == "graph" and not np.array_equal(keys, molecules):
        problems.append(Problem(folder, "not every molecule has one vector on the graph side"))
    if manifest.kind == "index":
        path = directory / "faiss" / f"{space}.{side}"
        try:
            index = VectorIndex.open(path)
        except AcmlSearchError as error:
            return [*problems, Problem(f"faiss/{path.name}.faiss", _what(error))]
        if not np.array_equal(index.keys, keys):
            problems.append(
                Problem(f"faiss/{path.name}.keys.npy", "its keys are not those of the embeddings")
            )
        elif n:
            at = np.unique(np.linspace(0, n - 1, 256).astype(np.int64))
            if not np.array_equal(index.stored(at), parts.vectors_at(files, at)):
                problems.append(
                    Problem(f"faiss/{path.name}.faiss", "its vectors are not those of the embeddings")
                )
    return problems


def _check_sample(
    directory: Path, manifest: Manifest, sample: int, model: Path | str | None
) -> list[Problem]:
    """Molecules spread over the index, embedded again and compared."""
    source = str(model) if model is not None else manifest.model["source"]
    try:
        card = read_card(source)
        if card.digest != manifest.model["digest"]:
            return [
                Problem(
                    "model",
                    f"the model {source} has digest {card.digest[:12]}, the index was made with "
                    f"{manifest.model['digest'][:12]}, so no vector could be checked",
                )
            ]
        from acml_search.encoders.model import load_model

        loaded = load_model(source)
    except CheckpointError as error:
        return [Problem("model", f"no vector could be checked, because the model cannot be loaded: {error}")]
    names = manifest.parts("molecules")
    n = manifest.counts["molecules"]
    at = np.unique(np.linspace(0, n - 1, min(sample, n)).astype(np.int64))
    table = parts.rows_at([directory / name for name in names], at, ["key", "smiles"])
    smiles = [str(text) for text in table.column("smiles").to_pylist()]
    keys = table.column("key").to_numpy()
    graphs = loaded.encode_molecules([parse(text)[0] for text in smiles])
    problems = []
    for space, info in manifest.spaces.items():
        for side in info.sides:
            folder = f"embeddings/{space}/{side}"
            files = [directory / name for name in manifest.parts(folder)]
            if side == "records" and space in measured_of(manifest):
                tables = [directory / name for name in manifest.parts(f"records/{space}")]
                found = sample_again(tables, files, space, sample, loaded)
                problems += [Problem(folder, what) for what in found]
                continue
            stored_keys = _keys(files)
            present = np.isin(keys, stored_keys)
            again = graphs[space][present]
            if side == "records":
                modality = modalities.get(space)
                wanted = [text for text, there in zip(smiles, present, strict=True) if there]
                again = loaded.encode_records(space, [modality.derive(text) for text in wanted])
            stored = parts.vectors_at(files, np.searchsorted(stored_keys, keys[present]))
            cosine = np.einsum("nd,nd->n", again, stored)
            for row in np.flatnonzero(~(cosine >= parts.SAME))[:3]:
                key = keys[present][row]
                problems.append(
                    Problem(
                        folder,
                        f"molecule {key} embedded again has cosine {cosine[row]:.4f} with its stored vector",
                    )
                )
    return problems


def _keys(files: list[Path]) -> np.ndarray:
    found = [pq.read_table(file, columns=["key"]).column("key").to_numpy() for file in files]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _what(error: AcmlSearchError) -> str:
    return str(getattr(error, "reason", error))
