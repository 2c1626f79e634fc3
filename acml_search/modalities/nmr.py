"""What the NMR modalities share: a record is a list of shifts, and an atom's shift can be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from acml_search.core.errors import InvalidRecord
from acml_search.modalities.base import (
    Evidence,
    Foreign,
    Match,
    Missing,
    Modality,
    Observation,
    Reranker,
    left_out_notes,
    source_notes,
)

if TYPE_CHECKING:
    import numpy as np
    from rdkit import Chem
    from torch import nn

    from acml_search.chem.graph import MolGraph
    from acml_search.chem.peaks import PeakList
    from acml_search.core.typing import Float32s, Floats, Ints
    from acml_search.nmr.assign import Assignment, AtomPeaks, Costs, DeptPeaks, GroupLists, Groups
    from acml_search.nmr.predicted import PeakLists

MAX_PEAKS = 1_000


class ShiftArrays(NamedTuple):
    """Peak lists end to end, as NumPy arrays; see `networks.nmr.ShiftBatch`."""

    positions: Float32s
    spectrum_of: Ints
    sizes: Ints


class ShiftModality(Modality):
    """Record: a mapping with `shifts` (ppm, any order), or the shifts themselves. Item: (p,) float32,
    ascending, distinct: equivalent atoms show one peak, so their number is no part of a record.
    """

    columns = ("shifts",)
    unit = "ppm"
    descending = True
    reads_lines = True
    tiny_config: ClassVar[dict[str, Any]] = {"curve": 16, "hidden": 16, "width": 16}
    nucleus: ClassVar[str]
    limits: ClassVar[tuple[float, float]]
    """ppm; a shift outside is an error"""
    typical: ClassVar[tuple[float, float]]
    jitter: ClassVar[float]
    """ppm, how far a shift moves with solvent, concentration and temperature"""
    encoder_defaults: ClassVar[dict[str, float]]
    head_defaults: ClassVar[dict[str, float]]

    def read(self, record: Any) -> Float32s:
        import numpy as np

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

    def read_input(self, given: str, adduct: str | None = None) -> Observation:
        """A list of shifts, a line as papers print it, a text file with either, or a file of a spectrum."""
        from acml_search.nmr.sources import nmr_peaks

        return self.observe_peaks(nmr_peaks(given, self.name), given)

    def read_line(self, text: str, keep_solvent: bool = False) -> PeakList:
        """A line as papers print it, or bare shifts. Raises `InvalidRecord`."""
        from acml_search.nmr.parser import read_nmr_text
        from acml_search.nmr.solvents import without_solvent
        from acml_search.nmr.sources import with_dept_of_text

        peaks = read_nmr_text(text, self.name)
        return with_dept_of_text(peaks if keep_solvent else without_solvent(peaks), text)

    def observe(self, record: Any, given: str = "a record", adduct: str | None = None) -> Observation:
        item = self.read(record)
        if not isinstance(record, Mapping):
            record = {"shifts": record}
        return Observation(
            self.name, given, item, self.peaks(record), notes=self.record_notes(record), record=record
        )

    def observe_peaks(self, peaks: PeakList, given: str, adduct: str | None = None) -> Observation:
        record = peaks.record()
        item = self.read(record)
        said = [f"{self.name}: {note}" for note in peaks.about.get("notes", ())]
        notes = [*source_notes(peaks, given), *said, *left_out_notes(peaks), *self.record_notes(record)]
        return Observation(self.name, given, item, peaks, notes=notes, record=record)

    def record_notes(self, record: Any) -> list[str]:
        """What a user should know of how a record is compared."""
        return []

    def peaks(self, record: Any) -> PeakList:
        from acml_search.chem.peaks import Peak, PeakList

        names = ("low", "high", "counts", "multiplicity", "couplings")
        columns = [record.get(name) or [None] * len(record["shifts"]) for name in names]
        rows = zip(map(float, record["shifts"]), *columns, strict=False)
        found = (
            Peak(at, low, high, count=count, multiplicity=kind, couplings=tuple(couplings or ()))
            for at, low, high, count, kind, couplings in sorted(rows, key=lambda row: row[0])
        )
        return PeakList(self.name, tuple(dict.fromkeys(found)))

    def foreign(self, peaks: PeakList, unmatched: Sequence[float]) -> list[Foreign]:
        from acml_search.nmr.solvents import possible_impurities

        return [Foreign(at, name) for at, name in possible_impurities(peaks, unmatched).items()]

    def augment(self, item: Float32s, rng: np.random.Generator) -> Float32s:
        """Shifts moved together and each by itself; one in twenty peaks missing."""
        import numpy as np

        moved = item + rng.normal(0, self.jitter) + rng.laplace(0, self.jitter / 2, len(item))
        kept = moved[rng.random(len(item)) > 0.05]
        return np.sort(kept if len(kept) else moved).astype(np.float32)

    def collate(self, items: Sequence[Float32s]) -> ShiftArrays:
        import numpy as np

        sizes = np.array([len(item) for item in items], np.int64)
        return ShiftArrays(
            positions=np.concatenate(items).astype(np.float32),
            spectrum_of=np.repeat(np.arange(len(items)), sizes),
            sizes=sizes,
        )

    def encoder(self, **config: Any) -> nn.Module:
        from acml_search.networks.nmr import ShiftTower

        return ShiftTower(**{**self.encoder_defaults, **config})

    def head(self, trunk: nn.Module, encoder: nn.Module, **config: Any) -> nn.Module:
        from acml_search.networks import width_of
        from acml_search.networks.nmr import ShiftHead

        return ShiftHead(width_of(trunk), self.nucleus, **{**self.head_defaults, **config})

    def example(self, rng: np.random.Generator) -> dict[str, Any]:
        import numpy as np

        low, high = self.typical
        return {"shifts": np.sort(rng.uniform(low, high, rng.integers(3, 20))).round(2).tolist()}


class PeakReranker(Reranker):
    """Compares with the peaks that the node head of a model predicts of a candidate's atoms.

    nucleus: "C" or "H". alike: ppm, positions closer than this are one peak; 0: none are.
    """

    def __init__(self, modality: str, nucleus: str, alike: float = 0.0) -> None:
        self.modality, self.nucleus, self.alike = modality, nucleus, alike
        self.predicted_by = (modality,)

    def available(self, model: Any) -> bool:
        """Whether the model's space predicts peaks."""
        return bool(model.predicts_peaks(self.modality))

    def prepare(self, model: Any, mols: Sequence[Chem.Mol]) -> GroupLists:
        return self.unpack(self.kept(model, mols), mols)

    def kept(self, model: Any, mols: Sequence[Chem.Mol]) -> PeakLists:
        """The predicted peaks of each candidate, as an index would have kept them."""
        from acml_search.nmr.predicted import symmetry_classes

        graphs = [model.featurise(mol) for mol in mols]
        classes = [symmetry_classes(mol) for mol in mols]
        return self.pack(classes, graphs, model.predicted_peaks(self.modality, graphs))

    def pack(
        self, classes: Sequence[Ints], graphs: Sequence[MolGraph], predicted: Sequence[AtomPeaks]
    ) -> PeakLists:
        """What an index keeps of the peaks that the model predicts of molecules: see `nmr.predicted.pack`."""
        from acml_search.nmr.predicted import pack

        return pack(self.nucleus, classes, graphs, predicted)

    def unpack(self, lists: PeakLists, mols: Sequence[Chem.Mol] | None = None) -> GroupLists:
        """What was kept, to be compared; to be explained as well, if `mols` are given."""
        from acml_search.nmr.predicted import unpack

        return unpack(self.nucleus, lists, self.alike, mols)


class ShiftReranker(PeakReranker):
    """Score: the log-likelihood of the best assignment (`nmr.assign`) of the observed peaks to the predicted.

    dept: whether a record may say how many hydrogens the atom of a peak carries.
    """

    def __init__(self, modality: str, nucleus: str, costs: Costs, *, dept: bool = False) -> None:
        super().__init__(modality, nucleus, costs.alike)
        self.costs, self.dept = costs, dept

    def observed(self, item: Any, record: Any) -> Any:
        """The peaks, of 13C with the hydrogens that their carbons carry where the record tells."""
        from acml_search.nmr.assign import dept_peaks

        return dept_peaks(item, record if self.dept else None)

    def scores(self, model: Any, observed: DeptPeaks, prepared: Sequence[Groups]) -> Floats:
        from acml_search.nmr.assign import log_likelihoods

        return log_likelihoods(observed, prepared, self.costs)

    def expected_errors(self, observed: Any, groups: Groups) -> Floats:
        """(g,) ppm, the mean error that is expected of each predicted peak of a right structure."""
        return self.costs.wider * groups.spread + self.costs.floor

    def explain(self, model: Any, observed: DeptPeaks, prepared: Sequence[Groups]) -> list[Evidence]:
        from acml_search.nmr.assign import assign_all

        return [_evidence(observed, one) for one in assign_all(observed, prepared, self.costs)]

    def evidence(self, model: Any, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
        observed = item if isinstance(item, tuple) else self.observed(item, None)
        return super().evidence(model, observed, mols)


def _evidence(observed: DeptPeaks, one: Assignment) -> Evidence:
    groups, positions = one.groups, observed.positions.round(3).tolist()
    predicted, present = groups.position.round(3).tolist(), groups.present.round(3).tolist()
    return Evidence(
        one.log_likelihood,
        [
            Match(
                positions[i],
                predicted[j],
                groups.atoms[j],
                round(positions[i] - predicted[j], 3),
                _contradiction(int(observed.attached[i]), int(groups.attached[j])),
            )
            for i, j in one.pairs
        ],
        [positions[i] for i in one.unmatched_observed],
        [Missing(predicted[j], groups.atoms[j], present[j]) for j in one.unmatched_predicted],
    )


def _contradiction(stated: int, here: int) -> str | None:
    from acml_search.nmr.assign import carbon_classes

    return None if stated & here else f"{carbon_classes(stated)} observed, {carbon_classes(here)} here"
