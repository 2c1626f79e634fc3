"""Which signal of a 1H spectrum is which protons, and how likely all that is stated of it is then.

A 1H line states signals: a shift or a range, a number of protons, a multiplicity, coupling constants, each of
which may be missing. A candidate predicts sets of equivalent protons (`nmr.predicted`). A signal is some of
them, for signals overlap and are then printed as one multiplet; or none, for it may be a solvent or an
exchangeable proton. Sets of no signal were not seen. Two protons of one CH2 that may differ are two items,
which may be in two signals. A dynamic programme over both, by position, gives each signal a run of
neighbouring sets; then sets change their signals, one or two at a time, as long as that gains, for a wide
multiplet may lie over other signals, and predictions err.

What a signal costs: the distance of each set from the signal, as `nmr.assign` has it; protons that do not add
up; the multiplicity and the couplings, by tables counted on measured spectra (`multiplicities.json`, made by
`python -m benchmarks.multiplicities`). NumPy only; all logarithms are natural.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from acml_search.core.errors import InvalidRecord
from acml_search.core.timing import step
from acml_search.core.typing import Bools, Floats, Ints
from acml_search.nmr.assign import GroupLists, Groups, of_like_size
from acml_search.nmr.predicted import HETERO, PARTNERS, Coupling

CLASSES = ("s", "d", "t", "q", "quint", "sext", "sept", "dd", "ddd", "dt", "dq", "m", "other")
_SPELLED: Mapping[str, str] = {
    **{"": "s", "singlet": "s", "doublet": "d", "triplet": "t", "quartet": "q", "quadruplet": "q"},
    **{"p": "quint", "qn": "quint", "quin": "quint", "pent": "quint", "quintet": "quint", "pentet": "quint"},
    **{"h": "sext", "hex": "sext", "sex": "sext", "sextet": "sext", "hept": "sept", "sep": "sept"},
    **{"septet": "sept", "heptet": "sept", "td": "dt", "qd": "dq", "multiplet": "m", "mult": "m", "c": "m"},
}
EDGES = (2.5, 4.5, 6.0, 7.0, 7.8, 8.6, 10.0, 12.0, 14.5)
"""Hz, between the bins of couplings"""
COLUMNS = ("low", "high", "counts", "multiplicity", "couplings")
"""of a record, beside its shifts"""
RUN = 8
"""sets of protons that one signal can be, at most"""
SPARE = 4  # sets that a run has beyond the protons that its signal states, at most
MOVES = 12  # of sets from signal to signal, beside the best assignment in order
LEAN = 240.0  # observations that the next coarser level of a table is worth
_LEAN_TOGETHER = 3.0  # and what is usual, of sets in one signal


class Signals(NamedTuple):
    """s signals of one spectrum, by position."""

    position: Floats
    """(s,) ppm, ascending"""
    low: Floats
    high: Floats
    """(s,) ppm, the ends of the range, both the position where there is none"""
    protons: Ints
    """(s,) as stated, 0 where it is not"""
    kind: Ints
    """(s,) place in `CLASSES`, -1 where it is not stated"""
    couplings: list[tuple[float, ...]]
    """Hz"""


def read_signals(record: Any) -> Signals:
    """The signals of a 1H record: a mapping with `shifts` (ppm) and, each as long and with gaps (None), `low`
    and `high` (ppm), `counts` (protons), `multiplicity`, `couplings` (lists of Hz); or the shifts alone.

    Where no counts are stated, a shift may be listed once for each of its protons: that is one signal.
    Raises InvalidRecord for lists of different lengths.
    """
    known: Mapping[str, Any] = record if isinstance(record, Mapping) else {"shifts": record}
    shifts = np.asarray(known["shifts"], np.float64)
    columns = {name: known.get(name) or [None] * len(shifts) for name in COLUMNS}
    for name, column in columns.items():
        if len(column) != len(shifts):
            raise InvalidRecord(
                f"there are {len(column)} {name} for {len(shifts)} shifts; give one for each, empty where "
                "it is not known",
                modality="h_nmr",
            )
    low, high = (
        np.array([at if x is None else x for at, x in zip(shifts, columns[name], strict=True)], np.float64)
        for name in ("low", "high")
    )
    low, high = np.minimum(low, high), np.maximum(low, high)
    counts = np.array([x or 0 for x in columns["counts"]], np.int64)
    kinds = np.array([class_of(x) for x in columns["multiplicity"]], np.int64)
    order = np.lexsort((-kinds, shifts))
    if not counts.any():
        order = order[np.r_[True, np.diff(shifts[order].round(2)) > 0]]
    couplings = [tuple(columns["couplings"][i] or ()) for i in order.tolist()]
    return Signals(shifts[order], low[order], high[order], counts[order], kinds[order], couplings)


def class_of(word: str | None) -> int:
    """Place in `CLASSES` of a multiplicity as it is printed ("br s", "app t", "t of d"), -1 for none."""
    text = (word or "").lower().replace(" of ", "")
    if not text.strip(" -–"):
        return -1
    for prefix in ("broad", "apparent", "app", "br", "b"):
        text = text.strip(" .,").removeprefix(prefix)
    text = text.strip(" .,").removesuffix("br").strip(" .,")
    text = text.split(",")[0].split()[0] if text.split() else ""
    text = _SPELLED.get(text, text)
    return CLASSES.index(text if text in CLASSES else "other")


@dataclass(frozen=True)
class SignalCosts:
    """What an assignment costs; all but the widths in nats. As `assign.Costs` where the names agree.

    Chosen one after another, and `LEAN` with them, by the likelihood of the truth in shortlists of 250 among
    half a million, on printed lines for fitting (`benchmarks.multiplicities.inner`), each by tables counted
    without its fifth of them.
    """

    wider: float = 1.3
    tail: float = 0.03
    reach: float = 3.0
    extra: float = 4.25
    exchangeable: float = 2.5
    """a signal that nothing explains, of a candidate with as many exchangeable protons as it counts"""
    missing: float = -0.4
    sure: float = 0.99
    shared: float = 1.15
    """a further set of protons in the same signal"""
    miscounted: float = 3.25
    """protons that do not add up,"""
    each: float = 0.36
    """and for each of them that is too many or too few"""
    multiplicity: float = 0.8
    coupling: float = 1.0
    """weights of the tables"""


@dataclass(frozen=True)
class _Items:
    """(c, g) sets of protons on carbon, by position; two of a CH2 whose protons may differ."""

    filled: Bools
    position: Floats
    spread: Floats
    present: Floats
    protons: Ints
    code: Ints
    """bits of `Coupling` that the tables know"""
    again: Bools
    """the second proton of the CH2 before it"""
    group: Ints
    """number in the candidate's `Groups`"""
    exchangeable: Ints
    """(c,) protons that are not on carbon"""

    @classmethod
    def of(cls, candidates: GroupLists) -> _Items:
        sizes = candidates.sizes
        of = np.repeat(np.arange(len(candidates)), sizes)
        number = np.arange(len(of)) - np.repeat(candidates.ends - sizes, sizes)
        position, spread, present = candidates.every[:3]
        coupling = Coupling.of(candidates.every.coupling.astype(np.uint16))
        hetero = coupling.kind == HETERO
        exchangeable = np.bincount(of[hetero], coupling.protons[hetero], len(candidates)).astype(np.int64)
        pair = coupling.special & (coupling.hydrogens == 2)
        kept = np.repeat(np.flatnonzero(~hetero), 1 + pair[~hetero])
        again = np.r_[False, kept[1:] == kept[:-1]] if len(kept) else np.zeros(0, bool)
        protons = np.where(pair, coupling.atoms, coupling.protons)
        row, place = of[kept], np.arange(len(kept)) - np.searchsorted(of[kept], of[kept])
        shape = len(candidates), int(place.max(initial=-1)) + 1

        def laid(values: Any, empty: Any) -> Any:
            table = np.full(shape, empty, np.asarray(values).dtype)
            table[row, place] = values
            return table

        return cls(
            laid(np.ones(len(kept), bool), False),
            laid(position[kept], 1e3),
            laid(spread[kept], 1.0),
            laid(present[kept], 0.5),
            laid(protons[kept], 0),
            laid(_code(coupling)[kept], 0),
            laid(again, False),
            laid(number[kept], -1),
            exchangeable,
        )


def log_likelihoods(signals: Signals, candidates: Sequence[Groups], costs: SignalCosts) -> Floats:
    """(n,) how well each candidate explains the signals."""
    lists = GroupLists.of(candidates)
    scores = np.zeros(len(lists))
    for part in of_like_size(lists, max(len(signals.position), int(lists.sizes.max(initial=0)))):
        scores[part] = _Stated(signals, _Items.of(lists.take(part)), costs).assign()[0]
    return scores


class Assignment(NamedTuple):
    """A best assignment of the signals to one candidate."""

    log_likelihood: float
    runs: list[list[int]]
    """for each signal, by position, the numbers of the groups that it is; all exchangeable ones
    where it may be of them and is of none on carbon
    """
    unseen: list[int]
    """groups, on carbon, that no signal is"""


def assign_signals(signals: Signals, candidates: Sequence[Groups], costs: SignalCosts) -> list[Assignment]:
    """The best assignment of the signals to each candidate."""
    items = _Items.of(GroupLists.of(candidates))
    stated = _Stated(signals, items, costs)
    scores, places = stated.assign()
    found = []
    for row, (score, place, group) in enumerate(zip(scores.tolist(), places, items.group, strict=True)):
        runs = [list(dict.fromkeys(group[place == i].tolist())) for i in range(len(signals.position))]
        seen = {number for run in runs for number in run}
        hetero = np.flatnonzero(Coupling.of(candidates[row].coupling).kind == HETERO).tolist()
        for run, may in zip(runs, stated.may_exchange[row].tolist(), strict=True):
            if not run and may:
                run += hetero
        unseen = [number for number in dict.fromkeys(group[group >= 0].tolist()) if number not in seen]
        found.append(Assignment(score, runs, unseen))
    return found


class _Stated:
    """What c candidates, of up to g sets of protons, make of s signals. Signal s stands for sets not seen."""

    def __init__(self, signals: Signals, items: _Items, costs: SignalCosts) -> None:
        self.items, self.costs = items, costs
        present = np.clip(items.present, 1 - costs.sure, costs.sure)[:, :, None]
        width, at = (costs.wider * items.spread)[:, :, None], items.position[:, :, None]
        error = np.maximum(np.maximum(signals.low - at, at - signals.high), 0) / width
        near = (1 - costs.tail) * np.exp(-error) + costs.tail / costs.reach * np.exp(-error / costs.reach)
        density = np.log(near + 1e-300) - np.log(2 * width + (signals.high - signals.low)) + np.log(present)
        self.density = np.concatenate([density, np.log1p(-present) - costs.missing], axis=2)
        """(c, g, s + 1) nats, of each set as each signal"""
        self.density[~items.filled] = [*np.full(len(signals.low), -1e6), 0.0]
        self.tables, self.together = _tables(items, signals, costs)
        self.protons = np.append(signals.protons, 0)
        self.shared = np.append(np.full(len(signals.low), costs.shared), 0.0)
        shown = (signals.kind < 0) | np.isin(signals.kind, [class_of(x) for x in ("s", "d", "t", "m")])
        self.may_exchange = (items.exchangeable[:, None] >= np.maximum(1, signals.protons)) & shown
        """(c, s) whether a signal may be of OH, NH or SH: by its multiplicity, and by how many there are"""
        alone = np.where(self.may_exchange, costs.exchangeable, costs.extra)
        self.alone = np.append(alone, np.zeros((len(alone), 1)), axis=1)

    def assign(self) -> tuple[Floats, Ints]:
        """(c,) scores and (c, g) the signal that each set is."""
        scores, places = self._in_order()
        rows = np.arange(len(scores) if places.size else 0)
        for _ in range(MOVES):
            if not len(rows):
                break
            step()
            gains = self._move(rows, places)
            scores[rows] += gains
            rows = rows[gains > 0]
        return scores, places

    def _fit(self, signal: Any, sets: Any, items: Any, protons: Any, table: Any) -> Any:
        """How well what signals state beside a shift fits some items, of so many sets and protons, and of the
        sum of what the tables say of them.
        """
        stated = self.protons[signal]
        off = np.where(stated > 0, np.abs(protons - stated), 0)
        cost = self.shared[signal] * (sets - 1) + (off > 0) * self.costs.miscounted + self.costs.each * off
        together = self.together[np.minimum(items, RUN), signal]
        return np.where(sets == 1, table / np.maximum(items, 1), together) - cost

    def _in_order(self) -> tuple[Floats, Ints]:
        """As `assign`, of the best assignment that gives each signal a run of neighbouring sets."""
        c, g, n = self.density.shape[0], self.density.shape[1], self.density.shape[2] - 1
        sums, protons, fresh = _sums(self.density), _sums(self.items.protons), _sums(~self.items.again)
        unseen = -sums[:, :, n]
        runs = []  # of each length: where it begins and ends, its sets and protons
        for size in range(1, min(RUN, g) + 1):
            first, last = slice(0, g + 1 - size), slice(size, None)
            sets = fresh[:, last] - fresh[:, 1 : g + 2 - size] + 1
            runs.append((first, last, sets, protons[:, last] - protons[:, first]))
        done = -unseen  # best way to leave no signal and so many sets behind
        lengths, ends = [], []
        for number in range(n):
            step()
            best = done - self.alone[:, number, None]
            length = np.zeros((c, g + 1), np.int64)
            for size, (first, last, sets, held) in enumerate(runs, start=1):
                if 0 < self.protons[number] < size - SPARE:
                    break
                table = size * self.tables[:, first, number][:, : g + 1 - size]
                score = done[:, first] + sums[:, last, number] - sums[:, first, number]
                score += self._fit(number, sets, size, held, table)
                better = score > best[:, last]
                best[:, last] = np.where(better, score, best[:, last])
                length[:, last][better] = size
            passed = best + unseen
            top = np.maximum.accumulate(passed, axis=1)
            lengths.append(length)
            ends.append(np.maximum.accumulate(np.where(passed >= top, np.arange(g + 1), 0), axis=1))
            done = top - unseen
        places = np.full((c, g), n)
        end, rows, column = np.full(c, g), np.arange(c), np.arange(g)
        for number in range(n - 1, -1, -1):
            end = ends[number][rows, end]
            start = end - lengths[number][rows, end]
            places[(column >= start[:, None]) & (column < end[:, None])] = number
            end = start
        return done[:, g], places

    def _move(self, rows: Ints, places: Ints) -> Floats:
        """(r,) what the best change gains, of one set to another signal or of two that change theirs; 0 where
        none gains. Writes to `places`.
        """
        place, density, tables = places[rows], self.density[rows], self.tables[rows]
        r, g, n = density.shape
        held, again = self.items.protons[rows], self.items.again[rows, 1:, None]
        here = place[:, :, None] == np.arange(n)
        joined = np.zeros_like(here)  # the other proton of the CH2 is there
        joined[:, 1:] |= here[:, :-1] & again
        joined[:, :-1] |= here[:, 1:] & again

        def own(values: Any) -> Any:  # (r, g), of the signal of each set
            values = np.broadcast_to(values.reshape(r, -1, n), here.shape)
            return np.take_along_axis(values, place[:, :, None], axis=2)[:, :, 0]

        sums = [
            here.sum(axis=1) - (here & joined).sum(axis=1) // 2,
            here.sum(axis=1),
            np.einsum("rgn,rg->rn", here, held),
            np.einsum("rgn,rgn->rn", here, tables),
        ]
        every, alone = np.arange(n), -self.alone[rows]
        now = np.where(sums[1] > 0, self._fit(every, *sums), alone)
        left = [own(x) for x in sums]  # of the signal of each set, without it
        for x, less in zip(left, (1 - own(joined), 1, held, own(tables)), strict=True):
            x -= less
        emptied = np.where(left[1] > 0, self._fit(place, *left), own(alone))
        lost = own(now) + own(density)
        more, come = held[:, :, None], [x[:, None] for x in sums]
        one = self._fit(every, come[0] + 1 - joined, come[1] + 1, come[2] + more, come[3] + tables)
        moved = density + one - now[:, None] + (emptied - lost)[:, :, None]
        moved[here] = 0.0

        theirs = np.broadcast_to(place[:, None], (r, g, g))  # [i, j]: i comes where j leaves
        to, table, met = (np.take_along_axis(x, theirs, axis=2) for x in (density, tables, joined))
        come = [x[:, None] for x in left]
        one = self._fit(theirs, come[0] + 1 - met, come[1] + 1, come[2] + more, come[3] + table)
        both = to + one - lost[:, None]
        both = both + both.transpose(0, 2, 1)
        group = self.items.group[rows]
        both[(theirs == place[:, :, None]) | (group[:, None] == group[:, :, None])] = 0.0

        gains = np.concatenate([moved.reshape(r, -1), both.reshape(r, -1)], axis=1)
        best = gains.argmax(axis=1)
        gain = gains[np.arange(r), best]
        better = np.flatnonzero(gain > 1e-6)
        for row, which in zip(better.tolist(), best[better].tolist(), strict=True):
            if which < g * n:
                places[rows[row], which // n] = which % n
            else:
                i, j = divmod(which - g * n, g)
                places[rows[row], [i, j]] = place[row, [j, i]]
        return np.where(gain > 1e-6, gain, 0.0)


def _sums(values: Any) -> Any:
    """(c, g + 1, ...), sums of the first 0, 1, ... of (c, g, ...)."""
    out = np.zeros((len(values), values.shape[1] + 1, *values.shape[2:]))
    np.cumsum(values, axis=1, out=out[:, 1:])
    return out


def _tables(items: _Items, signals: Signals, costs: SignalCosts) -> tuple[Floats, Floats]:
    """(c, g, s + 1) weighted log-probabilities of what each signal states for each set alone, and (RUN + 1,
    s + 1) for several together, all less what is usual.
    """
    codes, place = np.unique(items.code, return_inverse=True)
    known = [_log_tables(int(code)) for code in codes]
    classes = np.array([one[0] for one in known]).reshape(len(codes), len(CLASSES))
    couplings = np.array([one[1] for one in known]).reshape(len(codes), len(EDGES) + 1)
    one, several = np.zeros((len(codes), len(signals.kind) + 1)), np.zeros((RUN + 1, len(signals.kind) + 1))
    for i, (kind, hertz) in enumerate(zip(signals.kind.tolist(), signals.couplings, strict=True)):
        if kind >= 0:
            one[:, i] += costs.multiplicity * classes[:, kind]
            several[:, i] += costs.multiplicity * _log_together()[:, kind]
        if hertz:
            one[:, i] += costs.coupling * couplings[:, bin_of(max(hertz))]
    return one[place.reshape(items.code.shape)], several


def bin_of(coupling: float) -> int:
    """Bin of a coupling constant in Hz."""
    return int(np.searchsorted(EDGES, coupling, side="right"))


# tables: counts of classes and of bins of couplings, for sets of protons that are alike


def _code(coupling: Coupling) -> Ints:
    """(n,) what of a set of protons the tables know: 12 bits."""
    return coupling.bits().astype(np.int64) & 0xFFF


@lru_cache(maxsize=4096)
def levels(code: int) -> list[str]:
    """Keys of the tables for a set of protons, from the finest to the coarsest."""
    one = Coupling.of([code])
    protons = PARTNERS[int(one.partners[0])]
    kind, special, beside, n = (
        int(one.kind[0]),
        int(one.special[0]),
        int(one.beside_nh[0]),
        int(one.hydrogens[0]),
    )
    near = "".join(map(str, protons))
    total, classes = sum(protons), sum(x > 0 for x in protons)
    return [
        f"{kind}-{near}-{n}-{special}-{beside}",
        f"{kind}-{near}-{n}-{special}",
        f"{kind}-{near}-{special}",
        f"{kind}-{min(total, 7)}-{classes}",
        f"{kind}-{min(total, 7)}",
    ]


Tables = Mapping[str, Mapping[str, Sequence[float]]]
_used: list[Tables] = []


def use(tables: Tables) -> None:
    """Compare by these tables from now on; for those who count them."""
    _used[:] = [tables]
    _log_tables.cache_clear()
    _log_together.cache_clear()


def _counted() -> Tables:
    if not _used:
        text = files("acml_search.nmr").joinpath("multiplicities.json").read_text(encoding="utf-8")
        _used.append(json.loads(text))
    return _used[0]


@lru_cache(maxsize=4096)
def _log_tables(code: int) -> tuple[Floats, Floats]:
    """(classes,) and (bins,) log of probability over usual probability."""
    out = []
    for table in (_counted()["classes"], _counted()["couplings"]):
        usual = np.array(table["all"]) + 0.5
        usual /= usual.sum()
        share = usual
        for key in reversed(levels(code)):
            if key in table:
                counts = np.array(table[key])
                share = (counts + LEAN * share) / (counts.sum() + LEAN)
        out.append(np.log(share) - np.log(usual))
    return out[0], out[1]


@cache
def _log_together() -> Floats:
    """(RUN + 1, classes) as `_log_tables`, of 2, 3, ... sets in one signal."""
    usual = np.array(_counted()["classes"]["all"]) + 0.5
    usual /= usual.sum()
    out = np.zeros((RUN + 1, len(CLASSES)))
    for size in range(2, RUN + 1):
        counts = np.array(_counted()["together"][str(size)])
        share = (counts + _LEAN_TOGETHER * usual) / (counts.sum() + _LEAN_TOGETHER)
        out[size] = np.log(share) - np.log(usual)
    return out


def count_tables(
    spectra: Iterator[tuple[Signals, Groups]] | Sequence[tuple[Signals, Groups]], costs: SignalCosts
) -> dict[str, dict[str, list[float]]]:
    """Tables from spectra of known molecules, by the assignments that the present tables give."""
    classes: dict[str, Any] = {"all": np.zeros(len(CLASSES))}
    couplings: dict[str, Any] = {"all": np.zeros(len(EDGES) + 1)}
    together = {str(size): np.zeros(len(CLASSES)) for size in range(2, RUN + 1)}
    for signals, groups in spectra:
        (assigned,) = assign_signals(signals, [groups], costs)
        codes = _code(Coupling.of(groups.coupling)).tolist()
        for run, kind, hertz in zip(assigned.runs, signals.kind.tolist(), signals.couplings, strict=True):
            if kind < 0 or not run or codes[run[0]] >> 6 & 3 == HETERO:
                continue
            classes["all"][kind] += 1
            if hertz:
                couplings["all"][bin_of(max(hertz))] += 1
            if len(run) > 1:
                together[str(min(len(run), RUN))][kind] += 1
                continue
            for key in levels(codes[run[0]]):
                classes.setdefault(key, np.zeros(len(CLASSES)))[kind] += 1
                if hertz:
                    couplings.setdefault(key, np.zeros(len(EDGES) + 1))[bin_of(max(hertz))] += 1
    tables = {"classes": classes, "couplings": couplings, "together": together}
    return {name: {key: table[key].tolist() for key in sorted(table)} for name, table in tables.items()}
