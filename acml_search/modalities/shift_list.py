"""What the NMR modalities share: a record is a list of shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import InvalidRecord
from acml_search.modalities.base import Modality

if TYPE_CHECKING:
    from torch import nn

MAX_PEAKS = 1_000
Shifts = npt.NDArray[np.float32]


class ShiftArrays(NamedTuple):
    """Peak lists end to end, as NumPy arrays; see `blocks.shifts.ShiftBatch`."""

    positions: Shifts
    spectrum_of: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class ShiftModality(Modality):
    """Record: a mapping with `shifts` (ppm, any order), or the shifts themselves. Item: (p,) float32,
    ascending, distinct: equivalent atoms show one peak, so their number is no part of a record.
    """

    columns = ("shifts",)
    toy: ClassVar[dict[str, Any]] = {"curve": 16, "hidden": 16, "width": 16}
    nucleus: ClassVar[str]
    limits: ClassVar[tuple[float, float]]
    """ppm; a shift outside is an error"""
    typical: ClassVar[tuple[float, float]]
    jitter: ClassVar[float]
    """ppm, how far a shift moves with solvent, concentration and temperature"""
    tower_defaults: ClassVar[dict[str, float]]
    head_defaults: ClassVar[dict[str, float]]

    def read(self, record: Any) -> Shifts:
        if isinstance(record, Mapping):
            if record.get("shifts") is None:
                raise InvalidRecord(
                    "the record has no `shifts`; give a list of ppm values", modality=self.name
                )
            record = record["shifts"]
        if np.ndim(record) == 0:
            raise InvalidRecord("it is not a list of shifts; give ppm values", modality=self.name)
        try:
            shifts = np.asarray(record, np.float64).ravel()
        except (TypeError, ValueError) as error:
            raise InvalidRecord(
                f"the shifts are not numbers ({error}); give ppm values", modality=self.name
            ) from None
        if not len(shifts):
            raise InvalidRecord(
                "the list of shifts is empty; at least one peak is needed", modality=self.name
            )
        if len(shifts) > MAX_PEAKS:
            raise InvalidRecord(
                f"{len(shifts):,} peaks are more than {MAX_PEAKS:,}; give picked peaks, not points",
                modality=self.name,
            )
        low, high = self.limits
        bad = shifts[~((shifts >= low) & (shifts <= high))]
        if len(bad):
            raise InvalidRecord(
                f"{bad[0]:g} ppm is no shift between {low:g} and {high:g} ppm", modality=self.name
            )
        return np.unique(shifts.round(2)).astype(np.float32)

    def augment(self, item: Shifts, rng: np.random.Generator) -> Shifts:
        """Shifts moved together and each by itself; one in twenty peaks missing."""
        moved = item + rng.normal(0, self.jitter) + rng.laplace(0, self.jitter / 2, len(item))
        kept = moved[rng.random(len(item)) > 0.05]
        return np.sort(kept if len(kept) else moved).astype(np.float32)

    def collate(self, items: Sequence[Shifts]) -> ShiftArrays:
        sizes = np.array([len(item) for item in items], np.int64)
        return ShiftArrays(
            positions=np.concatenate(items).astype(np.float32),
            spectrum_of=np.repeat(np.arange(len(items)), sizes),
            sizes=sizes,
        )

    def tower(self, **hyper: Any) -> nn.Module:
        from acml_search.networks.nmr import ShiftTower

        return ShiftTower(**{**self.tower_defaults, **hyper})

    def head(self, trunk: nn.Module, tower: nn.Module, **hyper: Any) -> nn.Module:
        from acml_search.networks import PooledHead, width_of
        from acml_search.networks.nmr import ShiftHead

        width = width_of(trunk)
        if hyper.get("pooled"):  # ACML's own graph side, kept as the baseline
            return PooledHead(width, hyper["hidden"], hyper["d"])
        return ShiftHead(width, self.nucleus, **{**self.head_defaults, **hyper})

    def example(self, rng: np.random.Generator) -> dict[str, Any]:
        low, high = self.typical
        return {"shifts": np.sort(rng.uniform(low, high, rng.integers(3, 20))).round(2).tolist()}
