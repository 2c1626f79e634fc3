"""Molecules: structures read, standardised and described the same way everywhere (library, query, training).

`STANDARDISATION` lists the steps; every index stores it. The decisions:

- radicals are accepted as they are (nitroxides and nitric oxide are real compounds);
- metals and organometallics are accepted as long as RDKit reads them and InChI can name them, if need be
  without the dative bonds to the metal, which InChI does not know;
- dummy atoms (`*`, R groups), query atoms and bonds of unknown order are rejected: such a thing is a pattern;
- alkali and similar metals drawn with a bond to oxygen and the like are taken off as ions (`CC(=O)O[Na]`);
- a fragment with carbon is kept before one without (methylammonium perchlorate is about the amine), then one
  that is no counter-ion or solvent (`chem.salts`), then a base of those, then the one with more heavy atoms,
  then more atoms, then the heavier, then the one first in the alphabet;
- what has one standard InChI has one graph (`chem.tautomers`), as far as RDKit can rebuild it;
- a charge that no hydrogen can balance stays (choline, pralidoxime), and so do charges on neighbours (nitro
  groups) and charges of an ion whose neutral form RDKit cannot hold (hexafluorophosphate);
- hydrogens go, except those that carry an isotope, the geometry of a double bond, or a bridge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem import rdinchi, rdMolDescriptors
from rdkit.Chem.MolStandardize import rdMolStandardize

from acml_search.chem.salts import METAL_SYMBOLS, dispensable, split_metals
from acml_search.chem.tautomers import INCHI, lasting_cation, one_form, read_back, read_inchi, standard_inchi
from acml_search.core.errors import InvalidMolecule

MAX_CHARACTERS = 5_000
MAX_HEAVY_ATOMS = 1_000
MAX_BLOCK_CHARACTERS = 500_000

STANDARDISATION: dict[str, object] = {
    "version": 3,
    "steps": [
        "parse and sanitise",
        "drop atom maps and explicit hydrogens",
        "take covalently drawn salts apart",
        "keep the largest fragment, organic first, counter-ions and solvents last",
        "neutralise",
        "one form for each standard InChI",
        "canonical tautomer (option, off unless asked for)",
        "stereo kept",
    ],
    "max_characters": MAX_CHARACTERS,
    "max_heavy_atoms": MAX_HEAVY_ATOMS,
    "rdkit": rdBase.rdkitVersion,
    "inchi": rdinchi.GetInchiVersion(),
}

# Text that may need more than a parse: fragments, charges, maps, free hydrogens, wildcards, extensions.
_SIGNS = frozenset(".+*:~|> \t")
_BRACKETS = re.compile(rf"-\d*\]|\[\d*H|\[#|\[\d*(?:{METAL_SYMBOLS})")
_PROTON = Chem.MolFromSmarts("[#1+]")
_BY_NUMBER = re.compile(r"\[\d*#")
# The usual ways to write a nitro group: charges that standardisation leaves alone.
_NITRO = ("[N+](=O)[O-]", "[N+]([O-])=O", "[O-][N+](=O)", "O=[N+]([O-])")
_CARBON, _OTHER_WITH_H = Chem.MolFromSmarts("[#6]"), Chem.MolFromSmarts("[!#6;!#1;!H0]")


class Molecule(NamedTuple):
    """What a library stores of a structure."""

    smiles: str
    """Canonical, isomeric SMILES of the standardised molecule."""
    inchikey: str
    """Standard InChIKey, 27 characters."""
    formula: str
    """Hill order; a lasting charge at the end (`C5H14NO+`)."""
    exact_mass: float
    """Monoisotopic mass in Da of what `smiles` shows: labels and the electrons of a lasting charge count."""
    removed: str | None
    """SMILES of the fragments taken off, joined by '.'."""


def parse(structure: str | Chem.Mol, *, tautomer: bool = False) -> tuple[Chem.Mol, str | None]:
    """Read and standardise a SMILES, an InChI, a mol block or an RDKit molecule.

    Returns the sanitised molecule and the SMILES of removed fragments ('.'-joined, or None). `tautomer` also
    turns the molecule into its canonical tautomer, which takes milliseconds. Parsing the SMILES of a
    standardised molecule gives the same molecule.

    Raises `InvalidMolecule` for anything that is not one usable structure, with the reason.
    """
    if isinstance(structure, Chem.Mol):
        return _guarded(lambda: _of_rdkit(structure, tautomer))
    text = _text(structure, "SMILES").strip()
    if "\n" in text and "M  END" in text:
        return parse_block(structure, tautomer=tautomer)
    if not text:
        raise InvalidMolecule("the SMILES is empty")
    if len(text) > MAX_CHARACTERS:
        raise InvalidMolecule(
            f"the SMILES is too long: {len(text):,} characters, and {MAX_CHARACTERS:,} is the limit",
            smiles=text,
        )
    if not (text.isascii() and text.isprintable()):
        raise InvalidMolecule(_foreign_character(text), smiles=text)
    return _guarded(lambda: _of_line(text, tautomer), text)


def _of_line(text: str, tautomer: bool) -> tuple[Chem.Mol, str | None]:
    """From a SMILES or an InChI."""
    if text.startswith("InChI="):
        mol = read_inchi(text)
        if mol is None:
            raise InvalidMolecule("RDKit cannot read this InChI")
        return _standardise(mol, tautomer)
    mol = Chem.MolFromSmiles(text)
    if mol is None:
        raise InvalidMolecule(_why_unreadable(text))
    if not tautomer and not has_work(text):
        mol = one_form(mol)
        if len(text) > MAX_HEAVY_ATOMS:
            _check_size(mol)
        return mol, None
    _refuse_text_after(text)
    return _standardise(mol, tautomer)


def _of_rdkit(mol: Chem.Mol, tautomer: bool) -> tuple[Chem.Mol, str | None]:
    """From a molecule of the caller's, which stays as it is: sanitised or not, with hydrogens or without."""
    mol = Chem.Mol(mol)
    Chem.SanitizeMol(mol)
    return _standardise(Chem.RemoveHs(mol), tautomer)


def _guarded(
    read: Callable[[], tuple[Chem.Mol, str | None]], text: str | None = None
) -> tuple[Chem.Mol, str | None]:
    """What `read` gives, RDKit's errors as InvalidMolecule and its log silent."""
    block = rdBase.BlockLogs()
    try:
        return read()
    except InvalidMolecule as error:
        raise InvalidMolecule(error.reason, smiles=text) from None
    except (ValueError, RuntimeError) as error:  # RDKit's own exceptions derive from these
        raise InvalidMolecule(f"RDKit cannot process it: {_one_line(str(error))}", smiles=text) from error
    finally:
        del block


def read_stored(smiles: str) -> Chem.Mol:
    """A molecule from the SMILES that a library stores, as its vectors were made. Raises InvalidMolecule."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise InvalidMolecule("RDKit cannot read it", smiles=smiles)
    return mol


def parse_block(block: str, *, tautomer: bool = False) -> tuple[Chem.Mol, str | None]:
    """Read and standardise one mol block (V2000 or V3000) or one whole SDF record; else as `parse`."""
    if not _text(block, "mol block").strip():
        raise InvalidMolecule("the mol block is empty")
    head, end, _ = block.partition("M  END")
    if len(head) > MAX_BLOCK_CHARACTERS:
        raise InvalidMolecule(
            f"the mol block is too long: {len(head):,} characters, and {MAX_BLOCK_CHARACTERS:,} is the limit"
        )
    try:
        with rdBase.BlockLogs(), rdBase.CaptureErrorLog() as log:
            mol = Chem.MolFromMolBlock(head + end + "\n")
            if mol is None:
                raise InvalidMolecule(f"RDKit cannot read the mol block: {_first_message(log.messages)}")
            return _standardise(mol, tautomer)
    except (ValueError, RuntimeError) as error:
        raise InvalidMolecule(f"RDKit cannot process it: {_one_line(str(error))}") from error


def describe(mol: Chem.Mol, removed: str | None = None, inchikey: str = "") -> Molecule:
    """SMILES, InChIKey (made unless given), formula, exact mass. Raises `InvalidMolecule` without InChI."""
    try:
        with rdBase.BlockLogs():
            smiles = Chem.MolToSmiles(mol)
            inchikey = inchikey or inchikey_of(mol)
            formula = rdMolDescriptors.CalcMolFormula(mol)
            # A sum over atoms in another order differs in its last digits; atomic masses have nine.
            mass = round(rdMolDescriptors.CalcExactMolWt(mol), 9)
    except (ValueError, RuntimeError) as error:
        raise InvalidMolecule(f"RDKit cannot describe it: {_one_line(str(error))}") from error
    if len(smiles) > MAX_CHARACTERS:
        raise InvalidMolecule(
            f"its canonical SMILES is too long: {len(smiles):,} characters, {MAX_CHARACTERS:,} is the limit",
            smiles=smiles,
        )
    if not inchikey:
        raise InvalidMolecule(
            "no InChI can be made of it, so it could not be told from others", smiles=smiles
        )
    return Molecule(smiles, inchikey, formula, mass, removed)


def inchikey_of(mol: Chem.Mol) -> str:
    """Standard InChIKey; empty where InChI cannot name the molecule."""
    name = mol.GetProp(INCHI) if mol.HasProp(INCHI) else standard_inchi(mol)
    return str(rdinchi.InchiToInchiKey(name or standard_inchi(_without_dative_bonds(mol))))


def as_written(mol: Chem.Mol) -> Chem.Mol:
    """A molecule that `describe` was asked of, its atoms numbered as `read_stored` numbers its SMILES."""
    order = [int(place) for place in mol.GetProp("_smilesAtomOutputOrder")[1:-1].split(",") if place]
    return mol if order == list(range(len(order))) else Chem.RenumberAtoms(mol, order)


class AtomCounts(NamedTuple):
    """How many atoms of a kind a molecule has."""

    hydrogens: int
    exchangeable: int
    """hydrogens on anything but carbon, which a spectrum in D2O or CD3OD does not show"""
    carbons: int
    carbon_environments: int
    """carbons that symmetry tells apart, whatever the configuration"""


def count_atoms(mol: Chem.Mol) -> AtomCounts:
    """The counts of a standardised molecule; takes about 40 microseconds."""
    carbons = [place for (place,) in mol.GetSubstructMatches(_CARBON)]
    others = [mol.GetAtomWithIdx(place) for (place,) in mol.GetSubstructMatches(_OTHER_WITH_H)]
    ranks = Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False)
    return AtomCounts(
        mol.GetNumAtoms(onlyExplicit=False) - mol.GetNumHeavyAtoms(),
        sum(atom.GetTotalNumHs(includeNeighbors=True) for atom in others),
        len(carbons),
        len({ranks[place] for place in carbons}),
    )


def has_work(text: str) -> bool:
    """Could standardisation change what RDKit reads from `text`? Cheap, and True in doubt."""
    if "[" not in text:
        return not _SIGNS.isdisjoint(text)
    if "#" in text and _BY_NUMBER.search(text):  # [#1] is hydrogen in disguise
        return True
    for nitro in _NITRO:
        text = text.replace(nitro, "N")
    return not _SIGNS.isdisjoint(text) or _BRACKETS.search(text) is not None


def _standardise(mol: Chem.Mol, tautomer: bool) -> tuple[Chem.Mol, str | None]:
    """All steps after reading. The result is read from its own SMILES, so it is a fixed point."""
    _refuse_patterns(mol)
    mapped = False
    for atom in mol.GetAtoms():
        if atom.GetAtomMapNum():
            atom.SetAtomMapNum(0)
            mapped = True
    if mapped:
        mol = Chem.RemoveHs(mol)  # RDKit keeps hydrogens that have a map
    if mol.HasSubstructMatch(_PROTON):
        mol = read_inchi(standard_inchi(mol)) or mol
    mol, removed = _largest_fragment(split_metals(mol))
    _check_size(mol)

    neutral = _neutralise(mol)
    if neutral is not mol:
        neutral = lasting_cation(mol, neutral)
    again = read_back(neutral) or read_back(mol)
    if again is not None:
        again = one_form(again)
    if again is not None and tautomer:
        again = read_back(_tautomers().Canonicalize(again))
    if again is None:
        raise InvalidMolecule("RDKit cannot read back its own SMILES of the standardised molecule")
    return again, removed


def _refuse_patterns(mol: Chem.Mol) -> None:
    if mol.GetNumAtoms() == 0:
        raise InvalidMolecule("the structure has no atoms")
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 0:
            raise InvalidMolecule("it has a dummy atom (*, an R group or an attachment point)")
        if atom.HasQuery():
            raise InvalidMolecule("it has a query atom, so it is a pattern and not a molecule")
    for bond in mol.GetBonds():
        if bond.HasQuery() or bond.GetBondType() in (Chem.BondType.UNSPECIFIED, Chem.BondType.OTHER):
            raise InvalidMolecule("it has a bond of unknown order, so it is a pattern and not a molecule")


def _largest_fragment(mol: Chem.Mol) -> tuple[Chem.Mol, str | None]:
    if len(Chem.GetMolFrags(mol)) == 1:
        return mol, None
    fragments = [(Chem.MolToSmiles(part), part) for part in Chem.GetMolFrags(mol, asMols=True)]
    fragments.sort(key=lambda item: (*_rank(item[1]), item[0]))
    return fragments[0][1], ".".join(sorted(smiles for smiles, _ in fragments[1:]))


def _rank(fragment: Chem.Mol) -> tuple[bool, int, int, int, float]:
    """Sort key, smallest for the fragment to keep."""
    organic = any(atom.GetAtomicNum() == 6 for atom in fragment.GetAtoms())
    n_heavy, n_all = fragment.GetNumHeavyAtoms(), fragment.GetNumAtoms(onlyExplicit=False)
    return (
        not organic,
        dispensable(fragment) if organic else 0,
        -n_heavy,
        -n_all,
        -round(rdMolDescriptors.CalcExactMolWt(fragment), 9),
    )


def _check_size(mol: Chem.Mol) -> None:
    n_heavy = mol.GetNumHeavyAtoms()
    if n_heavy == 0:
        raise InvalidMolecule("the structure has no atoms heavier than hydrogen")
    if n_heavy > MAX_HEAVY_ATOMS:
        raise InvalidMolecule(
            f"it is too large: {n_heavy:,} heavy atoms, and {MAX_HEAVY_ATOMS:,} is the limit"
        )


def _neutralise(mol: Chem.Mol) -> Chem.Mol:
    if not any(atom.GetFormalCharge() for atom in mol.GetAtoms()):
        return mol
    return _uncharger().uncharge(mol)


@cache
def _uncharger() -> rdMolStandardize.Uncharger:
    return rdMolStandardize.Uncharger(canonicalOrder=True)


@cache
def _tautomers() -> rdMolStandardize.TautomerEnumerator:
    enumerator = rdMolStandardize.TautomerEnumerator()
    # RDKit's default would take the stereocentre of every amino acid.
    enumerator.SetRemoveSp3Stereo(False)
    enumerator.SetRemoveBondStereo(False)
    return enumerator


def _without_dative_bonds(mol: Chem.Mol) -> Chem.Mol:
    """Standard InChI cuts every bond to a metal, but does not know this kind of bond."""
    editable = Chem.RWMol(mol)
    for bond in mol.GetBonds():
        if bond.GetBondType() == Chem.BondType.DATIVE:
            editable.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    return editable.GetMol()


def _text(value: object, what: str) -> str:
    if value is None:
        raise InvalidMolecule(f"the {what} is missing")
    if not isinstance(value, str):
        raise InvalidMolecule(f"the {what} is not text but of type {type(value).__name__}")
    return value


# ---- why a structure cannot be read, in words of one line for `InvalidMolecule`


def _why_unreadable(text: str) -> str:
    """Why RDKit cannot read this SMILES. Parses it again, which does not matter after a failure."""
    if ">>" in text:
        return "this is a reaction, not a molecule"
    _refuse_text_after(text)
    with rdBase.CaptureErrorLog() as log:
        Chem.MolFromSmiles(text)
        raw: Chem.Mol | None = Chem.MolFromSmiles(text, sanitize=False)
    message = _first_message(log.messages)
    if raw is None:
        place = re.search(r"around (position \d+)", log.messages)
        # RDKit repeats the text; the error shows it already.
        message = re.sub(r" (for input|while parsing): .*", "", message)
        return f"RDKit cannot read this as a SMILES: {message}" + (f" near {place[1]}" if place else "")
    if "valence" in message.lower():
        return f"an atom has an impossible valence: {message}"
    if "kekul" in message.lower() or "aromatic" in message.lower():
        return f"an aromatic ring has no Kekulé structure: {message}"
    return f"RDKit reads it but cannot sanitise it: {message}"


def _refuse_text_after(text: str) -> None:
    """Raises InvalidMolecule when anything but a CXSMILES extension follows the SMILES."""
    parts = text.split(None, 1)
    if len(parts) == 2 and not (parts[1].startswith("|") and "|" in parts[1][1:]):
        raise InvalidMolecule("there is text after the SMILES, which should stand alone")


def _first_message(messages: str) -> str:
    """The first line of RDKit's log that tells a cause."""
    for line in messages.splitlines():
        message = re.sub(r"^\[[\d:]+\] ?", "", line).strip()
        message = message.removeprefix("SMILES Parse Error: ")
        # RDKit heads some messages with a line of stars and the kind of violation.
        if message and not message.startswith("*") and not message.endswith(" Violation"):
            return _one_line(message)
    return "it is incomplete, or not of this format"


def _one_line(message: str) -> str:
    """`message` without line breaks, at most 160 characters."""
    text = " ".join(message.split())
    return text if len(text) <= 160 else text[:159] + "…"


def _foreign_character(text: str) -> str:
    """Which character of `text` is not printable ASCII, and where."""
    for place, character in enumerate(text, start=1):
        if not (character.isascii() and character.isprintable()):
            return f"it holds a character that no SMILES has: {character!r} at position {place}"
    raise AssertionError("called for clean text")  # pragma: no cover
