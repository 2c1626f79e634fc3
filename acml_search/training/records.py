"""Records of a corpus's molecules: measured ones, and frozen features of those made from structures.

A `RecordSource` gives alignment the records of one space as its frozen encoder sees them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.core.progress import progress
from acml_search.encoders.checkpoint import Tower
from acml_search.networks import placement, tensors
from acml_search.training.config import FeatureTable, Source
from acml_search.training.corpus import Corpus, read_rows
from acml_search.training.synth import ocsr_noise

if TYPE_CHECKING:
    from acml_search.training.simulated import SimulatedPeaks

_CHUNK = 4_096
_BATCH = 64
_MAX_SEED = 2**63 - 1


@dataclass
class MeasuredRecords:
    """Records of one modality that training may see, ordered by molecule."""

    items: list[Any]
    """what the modality read of each record"""
    rows: np.ndarray
    """(n,) int64, ascending: the corpus row each record belongs to"""
    molecules: np.ndarray
    """(m,) int64, ascending: distinct rows"""
    starts: np.ndarray
    """(m + 1,) int64, first record of each molecule"""
    table: list[dict[str, Any]]
    """the rows of the files, where they were to be kept"""
    left_out: dict[str, int]
    """how many records were not used, by reason"""

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record of this corpus row?"""
        return np.isin(rows, self.molecules)

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random record of each corpus row, as indices into `items`; every row must have one."""
        at = np.searchsorted(self.molecules, rows)
        low, high = self.starts[at], self.starts[at + 1]
        return low + (rng.random(len(rows)) * (high - low)).astype(np.int64)

    def with_unmeasured(self, corpus: Corpus, n: int, seed: int) -> np.ndarray:
        """Corpus rows of all molecules with a record, in their order, then of `n` without one."""
        order = np.random.default_rng([seed, 1]).permutation(corpus.train_rows)
        return np.concatenate([self.molecules, order[~self.has(order)][:n]])


def read_records(
    modality: str, sources: Sequence[Source], corpus: Corpus, root: Path, *, keep_rows: bool = False
) -> MeasuredRecords:
    """Records of `sources` whose molecule is in the corpus.

    A record that cannot be read, or whose molecule the corpus left out (an evaluation set, say), is counted
    by reason. Raises `ConfigError` when a file is missing or no record is left.
    """
    kind = modalities.get(modality)
    row_of: dict[str, int] = {}
    found: list[tuple[int, Any, Any]] = []
    left_out: Counter[str] = Counter()
    for source in sources:
        table = read_rows(root, source)
        present = [c for c in ("smiles", *kind.columns, *kind.optional) if c in table.column_names]
        for record in table.select(present).to_pylist():
            smiles = record["smiles"]
            if smiles not in row_of:
                row_of[smiles] = _corpus_row(smiles, corpus)
            if row_of[smiles] < 0:
                left_out["molecule not in the corpus"] += 1
                continue
            try:
                found.append((row_of[smiles], kind.read(record), record if keep_rows else None))
            except InvalidRecord:
                left_out["unreadable record"] += 1
    if not found:
        raise ConfigError(f"no record of {modality} is left for training; look at `path` and `where`")
    found.sort(key=lambda one: one[0])
    rows = np.array([row for row, _, _ in found], np.int64)
    molecules, starts = np.unique(rows, return_index=True)
    return MeasuredRecords(
        items=[item for _, item, _ in found],
        rows=rows,
        molecules=molecules,
        starts=np.append(starts, len(rows)),
        table=[record for _, _, record in found] if keep_rows else [],
        left_out=dict(left_out),
    )


def _corpus_row(smiles: str, corpus: Corpus) -> int:
    try:
        return corpus.row_of.get(Chem.MolToSmiles(parse(smiles)[0]), -1)
    except InvalidMolecule:
        return -1


class RecordSource(ABC):
    """Records of one space by corpus row, through its encoder."""

    @abstractmethod
    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record to train with?"""

    @abstractmethod
    def measured(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record that is not simulated?"""

    @abstractmethod
    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Features (len(rows), width) of a random record of each row; every row must have one."""

    @abstractmethod
    def fixed(self, rows: np.ndarray) -> Tensor:
        """As `sample`, always the same and without variation, of rows that are `measured`."""


@dataclass
class MeasuredSource(RecordSource):
    """Measured records, varied and encoded anew each time; for molecules without one, simulated ones."""

    tower: Tower
    records: MeasuredRecords
    simulated: SimulatedPeaks | None
    replaced: float = 0.2
    """share of molecules with a measured list that get a simulated one all the same"""

    def has(self, rows: np.ndarray) -> np.ndarray:
        measured = self.measured(rows)
        return measured if self.simulated is None else self.simulated.has(rows) | measured

    def measured(self, rows: np.ndarray) -> np.ndarray:
        return self.records.has(rows)

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        kind = modalities.get(self.tower.modality)
        measured = self.measured(rows)
        if self.simulated is not None:
            measured &= (rng.random(len(rows)) > self.replaced) | ~self.simulated.has(rows)
        device, dtype = placement(self.tower)
        out = torch.empty(len(rows), self.tower.width, device=device, dtype=dtype)
        at = np.flatnonzero(measured)
        if len(at):
            items = [self.records.items[i] for i in self.records.draw(rows[at], rng)]
            batch = kind.collate([kind.augment(item, rng) for item in items])
            out[torch.from_numpy(at).to(device)] = self._encoded(batch)
        rest = np.flatnonzero(~measured)
        if len(rest) and self.simulated is not None:
            drawn = self.simulated.draw(rows[rest], rng)
            out[torch.from_numpy(rest).to(device)] = self._encoded(drawn)
        return out

    def fixed(self, rows: np.ndarray) -> Tensor:
        drawn = self.records.draw(rows, np.random.default_rng(0))
        kind = modalities.get(self.tower.modality)
        return self._encoded(kind.collate([self.records.items[i] for i in drawn]))

    def _encoded(self, batch: Any) -> Tensor:
        features: Tensor = self.tower.encoder(tensors(batch, self.tower))
        return features


class FeatureSource(RecordSource):
    """Frozen features of records that were made from the structures `rows` of a corpus."""

    def __init__(
        self, corpus: Corpus, rows: np.ndarray, frozen: FrozenFeatures, device: torch.device
    ) -> None:
        self.features, self.device = frozen.features, device
        self.place = np.full(len(corpus), -1)
        self.place[rows[frozen.readable]] = frozen.readable

    def has(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.place[rows] >= 0)

    measured = has

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        return self._features(rows, rng.integers(0, self.features.shape[1], len(rows)))

    def fixed(self, rows: np.ndarray) -> Tensor:
        return self._features(rows, 0)

    def _features(self, rows: np.ndarray, views: np.ndarray | int) -> Tensor:
        features = self.features[self.place[rows], views].astype(np.float32)
        return torch.from_numpy(features).to(self.device)


@dataclass
class FrozenFeatures:
    """Features (n, views, width) float16 of n records, of which those in `readable` may be used."""

    features: np.ndarray
    readable: np.ndarray


def structure_rows(seed: int, corpus: Corpus, table: FeatureTable) -> np.ndarray:
    """Rows whose records are made: a seeded choice, `priority_sources` and the dev split first."""
    order = np.random.default_rng([seed, 1]).permutation(len(corpus))
    first = np.isin(corpus.sources, table.priority_sources) | corpus.is_dev
    order = np.concatenate([order[first[order]], order[~first[order]]])
    return np.sort(order[: table.max_molecules or len(corpus)])


@torch.inference_mode()
def frozen_features(
    path: Path, encoder: Path, seed: int, corpus: Corpus, rows: np.ndarray, tower: Tower, views: int,
    noisy_views: int = 0,
) -> FrozenFeatures:  # fmt: skip
    """Features of records made from the structures `rows`, kept in `path` (.npy); an interrupted computation
    goes on.

    A variation is another of the corpus's SMILES; `noisy_views` further ones are the structure as a reader of
    pictures may get it wrong (`synth.ocsr_noise`). With another encoder file, seed, choice of rows or number
    of views they are computed anew. A record that the modality cannot read is left out of `readable`.
    """
    stamp: dict[str, Any] = {
        "encoder": sha256(encoder.read_bytes()).hexdigest(),
        "seed": seed,
        "rows": sha256(rows.tobytes()).hexdigest(),
        "records": len(rows),
        "views": views + noisy_views,
    }
    if noisy_views:
        stamp |= {
            "misread": noisy_views,
            "misread_by": sha256(Path(ocsr_noise.__file__).read_bytes()).hexdigest(),
        }
    note = path.with_suffix(".json")
    state = json.loads(note.read_text()) if note.exists() and path.exists() else {}
    done, unread = (state["done"], state["unread"]) if state.get("of") == stamp else (0, [])
    path.parent.mkdir(parents=True, exist_ok=True)
    mode: Any = "r+" if done else "w+"
    shape = (len(rows), views + noisy_views, tower.width)
    features = np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)
    for start in progress(range(done, len(rows), _CHUNK), desc=path.stem, unit="chunk"):
        chunk = rows[start : start + _CHUNK]
        for view in range(shape[1]):
            encoded, failed = _encoded(tower, corpus, chunk, view, noisy=view >= views)
            features[start : start + _CHUNK, view] = encoded
            unread += [start + i for i in failed]
        features.flush()
        note.write_text(json.dumps({"of": stamp, "done": start + len(chunk), "unread": unread}))
    readable = np.ones(len(rows), bool)
    readable[unread] = False
    return FrozenFeatures(np.load(path, mmap_mode="r"), np.flatnonzero(readable))


def _encoded(
    tower: Tower, corpus: Corpus, rows: np.ndarray, view: int, noisy: bool
) -> tuple[np.ndarray, list[int]]:
    """Features (n, width) float16 of one view of some records, zeros for those whose places come second."""
    modality = modalities.get(tower.modality)
    out = np.zeros((len(rows), tower.width), np.float16)
    items, places, failed = [], [], []
    for place, row in enumerate(rows.tolist()):
        if noisy:
            rng = np.random.default_rng([view, int(corpus.inchikey_hashes[row]) & _MAX_SEED])
            text = ocsr_noise.misread(corpus.smiles_of(row), rng)
        else:
            text = corpus.view(row, view)
        try:
            items.append(modality.read(text))
            places.append(place)
        except InvalidRecord:
            failed.append(place)
    for at in range(0, len(items), _BATCH):
        batch = tensors(modality.collate(items[at : at + _BATCH]), tower)
        out[places[at : at + _BATCH]] = tower.encoder(batch).cpu().numpy()
    return out, failed
