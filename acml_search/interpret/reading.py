"""What the figures of a probing say: who knows best, and whether physics was right."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.interpret.measures import interval

Floats = npt.NDArray[np.float64]


class Check(NamedTuple):
    """What chemistry lets expect. Written down after a first look at seed 0: other seeds are its test."""

    name: str
    space: str
    rivals: tuple[str, ...]
    concepts: tuple[str, ...]
    why: str


CHECKS = (
    Check(
        "13C knows carbonyls better than 1H",
        "c_nmr",
        ("h_nmr",),
        ("carbonyl, any", "ketone", "ester", "amide", "carboxylic acid", "urea"),
        "a carbonyl carbon has a peak of its own at 150 to 220 ppm; no hydrogen is on it",
    ),
    Check(
        "13C knows carbonyls better than mass spectra",
        "c_nmr",
        ("lc_ms", "gc_ms"),
        ("carbonyl, any", "ketone", "ester", "amide", "carboxylic acid", "urea"),
        "a mass is the same wherever the oxygen is; the shift says what it is bound to",
    ),
    Check(
        "13C knows nitriles better than 1H",
        "c_nmr",
        ("h_nmr",),
        ("nitrile",),
        "115 to 120 ppm; a nitrile has no hydrogen",
    ),
    Check(
        "13C knows hybridisation better than mass spectra",
        "c_nmr",
        ("lc_ms", "gc_ms"),
        ("fraction sp3", "aromatic fraction"),
        "sp3 and sp2 carbons show on either side of 90 ppm",
    ),
    Check(
        "MS/MS knows the molecular weight better than NMR",
        "lc_ms",
        ("c_nmr", "h_nmr"),
        ("molecular weight",),
        "the precursor is the mass; shifts do not add up to one",
    ),
    Check(
        "EI-MS knows the molecular weight better than NMR",
        "gc_ms",
        ("c_nmr", "h_nmr"),
        ("molecular weight",),
        "fragments end at the mass; shifts do not add up to one",
    ),
    Check(
        "MS/MS knows heteroatoms without a peak of their own better than NMR",
        "lc_ms",
        ("c_nmr", "h_nmr"),
        ("halogen", "sulfonamide", "thioether", "thiophene"),
        "halogens and sulfur carry neither a carbon nor a hydrogen; their mass defect shows",
    ),
    Check(
        "1H knows methoxy groups better than mass spectra",
        "h_nmr",
        ("lc_ms", "gc_ms"),
        ("methoxy",),
        "a singlet near 3.8 ppm",
    ),
)


def check(
    asked: Check, concepts: list[dict[str, Any]], resampled: dict[str, Floats], spaces: list[str]
) -> dict[str, Any] | None:
    """Mean of the space minus mean of the best rival over the concepts, with a paired interval; None where
    the model lacks the space or all rivals, or the sample all concepts.

    `found`: "yes" or "no" where the interval leaves 0 out, else "not decided".
    """
    rivals = [rival for rival in asked.rivals if rival in spaces]
    rows = [i for i, concept in enumerate(concepts) if concept["name"] in asked.concepts]
    if asked.space not in spaces or not rivals or not rows:
        return None
    own = resampled[asked.space][rows].mean(axis=0)
    others = {rival: resampled[rival][rows].mean(axis=0) for rival in rivals}
    best = max(others, key=lambda rival: others[rival][0])
    difference = own - others[best]
    low, high = interval(difference[1:])
    return {
        "check": asked.name,
        "why": asked.why,
        "concepts": [concepts[i]["name"] for i in rows],
        "metric": concepts[rows[0]]["metric"],
        "space": asked.space,
        "value": float(own[0]),
        "rival": best,
        "rival_value": float(others[best][0]),
        "difference": float(difference[0]),
        "ci95": [low, high],
        "found": "yes" if low > 0 else "no" if high < 0 else "not decided",
    }


def read(
    concepts: list[dict[str, Any]],
    resampled: dict[str, Floats],
    spaces: list[str],
    same: list[list[str]],
    others: list[str],
) -> list[str]:
    """Plain sentences: per space what it knows best of all spaces, and how the trunk and the rest stand.

    same: descriptions that are the same vectors; of these, one stands for all.
    """
    lines = []
    twins = {group[0]: " and ".join(group) for group in same}
    spaces = [space for space in spaces if not any(space in group[1:] for group in same)]
    for space in spaces:
        ahead = [c["name"] for i, c in enumerate(concepts) if _ahead(i, space, spaces, resampled)]
        if ahead:
            name = twins.get(space, space)
            lines.append(f"Best of all spaces by more than the interval: {name} in {', '.join(ahead)}.")
    undecided = sum(not any(_ahead(i, s, spaces, resampled) for s in spaces) for i in range(len(concepts)))
    if undecided and len(spaces) > 1:
        lines.append(
            f"For {undecided} of {len(concepts)} concepts no space is ahead of every other by more than the "
            "interval."
        )
    first, *rest = [view for view in others if view in resampled]
    for kind, metric in (("number", "R2"), ("group", "AUROC")):
        rows = [i for i, c in enumerate(concepts) if c["kind"] == kind]
        if not rows:
            continue
        means = {view: float(of[rows, 0].mean()) for view, of in resampled.items()}
        told = ", ".join(f"{view} {means[view]:.3f}" for view in sorted(means, key=lambda v: -means[v]))
        lines.append(f"Mean {metric} over {len(rows)} {kind}s: {told}.")
    for view in rest:
        won: list[str] = []
        lost: list[str] = []
        for i, concept in enumerate(concepts):
            low, high = interval(resampled[first][i, 1:] - resampled[view][i, 1:])
            (won if low > 0 else lost if high < 0 else []).append(concept["name"])
        behind = f": {', '.join(lost)}" if lost else ""
        lines.append(
            f"The {first} is ahead of {view} in {len(won)} of {len(concepts)} concepts and behind in "
            f"{len(lost)}{behind}; the rest is within the interval."
        )
    return lines


def _ahead(i: int, space: str, spaces: list[str], resampled: dict[str, Floats]) -> bool:
    """Is the space ahead of every other space in concept i, by more than the paired 95 % interval?"""
    differences = [resampled[space][i, 1:] - resampled[other][i, 1:] for other in spaces if other != space]
    return bool(differences) and all(interval(difference)[0] > 0 for difference in differences)
