"""`acml-search info`, `verify` and `models`: what is in an index, is it sound, and which models are here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acml_search.cli import options
from acml_search.cli.app import columns, print_json

if TYPE_CHECKING:
    from acml_search.index.directory import Manifest

COUNTS = {
    "rows": "rows read",
    "molecules": "molecules",
    "duplicates": "duplicates",
    "rejected": "rejected",
    "no_record": "without a record",
    "removed": "rows removed",
}


def info(index: options.Index = Path("indexes/default"), json: options.Json = False) -> None:
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
    index: options.Index = Path("indexes/default"),
    sample: Annotated[int, typer.Option(min=0, help="Molecules to embed again and compare.")] = 64,
    model: options.IndexModel = None,
    json: options.Json = False,
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
        typer.echo(f"acml-search: {index}/{problem.file}: {problem.what}", err=True)
    if problems:
        raise typer.Exit(1)


def models(json: options.Json = False) -> None:
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
