"""Files written whole or not at all, and their checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acml_search.core.errors import IndexCorrupt

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical(document: Any) -> str:
    """The one JSON text of `document`: keys sorted, no spaces."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest_of(document: Any) -> str:
    """Hex SHA-256 of `document` as canonical JSON."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` (a file or a folder) to write to, renamed to `path` when the block ends.

    An exception leaves `path` as it was and removes the sibling. A folder at `path` is replaced only by a
    folder. Files are flushed to disk before they are renamed; missing parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            replaced = path.with_name(f".{path.name}.{os.getpid()}.old")
            os.replace(path, replaced)
            os.replace(temporary, path)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            flush(temporary)
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
    flush(path.parent)


def write_json(document: Any, path: Path, indent: int = 2) -> None:
    """Write `document` as indented JSON, atomically; model cards are indented by 1."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(document, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def versions(*packages: str) -> dict[str, str]:
    """Installed version of each distribution; "unknown" where there is none."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def remove_folder(folder: Path, last: str) -> None:
    """Remove a folder, if there is one; `last` goes last, so that what is left over can be recognised."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside, ignore_errors=True)
        elif inside.name != last:
            inside.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def flush(path: Path) -> None:
    """Ask the disk to keep what was written to this file or directory, should the power fail."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def no_room(error: BaseException) -> str | None:
    """What the system, or DuckDB, said of a disk that is full or a file that may not grow; else None."""
    text = str(error)
    if "max_temp_directory_size" in text:
        return os.strerror(errno.ENOSPC)
    reasons = map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
    return next((reason for reason in reasons if reason in text), None)


def link_or_copy(source: Path, target: Path) -> None:
    """Put the finished file `source` at `target` too: by a hard link, or a copy where there are no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        with atomic(target) as temporary:
            shutil.copyfile(source, temporary)


@contextmanager
def reading(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file of an index, open in the block. Raises IndexCorrupt for what cannot be read of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise IndexCorrupt(path, f"it cannot be read ({str(error).splitlines()[0]})") from error
