"""Records of a corpus's molecules: measured ones, and frozen features of those made from structures."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor, nn

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.core.io import sha256
from acml_search.core.progress import progress
from acml_search.encoders.checkpoint import Tower
from acml_search.modalities.base import Modality
from acml_search.networks import placement, tensors
from acml_search.training import ocsr_noise
from acml_search.training.config import FeatureTable, Plan, Source
from acml_search.training.corpus import Corpus, read_rows
from acml_search.training.loop import encoder_file

if TYPE_CHECKING:
    from acml_search.training.shifts import SimulatedPeaks

REPLACED = 0.2
"""share of molecules with a measured list that get a simulated one all the same"""
_CHUNK = 4_096
_MAX_SEED = 2**63 - 1


def encoded(
    modality: Modality,
    items: Sequence[Any],
    network: nn.Module,
    encode: Callable[[Any], Tensor],
    size: int = 256,
) -> Tensor:
    """What `encode` makes of items, collated `size` at a time where `network` is: (len(items), ...)."""
    parts = [items[at : at + size] for at in range(0, len(items), size)]
    return torch.cat([encode(tensors(modality.collate(part), network)) for part in parts])


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

    def drawn(self, rows: np.ndarray, rng: np.random.Generator) -> list[Any]:
        """What `draw` finds, as the modality read it."""
        return [self.items[i] for i in self.draw(rows, rng)]


def read_records(
    modality: str, sources: Sequence[Source], corpus: Corpus, root: Path, *, keep_rows: bool = False
) -> MeasuredRecords:
    """Records whose molecule is in the corpus; others are counted by reason. Raises `ConfigError` if none."""
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
                try:
                    row_of[smiles] = corpus.row_of.get(Chem.MolToSmiles(parse(smiles)[0]), -1)
                except InvalidMolecule:
                    row_of[smiles] = -1
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


@dataclass
class MeasuredSource:
    """Measured records, varied and encoded anew each time; simulated ones for other molecules."""

    tower: Tower
    records: MeasuredRecords
    simulated: SimulatedPeaks | None

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record of this corpus row to train with?"""
        measured = self.measured(rows)
        return measured if self.simulated is None else self.simulated.has(rows) | measured

    def measured(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record that is not simulated?"""
        return self.records.has(rows)

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Features (len(rows), width) of a random record of each row; every row must have one."""
        kind = modalities.get(self.tower.modality)
        measured = self.measured(rows)
        if self.simulated is not None:
            measured &= (rng.random(len(rows)) > REPLACED) | ~self.simulated.has(rows)
        device, dtype = placement(self.tower)
        out = torch.empty(len(rows), self.tower.width, device=device, dtype=dtype)
        at, rest = np.flatnonzero(measured), np.flatnonzero(~measured)
        if len(at):
            items = [kind.augment(item, rng) for item in self.records.drawn(rows[at], rng)]
            out[torch.from_numpy(at).to(device)] = self._features(kind.collate(items))
        if len(rest) and self.simulated is not None:
            out[torch.from_numpy(rest).to(device)] = self._features(self.simulated.draw(rows[rest], rng))
        return out

    def fixed(self, rows: np.ndarray) -> Tensor:
        """As `sample`, always the same and without variation, of rows that are `measured`."""
        items = self.records.drawn(rows, np.random.default_rng(0))
        return self._features(modalities.get(self.tower.modality).collate(items))

    def _features(self, batch: Any) -> Tensor:
        features: Tensor = self.tower.encoder(tensors(batch, self.tower))
        return features


@dataclass
class FrozenFeatures:
    """Features of records that were made from structures; asked as a `MeasuredSource` is."""

    rows: np.ndarray
    """(n,) int64, ascending: the corpus rows"""
    features: np.ndarray
    """(n, views, width) float16"""
    readable: np.ndarray
    """places of those that may be used"""
    device: torch.device

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: are there features of this corpus row?"""
        return np.isin(rows, self.rows[self.readable])

    measured = has

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Features (len(rows), width) of a random variation of each row's record."""
        return self._features(rows, rng.integers(0, self.features.shape[1], len(rows)))

    def fixed(self, rows: np.ndarray) -> Tensor:
        """Those of the first variation."""
        return self._features(rows, 0)

    def _features(self, rows: np.ndarray, views: np.ndarray | int) -> Tensor:
        features = self.features[np.searchsorted(self.rows, rows), views].astype(np.float32)
        return torch.from_numpy(features).to(self.device)


RecordSource = MeasuredSource | FrozenFeatures


@torch.inference_mode()
def frozen_features(
    plan: Plan, corpus: Corpus, name: str, space: FeatureTable, tower: Tower, noisy_views: int = 0
) -> FrozenFeatures:
    """Features of the records of space `name`, made from structures and kept in a file (.npy); an interrupted
    computation goes on.

    The molecules are a seeded choice, `priority_sources` and the dev split first. A variation is another of
    the corpus's SMILES; `noisy_views` further ones are the structure as a reader of pictures may get it wrong
    (`training.ocsr_noise`). With another encoder file, seed, choice or number of views they are computed
    anew.
    """
    order = np.random.default_rng([plan.seed, 1]).permutation(len(corpus))
    first = np.isin(corpus.sources, space.priority_sources) | corpus.is_dev
    order = np.concatenate([order[first[order]], order[~first[order]]])
    rows = np.sort(order[: space.max_molecules or len(corpus)])
    views = space.views + noisy_views
    stamp: dict[str, Any] = {
        "encoder": sha256(encoder_file(plan.below(space.pretrained))),
        "seed": plan.seed,
        "rows": hashlib.sha256(rows.tobytes()).hexdigest(),
        "records": len(rows),
        "views": views,
    }
    if noisy_views:
        stamp |= {"misread": noisy_views, "misread_by": sha256(Path(ocsr_noise.__file__))}
    path = plan.below(space.features) if space.features else plan.out_folder / f"features-{name}.npy"
    note = path.with_suffix(".json")
    state = json.loads(note.read_text()) if note.exists() and path.exists() else {}
    done, unread = (state["done"], state["unread"]) if state.get("of") == stamp else (0, [])
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(rows), views, tower.width)
    features = np.lib.format.open_memmap(path, "r+" if done else "w+", dtype=np.float16, shape=shape)
    for start in progress(range(done, len(rows), _CHUNK), desc=path.stem, unit="chunk"):
        chunk = rows[start : start + _CHUNK]
        for view in range(views):
            unread += [start + i for i in _encode_view(tower, corpus, chunk, view, space, features[start:])]
        features.flush()
        note.write_text(json.dumps({"of": stamp, "done": start + len(chunk), "unread": unread}))
    readable = np.setdiff1d(np.arange(len(rows)), unread)
    return FrozenFeatures(rows, np.load(path, mmap_mode="r"), readable, placement(tower)[0])


def _encode_view(
    tower: Tower, corpus: Corpus, rows: np.ndarray, view: int, space: FeatureTable, out: np.ndarray
) -> list[int]:
    """Write features of one view of the records of `rows`; the places of those that cannot be read."""
    modality = modalities.get(tower.modality)
    items, places, failed = [], [], []
    for place, row in enumerate(rows.tolist()):
        if view >= space.views:
            rng = np.random.default_rng([view, int(corpus.inchikey_hashes[row]) & _MAX_SEED])
            text = ocsr_noise.misread(corpus.smiles_of(row), rng)
        else:
            text = corpus.view(row, view)
        try:
            items.append(modality.read(text))
            places.append(place)
        except InvalidRecord:
            failed.append(place)
    if items:
        out[places, view] = encoded(modality, items, tower, tower.encoder, size=64).cpu().numpy()
    return failed
