"""What each kind of request is answered: the same over HTTP and to agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from acml_search.core.errors import ConfigError, InvalidRecord, UnknownModality
from acml_search.modalities import Observation
from acml_search.search import check as checks
from acml_search.search.pipeline import Index
from acml_search.search.render.html import picture_of
from acml_search.search.results import Answer, plain
from acml_search.serve.limits import Refused
from acml_search.serve.observations import Given, Upload, chosen, molecule_of, observable, sentence


def search(given: Given, name: str, index: Index, body: Any) -> Answer:
    """The JSON of `acml-search query --json`, or `format`: csv, sdf, html, mztab (of MS/MS)."""
    observed = given.readable(body.observed())
    if body.smiles is not None and observed:
        raise ConfigError("give a structure, or observations; which of the two is to be searched?")
    if body.smiles is not None:
        answer = index.search(body.smiles, k=body.k, modality=body.modality, **body.conditions())
    else:
        answer = index.identify(
            [given.named(one) for one in given.read(observed, body.adduct)],
            k=body.k,
            rerank=body.rerank,
            by_precursor=not body.any_mass,
            min_probability=body.min_probability,
            occlude=body.format in ("json", "html"),
            **body.conditions(),
        )
    return _said(given, name, answer)


def explain(given: Given, name: str, index: Index, body: Any) -> Answer:
    """Why the molecules `keys` fit: the JSON of `acml-search explain --json`, or `format`: html."""
    observations = [given.named(one) for one in given.observations(body.observed(), body.adduct)]
    return _said(given, name, index.explain(observations, body.keys, rerank=body.rerank))


def check(given: Given, name: str, index: Index, body: Any) -> dict[str, Any]:
    """Does a structure fit its NMR spectra: the JSON of `acml-search check --json`."""
    observed = given.readable(body.observed())
    given.read(observed)  # what is wrong with them is said here
    found = checks.check(
        body.smiles, alternatives=body.alternatives, isomers=body.isomers, model=index.model_name, **observed
    )
    return dict(given.said(found.to_dict()))


def parse(given: Given, name: str, index: Index, body: Any, uploads: Sequence[Upload] = ()) -> dict[str, Any]:
    """What is understood of observations, texts (`text`) and files (multipart, fields of any name).

    `query` is what a search takes: merge it into the body of /api/search. Each of `observations` has its
    part of that as `send`, and under `also` the modalities that it may be as well.
    """
    only = observed_as(body.modality)
    understood: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    molecule = body.smiles
    for one in given.observations(body.observed(), body.adduct) if body.observed() else ():
        understood.append(_understood(given, one))
    sources: list[tuple[str, Upload | None]] = [(upload.name, upload) for upload in uploads]
    sources += [] if body.text is None else [(body.text, None)]
    for text, upload in sources:
        read = text if upload is None else _as_text(upload.data)
        block = "M  END" in read  # it may hold spectra as well
        try:
            structure = molecule_of(read) if only is None and not block else None
            if structure is not None:
                molecule = structure
                continue
            place = given.text(text) if upload is None else given.file(upload)
            if body.number is not None:
                place = f"{place}#{body.number}"
            found = given.found(place, body.adduct, only)
        except (InvalidRecord, ConfigError) as why:
            if only is None and block and (structure := molecule_of(read)) is not None:
                molecule = structure
                continue
            refused.append({"given": text[:200], **given.said(sentence(why))})
            continue
        for at, also in chosen(found).items():
            entry = _understood(given, found[at], also)
            if found[at].modality in index.spaces:
                try:
                    for taken in index.readings([found[at]]):
                        entry["notes"].append(given.said(taken.said))
                        entry["reading"] = given.said(taken.to_dict())
                        if body.picture:
                            entry["reading"]["picture"], entry["reading"]["size"] = picture_of(taken)
                except InvalidRecord as why:
                    entry["error"] = given.said(str(why))
            understood.append(entry)
    if refused and not understood and molecule is None:
        raise Refused(422, refused[0]["error"])
    query: dict[str, Any] = {} if molecule is None else {"smiles": molecule}
    for entry in understood:
        query.setdefault(entry["modality"], []).append(entry["send"])
    return dict(plain({"observations": understood, "smiles": molecule, "query": query, "refused": refused}))


def predict_peaks(given: Given, name: str, index: Index, body: Any) -> dict[str, Any]:
    """The shifts that are predicted of a structure."""
    return checks.predict_peaks(body.smiles, model=index.model_name)


def observed_as(modality: str | None) -> str | None:
    """The modality that is named. Raises UnknownModality for one that nobody observes."""
    if modality is not None and modality not in observable():
        raise UnknownModality(modality, observable())
    return modality


def _said(given: Given, name: str, answer: Answer) -> Answer:
    return replace(answer, index=name, notes=given.said(answer.notes))


def _understood(given: Given, one: Observation, also: Sequence[str] = ()) -> dict[str, Any]:
    of = one.peaks.about.get("of") if one.peaks is not None else None
    named = given.named(one)
    return {
        **named.to_dict(),
        "notes": list(named.notes),
        "also": list(also),
        "number": one.peaks.number if one.peaks is not None else None,
        "of": of if isinstance(of, int) else None,
        "send": given.sendable(one),
    }


def _as_text(data: bytes) -> str:
    """A short file as text, "" for another."""
    try:
        return data.decode("utf-8") if len(data) < 100_000 else ""
    except UnicodeDecodeError:
        return ""
