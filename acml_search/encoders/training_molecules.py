"""Which molecules a model was trained on: the list that its card names.

A molecule is identified by the first block of its InChIKey, of which 40 bits of a SHA-256 are stored: five
bytes a molecule, with one false positive in about two million. Flags say whose spectra were trained on; all
others were structures of the corpus, whose pictures and SMILES are made from the structure.

    training_list.npz   hashes (n, 5) uint8, big-endian, ascending · flags (n,) uint16, bit i: a record of
                        modality i · modalities (m,) their names

The card says `"training_list": {"file", "sha256", ...}`, outside the digest: the vectors do not depend on it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import CheckpointError
from acml_search.core.io import atomic
from acml_search.core.typing import Bools, Ints
from acml_search.encoders.card import ModelCard, read_card

FILE = "training_list.npz"
_BYTES = 5


@dataclass(frozen=True)
class TrainingMolecules:
    """Molecules of contrastive training: `hashes` (n,) uint64 ascending, `flags` (n,) uint16."""

    hashes: npt.NDArray[np.uint64]
    flags: npt.NDArray[np.uint16]
    modalities: tuple[str, ...]

    @classmethod
    def of(cls, structures: Iterable[str], records: Mapping[str, Iterable[str]]) -> TrainingMolecules:
        """From first blocks of InChIKeys: of all molecules, and by modality of those with records."""
        modalities = tuple(sorted(records))
        flags = dict.fromkeys(_hashes(structures).tolist(), 0)
        for bit, modality in enumerate(modalities):
            for one in _hashes(records[modality]).tolist():
                flags[one] = flags.get(one, 0) | 1 << bit
        ordered = sorted(flags)
        return cls(
            np.array(ordered, np.uint64), np.array([flags[one] for one in ordered], np.uint16), modalities
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def contains(self, blocks: Sequence[str]) -> Bools:
        """(n,): is the molecule of this InChIKey block in the list?"""
        return self._places(blocks) >= 0

    def with_records(self, blocks: Sequence[str], modality: str | None = None) -> Bools:
        """(n,): were measured records of the molecule trained on, of `modality` or of any?"""
        at = self._places(blocks)
        if modality is None:
            mask = 0xFFFF
        else:
            mask = 1 << self.modalities.index(modality) if modality in self.modalities else 0
        flags = self.flags[at] if len(self.flags) else np.zeros(len(at), np.uint16)
        return np.asarray((at >= 0) & (flags & mask > 0))

    def counts(self) -> dict[str, object]:
        """How many molecules stand in the list, for the card."""
        by = {m: int((self.flags >> bit & 1).sum()) for bit, m in enumerate(self.modalities)}
        return {"molecules": len(self), "with_records": int((self.flags > 0).sum()), "records": by}

    def to_bytes(self) -> bytes:
        """The file's content, the same for the same list."""
        narrow = self.hashes.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - _BYTES :]
        arrays = {"hashes": narrow, "flags": self.flags, "modalities": np.array(self.modalities, np.str_)}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                content = io.BytesIO()
                np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> TrainingMolecules:
        """Raises ValueError, KeyError or OSError for another content."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            narrow, flags, names = file["hashes"], file["flags"], file["modalities"]
        if narrow.shape != (len(flags), _BYTES) or flags.dtype != np.uint16:
            raise ValueError(f"arrays of shape {narrow.shape} and {flags.shape}")
        wide = np.zeros((len(narrow), 8), np.uint8)
        wide[:, 8 - _BYTES :] = narrow
        return cls(wide.view(">u8")[:, 0].astype(np.uint64), flags, tuple(names.tolist()))

    def _places(self, blocks: Sequence[str]) -> Ints:
        """Places in the list, -1 where a molecule is not in it."""
        wanted = _hashes(blocks)
        if not len(self.hashes):
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return np.where(self.hashes[at] == wanted, at, -1).astype(np.int64)


def training_list(card: ModelCard) -> TrainingMolecules | None:
    """The list that a card names, if any. Raises CheckpointError where it is missing or damaged."""
    entry = card.data.get("training_list")
    return None if entry is None else _read(card.directory / str(entry["file"]), str(entry["sha256"]))


@cache
def _read(path: Path, sha256: str) -> TrainingMolecules:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            path, f"the list of training molecules cannot be read ({error.strerror}); copy the model again"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            path, "the list of training molecules is damaged or not that of the card; copy the model again"
        )
    try:
        return TrainingMolecules.from_bytes(content)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(path, f"this is no list of training molecules ({error})") from error


def write_training_list(directory: Path, molecules: TrainingMolecules, made_by: str) -> ModelCard:
    """Write the list beside the weights and name it in the card. Raises CheckpointError without a model."""
    card = read_card(directory)
    content = molecules.to_bytes()
    with atomic(card.directory / FILE) as temporary:
        temporary.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    entry = {"file": FILE, "sha256": sha256, **molecules.counts(), "made_by": made_by}
    text = json.dumps({**card.data, "training_list": entry}, indent=1, ensure_ascii=False) + "\n"
    with atomic(card.directory / "card.json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return read_card(card.directory)


def _hashes(blocks: Iterable[str]) -> npt.NDArray[np.uint64]:
    """(n,) 40-bit numbers of InChIKey blocks."""
    digests = (hashlib.sha256(block.encode()).digest()[:_BYTES] for block in blocks)
    return np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)
