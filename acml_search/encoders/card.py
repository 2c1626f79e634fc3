"""Model cards: what a checkpoint is, without loading it (and without torch).

A model is a directory with `model.safetensors` (all weights) and `card.json` (hyper-parameters to rebuild
the modules, spaces, data, licence, split, seed, metrics, commit). The digest is the SHA-256 of the weights
together with the hyper-parameters and the featuriser's version: what the vectors depend on. Prose in the
card may change; spaces stay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from acml_search.chem.graph import FEATURISER_VERSION
from acml_search.core.errors import CheckpointError

DEFAULT_MODEL = "acml-base"
CARD_FORMAT = 1
WEIGHTS = Path(__file__).parent / "weights"


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
    """A card as read. `data` is the whole JSON document."""

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

    def trust(self, spaces: Iterable[str], kind: str) -> dict[str, float]:
        """What each space's logit counts for where those of all `spaces` are added: 1 unless it was fitted.

        kind: `plain`, of scale x cosine, or `rerank`, of logits after peaks were compared.
        """
        names = list(spaces)
        fitted = self.data.get("together", {}).get("+".join(sorted(names)), {}).get(kind, {})
        return {name: float(fitted.get(name, 1.0)) for name in names}

    @property
    def weights(self) -> Path:
        return self.directory / "model.safetensors"


def missing_space(card: ModelCard, modality: str) -> str:
    """The sentence for a modality that a model does not have: what it has, and which shipped model does."""
    text = f"the model {card.name} has no space for {modality}; it has {', '.join(sorted(card.spaces))}"
    others = [other for other in list_models() if modality in other.spaces and other.name != card.name]
    for other in others:
        text += f". The model {other.name} has it (--model {other.name}; licence: {other.licence})"
    return text


def list_models() -> list[ModelCard]:
    """Cards of the models that came with the package, sorted by name."""
    return [read_card(p.parent) for p in sorted(WEIGHTS.glob("*/card.json"))]


def model_below(root: Path, name: str) -> str:
    """What a configuration calls a model: a folder below its root, or the name of a shipped one."""
    inside = root / name
    return str(inside) if inside.exists() or "/" in name else name


def read_card(name_or_dir: str | Path = DEFAULT_MODEL) -> ModelCard:
    """The card of a shipped model, by name, or of a model directory. Raises `CheckpointError`."""
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
        digest = str(data["digest"])
        spaces = {
            name: Space(
                name, hashlib.sha256(f"{digest}:{name}".encode()).hexdigest(), int(s["d"]), float(s["scale"])
            )
            for name, s in data["spaces"].items()
        }
        return ModelCard(str(data["name"]), directory, digest, spaces, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            path, f"the model card lacks or garbles {error}; it is not one of ours"
        ) from error


def digest_of(weights: Path, hyper: dict[str, Any]) -> str:
    """SHA-256 over the weights file, the hyper-parameters and the featuriser's version."""
    sha = hashlib.sha256(json.dumps(hyper, sort_keys=True).encode())
    sha.update(f"featuriser {FEATURISER_VERSION}".encode())
    with weights.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def _directory(name_or_dir: str | Path) -> Path:
    shipped = WEIGHTS / str(name_or_dir)
    if (shipped / "card.json").exists():
        return shipped
    directory = Path(name_or_dir)
    if (directory / "card.json").exists():
        return directory
    known = ", ".join(sorted(p.parent.name for p in WEIGHTS.glob("*/card.json"))) or "none"
    raise CheckpointError(
        name_or_dir, f"there is no such model; shipped are: {known}; or name a directory with card.json"
    )
