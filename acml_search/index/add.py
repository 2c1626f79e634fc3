"""`add_library`: more molecules into an index that is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from acml_search.core.errors import SpaceMismatch
from acml_search.core.io import digest_of
from acml_search.encoders.card import read_card
from acml_search.index.build import SHARD_SIZE, with_measured
from acml_search.index.finalise import Base
from acml_search.index.manifest import FORMAT_VERSION
from acml_search.index.opened import IndexDirectory
from acml_search.index.records import measured_of
from acml_search.index.report import BuildReport
from acml_search.index.work import Plan
from acml_search.library.read import open_library


def add_library(
    index: Path | str,
    libraries: Path | str | Iterable[Path | str],
    *,
    workers: int | None = None,
    shard_size: int = SHARD_SIZE,
    limit: int | None = None,
    smiles_column: str | None = None,
    records: Sequence[str] | None = (),
    model: Path | str | None = None,
    restart: bool = False,
) -> BuildReport:
    """Add the molecules of a library to an index, embedded as the index was.

    Row numbers, and so keys, go on after the last row of the index; molecules it holds already are
    duplicates. The index stays in use until the new one takes its place, and an interrupted call resumes.
    The same library twice adds nothing the second time. Spectra in the library go to the record side of their
    modality; `records` as in `build_index`, but where the file leaves it open, what the index holds decides.
    `model` says where the model is now.

    Raises IndexNotFound, IndexCorrupt, SpaceMismatch for a model other than the index's, and what
    `build_index` raises.
    """
    with IndexDirectory(index) as opened:
        manifest = opened.manifest
        sides = sorted((space, side) for space, info in opened.spaces.items() for side in info.sides)
        source = str(model) if model is not None else opened.model
        card = read_card(source)
        opened.check_spaces({name: space.digest for name, space in card.spaces.items()})
    if card.digest != manifest.model["digest"]:
        raise SpaceMismatch(sides[0][0], manifest.model["digest"], card.digest)
    library = open_library(
        libraries,
        smiles_column=smiles_column,
        limit=limit,
        records=records,
        usual=() if records else measured_of(manifest),
    )
    sides = with_measured(sides, card, library)
    job = digest_of(
        {"format": FORMAT_VERSION, "kind": "add", "library": library.digest(), "to": manifest.job}
    )
    plan = Plan(
        kind="index",
        out=Path(index),
        library=library,
        card=card,
        source=source,
        sides=sides,
        options={**manifest.options, "shard_size": shard_size},
        job=job,
        shards=job,
        workers=workers,
        restart=restart,
        base=Base(Path(index), manifest),
    )
    return plan.settle()
