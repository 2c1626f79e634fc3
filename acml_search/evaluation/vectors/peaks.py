"""The peaks that NMR spaces predict of molecules, kept beside their vectors: both come of one pass.

    <cache>/peaks/<space>/<key>/<molecules>.peaks.npy     (P,) PEAK, molecule by molecule, by position
                                <molecules>.ends.npy      (n,) int64, where each molecule's peaks end

Equivalent atoms are one peak, as the re-ranker groups them. A molecule that is refused has none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.evaluation.vectors.depends import heads, modules_digest, side_key
from acml_search.nmr.groups import Groups

PEAK = np.dtype([("position", "<f4"), ("spread", "<f4"), ("present", "<f4"), ("attached", "u1")])
"""ppm, ppm, probability that a spectrum lists it, bit n set where an atom of it carries n hydrogens"""

Ints = npt.NDArray[np.int64]


class PeakLists(NamedTuple):
    """The peaks of n molecules end to end."""

    peaks: npt.NDArray[Any]
    """(P,) PEAK"""
    ends: Ints
    """(n,) where each molecule's peaks end"""

    @classmethod
    def of(cls, lists: Sequence[Groups | None]) -> PeakLists:
        """`lists`: a molecule each, None for one that is refused."""
        sizes = [0 if one is None else len(one.position) for one in lists]
        peaks = np.empty(sum(sizes), PEAK)
        there = [one for one in lists if one is not None]
        for name in PEAK.names or ():
            peaks[name] = np.concatenate([getattr(one, name) for one in there]) if there else 0
        return cls(peaks, np.cumsum(sizes, dtype=np.int64))

    @property
    def sizes(self) -> Ints:
        return np.diff(self.ends, prepend=0)

    def take(self, rows: Ints) -> PeakLists:
        """The lists of the molecules at `rows` (m,), in that order."""
        sizes = self.sizes[rows]
        return PeakLists(self.peaks[_ranges(self.ends[rows] - sizes, sizes)], np.cumsum(sizes))

    def groups(self) -> list[Groups]:
        """As a re-ranker compares them; which atoms they are of is not kept."""
        position, spread, present = (
            self.peaks[name].astype(np.float64) for name in ("position", "spread", "present")
        )
        attached = np.ascontiguousarray(self.peaks["attached"])
        cuts = (slice(low, high) for low, high in pairwise([0, *self.ends.tolist()]))
        return [Groups(position[at], spread[at], present[at], [], attached[at]) for at in cuts]


def joined(parts: Sequence[PeakLists]) -> PeakLists:
    """One after the other."""
    starts = np.cumsum([0, *(len(one.peaks) for one in parts)])
    ends = [one.ends + start for one, start in zip(parts, starts.tolist(), strict=False)]
    return PeakLists(np.concatenate([one.peaks for one in parts]), np.concatenate(ends))


def scattered(parts: Sequence[tuple[PeakLists, Ints, Ints]], n: int) -> PeakLists:
    """The lists of n molecules from several sources: of each the rows, and their places among the n."""
    sizes = np.zeros(n, np.int64)
    for lists, rows, places in parts:
        sizes[places] = lists.sizes[rows]
    ends = np.cumsum(sizes)
    peaks = np.empty(int(ends[-1]) if n else 0, PEAK)
    for lists, rows, places in parts:
        mine = sizes[places]
        peaks[_ranges(ends[places] - mine, mine)] = lists.take(rows).peaks
    return PeakLists(peaks, ends)


def _ranges(starts: Ints, sizes: Ints) -> Ints:
    """starts[0], starts[0] + 1, ... `sizes[0]` of them, then the same of the next."""
    ends = np.cumsum(sizes)
    return np.asarray(np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes))


class PeakFiles:
    """The two files that hold the peaks of n molecules in one space, or will. `name`: of the molecules."""

    def __init__(self, folder: Path, name: str, n: int) -> None:
        self._peaks, self._ends = folder / f"{name}.peaks.npy", folder / f"{name}.ends.npy"
        self._n = n

    def exist(self) -> bool:
        return self._peaks.exists() and self._ends.exists()

    def write(self, blocks: Sequence[PeakLists]) -> None:
        """The second file makes the pair whole."""
        whole = joined(blocks)
        for path, array in ((self._peaks, whole.peaks), (self._ends, whole.ends)):
            path.parent.mkdir(parents=True, exist_ok=True)
            writing = path.with_suffix(f".{os.getpid()}.writing")
            with writing.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            os.replace(writing, path)

    def read(self) -> PeakLists:
        """Mapped. Raises ConfigError where a kept file is damaged."""
        try:
            peaks = np.load(self._peaks, mmap_mode="r", allow_pickle=False)
            ends = np.load(self._ends, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ConfigError(
                f"{self._peaks}: the kept peaks cannot be read ({error}); remove the file"
            ) from error
        if len(ends) != self._n or peaks.dtype != PEAK or (self._n and ends[-1] != len(peaks)):
            raise ConfigError(f"{self._peaks}: the kept peaks have another shape; remove the file")
        return PeakLists(peaks, ends)


def predicting(card: ModelCard, spaces: Sequence[str]) -> list[str]:
    """Those of `spaces` whose graph side predicts peaks that a re-ranker compares."""
    from acml_search.networks.nmr import ShiftHead

    return [one for one in spaces if issubclass(heads(card)[one], ShiftHead)]


def grouped(modality: str, mols: Sequence[Any], found: Sequence[Any]) -> list[Groups]:
    """What was predicted of molecules, as the modality's re-ranker compares it."""
    from acml_search.search.rerank import reranker
    from acml_search.search.rerank.shifts import ShiftReranker

    one = reranker(modality)
    if not isinstance(one, ShiftReranker):
        raise ConfigError(f"the peaks of {modality} are not compared with predicted ones")
    return one.grouped(mols, found)


def peaks_folder(cache: Path, card: ModelCard, space: str) -> Path:
    """Where peaks are kept: its name is a digest of all that they depend on, but the molecules."""
    code = modules_digest(
        f"acml_search.{name}"
        for name in ("encoders.predict", "search.rerank.shifts", "nmr.groups", "evaluation.vectors.peaks")
    )
    key = hashlib.sha256(f"{side_key(card, space, 'graph')} {code}".encode()).hexdigest()
    return cache / "peaks" / space / key[:24]
