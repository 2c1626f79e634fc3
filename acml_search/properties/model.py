"""A property model: several heads, or several fine-tuned trunks, over one base model, in a folder of its own.

    card.json            targets, task, split, how well it does on the inner part, base model, versions
    members/<i>/         a head (safetensors or LightGBM's text) or a fine-tuned trunk (safetensors)
    descriptors.safetensors   where the heads read descriptors too: the range of each

The prediction is the mean of the members. The uncertainty is their standard deviation; for numbers it is
scaled by one factor, so that on the inner part it is as large as the error on average (root mean square), in
the labels' unit. For classes it is that of the members' probabilities: how far they disagree, between 0 and
0.5; what the members agree to be undecided about stands in the probability itself.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import CheckpointError
from acml_search.library.prepare import Rejected
from acml_search.library.store import rejects_table, write_parquet
from acml_search.properties.descriptors import Bounded, descriptor_names, descriptors
from acml_search.properties.features import MAXIMA, TRUNK, embeddings, names
from acml_search.properties.finetune import FineTuned, finetune, load_finetuned
from acml_search.properties.fitted import Features, FittedHead, score
from acml_search.properties.heads import KINDS, fit_head, load_head
from acml_search.properties.labelled import Labelled

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model

FORMAT = 3
"""1 had no `parts`: its heads read the trunk, its maxima and the spaces, and still do; 2 no descriptors"""
FINETUNED = "finetuned"
HEADS, TUNED = 5, 3
"""members of a model: heads on resampled molecules, trunks begun with other seeds"""

Floats = npt.NDArray[np.float64]


@dataclass
class PropertyModel:
    """Fitted members over a base model. `kind`: that of a head, or finetuned."""

    base: Model
    kind: str
    members: Sequence[FittedHead | FineTuned]
    card: dict[str, Any]
    bounded: Bounded | None = None
    """where the heads read RDKit's descriptors behind the embedding"""

    @property
    def targets(self) -> list[str]:
        return list(self.card["targets"])

    @property
    def parts(self) -> list[str]:
        """The parts of an embedding that its heads read, in their order."""
        return list(self.card.get("parts", (TRUNK, MAXIMA, *self.base.spaces)))

    def predict(self, mols: Sequence[Chem.Mol]) -> tuple[Floats, Floats]:
        """Prediction and uncertainty, (n, t) each, of standardised molecules."""
        each = self.answers(mols)
        factor = np.array(self.card["uncertainty_factor"])
        return each.mean(axis=0), each.std(axis=0) * factor

    def answers(self, mols: Sequence[Chem.Mol]) -> Floats:
        """(members, n, t), what each member says."""
        if self.kind == FINETUNED:
            return np.stack([one.predict(mols) for one in cast("Sequence[FineTuned]", self.members)])
        x = embeddings(self.base, mols, self.parts)
        if self.bounded is not None:
            x = np.hstack([x, self.bounded(descriptors(mols))])
        return _heard(self.members, x)


def fit_model(
    base: Model,
    data: Labelled,
    valid: npt.NDArray[np.bool_],
    *,
    head: str,
    tune: bool,
    described: bool = False,
    seed: int,
) -> PropertyModel:
    """Fit on the molecules that are not `valid` (n,), choose on those that are.

    `head`: one of KINDS, or auto for the best of them; `tune`: fine-tune the trunk instead; `described`:
    heads read RDKit's descriptors too.
    """
    train, judged = np.flatnonzero(~valid), np.flatnonzero(valid)
    y, valid_y = data.y[train], data.y[judged]
    tried: dict[str, float] = {}
    parts = names(base)
    bounded: Bounded | None = None
    members: Any
    valid_mols = [data.mols[i] for i in judged]
    if tune:
        mols = [data.mols[i] for i in train]
        members = [
            finetune(base, mols, y, valid_mols, valid_y, data.task, seed + i, class_weight=_rare(y))
            for i in range(TUNED)
        ]
        kind = FINETUNED
        tried[kind] = members[0].valid_score
    else:
        x = embeddings(base, data.mols, parts)
        if described:
            values = descriptors(data.mols)
            bounded = Bounded.of(values[train])
            x = np.hstack([x, bounded(values)])
        kinds = KINDS if head == "auto" else (head,)
        first = {
            kind: fit_head(kind, data.task, x[train], y, x[judged], valid_y, seed, _rare(y)) for kind in kinds
        }
        tried = {kind: one.valid_score for kind, one in first.items()}
        kind = max(tried, key=lambda name: np.nan_to_num(tried[name], nan=-np.inf))
        members = [first[kind]]
        rng = np.random.default_rng(seed)
        for i in range(1, HEADS):
            rows = np.sort(rng.integers(0, len(train), len(train)))
            members.append(
                fit_head(kind, data.task, x[train[rows]], y[rows], x[judged], valid_y, seed + i, _rare(y))
            )
    card = {
        "format": FORMAT,
        "kind": kind,
        "parts": parts,
        "descriptors": None if bounded is None else descriptor_names(),
        "targets": data.targets,
        "task": data.task,
        "members": len(members),
        "model": base.card.name,
        "model_digest": base.card.digest,
        "n_train": len(train),
        "seed": seed,
    }
    fitted = PropertyModel(base, kind, members, card, bounded)
    each = fitted.answers(valid_mols) if tune else _heard(members, x[judged])
    mean, spread = each.mean(axis=0), each.std(axis=0)
    card["uncertainty_factor"] = _factor(data.task, valid_y, mean, spread).tolist()
    card["inner"] = {"score": score(data.task, valid_y, mean), "n": len(judged), "tried": tried}
    return fitted


def save(model: PropertyModel, directory: Path, rejected: Sequence[Rejected] = ()) -> None:
    """Write the model's folder, with the rows that could not be used, whole or not at all; an earlier one in
    its place is replaced.
    """
    writing = directory.with_name(f"{directory.name}.{os.getpid()}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    for number, member in enumerate(model.members):
        folder = writing / "members" / str(number)
        folder.mkdir(parents=True)
        member.save(folder)
    if model.bounded is not None:
        model.bounded.save(writing)
    text = json.dumps(model.card, indent=1, ensure_ascii=False) + "\n"
    (writing / "card.json").write_text(text, encoding="utf-8")
    write_parquet(rejects_table(rejected), writing / "rejects.parquet")
    before = directory.with_name(f"{directory.name}.{os.getpid()}.before")
    if directory.exists():
        os.replace(directory, before)
    os.replace(writing, directory)
    shutil.rmtree(before, ignore_errors=True)


def read_card_of(directory: Path) -> dict[str, Any]:
    """The card of a property model. Raises CheckpointError for a folder that holds none."""
    path = directory / "card.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = card["format"] in range(1, FORMAT + 1) and {
            "kind",
            "targets",
            "task",
            "members",
            "base",
            "model_digest",
        } <= set(card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            path, f"this is no property model ({error}); fit one with `acml-search properties fit`"
        ) from error
    if not known:
        raise CheckpointError(
            path,
            f"this is no property model of format {FORMAT}; fit it again with `acml-search properties fit`",
        )
    return card


def load(directory: Path, base: Model) -> PropertyModel:
    """A saved model over the base it was fitted on. Raises CheckpointError for another base or no model."""
    card = read_card_of(directory)
    if card["model_digest"] != base.card.digest:
        raise CheckpointError(
            directory,
            f"it was fitted on {card['model']} with digest {card['model_digest'][:12]}, and "
            f"{base.card.name} here has {base.card.digest[:12]}; name the right one with --model, or fit "
            "again",
        )
    folders = [directory / "members" / str(i) for i in range(card["members"])]
    members: Any = (
        [load_finetuned(one, base) for one in folders]
        if card["kind"] == FINETUNED
        else [load_head(one) for one in folders]
    )
    described = card.get("descriptors")
    bounded = None if described is None else Bounded.load(directory, described)
    return PropertyModel(base, card["kind"], members, card, bounded)


def _heard(members: Sequence[Any], x: Features) -> Floats:
    """(members, n, t), what heads say of features (n, f)."""
    return np.stack([one.predict(x) for one in members])


def _factor(task: str, y: Floats, mean: Floats, spread: Floats) -> Floats:
    """(t,) what makes the members' spread as large as their error; 1 for classes."""
    if task == "classification":
        return np.ones(y.shape[1])
    known = np.isfinite(y)
    error = np.sqrt(np.where(known, (mean - np.nan_to_num(y)) ** 2, 0).sum(axis=0))
    size = np.sqrt(np.where(known, spread**2, 0).sum(axis=0))
    return np.where((size > 0) & (error > 0), error / np.where(size > 0, size, 1), 1.0)


def _rare(y: Floats) -> bool:
    """Are classes so unequal that they are to weigh the same? Never for numbers."""
    known = y[np.isfinite(y)]
    if not np.isin(known, (0.0, 1.0)).all():
        return False
    return bool(not 0.2 <= float(known.mean()) <= 0.8)
