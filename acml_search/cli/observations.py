"""The options that name observations, the same for every command that takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CNmr = Annotated[
    list[str] | None,
    typer.Option(
        "--c-nmr",
        metavar="TEXT|FILE",
        help='13C NMR: shifts ("155.4, 151.7, 148.6"), the line as a paper prints it, a text file with it, '
        'or a JCAMP-DX peak table. "85.8 (CH), 23.8 (CH3)" tells what DEPT showed.',
    ),
]
HNmr = Annotated[list[str] | None, typer.Option("--h-nmr", metavar="TEXT|FILE", help="1H NMR, as --c-nmr.")]
LcMs = Annotated[
    list[str] | None,
    typer.Option(
        "--lc-ms",
        metavar="FILE",
        help="MS/MS spectrum (MSP, MGF, mzML); FILE#n for the n-th. Several of one compound: the option "
        "again, as for all of these.",
    ),
]
GcMs = Annotated[
    list[str] | None,
    typer.Option(
        "--gc-ms", metavar="FILE", help="EI spectrum (MSP, MGF, mzML, JCAMP-DX); FILE#n for the n-th."
    ),
]
Image = Annotated[
    list[Path] | None,
    typer.Option("--image", metavar="FILE", help="Picture of a structure (PNG, JPEG).", readable=False),
]
Adduct = Annotated[
    str | None,
    typer.Option("--adduct", metavar="A", help='Ion of an MS/MS spectrum that does not state it: "[M+H]+".'),
]


def given(
    *,
    c_nmr: list[str] | None = None,
    h_nmr: list[str] | None = None,
    lc_ms: list[str] | None = None,
    gc_ms: list[str] | None = None,
    image: list[Path] | None = None,
    adduct: str | None = None,
) -> dict[str, list[str]]:
    """What was given, by modality. Raises BadParameter (exit status 2) for an adduct without a spectrum."""
    if adduct is not None and not lc_ms:
        raise typer.BadParameter("an adduct needs an MS/MS spectrum (--lc-ms)", param_hint="'--adduct'")
    options = {"c_nmr": c_nmr, "h_nmr": h_nmr, "lc_ms": lc_ms, "gc_ms": gc_ms, "image": image}
    return {name: [str(one) for one in values] for name, values in options.items() if values}
