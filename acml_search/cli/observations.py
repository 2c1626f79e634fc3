"""The options that name observations, the same for every command that takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CNmr = Annotated[
    str | None,
    typer.Option(
        "--c-nmr",
        metavar="TEXT|FILE",
        help='13C NMR: shifts ("155.4, 151.7, 148.6"), the line as a paper prints it, a text file with it, '
        'or a JCAMP-DX peak table. "85.8 (CH), 23.8 (CH3)" tells what DEPT showed.',
    ),
]
HNmr = Annotated[str | None, typer.Option("--h-nmr", metavar="TEXT|FILE", help="1H NMR, as --c-nmr.")]
LcMs = Annotated[
    str | None,
    typer.Option("--lc-ms", metavar="FILE", help="MS/MS spectrum (MSP, MGF, mzML); FILE#n for the n-th."),
]
GcMs = Annotated[
    str | None,
    typer.Option(
        "--gc-ms", metavar="FILE", help="EI spectrum (MSP, MGF, mzML, JCAMP-DX); FILE#n for the n-th."
    ),
]
Image = Annotated[
    Path | None,
    typer.Option("--image", metavar="FILE", help="Picture of a structure (PNG, JPEG).", readable=False),
]
Adduct = Annotated[
    str | None,
    typer.Option("--adduct", metavar="A", help='Ion of an MS/MS spectrum that does not state it: "[M+H]+".'),
]


def given(
    *,
    c_nmr: str | None = None,
    h_nmr: str | None = None,
    lc_ms: str | None = None,
    gc_ms: str | None = None,
    image: Path | None = None,
    adduct: str | None = None,
) -> dict[str, str]:
    """What was given, by modality. Raises BadParameter (exit status 2) for an adduct without a spectrum."""
    if adduct is not None and lc_ms is None:
        raise typer.BadParameter("an adduct needs an MS/MS spectrum (--lc-ms)", param_hint="'--adduct'")
    options = {
        "c_nmr": c_nmr,
        "h_nmr": h_nmr,
        "lc_ms": lc_ms,
        "gc_ms": gc_ms,
        "image": None if image is None else str(image),
    }
    return {name: value for name, value in options.items() if value is not None}
