"""`build_index` and `embed_library`: a library in, an index directory out; resumable, atomic, repeatable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from acml_search import modalities as known_modalities
from acml_search.core.errors import ConfigError
from acml_search.core.io import digest_of
from acml_search.encoders.card import DEFAULT_MODEL, ModelCard, missing_space, read_card
from acml_search.index.factory import make, resolve
from acml_search.index.manifest import FORMAT_VERSION
from acml_search.index.report import BuildReport
from acml_search.index.work import Plan
from acml_search.library.read import Library, default_library, open_library

__all__ = ["BuildReport", "build_index", "embed_library"]

SHARD_SIZE = 10_000
Paths = Path | str | Iterable[Path | str] | None


def build_index(
    libraries: Paths = None,
    out: Path | str = "indexes/default",
    *,
    modalities: Sequence[str] = ("smiles",),
    records: Sequence[str] | None = (),
    model: Path | str = DEFAULT_MODEL,
    factory: str = "auto",
    workers: int | None = None,
    shard_size: int = SHARD_SIZE,
    limit: int | None = None,
    smiles_column: str | None = None,
    tautomer: bool = False,
    engine: str = "local",
    restart: bool = False,
) -> BuildReport:
    """Embed a library and index it at `out`; None: the molecules that come with RDKit.

    The graph side of every space of the model is made, and the record side of `modalities`, derived from the
    structures. Spectra in the library make the record side of theirs, one vector each; `records` names that
    modality where a file leaves it open, and None leaves the spectra out. `factory` is auto (chosen by
    count), flat (exact) or any FAISS factory string. `engine` is local (processes of this machine) or ray (a
    cluster; `out` must be on a file system that its nodes share). The same call again resumes at the first
    missing shard, or does nothing when the index is complete. `restart` begins again; an index that is there
    stays until the new one is complete. Equal input gives equal bytes (all but `build.json`), whatever
    `workers` and however often interrupted.

    Raises ConfigError for options that make no sense or another input in the same folder, LibraryError,
    CheckpointError, and AcmlSearchError when no molecule is usable or a worker dies.
    """
    options = Options(
        modalities=modalities,
        records=records,
        model=model,
        factory=factory,
        workers=workers,
        shard_size=shard_size,
        limit=limit,
        smiles_column=smiles_column,
        tautomer=tautomer,
        engine=engine,
        restart=restart,
    )
    return _plan("index", libraries, Path(out), options).settle()


def embed_library(
    libraries: Paths,
    out: Path | str,
    *,
    modalities: Sequence[str] = (),
    records: Sequence[str] | None = None,
    model: Path | str = DEFAULT_MODEL,
    workers: int | None = None,
    shard_size: int = SHARD_SIZE,
    limit: int | None = None,
    smiles_column: str | None = None,
    tautomer: bool = False,
    restart: bool = False,
) -> BuildReport:
    """Embed a library to Parquet files alone, in the layout of an index without its FAISS part; as
    `build_index`, but spectra are left out unless `records` is given (empty where the files tell all).
    """
    options = Options(
        modalities=modalities,
        records=records,
        model=model,
        factory="none",
        workers=workers,
        shard_size=shard_size,
        limit=limit,
        smiles_column=smiles_column,
        tautomer=tautomer,
        engine="local",
        restart=restart,
    )
    return _plan("embeddings", libraries, Path(out), options).settle()


@dataclass(frozen=True)
class Options:
    """What was asked for, as the arguments of `build_index`."""

    modalities: Sequence[str]
    records: Sequence[str] | None
    model: Path | str
    factory: str
    workers: int | None
    shard_size: int
    limit: int | None
    smiles_column: str | None
    tautomer: bool
    engine: str
    restart: bool


def _plan(kind: str, libraries: Paths, out: Path, options: Options) -> Plan:
    card = read_card(options.model)
    sides = sides_of(card, options.modalities)
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
    sides = with_measured(sides, card, library)
    embedding = {
        "format": FORMAT_VERSION,
        "library": library.digest(),
        "model": card.digest,
        "modalities": sorted(set(options.modalities)),
        "tautomer": options.tautomer,
    }
    # What FAISS refuses after hours of embedding must not cost the embedding: the shards stay good.
    shards, job = digest_of(embedding), digest_of({**embedding, "kind": kind, "factory": options.factory})
    return Plan(
        kind=kind,
        out=out,
        library=library,
        card=card,
        source=model_source(options.model, card),
        sides=sides,
        options={
            "modalities": embedding["modalities"],
            "factory": options.factory,
            "tautomer": options.tautomer,
            "shard_size": options.shard_size,
            "limit": options.limit,
            "smiles_column": options.smiles_column,
        },
        job=job,
        shards=shards,
        workers=options.workers,
        restart=options.restart,
        engine=options.engine,
    )


def with_measured(sides: list[tuple[str, str]], card: ModelCard, library: Library) -> list[tuple[str, str]]:
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


def sides_of(card: ModelCard, modalities: Sequence[str]) -> list[tuple[str, str]]:
    """The sides to make: graph of every space, records of `modalities`. Raises ConfigError or
    UnknownModality.
    """
    if isinstance(modalities, str):
        raise ConfigError(f"modalities is a list of names; write [{modalities!r}]")
    for name in modalities:
        if not known_modalities.get(name).derived:
            raise ConfigError(
                f"records of {name} cannot be made from structures; leave it out of --modalities"
            )
        if name not in card.spaces:
            raise ConfigError(missing_space(card, name))
    records = [(name, "records") for name in sorted(set(modalities))]
    return sorted([(name, "graph") for name in card.spaces] + records)


def model_source(model: Path | str, card: ModelCard) -> str:
    """How to find the model again: its name when it came with the package, else its directory."""
    return (
        card.name
        if str(model) == card.name and not (Path(model) / "card.json").exists()
        else str(card.directory.resolve())
    )
