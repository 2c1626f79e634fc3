"""`acml-search train pretrain | align | hard-negatives | memory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli.app import Device

app = typer.Typer(no_args_is_help=True, help="Train a model from a TOML plan; resumable, seeded.")

Plan = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="TOML plan; those of the shipped weights are in acml_search/training/configs.",
        readable=False,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder that the plan's paths are relative to. Default: the `root` of the plan.",
        exists=True,
        file_okay=False,
    ),
]


@app.command()
def pretrain(config: Plan, root: Root = None, device: Device = "auto") -> None:
    """Pretrain what a model is aligned from: the encoder of a modality, or the shift predictor.

    \b
    acml-search train pretrain acml_search/training/configs/smiles-pretrain.toml
    """
    from acml_search.training.pretrain import pretrain as run

    run(config, root, device)


@app.command()
def align(config: Plan, root: Root = None, device: Device = "auto") -> None:
    """Align the graph encoder to the frozen encoders of the modalities.

    \b
    acml-search train align acml_search/training/configs/acml-base.toml
    """
    from acml_search.training.align import run

    run(config, root, device)


@app.command()
def hard_negatives(config: Plan, root: Root = None, device: Device = "auto") -> None:
    """Fine-tune head and projection of one space, each molecule against its nearest neighbours.

    \b
    acml-search train hard-negatives acml_search/training/configs/acml-base-hard-negatives.toml
    """
    from acml_search.training.hard_negatives import run

    run(config, root, device)


@app.command()
def memory(config: Plan, root: Root = None, device: Device = "auto") -> None:
    """Give one space a memory of its training records, in which queries find their nearest neighbours.

    \b
    acml-search train memory acml_search/training/configs/acml-research-memory.toml
    """
    from acml_search.training.memory import run

    run(config, root, device)
