"""`acml-search train pretrain | align`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train a model from a TOML file; resumable, seeded.")

Config = Annotated[
    Path,
    typer.Argument(
        help="TOML file; those of the shipped weights are in acml_search/training/configs.", readable=False
    ),
]


@app.command()
def pretrain(config: Config) -> None:
    """Pretrain the encoder of one modality by itself.

    \b
    acml-search train pretrain pretrain_smiles.toml
    """
    from acml_search.training.pretrain import run

    run(config)


@app.command()
def align(config: Config) -> None:
    """Align the graph encoder to the frozen encoders of the modalities.

    \b
    acml-search train align align_smiles.toml
    """
    from acml_search.training.align import run

    run(config)
