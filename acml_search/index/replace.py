"""An index put in the place of another: by one process at a time, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acml_search.core.errors import AcmlSearchError, ConfigError, IndexCorrupt, IndexNotFound
from acml_search.core.io import remove_folder
from acml_search.index.directory import NAME, Manifest, read_manifest


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock the work folder of the index at `out`. The lock of a killed process is free again.

    Raises AcmlSearchError when another process builds the same index.
    """
    from filelock import FileLock, Timeout

    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f".{out.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AcmlSearchError(f"{out} is being built by another process; wait for it, or end it") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: filelock takes no lock on a file that was removed
        lock.release()


def existing_at(out: Path, ignore_damage: bool) -> Manifest | None:
    """The manifest of the index at `out`, if there is one.

    Raises ConfigError when something else is there: even a restart deletes nothing but an index.
    """
    _recover(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / NAME).exists())):
        raise ConfigError(f"{out} exists and is no index; choose another --out, or remove it yourself")
    try:
        return read_manifest(out)
    except IndexNotFound:
        return None
    except IndexCorrupt:
        if ignore_damage:
            return None
        raise


def replace_index(new: Path, out: Path) -> None:
    """Rename `new` to `out`; what was there is moved aside first and removed last."""
    aside = _aside(out)
    if out.exists():
        os.replace(out, aside)
    os.replace(new, out)
    remove_folder(aside, last=NAME)


def _recover(out: Path) -> None:
    """Finish or undo a replacement that was interrupted between its renames."""
    aside = _aside(out)
    if aside.exists() and not out.exists():
        os.replace(aside, out)
    remove_folder(aside, last=NAME)


def _aside(out: Path) -> Path:
    """Where the index at `out` goes while another takes its place. Raises ConfigError where something of the
    user's has that name.
    """
    aside = out.with_name(f"{out.name}.replaced")
    empty = aside.is_dir() and not any(aside.iterdir())
    if os.path.lexists(aside) and not (aside / NAME).is_file() and not empty:
        raise ConfigError(
            f"{aside} is in the way: the index at {out} is moved there while another replaces it; rename it, "
            "or choose another --out"
        )
    return aside
