"""What each observation adds to a hit's logit, as a small stacked bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from acml_search.search.reason import words

_WIDTH, _HEIGHT = 160.0, 14.0
_KNOWN = ("c_nmr", "h_nmr", "lc_ms", "gc_ms", "smiles", "image")


def reach(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The lowest sum of the negative logits of a hit and the highest of the positive ones: ends of all
    bars of a list."""
    low, high = 0.0, 0.0
    for row in rows:
        logits = (row.get("why") or {}).get("logits") or {}
        low = min(low, sum(min(0.0, x) for x in logits.values()))
        high = max(high, sum(max(0.0, x) for x in logits.values()))
    return low, high if high > low else low + 1.0


def bar(logits: Mapping[str, float], ends: tuple[float, float]) -> Markup:
    """The bar as inline SVG: positive parts to the right of zero, negative ones to its left."""
    low, high = ends
    per = _WIDTH / (high - low)
    left = right = -low * per
    parts = []
    for modality, logit in logits.items():
        wide = abs(logit) * per
        if logit < 0:
            left -= wide
        start = left if logit < 0 else right
        right += wide if logit >= 0 else 0.0
        parts.append(
            Markup(
                '<rect class="{}" x="{:.1f}" y="2" width="{:.1f}" height="{:.0f}"><title>{}</title></rect>'
            ).format(
                key(modality), start, wide, _HEIGHT - 4, f"{words.name(modality)} {words.signed(logit, 1)}"
            )
        )
    parts.append(Markup('<path class="axis" d="M{:.1f} 0v{:.0f}"/>').format(-low * per, _HEIGHT))
    label = ", ".join(f"{words.name(m)} {words.signed(x, 1)}" for m, x in logits.items())
    size = 'viewBox="-1 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}"'
    head = f'<svg class="bar" {size} role="img" aria-label="{{2}}">'
    return Markup(head).format(_WIDTH + 2, _HEIGHT, label) + Markup("").join(parts) + Markup("</svg>")


def key(modality: str) -> str:
    """The class that colours a modality."""
    return f"m-{modality}" if modality in _KNOWN else "m-other"
