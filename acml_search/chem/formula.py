"""Molecular formulas as people type them, brought to the Hill order that the library stores.

Hill order as RDKit has it: carbon, hydrogen, then the other elements by alphabet; hydrogen comes first
without carbon too (HCl, H3BO3), where Hill himself went by alphabet. A charge follows as RDKit writes it:
`+`, `-`, `+2`, `-2`.

Accepted beside plain formulas: subscripts (C₆H₆), superscript charges (Ca²⁺), the minus signs of papers,
groups (Ca(OH)2), a bracketed ion ([C6H5O]-, [Ca]2+), a charge after ^ (SO4^2-), spaces, and D or T, which
count as H because the library's formulas do not tell isotopes. `Ca2+` is read as RDKit writes formulas: two
Ca, charge +1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from rdkit import Chem

from acml_search.core.errors import FilterError, shorten

ELEMENTS = frozenset(Chem.GetPeriodicTable().GetElementSymbol(number) for number in range(1, 119))
MAX_CHARACTERS = 200
"""no molecule of a library needs more"""
MAX_COUNT = 100_000
"""atoms of one element"""
_ISOTOPES_OF_HYDROGEN = ("D", "T")
_PLAIN = str.maketrans(
    {
        **dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)),
        **dict.fromkeys("₋−–—‐‑﹣－", "-"),
        **dict.fromkeys("₊＋", "+"),
    }
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT_CHARGE = re.compile(r"[⁺⁻][⁰¹²³⁴⁵⁶⁷⁸⁹]+|[⁰¹²³⁴⁵⁶⁷⁸⁹]*[⁺⁻]")
# "+2" and "-" as RDKit writes them may follow anything; "2-" only where the digits cannot be a count: after ^
# or ]
_CHARGE = re.compile(r"(?:\^(?P<caret>\d*)(?P<csign>[+-])|(?P<sign>[+-]+)(?P<size>\d*))$", re.ASCII)
_BRACKET = re.compile(
    r"\[(?P<body>[^\[\]]+)\](?P<charge>(?:\^?\d*[+-])|(?:\^?[+-]\d+)|(?:[+-]+))?$", re.ASCII
)
_TOKEN = re.compile(r"(?P<symbol>[A-Z][a-z]?)|(?P<open>\()|(?P<close>\))|(?P<number>\d+)", re.ASCII)


def hill(text: str) -> str:
    """`text` as a formula in Hill order with its charge. Raises FilterError saying what is wrong."""
    if not text.strip():
        raise FilterError("the formula is empty; write one like C9H8O4")
    if len(text) > MAX_CHARACTERS:
        raise FilterError(f"the formula {shorten(text)!r} has more than {MAX_CHARACTERS} characters")
    # a superscript can only be a charge, so it is marked before its digits become ordinary ones
    plain = _SUPERSCRIPT_CHARGE.sub(_caret_charge, text)
    plain = "".join(plain.translate(_PLAIN).split())
    body, charge = _split_charge(plain)
    return write_formula(_count_atoms(body, text), charge)


def write_formula(atoms: Mapping[str, int], charge: int = 0, *, as_rdkit: bool = True) -> str:
    """Counts of elements (those of 0 or less are left out) and a charge as a formula.

    as_rdkit: hydrogen comes first without carbon too ("HF"); else all by alphabet there, as Hill ("FH").
    """
    present = {symbol: n for symbol, n in atoms.items() if n > 0}
    first = {"C": 0, "H": 1} if as_rdkit or "C" in atoms else {}
    order = sorted(present, key=lambda symbol: (first.get(symbol, 2), symbol))
    formula = "".join(symbol + (str(present[symbol]) if present[symbol] > 1 else "") for symbol in order)
    if charge:
        formula += ("+" if charge > 0 else "-") + (str(abs(charge)) if abs(charge) > 1 else "")
    return formula


def _caret_charge(superscript: re.Match[str]) -> str:
    """ "²⁺" and "⁺²" as "^2+"."""
    charge = superscript.group().translate(_SUPERSCRIPT)
    return "^" + (charge[1:] + charge[0] if charge[0] in "+-" else charge)


def _split_charge(plain: str) -> tuple[str, int]:
    """The formula without its charge, and the charge in elementary charges."""
    if bracket := _BRACKET.match(plain):
        written = (bracket["charge"] or "").replace("^", "")
        digits = written.strip("+-")
        signs = written.replace(digits, "") if digits else written
        return bracket["body"], _charge(signs, digits)
    if end := _CHARGE.search(plain):
        signs, digits = (end["csign"], end["caret"]) if end["csign"] else (end["sign"], end["size"])
        return plain[: end.start()], _charge(signs, digits)
    return plain, 0


def _charge(signs: str, digits: str) -> int:
    if len(set(signs)) > 1 or (len(signs) > 1 and digits):
        raise FilterError(
            f"the charge {signs + digits!r} of the formula is contradictory; write +, -, +2 or -2"
        )
    size = int(digits) if digits else len(signs)
    return -size if signs.startswith("-") else size


def _count_atoms(body: str, text: str) -> Counter[str]:
    """How many atoms of each element `body` holds; `text` is for the messages."""
    groups: list[Counter[str]] = [Counter()]
    last: Counter[str] | None = None  # what a number would multiply
    at = 0
    while at < len(body):
        token = _TOKEN.match(body, at)
        if token is None:
            raise FilterError(
                f"the formula {text!r} has {body[at]!r} where an element was expected; {_advice(body[at])}"
            )
        at = token.end()
        if symbol := token["symbol"]:
            if symbol not in ELEMENTS and symbol not in _ISOTOPES_OF_HYDROGEN:
                raise FilterError(f"the formula {text!r} names {symbol!r}, which is no element")
            last = Counter({"H" if symbol in _ISOTOPES_OF_HYDROGEN else symbol: 1})
            groups[-1] += last
        elif token["open"]:
            groups.append(Counter())
            last = None
        elif token["close"]:
            if len(groups) == 1:
                raise FilterError(f"the formula {text!r} closes a parenthesis that was not opened")
            last = groups.pop()
            groups[-1] += last
        else:
            n = int(token["number"])
            if last is None:
                raise FilterError(
                    f"the formula {text!r} has the number {token['number']} with no element before it"
                )
            if not 1 <= n <= MAX_COUNT:
                raise FilterError(
                    f"the formula {text!r} has the count {n}; counts go from 1 to {MAX_COUNT:,}"
                )
            groups[-1].update({symbol: one * (n - 1) for symbol, one in last.items()})
            last = None
    if len(groups) > 1:
        raise FilterError(f"the formula {text!r} opens a parenthesis that is not closed")
    if not groups[0]:
        raise FilterError(f"the formula {text!r} holds no atoms")
    return groups[0]


def _advice(character: str) -> str:
    if character in ".·*•":
        return "the library keeps the largest fragment only, so give that one's formula"
    if character.islower():
        return "an element starts with a capital letter (CO is carbon monoxide, Co is cobalt)"
    if character in "[]":
        return "square brackets may only enclose the whole formula, as in [C6H5O]-"
    return "write one like C9H8O4"
