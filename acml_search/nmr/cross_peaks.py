"""Cross peaks of HSQC: pairs of a carbon's shift and its hydrogens', read, embedded and assigned.

A spectrum is a set of points in the plane of 13C and 1H. Its vector is the mean of random Fourier features
(Rahimi and Recht, NIPS 2007) of the points, so that the inner product of two spectra is the mean of a
Gaussian kernel over all pairs of their points; a predicted point counts with the expectation of its features
over a Laplace distribution of its error. Nothing is learned. The frequencies come from the R2 sequence of
Roberts (a two-dimensional golden ratio), so that they are the same everywhere. NumPy only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from acml_search.chem.peaks import LeftOut, Peak, PeakList
from acml_search.core.errors import InvalidRecord, shorten
from acml_search.core.typing import Float32s, Floats, Ints
from acml_search.nmr.assign import ANY, AtomPeaks, Bits, class_bits
from acml_search.nmr.parser import MAX_CHARACTERS
from acml_search.nmr.predicted import HETERO, Coupling, PeakLists, decode
from acml_search.nmr.tokens import plain_dashes

MODALITY = "hsqc"
_PLASTIC = 1.324717957244746  # x^3 = x + 1
_ALIKE = (0.1, 0.02)
"""ppm of 13C and 1H: predicted pairs closer than this are one, for equivalent atoms are predicted alike"""

# ---- reading

_PAIR = r"(?P<{0}>{1})(?:\s*ppm)?\s*[/|×]\s*(?P<{2}>{1})"
_NOTE = r"(?:(?:\s*ppm)?\s*[(\[](?P<note>[^()\[\]]*)[)\]])?"
_CONDITIONS = re.compile(
    r"\([^()]*MHz[^()]*\)|(?<!\d)\d{1,4}(?:\s?/\s?\d{1,4})?\s?MHz|\b1H\b|\b13C\b|δ[CH]?\b"
)
_SHIFT_NAME = re.compile(r"shift|δ|ppm|\bf[12]\b|\bd[CH]\b|\bC\b|\bH\b|13\s?C|1\s?H|carbon|proton", re.I)
_HEIGHT_NAME = re.compile(r"intens|height|volume|area|sign|phase", re.I)
_CLASS = re.compile(r"CH[1-3]?(?![A-Za-z0-9])")
_SIGNS = {"+": "CH or CH3", "pos": "CH or CH3", "up": "CH or CH3", "-": "CH2", "neg": "CH2", "down": "CH2"}


def cross_peaks_of_text(text: str, modality: str = MODALITY) -> PeakList:
    """The pairs of "128.5/7.26, 55.2/3.81 (CH2)" or of a table of them, with what is left out.

    Of a pair, the larger shifts are taken for 13C, whichever stands first. Brackets, a column of classes or a
    negative intensity say what an edited spectrum shows: CH2 is negative. Raises InvalidRecord.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidRecord(
            f"it has {len(text):,} characters, and {MAX_CHARACTERS:,} are read; give the pairs alone",
            modality=MODALITY,
        )
    text = plain_dashes(text)
    table = _table([line for line in text.splitlines() if line.strip()])
    if table is not None:
        return _peak_list(table)
    point = r"\." if re.search(r"\d\.\d", text) else "[.,]"
    number = rf"(?<![\d.])-?\d{{1,4}}(?:{point}\d+)?"
    bare = _CONDITIONS.sub(" ", text)
    pattern = re.compile(_PAIR.format("a", number, "b") + _NOTE)
    bare = re.sub(rf"\(\s*({number})\s*[,;]\s+({number})\s*\)", r"\1/\2", bare)
    rows = [(_value(one["a"]), _value(one["b"]), _class_of(one["note"])) for one in pattern.finditer(bare)]
    rest = [piece.strip(" ,;.()") for piece in re.split(r"[,;\n]", pattern.sub(",", bare))]
    left = [LeftOut(piece, "it is no pair of shifts, 13C/1H") for piece in rest if re.search(r"\d", piece)]
    if not rows:
        raise InvalidRecord(
            f"there are no pairs of shifts in {shorten(text.strip())!r}; give 13C/1H in ppm, such as "
            "'128.5/7.26, 55.2/3.81', or a table of both",
            modality=MODALITY,
        )
    return _peak_list(rows, left)


def _table(lines: Sequence[str]) -> list[tuple[float, float, str | None]] | None:
    """The pairs of a table; None for lines that are none. Raises InvalidRecord for unclear columns."""
    if len(lines) < 2 or any("/" in line for line in lines[1:]):
        return None
    separator = next((one for one in ("\t", ";") if all(one in line for line in lines)), None)
    if separator is None and all("," in line for line in lines) and re.search(r"\d\.\d", lines[-1]):
        separator = ","
    rows = [[cell.strip(' "') for cell in line.strip().split(separator)] for line in lines]
    names: list[str] = []
    while len(rows) > 1 and not any(_is_number(cell) for cell in rows[0]):
        names = [cell.casefold() for cell in rows.pop(0)]
    width = len(rows[-1])
    if width < 2 or any(len(row) != width for row in rows):
        return None
    numeric = [i for i in range(width) if all(_is_number(row[i]) for row in rows)]
    if len(names) == width:
        heights = [i for i in numeric if _HEIGHT_NAME.search(names[i])]
        shifts = [i for i in numeric if _SHIFT_NAME.search(names[i]) and i not in heights]
    else:
        if len(numeric) > 2 and [_value(row[0]) for row in rows] == list(range(1, len(rows) + 1)):
            numeric = numeric[1:]
        shifts, heights = numeric[:2], numeric[2:]
    if len(shifts) != 2 or len(heights) > 1:
        raise InvalidRecord(
            f"its {len(rows):,} lines have {width} columns, and nothing says which two are the shifts; name "
            "them in a first line, such as '13C,1H,intensity'",
            modality=MODALITY,
        )
    words = [i for i in range(width) if i not in numeric and any(_class_of(row[i]) for row in rows)]
    edited = any(_value(row[i]) < 0 for row in rows for i in heights)
    found = []
    for row in rows:
        kind = _class_of(row[words[0]]) if words else None
        if edited and kind is None:
            kind = _SIGNS["-" if _value(row[heights[0]]) < 0 else "+"]
        found.append((_value(row[shifts[0]]), _value(row[shifts[1]]), kind))
    return found


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?", cell) is not None


def _value(text: str) -> float:
    return float(text.replace(",", "."))


def _class_of(note: str | None) -> str | None:
    """ "CH2", "CH or CH3" of a note; None where it says nothing of that."""
    text = (note or "").translate(str.maketrans("₁₂₃", "123")).strip().casefold().replace("ch", "CH")
    stated = dict.fromkeys(one.replace("CH1", "CH") for one in _CLASS.findall(text))
    return " or ".join(stated) or next((x for sign, x in _SIGNS.items() if text.startswith(sign)), None)


def _peak_list(rows: Sequence[tuple[float, float, str | None]], left: Sequence[LeftOut] = ()) -> PeakList:
    turned = sum(b for _, b, _ in rows) > sum(a for a, _, _ in rows)
    peaks = [Peak(b if turned else a, multiplicity=kind, proton=a if turned else b) for a, b, kind in rows]
    notes = (
        {"notes": ["the second shift of each pair is taken for 13C, since it is larger"]} if turned else {}
    )
    return PeakList(MODALITY, tuple(dict.fromkeys(peaks)), tuple(left), about=notes)


# ---- vectors


@lru_cache(maxsize=4)
def _frequencies(d: int, scales: tuple[tuple[float, float], ...]) -> Float32s:
    """(2, d / 2) radians per ppm of 13C and 1H: as many of the Gaussian kernel of each width of `scales`."""
    places = np.arange(d // 2 // len(scales))
    normal = np.vectorize(NormalDist().inv_cdf)
    z = np.array([normal((0.5 + places / _PLASTIC**power) % 1) for power in (1, 2)])
    return np.concatenate([z / np.array(widths)[:, None] for widths in scales], axis=1).astype(np.float32)


def embed(
    shifts: Floats, spreads: Floats | None, weights: Floats | None, starts: Ints, features: Mapping[str, Any]
) -> Float32s:
    """(n, d) float32 unit vectors of n sets of points, end to end; an empty set lies far from all others.

    shifts: (p, 2) ppm, 13C and 1H; spreads: (p, 2), of predicted ones; starts: (n + 1,). features: `d`, and
    `scales`, pairs of ppm; `spread`, by what predicted spreads are multiplied.
    """
    omega = _frequencies(int(features["d"]), tuple(map(tuple, features["scales"])))
    phase = shifts.astype(np.float32) @ omega
    sized = np.ones((len(shifts), 1), np.float32) if weights is None else weights.astype(np.float32)[:, None]
    if spreads is not None:  # the characteristic function of a Laplace distribution
        wide = (spreads * features["spread"]).astype(np.float32)
        sized = sized / ((1 + (wide[:, :1] * omega[0]) ** 2) * (1 + (wide[:, 1:] * omega[1]) ** 2))
    waves = np.concatenate([np.cos(phase) * sized, np.sin(phase) * sized], axis=1)
    out = np.zeros((len(starts) - 1, waves.shape[1]), np.float32)
    filled = np.flatnonzero(np.diff(starts))
    if len(filled):
        out[filled] = np.add.reduceat(waves, starts[filled], axis=0)
    out[np.diff(starts) == 0, -1] = 1
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12), np.float32)


def embed_predicted(
    carbons: Sequence[AtomPeaks], protons: Sequence[AtomPeaks], features: Mapping[str, Any]
) -> Float32s:
    """`embed` of what is predicted of n molecules: of each carbon with hydrogens its pair, of equivalent ones
    (predicted alike) one."""
    n, stride = len(carbons), 1 << 32
    sides = []
    for peaks in (carbons, protons):
        if not n:
            return np.zeros((0, int(features["d"])), np.float32)
        sizes = [len(one.atoms) for one in peaks]
        key = np.concatenate([one.atoms for one in peaks]) + stride * np.repeat(np.arange(n), sizes)
        sides.append((key, *(np.concatenate([getattr(x, a) for x in peaks]) for a in ("position", "spread"))))
    (key, c, c_spread), (other, h, h_spread) = sides
    both, at, there = np.intersect1d(key, other, assume_unique=True, return_indices=True)
    shifts = np.stack([c[at], h[there]], axis=1)
    molecule = both // stride
    order = np.lexsort((shifts[:, 0], molecule))
    shifts, spreads = shifts[order], np.stack([c_spread[at], h_spread[there]], axis=1)[order]
    alike = np.ones(len(order))
    for k in range(1, 7):  # a Gaussian of the distance, so that rounding does not decide
        apart = (((shifts[k:] - shifts[:-k]) / _ALIKE) ** 2).sum(axis=1)
        near = np.where(molecule[k:] == molecule[:-k], np.exp(-apart), 0.0)
        alike[k:] += near
        alike[:-k] += near
    return embed(shifts, spreads, 1 / alike, np.searchsorted(molecule, np.arange(n + 1)), features)


# ---- assignment


class CrossPeaks(NamedTuple):
    """o observed points, or g predicted ones of a molecule, one for each set of equivalent carbons."""

    shifts: Floats
    """(o, 2) ppm, 13C and 1H"""
    attached: Bits
    """(o,) bit n set: the carbon may carry n hydrogens"""
    spreads: Floats = np.zeros((0, 2))
    """(g, 2) ppm, of predicted ones"""
    atoms: Sequence[list[int]] = ()
    """numbers of the carbons, of predicted ones"""


def observed_of(shifts: Floats, entries: Sequence[Any] | None) -> CrossPeaks:
    """Points at `shifts` (o, 2) ppm with the classes that are stated ("CH2", "CH or CH3"; None: unknown)."""
    bits = [ANY] * len(shifts) if entries is None else [class_bits(entry) for entry in entries]
    return CrossPeaks(shifts, np.array(bits, np.uint8))


def unpack(
    carbons: PeakLists, protons: PeakLists, atoms: Sequence[Sequence[list[int]]] | None = None
) -> list[CrossPeaks]:
    """What an index keeps of 13C and 1H as points. Both lists are in the order of each molecule's atoms, so
    carbons with hydrogens and protons on carbon are the same sets. atoms: of all sets of carbons."""
    c, h = decode("C", carbons.peaks), decode("H", protons.peaks)
    shown, on_carbon = c.attached != 1, Coupling.of(h.coupling).kind != HETERO
    shifts = np.stack([c.position[shown], h.position[on_carbon]], axis=1)
    spreads = np.stack([c.spread[shown], h.spread[on_carbon]], axis=1)
    attached = c.attached[shown]
    ends = np.concatenate([[0], np.cumsum(shown)])[carbons.ends]
    found = []
    for i, (low, high) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)):
        first = int(carbons.ends[i] - carbons.sizes[i])
        mine = [] if atoms is None else [x for x, yes in zip(atoms[i], shown[first:], strict=False) if yes]
        found.append(CrossPeaks(shifts[low:high], attached[low:high], spreads[low:high], mine))
    return found


@dataclass(frozen=True)
class CrossCosts:
    """What an assignment costs, in nats; the widths in ppm of 13C and 1H. See `assign.Costs`."""

    wider: tuple[float, float] = (1.0, 0.8)
    floor: tuple[float, float] = (0.05, 0.02)
    tail: float = 0.1
    reach: float = 3.0
    extra: float = 11.0
    missing: float = 4.0
    shared: float = 1.5
    split: float = 1.5
    contradicted: float = 4.0


class CrossAssignment(NamedTuple):
    """A best assignment. pairs: (observed, predicted), either more than once; alone: those in none."""

    log_likelihood: float
    pairs: list[tuple[int, int]]
    alone_observed: list[int]
    alone_predicted: list[int]


def log_likelihoods(observed: CrossPeaks, candidates: Sequence[CrossPeaks], costs: CrossCosts) -> Floats:
    """(n,) the likelihoods of `assign`, without the assignments."""
    from scipy.optimize import linear_sum_assignment

    found = []
    for gain, lone_observed, lone_predicted, _ in _tables(observed, candidates, costs):
        rows, columns = linear_sum_assignment(gain, maximize=True)
        found.append(float(lone_observed.sum() + lone_predicted.sum() + gain[rows, columns].sum()))
    return np.array(found, np.float64)


def assign(
    observed: CrossPeaks, candidates: Sequence[CrossPeaks], costs: CrossCosts
) -> Iterator[CrossAssignment]:
    """The best assignment of the observed points to those of each candidate.

    One to one (Hungarian method); what is left over shares a point that has a partner (overlap; the two
    protons of a CH2), where that is likelier than being alone.
    """
    from scipy.optimize import linear_sum_assignment

    for gain, lone_observed, lone_predicted, score in _tables(observed, candidates, costs):
        rows, columns = linear_sum_assignment(gain, maximize=True)
        good = gain[rows, columns] > 0
        pairs = dict.fromkeys(zip(rows[good].tolist(), columns[good].tolist(), strict=True))
        alone: tuple[list[int], list[int]] = [], []
        for i in np.setdiff1d(np.arange(len(gain)), rows[good]).tolist():
            if lone_observed[i] > -costs.extra:
                pairs[i, int(score[i].argmax())] = None
            else:
                alone[0].append(i)
        for j in np.setdiff1d(np.arange(gain.shape[1]), columns[good]).tolist():
            if lone_predicted[j] > -costs.missing:
                pairs[int(score[:, j].argmax()), j] = None
            else:
                alone[1].append(j)
        total = float(lone_observed.sum() + lone_predicted.sum() + gain[rows, columns].sum())
        yield CrossAssignment(total, sorted(pairs), *alone)


def _tables(
    observed: CrossPeaks, candidates: Sequence[CrossPeaks], costs: CrossCosts
) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """Of each candidate: what each pair (o, g) adds to leaving both over, what that costs each observed (o,)
    and each predicted point (g,), and the log density of each pair."""
    if not candidates:
        return
    ends = np.cumsum([len(one.shifts) for one in candidates])
    shifts, spreads, attached = (np.concatenate([one[k] for one in candidates]) for k in (0, 2, 1))
    width = spreads * costs.wider + costs.floor
    error = np.abs(observed.shifts[:, None] - shifts) / width
    near = (1 - costs.tail) * np.exp(-error) + costs.tail / costs.reach * np.exp(-error / costs.reach)
    score = (np.log(np.maximum(near, 1e-300)) - np.log(2 * width)).sum(axis=2)
    score[(observed.attached[:, None] & attached) == 0] -= costs.contradicted
    lone_predicted = np.maximum(score.max(axis=0, initial=-np.inf) - costs.shared, -costs.missing)
    for low, high in pairwise([0, *ends.tolist()]):
        part = score[:, low:high]
        lone_observed = np.maximum(part.max(axis=1, initial=-np.inf) - costs.split, -costs.extra)
        gain = np.maximum(part - lone_observed[:, None] - lone_predicted[low:high], 0.0)
        yield gain, lone_observed, lone_predicted[low:high], part
