"""SMILES strings read by their grammar: linked atom symbols, as the SMILES encoder takes them.

A SMILES is a depth-first walk with back references. The reader resolves branches and ring-closure digits
with a stack, so that each atom symbol is linked to the symbols it is bonded to; everything else
(aromaticity, hydrogens, rings, functional groups) the encoder has to learn from the symbols as they are
written. No chemistry toolkit takes part: the reader knows the grammar of OpenSMILES, not molecules.
Configuration (`@`, `@@`, `/`, `\\`) is not read: `[C@@H]` reads as `C`. Which mark is written depends on the
order of the walk, so it tells nothing alone, and many files leave it out.
"""

from __future__ import annotations

import re

import numpy as np
from rdkit import Chem

from acml_search.chem.graph import MolGraph
from acml_search.core.errors import InvalidRecord

MAX_SYMBOLS = 1_000

# Columns of a symbol and the number of values each can take.
SYMBOL_COLUMNS: dict[str, int] = {
    "element": 120,
    "aromatic": 2,  # written in lower case
    "bracket": 2,
    "hydrogens": 6,  # as written in brackets, 5 = 5 or more
    "charge": 9,  # + 4, clipped to -4..4
    "isotope": 2,
    "chirality": 2,  # always 0: the shipped encoder was pretrained with a column for marks
}
# Link codes: as written (nothing, -, =, #, :, unused, anything else), + 7 for a ring closure. RDKit writes
# dative bonds as arrows.
_BOND_SYMBOLS = {"-": 1, "=": 2, "#": 3, ":": 4, "/": 0, "\\": 0, "$": 6, "->": 6, "<-": 6, "~": 6}
_CLOSURE = 7
N_LINK_CODES = 2 * _CLOSURE

_TOKEN = re.compile(
    r"(?P<atom>\[[^\[\]]*\]|Br|Cl|[BCNOPSFIbcnops])|(?P<ring>%\d\d|\d)|(?P<other>->|<-|[-=#:/\\$~().])"
)
_BRACKET = re.compile(
    r"\[(?P<isotope>\d+)?(?P<symbol>[A-Z][a-z]?|[a-z][a-z]?)(?P<chirality>@(?:@|[A-Z]{2}\d+)?)?"
    r"(?P<h>H(?P<nh>\d*))?(?P<charge>\+\d+|-\d+|\++|-+)?(?::\d+)?\]"
)
_ELEMENTS = {Chem.GetPeriodicTable().GetElementSymbol(z): z for z in range(1, 119)}
_ORGANIC = {
    "B",
    "C",
    "N",
    "O",
    "P",
    "S",
    "F",
    "Cl",
    "Br",
    "I",
}  # written without brackets where nothing is odd
_symbol_rows: dict[str, tuple[int, ...]] = {}  # symbol as written -> its columns; few hundred in practice


def linked_symbols(text: str) -> MolGraph:
    """Symbols (n, 7) uint8, links (2, m) int32, codes (m,) uint8 of a SMILES. Raises `InvalidRecord`."""
    rows: list[tuple[int, ...]] = []
    links: list[tuple[int, int, int]] = []  # target, source, code
    branches: list[int] = []
    open_rings: dict[str, tuple[int, int]] = {}  # digit -> atom, bond code
    last = -1
    bond = 0
    end = 0
    for match in _TOKEN.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        token = match.group()
        kind = match.lastgroup
        if kind == "atom":
            here = len(rows)
            rows.append(_symbol_rows.get(token) or _read_symbol(token))
            if last >= 0:
                links += ((here, last, bond), (last, here, bond))
            last, bond = here, 0
        elif kind == "ring":
            if last < 0:
                raise _broken(f"ring closure {token} stands before any atom", text)
            if token in open_rings:
                start, written = open_rings.pop(token)
                code = (bond or written) + _CLOSURE
                links += ((last, start, code), (start, last, code))
            else:
                open_rings[token] = (last, bond)
            bond = 0
        elif token == "(":
            branches.append(last)
        elif token == ")":
            if not branches:
                raise _broken("a branch is closed that was not opened", text)
            last = branches.pop()
        elif token == ".":
            last = -1
        else:
            bond = _BOND_SYMBOLS[token]
    if end != len(text):
        raise _broken(f"character {text[end]!r} at position {end + 1} is not SMILES", text)
    if branches or open_rings:
        raise _broken("a branch or ring is left open", text)
    if not rows:
        raise _broken("it holds no atom", text)
    if len(rows) > MAX_SYMBOLS:
        raise InvalidRecord(f"it has {len(rows)} atoms, more than {MAX_SYMBOLS}", modality="smiles")
    linked = np.array(sorted(links), np.int32).reshape(-1, 3)
    return MolGraph(
        np.array(rows, np.uint8), np.ascontiguousarray(linked[:, [1, 0]].T), linked[:, 2].astype(np.uint8)
    )


def _read_symbol(token: str) -> tuple[int, ...]:
    """Columns of an atom symbol, entered into the memo."""
    isotope = hydrogens = charge = 0
    symbol, bracket = token, False
    if token[0] == "[":
        match = _BRACKET.fullmatch(token)
        if match is None:
            raise _broken(f"{token} is not a bracket atom", token)
        symbol = match["symbol"]
        isotope = int(match["isotope"] is not None)
        if match["h"]:
            hydrogens = int(match["nh"] or 1)
        written = match["charge"] or ""
        if written:
            sign = 1 if written[0] == "+" else -1
            charge = sign * (int(written[1:]) if written[1:].isdigit() else len(written))
        # Brackets that only a configuration mark asked for are left out with it.
        bracket = not (match["chirality"] and symbol in _ORGANIC and not isotope and not charge)
        if not bracket:
            hydrogens = 0
    element = _ELEMENTS.get(symbol.capitalize())
    if element is None:
        raise _broken(f"{token} is not an element", token)
    row = (
        element,
        int(symbol[0].islower()),
        int(bracket),
        min(hydrogens, 5),
        min(max(charge, -4), 4) + 4,
        isotope,
        0,
    )
    if len(_symbol_rows) < 100_000:  # a stranger's file cannot fill the memory with symbols
        _symbol_rows[token] = row
    return row


def _broken(reason: str, text: str) -> InvalidRecord:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return InvalidRecord(f"{reason} (in {shown!r})", modality="smiles")
