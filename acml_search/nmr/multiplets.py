"""Which signal of a 1H spectrum is which protons, and how likely all that is stated of it is then.

A 1H line states signals: a shift or a range, a number of protons, a multiplicity, coupling constants, each of
which may be missing. A candidate predicts sets of equivalent protons (`nmr.predicted`). A dynamic programme
over both, by position, gives each signal a run of neighbouring sets, for signals overlap and are then printed
as one multiplet; or no run, for it may be a solvent or an exchangeable proton. Sets between the runs were not
seen. Two protons of one CH2 that may differ are two items, which may lie in two runs.

What a run costs: the distance of each set from the signal, as `nmr.assign` has it; protons that do not add
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
LEVELS = 5  # of detail at which tables are kept; a finer one leans on the next coarser
LEAN = 5.0  # observations that the coarser level is worth


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

    Chosen one after another by the likelihood of the truth in shortlists of 400 among half a million, on the
    printed lines on which the tables were counted (`benchmarks.multiplicities.inner`).
    """

    wider: float = 1.3
    tail: float = 0.05
    reach: float = 3.0
    extra: float = 5.0
    exchangeable: float = 3.5
    """a signal that nothing explains, of a candidate with as many exchangeable protons as it counts"""
    missing: float = -0.4
    sure: float = 0.99
    shared: float = 1.0
    """a further set of protons in the same signal"""
    miscounted: float = 2.0
    """protons that do not add up,"""
    each: float = 1.0
    """and for each of them that is too many or too few"""
    multiplicity: float = 1.3
    coupling: float = 1.25
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
    for part in of_like_size(lists, 1):
        scores[part] = _programme(signals, _Items.of(lists.take(part)), costs)[0]
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
    scores, lengths, ends = _programme(signals, items, costs)
    found = []
    for row in range(len(candidates)):
        runs: list[list[int]] = [[] for _ in signals.position]
        j = items.filled.shape[1]
        for signal in range(len(runs) - 1, -1, -1):
            while not ends[signal][row, j]:
                j -= 1
            size = int(lengths[signal][row, j])
            numbers = items.group[row, j - size : j].tolist()
            runs[signal] = list(dict.fromkeys(x for x in numbers if x >= 0))
            j -= size
        seen = {number for run in runs for number in run}
        hetero = np.flatnonzero(Coupling.of(candidates[row].coupling).kind == HETERO).tolist()
        for signal, run in enumerate(runs):
            count, kind = int(signals.protons[signal]), int(signals.kind[signal])
            if not run and _may_exchange(items, count, kind)[row]:
                run += hetero
        on_carbon = dict.fromkeys(x for x in items.group[row].tolist() if x >= 0)
        unseen = [number for number in on_carbon if number not in seen]
        found.append(Assignment(float(scores[row]), runs, unseen))
    return found


def _programme(signals: Signals, items: _Items, costs: SignalCosts) -> tuple[Floats, list[Ints], list[Bools]]:
    """(c,) scores; for each signal, (c, g + 1) how long its run is that ends at each place, and whether the
    best way to that place ends with it.
    """
    c, g = items.filled.shape
    present = np.clip(items.present, 1 - costs.sure, costs.sure)
    unseen = _sums(np.where(items.filled, costs.missing - np.log1p(-present), 0.0))
    protons, fresh = _sums(items.protons), _sums(~items.again)
    width = costs.wider * items.spread
    tables = _tables(items, signals, costs)
    runs = []  # of each length: which items, how many sets beside the first, protons
    for size in range(1, min(RUN, g) + 1):
        first, last = slice(0, g + 1 - size), slice(size, None)
        others = fresh[:, last] - fresh[:, 1 : g + 2 - size]
        runs.append((first, last, costs.shared * others, others == 0, protons[:, last] - protons[:, first]))
    done = -unseen  # best way to leave no signal and so many items behind
    lengths, ends = [], []
    for number, (low, high, count, kind) in enumerate(
        zip(signals.low, signals.high, signals.protons.tolist(), signals.kind.tolist(), strict=True)
    ):
        step()
        error = np.maximum(np.maximum(low - items.position, items.position - high), 0) / width
        near = (1 - costs.tail) * np.exp(-error) + costs.tail / costs.reach * np.exp(-error / costs.reach)
        density = np.log(near + 1e-300) - np.log(2 * width + (high - low)) + np.log(present)
        density = _sums(np.where(items.filled, density, -1e6))
        alone = np.where(_may_exchange(items, count, kind), costs.exchangeable, costs.extra)
        best = done - alone[:, None]
        length = np.zeros((c, g + 1), np.int8)
        for size, (first, last, shared, one, sums) in enumerate(runs, start=1):
            score = done[:, first] + density[:, last]
            score -= density[:, first]
            score -= shared
            if count:
                off = np.abs(sums - count)
                score -= (off > 0) * costs.miscounted + costs.each * off
            for weight, table, together in tables[number]:
                score += weight * np.where(one, table[:, first] if size > 1 else table, together[size])
            better = score > best[:, last]
            best[:, last] = np.where(better, score, best[:, last])
            length[:, last][better] = size
        passed = best + unseen
        top = np.maximum.accumulate(passed, axis=1)
        lengths.append(length)
        ends.append(passed >= top)
        done = top - unseen
    return done[:, g], lengths, ends


def _may_exchange(items: _Items, count: int, kind: int) -> Bools:
    """(c,) whether a signal may be of OH, NH or SH: by its multiplicity, and by how many there are."""
    shown = kind < 0 or CLASSES[kind] in ("s", "m", "d", "t")
    return np.asarray(items.exchangeable >= max(1, count)) & shown


def _sums(values: Any) -> Any:
    """(c, g + 1), sums of the first 0, 1, ... of (c, g)."""
    out = np.zeros((len(values), values.shape[1] + 1), np.float64)
    np.cumsum(values, axis=1, out=out[:, 1:])
    return out


def _tables(items: _Items, signals: Signals, costs: SignalCosts) -> list[list[tuple[float, Floats, Floats]]]:
    """For each signal, of what it states: its weight, (c, g) log-probabilities for each set alone, and (RUN +
    1,) for several together, all less what is usual.
    """
    codes, place = np.unique(items.code, return_inverse=True)
    place = place.reshape(items.code.shape)
    known = [_log_tables(int(code)) for code in codes]
    together = _log_together()
    classes = np.array([one[0] for one in known]).reshape(len(codes), len(CLASSES))
    couplings = np.array([one[1] for one in known]).reshape(len(codes), len(EDGES) + 1)
    out: list[list[tuple[float, Floats, Floats]]] = []
    for kind, hertz in zip(signals.kind.tolist(), signals.couplings, strict=True):
        parts = []
        if kind >= 0:
            parts.append((costs.multiplicity, classes[:, kind][place], together[:, kind]))
        if hertz:
            parts.append((costs.coupling, couplings[:, bin_of(max(hertz))][place], np.zeros(RUN + 1)))
        out.append(parts)
    return out


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
        share = (counts + LEAN * usual) / (counts.sum() + LEAN)
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
