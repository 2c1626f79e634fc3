"""What a request may be, made of the modalities, and how each kind is answered: over HTTP and to agents."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from acml_search import modalities
from acml_search.core.errors import ConfigError, InvalidRecord, UnknownModality
from acml_search.modalities import Observation
from acml_search.search import check as checks
from acml_search.search.pipeline import Index
from acml_search.search.render.html import picture_of
from acml_search.search.request import Ask, Conditions
from acml_search.search.results import Answer, plain
from acml_search.serve.gate import Refused
from acml_search.serve.observations import Given, Upload, chosen, molecule_of, observable, sentence

SEND = 'Also a list of several, a record, or a file: {"file": BASE64, "name": "x.mgf", "number": 1}.'
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "the form cannot be read"},
    401: {"description": "without the token"},
    404: {"description": "there is no such index, molecule or run"},
    408: {"description": "it takes too long"},
    409: {"description": "the run has no result yet"},
    413: {"description": "it is too large"},
    422: {"description": "it cannot be answered; `error` says why"},
    503: {"description": "the queue is full; Retry-After says when to ask again"},
}
MAX_STRUCTURE = 100_000  # characters


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    index: str | None = Field(None, description="Name of the index; the first one by default.")

    def observed(self) -> dict[str, Any]:
        """What was given of the modalities and their details."""
        return {name: value for name in _observed() if (value := getattr(self, name, None)) is not None}


class RunBody(_Body):
    """The field `ask` of a run, as JSON."""

    where: str | None = Field(None, description="Condition on the library's columns, in SQL.")
    formula: str | None = None
    mass: float | None = Field(None, description="Neutral exact mass in Da.", allow_inf_nan=False)
    tol_ppm: float | None = Field(None, description="10 when no tolerance is given.", allow_inf_nan=False)
    tol_da: float | None = Field(None, allow_inf_nan=False)
    elements_allowed: str | None = Field(None, examples=["C,H,N,O"])
    elements_required: str | None = Field(None, examples=["Br,N"])
    hydrogens: int | str | None = Field(None, examples=["18-24"])
    carbons: int | str | None = None
    modality: str | None = Field(
        None, description="Of a structure: the one space to search. Of a run: what its file holds."
    )
    k: int = Field(10, ge=1)
    rerank: bool = True
    any_mass: bool = Field(False, description="Not only candidates of the mass by the precursor.")
    min_probability: float = Field(0.0, ge=0, le=1)
    adduct: str | None = Field(None, description="Of MS/MS spectra that do not state theirs.")

    def conditions(self) -> Conditions:
        """As `Index.search` takes them."""
        given = {name: getattr(self, name, None) for name in Conditions.__annotations__}
        return Conditions(**{name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]

    def ask(self) -> Ask:
        """How observations are to be answered."""
        how = self.adduct, self.rerank, None, not self.any_mass, self.min_probability
        return Ask(self.modality, self.k, *how, self.conditions())


class _Search(RunBody):
    smiles: str | None = Field(
        None, description="A structure: SMILES, InChI or mol block.", max_length=MAX_STRUCTURE
    )
    format: Literal["json", "csv", "sdf", "html", "mztab"] = "json"


class _Explain(_Body):
    keys: list[int] = Field(max_length=100, description="Molecules, by their keys in answers.")
    rerank: bool = True
    adduct: str | None = None
    format: Literal["json", "html"] = "json"


class PredictBody(_Body):
    """The structure whose peaks an agent asks for."""

    smiles: str = Field(max_length=MAX_STRUCTURE)


class _Check(PredictBody):
    alternatives: list[str] = Field([], max_length=50)
    isomers: bool = False


class _Parse(_Body):
    model_config = ConfigDict(strict=False)  # fields of a form are text

    text: str | None = Field(None, description="Any text; what it is, is found out.")
    modality: str | None = Field(None, description="What text and files are; found out by default.")
    number: int | None = Field(None, ge=1, description="Of the spectrum or structure in the file.")
    smiles: str | None = Field(None, max_length=MAX_STRUCTURE)
    adduct: str | None = None
    picture: bool = Field(False, description="Small pictures of what was read, with the readings.")


def _observed() -> dict[str, str]:
    """Fields that take observations, with their descriptions."""
    options = [
        (name, option)
        for kind in map(modalities.get, observable())
        for name, option in {kind.name: kind.option, **kind.details}.items()
    ]
    return {name: option.help for name, option in options if option is not None}


def _with_observations(base: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        one: (str | list[Any] | dict[str, Any] | None, Field(None, description=f"{said} {SEND}"))
        for one, said in _observed().items()
    }
    return create_model(base.__name__.strip("_"), __base__=base, **fields)


SearchBody, ExplainBody = _with_observations(_Search), _with_observations(_Explain)
CheckBody, ParseBody = _with_observations(_Check), _with_observations(_Parse)


def search(given: Given, name: str, index: Index, body: Any) -> Answer:
    """The JSON of `acml-search query --json`, or `format`: csv, sdf, html, mztab (of MS/MS)."""
    observed = given.readable(body.observed())
    if body.smiles is not None and observed:
        raise ConfigError("give a structure, or observations; which of the two is to be searched?")
    if body.smiles is not None:
        answer = index.search(body.smiles, k=body.k, modality=body.modality, **body.conditions())
    else:
        read = [given.named(one) for one in given.read(observed, body.adduct)]
        answer = index.identify(read, occlude=body.format in ("json", "html"), **body.ask().how())
    return replace(answer, index=name, notes=given.said(answer.notes))


def explain(given: Given, name: str, index: Index, body: Any) -> Answer:
    """Why the molecules `keys` fit: the JSON of `acml-search explain --json`, or `format`: html."""
    read = given.read(given.readable(body.observed()), body.adduct)
    answer = index.explain([given.named(one) for one in read], body.keys, rerank=body.rerank)
    return replace(answer, index=name, notes=given.said(answer.notes))


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
    if observed := body.observed():
        understood += [_understood(given, one) for one in given.read(given.readable(observed), body.adduct)]
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


class Kind(NamedTuple):
    """A kind of request: its body, and what answers it."""

    body: type[BaseModel]
    answer: Callable[..., Answer | dict[str, Any]]


KINDS = {
    "search": Kind(SearchBody, search),
    "check": Kind(CheckBody, check),
    "explain": Kind(ExplainBody, explain),
    "parse": Kind(ParseBody, parse),
}


def observed_as(modality: str | None) -> str | None:
    """The modality that is named. Raises UnknownModality for one that nobody observes."""
    if modality is not None and modality not in observable():
        raise UnknownModality(modality, observable())
    return modality


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


def described_run() -> dict[str, Any]:
    """The form of a run, for OpenAPI."""
    parts = {"file": {"type": "string", "format": "binary"}, "ask": RunBody.model_json_schema()}
    form = {"type": "object", "properties": parts, "required": ["file"]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def described(name: str) -> dict[str, Any]:
    """The request body of a kind, with an example of each modality, for OpenAPI."""
    structure: dict[str, Any] = {"smiles": "CC(=O)Nc1ccc(O)cc1"}
    needed = {"check": structure, "explain": {"keys": [0]}}.get(name, {})
    shown, rng = {}, np.random.default_rng(0)
    for kind in map(modalities.get, observable()):
        record = kind.example(rng)
        if isinstance(record, bytes):
            record = {"file": base64.b64encode(record).decode("ascii"), "name": "example"}
        if name != "check" or (kind.nuclei and not kind.made_of):
            shown[kind.name] = {"summary": kind.title, "value": {kind.name: record, **needed}}
    if name == "search":
        shown["smiles"] = {"summary": "structure", "value": {**structure, "k": 5}}
    schema = KINDS[name].body.model_json_schema()
    content: dict[str, Any] = {"application/json": {"schema": schema, "examples": shown}}
    if name == "parse":
        file = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        content["multipart/form-data"] = {"schema": file}
    return {"requestBody": {"required": True, "content": content}}
