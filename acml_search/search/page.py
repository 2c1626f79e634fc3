"""An answer as one self-contained page: what was asked, the hits, and the reason for each of them.

Nothing on the page comes from elsewhere and nothing on it runs: pictures and plots are inline SVG, a content
security policy forbids the rest. Jinja2 escapes every text; what is not escaped is `Markup` that this
package made.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TextIO

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from acml_search import __version__
from acml_search.search.answer import Answer, HitList
from acml_search.search.reason import bars, facts, words
from acml_search.search.reason.mirror import mirror
from acml_search.search.reason.sticks import sticks
from acml_search.search.reason.structure import draw

DETAILED = 25  # hits of a list that have a part of their own,
LISTED = 200  # and that are in its table; the other formats have all
_PEAKS = 80  # rows of a table of peaks
_ROWS = 60  # peaks of a query that are listed
_CONDITIONS = {
    "where": "where",
    "elements_allowed": "only elements",
    "elements_required": "with elements",
    "tol_ppm": "± ppm",
    "tol_da": "± Da",
}
_SIDES = {"records": "which record would this molecule give", "graph": "similar molecules"}


def write_html(answer: Answer, out: TextIO) -> None:
    """Write the page."""
    out.write(_template().render(_view(answer)) + "\n")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("acml_search.search.reason", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Whatever reaches the page as text is cleaned of control characters first.
        finalize=lambda value: value if isinstance(value, Markup | int) else words.clean(value, 6_000),
    )
    return environment.get_template("page.html")


def _view(answer: Answer) -> dict[str, Any]:
    """All that the template shows."""
    asked = answer.query
    observations = [_observation(one) for one in facts.observations(answer)]
    peaks = facts.observed_peaks(answer)
    lists = [_hits(answer, hits, f"l{i}", peaks) for i, hits in enumerate(answer.lists)]
    title = (
        " + ".join(dict.fromkeys(one["name"] for one in observations)) or asked.get("standardised") or "query"
    )
    conditions = (asked.get("filter") or {}).items()
    return {
        "title": title,
        "observations": observations,
        "molecule": _molecule(asked) if asked.get("standardised") else None,
        "filter": [(_CONDITIONS.get(name, name), _value(value)) for name, value in conditions],
        "passed": asked.get("passed"),
        # what was left out stands with its observation
        "notes": [note for note in answer.notes if ": left out " not in note],
        "lists": lists,
        "graded": any(part["mirror"] for one in lists for hit in one["hits"] for part in hit["parts"]),
        "bounds": [(words.name(m), *facts.BOUNDS[m]) for m in peaks if m in facts.BOUNDS],
        "index": answer.index,
        "seconds": answer.seconds.get("total"),
        "version": __version__,
        "style": Markup(_style()),
    }


@cache
def _style() -> str:
    from importlib.resources import files

    return files("acml_search.search.reason").joinpath("page.css").read_text(encoding="utf-8")


def _molecule(asked: dict[str, Any]) -> dict[str, Any]:
    """The molecule that was asked for."""
    return {
        "drawing": draw(asked["standardised"]),
        "smiles": asked.get("smiles"),
        "standardised": asked["standardised"],
        "formula": asked.get("formula"),
        "mass": asked.get("exact_mass"),
        "inchikey": asked.get("inchikey"),
        "removed": asked.get("removed"),
    }


def _observation(one: dict[str, Any]) -> dict[str, Any]:
    """One observation and how it was understood."""
    modality = one["modality"]
    peaks = one.get("peaks") or []
    shown = ", ".join(words.position(float(peak["position"]), modality) for peak in peaks[:_ROWS])
    more = f" and {len(peaks) - _ROWS:,} more" if len(peaks) > _ROWS else ""
    return {
        "name": words.name(modality),
        "key": bars.key(modality),
        "given": words.clean(one.get("given"), 600),
        "n": len(peaks),
        "peaks": shown + more,
        "unit": words.unit(modality),
        "about": list(facts.about(one)),
        "left_out": list(facts.left_out(one)),
    }


def _hits(answer: Answer, hits: HitList, anchor: str, peaks: dict[str, facts.Peaks]) -> dict[str, Any]:
    """One list: its table and the parts of its first hits."""
    rows = list(hits.rows())
    ends = bars.reach(rows[:LISTED])
    observed = bool(facts.observations(answer))
    names = dict.fromkeys(name for row in rows for name in (row.get("why") or {}).get("logits") or {})
    return {
        "title": " + ".join(map(words.name, names)) if observed else words.name(hits.modality),
        "side": "molecules that fit" if observed else _SIDES.get(hits.side, hits.side),
        "total": len(rows),
        "listed": min(len(rows), LISTED),
        "modalities": [(words.name(name), bars.key(name)) for name in names],
        "has_mass": any((row.get("why") or {}).get("mass_error_ppm") is not None for row in rows),
        "hits": [
            _hit(answer, row, f"{anchor}-{i}", ends, peaks, detailed=i < DETAILED)
            for i, row in enumerate(rows[:LISTED])
        ],
    }


def _hit(
    answer: Answer,
    row: dict[str, Any],
    anchor: str,
    ends: tuple[float, float],
    peaks: dict[str, facts.Peaks],
    *,
    detailed: bool,
) -> dict[str, Any]:
    why = row.get("why") or {}
    logits = why.get("logits") or {}
    reasons = facts.reasons(row, answer) if detailed else []
    parts = [_part(answer, row["smiles"], reason, peaks) for reason in reasons if reason.has_peaks]
    mass_error = why.get("mass_error_ppm")
    return {
        "anchor": anchor,
        "detailed": detailed,
        "rank": "–" if row["rank"] is None else row["rank"],
        "key": row["key"],
        "title": facts.title(row),
        "small": draw(row["smiles"], small=True) if detailed else "",
        "drawing": draw(row["smiles"]) if detailed and not parts else "",
        "formula": _formula(row["formula"]),
        "mass": f"{row['exact_mass']:.4f}",
        "mass_error": None if mass_error is None else words.signed(mass_error, 1),
        "formula_matches": why.get("formula_matches"),
        "probability": f"{row['probability']:.3f}",
        "score": f"{row['score']:.4f}",
        "bar": bars.bar(logits, ends),
        "sum": words.signed(sum(logits.values()), 1) if logits else "",
        "logits": [
            (words.name(name), words.signed(logit, 1), bars.key(name)) for name, logit in logits.items()
        ],
        "smiles": row["smiles"],
        "inchikey": row["inchikey"],
        "own": list(facts.own_columns(row).items()),
        "parts": parts,
    }


def _part(answer: Answer, smiles: str, reason: facts.Reason, peaks: dict[str, facts.Peaks]) -> dict[str, Any]:
    """What one modality says of one hit: structure, plot and table."""
    known = peaks.get(reason.modality, facts.Peaks(()))
    ms = words.is_ms(reason.modality)
    asked = next((o for o in facts.observations(answer) if o.get("modality") == reason.modality), {})
    plot = sticks(reason, known, asked.get("precursor_mz")) if ms else mirror(reason, known)
    rows = facts.peak_rows(reason, known)
    atoms = any(row.atoms for row in rows)
    return {
        "name": words.name(reason.modality),
        "key": bars.key(reason.modality),
        "mirror": not ms,
        "unit": words.unit(reason.modality),
        "drawing": draw(smiles, {} if ms else reason.grades(), numbered=ms and atoms),
        "plot": plot,
        "summary": facts.summary(reason),
        "peaks": rows[:_PEAKS],
        "more": max(0, len(rows) - _PEAKS),
        "atoms": atoms,
        "kinds": any(row.kind for row in rows),
        "changes": bool(reason.occlusion),
    }


def _value(value: Any) -> str:
    """A condition's value, numbers with all digits that matter."""
    if isinstance(value, list | tuple):
        return ", ".join(map(words.clean, value))
    return f"{value:.10g}" if isinstance(value, float) else words.clean(value)


def _formula(formula: str) -> Markup:
    """`C8H8O3` with lowered numbers."""
    parts = []
    for i, c in enumerate(words.clean(formula)):
        parts.append(Markup("<sub>{}</sub>").format(c) if c.isdigit() and i else Markup("{}").format(c))
    return Markup("").join(parts)
