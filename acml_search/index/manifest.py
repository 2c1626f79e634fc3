"""The manifest: what an index holds, what it was made of and with, and a checksum of every file.

Formats, all of which open: 1, molecules and derived records; 2, measured records too, which a reader of 1
would take for molecules; 3, every vector stored once, beside FAISS's codes. Formats 1 and 2 keep a copy of
all vectors in `embeddings/`; format 3 has that folder only without a search index (`kind` "embeddings").
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from acml_search.core.errors import IndexCorrupt, IndexNotFound
from acml_search.core.io import read_checksummed, sha256, versions, write_checksummed

FORMAT_VERSION = 3
READABLE = (1, 2, 3)
NAME = "manifest.json"
BUILD = "build.json"
"""Date and seconds of the build: a file of its own, the only one in which two builds of one input differ."""


@dataclass(frozen=True)
class SpaceInfo:
    """A space as the index holds it. `sides` has `graph` and, where records were made, `records`.

    Each side: n, `measured` (true) where the records came with the library, and for an index also factory,
    reason, bytes_per_vector, nprobe, recall_at_10 and the like.
    """

    digest: str
    d: int
    scale: float
    sides: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Manifest:
    """kind: "index", or "embeddings" for Parquet files alone. counts: rows, molecules, rejected, duplicates,
    records that could not be made (`no_record`). job: digest of the input and options; `added`: of what was
    added later."""

    kind: str
    job: str
    added: list[str]
    created_by: dict[str, str]
    standardisation: dict[str, Any]
    options: dict[str, Any]
    model: dict[str, str]
    spaces: dict[str, SpaceInfo]
    library: list[dict[str, Any]]
    counts: dict[str, int]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """relative path -> sha256, bytes"""
    format_version: int = FORMAT_VERSION

    @property
    def measured(self) -> list[str]:
        """The modalities of which there are measured records."""
        return [name for name, space in self.spaces.items() if space.sides.get("records", {}).get("measured")]

    def parts(self, folder: str) -> list[str]:
        """Relative paths of the files below `folder` ("molecules", "embeddings/smiles/graph"), in order."""
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write `manifest.json`; it goes last, so that its presence says that the index is complete."""
    write_checksummed(directory / NAME, asdict(manifest))


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an index directory.

    Raises IndexNotFound when there is none, IndexCorrupt when it is damaged or written by a later version.
    """
    path = directory / NAME
    if not path.is_file():
        if directory.is_dir():
            raise IndexNotFound(directory, f"this folder has no {NAME}, so it is no complete index")
        raise IndexNotFound(directory)
    document = read_checksummed(path)
    version = document.get("format_version")
    if version not in READABLE:
        raise IndexCorrupt(
            path,
            f"index format {version} is not one this version reads ({', '.join(map(str, READABLE))}); "
            "upgrade acml-search or build the index again",
        )
    try:
        spaces = {name: SpaceInfo(**space) for name, space in document.pop("spaces").items()}
        return Manifest(spaces=spaces, **document)
    except (TypeError, KeyError) as error:
        raise IndexCorrupt(path, f"the manifest lacks or has an unknown field ({error})") from error


def file_entry(path: Path, checksum: str | None = None) -> dict[str, Any]:
    """sha256 (computed unless known) and bytes of a file, as the manifest lists them."""
    return {"sha256": checksum or sha256(path), "bytes": path.stat().st_size}


def software_versions() -> dict[str, str]:
    """Versions of the software that decides what is in an index."""
    return versions("acml-search", "rdkit", "faiss-cpu", "numpy", "torch", "pyarrow", "duckdb")
