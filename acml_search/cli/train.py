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
    """Pretrain what a model is aligned from: the encoder of a modality, or the shift predictor.

    \b
    acml-search train pretrain acml_search/training/configs/smiles-pretrain.toml
    """
    from acml_search.training.methods import pretrain as run

    run(config)


@app.command()
def align(config: Config) -> None:
    """Align the graph encoder to the frozen encoders of the modalities.

    \b
    acml-search train align acml_search/training/configs/acml-base.toml
    """
    from acml_search.training.spaces import run

    run(config)
