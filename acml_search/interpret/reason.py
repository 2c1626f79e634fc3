"""`acml-search attribute`: which atoms of a molecule a score comes from, as a picture and as numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from acml_search.core.errors import ConfigError
from acml_search.core.io import write_atomic
from acml_search.interpret.attribution import METHODS, attribute
from acml_search.interpret.sample import one_molecule, read_sample
from acml_search.interpret.score import Score, evaluate, probe_score, similarity
from acml_search.interpret.views import TRUNK

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model

ENDINGS = (".png", ".svg", ".json")
FITTED_ON = 2_000
"""molecules that a probe is fitted on"""


@dataclass(frozen=True)
class AttributeOptions:
    """One of to (a SMILES), probe (a concept) and property_model (a file of `properties fit`) is given.

    space: of the similarity or of the probe; fit_on: index or library that a probe is fitted on.
    """

    smiles: str
    out: Path
    to: str | None = None
    probe: str | None = None
    property_model: Path | None = None
    target: str | None = None
    space: str = TRUNK
    method: str = "occlusion"
    fit_on: Path | None = None
    model: str | None = None
    seed: int = 0
    command: str = ""


def explain(options: AttributeOptions) -> dict[str, Any]:
    """Work the attributions out and write them; the JSON document.

    `molecules`: [{smiles, score, atoms: [{index, symbol, attribution}]}], two of them for a similarity.
    Raises InvalidMolecule, and ConfigError for options that do not fit together.
    """
    ending = options.out.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(
            f"{options.out}: attributions are written as {', '.join(ENDINGS)}; choose one of these"
        )
    if options.method not in METHODS:
        raise ConfigError(f"there is no method {options.method!r}; there are {', '.join(METHODS)}")
    given = [options.to, options.probe, options.property_model]
    if sum(one is not None for one in given) != 1:
        raise ConfigError("say what to explain: one of --to SMILES, --probe CONCEPT and --property MODEL")
    mol = one_molecule(options.smiles)
    other = None if options.to is None else one_molecule(options.to)
    model, pairs = _scores(options, mol, other)
    molecules, panels = [], []
    for one, score in pairs:
        graph = model.featurise(one)
        shares = attribute(model, score, [graph], options.method)[0]
        value = float(evaluate(model, score, [graph])[0])
        molecules.append(_molecule(one, shares, value))
        panels.append((one, shares))
    score = pairs[0][1]
    document = {
        "kind": "attribution",
        "score": score.name,
        "unit": score.unit,
        "method": options.method,
        "model": {"name": model.card.name, "digest": model.card.digest},
        "molecules": molecules,
        "command": options.command,
    }
    if ending == ".json":
        import json

        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        write_atomic(options.out, lambda path: path.write_text(text, encoding="utf-8"))
    else:
        from acml_search.interpret.attribution_picture import Panel, write_picture

        value = molecules[0]["score"]
        captions = ["the molecule", "the other"] if len(panels) == 2 else [""]
        partial = options.out.with_name(f".{options.out.stem}.{os.getpid()}{ending}")
        try:
            write_picture(
                [
                    Panel(one, shares, caption)
                    for (one, shares), caption in zip(panels, captions, strict=True)
                ],
                f"{score.title}: {value:.3g} {score.unit}".rstrip(),
                f"{_METHOD_WORDS[options.method]}; {model.card.name}",
                partial,
            )
            os.replace(partial, options.out)
        finally:
            partial.unlink(missing_ok=True)
    return document


_METHOD_WORDS = {
    "gradient": "gradient x input of each atom's first-layer embedding",
    "occlusion": "change of the score when the atom's features are left out",
}


def _scores(
    options: AttributeOptions, mol: Chem.Mol, other: Chem.Mol | None
) -> tuple[Model, list[tuple[Chem.Mol, Score]]]:
    """The model, and each molecule that is drawn with its score."""
    from acml_search.encoders.card import DEFAULT_MODEL
    from acml_search.encoders.model import load_model

    if other is not None:
        model = load_model(options.model or DEFAULT_MODEL)
        graphs = model.featurise(mol), model.featurise(other)
        return model, [
            (mol, similarity(model, graphs[1], options.space, options.to or "")),
            (other, similarity(model, graphs[0], options.space, options.smiles)),
        ]
    if options.probe is not None:
        sample = read_sample(options.fit_on, n=FITTED_ON, seed=options.seed, model=options.model)
        return sample.model, [(mol, probe_score(sample, options.probe, options.space, seed=options.seed))]
    from acml_search.interpret.property_score import property_score

    model, score = property_score(cast("Path", options.property_model), options.target, options.model)
    return model, [(mol, score)]


def _molecule(mol: Chem.Mol, shares: Any, value: float) -> dict[str, Any]:
    from rdkit import Chem

    return {
        "smiles": Chem.MolToSmiles(mol),
        "score": value,
        "atoms": [
            {"index": atom.GetIdx(), "symbol": atom.GetSymbol(), "attribution": float(share)}
            for atom, share in zip(mol.GetAtoms(), shares, strict=True)
        ],
    }
