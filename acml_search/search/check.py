"""`check`: does a structure fit its NMR spectra, and would another fit them better?

Spectra are compared peak by peak, as in re-ranking; no index is needed. What comes of it are numbers of
different meaning. The **probability** of a structure is about it alone: a logistic regression on `FEATURES`
of the comparison says how often one that fits like this is right, if every second structure that is asked
about is a wrong one of the same formula, as libraries have them. Isomers that differ in little fit nearly as
well. So where others are compared, `among_others` counts them as wrong structures beside those, all together
asked about as often as this one. The **share** is about those compared alone: if one of them is the compound,
how likely it is this one (softmax of the log-likelihoods, with a fitted temperature).

`check.json` holds what was fitted, by `python -m benchmarks.check`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acml_search import modalities
from acml_search.chem.isomers import MAX_ISOMERS, positional_isomers
from acml_search.chem.molecule import count_atoms, parse
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.typing import Floats
from acml_search.encoders import shifts
from acml_search.encoders.card import DEFAULT_MODEL, missing_space, read_card
from acml_search.encoders.shifts import ShiftModel
from acml_search.nmr.assign import ANY
from acml_search.nmr.hydrogens import stated_hydrogens
from acml_search.nmr.predicted import HETERO, Coupling
from acml_search.search.request import read_observations
from acml_search.search.results import Explanation, Reason, plain, with_foreign

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.checkpoint import Model
    from acml_search.modalities import Observation
    from acml_search.modalities.base import Evidence
    from acml_search.nmr.assign import Groups

FEATURES = (
    "deficit",  # log-likelihood that a right structure is expected to have, less the actual one: nats,
    "deficit per root of peaks",  # and as a multiple of how far chance moves it
    "mean error",  # of matched peaks, in units of the expected error, as a logarithm
    "largest error",
    "unexplained",  # share of the observed peaks,
    "missing",  # of the predicted peaks, each by its probability to be listed,
    "contradicted",  # and of the matched peaks whose hydrogens do not agree
    "peaks",  # logarithm of the number observed
)
FAR = 2.5  # times the expected error: one peak in twelve of a right structure is farther off
MAX_SURE = 0.999  # of a probability: the few hundred spectra behind the fit tell no more
LISTED = 0.5  # a peak that is listed with at least this probability is missed


class Misfit(NamedTuple):
    """A peak that speaks against a structure.

    what: "shift", "hydrogens", "unexplained" or "missing". times: error over the expected error. said: in
    words. Positions and errors in ppm; atoms as the SMILES numbers them.
    """

    modality: str
    what: str
    atoms: list[int]
    observed: float | None = None
    predicted: float | None = None
    error: float | None = None
    times: float | None = None
    said: str | None = None


@dataclass(frozen=True)
class Fit:
    """How a structure fits.

    source: "structure", "alternative" or "isomer". among_others: the probability where the others
    compared may be right as well, None without others. score: weighted sum of log-likelihoods, of which the
    shares are the softmax. expected: ppm, by modality and by the atoms of a predicted peak.
    """

    smiles: str
    source: str
    probability: float
    among_others: float | None
    by_modality: Mapping[str, float]
    score: float
    share: float
    evidence: Mapping[str, Evidence]
    expected: Mapping[str, Mapping[tuple[int, ...], float]]

    def reasons(self, observations: Sequence[Observation]) -> list[Reason]:
        """What each spectrum says, ready to be shown."""
        reasons = Explanation(evidence=self.evidence).reasons(observations)
        return [replace(reason, expected=self.expected[reason.modality]) for reason in reasons]

    def misfits(self) -> list[Misfit]:
        """Those of each spectrum, the worst first."""
        found = [_misfits(name, one, self.expected[name]) for name, one in self.evidence.items()]
        return [one for part in found for one in part]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        evidence = {name: one.to_dict() for name, one in self.evidence.items()}
        for name, one in evidence.items():
            for match in one["matched"]:
                if match["predicted"] is not None:
                    match["expected_error"] = round(self.expected[name][tuple(match["atoms"])], 3)
        return {
            "smiles": self.smiles,
            "source": self.source,
            "probability": round(self.probability, 4),
            "among_others": None if self.among_others is None else round(self.among_others, 4),
            "by_modality": {name: round(x, 4) for name, x in self.by_modality.items()},
            "share": float(f"{self.share:.4g}"),
            "evidence": evidence,
            "misfits": [one._asdict() for one in self.misfits()],
        }


@dataclass(frozen=True)
class Check:
    """The answer to `check`. structure: what was asked about; others: what it was compared with, the most
    likely first. notes: sentences a user should read."""

    structure: Fit
    others: list[Fit]
    observations: list[Observation]
    model: str
    notes: list[str] = field(default_factory=list)

    @property
    def better(self) -> list[Fit]:
        """Those that are more likely than the structure."""
        return [one for one in self.others if one.score > self.structure.score]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `acml-search check --json`."""
        structure = self.structure.to_dict()
        del structure["source"]
        document = {
            **structure,
            "alternatives": [one.to_dict() for one in self.others],
            "better": [one.smiles for one in self.better],
            "observations": [one.to_dict() for one in self.observations],
            "model": self.model,
            "notes": self.notes,
        }
        return dict(plain(document))

    def __str__(self) -> str:
        from acml_search.search.render.text import checked

        return checked(self)


def check(
    smiles: str,
    *,
    alternatives: Sequence[str] = (),
    isomers: bool | int = False,
    model: str | Path = DEFAULT_MODEL,
    **observations: Any,
) -> Check:
    """Does the structure fit its spectra, and how well do others?

    alternatives: SMILES of structures to compare it with; isomers: compare it with its positional isomers as
    well, at most so many. observations: `c_nmr`, `h_nmr`, `dept135`, `dept90`, as `Index.identify` takes
    them. Raises InvalidMolecule, InvalidRecord, CheckpointError, and ConfigError without an NMR spectrum.
    """
    read = read_observations(observations)
    names = [one.modality for one in read]
    for name in names:
        if name not in fitted()["spectra"]:
            raise ConfigError(f"check compares {' and '.join(fitted()['spectra'])}, not {name}; leave it out")
        if names.count(name) > 1:
            raise ConfigError(f"there are {names.count(name)} spectra of {name}; check takes one of each")
    mols, sources, notes = _structures(smiles, alternatives, isomers)
    reader = _reader(model, set(names))
    fits = _fits(reader, read, mols, sources)
    notes = [*(note for one in read for note in one.notes), *notes, *_hydrogen_notes(read, mols[0])]
    if reader.card.digest != fitted()["model_digest"]:
        notes.append(
            f"the probabilities were fitted for other weights than those of {reader.card.name}: take them "
            "for a ranking only, or fit them by python -m benchmarks.check"
        )
    others = sorted(fits[1:], key=lambda one: -one.score)
    return Check(fits[0], others, read, reader.card.name, notes)


def predict_peaks(smiles: str, *, model: str | Path = DEFAULT_MODEL) -> dict[str, Any]:
    """The peaks that a model predicts of a structure, as JSON: under each NMR modality, by position, their
    `position` and `expected_error` in ppm, the probability `present` that a spectrum lists them, the `atoms`
    as the canonical `smiles` numbers them, and how many nuclei they are `of`.

    Raises InvalidMolecule and CheckpointError.
    """
    from rdkit import Chem

    mol, _ = parse(smiles)
    canonical = Chem.MolToSmiles(mol)
    mol = Chem.MolFromSmiles(canonical)
    names = [name for name in read_card(model).spaces if name in fitted()["spectra"]]
    reader, document = _reader(model, names), {"smiles": canonical}
    for name in names:
        reranker: Any = modalities.get(name).reranker()
        (groups,) = reranker.prepare(reader, [mol])
        protons = Coupling.of(groups.coupling).protons.tolist()
        of = protons if modalities.get(name).nuclei == "H" else map(len, groups.atoms)
        width = reranker.expected_errors(None, groups)
        columns = groups.position, width, groups.present, groups.atoms, of
        document[name] = [
            {
                "position": round(float(position), 2),
                "expected_error": round(float(error), 2),
                "present": round(float(present), 2),
                "atoms": atoms,
                "of": n,
            }
            for position, error, present, atoms, n in zip(*columns, strict=True)
        ]
    return document


def _structures(
    smiles: str, alternatives: Sequence[str], isomers: bool | int
) -> tuple[list[Chem.Mol], list[str], list[str]]:
    """The structures to compare, each once; where each comes from, and notes."""
    from rdkit import Chem

    notes: list[str] = []
    found: dict[str, tuple[Chem.Mol, str]] = {}
    for text, source in [(smiles, "structure"), *((one, "alternative") for one in alternatives)]:
        mol, removed = parse(text)
        if removed:
            notes.append(f"{text}: {removed} was taken off, the rest is compared")
        key = Chem.MolToSmiles(mol)
        if key in found:
            notes.append(f"{text} is given twice")
        found.setdefault(key, (mol, source))
    if isomers:
        first = next(iter(found.values()))[0]
        made, n = positional_isomers(first, MAX_ISOMERS if isomers is True else int(isomers))
        for one in made:
            try:
                mol, _ = parse(one)
            except InvalidMolecule:
                n -= 1
                continue
            found.setdefault(Chem.MolToSmiles(mol), (mol, "isomer"))
        left_out = f", the first {len(made)} are compared" if n > len(made) else ""
        notes.append(f"{n} positional isomers of the structure{left_out}")
    mols, sources = zip(*found.values(), strict=True)
    return list(mols), list(sources), notes


def _reader(model: str | Path, names: Collection[str]) -> Model | ShiftModel:
    card = read_card(model)
    for name in sorted(names):
        if name not in card.spaces:
            raise ConfigError(missing_space(card, name))
    if shifts.answers(card, names):
        return ShiftModel(card, names)
    from acml_search.encoders.checkpoint import load_model

    return load_model(model, spaces=names)


class Compared(NamedTuple):
    """One spectrum, compared with n structures."""

    kind: str
    """key of what was fitted: the modality, and where the spectrum states hydrogens "c_nmr with DEPT" or
    "h_nmr signals" """
    features: Floats
    """(n, len(FEATURES))"""
    scores: Floats
    """(n,) log-likelihoods"""
    evidence: list[Evidence]
    expected: list[dict[tuple[int, ...], float]]


def compare(model: Model | ShiftModel, one: Observation, mols: Sequence[Chem.Mol]) -> Compared:
    """The spectrum against structures. Raises ConfigError where the model predicts no peaks."""
    reranker: Any = modalities.get(one.modality).reranker()
    if not reranker.available(model):
        raise ConfigError(f"the model {model.card.name} predicts no peaks of {one.modality}; name another")
    observed = reranker.observed(one.item, one.record)
    signals = reranker.weights(observed) == "signals"
    prepared = reranker.prepare(model, mols)
    evidence = reranker.explain(model, observed, prepared)
    rows, expected = [], []
    for groups, found in zip(prepared, evidence, strict=True):
        width = reranker.expected_errors(observed, groups)
        at = {tuple(atoms): float(x) for atoms, x in zip(groups.atoms, width, strict=True)}
        rows.append(_features(found, groups, at, width, len(one.item), reranker.costs.sure, signals))
        expected.append(at)
    dept = not signals and bool((observed.attached != ANY).any())
    states = " signals" if signals else " with DEPT" if dept else ""
    return Compared(
        one.modality + states, np.array(rows), np.array([x.score for x in evidence]), evidence, expected
    )


def _features(
    evidence: Evidence,
    groups: Groups,
    at: Mapping[tuple[int, ...], float],
    width: Floats,
    n: int,
    sure: float,
    signals: bool,
) -> list[float]:
    present = np.clip(groups.present, 1 - sure, sure)
    # the expectation of a Laplace density's logarithm is -1 - log(2 width)
    likely = present * (np.log(present) - np.log(2 * width) - 1) + (1 - present) * np.log1p(-present)
    if signals:  # protons on N, O and S are no part of the comparison
        counted = Coupling.of(groups.coupling).kind != HETERO
        present, likely = present[counted], likely[counted]
    deficit = float(likely.sum()) - evidence.score
    matched = [one for one in evidence.matched if one.predicted is not None]  # no OH, which may be anywhere
    times = np.array([abs(m.error or 0.0) / at[tuple(m.atoms)] for m in matched] or [10.0])
    missing = sum(one.present or 0.0 for one in evidence.unmatched_predicted)
    contradicted = sum(m.label is not None for m in matched)
    unexplained = len(evidence.unmatched_observed) + len(evidence.matched) - len(matched)
    return [
        deficit,
        deficit / n**0.5,
        float(np.log(0.2 + times.mean())),
        float(np.log1p(times.max())),
        unexplained / n,
        missing / max(float(present.sum()), 1e-9),
        contradicted / max(1, len(matched)),
        float(np.log(n)),
    ]


def _fits(
    model: Model | ShiftModel,
    observations: Sequence[Observation],
    mols: Sequence[Chem.Mol],
    sources: Sequence[str],
) -> list[Fit]:
    from rdkit import Chem

    found = {one.modality: compare(model, one, mols) for one in observations}
    given = {one.modality: one.peaks for one in observations}
    alone = {name: logits(one) for name, one in found.items()}
    total, score = together(found), shared_scores(found)
    share = np.exp(score - score.max())
    share /= share.sum()
    among = among_others(total, score).tolist() if len(mols) > 1 else [None]
    fits = []
    for i, (mol, source) in enumerate(zip(mols, sources, strict=True)):
        evidence = {name: with_foreign(one.evidence[i], name, given[name]) for name, one in found.items()}
        fits.append(
            Fit(
                Chem.MolToSmiles(mol),
                source,
                _probability(total[i]),
                among[i],
                {name: _probability(x[i]) for name, x in alone.items()},
                float(score[i]),
                float(share[i]),
                evidence,
                {name: one.expected[i] for name, one in found.items()},
            )
        )
    return fits


def logits(one: Compared) -> Floats:
    """(n,) of the probabilities by one spectrum."""
    numbers = fitted()["spectra"][one.kind]
    weights = np.array([numbers["weights"][name] for name in FEATURES])
    return np.asarray(one.features @ weights + numbers["intercept"])


def together(found: Mapping[str, Compared]) -> Floats:
    """(n,) logits by all spectra: of several, a weighted sum."""
    if len(found) == 1:
        return logits(next(iter(found.values())))
    numbers = fitted()["together"][found["h_nmr"].kind]
    parts = [numbers["weights"][name] * logits(one) for name, one in found.items()]
    return np.asarray(np.sum(parts, axis=0) + numbers["intercept"])


def shared_scores(found: Mapping[str, Compared]) -> Floats:
    """(n,) of which the shares are the softmax."""
    factor = fitted()["together"][found["h_nmr"].kind]["share"] if len(found) > 1 else 1.0
    parts = [fitted()["spectra"][one.kind]["share"] * one.scores for one in found.values()]
    return np.asarray(factor * np.sum(parts, axis=0))


def among_others(total: Floats, score: Floats) -> Floats:
    """(n,) probabilities of n >= 2 structures by the logits of each alone and by `shared_scores`: the odds
    against a structure are those alone and, added, the mean ratio of the others' likelihoods to its own.
    """
    top = score.max()
    likelihood = np.exp(score - top)
    others = (likelihood.sum() - likelihood) / (len(score) - 1)
    with np.errstate(over="ignore", divide="ignore"):  # one that is out of the question
        odds = np.exp(-total) + np.maximum(others, 0) / likelihood
    return np.minimum(1 / (1 + odds), MAX_SURE)


@cache
def fitted() -> dict[str, Any]:
    """What `benchmarks.check` fitted."""
    text = files("acml_search.search").joinpath("check.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _probability(logit: float) -> float:
    return min(float(1 / (1 + np.exp(-logit))), MAX_SURE)


def _hydrogen_notes(observations: Sequence[Observation], mol: Chem.Mol) -> list[str]:
    """Where a 1H spectrum counts hydrogens that the structure cannot show."""
    for one in observations:
        n = stated_hydrogens([peak.count for peak in one.peaks or ()]) if one.modality == "h_nmr" else None
        here = count_atoms(mol)
        if n is not None and not here.hydrogens - here.exchangeable <= n <= here.hydrogens:
            exchangeable = f", {here.exchangeable} of them on N, O or S" if here.exchangeable else ""
            return [
                f"h_nmr: the signals count {n} hydrogens, the structure has {here.hydrogens}{exchangeable}"
            ]
    return []


def _misfits(name: str, evidence: Evidence, expected: Mapping[tuple[int, ...], float]) -> list[Misfit]:
    """The misfits of one spectrum, the worst first."""
    ranked: list[tuple[float, Misfit]] = []
    for match in (one for one in evidence.matched if one.predicted is not None):
        times = abs(match.error or 0.0) / expected[tuple(match.atoms)]
        about = (match.atoms, match.observed, match.predicted, match.error, round(times, 1))
        if times >= FAR:
            ranked.append((times, Misfit(name, "shift", *about)))
        if match.label is not None:
            ranked.append((FAR, Misfit(name, "hydrogens", *about, said=match.label)))
    foreign = {one.position: f"{one.name}?" for one in evidence.foreign}
    for at in evidence.unmatched_observed:
        weight = 0.0 if at in foreign else 2 * FAR
        ranked.append((weight, Misfit(name, "unexplained", [], at, said=foreign.get(at))))
    for one in evidence.unmatched_predicted:
        if (present := one.present or 0.0) >= LISTED:
            said = f"{100 * present:.0f} % of spectra list it"
            missed = Misfit(name, "missing", one.atoms, predicted=one.position, said=said)
            ranked.append((FAR * present, missed))
    return [one for _, one in sorted(ranked, key=lambda pair: -pair[0])]
