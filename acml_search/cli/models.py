"""`acml-search models`."""

from __future__ import annotations

import typer

from acml_search.cli import options
from acml_search.cli.output import columns, print_json


def models(json: options.Json = False) -> None:
    """List the models that are here; --json has their cards.

    \b
    acml-search models
    acml-search models --json
    """
    from acml_search.encoders.card import list_models

    cards = list_models()
    if json:
        print_json(
            [
                {
                    "name": c.name,
                    "directory": str(c.directory),
                    "digest": c.digest,
                    "card": c.data | c.measurements,
                }
                for c in cards
            ]
        )
        return
    rows: list[tuple[object, ...]] = [("model", "digest", "space", "d", "scale")]
    for card in cards:
        for space in card.spaces.values():
            rows.append((card.name, card.digest[:12], space.name, space.d, f"{space.scale:.2f}"))
    typer.echo(columns(rows))
    for card in cards:
        typer.echo(f"{card.name}: {card.licence}")
