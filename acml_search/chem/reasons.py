"""Why a structure cannot be read, in words of one line for `InvalidMolecule`."""

from __future__ import annotations

import re

from rdkit import Chem, rdBase

from acml_search.core.errors import InvalidMolecule


def why_unreadable(text: str) -> str:
    """Why RDKit made no molecule of this SMILES. Parses it again, which does not matter after a failure."""
    if ">>" in text:
        return "this is a reaction, not a molecule"
    refuse_text_after(text)
    with rdBase.CaptureErrorLog() as log:
        Chem.MolFromSmiles(text)
        raw: Chem.Mol | None = Chem.MolFromSmiles(text, sanitize=False)
    message = first_message(log.messages)
    if raw is None:
        place = re.search(r"around (position \d+)", log.messages)
        # RDKit repeats the text; the error shows it already.
        message = re.sub(r" (for input|while parsing): .*", "", message)
        return f"RDKit cannot read this as a SMILES: {message}" + (f" near {place[1]}" if place else "")
    if "valence" in message.lower():
        return f"an atom has an impossible valence: {message}"
    if "kekul" in message.lower() or "aromatic" in message.lower():
        return f"an aromatic ring has no Kekulé structure: {message}"
    return f"RDKit reads it but cannot make sense of it: {message}"


def refuse_text_after(text: str) -> None:
    """Raises InvalidMolecule when anything but a CXSMILES extension follows the SMILES."""
    parts = text.split(None, 1)
    if len(parts) == 2 and not (parts[1].startswith("|") and "|" in parts[1][1:]):
        raise InvalidMolecule("there is text after the SMILES, which should stand alone")


def first_message(messages: str) -> str:
    """The first line of RDKit's log that says something."""
    for line in messages.splitlines():
        message = re.sub(r"^\[[\d:]+\] ?", "", line).strip()
        message = message.removeprefix("SMILES Parse Error: ")
        # RDKit heads some messages with a line of stars and the kind of violation.
        if message and not message.startswith("*") and not message.endswith(" Violation"):
            return one_line(message)
    return "it is incomplete, or not of this format"


def one_line(message: str) -> str:
    """`message` without line breaks, at most 160 characters."""
    text = " ".join(message.split())
    return text if len(text) <= 160 else text[:159] + "…"


def foreign_character(text: str) -> str:
    """Which character of `text` is none of printable ASCII, and where."""
    for place, character in enumerate(text, start=1):
        if not (character.isascii() and character.isprintable()):
            return f"it holds a character that no SMILES has: {character!r} at position {place}"
    raise AssertionError("called for clean text")  # pragma: no cover
