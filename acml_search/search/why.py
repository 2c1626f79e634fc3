"""Why a hit is one: what each observation says of it, its peaks and atoms, as the answer's `why`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.chem.molecule import parse
from acml_search.search.observation import MASS

if TYPE_CHECKING:
    import pyarrow as pa

    from acml_search.encoders.model import Model
    from acml_search.index.opened import IndexDirectory
    from acml_search.search.asked import Asked, Scored
    from acml_search.search.observation import Observation

Whys = list[dict[str, Any]]


def whys(
    model: Model,
    directory: IndexDirectory,
    asked: Asked,
    scored: Scored,
    at: npt.NDArray[np.int64],
    molecules: pa.Table,
) -> Whys:
    """One per hit: the places (n,) of the hits among the candidates, and their n `molecules`."""
    told = [one.neutral_mass for one in asked.observations if one.neutral_mass is not None]
    neutral = told[0] if told else asked.filters.mass
    out: Whys = []
    for i, mass in zip(at, molecules.column("exact_mass").to_pylist(), strict=True):
        why: dict[str, Any] = {
            "logits": {name: round(float(part[i]), 4) for name, part in scored.parts.items()},
            "cosines": {name: round(float(x[i]), 4) for name, x in scored.candidates.cosines.items()},
        }
        if neutral:
            why["mass_error_ppm"] = round((float(mass or 0.0) - neutral) / neutral * 1e6, 2)
        if asked.filters.formula is not None:
            why["formula_matches"] = True  # no other passes the filter
        out.append(why)
    if scored.compared:
        smiles = molecules.column("smiles").to_pylist()
        compared = np.flatnonzero(at < scored.n_compared).tolist()
        chosen = [out[i] for i in compared]
        _add_evidence(chosen, model, asked, scored.compared, [str(smiles[i]) for i in compared])
    if asked.occlude:
        _add_occlusions(out, model, directory, asked, scored.candidates.keys[at])
    return out


def compared_of(observations: Sequence[Observation], modality: str) -> Any:
    """What of the first observation of a modality is compared peak by peak."""
    from acml_search.search.rerank import reranker

    first = _first(observations, modality)
    return reranker(modality).observed(first.item, first.record)


def _add_evidence(
    out: Whys, model: Model, asked: Asked, modalities: Sequence[str], smiles: Sequence[str]
) -> None:
    """Which peaks each hit explains, and with which atoms."""
    from acml_search.search.rerank import evidence

    mols = [parse(one)[0] for one in smiles]
    for name in modalities:
        explained = evidence(model, name, compared_of(asked.observations, name), mols)
        for why, found in zip(out, explained, strict=True):
            why.setdefault("evidence", {})[name] = found.to_dict()


def _add_occlusions(
    out: Whys, model: Model, directory: IndexDirectory, asked: Asked, keys: npt.NDArray[np.int64]
) -> None:
    """Which peaks of mass spectra matter most to each hit."""
    from acml_search.search.occlusion import occlusions

    for name in sorted({one.modality for one in asked.observations} & set(MASS)):
        index = directory.vectors(name, "graph")
        ascending = np.sort(keys)
        stored = index.stored(index.positions_of(ascending))[np.searchsorted(ascending, keys)]
        found = occlusions(model, name, _first(asked.observations, name).item, stored)
        for why, peaks in zip(out, found, strict=True):
            why.setdefault("occlusion", {})[name] = [
                [round(one.mz, 4), round(one.change, 4)] for one in peaks
            ]


def _first(observations: Sequence[Observation], modality: str) -> Observation:
    return next(one for one in observations if one.modality == modality)
