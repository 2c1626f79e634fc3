"""A library of any size for measurements of scale: `python -m benchmarks.library --out FILE --molecules N`.

First the structures of `FILES`, each SMILES once; then molecules made of their fragments. Bonds are cut by
the rules of BRICS (Degen et al., ChemMedChem 2008, 3, 1503, as RDKit has them), and any two pieces with one
cut each, whose ends BRICS would join, make a molecule, written without asking RDKit. Each pair is taken once,
in a random order. Another spelling of a molecule that is there is not looked for: `build-index` counts these
as duplicates.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rdkit import Chem, rdBase
from rdkit.Chem import BRICS

from acml_search.core.io import atomic

FILES = ("library_moses_1.9m", "library_chembl_500k", "library_zinc250k", "library_hmdb", "qm9")
SAMPLE = 40_000  # molecules that are cut
MOST_ATOMS = 14  # of a piece
BLOCK = 100_000
_FIRST_ATOM = re.compile(r"\*((?:\[[^\]]+\]|Br|Cl|\w)(?:%\d\d|\d)*)(.*)")  # and what closes rings there
_RING = re.compile(r"(\[[^\]]*\]|%\d\d)|(\d)")


def structures(data: Path) -> list[str]:
    """Distinct SMILES of `FILES`, file by file."""
    found: dict[str, None] = {}
    for name in FILES:
        query = "SELECT smiles FROM read_parquet(?) WHERE smiles IS NOT NULL"
        rows = duckdb.execute(query, [str(data / f"{name}.parquet")]).fetchall()
        found |= dict.fromkeys(text for (text,) in rows)
    return list(found)


def pieces(texts: list[str], rng: np.random.Generator) -> dict[str, list[tuple[str, str]]]:
    """By BRICS environment: pieces of a sample of molecules, as their first atom, which has the cut, and the
    rest of the SMILES."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for place in np.sort(rng.choice(len(texts), min(SAMPLE, len(texts)), replace=False)):
        mol = Chem.MolFromSmiles(texts[place])
        if mol is None or mol.GetNumAtoms() > 60:
            continue
        for part in Chem.GetMolFrags(BRICS.BreakBRICSBonds(mol), asMols=True):
            ends = [atom for atom in part.GetAtoms() if atom.GetAtomicNum() == 0]
            if len(ends) != 1 or part.GetNumAtoms() > MOST_ATOMS + 1:
                continue
            environment = str(ends[0].GetIsotope())
            ends[0].SetIsotope(0)
            text = Chem.MolToSmiles(part, rootedAtAtom=ends[0].GetIdx(), isomericSmiles=False)
            if "." not in text and (read := _FIRST_ATOM.fullmatch(text)):
                found[environment].add((read[1], read[2]))
    return {name: sorted(own) for name, own in sorted(found.items())}


def joined(found: dict[str, list[tuple[str, str]]], n: int, rng: np.random.Generator) -> Iterator[str]:
    """At most n molecules of two pieces, each pair once, in a random order."""
    partners = {
        tuple(sorted((one[0].rstrip("ab"), one[1].rstrip("ab"))))
        for one in chain.from_iterable(BRICS.reactionDefs)
        if one[2] == "-"
    }
    blocks = [(found[a], found[b], a == b) for a, b in sorted(partners) if a in found and b in found]
    sizes = np.array([len(a) * len(b) for a, b, _ in blocks])
    ends = np.cumsum(sizes)
    # Of pairs of one environment half are the other half written the other way round.
    numbers = rng.permutation(np.unique(rng.integers(ends[-1], size=min(3 * n, 8 * int(ends[-1])))))
    made = 0
    for number in numbers:
        at = int(np.searchsorted(ends, number, side="right"))
        first, second, alike = blocks[at]
        i, j = divmod(int(number - ends[at] + sizes[at]), len(second))
        if alike and i < j:
            continue
        (atom, rest), branch = first[i], "".join(second[j])
        branch = _RING.sub(lambda found: found[1] or f"%9{found[2]}", branch)  # no number of the first piece
        yield f"{atom}({branch}){rest}" if rest else f"{atom}{branch}"
        made += 1
        if made == n:
            return


def write(
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    molecules: Annotated[int, typer.Option(min=1, help="Rows.")] = 10_000_000,
    seed: int = 0,
    data: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("../shared/data"),
) -> None:
    """Structures of MOSES, ChEMBL, ZINC, HMDB and QM9, then molecules made of their fragments."""
    rng, n = np.random.default_rng(seed), 0
    known = structures(data)
    with rdBase.BlockLogs():
        found = pieces(known, rng)
    texts = islice(chain(known, joined(found, max(0, molecules - len(known)), rng)), molecules)
    schema = pa.schema([pa.field("smiles", pa.string())])
    with atomic(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:
        while block := list(islice(texts, BLOCK)):
            file.write_table(pa.table({"smiles": block}, schema))
            n += len(block)
    made = max(0, n - len(known))
    typer.echo(f"{out}: {n:,} rows, {made:,} of them made of {sum(map(len, found.values())):,} pieces")


if __name__ == "__main__":
    typer.run(write)
