"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def say_licence(model: str | None) -> str | None:
    """A model whose weights are not for commercial use says so, on stderr, whenever it is named."""
    if model not in (None, "acml-base"):
        from acml_search.encoders.card import read_card

        restriction = read_card(model).restriction
        if restriction:
            typer.echo(f"acml-search: {restriction}", err=True)
    return model


Device = Annotated[
    str,
    typer.Option(
        help="Where networks run: auto (CUDA where there is one, else the CPU), cpu, cuda or mps.",
        metavar="auto|cpu|cuda|mps",
    ),
]
FILES = "Files .smi, .csv, .tsv, .sdf, .parquet; spectra .msp, .mgf, .mzML; each also .gz."

Index = Annotated[Path, typer.Argument(help="Folder of the index.", readable=False)]
IndexModel = Annotated[
    str | None,
    typer.Option(
        help="Where the index's model is now. Default: where it was.",
        metavar="NAME|DIR",
        callback=say_licence,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only the first rows of the library.")]

Model = Annotated[
    str,
    typer.Option(help="Name or folder of a checkpoint; see `acml-search models`.", callback=say_licence),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write here instead of to stdout.", readable=False)
]
Records = Annotated[
    str | None,
    typer.Option(
        metavar="M[,M]|none",
        help="Modality of the spectra in the library, where its files leave that open (a Parquet with "
        "`shifts`: c_nmr or h_nmr); none: take the structures alone.",
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Throw away what is in the folder and begin again.")]
ShardSize = Annotated[int, typer.Option(min=1, help="Input rows per shard, the unit of resuming.")]
SmilesColumn = Annotated[
    str | None, typer.Option(help="Column that holds the SMILES. Default: the one named smiles.")
]
Tautomer = Annotated[
    bool, typer.Option("--tautomer", help="Replace every molecule by its canonical tautomer (slow).")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")]
