"""Has one standard InChIKey one graph? `python -m benchmarks.same_molecule LIBRARY... [--n 20000]`.

Each molecule of a library is read as it is drawn and in other spellings of the same standard InChIKey: as
RDKit rebuilds it from its InChI, in Kekulé form with every charge-separated group that allows it drawn with
double bonds, in random atom order, and as tautomers of RDKit's enumerator (a sample, because these are slow).
A molecule counts as changed where its graph is not the one that RDKit reads from the row.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rdkit import Chem, rdBase
from rdkit.Chem import inchi, rdChemReactions
from rdkit.Chem.MolStandardize import rdMolStandardize

from acml_search.chem.molecule import describe, parse
from acml_search.core.errors import InvalidMolecule
from acml_search.library.stream import open_library
from benchmarks.shared import finish, share

UNCHARGED = (
    ("[S+;X3:1]-[O-:2]", "[S+0:1]=[O+0:2]"),
    ("[N+:1](=[O:2])-[O-:3]", "[N+0:1](=[O:2])=[O+0:3]"),
    ("[N:1]=[N+:2]=[N-:3]", "[N:1]=[N+0:2]#[N+0:3]"),
    ("[P;X4:1]=[O;X1:2]", "[P+:1]-[O-:2]"),
)


def spellings(mol: Chem.Mol, name: str, n_tautomers: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Kind and SMILES of other drawings of a molecule; those with another InChI than `name` are left out."""
    made: list[tuple[str, Chem.Mol | None]] = [("inchi", inchi.MolFromInchi(name))]
    redrawn = mol
    for old, new in UNCHARGED:
        reaction = rdChemReactions.ReactionFromSmarts(f"{old}>>{new}")
        for _ in range(8):
            products = reaction.RunReactants((redrawn,))
            if not products or Chem.SanitizeMol(products[0][0], catchErrors=True):
                break
            redrawn = products[0][0]
    made.append(("uncharged", redrawn))
    if n_tautomers:
        enumerator = rdMolStandardize.TautomerEnumerator()
        enumerator.SetMaxTautomers(64)
        enumerator.SetRemoveBondStereo(False)
        enumerator.SetRemoveSp3Stereo(False)
        tautomers = list(enumerator.Enumerate(mol))
        made += [("tautomer", one) for one in rng.sample(tautomers, min(n_tautomers, len(tautomers)))]
    for kind, one in made:
        if one is not None and inchi.MolToInchi(one) == name:
            yield kind, Chem.MolToSmiles(one)
    yield "order", Chem.MolToSmiles(mol, doRandom=True)
    kekule = Chem.Mol(mol)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    yield "kekule", Chem.MolToSmiles(kekule, kekuleSmiles=True)


def main(
    libraries: Annotated[list[Path], typer.Argument(metavar="LIBRARY...", readable=False)],
    n: Annotated[int, typer.Option(help="Rows, drawn at random; 0: all.")] = 20_000,
    tautomers: Annotated[int, typer.Option(help="Tautomers tried of every tenth molecule.")] = 3,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file of the results.")] = None,
    show: Annotated[int, typer.Option(help="Examples printed.")] = 20,
) -> None:
    """Count the standard InChIKeys of LIBRARY that have more than one graph."""
    rdBase.DisableLog("rdApp.*")
    rng = random.Random(seed)
    texts = [row.text for path in libraries for batch in open_library(path).batches(10_000) for row in batch]
    texts = rng.sample(texts, min(n or len(texts), len(texts)))
    graphs: dict[str, set[str]] = defaultdict(set)
    kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    changed = rejected = 0
    examples = []
    for number, text in enumerate(texts):
        try:
            mol, removed = parse(text)
            molecule = describe(mol, removed)
        except InvalidMolecule:
            rejected += 1
            continue
        graphs[molecule.inchikey].add(molecule.smiles)
        if removed is None:
            changed += Chem.MolToSmiles(Chem.MolFromSmiles(text)) != molecule.smiles
        name = inchi.MolToInchi(mol)
        for kind, spelling in spellings(mol, name, 0 if number % 10 else tautomers, rng):
            kinds[kind][0] += 1
            try:
                other = describe(*parse(spelling))
            except InvalidMolecule:
                continue
            if other.removed is not None:  # InChI took a metal complex apart
                continue
            graphs[molecule.inchikey].add(other.smiles)
            if other.smiles != molecule.smiles:
                kinds[kind][1] += 1
                examples.append(
                    (kind, text, molecule.smiles, other.smiles, other.inchikey == molecule.inchikey)
                )
    several = share([len(forms) > 1 for forms in graphs.values()])
    result = {
        "libraries": [str(path) for path in libraries],
        "rows": len(texts),
        "rejected": rejected,
        "inchikeys": len(graphs),
        "with several graphs": several,
        "rows changed from the drawing": changed / (len(texts) - rejected),
        "spellings tried, with another graph": dict(kinds),
    }
    for kind, drawn_text, one, other, same_key in rng.sample(examples, min(show, len(examples))):
        typer.echo(f"{kind}\t{drawn_text}\t{one}\t{other}\t{'' if same_key else 'another InChIKey'}")
    finish("same molecule", result, out)


if __name__ == "__main__":
    typer.run(main)
