"""`acml-search train pretrain | align | sharpen | remember | seen`."""

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


@app.command()
def sharpen(config: Config) -> None:
    """Train the projections of one space further, each molecule against its nearest neighbours.

    \b
    acml-search train sharpen acml_search/training/configs/acml-base-sharp.toml
    """
    from acml_search.training.sharpen import run

    run(config)


@app.command()
def remember(config: Config) -> None:
    """Give one space a memory of its training records, asked by what is measured.

    \b
    acml-search train remember acml_search/training/configs/acml-research-memory.toml
    """
    from acml_search.training.remember import run

    run(config)


@app.command()
def seen(
    config: Config,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of the weights. Default: where the alignment wrote them.", readable=False),
    ] = None,
) -> None:
    """Write which molecules an alignment saw, as hashes, beside its weights; `align` does so by itself.

    \b
    acml-search train seen acml_search/training/configs/acml-base.toml
    """
    from acml_search.training.seen import run

    card = run(config, model)
    found = card.data["training_list"]
    typer.echo(f"{card.directory / found['file']}: {found['molecules']:,} molecules, {found['records']}")
