"""A map as one self-contained page: dots on a canvas, structures on hover.

Nothing on the page comes from elsewhere. The content security policy lets run only the script that this
package wrote, by its hash; all data stand in a JSON block, whose texts the script shows as text. Jinja2
escapes what else comes from a library.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from acml_search import __version__
from acml_search.core.progress import progress
from acml_search.interpret.colour import Colour
from acml_search.interpret.drawn import PALETTE, Map
from acml_search.search.reason import words
from acml_search.search.reason.structure import draw

CHUNK = 200
"""structures that are deflated together: a tenth of a megabyte to unpack at the first hover"""
_NAME = 120  # characters of a name or a value on the page


def page(made: Map) -> str:
    """The whole page as HTML."""
    script = _text("map.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    colour = made.colour
    low, high = colour.limits
    missing = int((np.isnan(colour.values) | (colour.values < 0 if colour.categories else False)).sum())
    return _template().render(
        title=made.title,
        about=made.about,
        axes=made.plane.axes,
        colour=colour.name,
        categories=None if colour.categories is None else _legend(colour),
        low=f"{low:.4g}",
        high=f"{high:.4g}",
        missing=f"{missing:,}" if missing else "",
        command=made.command,
        version=__version__,
        style=Markup(_text("map.css")),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        data=Markup(_json(_data(made, low, high))),
    )


def _data(made: Map, low: float, high: float) -> dict[str, Any]:
    at, aspect = _unit(made.plane.at)
    colour = made.colour
    categories = colour.categories
    return {
        "x": np.round(at[:, 0], 4).tolist(),
        "y": np.round(at[:, 1], 4).tolist(),
        "aspect": aspect,
        "value": [_value(v, categories is not None) for v in colour.values.tolist()],
        "names": None if categories is None else [words.clean(name, _NAME) for name in categories],
        "paints": list(PALETTE),
        "low": low,
        "high": high,
        "radius": float(np.clip(150 / math.sqrt(len(at)), 2.2, 5)),
        "smiles": made.sample.smiles,
        "notes": [_note(colour, i) for i in range(len(at))],
        "chunk": CHUNK,
        "depictions": _depictions(made.sample.smiles),
    }


def _depictions(smiles: list[str]) -> list[str]:
    """Structures as SVG, CHUNK at a time: a JSON list, deflated, in base64."""
    drawn = [str(draw(one, small=True)) for one in progress(smiles, desc="drawing", unit="mol")]
    chunks = []
    for start in range(0, len(drawn), CHUNK):
        squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)  # "deflate-raw": no header
        content = json.dumps(drawn[start : start + CHUNK], ensure_ascii=False).encode()
        chunks.append(base64.b64encode(squeezer.compress(content) + squeezer.flush()).decode())
    return chunks


def _unit(at: Any) -> tuple[Any, float]:
    """Places moved into 0..1, and how many times as wide as high the map is (at most 2)."""
    low, span = at.min(axis=0), np.ptp(at, axis=0)
    span = np.where(span > 0, span, 1.0)
    return (at - low) / span, float(np.clip(span[0] / span[1], 0.75, 2.0))


def _value(value: float, place: bool) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if place else float(f"{value:.6g}")


def _note(colour: Colour, i: int) -> str:
    """What the card says of the value: `logP 2.31`."""
    value = colour.values[i]
    if math.isnan(value) or (colour.categories is not None and value < 0):
        return f"{words.clean(colour.name, _NAME)}: none"
    shown = f"{value:.5g}" if colour.categories is None else words.clean(colour.categories[int(value)], _NAME)
    return f"{words.clean(colour.name, _NAME)}: {shown}"


def _legend(colour: Colour) -> list[tuple[str, str, str]]:
    """Name, colour and number of molecules of each category."""
    return [
        (name, PALETTE[i], f"{int((colour.values == i).sum()):,}")
        for i, name in enumerate(colour.categories or [])
    ]


def _json(document: Any) -> str:
    """JSON that cannot end the block it stands in, nor begin a comment or an entity."""
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _text(name: str) -> str:
    return files("acml_search.interpret").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("acml_search.interpret", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Whatever reaches the page as text is cleaned of control characters first.
        finalize=lambda value: value if isinstance(value, Markup | int) else words.clean(value, 6_000),
    )
    return environment.get_template("map.html")
