"""The bodies of requests, made of the modalities, and how /openapi.json describes them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from acml_search import modalities
from acml_search.search.request import Conditions
from acml_search.serve.observations import observable

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


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    index: str | None = Field(None, description="Name of the index; the first one by default.")

    def observed(self) -> dict[str, Any]:
        """What was given of the modalities and their details."""
        return {name: value for name in _observed() if (value := getattr(self, name, None)) is not None}


class _Conditioned(_Body):
    where: str | None = Field(None, description="Condition on the library's columns, in SQL.")
    formula: str | None = None
    mass: float | None = Field(None, description="Neutral exact mass in Da.", allow_inf_nan=False)
    tol_ppm: float | None = Field(None, description="10 when no tolerance is given.", allow_inf_nan=False)
    tol_da: float | None = Field(None, allow_inf_nan=False)
    elements_allowed: str | None = Field(None, examples=["C,H,N,O"])
    elements_required: str | None = Field(None, examples=["Br,N"])
    hydrogens: int | str | None = Field(None, examples=["18-24"])
    carbons: int | str | None = None

    def conditions(self) -> Conditions:
        """As `Index.search` takes them."""
        given = {name: getattr(self, name, None) for name in Conditions.__annotations__}
        return Conditions(**{name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]


class _Search(_Conditioned):
    smiles: str | None = Field(
        None, description="A structure: SMILES, InChI or mol block.", max_length=100_000
    )
    modality: str | None = Field(None, description="Of a structure: the one space to search.")
    k: int = Field(10, ge=1)
    rerank: bool = True
    any_mass: bool = Field(False, description="Not only candidates of the mass by the precursor.")
    min_probability: float = Field(0.0, ge=0, le=1)
    adduct: str | None = Field(None, description="Of MS/MS spectra that do not state theirs.")
    format: Literal["json", "csv", "sdf", "html", "mztab"] = "json"


class _Explain(_Body):
    keys: list[int] = Field(max_length=100, description="Molecules, by their keys in answers.")
    rerank: bool = True
    adduct: str | None = None
    format: Literal["json", "html"] = "json"


class _Check(_Body):
    smiles: str = Field(max_length=100_000)
    alternatives: list[str] = Field([], max_length=50)
    isomers: bool = False


class _Parse(_Body):
    model_config = ConfigDict(strict=False)  # fields of a form are text

    text: str | None = Field(None, description="Any text; what it is, is found out.")
    modality: str | None = Field(None, description="What text and files are; found out by default.")
    number: int | None = Field(None, ge=1, description="Of the spectrum or structure in the file.")
    smiles: str | None = Field(None, max_length=100_000)
    adduct: str | None = None
    picture: bool = Field(False, description="Small pictures of what was read, with the readings.")


class PREDICT(_Body):
    """The structure whose peaks an agent asks for."""

    smiles: str = Field(max_length=100_000)


class RUN(_Conditioned):
    """The field `ask` of a run, as JSON."""

    modality: str | None = Field(None, description="What the file holds; none for structures.")
    k: int = Field(10, ge=1)
    rerank: bool = True
    any_mass: bool = False
    min_probability: float = Field(0.0, ge=0, le=1)
    adduct: str | None = None


def _observed() -> dict[str, str]:
    """Fields that take observations, with their descriptions."""
    fields: dict[str, str] = {}
    for name in observable():
        kind = modalities.get(name)
        options = {name: kind.option, **kind.details}
        fields |= {one: option.help for one, option in options.items() if option is not None}
    return fields


def _with_observations(base: type[BaseModel], name: str) -> type[BaseModel]:
    fields: dict[str, Any] = {
        one: (str | list[Any] | dict[str, Any] | None, Field(None, description=f"{said} {SEND}"))
        for one, said in _observed().items()
    }
    return create_model(name, __base__=base, **fields)


SEARCH = _with_observations(_Search, "Search")
EXPLAIN = _with_observations(_Explain, "Explain")
CHECK = _with_observations(_Check, "Check")
PARSE = _with_observations(_Parse, "Parse")


def examples() -> dict[str, Any]:
    """One of each modality, as a request has it."""
    rng = np.random.default_rng(0)
    made = {}
    for name in observable():
        record = modalities.get(name).example(rng)
        if isinstance(record, bytes):
            record = {"file": base64.b64encode(record).decode("ascii"), "name": "example"}
        made[name] = {name: record}
    return made


def described_run() -> dict[str, Any]:
    """The form of a run, for OpenAPI."""
    ask = RUN.model_json_schema()
    parts = {"file": {"type": "string", "format": "binary"}, "ask": ask}
    form = {"type": "object", "properties": parts, "required": ["file"]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def described(kind: type[BaseModel], made: Mapping[str, Any]) -> dict[str, Any]:
    """The request body of a route, for OpenAPI."""
    needed: dict[str, Any] = {"smiles": "CC(=O)Nc1ccc(O)cc1"} if kind is CHECK else {}
    needed |= {"keys": [0]} if kind is EXPLAIN else {}
    checks = {name for name in made if modalities.get(name).nuclei and not modalities.get(name).made_of}
    shown = {
        name: {"summary": modalities.get(name).title, "value": {**example, **needed}}
        for name, example in made.items()
        if kind is not CHECK or name in checks
    }
    if kind is SEARCH:
        shown["smiles"] = {"summary": "structure", "value": {"smiles": "CC(=O)Nc1ccc(O)cc1", "k": 5}}
    content: dict[str, Any] = {"application/json": {"schema": kind.model_json_schema(), "examples": shown}}
    if kind is PARSE:
        file = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        content["multipart/form-data"] = {"schema": file}
    return {"requestBody": {"required": True, "content": content}}
