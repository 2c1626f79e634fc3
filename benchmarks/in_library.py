"""Does an answer know when the compound is not in the library, and are its probabilities right?

    python -m benchmarks.in_library INDEX ../shared/data --out in-library.json [--spaces S ...] [--fit]

INDEX holds a library and the molecules of the dev split and of `valid` beside it. Every spectrum is asked
twice, with the mass of its molecule (10 ppm; MS/MS: of its precursor and adduct) and without, and each answer
is judged twice: as it is, and with the molecule (all of its InChIKey's first block) struck from the
candidates, unless none is left then. Chance is an AUROC of 0.5. One spectrum a molecule, to fit on up to 4;
SMILES in random atom order; pictures in held-out styles; of `valid` 13C with DEPT as well.
Reported are `p_in_library` (AUROC; expected calibration error in 15 bins, in brackets what as few answers
would show if every probability were right), the probability of the first hit, and how many first hits are
wrong where a q-value of 10 % is asked for, wanted between 5 and 15 %; intervals by resampling
molecules. "first" is the share of answers whose first hit is the molecule: in the rest the best candidate is
wrong either way, so that an AUROC can hardly exceed (1 + first) / 2. Results of other sets stay in the file.

`--fit` first fits the `in_library` of the model's card, by set of spaces: on the dev split of `train`, and
for 1H signals on printed lines of the inner half of `nmr_text.parquet` (`benchmarks.multiplicities.inner`).
What is reported are `valid`, the other half of the printed lines, MS/MS from elsewhere, and scans of
molecules that the index happens to hold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import typer
from pyarrow import csv
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from acml_search import modalities
from acml_search.chem.molecule import describe, parse
from acml_search.chem.splits import is_dev
from acml_search.cli.app import command_line
from acml_search.core.errors import InvalidMolecule, InvalidRecord, NoCandidates
from acml_search.core.io import write_json
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Floats
from acml_search.core.workers import chunks
from acml_search.encoders.card import ModelCard, read_card
from acml_search.modalities import Observation
from acml_search.search.in_library import features
from acml_search.search.in_library import fitted as stored
from acml_search.search.pipeline import Index, open_index
from acml_search.search.request import Conditions, Filters, SearchRequest, with_precursor
from acml_search.search.results import q_values
from benchmarks.hsqc import spectrum
from benchmarks.multiplicities import inner
from benchmarks.suite.fits import expected_error, reliability

KINDS = (
    *("c_nmr", "h_nmr", "c_nmr+h_nmr", "lc_ms", "gc_ms", "hsqc", "smiles", "image"),
    *("c_nmr+lc_ms", "h_nmr+lc_ms", "c_nmr+h_nmr+lc_ms"),
)
FILES = {
    **{"c_nmr": "nmr_c13", "h_nmr": "nmr_h1", "lc_ms": "msms", "gc_ms": "ei_ms", "hsqc": "nmr_atoms"},
    **{"smiles": "nmr_c13", "image": "nmr_c13"},
}
FEWEST = 30
"""molecules that a set is fitted on. Of MS/MS beside NMR the dev split has 17 to 29, and what was fitted for
NMR judges those better than cross-validated fits of their own"""
SPECTRA = 4
"""of a molecule, to fit on"""
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
    features: list[dict[str, float]]
    logits: list[Floats]
    right: list[Bools]


def main(
    index: Annotated[Path, typer.Argument(help="Index directory.")],
    data: Annotated[Path, typer.Argument(help="Folder of the data.")],
    out: Annotated[Path, typer.Option(help="JSON file of the result.")],
    fit: Annotated[bool, typer.Option(help="Fit the card of the index's model first.")] = False,
    spaces: Annotated[
        list[str] | None, typer.Option(help="A set alone, such as c_nmr+h_nmr; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=10, help="Spectra of each kind and part.")] = 300,
    seed: Annotated[int, typer.Option(help="Draws the spectra.")] = 0,
) -> None:
    """Fit and measure `p_in_library` and the probabilities of hits."""
    with open_index(index) as opened:
        asked = list(questions(data, opened, spaces, limit, seed, fit))
        answered: list[Answered] = []
        missing = 0
        for question in progress(asked, desc="spectra", unit="spectrum"):
            found = answers(opened, question)
            missing += not found
            answered += found
        card = read_card(opened.model_name)
        if fit:
            for_fit: dict[str, list[Answered]] = {}
            for one in answered:
                if one.question.part == "fit":
                    for_fit.setdefault(one.question.spaces, []).append(one)
            n_molecules = {
                name: len({one.question.inchikey14 for one in some}) for name, some in for_fit.items()
            }
            fits = {name: fitted(for_fit[name]) for name, n in sorted(n_molecules.items()) if n >= FEWEST}
            document = json.loads((card.directory / "card.json").read_text(encoding="utf-8"))
            document["in_library"] = {**document.get("in_library", {}), **fits}
            write_json(document, card.directory / "card.json", indent=1)
            card = read_card(card.directory)
        n_pool = len(opened)
    about = {"command": command_line(), "n_pool": n_pool, "not_in_index": missing, "seed": seed}
    results = [{**one, **about} for one in measured(answered, card, seed)]
    now = {one["spaces"] for one in results}
    before = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"results": []}
    kept = [{**before, **one} for one in before.pop("results") if one["spaces"] not in now]
    model = {"kind": "in-library", "model": card.name, "model_digest": card.digest}
    write_json({**model, "results": [*kept, *results]}, out)
    for one in results:
        typer.echo(
            f"{one['spaces']:17} {one['part']:9} {'mass' if one['by_mass'] else 'any mass':8} n {one['n']:4} "
            f"AUROC {one['auroc']:.3f} ({one['auroc_ci95'][0]:.3f}-{one['auroc_ci95'][1]:.3f})  "
            f"ECE {one['ece']:.3f} ({one['ece_if_right']:.3f})  first hit ECE "
            f"{one['first_hit']['ece']:.3f} ({one['first_hit']['ece_if_right']:.3f})  "
            f"wrong at q {FDR:g}: {one['false_at_q']['share']:.3f} of {one['false_at_q']['n']}, "
            f"{'as' if 0.05 <= one['false_at_q']['share'] <= 0.15 else 'not as'} asked"
        )


def questions(
    data: Path, index: Index, spaces: Sequence[str] | None, limit: int, seed: int, fit: bool
) -> Iterator[Question]:
    """The spectra in random order, of `limit` molecules of each kind and part; to fit on if asked for."""

    def wanted(kind: str) -> bool:
        return (not spaces or kind in spaces) and set(kind.split("+")) <= set(index.spaces)

    measured: dict[str, dict[str, list[dict[str, Any]]]] = {space: {} for space in FILES}
    for space in {space for kind in filter(wanted, KINDS) for space in kind.split("+")}:
        measured[space] = _by_molecule(data / f"{FILES[space]}.parquet")
    if measured["hsqc"]:
        pairs = {
            key: [found | row for row in rows if (found := spectrum(row))]
            for key, rows in measured["hsqc"].items()
        }
        measured["hsqc"] = {key: some for key, some in pairs.items() if some}
    for kind in filter(wanted, KINDS):
        of_kind = [measured[space] for space in kind.split("+")]
        keys = [key for key in of_kind[0] if all(key in one for one in of_kind)]
        for part in ("fit", "valid") if fit else ("valid",):
            rng = np.random.default_rng(seed)  # so that the draw does not depend on what else is asked for
            some = [key for key in keys if of_kind[0][key][0]["part"] == part]
            for key in (some[i] for i in rng.permutation(len(some))[:limit]):
                spectra = {space: measured[space][key] for space in kind.split("+")}
                for i in range(max(map(len, spectra.values()))):
                    records = {space: several[i % len(several)] for space, several in spectra.items()}
                    yield from _question(part, of_kind[0][key][0]["smiles"], records, rng)
                    dept = records.get("c_nmr", {}).get("dept")
                    if kind == "c_nmr" and part == "valid" and dept:
                        with_dept = {"c_nmr": {**records["c_nmr"], "multiplicity": dept}}
                        yield from _question("DEPT", of_kind[0][key][0]["smiles"], with_dept, rng)
    rng = np.random.default_rng(seed)
    if wanted("h_nmr"):
        known = {*_by_molecule(data / "nmr_c13.parquet"), *measured["h_nmr"]}
        printed = [
            row
            for row in pq.read_table(data / "nmr_text.parquet").to_pylist()
            if row["smiles"] and row["h_text"] and row["inchikey14"] not in known
        ]
        for row in (printed[i] for i in rng.permutation(len(printed))[: 2 * limit]):
            part = "fit" if inner(row["inchikey14"]) else "valid"
            if fit or part == "valid":
                yield from _question(part, row["smiles"], {"h_nmr": row["h_text"]}, rng)
    others: list[tuple[str, str, dict[str, Any]]] = []
    if wanted("lc_ms"):
        rows = pq.read_table(data / "msms_elsewhere.parquet").to_pylist()
        others += [
            ("elsewhere", key, {"lc_ms": row}) for key, row in {row["smiles"]: row for row in rows}.items()
        ]
    if wanted("image"):
        folder = data / "pictures"
        rows = csv.read_csv(folder / "truth.csv").to_pylist()
        blocks = [f"'{row['inchikey14']}'" for row in rows]
        held = {
            one["inchikey"][:14]
            for some in chunks(blocks, 400)
            for one in index.molecules(index.keys_of(f"left(inchikey, 14) IN ({', '.join(some)})").tolist())
        }
        others += [
            ("scans", row["smiles"], {"image": str(folder / row["image"])})
            for row in rows
            if row["inchikey14"] in held
        ]
    for i in rng.permutation(len(others))[: 2 * limit]:
        yield from _question(*others[i], rng)


def _by_molecule(path: Path) -> dict[str, list[dict[str, Any]]]:
    """A record a molecule of `valid`, and up to `SPECTRA` of the dev split ("fit")."""
    found: dict[str, list[dict[str, Any]]] = {}
    table = pq.read_table(path)
    split = zip(*(table.column(name).to_pylist() for name in ("inchikey14", "split")), strict=True)
    parts = ["valid" if split == "valid" else "fit" if is_dev(key) else None for key, split in split]
    places = np.flatnonzero([part is not None for part in parts])
    for place, row in zip(places.tolist(), table.take(places).to_pylist(), strict=True):
        some = found.setdefault(row["inchikey14"], [])
        if len(some) < (1 if parts[place] == "valid" else SPECTRA) and row.get("mass_consistent", True):
            dept = row.get("multiplicity")
            some.append({**row, "multiplicity": None, "dept": dept, "part": parts[place]})
    return {key: some for key, some in found.items() if some}


def _question(
    part: str, smiles: str, records: dict[str, Any], rng: np.random.Generator
) -> Iterator[Question]:
    observed = []
    try:
        molecule = describe(*parse(smiles))
        for name, record in records.items():
            kind = modalities.get(name)
            if isinstance(record, str):
                observed.append(kind.read_input(record))
            else:
                derived = kind.derive(smiles, rng) if kind.from_structure else record
                observed.append(kind.observe(derived))
    except (InvalidMolecule, InvalidRecord) as error:
        typer.echo(f"left out: {smiles}: {error}", err=True)
        return
    yield Question("+".join(records), part, molecule.inchikey[:14], molecule.exact_mass, observed)


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
            readings = index.readings(question.observations)
            found, passing = index.ranked(
                SearchRequest(filters=Filters(**limited), observations=question.observations)
            )
        except (NoCandidates, InvalidRecord):  # no molecule has this precursor; a picture of no structure
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
                [features(one, question.observations, readings, size, by_mass) for one, size, _ in judged],
                [one.totals for one, _, _ in judged],
                [right for _, _, right in judged],
            )
        )
    return out


def fitted(answered: Sequence[Answered]) -> dict[str, Any]:
    """The logistic regression, in units of standard deviations, and the temperature of the softmax."""
    rows = [row for one in answered for row in one.features]
    names = list(dict.fromkeys(name for row in rows for name in row))
    x = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    y = np.array([label for one in answered for label in (1, 0)[: len(one.features)]])
    means, scales = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    asked = Counter((one.question.inchikey14, one.by_mass) for one in answered)
    each = [1 / asked[one.question.inchikey14, one.by_mass] for one in answered for _ in one.features]
    model = LogisticRegression(C=0.1, max_iter=2000).fit((x - means) / scales, y, each / np.mean(each))
    listed = [one for one in answered if one.right[0].any()]

    def loss(log_temperature: float) -> float:
        t = np.exp(log_temperature)
        return float(
            np.mean([-np.log(_softmax(one.logits[0] / t)[one.right[0]].sum() + 1e-12) for one in listed])
        )

    found = minimize_scalar(loss, bounds=(-2.0, 3.0), method="bounded")
    return {
        "features": names,
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


def measured(answered: Sequence[Answered], card: ModelCard, seed: int) -> Iterator[dict[str, Any]]:
    """A result for each set of spaces, part and way of asking that was not fitted on."""
    groups: dict[tuple[str, str, bool], list[Answered]] = {}
    for one in answered:
        groups.setdefault((one.question.spaces, one.question.part, one.by_mass), []).append(one)
    for (spaces, part, by_mass), some in groups.items():
        fit = stored(card, spaces.split("+"))
        if part == "fit" or fit is None:
            continue
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
            "fitted": "+".join(fit.spaces),
            "n": len(some),
            "first": float(np.mean([one.right[0][0] for one in some])),
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
    weights, rng = np.ones(len(p)), np.random.default_rng(0)
    bins = reliability(p, right, weights)
    by_chance = [expected_error(reliability(p, rng.random(len(p)) < p, weights)) for _ in range(100)]
    return {
        "ece": expected_error(bins),
        "ece_if_right": float(np.mean(by_chance)),
        "mean_probability": float(p.mean()),
        "share": float(np.mean(right)),
        "bins": bins,
    }


if __name__ == "__main__":
    typer.run(main)
