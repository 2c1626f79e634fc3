"""What a modality is, and the registry that finds them.

A modality is one file: how a record is read and batched, what network reads the batch, how a user gives an
observation, how it is stored, shown and compared. Command line, parser, index, answer page and benchmarks
ask it; none of them names one. Importing a modality imports neither NumPy nor torch: `--help` lists the
options of all.

Another distribution adds one by an entry point of the group `acml_search.modalities`, or a program by
importing a module that calls `register`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from acml_search.core.errors import ConfigError, UnknownModality

if TYPE_CHECKING:
    import numpy as np
    from rdkit import Chem
    from torch import nn

    from acml_search.chem.peaks import PeakList
    from acml_search.core.typing import Float32s, Floats
    from acml_search.nmr.assign import AtomPeaks


@dataclass(frozen=True)
class Match:
    """An observed peak and what a candidate says it is. Positions in the unit of the modality."""

    observed: float
    predicted: float | None
    atoms: list[int]
    """numbers in the candidate, as its SMILES orders them"""
    error: float | None
    """observed - predicted, in the unit of the modality; of m/z, in ppm"""
    label: str | None = None
    """what the peak is in words: a fragment's formula, for instance"""

    @property
    def off(self) -> float:
        """How far off the peak is, in the unit of the modality's `tolerance`."""
        return abs(self.error or 0.0)


@dataclass(frozen=True)
class Missing:
    """A predicted peak that was not observed."""

    position: float
    atoms: list[int]
    present: float | None = None
    """probability that a measured spectrum lists it"""

    @property
    def label(self) -> str:
        """What more is to be said of the peak."""
        return ""


@dataclass(frozen=True)
class Foreign:
    """An observed peak that a candidate does not explain, and a solvent or impurity that would."""

    position: float
    name: str


@dataclass(frozen=True)
class Evidence:
    """How well a candidate explains an observation, peak by peak.

    score: a log-likelihood, higher is better; only differences between candidates of one observation mean
    something.
    """

    score: float
    matched: list[Match] = field(default_factory=list)
    unmatched_observed: list[float] = field(default_factory=list)
    unmatched_predicted: list[Missing] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    """what some of `unmatched_observed` may be"""
    said: str = ""
    """what there is to say where no peaks are compared"""

    @property
    def unmatched_labels(self) -> list[str]:
        """What more is to be said of each of `unmatched_observed`."""
        return [""] * len(self.unmatched_observed)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; without `foreign` and `said` where there is none."""
        values = {
            name: [dict(vars(x)) if is_dataclass(x) else x for x in one] if isinstance(one, list) else one
            for name, one in vars(self).items()
        }
        return {name: one for name, one in values.items() if one or name not in ("foreign", "said")}


class Reranker(ABC):
    """Compares an observation of one modality with candidates, peak by peak.

    `model` is an `encoders.Model`; `mols` are molecules as `chem.molecule.parse` returns them.
    """

    needs_filter: ClassVar[bool] = False
    """whether the scores hold only among candidates of about one mass, that is, where a filter is set"""
    predicted_by: tuple[str, ...] = ()
    """spaces that predict what is compared; where an index keeps their peaks, `unpack` takes the place of
    `prepare`"""

    def available(self, model: Any) -> bool:
        """Whether it can be used with this model."""
        return True

    def observed(self, item: Any, record: Any) -> Any:
        """What `scores` compares: `item` of the modality's `read`, with what the record says beyond it.
        Raises InvalidRecord where that cannot be used.
        """
        return item

    def weights(self, observed: Any) -> str:
        """Which weights of a model's card the scores take (`ModelCard.rerank_weights`)."""
        return "rerank"

    def prepare(self, model: Any, mols: Sequence[Chem.Mol]) -> Sequence[Any]:
        """What the comparison needs of each candidate, whatever was observed: it may be cached."""
        return list(mols)

    def scores(self, model: Any, observed: Any, prepared: Sequence[Any]) -> Floats:
        """(n,) float64, the scores of `explain` alone, which may cost less."""
        import numpy as np

        return np.array([one.score for one in self.explain(model, observed, prepared)], np.float64)

    def quality(self, model: Any, observed: Any, prepared: Any, score: float) -> dict[str, float]:
        """Numbers by name that say of one candidate with this score how well it fits, whatever others do."""
        return {}

    @abstractmethod
    def explain(self, model: Any, observed: Any, prepared: Sequence[Any]) -> list[Evidence]:
        """One `Evidence` per candidate, of what `observed` and `prepare` returned."""

    def evidence(self, model: Any, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
        """`explain` for molecules. item: what the modality's `read` or `observed` returned."""
        return self.explain(model, item, self.prepare(model, mols))


GROUP = "acml_search.modalities"
"""entry points (`name = "module"` or `"module:object"`) that are loaded to register more"""
_modalities: dict[str, type[Modality]] = {}
_discovery = RLock()
_discovering = _discovered = False


@dataclass(frozen=True)
class Option:
    """The command-line option that takes an observation."""

    flag: str
    """such as "--c-nmr" """
    metavar: str
    help: str


@dataclass(frozen=True)
class Observation:
    """One observation of a compound, ready to be encoded.

    given: as the user gave it. item: what the modality's `read` returned. peaks: the typed list, of spectra.
    neutral_mass: of the molecule in Da, where precursor and adduct tell it. notes: sentences for the user.
    record: what `item` was read from. masses: the neutral masses that the precursor allows, by adduct: one
    where the adduct is known, several where it may be any of the likely ones. mass_width: half the width in
    Da of each, where an isolation window let through several ions. mass_source: where they come from.
    """

    modality: str
    given: str
    item: Any
    peaks: PeakList | None = None
    neutral_mass: float | None = None
    notes: list[str] = field(default_factory=list)
    record: Any = None
    masses: Mapping[str, float] = field(default_factory=dict)
    mass_width: float | None = None
    mass_source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What was understood, for JSON."""
        out: dict[str, Any] = {"modality": self.modality, "given": self.given}
        if self.peaks is None:
            return out
        conditions = {
            name: getattr(self.peaks, name)
            for name in (
                *("solvent", "field_mhz", "precursor_mz", "adduct", "ion_mode", "collision_energy"),
                "isolation",
            )
        }
        return {
            **out,
            "unit": get(self.modality).unit,
            "peaks": [
                {name: value for name, value in peak._asdict().items() if value not in (None, ())}
                for peak in self.peaks
            ],
            **{name: value for name, value in conditions.items() if value is not None},
            "left_out": [one._asdict() for one in self.peaks.left_out],
            **({} if self.neutral_mass is None else {"neutral_mass": self.neutral_mass}),
            **({"neutral_masses": dict(self.masses)} if len(self.masses) > 1 else {}),
        }


@dataclass(frozen=True)
class Reading:
    """What an encoder took an observation for. probability: that it is just this. said: that in a sentence.
    ink: (h, w) uint8 of a picture. doubtful: places of what was read with little certainty, x and y as shares
    of the ink's width and height.
    """

    modality: str
    given: str
    smiles: str
    probability: float
    said: str
    ink: Any = None
    doubtful: Sequence[tuple[float, float]] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "modality": self.modality,
            "given": self.given,
            "smiles": self.smiles,
            "probability": round(self.probability, 4),
            "doubtful": [[round(x, 3), round(y, 3)] for x, y in self.doubtful],
        }


class Modality(ABC):
    """One representation of a molecule, and all that is particular to it."""

    name: ClassVar[str]
    title: ClassVar[str]
    """as chemists call it"""
    option: ClassVar[Option | None] = None
    """how the command line takes an observation; None for `smiles`, which is a query of its own"""
    details: ClassVar[Mapping[str, Option]] = {}
    """options that say more of an observation of this modality, by their names in Python (see `detailed`)"""
    tiny_config: ClassVar[dict[str, Any]] = {"width": 16, "hidden": 16, "layers": 2}
    """hyper-parameters of the smallest encoder, for tests"""

    # records: what is read, and what an index stores
    made_of: ClassVar[tuple[str, ...]] = ()
    """spaces whose predicted peaks this one is computed from; it has no network then, but `embed` and
    `embed_predicted`, and a card states its `features`"""
    from_structure: ClassVar[bool] = False
    """whether a record can be made from a structure alone (`derive`)"""
    columns: ClassVar[tuple[str, ...]] = ()
    """columns of a row that its record is read from; none where it is made from structures"""
    optional: ClassVar[tuple[str, ...]] = ()
    """further columns that are used where they are there"""
    storage: ClassVar[Mapping[str, str]] = {
        "record_positions": "list<double>",
        "record_intensities": "list<float>",
    }
    """columns of an index's table of records that hold `columns`, in their order -> pyarrow type"""
    has_precursor: ClassVar[bool] = False
    """whether a complete record states the m/z and the adduct of an ion, which tell the neutral mass"""
    reads_lines: ClassVar[bool] = False
    """whether a line of text is a record (`parse --lines`): it has a method `read_line`"""

    shows_occlusion: ClassVar[bool] = False
    """whether an answer says which peaks matter most: it has `without_peaks`"""
    says_reading: ClassVar[bool] = False
    """whether an answer says what the encoder took an item for: it has `reading`"""

    # positions and how they are shown
    unit: ClassVar[str] = ""
    """of positions: "ppm", "m/z", "cm-1" """
    decimals: ClassVar[int] = 4
    """of positions"""
    tolerance: ClassVar[tuple[float, float] | None] = None
    """errors of a matched peak up to which it is good, and fair"""
    relative_errors: ClassVar[bool] = False
    """whether errors are in ppm of the position (m/z) and not in `unit`"""
    nuclei: ClassVar[str] = ""
    """what a peak's count counts: "C", "H" """
    plot: ClassVar[Literal["mirror", "sticks"]] = "mirror"
    """mirror: observed against predicted positions; sticks: intensities, of which peaks are explained"""
    min_span: ClassVar[float] = 40.0
    """width of a plot in `unit`, at least"""
    typical: ClassVar[tuple[float, float] | None] = None
    """between which most positions lie; where a text may be of several modalities, it tells"""
    descending: ClassVar[bool] = False
    """whether positions fall from left to right, as in NMR"""

    @abstractmethod
    def read(self, record: Any) -> Any:
        """Arrays of one record. Raises `InvalidRecord` when it cannot be used."""

    def read_input(self, given: str, adduct: str | None = None) -> Observation:
        """What a user gives on the command line: a text or a path; here, the text is the record itself.

        adduct: of a mass spectrum, instead of its own; other modalities have none.
        Raises `InvalidRecord` for what cannot be used.
        """
        return Observation(self.name, given, self.read(given), record=given)

    def read_parts(self, given: str, adduct: str | None = None) -> list[Observation]:
        """As `read_input`, one for each compound that a picture shows; all else is of one."""
        return [self.read_input(given, adduct)]

    def observe(self, record: Any, given: str = "a record", adduct: str | None = None) -> Observation:
        """An observation from a record as `read` takes it, such as a row of a Parquet file."""
        return Observation(self.name, given, self.read(record), self.peaks(record), record=record)

    def observe_peaks(self, peaks: PeakList, given: str, adduct: str | None = None) -> Observation:
        """An observation from a list of peaks that a reader of texts or files returned."""
        record = peaks.record()
        notes = [*source_notes(peaks, given), *left_out_notes(peaks)]
        return Observation(self.name, given, self.read(record), peaks, notes=notes, record=record)

    def detailed(self, one: Observation, told: Mapping[str, Any]) -> Observation:
        """The observation with what `told` says of it, by the names of `details`. Raises `InvalidRecord`."""
        return one

    def peaks(self, record: Any) -> PeakList | None:
        """The peaks of a record of positions and intensities (`columns`), to be shown; else None."""
        from acml_search.chem.peaks import Peak, PeakList

        if not isinstance(record, Mapping) or not self.columns:
            return None
        positions, *others = (record[name] for name in self.columns)
        if not others:
            return PeakList(self.name, tuple(Peak(float(x)) for x in positions))
        pairs = zip(positions, others[0], strict=True)
        return PeakList(self.name, tuple(Peak(float(x), intensity=float(y)) for x, y in pairs))

    def stored(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the columns `storage` for a record: sorted by position; null where `columns` has
        no such list."""
        rows = sorted(zip(*(map(float, record[name]) for name in self.columns), strict=True))
        lists = [list(column) for column in zip(*rows, strict=True)]
        return dict(zip(self.storage, [*lists, *[None] * len(self.storage)], strict=False))

    def restored(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The record of a row of an index's table of records; the inverse of `stored`."""
        values = (row[name] for name in self.storage)
        known = {name: row[name] for name in self.optional if row.get(name) is not None}
        return {**dict(zip(self.columns, values, strict=False)), **known}

    def augment(self, item: Any, rng: np.random.Generator) -> Any:
        """A variation of what `read` returned, as another measurement might be; used in training only."""
        return item

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Any:
        """NumPy batch of several `read` records."""

    @abstractmethod
    def encoder(self, **config: Any) -> nn.Module:
        """The unimodal encoder, rebuilt from its hyper-parameters: `networks.tensors` of a `collate` batch ->
        (n, width) float32.

        Its attribute `width` is the length of the vectors. Torch is imported here, not above.
        """

    def configurations(self, encoder: nn.Module, items: Sequence[Any]) -> list[Float32s | None]:
        """`chem.configuration` of what `read` returned, None where none is stated: spectra of mirror images
        are equal, and those of other stereoisomers are compared as if they were."""
        return [None] * len(items)

    def embed(self, items: Sequence[Any], features: Mapping[str, Any]) -> Float32s:
        """Unit vectors (n, d) of what `read` returned, where the space is `made_of` others."""
        raise NotImplementedError

    def embed_predicted(
        self, peaks: Mapping[str, Sequence[AtomPeaks]], features: Mapping[str, Any]
    ) -> Float32s:
        """Unit vectors (n, d) of molecules, by the peaks that the spaces `made_of` predict of each."""
        raise NotImplementedError

    def head(self, trunk: nn.Module, encoder: nn.Module, **config: Any) -> nn.Module:
        """The graph side of the space, a `networks.Head`, rebuilt from its hyper-parameters."""
        from acml_search.networks import PooledHead, width_of

        return PooledHead(width_of(trunk), **config)

    def reranker(self) -> Reranker | None:
        """What compares candidates with an observation peak by peak, where there is such a thing."""
        return None

    def foreign(self, peaks: PeakList, unmatched: Sequence[float]) -> list[Foreign]:
        """Solvents and impurities that unmatched peaks of an observation may belong to."""
        return []

    def without_peaks(self, item: Any, most: int) -> list[tuple[float, Any]]:
        """The positions of the `most` strongest peaks, each with the item without it (`shows_occlusion`)."""
        return []

    def reading(self, encoder: nn.Module, one: Observation) -> Reading:
        """What the encoder took an observation for (`says_reading`).

        Raises `InvalidRecord` where it is not what it should be.
        """
        raise ConfigError(f"the encoder of {self.name} reads no structures")

    @abstractmethod
    def example(self, rng: np.random.Generator) -> Any:
        """A valid synthetic record."""

    def derive(self, smiles: str, rng: np.random.Generator | None = None) -> Any:
        """The record of a structure given as canonical SMILES; with `rng`, a randomly varied one."""
        raise ConfigError(f"records of {self.name} are measured; they cannot be made from a structure")


def register(name: str) -> Callable[[type[Modality]], type[Modality]]:
    """Class decorator that registers a modality. Raises ConfigError when the name is taken."""

    def add(cls: type[Modality]) -> type[Modality]:
        if _modalities.get(name, cls) is not cls:
            raise ConfigError(f"the modality {name!r} is registered twice")
        _modalities[name] = cls
        cls.name = name
        return cls

    return add


def names() -> list[str]:
    """Names of all modalities, sorted."""
    _discover()
    return sorted(_modalities)


def get(name: str) -> Modality:
    """The modality called `name`. Raises `UnknownModality`, listing those there are."""
    _discover()
    if name not in _modalities:
        raise UnknownModality(name, _modalities)
    return _modalities[name]()


def _discover() -> None:
    """Import the modules of this folder and the entry points of other distributions, once."""
    global _discovering, _discovered
    if _discovered:
        return
    with _discovery:
        if _discovering:  # by this thread, which imports one that asks; or another has done it meanwhile
            return
        _discovering = True
        for path in sorted(Path(__file__).parent.glob("*.py")):
            import_module(f"acml_search.modalities.{path.stem}")
        for point in entry_points(group=GROUP):
            point.load()
        _discovered = True


def sources(name: str) -> tuple[str, ...]:
    """The spaces whose networks a space takes: its own, or those that it is made of."""
    return get(name).made_of or (name,)


def reranker(name: str) -> Reranker:
    """The re-ranker of the modality called `name`. Raises ConfigError where there is none."""
    found = get(name).reranker()
    if found is None:
        raise ConfigError(
            f"there is nothing to re-rank by for {name!r}; re-ranked are: {', '.join(reranked())}"
        )
    return found


def reranked() -> list[str]:
    """Names of the modalities that have a re-ranker, sorted."""
    return [name for name in names() if get(name).reranker() is not None]


def source_notes(peaks: PeakList, given: str) -> list[str]:
    """What a user should know of the file that a spectrum was read from."""
    notes = []
    if peaks.file is not None and (of := peaks.about.get("of")) and "#" not in given:
        notes.append(
            f"{peaks.file} holds {of} spectra; this is number {peaks.number}; name another with FILE#n"
        )
    return [*notes, *(str(one) for one in peaks.about.get("passed_over", []))]


def left_out_notes(peaks: PeakList) -> list[str]:
    """Which parts of a spectrum are not used, as sentences."""
    return [f"{peaks.modality}: left out {one.text.strip()!r}: {one.why}" for one in peaks.left_out]
