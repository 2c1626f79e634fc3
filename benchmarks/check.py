"""Does `check` know a right structure from wrong ones of the same formula, and are its probabilities right?

    python -m benchmarks.check ../shared/data --out benchmarks/results/acml-base/check.json [--fit]

Each question is a molecule with its 13C spectrum, its 1H spectrum or both. The structure is asked about once.
So are, each kind for itself, up to five molecules of its formula in `library_chembl_500k.parquet` that are
most like it (Tanimoto of Morgan fingerprints, radius 2, 2,048 bits), five random ones, and five of its
positional isomers (`chem.isomers`), which are no part of the fit. Molecules whose formula the library does
not have are left out, and counted. The wrong structures of a question weigh together as much as the right
one: chance is an AUROC of 0.5, and the prior of the probabilities is 0.5. "Among others" is the probability
where the structures of the kind are compared with each other.

`--fit` first fits what `acml_search/search/check.json` holds: on the dev split of `train` (one spectrum a
molecule, with and without DEPT) and on printed lines of the inner half of `nmr_text.parquet`
(`benchmarks.multiplicities.inner`) whose structures are in no `train` row; nearest and random structures at
half the weight each. What is reported are `valid` and the other half of the printed lines.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from rdkit.DataStructs import BulkTanimotoSimilarity
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from acml_search import modalities
from acml_search.chem.isomers import positional_isomers
from acml_search.chem.molecule import parse
from acml_search.chem.splits import is_dev
from acml_search.cli.app import command_line
from acml_search.core.errors import InvalidMolecule, InvalidRecord
from acml_search.core.io import write_json
from acml_search.core.typing import Bools, Floats, Ints
from acml_search.encoders.card import read_card
from acml_search.encoders.shifts import ShiftModel
from acml_search.search import check as checking
from acml_search.search.check import (
    FEATURES,
    Compared,
    among_others,
    compare,
    fitted,
    logits,
    shared_scores,
    together,
)
from benchmarks.multiplicities import inner
from benchmarks.suite.fits import expected_error, reliability

NUMBERS = Path(checking.__file__).with_suffix(".json")
LIBRARY = "library_chembl_500k.parquet"
WRONG = 5  # structures of each kind, at most
FITTED = ("nearest", "random")
SPECTRA = {"c_nmr": ("nmr_c13.parquet", 1_000), "h_nmr": ("nmr_h1.parquet", 500)}
RESAMPLES = 500
STRENGTH = 1.0  # of the likelihood against the prior of the weights (C of scikit-learn)
_ATOM = re.compile(r"\[\d*([A-Z][a-z]?|[a-z][a-z]?)[^\]]*\]|(Cl|Br|[BCNOPSFI]|[bcnops])")


@dataclass
class Question:
    """A molecule, what was measured of it, and wrong structures of its formula by kind: "nearest" and
    "random" of the library, "positional" isomers."""

    inchikey14: str
    mol: Chem.Mol
    records: dict[str, Any]
    wrong: dict[str, list[Chem.Mol]] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)

    def rows(self, *kinds: str) -> Ints:
        """Places of the structures that are asked about, the right one first."""
        sizes = [len(mols) for mols in self.wrong.values()]
        ends = dict(zip(self.wrong, np.cumsum([1, *sizes]).tolist()[1:], strict=True))
        places = [np.arange(ends[kind] - len(self.wrong[kind]), ends[kind]) for kind in kinds]
        return np.concatenate([[0], *places])


def read(data: Path) -> dict[str, list[Question]]:
    """Questions by part: "dev", "valid", and "inner" and "outer" of the printed lines."""
    parts: dict[str, dict[str, Question]] = defaultdict(dict)
    trained = set()

    def add(part: str, row: Mapping[str, Any], modality: str, record: Any) -> None:
        one = parts[part].get(row["inchikey14"])
        if one is None:
            try:
                mol, removed = parse(row["smiles"])
                modalities.get(modality).read(record)
            except (InvalidMolecule, InvalidRecord):
                return
            if removed:
                return
            one = parts[part][row["inchikey14"]] = Question(row["inchikey14"], mol, {})
        one.records.setdefault(modality, record)

    for modality, (name, _) in SPECTRA.items():
        columns = ["smiles", "inchikey14", "shifts", "multiplicity", "split", "spectrum_rank"]
        for row in pq.read_table(data / name, columns=columns).to_pylist():
            if row["split"] == "train":
                trained.add(row["inchikey14"])
            part = "valid" if row["split"] == "valid" else "dev" if is_dev(row["inchikey14"]) else None
            if part and row["spectrum_rank"] == 0:
                record = {"shifts": row["shifts"]}
                add(part, row, modality, record)
                if modality == "c_nmr" and row["multiplicity"] and any(row["multiplicity"]):
                    dept = {**record, "multiplicity": row["multiplicity"]}
                    if (one := parts[part].get(row["inchikey14"])) is not None:
                        one.records.setdefault("dept", dept)
    for row in pq.read_table(data / "nmr_text.parquet").to_pylist():
        if not row["smiles"] or row["inchikey14"] in trained:
            continue
        for modality, column in (("c_nmr", "c_text"), ("h_nmr", "h_text")):
            kind: Any = modalities.get(modality)
            try:
                peaks = kind.read_line(row[column] or "")
            except InvalidRecord:
                continue
            if peaks.modality == modality:
                add("inner" if inner(row["inchikey14"]) else "outer", row, modality, peaks.record())
    return {part: list(found.values()) for part, found in parts.items()}


def add_wrong(questions: Sequence[Question], data: Path, seed: int) -> None:
    formulas = {CalcMolFormula(one.mol) for one in questions}
    heavy = {_heavy(Chem.MolToSmiles(one.mol)) for one in questions}
    pool = defaultdict(list)
    for smiles in pq.read_table(data / LIBRARY, columns=["smiles"]).column(0).to_pylist():
        if _heavy(smiles) in heavy and (mol := Chem.MolFromSmiles(smiles)) is not None:
            formula = CalcMolFormula(mol)
            if formula in formulas:
                pool[formula].append(smiles)
    fingerprint = rdFingerprintGenerator.GetMorganGenerator(2, fpSize=2048).GetFingerprint
    prints: dict[str, list[Any]] = {}
    rng = np.random.default_rng(seed)
    for one in questions:
        formula = CalcMolFormula(one.mol)
        if not (candidates := pool.get(formula)):
            continue
        if formula not in prints:
            prints[formula] = [fingerprint(Chem.MolFromSmiles(smiles)) for smiles in candidates]
        alike = np.array(BulkTanimotoSimilarity(fingerprint(one.mol), prints[formula]))
        nearest = _first(np.argsort(-alike, kind="stable"), candidates, one.inchikey14)
        if nearest:
            positional = positional_isomers(one.mol)[0]
            drawn = rng.permutation(len(positional))[:WRONG].tolist()
            one.wrong = {
                "nearest": nearest,
                "random": _first(rng.permutation(len(candidates)), candidates, one.inchikey14),
                "positional": [positional[i] for i in drawn],
            }


def _first(order: Ints, candidates: Sequence[str], own: str) -> list[Chem.Mol]:
    """The first molecules in an order, stereoisomers as one, without the question's own."""
    found: dict[str, Chem.Mol] = {}
    for place in order.tolist():
        try:
            mol, _ = parse(candidates[place])
        except InvalidMolecule:
            continue
        found.setdefault(Chem.MolToInchiKey(mol)[:14], mol)
        if len(found) - (own in found) == WRONG:
            break
    return [mol for key, mol in found.items() if key != own]


def _heavy(smiles: str) -> tuple[tuple[str, int], ...]:
    """Heavy atoms by element, without reading the structure."""
    counts = Counter((a or b).capitalize() for a, b in _ATOM.findall(smiles))
    return tuple(sorted((element, n) for element, n in counts.items() if element != "H"))


def choose(questions: Sequence[Question], seed: int) -> tuple[list[Question], dict[str, int]]:
    """Of `valid`, as many random spectra as are reported; how many have no wrong structure in the library."""
    order = np.random.default_rng(seed).permutation(len(questions)).tolist()
    room = {modality: n for modality, (_, n) in SPECTRA.items()}
    without = dict.fromkeys(room, 0)
    chosen = []
    for one in (questions[i] for i in order):
        there = [modality for modality in room if modality in one.records]
        if not one.wrong:
            for modality in there:
                without[modality] += 1
        elif any(room[modality] > 0 for modality in there):
            chosen.append(one)
            for modality in there:
                room[modality] -= 1
    return chosen, without


def answer(model: ShiftModel, questions: Iterable[Question]) -> None:
    """Compare each spectrum with the structures of its question."""
    for one in questions:
        mols = [one.mol, *(mol for mols in one.wrong.values() for mol in mols)]
        for name, record in one.records.items():
            kind = modalities.get("c_nmr" if name == "dept" else name)
            one.compared[name] = compare(model, kind.observe(record), mols)


# fitting


def fit(questions: Sequence[Question], model: ShiftModel) -> dict[str, Any]:
    """The numbers of `check.json`."""
    spectra: dict[str, Any] = {}
    of_kind = defaultdict(list)
    for one in questions:
        for name in one.compared:
            of_kind[one.compared[name].kind].append((one, name))
    for kind, pairs in of_kind.items():
        x = np.concatenate([one.compared[name].features[one.rows(*FITTED)] for one, name in pairs])
        right = np.concatenate([_right(one) for one, _ in pairs])
        weights = np.concatenate([_weights(one) for one, _ in pairs])
        mean, deviation = x.mean(axis=0), x.std(axis=0)
        deviation[deviation == 0] = 1.0  # nothing is ever contradicted where nothing but shifts is stated
        slopes, intercept = _slopes((x - mean) / deviation, right, weights)
        slopes /= deviation
        scores = [one.compared[name].scores[one.rows(*FITTED)] for one, name in pairs]
        spectra[kind] = {
            "n_spectra": len(pairs),
            "weights": dict(zip(FEATURES, slopes.round(5).tolist(), strict=True)),
            "intercept": round(float(intercept - slopes @ mean), 4),
            "share": round(_temperature(scores), 4),
        }
    numbers = {
        "model": model.card.name,
        "model_digest": model.card.digest,
        "command": command_line(),
        "spectra": {kind: spectra[kind] for kind in sorted(spectra)},
    }
    use(numbers)
    numbers["together"] = {}
    for kind in ("h_nmr", "h_nmr signals"):
        both = [
            one
            for one in questions
            if set(SPECTRA) <= set(one.compared) and one.compared["h_nmr"].kind == kind
        ]
        columns = [
            np.concatenate([logits(one.compared[name])[one.rows(*FITTED)] for one in both])
            for name in SPECTRA
        ]
        found = LogisticRegression(C=1.0).fit(
            np.stack(columns, axis=1),
            np.concatenate([_right(one) for one in both]),
            sample_weight=np.concatenate([_weights(one) for one in both]),
        )
        sums = [
            np.sum([spectra[x.kind]["share"] * x.scores for x in pair], axis=0)[one.rows(*FITTED)]
            for one in both
            for pair in [[one.compared[name] for name in SPECTRA]]
        ]
        numbers["together"][kind] = {
            "n_molecules": len(both),
            "weights": dict(zip(SPECTRA, found.coef_[0].round(4).tolist(), strict=True)),
            "intercept": round(float(found.intercept_[0]), 4),
            "share": round(_temperature(sums), 4),
        }
    use(numbers)
    return numbers


def _slopes(x: Floats, right: Bools, weights: Floats) -> tuple[Floats, float]:
    """Logistic regression in which no misfit speaks for a structure: features that would are left out."""
    kept = np.ones(len(FEATURES), bool)
    while True:
        found = LogisticRegression(C=STRENGTH).fit(x[:, kept], right, sample_weight=weights)
        slopes = np.zeros(len(FEATURES))
        slopes[kept] = found.coef_[0]
        wrong = (slopes > 0) & (np.array(FEATURES) != "peaks")
        if not wrong.any():
            return slopes, float(found.intercept_[0])
        kept &= ~wrong


def use(numbers: dict[str, Any]) -> None:
    """Answer by these numbers from now on."""
    fitted().clear()
    fitted().update(numbers)


def _right(one: Question) -> Bools:
    return one.rows(*FITTED) == 0


def _weights(one: Question) -> Floats:
    sizes = [len(one.wrong[kind]) for kind in FITTED]
    return np.concatenate([[1.0], *(np.full(n, 1 / (n * len(sizes))) for n in sizes)])


def _temperature(scores: Sequence[Floats]) -> float:
    """The factor on log-likelihoods, at most 1, under which right structures are likeliest among those asked
    about with them."""

    def loss(x: float) -> float:
        factor = np.exp(x)
        return float(np.mean([logsumexp(factor * one) - factor * one[0] for one in scores]))

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 0.0), method="bounded").x))


# reporting


def report(questions: Sequence[Question], names: Sequence[str]) -> dict[str, Any]:
    """Figures of the questions that have all of these spectra."""
    document: dict[str, Any] = {}
    for kind in ("nearest", "random", "positional"):
        asked = [one for one in questions if one.wrong.get(kind) and set(names) <= set(one.compared)]
        found = [{name: one.compared[name] for name in names} for one in asked]
        rows = [one.rows(kind) for one in asked]
        p = [1 / (1 + np.exp(-together(one)[at])) for one, at in zip(found, rows, strict=True)]
        shares = [shared_scores(one) for one in found]
        among = [
            among_others(together(one)[at], share[at])
            for one, share, at in zip(found, shares, rows, strict=True)
        ]
        document[kind] = {
            "n_molecules": len(asked),
            "n_wrong": int(sum(len(at) - 1 for at in rows)),
            **_with_intervals(p),
            "among_others": _with_intervals(among),
        }
        first, chance, confidence = [], [], []
        for score, at in zip(shares, rows, strict=True):
            share = np.exp(score[at] - logsumexp(score[at]))
            first.append(float(score[at][0] > score[at][1:].max(initial=-np.inf)))
            confidence.append(float(share.max()))
            chance.append(1 / len(at))
        bins = reliability(confidence, first, np.ones(len(first)))
        document[kind] |= {
            "first": float(np.mean(first)),
            "first_chance": float(np.mean(chance)),
            "share_ece": expected_error(bins),
        }
    return document


FIGURES: dict[str, Callable[[Floats, Bools, Floats], float]] = {
    "auroc": lambda p, right, weights: float(roc_auc_score(right, p, sample_weight=weights)),
    "ece": lambda p, right, weights: expected_error(reliability(p, right, weights)),
}


def _with_intervals(p: Sequence[Floats]) -> dict[str, Any]:
    """`FIGURES` over questions whose first structure is right, with bootstrap intervals over questions."""
    flat = np.concatenate(p)
    sizes = np.array([len(one) for one in p])
    of = np.repeat(np.arange(len(p)), sizes)
    right = np.r_[True, np.diff(of) > 0]
    weights = np.where(right, 1.0, 1 / (sizes[of] - 1))
    rng = np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(0, len(p), len(p)), minlength=len(p))[of] for _ in range(RESAMPLES)]
    document: dict[str, Any] = {}
    for name, figure in FIGURES.items():
        values = [figure(flat[n > 0], right[n > 0], (weights * n)[n > 0]) for n in drawn]
        document[name] = figure(flat, right, weights)
        document[f"{name}_ci95"] = np.quantile(values, [0.025, 0.975]).tolist()
    return document


def main(
    data: Path,
    out: Annotated[Path, typer.Option(help="Write the result here.")],
    fit_: Annotated[bool, typer.Option("--fit", help="Fit check.json first.")] = False,
    model: Annotated[str, typer.Option()] = "acml-base",
    seed: Annotated[int, typer.Option()] = 0,
    limit: Annotated[int | None, typer.Option(help="Molecules of each part, for a trial.")] = None,
) -> None:
    """Measure `acml-search check`, and fit its numbers."""
    reader = ShiftModel(read_card(model), list(SPECTRA))
    with rdBase.BlockLogs():
        parts = read(data)
        parts = {part: found[:limit] for part, found in parts.items()}
        add_wrong([one for part in parts.values() for one in part], data, seed)
        parts["valid"], without = choose(parts["valid"], seed)
        chosen = {part: [one for one in found if one.wrong] for part, found in parts.items()}
        for part in ("valid", "outer", *(["dev", "inner"] if fit_ else [])):
            answer(reader, chosen[part])
    if fit_:
        write_json(fit([*chosen["dev"], *chosen["inner"]], reader), NUMBERS)
    document: dict[str, Any] = {
        "kind": "check",
        "command": command_line(),
        "model": reader.card.name,
        "model_digest": reader.card.digest,
        "seed": seed,
        "pool": f"up to {WRONG} nearest (Tanimoto) and {WRONG} random molecules of {LIBRARY} of the same "
        f"formula, and {WRONG} random positional isomers made by RDKit",
        "chance": {"auroc": 0.5},
        "prior": 0.5,
        "valid_spectra_without_wrong_structures": without,
    }
    valid, printed = chosen["valid"], chosen["outer"]
    document["valid"] = {
        "13C": report(valid, ["c_nmr"]),
        "13C with DEPT": report(valid, ["dept"]),
        "1H": report(valid, ["h_nmr"]),
        "13C and 1H": report(valid, ["c_nmr", "h_nmr"]),
    }
    document["printed lines"] = {
        "13C": report(printed, ["c_nmr"]),
        "1H": report(printed, ["h_nmr"]),
        "13C and 1H": report(printed, ["c_nmr", "h_nmr"]),
    }
    write_json(document, out)
    for part in ("valid", "printed lines"):
        for name, kinds in document[part].items():
            for kind, one in kinds.items():
                figures = ", ".join(f"{key} {one[key]:.3f}" for key in ("auroc", "ece", "first"))
                typer.echo(f"{part}, {name}, {kind}: {one['n_molecules']} molecules; {figures}")


if __name__ == "__main__":
    typer.run(main)
