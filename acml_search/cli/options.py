"""Options that several commands share; those that take observations are made of the modalities."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from acml_search import modalities


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
FILES = "Files .smi, .csv, .tsv, .sdf, .parquet; spectra .msp, .mgf, .mzML, .mzXML, .json; also .gz."

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
InchikeyColumn = Annotated[
    str | None,
    typer.Option(help="Column that holds standard InChIKeys, which are not made then; a sample is checked."),
]
Tautomer = Annotated[
    bool, typer.Option("--tautomer", help="Replace every molecule by its canonical tautomer (slow).")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")]


Adduct = Annotated[
    str | None,
    typer.Option("--adduct", metavar="A", help='Ion of an MS/MS spectrum that does not state it: "[M+H]+".'),
]
Observed = dict[str, list[str] | str]
"""texts and files by modality, and one by each of its details"""
Embedding = dict[str, Any]
"""how a library is read and embedded, by the keywords of `index.build`"""


def flags() -> str:
    """The options as a list in words."""
    return ", ".join(option.flag for name in modalities.names() if (option := modalities.get(name).option))


def takes_observations(
    command: Callable[..., None], wanted: Callable[[modalities.Modality], bool] = lambda kind: True
) -> Callable[..., None]:
    """Decorator: in place of the parameter `observed` the command line gets the options of the modalities
    that are `wanted`.

    Wrong usage (exit status 2): an adduct without a spectrum of ions.
    """

    def understood(given: dict[str, Any]) -> Observed:
        return {name: values for name in options if (values := given.pop(name))}

    def check(given: dict[str, Any]) -> None:
        ions = [modalities.get(name) for name in modalities.names() if modalities.get(name).has_precursor]
        asked = {*given["observed"], *([given.get("modality")] if given.get("batch") is not None else [])}
        if given.get("adduct") is not None and not any(kind.name in asked for kind in ions):
            needed = " or ".join(kind.option.flag for kind in ions if kind.option)
            raise typer.BadParameter(f"an adduct needs an MS/MS spectrum ({needed})", param_hint="'--adduct'")

    options: dict[str, tuple[Any, Any]] = {}
    for name in modalities.names():
        kind = modalities.get(name)
        if kind.option and wanted(kind):
            options[name] = (Annotated[list[str] | None, _option(kind.option)], None)
            options |= {
                one: (Annotated[str | None, _option(said)], None) for one, said in kind.details.items()
            }
    return _with_options(command, "observed", options, understood, check)


def _option(option: modalities.Option) -> Any:
    return typer.Option(option.flag, metavar=option.metavar, help=option.help)


def takes_embedding(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: in place of the parameter `embedding` the command line gets the options that every command
    has which embeds a library."""
    options = {
        "records": (Records, None),
        "workers": (Workers, None),
        "shard_size": (ShardSize, 10_000),
        "limit": (Limit, None),
        "smiles_column": (SmilesColumn, None),
        "inchikey_column": (InchikeyColumn, None),
        "device": (Device, "auto"),
        "restart": (Restart, False),
    }

    def understood(given: dict[str, Any]) -> Embedding:
        read = {name: given.pop(name) for name in options}
        # none: no records at all; not said: the files are to tell
        return {**read, "records": None if read["records"] == "none" else names(read["records"] or "")}

    return _with_options(command, "embedding", options, understood)


def _with_options(
    command: Callable[..., None],
    name: str,
    options: Mapping[str, tuple[Any, Any]],
    understood: Callable[[dict[str, Any]], Any],
    check: Callable[[dict[str, Any]], None] = lambda given: None,
) -> Callable[..., None]:
    """`command` with `options` (annotation and default by name) in place of its parameter `name`, which gets
    what `understood` makes of them; `check` sees all that the command gets."""
    signature = inspect.signature(command, eval_str=True)

    @wraps(command)
    def run(**given: Any) -> None:
        given[name] = understood(given)
        check(given)
        command(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == name:
            parameters += [
                inspect.Parameter(option, keyword, default=default, annotation=annotation)
                for option, (annotation, default) in options.items()
            ]
        else:
            parameters.append(parameter.replace(kind=keyword))
    del run.__wrapped__
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def names(text: str) -> tuple[str, ...]:
    """`"smiles, image"` -> `("smiles", "image")`."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)
