"""Model cards: what a checkpoint is, without loading it (and without torch).

A model is a directory with `model.safetensors` (all weights) and `card.json` (hyper-parameters to rebuild
the modules, spaces, data, licence, split, seed, commit). The digest is the SHA-256 of the weights together
with the hyper-parameters and the featuriser's version: what the vectors depend on. Prose in the card may
change; spaces stay. What was measured of a model (`MEASUREMENTS`) stands in the card too, or, of a shipped
model, in `docs/models/NAME.json` of a checkout.

`acml-base` comes with the package. Another distribution offers a model by an entry point of the group
`acml_search.models`: its name is the model's, its value a package that holds the two files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from acml_search.chem.configuration import LENGTH
from acml_search.chem.graph import FEATURISER_VERSION
from acml_search.core.errors import CheckpointError
from acml_search.core.io import sha256

DEFAULT_MODEL = "acml-base"
CARD_FORMAT = 1
WEIGHTS = Path(__file__).parent / "weights"
MODELS_GROUP = "acml_search.models"
MEASUREMENTS = (
    "log", "sharpened", "metrics", "within_batches", "calibration", "recall_by_class",
    "known_failures_by_class", "metrics_command",
)  # fmt: skip
"""keys of a card that `measurements` holds"""
_CHECKOUT = Path(__file__).parents[2]


class SeparateModel(NamedTuple):
    """A model of ours that is a distribution of its own."""

    spaces: tuple[str, ...]
    licence: str


SEPARATE_MODELS = {
    "acml-research": SeparateModel(
        ("smiles", "image", "c_nmr", "h_nmr", "lc_ms", "gc_ms"),
        "CC BY-NC-SA 4.0 (trained on spectra under non-commercial licences)",
    )
}


class Space(NamedTuple):
    """The joint space of the graph tower and one modality's tower."""

    name: str
    """the modality's name"""
    digest: str
    d: int
    scale: float
    """logit = scale x cosine"""


@dataclass(frozen=True)
class ModelCard:
    """A card as read. `data` is the JSON document."""

    name: str
    directory: Path
    digest: str
    spaces: dict[str, Space]
    data: dict[str, Any]

    @property
    def licence(self) -> str:
        """Licence of the weights, as the card gives it."""
        return str(self.data.get("licence", "not stated"))

    @property
    def restriction(self) -> str | None:
        """What the licence forbids, as a sentence; None when it has no non-commercial clause."""
        if not re.search(r"\bBY-NC", self.licence):
            return None
        return f"{self.name}: not for commercial use; {self.licence}"

    def fusion_weights(self, spaces: Iterable[str], kind: str) -> dict[str, float]:
        """The weight of each space's logit where those of all `spaces` are added: 1 unless it was fitted.

        kind: `plain`, of scale x cosine; `rerank`, of logits after peaks were compared; `signals`, where a 1H
        spectrum states its hydrogens, else as `rerank`.
        """
        names = list(spaces)
        together = self.data.get("together", {}).get("+".join(sorted(names)), {})
        fitted = together.get(kind) or together.get("rerank" if kind == "signals" else kind, {})
        return {name: float(fitted.get(name, 1.0)) for name in names}

    def rerank_weights(self, space: str, kind: str = "rerank") -> dict[str, float] | None:
        """Weights of `cosine` and `evidence`, None where not fitted; kind as in `fusion_weights`."""
        stored = self.data["spaces"][space]
        found: dict[str, float] | None = stored.get(kind) or stored.get("rerank")
        return found

    @property
    def networks(self) -> dict[str, Space]:
        """The spaces that have a network: those that are made of others' peaks have none."""
        return {name: one for name, one in self.spaces.items() if "features" not in self.data["spaces"][name]}

    def configuration(self, space: str) -> float | None:
        """The share of configuration in a score of a space; None where it tells no stereoisomers apart."""
        return self.data["spaces"][space].get("configuration", {}).get("weight")

    def made_by(self, space: str) -> str:
        """Digest of what the vectors of a space depend on: the weights, and numbers of the card if any."""
        fixed = {"features", "configuration"}.intersection(self.data["spaces"][space])
        return self.spaces[space].digest if fixed else self.digest

    def learned(self, space: str) -> int:
        """How much of a vector, from its beginning, the networks of a space make."""
        return int(self.data["spaces"][space]["d"])

    def of_index(self, digests: Mapping[str, str]) -> ModelCard:
        """The card without the configuration of those spaces that an index (space -> digest) has without it:
        the weights are the same."""
        spaces = {name: {**one} for name, one in self.data["spaces"].items()}
        for name, one in spaces.items():
            flat = {key: value for key, value in one.items() if key != "configuration"}
            if digests.get(name) == _space_digest(self.digest, name, flat):
                spaces[name] = flat
        return _card({**self.data, "spaces": spaces}, self.directory)

    def features(self, space: str) -> dict[str, Any]:
        """The numbers of a space that is made of others' peaks: its modality's `embed` takes them."""
        return {"d": self.spaces[space].d, **self.data["spaces"][space]["features"]}

    @property
    def weights(self) -> Path:
        return self.directory / "model.safetensors"

    @property
    def later_weights(self) -> dict[Path, str]:
        """Weights of encoders that take the place of some in `weights`, and tables that correct predicted
        peaks, with their SHA-256. The only vectors of molecules that depend on them are those made of
        predicted peaks (`hsqc`): indexes stay valid, and such a space gets the better peaks once it is built
        again."""
        return {self.directory / name: sha for name, sha in self.data.get("later_weights", {}).items()}

    @cached_property
    def measurements(self) -> dict[str, Any]:
        """Training log and measurements by the keys `MEASUREMENTS`: from the card, else from
        `docs/models/NAME.json` of a checkout; empty where neither has them.
        """
        found = {key: self.data[key] for key in MEASUREMENTS if key in self.data}
        path = _CHECKOUT / "docs" / "models" / f"{self.name}.json"
        if found or not path.exists():
            return found
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return document if document.get("digest") == self.digest else {}


def missing_space(card: ModelCard, modality: str) -> str:
    """Message for a modality that a model lacks: the spaces it has, and which other model has this one."""
    text = f"the model {card.name} has no space for {modality}; it has {', '.join(sorted(card.spaces))}"
    others = [other for other in list_models() if modality in other.spaces and other.name != card.name]
    for other in others:
        text += f". The model {other.name} has it (--model {other.name}; licence: {other.licence})"
    for name, separate in SEPARATE_MODELS.items():
        if modality in separate.spaces and name not in {card.name, *(other.name for other in others)}:
            text += (
                f". The model {name} has it (licence: {separate.licence}): {_how_to_install(name)}, then "
                f"--model {name}"
            )
    return text


def list_models() -> list[ModelCard]:
    """Cards of the shipped and installed models, sorted by name."""
    return [read_card(directory) for _, directory in sorted(_model_directories().items())]


def _model_directories() -> dict[str, Path]:
    """Folders of the models that come with this package and with others that are installed."""
    found = {path.parent.name: path.parent for path in WEIGHTS.glob("*/card.json")}
    for point in entry_points(group=MODELS_GROUP):
        try:
            directory = Path(str(resources.files(point.module)))
        except ModuleNotFoundError:  # what an incomplete removal leaves
            continue
        if (directory / "card.json").exists():
            found.setdefault(point.name, directory)
    return found


def _how_to_install(name: str) -> str:
    source = _CHECKOUT / "weights" / name
    return f"pip install {source if source.exists() else name}"


def model_below(root: Path, name: str) -> str:
    """The model that a configuration names: a folder below its root, or a shipped model."""
    inside = root / name
    return str(inside) if inside.exists() or "/" in name else name


def read_card(name_or_dir: str | Path | ModelCard = DEFAULT_MODEL) -> ModelCard:
    """The card of a shipped or installed model, by name, or of a model directory.

    Raises `CheckpointError`.
    """
    if isinstance(name_or_dir, ModelCard):
        return name_or_dir
    directory = _directory(name_or_dir)
    path = directory / "card.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"the model card cannot be read ({error}); name another model") from error
    try:
        if data["format"] != CARD_FORMAT:
            raise CheckpointError(
                path, f"the card has format {data['format']}, this version reads {CARD_FORMAT}"
            )
        return _card(data, directory)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            path, f"the model card lacks or misstates {error}; it is no card of acml-search"
        ) from error


def _card(data: dict[str, Any], directory: Path) -> ModelCard:
    digest = str(data["digest"])
    spaces = {
        name: Space(
            name,
            _space_digest(digest, name, one),
            int(one["d"]) + (LENGTH if "configuration" in one else 0),
            float(one["scale"]),
        )
        for name, one in data["spaces"].items()
    }
    return ModelCard(str(data["name"]), directory, digest, spaces, data)


def _space_digest(model: str, name: str, stored: Mapping[str, Any]) -> str:
    numbers = stored.get("features") or stored.get("configuration")
    told = json.dumps({"d": stored["d"], **numbers}, sort_keys=True) if numbers else ""
    return hashlib.sha256(f"{model}:{name}{told}".encode()).hexdigest()


def digest_of(weights: Path, config: dict[str, Any]) -> str:
    """SHA-256 over the weights file, the hyper-parameters and the featuriser's version."""
    sha = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    sha.update(f"featuriser {FEATURISER_VERSION}".encode())
    with weights.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def checked_weights(card: ModelCard) -> Path:
    """The weights of a card. Raises `CheckpointError` where any are missing, damaged or another model's."""
    for path in (card.weights, *card.later_weights):
        if not path.exists():
            raise CheckpointError(path, f"the weights are missing; copy {path.name} beside card.json")
    damaged = [path for path, sha in card.later_weights.items() if sha256(path) != sha]
    if damaged:
        raise CheckpointError(damaged[0], "the weights are damaged; copy the model again")
    if digest_of(card.weights, card.data["hyper"]) != card.digest:
        raise CheckpointError(
            card.weights, "the weights are damaged or not those of the card; copy the model again"
        )
    return card.weights


def _directory(name_or_dir: str | Path) -> Path:
    name = str(name_or_dir)
    if (WEIGHTS / name / "card.json").exists():
        return WEIGHTS / name
    if (Path(name) / "card.json").exists():
        return Path(name)
    known = _model_directories()
    if name in known:
        return known[name]
    if name in SEPARATE_MODELS:
        licence = SEPARATE_MODELS[name].licence
        reason = f"this model is a package of its own and not installed (licence: {licence})"
        raise CheckpointError(name, f"{reason}: {_how_to_install(name)}")
    raise CheckpointError(
        name,
        f"there is no such model; known are: {', '.join(sorted(known))}; or name a directory with card.json",
    )
