"""The way of an observation: encode, find candidates in every space, re-score them by atoms, say why."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError
from acml_search.encoders.card import missing_space, read_card
from acml_search.search.answer import Answer, HitList
from acml_search.search.asked import Asked, Scored
from acml_search.search.candidates import Candidates, gather
from acml_search.search.hits import NO_HIT, Hits
from acml_search.search.observation import MASS
from acml_search.search.why import compared_of, whys

if TYPE_CHECKING:
    import pyarrow as pa
    from rdkit import Chem

    from acml_search.encoders.model import Model
    from acml_search.index.opened import IndexDirectory
    from acml_search.search.observation import Observation

COMPARED = 200  # candidates whose peaks are compared one by one


class Identifier:
    """Answers observations from one opened index. `load` gives the model that encodes them."""

    def __init__(self, directory: IndexDirectory, load: Callable[[], Model]) -> None:
        self._directory, self._load = directory, load

    def answer(self, asked: Asked) -> Answer:
        """The molecules that fit the observations best."""
        started = time.perf_counter()
        lap = _Laps(started)
        for observation in asked.observations:
            self._check(observation.modality)
        vectors = self._vectors(asked.observations)
        lap("encode")
        trust = self._load().card.trust(vectors, "plain")
        found = gather(self._directory, vectors, asked.k, trust, asked.passing, asked.wanted)
        lap("search")
        scored = self._scored(found, asked)
        lap("rerank")
        hits = self._hit_list(scored, asked)
        lap("rows")
        seconds = {"filter": asked.seconds, **lap.seconds}
        return Answer(
            self._question(asked),
            str(self._directory.path),
            [hits],
            {**seconds, "total": sum(seconds.values())},
            self._notes(asked, hits),
        )

    def _check(self, modality: str) -> None:
        if modality in self._directory.spaces:
            return
        card = read_card(self._directory.model)
        if modality not in card.spaces:
            raise ConfigError(
                f"{self._directory.path}: {missing_space(card, modality)}; an index is asked "
                "with the model it was built with: build one with that, by build-index --model"
            )
        raise ConfigError(
            f"{self._directory.path}: this index has no space {modality!r}; it has "
            f"{', '.join(self._directory.spaces)}; build it again with a model that has it"
        )

    def _vectors(self, observations: Sequence[Observation]) -> dict[str, npt.NDArray[np.float32]]:
        """(d,) float32 by modality. Several of one modality, such as MS/MS spectra at several energies, are
        averaged; peak by peak, the first of them is compared."""
        model = self._load()
        items: dict[str, list[Any]] = {}
        for one in observations:
            items.setdefault(one.modality, []).append(one.item)
        out = {}
        for name, given in items.items():
            mean = model.encode_items(name, given).mean(axis=0)
            out[name] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return out

    def _scored(self, found: Candidates, asked: Asked) -> Scored:
        """The candidates in the order of their logits, the first ones re-scored by their peaks."""
        spaces, card = self._directory.spaces, self._load().card
        plain, again = (card.trust(found.cosines, kind) for kind in ("plain", "rerank"))
        parts = {name: plain[name] * spaces[name].scale * values for name, values in found.cosines.items()}
        if not (weights := self._weights(found, asked) if asked.rerank else {}):
            return Scored(found, found.logits, parts, [])
        first = np.arange(min(COMPARED, len(found.keys)))
        if asked.wanted is not None:
            first = np.union1d(first, np.flatnonzero(np.isin(found.keys, asked.wanted)))
        mols = [parse(smiles)[0] for smiles in self._smiles(found.keys[first])]
        for name, weight in weights.items():
            scores = self._scores(name, asked, mols)
            parts[name] = parts[name].copy()
            compared = weight["cosine"] * found.cosines[name][first] + weight["evidence"] * scores
            parts[name][first] = again[name] * compared
        totals = np.sum(list(parts.values()), axis=0)
        rest = np.setdiff1d(np.arange(len(found.keys)), first)
        if len(rest):
            # Those that were not compared follow, as far apart as they were.
            totals[rest] = totals[first].min() + found.logits[rest] - found.logits[first].min()
        order = np.lexsort((found.keys, -totals))
        ordered = {name: part[order] for name, part in parts.items()}
        return Scored(found.take(order), totals[order], ordered, list(weights), len(first))

    def _scores(self, name: str, asked: Asked, mols: Sequence[Chem.Mol]) -> npt.NDArray[np.float64]:
        from acml_search.search.rerank import reranker

        model, one = self._load(), reranker(name)
        return one.scores(model, compared_of(asked.observations, name), one.prepare(model, mols))

    def _weights(self, found: Candidates, asked: Asked) -> dict[str, dict[str, float]]:
        """What cosine and evidence weigh, by space, as the model's card has them; spaces without are left
        out.

        Mass spectra are compared peak by peak only where a filter is set: the score was fitted among
        molecules of one mass.
        """
        from acml_search.search.rerank import RERANKED, reranker

        model = self._load()
        fitted = {name: model.card.data["spaces"][name].get("rerank") for name in found.cosines}
        return {
            name: weights
            for name, weights in fitted.items()
            if weights
            and name in RERANKED
            and reranker(name).available(model)
            and (name not in MASS or asked.passing is not None)
        }

    def _smiles(self, keys: npt.NDArray[np.int64]) -> list[str]:
        order = np.argsort(keys, kind="stable")
        rows = self._directory.catalog.rows(keys[order], ["smiles"]).column("smiles").to_pylist()
        out = [""] * len(keys)
        for at, smiles in zip(order, rows, strict=True):
            out[at] = str(smiles)
        return out

    def _hit_list(self, scored: Scored, asked: Asked) -> HitList:
        keys = scored.candidates.keys
        at = (
            np.arange(min(asked.k, len(keys)))
            if asked.wanted is None
            else np.flatnonzero(np.isin(keys, asked.wanted))
        )
        from acml_search.library.arrow import take

        order = np.argsort(keys[at], kind="stable")
        molecules: pa.Table = take(
            self._directory.catalog.rows(keys[at][order]), np.argsort(order, kind="stable")
        )
        places = scored.candidates.places()
        weights = np.exp(scored.totals - scored.totals.max(initial=-np.inf))
        single = len(scored.candidates.cosines) == 1
        cosine = single and not scored.compared
        name = next(iter(scored.candidates.cosines)) if single else "fused"
        scores = scored.candidates.cosines[name] if cosine else scored.totals
        shown_keys, shown = np.full(max(asked.k, len(at)), NO_HIT), np.zeros(max(asked.k, len(at)))
        shown_keys[: len(at)], shown[: len(at)] = keys[at], scores[at]
        return HitList(
            name,
            "graph",
            Hits(shown_keys[None], shown[None]),
            weights[at] / max(float(weights.sum()), 1e-300),
            float(self._directory.spaces[name].scale) if cosine else 1.0,
            molecules,
            why=whys(self._load(), self._directory, asked, scored, at, molecules),
            ranks=[places[i] for i in at],
        )

    def _question(self, asked: Asked) -> dict[str, Any]:
        return {
            "observations": [one.to_dict() for one in asked.observations],
            "k": asked.k,
            "rerank": asked.rerank,
            "filter": asked.filters.to_dict(),
            "passed": None if asked.passing is None else len(asked.passing),
        }

    def _notes(self, asked: Asked, hits: HitList) -> list[str]:
        notes = [self._directory.restriction] if self._directory.restriction else []
        notes += [note for one in asked.observations for note in one.notes]
        notes += [self._read_as(one.item) for one in asked.observations if one.modality == "image"]
        notes += asked.notes
        beyond = [str(hits.hits.keys[0, i]) for i, rank in enumerate(hits.ranks or ()) if rank is None]
        if beyond:
            notes.append(f"no candidates of a search, so without a rank: {', '.join(beyond)}")
        if asked.wanted is None and len(hits) < asked.k:
            why = "" if asked.passing is None else f"; molecules that pass the filter: {len(asked.passing):,}"
            notes.append(f"{len(hits):,} of the {asked.k:,} hits asked for{why}")
        return notes

    def _read_as(self, ink: Any) -> str:
        """What structure the picture was read as: a user sees at once whether that is what it shows."""
        from acml_search.ocsr.encoder import PictureReader

        reader = self._load().network.tower("image").encoder
        if not isinstance(reader, PictureReader):
            raise ConfigError("the model's image encoder reads no structures")
        return f"image: read as {reader.read(ink).smiles or 'nothing: no atom was found'}"


class _Laps:
    """Seconds between calls, by name."""

    def __init__(self, started: float) -> None:
        self._last, self.seconds = started, dict[str, float]()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now
