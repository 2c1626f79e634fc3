"""What is done to indexes: `build-index`, `embed`, `add`, `remove`, `compact`, `merge`, `push`, `info` and
`verify`; and `models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from acml_search.cli.app import (
    FILES,
    Embedding,
    Index,
    IndexModel,
    Json,
    Model,
    Tautomer,
    columns,
    names,
    print_json,
    print_report,
    say,
    takes_embedding,
)

if TYPE_CHECKING:
    from acml_search.index.directory import Manifest

Libraries = Annotated[list[Path], typer.Argument(help=FILES, readable=False)]


@takes_embedding
def build_index(
    embedding: Embedding,
    library: Annotated[
        list[Path] | None,
        typer.Argument(help=f"{FILES} None: RDKit's own molecules.", show_default=False, readable=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("indexes/default"),
    modalities: Annotated[
        str, typer.Option(help="Record sides to derive from the structures, with commas between; or none.")
    ] = "smiles",
    spaces: Annotated[
        str, typer.Option(help="Spaces to build, with commas between. Default: all of the model.")
    ] = "",
    model: Model = "acml-base",
    factory: Annotated[
        str, typer.Option(help="auto (chosen by count), flat, fast (HNSW), or any FAISS factory string.")
    ] = "auto",
    tautomer: Tautomer = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What makes the shards: processes of this machine, or a ray cluster."),
    ] = "local",
    json: Json = False,
) -> None:
    """Embed a library and index it. The same command again goes on where it stopped.

    \b
    acml-search build-index
    acml-search build-index screening.csv.gz --out indexes/screening --workers 2
    acml-search build-index massbank.msp screening.csv.gz --out indexes/spectra
    acml-search build-index measured.parquet --records c_nmr --out indexes/carbon
    acml-search build-index screening.smi --spaces c_nmr,h_nmr --out indexes/nmr
    """
    from acml_search.index import build

    sides = () if modalities == "none" else names(modalities)
    embedding["spaces"] = names(spaces)
    chosen = {"model": model, "factory": factory, "tautomer": tautomer, "engine": engine, **embedding}
    print_report(build.build_index(library or None, out, modalities=sides, **chosen).to_dict(), json)


@takes_embedding
def add(
    index: Index,
    library: Libraries,
    embedding: Embedding,
    model: IndexModel = None,
    json: Json = False,
) -> None:
    """Add the molecules of a library to an index. The same command again goes on where it stopped.

    \b
    acml-search add indexes/screening more.smi
    """
    from acml_search.index.build import add_library

    print_report(add_library(index, library, model=model, **embedding).to_dict(), json)


@takes_embedding
def embed(
    library: Libraries,
    embedding: Embedding,
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files.")],
    modalities: Annotated[
        str, typer.Option(help="Record sides to derive as well, with commas between. Default: none.")
    ] = "",
    model: Model = "acml-base",
    tautomer: Tautomer = False,
    json: Json = False,
) -> None:
    """Embed a library to Parquet files, without a search index. The same command again goes on.

    \b
    acml-search embed screening.smi --out embeddings/screening
    """
    from acml_search.index.build import embed_library

    chosen = {"modalities": names(modalities), "model": model, "tautomer": tautomer, **embedding}
    print_report(embed_library(library, out, **chosen).to_dict(), json)


def remove(
    index: Index,
    keys: Annotated[str, typer.Option(metavar="K[,K]", help="Keys of molecules, as answers have them.")] = "",
    inchikeys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file with one InChIKey a line.", exists=True, dir_okay=False),
    ] = None,
    json: Json = False,
) -> None:
    """Take molecules out of an index, with their records. `compact` frees the space.

    \b
    acml-search remove indexes/screening --keys 12,57
    acml-search remove indexes/screening --inchikeys withdrawn.txt
    """
    try:
        numbers = [int(key) for key in names(keys)]
    except ValueError:
        raise typer.BadParameter(f"{keys!r} is not made of whole numbers", param_hint="'--keys'") from None
    from acml_search.index import upkeep

    named = [] if inchikeys is None else upkeep.read_inchikeys(inchikeys)
    report = upkeep.remove(index, numbers, named)
    if report.unknown:
        shown = ", ".join(report.unknown[:5]) + (", ..." if len(report.unknown) > 5 else "")
        say(f"{index} does not hold {len(report.unknown):,} of these: {shown}")
    if json:
        print_json(report.to_dict())
        return
    before = f" ({report.already:,} were removed before)" if report.already else ""
    left = report.manifest.counts["molecules"]
    typer.echo(f"{index}: {report.molecules:,} molecules removed{before}, {left:,} are left")


def compact(index: Index, json: Json = False) -> None:
    """Write an index anew without what was removed, in as few files as one build makes.

    \b
    acml-search compact indexes/screening
    """
    from acml_search.index.upkeep import compact as run

    print_report(run(index).to_dict(), json)


def merge(
    indexes: Annotated[list[Path], typer.Argument(help="Folders of the indexes.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder of the new index.")],
    json: Json = False,
) -> None:
    """Put indexes of one model into a new one. Molecules that several hold are in it once.

    \b
    acml-search merge indexes/screening indexes/vendor --out indexes/all
    """
    from acml_search.index.upkeep import merge as run

    print_report(run(indexes, out).to_dict(), json)


def push(
    index: Index,
    to: Annotated[
        str, typer.Argument(metavar="milvus:URI", help="milvus:http://HOST:19530, or milvus:FILE.db.")
    ],
    collection: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the index there.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Drop what is there under this name first.")
    ] = False,
    json: Json = False,
) -> None:
    """Copy an index to Milvus. `query milvus:URI` then asks it there; by another name, `milvus:URI#NAME`.

    The same command goes on with a push that was interrupted. MILVUS_TOKEN is the server's token.

    \b
    acml-search push indexes/screening milvus:http://localhost:19530
    acml-search push indexes/screening milvus:all.db --collection screening
    """
    if not to.startswith("milvus:"):
        raise typer.BadParameter(f"{to!r} is no milvus:URI", param_hint="'milvus:URI'")
    from acml_search.index.milvus import push as run

    report = run(index, to if collection is None else f"{to}#{collection}", restart=restart)
    if json:
        print_json(report)
        return
    already = " (complete already, nothing to do)" if report["already_complete"] else ""
    rows = ", ".join(f"{n:,} {side}" for side, n in report["rows"].items())
    typer.echo(f"{report['store']}: {rows}{already}")


COUNTS = {
    "rows": "rows read",
    "molecules": "molecules",
    "duplicates": "duplicates",
    "rejected": "rejected",
    "no_record": "without a record",
    "removed": "rows removed",
}


def info(index: Index = Path("indexes/default"), json: Json = False) -> None:
    """Say what an index holds and what it was made of and with.

    \b
    acml-search info
    acml-search info indexes/screening --json
    """
    from acml_search.index.directory import check_sizes, read_manifest

    manifest = read_manifest(index)
    check_sizes(index, manifest)
    if json:
        print_json(_document(index, manifest))
    else:
        typer.echo(_text(index, manifest))


def _document(index: Path, manifest: Manifest) -> dict[str, Any]:
    spaces = {
        name: {"digest": space.digest, "d": space.d, "scale": space.scale, "sides": space.sides}
        for name, space in manifest.spaces.items()
    }
    return {
        "index": str(index),
        "kind": manifest.kind,
        "format_version": manifest.format_version,
        **manifest.counts,
        "bytes": sum(entry["bytes"] for entry in manifest.files.values()),
        "spaces": spaces,
        "model": manifest.model,
        "library": manifest.library,
        "options": manifest.options,
        "standardisation": manifest.standardisation,
        "created_by": manifest.created_by,
    }


def _text(index: Path, manifest: Manifest) -> str:
    counts = ", ".join(
        f"{manifest.counts[name]:,} {words}" for name, words in COUNTS.items() if name in manifest.counts
    )
    size = sum(entry["bytes"] for entry in manifest.files.values()) / 1e6
    sides: list[tuple[object, ...]] = [("space", "side", "vectors", "d", "factory")]
    for name, space in manifest.spaces.items():
        for side, about in space.sides.items():
            sides.append((name, side, about["n"], space.d, about.get("factory") or "none (embeddings only)"))
    lines = [
        f"{index}: {counts}; {size:,.1f} MB",
        f"model: {manifest.model['name']}, digest {manifest.model['digest'][:12]}",
        *(f"library: {source['path']}" for source in manifest.library),
        "made by: " + ", ".join(f"{name} {version}" for name, version in manifest.created_by.items()),
        "",
        columns(sides),
    ]
    return "\n".join(lines)


def verify(
    index: Index = Path("indexes/default"),
    sample: Annotated[int, typer.Option(min=0, help="Molecules to embed again and compare.")] = 64,
    model: IndexModel = None,
    json: Json = False,
) -> None:
    """Check an index: checksums, counts, and a sample embedded again. Exit status 1 when something is wrong.

    \b
    acml-search verify indexes/screening
    """
    from acml_search.index.verify import verify as check

    problems = check(index, sample=sample, model=model)
    if json:
        found = [{"file": problem.file, "what": problem.what} for problem in problems]
        print_json({"index": str(index), "sound": not problems, "problems": found})
    elif not problems:
        typer.echo(f"{index}: sound")
    for problem in problems:
        say(f"{index}/{problem.file}: {problem.what}")
    if problems:
        raise typer.Exit(1)


def models(json: Json = False) -> None:
    """List the models that are here; --json has their cards.

    \b
    acml-search models
    acml-search models --json
    """
    from acml_search.encoders.card import list_models

    cards = list_models()
    if json:
        print_json(
            [
                {
                    "name": c.name,
                    "directory": str(c.directory),
                    "digest": c.digest,
                    "card": c.data | c.measurements,
                }
                for c in cards
            ]
        )
        return
    rows: list[tuple[object, ...]] = [("model", "digest", "space", "d", "scale")]
    for card in cards:
        for space in card.spaces.values():
            rows.append((card.name, card.digest[:12], space.name, space.d, f"{space.scale:.2f}"))
    typer.echo(columns(rows))
    for card in cards:
        typer.echo(f"{card.name}: {card.licence}")
