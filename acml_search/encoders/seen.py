"""Which molecules a model saw in contrastive training: the list that its card names.

A molecule is known by the first block of its InChIKey, and of that only 40 bits of a SHA-256 are kept: five
bytes a molecule, and a molecule that was not seen is taken for one that was about once in two million. Beside
each stands whose spectra were trained on; all others were structures of the corpus, whose pictures and
spellings are made from the structure.

    training_list.npz   hashes (n, 5) uint8, big-endian, ascending · flags (n,) uint16, bit i: a record of
                        modality i · modalities (m,) their names

The card says `"training_list": {"file", "sha256", ...}`, outside the digest: the vectors do not depend on it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import CheckpointError
from acml_search.encoders.card import ModelCard, read_card

FILE = "training_list.npz"
_BYTES = 5

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SeenList:
    """Molecules that training saw. `hashes` (n,) uint64 ascending, `flags` (n,) uint16, see the file."""

    hashes: npt.NDArray[np.uint64]
    flags: npt.NDArray[np.uint16]
    modalities: tuple[str, ...]

    @classmethod
    def of(cls, structures: Iterable[str], records: Mapping[str, Iterable[str]]) -> SeenList:
        """From InChIKey blocks: of all molecules, and by modality of those whose records were seen."""
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

    def any(self, blocks: Sequence[str]) -> Bools:
        """(n,): was the molecule of this InChIKey block seen at all?"""
        return self._at(blocks) >= 0

    def with_records(self, blocks: Sequence[str], modality: str | None = None) -> Bools:
        """(n,): were measured records of the molecule trained on, of `modality` or of any?"""
        at = self._at(blocks)
        mine = self.flags[at] > 0 if len(self.flags) else np.zeros(len(at), bool)
        if modality is not None:
            bit = self.modalities.index(modality) if modality in self.modalities else None
            mine = np.zeros(len(at), bool) if bit is None else (self.flags[at] >> bit & 1).astype(bool)
        return np.asarray((at >= 0) & mine)

    def records(self, block: str, modality: str | None = None) -> bool:
        """As `with_records`, of one molecule."""
        return bool(self.with_records([block], modality)[0])

    def structures(self, block: str) -> bool:
        """Was the molecule's structure seen, but none of its records?"""
        return bool(self.any([block])[0]) and not self.records(block)

    def counts(self) -> dict[str, object]:
        """How many molecules stand in the list, for the card."""
        by = {m: int((self.flags >> bit & 1).sum()) for bit, m in enumerate(self.modalities)}
        return {"molecules": len(self), "with_records": int((self.flags > 0).sum()), "records": by}

    def to_bytes(self) -> bytes:
        """The file's content, the same for the same list."""
        wide = self.hashes.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - _BYTES :]
        arrays = {"hashes": wide, "flags": self.flags, "modalities": np.array(self.modalities, np.str_)}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                content = io.BytesIO()
                np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> SeenList:
        """Raises ValueError, KeyError or OSError for another content."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            narrow, flags, names = file["hashes"], file["flags"], file["modalities"]
        if narrow.shape != (len(flags), _BYTES) or flags.dtype != np.uint16:
            raise ValueError(f"arrays of shape {narrow.shape} and {flags.shape}")
        wide = np.zeros((len(narrow), 8), np.uint8)
        wide[:, 8 - _BYTES :] = narrow
        return cls(wide.view(">u8")[:, 0].astype(np.uint64), flags, tuple(names.tolist()))

    def _at(self, blocks: Sequence[str]) -> npt.NDArray[np.int64]:
        """Places in the list, -1 where a molecule is not in it."""
        wanted = _hashes(blocks)
        if not len(self.hashes):
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return np.where(self.hashes[at] == wanted, at, -1).astype(np.int64)


def training_list(card: ModelCard) -> SeenList | None:
    """The list that a card names; None where the card names none (an older model, or one not trained).

    Raises CheckpointError where the file is missing, damaged, or not the one of the card.
    """
    told = card.data.get("training_list")
    return None if told is None else _read(card.directory / str(told["file"]), str(told["sha256"]))


@cache
def _read(path: Path, sha256: str) -> SeenList:
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
        return SeenList.from_bytes(content)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(path, f"this is no list of training molecules ({error})") from error


def write_training_list(directory: Path, seen: SeenList, made_by: str) -> ModelCard:
    """Put the list beside a model's weights and name it in its card; the digest stays. `made_by`: a command.

    Raises CheckpointError where there is no model.
    """
    card = read_card(directory)
    content = seen.to_bytes()
    _replace(card.directory / FILE, content)
    told = {"file": FILE, "sha256": hashlib.sha256(content).hexdigest(), **seen.counts(), "made_by": made_by}
    data = {**card.data, "training_list": told}
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    _replace(card.directory / "card.json", text.encode())
    return read_card(card.directory)


def _replace(path: Path, content: bytes) -> None:
    writing = path.with_name(f"{path.name}.{os.getpid()}.writing")
    writing.write_bytes(content)
    os.replace(writing, path)


def _hashes(blocks: Iterable[str]) -> npt.NDArray[np.uint64]:
    """(n,) 40-bit numbers of InChIKey blocks."""
    digests = (hashlib.sha256(block.encode()).digest()[:_BYTES] for block in blocks)
    return np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)
