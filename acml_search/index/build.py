"""`build_index`, `embed_library` and `add_library`: resumable, atomic, repeatable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acml_search import modalities as known_modalities
from acml_search.core.errors import ConfigError, SpaceMismatch
from acml_search.core.io import digest_of
from acml_search.encoders.card import DEFAULT_MODEL, ModelCard, missing_space, read_card
from acml_search.index.directory import IndexDirectory
from acml_search.index.factory import make, resolve
from acml_search.index.job import BuildJob, BuildReport
from acml_search.index.merge import ExistingIndex
from acml_search.index.shards import Side
from acml_search.library.stream import Library, default_library, open_library

SHARD_SIZE = 10_000
VECTORS = 1
"""Version of what is embedded and how, in the digest by which a build knows its own shards and index."""
Paths = Path | str | Iterable[Path | str] | None


@dataclass(frozen=True)
class BuildOptions:
    """The options of a build; the names are those of `build_index` and of the command line."""

    modalities: Sequence[str] = ()
    records: Sequence[str] | None = None
    model: Path | str = DEFAULT_MODEL
    factory: str = "none"
    workers: int | None = None
    shard_size: int = SHARD_SIZE
    limit: int | None = None
    smiles_column: str | None = None
    tautomer: bool = False
    engine: str = "local"
    device: str = "auto"
    restart: bool = False


def build_index(
    libraries: Paths = None,
    out: Path | str = "indexes/default",
    *,
    modalities: Sequence[str] = ("smiles",),
    records: Sequence[str] | None = (),
    model: Path | str = DEFAULT_MODEL,
    factory: str = "auto",
    **options: Any,
) -> BuildReport:
    """Embed a library and index it at `out`; None: the molecules that come with RDKit.

    The graph side of every space of the model is made, and the record side of `modalities`, derived from the
    structures. Spectra in the library make the record side of theirs, one vector each; `records` names that
    modality where a file leaves it open, and None leaves the spectra out. `factory` is auto (chosen by
    count), flat (exact) or any FAISS factory string. Further `options`, as in `BuildOptions`: `workers`
    (None: one per core), `shard_size` and `limit` in rows, `smiles_column`, `tautomer`, `engine`: local
    (processes of this machine) or ray (a cluster; `out` must be on a file system that its nodes share),
    `device`: auto, cpu, cuda or mps. The same call again resumes at the first missing shard, or does nothing
    when the index is complete. `restart` begins again; an index that is there stays until the new one is
    complete. Equal input gives equal bytes (all but `build.json`) on one device, whatever `workers` and
    however often interrupted.

    Raises ConfigError for wrong options or another input in the same folder, LibraryError,
    CheckpointError, and AcmlSearchError when no molecule is usable or a worker dies.
    """
    chosen = BuildOptions(modalities=modalities, records=records, model=model, factory=factory, **options)
    return _job("index", libraries, Path(out), chosen).run()


def embed_library(libraries: Paths, out: Path | str, **options: Any) -> BuildReport:
    """Embed a library to Parquet files alone, in the layout of an index with the vectors in `embeddings/`
    instead of FAISS files; `options` as in `BuildOptions`. No record side is made, and spectra are left out
    unless `records` is given (empty where the files say of which modality they are).
    """
    return _job("embeddings", libraries, Path(out), BuildOptions(**options)).run()


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
    device: str = "auto",
    restart: bool = False,
) -> BuildReport:
    """Add the molecules of a library to an index, embedded as the index was.

    Row numbers, and so keys, go on after the last row of the index; molecules it holds already are
    duplicates. The index stays in use until the new one takes its place, and an interrupted call resumes.
    The same library twice adds nothing the second time. Spectra in the library go to the record side of their
    modality; `records` as in `build_index`, but where the file leaves it open, what the index holds decides.
    `model` says where the model is now. An index of an earlier format becomes one of this format.

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
        usual=() if records else manifest.measured,
    )
    digest = digest_of({"format": VECTORS, "kind": "add", "library": library.digest(), "to": manifest.job})
    return BuildJob(
        kind="index",
        out=Path(index),
        library=library,
        card=card,
        source=source,
        sides=_with_measured(sides, card, library),
        options={**manifest.options, "shard_size": shard_size},
        digest=digest,
        shard_digest=digest,
        workers=workers,
        restart=restart,
        device=device,
        existing=ExistingIndex(Path(index), manifest),
    ).run()


def _job(kind: str, libraries: Paths, out: Path, options: BuildOptions) -> BuildJob:
    card = read_card(options.model)
    sides = _sides(card, options.modalities)
    if kind == "index":
        for space in card.spaces.values():
            # what FAISS refuses is refused before hours of embedding
            make(resolve(options.factory, 1, space.d)[0], space.d)
    library = open_library(
        default_library() if libraries is None else libraries,
        smiles_column=options.smiles_column,
        limit=options.limit,
        records=options.records,
    )
    kept = {
        "modalities": sorted(set(options.modalities)),
        "factory": options.factory,
        "tautomer": options.tautomer,
        "shard_size": options.shard_size,
        "limit": options.limit,
        "smiles_column": options.smiles_column,
    }
    embedding = {
        "format": VECTORS,
        "library": library.digest(),
        "model": card.digest,
        "modalities": kept["modalities"],
        "tautomer": options.tautomer,
    }
    return BuildJob(
        kind=kind,
        out=out,
        library=library,
        card=card,
        source=_model_source(options.model, card),
        sides=_with_measured(sides, card, library),
        options=kept,
        digest=digest_of({**embedding, "kind": kind, "factory": options.factory}),
        # without the factory: what FAISS refuses after hours of embedding must not cost the shards
        shard_digest=digest_of(embedding),
        workers=options.workers,
        restart=options.restart,
        engine=options.engine,
        device=options.device,
    )


def _sides(card: ModelCard, modalities: Sequence[str]) -> list[Side]:
    """The sides to make: graph of every space, records of `modalities`. Raises ConfigError or
    UnknownModality.
    """
    if isinstance(modalities, str):
        raise ConfigError(f"modalities is a list of names; write [{modalities!r}]")
    for name in modalities:
        if not known_modalities.get(name).from_structure:
            raise ConfigError(
                f"records of {name} cannot be made from structures; leave it out of --modalities"
            )
        if name not in card.spaces:
            raise ConfigError(missing_space(card, name))
    return sorted([(name, "graph") for name in card.spaces] + [(name, "records") for name in set(modalities)])


def _with_measured(sides: list[Side], card: ModelCard, library: Library) -> list[Side]:
    """`sides`, and the record sides of the measured records in `library`. Raises ConfigError when the model
    has no space for them.
    """
    for name in library.measured:
        if name not in card.spaces:
            raise ConfigError(
                f"the library holds {name} records: {missing_space(card, name)}; "
                "--records none indexes its structures alone"
            )
    return sorted({*sides, *((name, "records") for name in library.measured)})


def _model_source(model: Path | str, card: ModelCard) -> str:
    """How to find the model again: its name when it came with the package, else its directory."""
    if str(model) == card.name and not (Path(model) / "card.json").exists():
        return card.name
    return str(card.directory.resolve())
