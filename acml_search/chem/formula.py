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

from acml_search.core.errors import FilterError, shorten

ELEMENTS = frozenset(
    """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br
    Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er
    Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md
    No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
    """.split()  # noqa: SIM905
)
_HYDROGEN = {"D": "H", "T": "H"}
_LONGEST = 200  # characters; no molecule of a library needs more
_MOST = 100_000  # atoms of one element

_PLAIN = str.maketrans(
    {
        **dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)),
        **dict.fromkeys("₋−–—‐‑﹣－", "-"),
        **dict.fromkeys("₊＋", "+"),
    }
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPER_RUN = re.compile(r"[⁺⁻][⁰¹²³⁴⁵⁶⁷⁸⁹]+|[⁰¹²³⁴⁵⁶⁷⁸⁹]*[⁺⁻]")
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
    if len(text) > _LONGEST:
        raise FilterError(f"the formula {shorten(text)!r} has more than {_LONGEST} characters")
    # a superscript can only be a charge, so it is marked before its digits become ordinary ones
    plain = _SUPER_RUN.sub(lambda run: "^" + _caret(run.group().translate(_SUPERSCRIPT)), text)
    plain = "".join(plain.translate(_PLAIN).split())
    body, charge = _split_charge(plain)
    return _write(_count(body, text), charge)


def _caret(charge: str) -> str:
    """`-2` as `2-`: one order, digits first."""
    return charge[1:] + charge[0] if charge[0] in "+-" else charge


def _split_charge(plain: str) -> tuple[str, int]:
    """The formula without its charge, and the charge in elementary charges."""
    if bracket := _BRACKET.match(plain):
        written = (bracket["charge"] or "").replace("^", "")
        digits = written.strip("+-")
        signs = written.replace(digits, "") if digits else written
        return bracket["body"], _signed(signs, digits)
    if end := _CHARGE.search(plain):
        if end["csign"]:
            return plain[: end.start()], _signed(end["csign"], end["caret"])
        return plain[: end.start()], _signed(end["sign"], end["size"])
    return plain, 0


def _signed(signs: str, digits: str) -> int:
    if len(set(signs)) > 1 or (len(signs) > 1 and digits):
        raise FilterError(
            f"the charge {signs + digits!r} of the formula makes no sense; write +, -, +2 or -2"
        )
    size = int(digits) if digits else len(signs)
    return -size if signs.startswith("-") else size


def _count(body: str, text: str) -> Counter[str]:
    """How many atoms of each element `body` holds; `text` is only for the messages."""
    stack: list[Counter[str]] = [Counter()]
    last: Counter[str] | None = None  # what a number would multiply
    at = 0
    while at < len(body):
        token = _TOKEN.match(body, at)
        if token is None:
            raise FilterError(
                f"the formula {text!r} has {body[at]!r} where an element was expected; {_hint(body[at])}"
            )
        at = token.end()
        if token["symbol"]:
            symbol = token["symbol"]
            if symbol not in ELEMENTS and symbol not in _HYDROGEN:
                raise FilterError(f"the formula {text!r} names {symbol!r}, which is no element")
            last = Counter({_HYDROGEN.get(symbol, symbol): 1})
            stack[-1] += last
        elif token["open"]:
            stack.append(Counter())
            last = None
        elif token["close"]:
            if len(stack) == 1:
                raise FilterError(f"the formula {text!r} closes a parenthesis that was not opened")
            last = stack.pop()
            stack[-1] += last
        else:
            if last is None:
                raise FilterError(
                    f"the formula {text!r} has the number {token['number']} with no element before it"
                )
            n = int(token["number"])
            if not 1 <= n <= _MOST:
                raise FilterError(f"the formula {text!r} has the count {n}; counts go from 1 to {_MOST:,}")
            for symbol, one in last.items():
                stack[-1][symbol] += one * (n - 1)
            last = None
    if len(stack) > 1:
        raise FilterError(f"the formula {text!r} opens a parenthesis that is not closed")
    if not stack[0]:
        raise FilterError(f"the formula {text!r} holds no atoms")
    return stack[0]


def _hint(character: str) -> str:
    if character in ".·*•":
        return "the library keeps the largest fragment only, so give that one's formula"
    if character.islower():
        return "an element starts with a capital letter (CO is carbon monoxide, Co is cobalt)"
    if character in "[]":
        return "square brackets may only enclose the whole formula, as in [C6H5O]-"
    return "write one like C9H8O4"


def _write(atoms: Counter[str], charge: int) -> str:
    first = [symbol for symbol in ("C", "H") if symbol in atoms]
    order = first + sorted(set(atoms) - set(first))
    formula = "".join(symbol + (str(atoms[symbol]) if atoms[symbol] > 1 else "") for symbol in order)
    if charge:
        formula += ("+" if charge > 0 else "-") + (str(abs(charge)) if abs(charge) > 1 else "")
    return formula
