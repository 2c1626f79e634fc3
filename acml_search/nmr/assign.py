"""Which observed peak is which predicted one, and how likely the observation is then.

`DeptPeaks` are observed peaks, with the hydrogens that DEPT found on each carbon; `Groups` are the predicted
peaks of a molecule, equivalent atoms as one; `assign` and its like pair them.

Observed peaks are distinct positions; how many atoms stand behind each is not known. Predicted peaks are
distributions, one per group of equivalent atoms. A dynamic programme over the two sorted lists finds the best
assignment that does not cross (crossing pays only where errors are in the tails), in four moves:

- an observed and a predicted peak are one (log density of the observed position, log of the probability
  that a spectrum lists the predicted peak);
- a further predicted peak falls on the same observed one (`shared`: overlap);
- a further observed peak belongs to the same predicted one (`split`: couplings to F or P, rotamers);
- either stays alone (`extra`, `missing`).

Where DEPT, APT or an edited HSQC says how many hydrogens an observed carbon carries, a pair that contradicts
it costs `contradicted`; a plain decoupled spectrum has no such information, so no encoder sees it. Errors
follow a Laplace distribution of the predicted spread, mixed with a wider one, since some predictions are
wrong by far more than their spread. All candidates of a query go through the programme together, one
anti-diagonal of its table at a time. NumPy only; all logarithms are natural.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from acml_search.chem.peaks import CARBONS
from acml_search.core.errors import InvalidRecord
from acml_search.core.timing import step
from acml_search.core.typing import Float32s, Floats, Ints

Bits = npt.NDArray[np.uint8]

ANY = 0b1111
"""number of hydrogens not known: 0, 1, 2 or 3"""
HYDROGENS = {"c": 0, "ch": 1, "ch2": 2, "ch3": 3, "s": 0, "d": 1, "t": 2, "q": 3}
"""as papers print it, and as the letters of an off-resonance decoupled spectrum"""

CELLS = 15_000
"""observed peaks times candidates whose tables are filled together: they stay in the processor's cache"""
PART = 250
"""such candidates, at most"""
PAIRED, ALONE_OBSERVED, ALONE_PREDICTED = 0, 1, 2  # how a cell of the table was reached
FRESH, SHARED, SPLIT = 0, 1, 2  # how a pair was reached


class DeptPeaks(NamedTuple):
    """o observed peaks, ascending, with the hydrogens of their carbons."""

    positions: Floats
    """(o,) ppm, distinct"""
    attached: Bits
    """(o,) bit n set: the carbon may carry n hydrogens"""


def dept_peaks(positions: npt.ArrayLike, record: Any) -> DeptPeaks:
    """The peaks at `positions` (o,) ppm with the hydrogens that a 13C record states.

    record: a mapping with `shifts` and `multiplicity`, one entry per shift: a word of `HYDROGENS` in any
    case, or several ("CH or CH3"), anything else where it is not known; any other record states nothing.
    Carbons of one shift (within 0.01 ppm) are one peak, which may be any of them. Raises InvalidRecord for
    lists of two lengths.
    """
    at = np.asarray(positions, np.float64)
    entries = _multiplicities(record)
    if entries is None:
        return DeptPeaks(at, np.full(len(at), ANY, np.uint8))
    shifts = np.asarray(record["shifts"], np.float64)
    if len(entries) != len(shifts):
        raise InvalidRecord(
            f"there are {len(entries)} multiplicities for {len(shifts)} shifts; give one for each, empty "
            "where it is not known",
            modality="c_nmr",
        )
    attached = np.zeros(len(at), np.uint8)
    if len(at):
        nearest = np.abs(shifts[:, None] - at[None, :]).argmin(axis=1)
        np.bitwise_or.at(attached, nearest, np.array([class_bits(entry) for entry in entries], np.uint8))
    attached[attached == 0] = ANY
    return DeptPeaks(at, attached)


def has_dept(record: Any) -> bool:
    """Does a record say of any peak how many hydrogens its carbon carries?"""
    entries = _multiplicities(record)
    return entries is not None and any(class_bits(entry) != ANY for entry in entries)


def carbon_classes(attached: int) -> str:
    """Bits as papers print them: "CH2", "CH or CH3"."""
    names = [name for n, name in enumerate(CARBONS) if attached >> n & 1]
    return " or ".join(names)


def _multiplicities(record: Any) -> Any:
    """What a record states, without letters beside a coupling: such a "d" is of fluorine, not of CH."""
    entries: Any = record.get("multiplicity") if isinstance(record, Mapping) else None
    couplings: Any = record.get("couplings") if entries is not None else None
    if couplings is None or len(couplings) != len(entries):
        return entries
    coupled = [one is not None and len(one) > 0 for one in couplings]
    return [None if j and len(str(x)) == 1 and x != "C" else x for x, j in zip(entries, coupled, strict=True)]


def class_bits(entry: Any) -> int:
    """Bit n set where a class ("CH2", "CH or CH3") may carry n hydrogens; all where it is no class."""
    bits = 0
    for word in str(entry).casefold().split(" or "):
        n = HYDROGENS.get(word.strip())
        if n is None:
            return ANY
        bits |= 1 << n
    return bits


class AtomPeaks(Protocol):
    """What is predicted of one molecule's atoms (`encoders.shifts.Predicted`), p of them."""

    @property
    def atoms(self) -> Ints: ...
    @property
    def position(self) -> Floats: ...
    @property
    def spread(self) -> Floats: ...
    @property
    def present(self) -> Floats: ...


class Groups(NamedTuple):
    """Predicted peaks of one molecule, equivalent atoms together: g groups, by position."""

    position: Floats
    """(g,) ppm, ascending: the mean of the atoms"""
    spread: Floats
    """(g,) ppm"""
    present: Floats
    """(g,) probability that a spectrum lists the peak"""
    atoms: list[list[int]]
    """numbers of the atoms of each group"""
    attached: Bits
    """(g,) bit n set: an atom of the group carries n hydrogens"""
    coupling: npt.NDArray[np.uint16] = np.zeros(0, np.uint16)
    """(g,) of 1H, the bits of `nmr.predicted.Coupling`; else empty"""


@dataclass(frozen=True)
class GroupLists(Sequence[Groups]):
    """The `Groups` of n molecules, kept end to end."""

    every: Groups
    """of all: `atoms` is empty where no numbers are known"""
    ends: Ints
    """(n,) where each molecule's groups end"""

    @classmethod
    def of(cls, candidates: Sequence[Groups]) -> GroupLists:
        if isinstance(candidates, cls):
            return candidates
        columns = list(zip(*candidates, strict=True)) or [()] * len(Groups._fields)
        every: list[Any] = [
            list(chain(*column)) if name == "atoms" else np.concatenate([np.zeros(0, np.uint8), *column])
            for name, column in zip(Groups._fields, columns, strict=True)
        ]
        return cls(Groups(*every), np.cumsum([len(one.position) for one in candidates], dtype=np.int64))

    @property
    def sizes(self) -> Ints:
        """(n,) groups of each molecule."""
        return np.diff(self.ends, prepend=0)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: Any) -> Any:
        end = int(self.ends[i])
        start = int(self.ends[i - 1]) if i else 0
        one: list[Any] = [column[start:end] for column in self.every]
        return Groups(*one)

    def take(self, rows: Ints) -> GroupLists:
        """Of the molecules at `rows` (m,), in that order; without `atoms`."""
        sizes = self.sizes[rows]
        ends = np.cumsum(sizes)
        at = np.repeat(self.ends[rows] - ends, sizes) + np.arange(int(sizes.sum()))
        every: list[Any] = [x if isinstance(x, list) or not len(x) else x[at] for x in self.every]
        return GroupLists(Groups(*every)._replace(atoms=[]), ends)


@dataclass(frozen=True)
class Costs:
    """What an assignment costs; all but the widths in nats."""

    alike: float
    """ppm: predictions closer than this are one group, for equivalent atoms are predicted alike"""
    wider: float
    """factor on the predicted spread"""
    floor: float
    """ppm added to it"""
    tail: float
    """share of errors that follow the wider distribution"""
    reach: float
    """its spread over that of the others"""
    extra: float
    """an observed peak that nothing explains: minus the log of its density, 1/ppm"""
    missing: float
    """a predicted peak that was not observed, on top of minus the log of 1 - present"""
    shared: float
    """a further predicted peak on the same observed one"""
    split: float
    """a further observed peak of the same predicted one"""
    sure: float = 0.995
    """no peak is taken as present with a greater probability, or absent with a greater one"""
    contradicted: float = 0.0
    """a pair whose observed carbon carries another number of hydrogens"""


@dataclass(frozen=True)
class Assignment:
    """A best assignment of one observation to one molecule."""

    log_likelihood: float
    pairs: list[tuple[int, int]]
    """(observed peak, group), by position; either may occur more than once"""
    groups: Groups
    unmatched_observed: list[int]
    unmatched_predicted: list[int]


def assign_all(
    observed: npt.ArrayLike | DeptPeaks, candidates: Sequence[Groups], costs: Costs
) -> list[Assignment]:
    """The best assignment of one observation to each molecule. `observed` (o,) ppm, in any order."""
    peaks, order = _ascending(observed)
    lists = GroupLists.of(candidates)
    found: list[Assignment] = []
    for places in _parts(np.arange(len(lists)), len(peaks.positions)):
        table = _fill(peaks, lists, places, costs, trace=True)
        found += [table.traceback(i, lists[place], order) for i, place in enumerate(places.tolist())]
    return found


def log_likelihoods(
    observed: npt.ArrayLike | DeptPeaks, candidates: Sequence[Groups], costs: Costs
) -> Floats:
    """(n,) the likelihoods of `assign_all`, without the assignments."""
    peaks, _ = _ascending(observed)
    lists = GroupLists.of(candidates)
    scores = np.zeros(len(lists))
    for part in of_like_size(lists, len(peaks.positions)):
        scores[part] = _fill(peaks, lists, part, costs, trace=False).best
    return scores


def of_like_size(candidates: GroupLists, observed: int) -> Iterator[Ints]:
    """The places of the candidates whose tables are filled together, those with as many groups in one part:
    a table is as wide as its largest candidate. observed: how many peaks.
    """
    return _parts(np.argsort(candidates.sizes, kind="stable"), observed)


def _parts(order: Ints, observed: int) -> Iterator[Ints]:
    most = max(1, min(PART, CELLS // max(1, observed)))
    for low in range(0, len(order), most):
        step()
        yield order[low : low + most]


def _ascending(observed: npt.ArrayLike | DeptPeaks) -> tuple[DeptPeaks, Ints]:
    """The peaks by position, and their own numbers in that order."""
    if not isinstance(observed, DeptPeaks):
        positions = np.asarray(observed, np.float64)
        observed = DeptPeaks(positions, np.full(len(positions), ANY, np.uint8))
    order = np.argsort(observed.positions, kind="stable")
    return DeptPeaks(observed.positions[order], observed.attached[order]), order


@dataclass(frozen=True)
class _Table:
    """A filled table: `best` (c,) log-likelihoods; `cell` and `pair` say how each cell was reached, (o + g +
    1, g + 1, c) by anti-diagonal, number of predicted peaks used and candidate; empty without traceback.
    """

    best: Floats
    cell: Bits
    pair: Bits

    def traceback(self, number: int, groups: Groups, order: Ints) -> Assignment:
        """The assignment of one candidate; `order` (o,) gives observed peaks their own numbers."""
        cell, pair = self.cell[:, :, number], self.pair[:, :, number]
        numbers = order.tolist()
        i, j = len(numbers), cell.shape[1] - 1
        pairs: list[tuple[int, int]] = []
        alone_observed: list[int] = []
        alone_predicted: list[int] = []
        paired = False  # whether the path leads on from a pair, not from a finished cell
        while i or j:
            how = PAIRED if paired else int(cell[i + j, j])
            if how == ALONE_OBSERVED:
                i -= 1
                alone_observed.append(numbers[i])
            elif how == ALONE_PREDICTED:
                j -= 1
                if j < len(groups.position):  # the others are padding
                    alone_predicted.append(j)
            else:
                pairs.append((numbers[i - 1], j - 1))
                before = int(pair[i + j, j])
                i, j = i - (before != SHARED), j - (before != SPLIT)
                paired = before != FRESH
        return Assignment(
            float(self.best[number]), pairs[::-1], groups, alone_observed[::-1], alone_predicted[::-1]
        )


def _fill(observed: DeptPeaks, lists: GroupLists, rows: Ints, costs: Costs, *, trace: bool) -> _Table:
    """The dynamic programme for the candidates at `rows` (c,) at once. `observed`: o peaks, ascending."""
    density, missing = _scores(observed, lists, rows, costs)
    n, (g, c) = len(observed.positions), missing.shape
    # (g + 1, c) each: the best way to use so many predicted peaks, of the last diagonal and the one before
    # it; and the same, of ways that end with a pair, of the last diagonal.
    done, before, paired, now, now_paired = (np.full((g + 1, c), -np.inf, np.float32) for _ in range(5))
    done[0] = 0.0
    shape = (n + g + 1, g + 1, c) if trace else (0, g + 1, c)
    cell, pair = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for k in range(1, n + g + 1):
        low, high = max(0, k - n), min(g, k)  # predicted peaks used; k - them are the observed ones
        now.fill(-np.inf)
        now_paired.fill(-np.inf)
        first, last = max(low, 1), min(high, k - 1)
        if first <= last:
            here, left = slice(first, last + 1), slice(first - 1, last)
            best = before[left]
            shared, split = paired[left] - costs.shared, paired[here] - costs.split
            if trace:
                how = np.where(shared > best, SHARED, FRESH)
                pair[k, here] = np.where(split > np.maximum(best, shared), SPLIT, how)
            np.maximum(best, shared, out=shared)
            np.maximum(shared, split, out=split)
            np.add(split, density[left, k - 2], out=now_paired[here])
            now[here] = now_paired[here]
        if low < k:  # an observed peak can be left alone
            here = slice(low, min(high, k - 1) + 1)
            other = done[here] - costs.extra
            if trace:
                cell[k, here] = np.where(other > now[here], ALONE_OBSERVED, PAIRED)
            np.maximum(now[here], other, out=now[here])
        if high:
            here, left = slice(max(low, 1), high + 1), slice(max(low, 1) - 1, high)
            other = done[left] - missing[left]
            if trace:
                cell[k, here] = np.where(other > now[here], ALONE_PREDICTED, cell[k, here])
            np.maximum(now[here], other, out=now[here])
        before, done, paired, now, now_paired = done, now, now_paired, before, paired
    return _Table(done[g].astype(np.float64), cell, pair)


def _scores(observed: DeptPeaks, lists: GroupLists, rows: Ints, costs: Costs) -> tuple[Float32s, Floats]:
    """Log score of every pair, by group and anti-diagonal (g, o + g - 1, c), and what each predicted peak
    costs that stays alone (g, c). Filled up with pairs that cannot be and peaks that cost nothing.
    """
    sizes = lists.sizes[rows]
    n, g = len(observed.positions), int(sizes.max(initial=0))
    filled = np.arange(g)[:, None] < sizes
    at = np.where(filled, lists.ends[rows] - sizes + np.arange(g)[:, None], 0)
    position, spread, present = (
        column[at].astype(np.float32)
        for column in (lists.every.position, lists.every.spread, lists.every.present)
    )
    present = np.clip(present, 1 - costs.sure, costs.sure)
    missing = np.where(filled, costs.missing - np.log1p(-present), 0.0)
    width = costs.wider * spread + costs.floor
    error = np.abs(observed.positions.astype(np.float32)[:, None] - position[:, None, :])
    error /= width[:, None, :]
    far = np.exp(-error / costs.reach)
    far *= costs.tail / costs.reach
    np.exp(np.negative(error, out=error), out=error)
    error *= 1 - costs.tail
    error += far
    # Row j moved by j places: what stood in one anti-diagonal stands in one column.
    skewed = np.full((g, n + g, len(rows)), -np.inf, np.float32)
    score = skewed[:, :n]
    with np.errstate(divide="ignore"):  # so far off that no pair is possible
        np.log(error, out=score)
    score += np.where(filled, np.log(present) - np.log(2 * width), np.float32(-np.inf))[:, None, :]
    if costs.contradicted and (observed.attached != ANY).any():
        attached = np.where(filled, lists.every.attached[at], ANY)
        score[(attached[:, None, :] & observed.attached[:, None]) == 0] -= costs.contradicted
    width_of_row = max(n + g - 1, 0)
    return skewed.reshape(-1, len(rows))[: g * width_of_row].reshape(g, width_of_row, len(rows)), missing
