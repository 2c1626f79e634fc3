"""`acml-search build-index`, `add` and `embed`: libraries to indexes, or to vectors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from acml_search.cli import options
from acml_search.cli.app import print_report
from acml_search.cli.options import Embedding, names, takes_embedding

Libraries = Annotated[list[Path], typer.Argument(help=options.FILES, readable=False)]


@takes_embedding
def build_index(
    embedding: Embedding,
    library: Annotated[
        list[Path] | None,
        typer.Argument(
            help=f"{options.FILES} None: RDKit's own molecules.", show_default=False, readable=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("indexes/default"),
    modalities: Annotated[
        str, typer.Option(help="Record sides to derive from the structures, with commas between; or none.")
    ] = "smiles",
    spaces: Annotated[
        str, typer.Option(help="Spaces to build, with commas between. Default: all of the model.")
    ] = "",
    model: options.Model = "acml-base",
    factory: Annotated[
        str, typer.Option(help="auto (chosen by count), flat, fast (HNSW), or any FAISS factory string.")
    ] = "auto",
    tautomer: options.Tautomer = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What makes the shards: processes of this machine, or a ray cluster."),
    ] = "local",
    json: options.Json = False,
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
    index: options.Index,
    library: Libraries,
    embedding: Embedding,
    model: options.IndexModel = None,
    json: options.Json = False,
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
    model: options.Model = "acml-base",
    tautomer: options.Tautomer = False,
    json: options.Json = False,
) -> None:
    """Embed a library to Parquet files, without a search index. The same command again goes on.

    \b
    acml-search embed screening.smi --out embeddings/screening
    """
    from acml_search.index.build import embed_library

    chosen = {"modalities": names(modalities), "model": model, "tautomer": tautomer, **embedding}
    print_report(embed_library(library, out, **chosen).to_dict(), json)
