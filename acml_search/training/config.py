"""Training plans: TOML files, checked against the models below before anything is computed.

Paths in a plan are relative to its `root`, which is relative to the plan's own folder. An unknown, missing or
mistyped key is a `ConfigError` that names the file and the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
)

from acml_search.core.errors import ConfigError
from acml_search.core.toml import check_table, read_toml

Hyper = dict[str, Any]
"""keyword arguments of a torch module: the network's own hyper-parameters"""
Share = Annotated[float, Field(ge=0, le=1)]
_PACKAGE = Path(__file__).resolve().parents[1]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Table):
    """Rows of a Parquet file, chosen by an SQL expression."""

    path: str
    where: str = "true"


class CorpusSource(Source):
    """Molecules that enter the corpus."""

    name: str
    limit: PositiveInt | None = None


class CorpusRecipe(Table):
    """How a corpus is prepared, see `training.corpus`."""

    directory: str
    views: PositiveInt  # random SMILES per molecule
    seed: int
    source: list[CorpusSource]
    exclude: list[Source] = []  # molecules that must not enter


class CorpusTable(Table):
    """The corpus of a plan: a recipe in a TOML file beside it."""

    file: str
    skip: list[str] = []  # sources that are in the corpus's files, but not trained on


class Schedule(Table):
    """How long and how fast a model learns."""

    epochs: PositiveInt
    epoch_size: PositiveInt  # molecules
    lr: PositiveFloat  # highest learning rate of the cycle
    weight_decay: NonNegativeFloat  # of parameters with more than one dimension
    ema_decay: Share = 0.999  # of the averaged weights


class BatchSchedule(Schedule):
    batch_size: PositiveInt  # molecules
    group_size: PositiveInt = 1  # molecules of one formula side by side, where there are as many


class Plan(Table):
    """What every plan says."""

    root: str
    out: str
    seed: int
    reads_stereo: bool = True  # is configuration part of the graphs?
    corpus: CorpusTable

    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        return self._path

    @property
    def root_folder(self) -> Path:
        """The folder that the plan's paths are relative to."""
        return (self._path.parent / self.root).resolve()

    @property
    def out_folder(self) -> Path:
        return self.root_folder / self.out

    def below(self, path: str) -> Path:
        """A path of the plan, resolved."""
        return self.root_folder / path

    def written(self) -> dict[str, Any]:
        """The plan as its file has it, for cards and results."""
        return self.model_dump(exclude_unset=True, mode="json")


class TaskPlan(Plan):
    """A plan that `training.loop` follows."""

    training: Schedule


class PretrainPlan(TaskPlan):
    modality: str
    tower: Hyper
    head: Hyper  # of the projection: hidden, d


class ViewsSchedule(BatchSchedule):
    fingerprint_weight: NonNegativeFloat


class ViewsPlan(PretrainPlan):
    """Two random records of a structure must meet (`training.pretrain`)."""

    method: Literal["views"]
    training: ViewsSchedule


class ShiftPlan(TaskPlan):
    """The shift predictor (`training.shifts`)."""

    method: Literal["shifts"]
    records: dict[str, list[Source]]  # unassigned peak lists by modality
    assigned: Source  # shifts assigned to atoms
    trunk: Hyper
    head: dict[str, Hyper]
    training: BatchSchedule


class SimulatedSchedule(ViewsSchedule):
    measured_share: Annotated[float, Field(gt=0, lt=1)]  # of a batch


class SimulatedPlan(PretrainPlan):
    """Predicted peaks must meet simulated and measured lists (`training.simulated`)."""

    method: Literal["simulated"]
    simulator: str  # plan of the shift predictor, relative to this plan's folder
    records: list[Source]
    training: SimulatedSchedule


class SpectraSchedule(BatchSchedule):
    negatives: NonNegativeInt  # molecules of the same mass that each record must be told from
    tolerance_ppm: PositiveFloat  # within which a mass is the same
    dropout: Share
    same_mass_weight: NonNegativeFloat = 1.0
    batch_weight: NonNegativeFloat  # of the contrast among all molecules of a batch
    fingerprint_weight: NonNegativeFloat
    spectrum_weight: NonNegativeFloat = 1.0  # of the predicted spectrum, for heads that predict one


class SpectraPlan(PretrainPlan):
    """Measured spectra must meet their molecules (`training.spectra`)."""

    method: Literal["spectra"]
    records: list[Source]
    molecule_head: Hyper
    training: SpectraSchedule


class DetectorSchedule(BatchSchedule):
    pages: PositiveInt  # canvases per batch
    spectral_sources: list[str]  # sources of the corpus with measured spectra
    repeat_spectral: NonNegativeInt  # further visits of their molecules per epoch
    repeat_rare: NonNegativeInt  # further visits of molecules with rare symbols
    dev_molecules: NonNegativeInt  # that are drawn and read after each epoch


class DetectorPlan(PretrainPlan):
    """Atoms and bonds are found in drawings (`training.detector`)."""

    method: Literal["detector"]
    smiles_encoder: str  # folder of the pretrained SMILES encoder
    start: str | None = None  # folder of an earlier result to go on from
    training: DetectorSchedule


class FragmentTable(Table):
    molecules: PositiveInt
    candidates: PositiveInt  # molecules of the same mass beside the true one
    spectra: PositiveInt  # of each molecule
    min_molecules: PositiveInt  # that must show a feature
    sources: list[str]  # of the corpus, that candidates are drawn from


class Tolerance(Table):
    ppm: NonNegativeFloat
    da: NonNegativeFloat


class FragmentationSchedule(Table):
    epochs: PositiveInt
    batch_size: PositiveInt
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    likelihood_weight: NonNegativeFloat
    prior_weight_decay: NonNegativeFloat


class FragmentationPlan(Plan):
    """How molecules break, for re-ranking by mass spectra (`training.fragmentation`)."""

    method: Literal["fragmentation"]
    modality: str
    records: list[Source]
    fragments: FragmentTable
    tolerance: Tolerance
    power: PositiveFloat = 0.5  # of the intensity, that weighs a peak
    training: FragmentationSchedule


class ModelPlan(TaskPlan):
    name: str
    half: bool = False  # keep the weights as float16


class FeatureTable(Table):
    """Records that are made from structures, and the file that keeps their features."""

    pretrained: str  # folder of the pretrained encoder
    features: str | None = None  # file that keeps its features; default: beside the log
    max_molecules: PositiveInt | None = None
    priority_sources: list[str] = []  # whose molecules are chosen first
    views: PositiveInt = 1  # variations of each record


class SpaceTable(FeatureTable):
    """One space of an alignment: measured records (`records`), or records made from structures."""

    head: Hyper | None = None
    # not trained: head and projection of that space, over another encoder of the same width
    copy_of: str | None = None
    records: list[Source] | None = None
    simulated: str | None = None  # folder of simulated peaks for molecules without a measured list
    alignment_weight: NonNegativeFloat = 0.0
    frozen_projection: bool = False
    dropout: Share = 0.0  # of the frozen encoder's features


class SamplerTable(Table):
    """Molecules of every batch: those with a record of a modality, or those of some sources."""

    records: str | None = None
    sources: list[str] = []
    n: PositiveInt
    group_size: PositiveInt = 1
    isomer_negatives: NonNegativeInt = 0  # further molecules of the same formula, for each one


class AlignPlan(ModelPlan):
    """A graph trunk and a head per space meet frozen encoders (`training.align`)."""

    start: str | None = None  # weights to begin with
    trunk: Hyper
    space: dict[str, SpaceTable]
    assigned: Source | None = None
    sampler: list[SamplerTable]
    card: dict[str, Any] = {}  # what the model card says besides


class FinetunePlan(ModelPlan):
    start: str  # folder of a model below the root, or the name of a shipped one
    encoders: dict[str, str] = {}  # newer encoders to put in, by space


class HardNegativesSpace(FeatureTable):
    name: str
    encoder_of: str | None = None  # space whose encoder reads the records; default: the space's own
    copy_to: list[str] = []  # spaces that get the same head and projection
    noisy_views: NonNegativeInt = 0  # variations that are misread structures
    noise_share: Share = 0.5  # of the records of a step that are misread
    alignment_weight: NonNegativeFloat = 0.0


class HardNegativesPlan(FinetunePlan):
    """Head and projection of a space learn from nearest neighbours (`training.hard_negatives`)."""

    space: HardNegativesSpace
    training: BatchSchedule


class MemorySpace(Table):
    name: str
    records: list[Source]


class MemoryTable(Table):
    """Sizes of `networks.memory`, by the names that model cards use."""

    key: PositiveInt
    d: PositiveInt
    nearest: PositiveInt
    guess: PositiveInt
    hidden: PositiveInt


class MemorySchedule(BatchSchedule):
    max_records: PositiveInt | None = None  # of one molecule that are kept
    unmeasured: NonNegativeInt  # molecules of the corpus without a record
    isomer_negatives: NonNegativeInt
    negatives: NonNegativeInt  # in each step, of all molecules
    similarity_weight: NonNegativeFloat


class MemoryPlan(FinetunePlan):
    """A space is given a memory of its training records (`training.memory`)."""

    space: MemorySpace
    memory: MemoryTable
    training: MemorySchedule


P = TypeVar("P", bound=Plan)


def read_plan(path: Path | str, kind: type[P], root: Path | None = None) -> P:
    """Read a plan; `root` replaces the one it names. Raises `ConfigError`."""
    path = Path(path)
    data = read_toml(path, "plan")
    if root is not None:
        return plan_of({**data, "root": str(root.resolve())}, kind, path)
    plan = plan_of(data, kind, path)
    installed = path.resolve().is_relative_to(_PACKAGE)
    if installed and not (plan.root_folder / "pyproject.toml").is_file():
        raise ConfigError(
            f"{path}: the paths of this plan are relative to a checkout of acml-search, "
            f"{plan.root_folder} is none; name the folder that holds your data and runs with --root"
        )
    return plan


def plan_of(data: dict[str, Any], kind: type[P], path: Path) -> P:
    """A plan from its data, as if read from `path`. Raises `ConfigError`."""
    plan = check_table(data, kind, path)
    plan._path = path
    return plan
