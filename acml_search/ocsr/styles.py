"""How pictures of structures may look: RDKit's default, and two families of random styles.

A `Style` says how one picture looks; `ocsr.depict` draws it. The two families have nothing in common but what
any drawing of a molecule has: one can train a reader, the other test it.

                   `training_style`                          `held_out_style`
    fonts          Telex, Roboto, FreeSans, DejaVu Sans      Comic Neue, Aileron, DejaVu Sans Condensed,
                   and Serif (and Bold), STIX, Computer      DejaVu Sans Mono, DejaVu Math
                   Modern, those of the extra `fonts`;
                   some stretched or slanted
    modes          RDKit's free mode                         ACS 1996, comic, free
    line widths    1, 1.5, 2, 3 pixels                       0.8, 1.2, 2.5, 3.5 pixels (ACS: 0.6)
    palettes       RDKit's, black, Avalon's                  CDK's, dark random ones, white on dark
    backgrounds    white, light and even                     coloured, transparent
    layouts        RDKit's, jittered in half of them         with ring templates, straightened or jittered
    second hand    noise, Gaussian blur, JPEG, threshold,    dithering, ink bleed, perspective, paper texture,
                   speckle, slight turn and shear, shade,    WebP, pixellation, streaks
                   resampling, gamma

Rotation, mirroring, size, abbreviations, kekulised or dashed aromatic rings, written methyls and stereo
labels vary in both. DejaVu is used where the system has it, the extra's where it is installed; the other
fonts come with RDKit, Pillow and Matplotlib.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from acml_search.ocsr.abbreviations import DEFINITIONS
from acml_search.ocsr.fonts import HELD_OUT_FONTS, TRAINING_FONTS, known_fonts
from acml_search.ocsr.image_augment import HELD_OUT_EFFECTS, TRAINING_EFFECTS


@dataclass(frozen=True)
class Style:
    """How a picture is drawn. Lengths are pixels of the drawing."""

    family: str = "plain"
    font: str = ""
    """a name of the tables above; "" is RDKit's default"""
    bond: float | None = None
    """length of a bond; None: fitted into `canvas`"""
    canvas: tuple[int, int] = (300, 250)
    line: float = 2.0
    letters: float = -1.0
    """height of letters in angstroms, -1: RDKit's choice"""
    padding: float = 0.05
    gap: float = 0.0
    """white around labels, share of the letters' size"""
    offset: float = 0.15
    """distance of double bonds' lines, share of the bond"""
    rotate: float = 0.0
    mirror: bool = False
    kekulised: bool = True
    abbreviations: tuple[int, ...] = ()
    """which of `DEFINITIONS` are condensed"""
    methyls: bool = False
    stereo: bool = True
    annotations: bool = False
    layout: str = "rdkit"
    """rdkit, templates (of rings), or straight (the same, turned so that most bonds are level or steep)"""
    jitter: float = 0.0
    """standard deviation of atom positions, angstroms"""
    mode: str = "free"
    """free, acs or comic, whose wobbling lines no seed governs"""
    palette: str | tuple[tuple[float, float, float], ...] = "default"
    """default, black, avalon, cdk, or colours of carbon and of the rest in turn"""
    background: tuple[float, ...] = (1.0, 1.0, 1.0)
    """red, green, blue and, where it is transparent, alpha"""
    effects: tuple[tuple[str, float], ...] = ()
    """what happened to the picture afterwards: name and strength, see `ocsr.image_augment`"""
    seed: int = 0
    """of jitter and effects"""


PLAIN = Style()


def training_style(rng: np.random.Generator) -> Style:
    """A random style of the family that readers are trained on."""
    common = _common_style(rng)
    if rng.random() < 0.85 and common.bond is not None:
        # Pictures are read at 16 pixels a bond: most are drawn not far from it, which also costs less.
        common = replace(common, bond=float(rng.uniform(13, 30)))
    return replace(
        common,
        family="training",
        font=str(rng.choice(known_fonts(TRAINING_FONTS))),
        line=float(rng.choice([1, 1.5, 2, 3])),
        jitter=float(rng.choice([0, 0, 0.03, 0.06])),
        palette=str(rng.choice(["default", "black", "black", "avalon"])),
        background=(float(rng.choice([1, 1, 1, 0.94])),) * 3,
        effects=_effects(TRAINING_EFFECTS, rng),
    )


def held_out_style(rng: np.random.Generator) -> Style:
    """A random style of the family that no reader is trained on."""
    common = _common_style(rng)
    mode = str(rng.choice(["free", "free", "acs", "comic"]))
    dark = rng.random() < 0.1
    shade = rng.uniform(0.6, 1.0, (2, 3)) if dark else rng.uniform(0.0, 0.45, (2, 3))
    ground = rng.uniform(0.0, 0.2, 3) if dark else rng.choice([1.0, 1.0, 0.9, 0.8], 3)
    clear = not dark and rng.random() < 0.15
    colours = tuple((float(r), float(g), float(b)) for r, g, b in shade)
    palette: Any = colours if dark or rng.random() < 0.5 else "cdk"
    straight = rng.random() < 0.5
    return replace(
        common,
        family="held-out",
        font="ComicNeue" if mode == "comic" else str(rng.choice(known_fonts(HELD_OUT_FONTS[1:]))),
        line=float(rng.choice([0.8, 1.2, 2.5, 3.5])),
        layout="straight" if straight else "templates",
        jitter=0.0 if straight else 0.04,
        mode=mode,
        palette=palette,
        background=(1.0, 1.0, 1.0, 0.0) if clear else tuple(float(x) for x in ground),
        effects=() if clear else _effects(HELD_OUT_EFFECTS, rng),
    )


def _common_style(rng: np.random.Generator) -> Style:
    some = rng.random(len(DEFINITIONS)) < rng.choice([0.0, 0.0, 0.5, 1.0])
    sizes = [(250, 200), (300, 300), (400, 300), (500, 500), (800, 600)]
    return Style(
        bond=None if rng.random() < 0.35 else float(np.exp(rng.uniform(np.log(13), np.log(60)))),
        canvas=sizes[int(rng.integers(len(sizes)))],
        letters=float(rng.choice([-1.0, rng.uniform(0.5, 1.05)])),
        padding=float(rng.uniform(0.02, 0.2)),
        gap=float(rng.choice([0.0, rng.uniform(0, 0.15)])),
        offset=float(rng.uniform(0.1, 0.22)),
        rotate=float(rng.choice([0.0, rng.uniform(0, 360)])),
        mirror=bool(rng.random() < 0.5),
        kekulised=bool(rng.random() < 0.85),
        abbreviations=tuple(np.flatnonzero(some).tolist()),
        methyls=bool(rng.random() < 0.15),
        stereo=bool(rng.random() < 0.7),
        annotations=bool(rng.random() < 0.15),
        seed=int(rng.integers(2**31)),
    )


def _effects(
    table: dict[str, tuple[float, float]], rng: np.random.Generator
) -> tuple[tuple[str, float], ...]:
    """Up to three effects of a family, strengths from the table's ranges; none for every third picture."""
    count = int(rng.choice([0, 0, 1, 1, 2, 3]))
    chosen = sorted(rng.choice(len(table), count, replace=False))
    names = list(table)
    return tuple((names[i], float(rng.uniform(*table[names[i]]))) for i in chosen)
