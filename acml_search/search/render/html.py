"""An answer as one self-contained page: the query, the hits, and the reason for each of them.

Nothing on the page comes from elsewhere and nothing on it runs: drawings and plots are inline SVG, a content
security policy forbids the rest. Jinja2 escapes every text; what is not escaped is markup of templates and of
RDKit's drawings.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from acml_search import __version__, modalities
from acml_search.modalities.base import Reading
from acml_search.search.render import plots, text
from acml_search.search.render.structure import structure
from acml_search.search.render.text import clean, signed, title
from acml_search.search.results import Answer, HitList, Reason

MAX_DETAILED = 25  # hits of a list that have a part of their own,
MAX_LISTED = 200  # and that are in its table; the other formats have all
MAX_PEAK_ROWS = 80
MAX_PICTURE = 480  # pixels of a side of a picture that was read
MAX_POSITIONS = 60  # peaks of a query that are listed
_CONDITIONS = {
    "elements_allowed": "only elements",
    "elements_required": "with elements",
    "tol_ppm": "± ppm",
    "tol_da": "± Da",
}
_SIDES = {"records": "which record would this molecule give", "graph": "similar molecules"}


@cache
def environment() -> Environment:
    """The templates of this folder."""
    made = Environment(
        loader=PackageLoader("acml_search.search.render", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # whatever reaches the page as text is cleaned of control characters first
        finalize=lambda value: value if isinstance(value, Markup | int) else clean(value, 6_000),
    )
    made.filters |= {"title": title, "signed": signed, "modality_class": plots.modality_class, "clean": clean}
    made.globals |= {name: getattr(text, name) for name in ("conditions", "left_out", "paired", "position")}
    made.globals |= {"kind_of": modalities.get, "structure_of": structure, "picture_of": picture_of}
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    made.globals |= {"version": __version__, "style": Markup(style)}
    return made


def page(answer: Answer) -> str:
    """The page."""
    lists = [_list(answer, hits, f"l{i}") for i, hits in enumerate(answer.lists)]
    kinds = [modalities.get(name) for name in dict.fromkeys(one.modality for one in answer.observations)]
    query = answer.query
    return (
        environment()
        .get_template("page.html")
        .render(
            title=" + ".join(kind.title for kind in kinds) or query.get("standardised") or "query",
            answer=answer,
            molecule=query if query.get("standardised") else None,
            most=MAX_POSITIONS,
            filter=[(_CONDITIONS.get(k, k), _value(v)) for k, v in (query.get("filter") or {}).items()],
            passed=query.get("passed"),
            # what was left out stands with its observation
            notes=[note for note in answer.notes if ": left out " not in note],
            lists=lists,
            graded=any(part["mirror"] for one in lists for hit in one["hits"] for part in hit["parts"]),
            kinds=[kind for kind in kinds if kind.tolerance],
        )
    )


def drawing(smiles: str, grades: Mapping[int, str] | None = None, *, small: bool = False) -> Markup:
    """A structure as inline SVG; `grades` as `structure` takes them."""
    macros: Any = environment().get_template("plots.svg").module
    return Markup(macros.structure(structure(smiles, grades, small=small)))


def picture_of(one: Reading) -> tuple[str, tuple[int, int]]:
    """The picture that was read, small: the address that holds it, and its width and height."""
    from PIL import Image

    picture = Image.fromarray(255 - one.ink)
    picture.thumbnail((MAX_PICTURE, MAX_PICTURE))
    file = BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}", picture.size


def _list(answer: Answer, hits: HitList, anchor: str) -> dict[str, Any]:
    """One list: its table and the parts of its first hits."""
    rows = list(hits.rows())[:MAX_LISTED]
    explanations = [hits.explanation(i) for i in range(len(hits))]
    ends = plots.bar_ends([one.logits for one in explanations[:MAX_LISTED]])
    names = dict.fromkeys(name for one in explanations for name in one.logits)
    return {
        "title": " + ".join(map(title, names)) if answer.observations else title(hits.modality),
        "side": "molecules that fit" if answer.observations else _SIDES.get(hits.side, hits.side),
        "total": len(hits),
        "listed": len(rows),
        "modalities": list(names),
        "has_mass": any(one.mass_error_ppm is not None for one in explanations),
        "hits": [_hit(answer, hits, row, i, f"{anchor}-{i}", ends) for i, row in enumerate(rows)],
    }


def _hit(
    answer: Answer, hits: HitList, row: dict[str, Any], i: int, anchor: str, ends: tuple[float, float]
) -> dict[str, Any]:
    why = hits.explanation(i)
    detailed = i < MAX_DETAILED
    reasons = why.reasons(answer.observations) if detailed else []
    parts = [_part(answer, row["smiles"], reason) for reason in reasons if reason.has_peaks]
    return row | {
        "anchor": anchor,
        "detailed": detailed,
        "rank": "–" if row["rank"] is None else row["rank"],
        "name": text.molecule_name(row),
        "formula": [(c, c.isdigit() and place > 0) for place, c in enumerate(clean(row["formula"]))],
        "why": why,
        "own": text.library_columns(row),
        "bar": plots.bar(why.logits, ends),
        "parts": parts,
    }


def _part(answer: Answer, smiles: str, reason: Reason) -> dict[str, Any]:
    """What one modality says of one hit: structure, plot and table."""
    mirror = reason.kind.plot == "mirror"
    first = next((one for one in answer.observations if one.modality == reason.modality), None)
    precursor = first.peaks.precursor_mz if first and first.peaks else None
    rows = text.peak_rows(reason)
    atoms = any(row.atoms for row in rows)
    return {
        "reason": reason,
        "mirror": mirror,
        "drawing": structure(smiles, reason.atom_grades() if mirror else {}, numbered=not mirror and atoms),
        "plot": plots.mirror(reason) if mirror else plots.sticks(reason, precursor),
        "peaks": rows[:MAX_PEAK_ROWS],
        "more": max(0, len(rows) - MAX_PEAK_ROWS),
        "atoms": atoms,
        "kinds": any(row.kind for row in rows),
    }


def _value(value: Any) -> str:
    """A condition's value, numbers with all digits that matter."""
    if isinstance(value, list | tuple):
        return ", ".join(map(clean, value))
    return f"{value:.10g}" if isinstance(value, float) else clean(value)
