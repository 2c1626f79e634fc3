"""`acml-search read-images`: pictures in, a table of structures out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.app import check_out


def read_images(
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER|FILE...", help="PNG, JPEG, TIFF, PDF and others.", exists=True),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Table to write: .csv, .jsonl or .sdf (with mol blocks).")
    ] = Path("readings.csv"),
    model: options.Model = "acml-base",
    workers: options.Workers = None,
) -> None:
    """Read the structures in many pictures: SMILES, probability, or why there is none.

    The same command again goes on after the last file that is in the table.

    \b
    acml-search read-images scans --out readings.csv
    acml-search read-images page.pdf figure.png --out readings.sdf
    """
    check_out(out)

    from acml_search.search.pictures import FORMATS, pictures_of
    from acml_search.search.pictures import read_images as read

    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{out} must end in {', '.join(FORMATS)}", param_hint="'--out'")
    report = read(pictures_of(pictures), out, model=model, workers=workers)
    before = f"; {report.already:,} were in {out} already" if report.already else ""
    failed = f"; {report.failed:,} parts or files show none, their rows say why" if report.failed else ""
    typer.echo(
        f"acml-search: {report.files:,} files, {report.structures:,} structures{failed}{before}", err=True
    )
    if report.files and not report.structures:
        raise typer.Exit(1)
