"""Does an answer know when the compound is not in the library, and are its probabilities right?

    python -m benchmarks.in_library INDEX ../shared/data --out in-library.json [--fit]

INDEX holds a library and the molecules of the dev split and of `valid` beside it. Every spectrum is asked
twice, with the mass of its molecule (10 ppm; MS/MS: of its precursor and adduct) and without, and each answer
is judged twice: as it is, and with the molecule (all of its InChIKey's first block) struck from the
candidates, unless none is left then. Chance is an AUROC of 0.5. One spectrum a molecule.
Reported are `p_in_library` (AUROC, expected calibration error in 15 bins), the probability of the first hit
(ECE), and how many first hits are wrong where a q-value of 10 % is asked for; intervals by resampling
molecules.

`--fit` first fits the `in_library` of the model's card, by set of spaces: on the dev split of `train`, and
for 1H signals on printed lines of the inner half of `nmr_text.parquet` (`benchmarks.multiplicities.inner`).
What is reported are `valid`, the other half of the printed lines, and MS/MS from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import typer
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from acml_search import modalities
from acml_search.chem.molecule import describe, parse
from acml_search.chem.splits import is_dev
from acml_search.cli.app import command_line
from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord, NoCandidates
from acml_search.core.io import write_json
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Floats
from acml_search.encoders.card import read_card
from acml_search.evaluation.calibration import expected_error, reliability
from acml_search.modalities import Observation
from acml_search.search.in_library import feature_names, features, read
from acml_search.search.query import Index, open_index
from acml_search.search.request import Conditions, Filters, SearchRequest, with_precursor
from acml_search.search.results import q_values
from benchmarks.multiplicities import inner

PARTS = ("fit", "valid", "elsewhere")
FDR = 0.1
RESAMPLED = 500


class Question(NamedTuple):
    spaces: str
    """joined by +"""
    part: str
    inchikey14: str
    mass: float
    observations: list[Observation]


@dataclass
class Answered:
    """One spectrum asked in one way: its features, and the logits of the candidates, the best first, with the
    molecule among them and without it."""

    question: Question
    by_mass: bool
    features: list[Floats]
    logits: list[Floats]
    right: list[Bools]


def main(
    index: Annotated[Path, typer.Argument(help="Index directory.")],
    data: Annotated[Path, typer.Argument(help="Folder of the data.")],
    out: Annotated[Path, typer.Option(help="JSON file of the result.")],
    fit: Annotated[bool, typer.Option(help="Fit the card of the index's model first.")] = False,
    spaces: Annotated[str | None, typer.Option(help="One set alone, such as c_nmr+h_nmr.")] = None,
    limit: Annotated[int, typer.Option(min=10, help="Spectra of each kind and part.")] = 300,
    seed: Annotated[int, typer.Option(help="Draws the spectra.")] = 0,
) -> None:
    """Fit and measure `p_in_library` and the probabilities of hits."""
    with open_index(index) as opened:
        asked = list(questions(data, limit, np.random.default_rng(seed)))
        asked = [one for one in asked if spaces in (None, one.spaces)]
        answered: list[Answered] = []
        missing = 0
        for question in progress(asked, desc="spectra", unit="spectrum"):
            found = answers(opened, question)
            missing += not found
            answered += found
        card = read_card(opened.model_name)
        if fit:
            stored = {
                spaces: fitted(
                    [one for one in answered if (one.question.spaces, one.question.part) == (spaces, "fit")]
                )
                for spaces in sorted({one.question.spaces for one in answered})
            }
            document = json.loads((card.directory / "card.json").read_text(encoding="utf-8"))
            document["in_library"] = {**document.get("in_library", {}), **stored}
            write_json(document, card.directory / "card.json", indent=1)
            card = read_card(card.directory)
        n_pool = len(opened)
    result = {
        "kind": "in-library",
        "command": command_line(),
        "model": card.name,
        "model_digest": card.digest,
        "n_pool": n_pool,
        "not_in_index": missing,
        "seed": seed,
        "results": [*measured(answered, card.data.get("in_library", {}), seed)],
    }
    write_json(result, out)
    for one in result["results"]:
        typer.echo(
            f"{one['spaces']:12} {one['part']:9} {'mass' if one['by_mass'] else 'any mass':8} n {one['n']:4} "
            f"AUROC {one['auroc']:.3f} ({one['auroc_ci95'][0]:.3f}-{one['auroc_ci95'][1]:.3f})  "
            f"ECE {one['ece']:.3f}  first hit ECE {one['first_hit']['ece']:.3f}  "
            f"wrong at q {FDR:g}: {one['false_at_q']['share']:.3f} of {one['false_at_q']['n']}"
        )


def questions(data: Path, limit: int, rng: np.random.Generator) -> Iterator[Question]:
    """The spectra, one a molecule, in random order, `limit` of each kind and part."""
    carbon, proton = (_by_molecule(data / f"{name}.parquet") for name in ("nmr_c13", "nmr_h1"))
    tandem = _by_molecule(data / "msms.parquet")
    printed = [
        (
            row["smiles"],
            row["inchikey14"],
            {"h_nmr": row["h_text"]},
            "fit" if inner(row["inchikey14"]) else "valid",
        )
        for row in pq.read_table(data / "nmr_text.parquet").to_pylist()
        if row["smiles"] and row["h_text"] and row["inchikey14"] not in {*carbon, *proton}
    ]
    both = {key: {**carbon[key], "shifts_h": proton[key]["shifts"]} for key in carbon.keys() & proton.keys()}
    elsewhere = pq.read_table(data / "msms_elsewhere.parquet").to_pylist()
    kinds: dict[str, list[tuple[str, str, dict[str, Any], str]]] = {
        "c_nmr": [(r["smiles"], k, {"c_nmr": r}, r["part"]) for k, r in carbon.items()],
        "h_nmr": [(r["smiles"], k, {"h_nmr": r}, r["part"]) for k, r in proton.items()],
        "c_nmr+h_nmr": [
            (r["smiles"], k, {"c_nmr": r, "h_nmr": {"shifts": r["shifts_h"]}}, r["part"])
            for k, r in both.items()
        ],
        "lc_ms": [(r["smiles"], k, {"lc_ms": r}, r["part"]) for k, r in tandem.items()],
    }
    for spaces, rows in kinds.items():
        for part in ("fit", "valid"):
            some = [row for row in rows if row[3] == part]
            yield from _questions(spaces, [some[i] for i in rng.permutation(len(some))[:limit]])
    yield from _questions("h_nmr", [printed[i] for i in rng.permutation(len(printed))[: 2 * limit]])
    seen = {row["inchikey14"] if "inchikey14" in row else row["smiles"]: row for row in elsewhere}
    others = [(r["smiles"], "", {"lc_ms": r}, "elsewhere") for r in seen.values()]
    yield from _questions("lc_ms", [others[i] for i in rng.permutation(len(others))[: 2 * limit]])


def _by_molecule(path: Path) -> dict[str, dict[str, Any]]:
    """A record a molecule of the dev split ("fit") and of `valid`."""
    found: dict[str, dict[str, Any]] = {}
    for row in pq.read_table(path).to_pylist():
        key = row["inchikey14"]
        part = "valid" if row["split"] == "valid" else "fit" if is_dev(key) else None
        if part is not None and key not in found:
            found[key] = {**row, "multiplicity": None, "part": part}
    return found


def _questions(spaces: str, rows: Sequence[tuple[str, str, dict[str, Any], str]]) -> Iterator[Question]:
    for smiles, _, records, part in rows:
        try:
            molecule = describe(*parse(smiles))
            observed = [
                modalities.get(name).read_input(record)
                if isinstance(record, str)
                else modalities.get(name).observe(record)
                for name, record in records.items()
            ]
        except (InvalidMolecule, InvalidRecord) as error:
            typer.echo(f"left out: {smiles}: {error}", err=True)
            continue
        yield Question(spaces, part, molecule.inchikey[:14], molecule.exact_mass, observed)


def answers(index: Index, question: Question) -> list[Answered]:
    """The question with its mass and without; empty where the index lacks the molecule."""
    own = index.keys_of(f"inchikey LIKE '{question.inchikey14}%'")
    if not len(own):
        return []
    out = []
    for by_mass in (True, False):
        limited: Conditions = {}
        if by_mass:
            limited, _ = with_precursor({}, question.observations)
            if not limited.get("mass") and not limited.get("masses"):
                limited = {"mass": question.mass}
        try:
            found, passing = index.ranked(
                SearchRequest(filters=Filters(**limited), observations=question.observations)
            )
        except NoCandidates:  # a precursor that belongs to no molecule of the index
            continue
        n = len(index) if passing is None else len(passing)
        true = np.isin(found.keys, own)
        kept = found.at(np.flatnonzero(~true))
        judged = [(found, n, true)]
        if len(kept.keys):  # else the answer is that there is no candidate
            judged.append((kept, n - len(own), np.zeros(len(kept.keys), bool)))
        out.append(
            Answered(
                question,
                by_mass,
                [features(one, question.observations, size, by_mass) for one, size, _ in judged],
                [one.totals for one, _, _ in judged],
                [right for _, _, right in judged],
            )
        )
    return out


def fitted(answered: Sequence[Answered]) -> dict[str, Any]:
    """The logistic regression, in units of standard deviations, and the temperature of the softmax."""
    if not answered:
        raise ConfigError("there is no spectrum to fit on; does the index hold the molecules?")
    x = np.array([row for one in answered for row in one.features])
    y = np.array([label for one in answered for label in (1, 0)[: len(one.features)]])
    means, scales = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    model = LogisticRegression(C=1.0, max_iter=2000).fit((x - means) / scales, y)
    listed = [one for one in answered if one.right[0].any()]

    def loss(log_temperature: float) -> float:
        t = np.exp(log_temperature)
        return float(
            np.mean([-np.log(_softmax(one.logits[0] / t)[one.right[0]].sum() + 1e-12) for one in listed])
        )

    found = minimize_scalar(loss, bounds=(-2.0, 3.0), method="bounded")
    return {
        "features": feature_names(answered[0].question.spaces.split("+")),
        "means": means.round(6).tolist(),
        "scales": scales.round(6).tolist(),
        "weights": model.coef_[0].round(6).tolist(),
        "intercept": round(float(model.intercept_[0]), 6),
        "temperature": round(float(np.exp(found.x)), 4),
        "n": len(answered),
    }


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def measured(answered: Sequence[Answered], stored: dict[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """A result for each set of spaces, part and way of asking that was not fitted on."""
    groups: dict[tuple[str, str, bool], list[Answered]] = {}
    for one in answered:
        groups.setdefault((one.question.spaces, one.question.part, one.by_mass), []).append(one)
    for (spaces, part, by_mass), some in groups.items():
        if part == "fit" or spaces not in stored:
            continue
        fit = read(stored[spaces])
        judged = [(i, j, one) for i, one in enumerate(some) for j in range(len(one.features))]
        p = np.array([fit.probability(one.features[j]) for _, j, one in judged])
        softmax = [_softmax(one.logits[j] / fit.temperature)[0] for _, j, one in judged]
        first, right = p * softmax, np.array([bool(one.right[j][0]) for _, j, one in judged])
        truth = np.array([1 - j for _, j, _ in judged])
        places = [np.flatnonzero([i == k for i, _, _ in judged]) for k in range(len(some))]
        rng = np.random.default_rng(seed)
        draws = [rng.integers(len(some), size=len(some)) for _ in range(RESAMPLED)]
        areas = [
            roc_auc_score(truth[d], p[d]) for d in (np.concatenate([places[k] for k in x]) for x in draws)
        ]
        accepted = q_values(first) <= FDR
        yield {
            "spaces": spaces,
            "part": part,
            "by_mass": by_mass,
            "n": len(some),
            "no_candidate_left": sum(len(one.features) == 1 for one in some),
            "auroc": float(roc_auc_score(truth, p)),
            "auroc_ci95": np.quantile(areas, [0.025, 0.975]).tolist(),
            **_calibration(p, truth),
            "first_hit": _calibration(first, right),
            "false_at_q": {
                "q": FDR,
                "n": int(accepted.sum()),
                "share": float((~right[accepted]).mean()) if accepted.any() else 0.0,
            },
        }


def _calibration(p: Floats, right: Any) -> dict[str, Any]:
    bins = reliability(p, right, np.ones(len(p)))
    return {
        "ece": expected_error(bins),
        "mean_probability": float(p.mean()),
        "share": float(np.mean(right)),
        "bins": bins,
    }


if __name__ == "__main__":
    typer.run(main)
