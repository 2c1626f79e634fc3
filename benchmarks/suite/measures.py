"""What only suites measure: classes of molecules, ACML's own metric, and errors of predicted shifts."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

from acml_search.chem import molecule
from acml_search.chem.fingerprints import packed_morgan
from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.evaluation import workers as processes
from acml_search.evaluation.metrics import (
    FAILED,
    TIE_TOLERANCE,
    bootstrap_interval,
    hits_at_k,
    per_molecule,
)
from acml_search.evaluation.pool import Query
from acml_search.modalities import get
from acml_search.nmr.predicted import symmetry_classes
from acml_search.ocsr.depict import draw, png
from acml_search.ocsr.styles import held_out_style

# --- classes: which kinds of molecules are missed? ----------------------------------------------------------

SEED = 0
BITS = 1024
SIZES = ((1, 10), (11, 15), (16, 20), (21, 30), (31, 50), (51, 1_000))
SIMILARITIES = ((0.0, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 1.0))
COMMON = ("F", "Cl", "Br", "I", "S", "P", "B", "Si")
MIN_MOLECULES = 20  # of a class that gets a figure


def fingerprints(smiles: list[str]) -> npt.NDArray[np.uint8]:
    """Worker task: canonical SMILES -> (n, 128) uint8, packed Morgan bits of radius 2."""
    return packed_morgan([Chem.MolFromSmiles(text) for text in smiles], BITS)


def unpacked(bits: npt.NDArray[np.uint8]) -> Float32s:
    """(n, BITS) float32 of packed bits (n, BITS / 8)."""
    return np.unpackbits(bits, axis=1).astype(np.float32)


def tanimoto(a: Float32s, b: Float32s) -> Float32s:
    """(n, m) Tanimoto similarities of bits (n, f) and (m, f)."""
    common = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - common
    return np.asarray(common / np.maximum(union, 1), np.float32)


def nearest_training(
    smiles: Sequence[str | None], training: Sequence[str], workers: Workers
) -> list[float | None]:
    """Tanimoto similarity to the most similar of `training`, else 0; None where there is no molecule."""

    def bits(smiles: Sequence[str]) -> Float32s:
        parts = [np.zeros((0, BITS // 8), np.uint8), *workers.map(fingerprints, chunks(smiles, 1_000))]
        return unpacked(np.concatenate(parts))

    distinct = list(dict.fromkeys(text for text in smiles if text is not None))
    known, asked = bits(training), bits(distinct)
    best: dict[str, float] = {}
    for low in range(0, len(distinct), 512):
        similarity = tanimoto(asked[low : low + 512], known).max(axis=1, initial=0.0)
        best.update(zip(distinct[low : low + 512], similarity.tolist(), strict=True))
    return [None if text is None else best[text] for text in smiles]


def by_class(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recall@1 and @10 of classes of molecules, from the rows of a per-query file.

    Each `{"class": kind, "value", "n_molecules", "recall_at_1", "recall_at_10", "ci95"}`, the interval that
    of recall at 1; classes of fewer than 20 molecules are left out, queries that could not be read too, for
    nobody knows their class.
    """
    known = [row for row in rows if row["smiles"] is not None]
    molecules = np.array([row["molecule"] for row in known])
    ranks = np.array([np.inf if row["rank"] is None else row["rank"] for row in known])
    found = []
    for kind, value, members in _classes(known):
        n = len(set(molecules[members]))
        if n >= MIN_MOLECULES:
            first, ten = (per_molecule(hits_at_k(ranks[members], k), molecules[members]) for k in (1, 10))
            found.append(
                {
                    "class": kind,
                    "value": value,
                    "n_molecules": n,
                    "recall_at_1": float(first.mean()),
                    "recall_at_10": float(ten.mean()),
                    "ci95": list(bootstrap_interval(first)),
                }
            )
    return found


def failures(classes: Sequence[dict[str, Any]], overall: float, question: str) -> list[str]:
    """Sentences on the classes whose recall@1 lies clearly below `overall`: their interval ends under it."""
    worse = sorted(
        (one for one in classes if one["ci95"][1] < overall - 0.02), key=lambda one: one["recall_at_1"]
    )
    return [
        f"{question}: {one['value']}: R@1 {one['recall_at_1']:.3f} over {one['n_molecules']:,} molecules, "
        f"against {overall:.3f} of all"
        for one in worse
    ]


@lru_cache(maxsize=50_000)  # one query is asked with several filters
def _elements_and_size(smiles: str) -> tuple[frozenset[str], int]:
    mol = Chem.MolFromSmiles(smiles)
    return frozenset(atom.GetSymbol() for atom in mol.GetAtoms()), mol.GetNumHeavyAtoms()


def _classes(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, Bools]]:
    composed = [_elements_and_size(row["smiles"]) for row in rows]
    size = np.array([n for _, n in composed])
    nearest = np.array([row.get("nearest_training") for row in rows], np.float64)  # None becomes NaN
    usual = {"C", "H", "N", "O"}

    def of_elements(name: str, fits: Callable[[frozenset[str]], bool]) -> tuple[str, str, Bools]:
        return "element", name, np.array([fits(held) for held, _ in composed], bool)

    yield of_elements("C, H, N, O only", lambda held: held <= usual)
    for one in COMMON:
        yield of_elements(f"with {one}", lambda held, one=one: one in held)  # type: ignore[misc]
    yield of_elements("with any other element", lambda held: not held <= usual | set(COMMON))
    for low, high in SIZES:
        name = f"{low} to {high} heavy atoms" if high < 1_000 else f"{low} or more heavy atoms"
        yield "size", name, (low <= size) & (size <= high)
    for least, most in SIMILARITIES:
        name = f"Tanimoto {least:g} to {most:g} to the nearest training molecule"
        yield "similarity", name, (least <= nearest) & (nearest < most + (most == 1.0))


# --- stereoisomers ------------------------------------------------------------------------------------------


class Stereoisomers(NamedTuple):
    """SMILES that state configuration, whose records of a modality are asked."""

    modality: str
    smiles: list[str]


def stereoisomer_ranks(task: Stereoisomers) -> list[tuple[float, int]]:
    """Worker task: rank of each molecule among at most 32 stereoisomers by its record, and how many."""
    model, kind, found = processes.model(), get(task.modality), []
    for text in task.smiles:
        truth = molecule.read_stored(text)
        flat = Chem.Mol(truth)
        Chem.RemoveStereochemistry(flat)
        isomers = {Chem.MolToInchiKey(truth): truth}
        options = StereoEnumerationOptions(maxIsomers=32, rand=SEED, unique=True)
        for one in EnumerateStereoisomers(flat, options=options):
            isomers.setdefault(Chem.MolToInchiKey(one), molecule.parse(Chem.MolToSmiles(one))[0])
        rng = np.random.default_rng([SEED, zlib.crc32(text.encode())])
        try:
            if task.modality == "image":
                record = png(draw(truth, replace(held_out_style(rng), stereo=True)).image)
            else:
                record = kind.derive(text, rng)
            asked = model.encode_records(task.modality, [record])
        except (InvalidMolecule, InvalidRecord):
            found.append((FAILED, len(isomers)))
            continue
        graphs = [model.featurise(one) for one in isomers.values()]
        (scores,) = asked @ model.encode_graphs(graphs, [task.modality])[task.modality].T
        found.append((float((scores >= scores[0] - TIE_TOLERANCE).sum()), len(isomers)))
    return found


# --- ACML's own metric --------------------------------------------------------------------------------------

BATCH = 128
SHUFFLES = 10
NOTE = "candidates are the {} molecules of a random batch; not comparable with recall in a pool"


def within_batches(
    records: Float32s,
    graphs: Float32s,
    molecules: Sequence[int],
    *,
    batch: int = BATCH,
    shuffles: int = SHUFFLES,
    ks: Sequence[int] = (1, 5),
) -> dict[str, Any] | None:
    """How often a pair's other half is among the first k of its batch, as ACML reports it (arXiv 2311.06456),
    in both directions, with the spread between several shuffles; None below one batch. **Not comparable with
    recall in a pool.** The last, incomplete batch is left out; ties lose.

    `records`, `graphs` (n, d): the two sides of each pair; `molecules` (n,): equal for records of one
    molecule, of which every shuffle draws one.
    """
    labels = np.asarray(molecules)
    rng = np.random.default_rng(SEED)
    n_molecules = len(np.unique(labels))
    if n_molecules < batch:
        return None
    found: dict[str, list[list[float]]] = {"to-molecule": [], "to-record": []}
    for _ in range(shuffles):
        mixed = rng.permutation(len(labels))
        pairs = rng.permutation(mixed[np.unique(labels[mixed], return_index=True)[1]])
        batches = (pairs[low : low + batch] for low in range(0, len(pairs) - batch + 1, batch))
        scores = [records[chosen] @ graphs[chosen].T for chosen in batches]
        for name, axis in (("to-molecule", 1), ("to-record", 0)):
            ranks = np.concatenate([_ranks(one, axis) for one in scores])
            found[name].append([float(hits_at_k(ranks, k).mean()) for k in ks])
    result: dict[str, Any] = {
        "batch": batch,
        "shuffles": shuffles,
        "n_molecules": n_molecules,
        "note": NOTE.format(batch),
        "chance": {str(k): min(k / batch, 1.0) for k in ks},
        "seed": SEED,
    }
    for name, values in found.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1 if shuffles > 1 else 0)
        result[name] = {
            key: {str(k): float(x) for k, x in zip(ks, of, strict=True)}
            for key, of in (("top", mean), ("spread", spread))
        }
    return result


def _ranks(scores: Float32s, axis: int) -> Ints:
    """1 + how many others score at least as high as the pair on the diagonal, along an axis."""
    own = np.expand_dims(np.diag(scores), axis)
    return np.count_nonzero(scores >= own - TIE_TOLERANCE, axis=axis).astype(np.int64)


# --- predicted shifts ---------------------------------------------------------------------------------------


class AtomShifts(NamedTuple):
    """What a molecule's atoms of one nucleus are predicted to show: `atoms` (k,) their numbers in the
    standardised molecule, `classes` (k,) equal for symmetry-equivalent atoms (configuration is not looked
    at), `ppm` (k,) predicted shifts.
    """

    atoms: Ints
    classes: Ints
    ppm: Floats


def set_error(predicted: AtomShifts, observed: Iterable[float]) -> float | None:
    """Mean distance (ppm) between predicted and observed shifts, both sorted: the best matching there is in
    one dimension, so an optimist's figure. None where distinct peaks (to 0.01 ppm) are not as many as classes
    of atoms.
    """
    peaks = np.unique(np.round(np.asarray(list(observed), np.float64), 2))
    _, group, sizes = np.unique(predicted.classes, return_inverse=True, return_counts=True)
    classes = np.sort(np.bincount(group, weights=predicted.ppm) / sizes)
    return float(np.abs(peaks - classes).mean()) if len(peaks) == len(classes) > 0 else None


def measure_shifts(space: str, asked: Sequence[Query], workers: Workers) -> dict[str, Any]:
    """Set error by molecule with a 95 % bootstrap. Raises ConfigError where no spectrum can be used."""
    usable = [query for query in asked if query.structure is not None and query.metadata.get("shifts")]
    smiles = [query.structure.smiles for query in usable if query.structure is not None]
    errors, molecules = [], []
    parts = workers.map(predict, ((space, part) for part in chunks(smiles, 256)))
    for query, found in zip(usable, (one for part in parts for one in part), strict=True):
        error = None if found is None else set_error(found, query.metadata["shifts"])
        if error is not None and query.structure is not None:
            errors.append(error)
            molecules.append(query.structure.inchikey14)
    if not errors:
        raise ConfigError(f"no spectrum shows as many peaks as its molecule has classes of atoms ({space})")
    values = per_molecule(errors, molecules)
    return {
        "set_error": float(values.mean()),
        "ci95": list(bootstrap_interval(np.round(values, 4))),
        "median": float(np.median(values)),
        "p90": float(np.quantile(values, 0.9)),
        "n_asked": len(asked),
        "n_spectra": len(errors),
        "n_molecules": len(values),
        "unit": "ppm",
    }


def has_node_head(space: str) -> bool:
    """Worker task: does the space predict what atoms show?"""
    return processes.model().predicts_peaks(space)


def predict(task: tuple[str, list[str]]) -> list[AtomShifts | None]:
    """Worker task: (space, SMILES) -> what their atoms show; None for a SMILES that is refused."""
    space, smiles = task
    model = processes.model()
    mols: list[Any] = []
    for text in smiles:
        try:
            mols.append(molecule.parse(text)[0])
        except InvalidMolecule:
            mols.append(None)
    predicted = iter(model.predicted_peaks(space, [model.featurise(mol) for mol in mols if mol is not None]))
    found: list[AtomShifts | None] = []
    for mol in mols:
        if mol is None:
            found.append(None)
            continue
        peaks = next(predicted)
        found.append(AtomShifts(peaks.atoms, symmetry_classes(mol)[peaks.atoms], peaks.position))
    return found
