"""How many pictures are read exactly, and which are not?

    python -m benchmarks.pictures
    python -m benchmarks.pictures --found ../shared/data/pictures

Molecules of the dev split of `train`, which no training saw, are drawn in styles of the held-out family
(`ocsr.styles`; `--styles training`: of the other one), one picture each, and read. A reading is exact when
its InChIKey has the molecule's first block; one that cannot be read, or a molecule that cannot be drawn, is
not exact. Each part of a style stands by itself: its share of exact readings, with 95 % intervals (Wilson
1927).

`--found` reads pictures as they are found instead, of every set in a folder with `truth.csv` (set, image,
smiles, note): all that is drawn is compared, and molecules without their counter-ions. It says too how many
group labels of the folder's `labels.csv` (label, occurrences) have a structure, and how many pictures whose
truth states configuration are exact with it (the whole InChIKey, without counter-ions). `--program osra` has
the same pictures read by that program, which has to be installed, and judges its answers alike.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
import typer
from rdkit import Chem, rdBase
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from acml_search import modalities
from acml_search.chem.molecule import parse, read_stored
from acml_search.chem.splits import is_dev
from acml_search.core.errors import InvalidMolecule, InvalidRecord
from acml_search.core.io import write_json
from acml_search.core.progress import progress
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.evaluation.pool import read_queries
from acml_search.evaluation.results import check_out
from acml_search.evaluation.workers import model_workers
from acml_search.index.directory import IndexDirectory
from acml_search.modalities.image import SURE
from acml_search.ocsr.depict import draw
from acml_search.ocsr.formula import WAYS, reading
from acml_search.ocsr.image import foreground
from acml_search.ocsr.styles import Style, held_out_style
from acml_search.search.pipeline import RERANKED
from acml_search.training.detector import same_molecule
from acml_search.training.picture_styles import training_style
from benchmarks.shared import finish, share, share_text
from benchmarks.suite.fits import expected_error, reliability

QUERIES, OUT = Path("../shared/data/nmr_c13.parquet"), Path("benchmarks/results/pictures.json")
STYLES = {"held-out": held_out_style, "training": training_style}

SURENESS = Path(str(resources.files("acml_search.ocsr"))) / "sureness.json"


def main(
    model: Annotated[str, typer.Option(help="Model whose picture reader is measured.")] = "acml-base",
    queries: Annotated[Path, typer.Option(help="File with the molecules.")] = QUERIES,
    styles: Annotated[Literal["held-out", "training"], typer.Option(help="Family of styles.")] = "held-out",
    n: Annotated[int, typer.Option(help="Number of pictures.")] = 600,
    seed: int = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = OUT,
    found: Annotated[Path | None, typer.Option(help="Folder of pictures with `truth.csv`, instead.")] = None,
    per_set: Annotated[int | None, typer.Option(help="Pictures of each set; default: all.")] = None,
    fit: Annotated[
        bool, typer.Option(help="Fit the probability of a reading to the pictures of --found.")
    ] = False,
    index: Annotated[
        Path | None, typer.Option(help="Index in which the pictures of --found look for their molecule.")
    ] = None,
    program: Annotated[
        str | None, typer.Option(help="Program that reads the pictures of --found instead: `PROGRAM FILE`.")
    ] = None,
) -> None:
    """How many pictures are read exactly, by style?"""
    check_out(out)
    torch.set_num_threads(1)
    if found is not None:
        read_found(found, per_set, model, out, fit, index, program)
        return
    with model_workers(1, model=model) as workers:
        rows = read_queries(queries, workers).select(where="split = 'train'")
    known = {one.structure.inchikey14: one.structure.smiles for one in rows if one.structure is not None}
    molecules = [smiles for block, smiles in sorted(known.items()) if is_dev(block)]
    loaded = load_model(model)
    reader: Any = loaded.network.tower("image").encoder
    readings = []
    for i in progress(range(n), desc="reading", unit="picture"):
        smiles = molecules[i % len(molecules)]
        style = STYLES[styles](np.random.default_rng([seed, i]))
        readings.append({"smiles": smiles, **_read(reader, smiles, style), "style": _parts(style)})
    by_part: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one in readings:
        for part, values in one["style"].items():
            for value in values:
                by_part[part][value].append(one["exact"])
    result = {
        "model": model,
        "model_digest": loaded.card.digest,
        "styles": styles,
        "n_molecules": len(molecules),
        "n": len(readings),
        "exact": share([one["exact"] for one in readings]),
        "by_style": {
            part: {value: share(hits) for value, hits in sorted(values.items())}
            for part, values in by_part.items()
        },
        "seed": seed,
    }
    finish_readings("pictures", result, readings, out)
    print(f"{len(readings)} pictures, exact: {share_text(result['exact'])}")
    for part, values in result["by_style"].items():
        print(f"{part}: " + "; ".join(f"{value} {share_text(one)}" for value, one in values.items()))


def read_found(
    folder: Path,
    per_set: int | None,
    model: str,
    out: Path,
    fit: bool = False,
    index: Path | None = None,
    program: str | None = None,
) -> None:
    """Read the pictures of a folder, write how many are exact by set, and print it."""
    loaded = load_model(model)
    reader: Any = loaded.network.tower("image").encoder
    image = modalities.get("image")
    library = None if index is None else Library(index, loaded)
    truth = pa.csv.read_csv(folder / "truth.csv").to_pylist()
    sets = {one["set"] for one in truth}
    asked = [one for name in sorted(sets) for one in [row for row in truth if row["set"] == name][:per_set]]
    readings = []
    for one in progress(asked, desc="reading", unit="picture"):
        row = {key: one[key] for key in ("set", "image", "smiles", "note")}
        try:
            with rdBase.BlockLogs(), torch.inference_mode():
                parent = Chem.MolToSmiles(parse(one["smiles"])[0])
                if program is not None:
                    drawn = _answer(program, folder / one["image"])
                    without = Chem.MolToSmiles(parse(drawn)[0])
                else:
                    observed = image.read_parts(str(folder / one["image"]))
                    if len(observed) > 1:
                        raise InvalidRecord(f"taken for {len(observed)} structures", modality="image")
                    seen = reader.read(observed[0].item)
                    drawn, without = seen.drawn, seen.smiles
                    row |= {name: getattr(seen, name) for name in ("probability", "features")}
                    row["doubts"] = list(seen.doubts)
                    if library is not None:
                        row |= library.ranks(observed[0].record, parse(one["smiles"])[0])
                row |= {"read": drawn, "exact": same_molecule(drawn, one["smiles"])}
                row |= {"parent": row["exact"] or same_molecule(without, parent)}
                row |= {"configured": row["parent"] and _inchikey(without) == _inchikey(parent)}
        except (InvalidRecord, InvalidMolecule) as error:
            row |= {"read": None, "exact": False, "parent": False, "configured": False, "error": error.reason}
        readings.append(row)
    parts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in readings:
        for name in (row["set"], f"{row['set']}, {row['note']}" if row["note"] else "", "all"):
            parts[name].append(row)
    parts.pop("", None)
    labels = pa.csv.read_csv(folder / "labels.csv").to_pylist()
    known = [one for one in labels if any(reading(one["label"], *way) for way in WAYS)]
    result = {
        **({"model": model, "model_digest": loaded.card.digest} if program is None else {"program": program}),
        "n": len(readings),
        "exact": {name: share([row["exact"] for row in rows]) for name, rows in sorted(parts.items())},
        "exact_without_counter_ions": {
            name: share([row["parent"] for row in rows]) for name, rows in sorted(parts.items())
        },
        "exact_with_configuration": {
            name: share([row["configured"] for row in stated])
            for name, rows in sorted(parts.items())
            if (stated := [row for row in rows if set(row["smiles"]) & set("@/\\")])
        },
        "labels": {"n": len(labels), "known": len(known)},
        "occurrences_of_labels": {
            "n": sum(one["occurrences"] for one in labels),
            "known": sum(one["occurrences"] for one in known),
        },
        "found": {}
        if library is None
        else {
            "n_pool": len(library.smiles),
            "sets": {
                name: {
                    f"{kind}@{k}": round(float(np.mean([row.get(kind, np.inf) <= k for row in rows])), 4)
                    for kind in ("rank", "reranked")
                    for k in (1, 10)
                }
                for name, rows in sorted(parts.items())
            },
        },
        "probability": {} if program else sureness([row for row in readings if row.get("features")], fit),
    }
    finish_readings("pictures-found", result, readings, out)
    print("probability of a reading:", result["probability"])
    for name, ranks in result["found"].get("sets", {}).items():
        print(f"found among {result['found']['n_pool']:,}: {name} {ranks}")
    for kind in ("exact", "exact_without_counter_ions", "exact_with_configuration"):
        for name, one in result[kind].items():
            print(f"{kind}: {name} {share_text(one)}")
    for kind in ("labels", "occurrences_of_labels"):
        print(f"{kind}: {result[kind]['known']} of {result[kind]['n']} known")


def finish_readings(kind: str, result: dict[str, Any], readings: list[dict[str, Any]], out: Path) -> None:
    finish(kind, {**result, "per_query": f"{out.stem}.queries.parquet"}, out, show=False)
    pq.write_table(pa.Table.from_pylist(readings), out.with_suffix(".queries.parquet"))


def _answer(program: str, picture: Path) -> str:
    """The SMILES that a program prints, one a line, as one. Raises `InvalidRecord` where it prints none."""
    done = subprocess.run([program, str(picture)], capture_output=True, text=True, check=False)
    if not done.stdout.split():
        raise InvalidRecord(f"{program} prints nothing (exit {done.returncode})", modality="image")
    return ".".join(done.stdout.split())


def _inchikey(smiles: str) -> str:
    return str(Chem.MolToInchiKey(Chem.MolFromSmiles(smiles)))


class Library:
    """The molecules of an index, and where a picture finds its own among them, which need not be one."""

    def __init__(self, path: Path, model: Model) -> None:
        directory = IndexDirectory(path)
        stored = directory.vectors("image", "graph")
        self.model, self.weights = model, model.card.rerank_weights("image") or {}
        self.vectors = stored.stored(np.arange(len(stored.keys)))
        rows = directory.catalog.rows(stored.keys.tolist())
        self.smiles = rows.column("smiles").to_pylist()
        self.blocks = np.array([key[:14] for key in rows.column("inchikey").to_pylist()])

    def ranks(self, part: Any, truth: Chem.Mol) -> dict[str, int]:
        """Ranks of `truth` by a part of a picture; ties lose."""
        image, n = self.model.encode_records("image", [part.image])[0], self.vectors.shape[1]
        own = self.model.encode_molecules([truth])["image"][0]
        scores = self.vectors @ image[:n]
        scores[self.blocks == Chem.MolToInchiKey(truth)[:14]] = -1.0
        mine = float(image[:n] @ own[:n])
        best = np.argsort(-scores)[:RERANKED]
        rank = 1 + int((scores >= mine).sum())
        if rank > RERANKED:
            return {"rank": rank, "reranked": rank}
        reranker = modalities.get("image").reranker()
        mols = [truth, *(read_stored(self.smiles[at]) for at in best)]
        compared = reranker.scores(self.model, foreground(part.image)[0], reranker.prepare(self.model, mols))
        logits = self.weights["cosine"] * np.append(mine, scores[best]) + self.weights["evidence"] * compared
        return {"rank": rank, "reranked": 1 + int((logits[1:] >= logits[0] - 1e-9).sum())}


def sureness(readings: list[dict[str, Any]], fit: bool) -> dict[str, Any]:
    """How good probabilities are; fit: cross-validated, and the regression goes into the package."""
    exact = np.array([row["parent"] for row in readings])
    chances = np.array([row["probability"] for row in readings])
    if fit:
        names = list(readings[0]["features"])
        values = np.array([[row["features"][name] for name in names] for row in readings])
        scaled = StandardScaler().fit(values)
        model, x = LogisticRegression(), scaled.transform(values)
        chances = cross_val_predict(model, x, exact, cv=10, method="predict_proba")[:, 1]
        model.fit(x, exact)
        numbers = zip(names, scaled.mean_, scaled.scale_, model.coef_[0], strict=True)
        features = {name: [round(float(one), 6) for one in of] for name, *of in numbers}
        write_json({"intercept": round(float(model.intercept_[0]), 6), "features": features}, SURENESS)
    sure = chances >= SURE
    return {
        "n": len(exact),
        "cross_validated": fit,
        "expected_calibration_error": round(
            expected_error(reliability(chances, exact, np.ones(len(exact)))), 4
        ),
        "auroc": round(float(roc_auc_score(exact, chances)), 4),
        "exact": {
            name: share(exact[part].tolist())
            for name, part in (("sure", sure), ("not sure", ~sure))
            if part.any()
        },
    }


def _read(reader: Any, smiles: str, style: Style) -> dict[str, Any]:
    """What was read and whether it is the molecule; the reason where nothing was."""
    try:
        with rdBase.BlockLogs(), torch.inference_mode():
            ink, _ = foreground(draw(Chem.MolFromSmiles(smiles), style).image)
            read = reader.read(ink).smiles
            return {"read": read, "exact": same_molecule(read, smiles)}
    except (InvalidMolecule, InvalidRecord) as error:
        return {"read": None, "exact": False, "error": error.reason}


def _parts(style: Style) -> dict[str, list[str]]:
    """The parts of a style that readings are counted by; a picture may have several effects."""
    length = "fitted" if style.bond is None else ("under 24" if style.bond < 24 else "24 and more")
    return {
        "font": [style.font],
        "mode": [style.mode],
        "line": [str(style.line)],
        "bond, pixels": [length],
        "effect": [effect.name for effect in style.effects] or ["none"],
    }


if __name__ == "__main__":
    typer.run(main)
