"""The options that take observations: one per modality that has one, the same for every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from acml_search import modalities

Adduct = Annotated[
    str | None,
    typer.Option("--adduct", metavar="A", help='Ion of an MS/MS spectrum that does not state it: "[M+H]+".'),
]
Observed = dict[str, list[str]]
"""texts and files by modality"""


def flags() -> str:
    """The options as a list in words."""
    return ", ".join(option.flag for name in modalities.names() if (option := modalities.get(name).option))


def takes_observations(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: in place of the parameter `observed` the command line gets an option per modality.

    Wrong usage (exit status 2): an adduct without a spectrum of ions.
    """
    signature = inspect.signature(command, eval_str=True)
    options = {
        name: inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None, typer.Option(option.flag, metavar=option.metavar, help=option.help)
            ],
        )
        for name in modalities.names()
        if (option := modalities.get(name).option)
    }

    @wraps(command)
    def run(**given: Any) -> None:
        observed = {name: given.pop(name) or [] for name in options}
        ions = [modalities.get(name) for name in options if modalities.get(name).has_precursor]
        if given.get("adduct") is not None and not any(observed[kind.name] for kind in ions):
            needed = " or ".join(kind.option.flag for kind in ions if kind.option)
            raise typer.BadParameter(f"an adduct needs an MS/MS spectrum ({needed})", param_hint="'--adduct'")
        command(observed={name: values for name, values in observed.items() if values}, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == "observed":
            parameters += options.values()
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    del run.__wrapped__
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
