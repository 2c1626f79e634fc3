"""NMR lines in many styles, right and wrong, from a seeded generator."""

from __future__ import annotations

import random

SOLVENTS = [
    *("CDCl3", "DMSO-d6", "CD3OD", "D2O", "acetone-d6", "C6D6", "CD3CN", "CDCl₃", "CDCl~3~", "CD2Cl2"),
    *(
        "DMSO‑d6",
        "(CD3)2CO",
        "chloroform-d",
        "methanol-d4",
        "pyridine-d5",
        "d6-DMSO",
        "THF-d8",
        "CDCl3/CD3OD",
    ),
]
FIELDS = {"c_nmr": ["75", "100", "101", "125", "125.8", "126", "150", "151", "176"],
          "h_nmr": ["200", "300", "400", "400.13", "500", "600", "700"]}  # fmt: skip
HEADS = {
    "c_nmr": [
        "13C NMR ({f} MHz, {s}) δ ", "13C NMR ({s}, {f} MHz): δ = ", "13C NMR ({f} MHz, {s}): d ",
        "¹³C{{¹H}} NMR ({f} MHz, {s}) δC ", "^13^C NMR ({f} MHz, {s}) δ ", "13C NMR ({s}, {f} MHz, ppm): ",
        "<sup>13</sup>C NMR ({f} MHz, {s}) &delta; ", "13CNMR({s},{f} MHz)δ:",
        "C-13 NMR, {s}, {f} MHz, δ/ppm: ",
        "$^{{13}}$C NMR ({f} MHz, {s}) \\delta ", "13C NMR ({f} MHz, {s}) Î´ ", "Carbon NMR ({f} MHz, {s}): ",
        "13C ({f} MHz, {s}) δ (ppm) ", "NMR-13C ({f} MHz, {s}): ", "13C NMR (δ, {s}) ", "13C-NMR δ (ppm): ",
        "δC ({f} MHz; {s}) ", "δC ", "13C NMR: ", "", "", "δ ", "13C NMR data in {s} at {f} MHz: δ ",
        "C-13 nuclear magnetic resonance ({s}): ", "13C NMR (DEPT, {f} MHz, {s}, 25 °C) δ ",
    ],
    "h_nmr": [
        "1H NMR ({f} MHz, {s}) δ ", "1H NMR ({s}, {f} MHz): δ = ", "1H-NMR ({f} MHz, {s}): δ (ppm) ",
        "¹H NMR ({f} MHz, {s}) δH ", "^1^H NMR ({f} MHz, {s}) δ ", "1H NMR ({s}, {f} MHz, TMS, ppm): ",
        "<sup>1</sup>H NMR ({f} MHz, {s}) &delta; ", "1HNMR({s},{f} MHz)δ:", "H-1 NMR, {s}, {f} MHz, δ/ppm: ",
        "$^{{1}}$H NMR ({f} MHz, {s}) \\delta ", "Proton NMR ({f} MHz, {s}): ", "1H ({f} MHz, {s}) δ (ppm) ",
        "1H NMR (δ, {s}) ", "1H-NMR δ (ppm): ", "δH ({f} MHz; {s}) ", "δH ", "1H NMR: ", "", "", "δ ",
        "1H NMR (400 MHz, {s}, rt) delta ", "1H NMR ({f} MHz, {s}) shows δ (ppm) ",
    ],
}  # fmt: skip
DASHES = ["-", "–", "−", "—", "‒", " – ", " - ", "\u2009–\u2009", "‑", "~", " to "]
SEPARATORS = [", "] * 6 + ["; ", ",", ",\u2009", " ; ", ",  ", " ", "/", " , ", ". "]
CLOSES = [".", ".", " ppm.", "", " ppm", ";", " (ppm).", "…"]
HERTZ = [
    *("J = {} Hz", "J={}Hz", "³J = {} Hz", "J {} Hz", "J {}", "J = {}", "3J(H,H) = {} Hz", "J_HH = {} Hz"),
    *("JH,H = {} Hz", "J3',4' = {} Hz", "<i>J</i> = {} Hz", "*J* = {} Hz", "{} Hz", "³J_{{HH}} = {} Hz"),
]
MULTIPLICITIES = {
    0: ["s", "m", "br s", "brs", "bs", "br", "s, br", "singlet", "br. s."],
    1: ["d", "t", "q", "quint", "sept", "br d", "pseudo t", "app t", "doublet"],
    2: ["dd", "td", "dt", "dq", "ddd"],
    3: ["ddd", "dtd", "ddt", "dddd"],
}
CARBON_NOTES = [
    *(
        "",
        "",
        "",
        "",
        "",
        "(C)",
        "(CH)",
        "(CH2)",
        "(CH3)",
        "(CH₂)",
        "(2C)",
        "(2 C)",
        "(2 × C)",
        "(2×CH)",
        "x2",
    ),
    *("(C-4)", "(C-3')", "(C=O)", "(q)", "(t)", "(d)", "(s)", "(OCH3)", "(ArC)", "(Cq)", "(C-2/6)", "(2x)"),
    *("(CH, C-5)", "(overlapped)", "(d, JCF = 245.1 Hz)", "(q, 2JC-F = 32.4 Hz)", "(d, J = 3.2 Hz, CH)"),
]
PROTON_NOTES = [
    "",
    "",
    "",
    "H-3'",
    "OCH3",
    "ArH",
    "NH",
    "OH, D2O exchangeable",
    "CH2",
    "H-5a",
    "-CH3",
    "Ar-H",
]
SOLVENT_PEAKS = [
    *(
        "7.26",
        "7.26 (s, CHCl3)",
        "7.26 (CDCl3)",
        "7.27 (s)",
        "2.50 (DMSO)",
        "2.50 (quint, J = 1.8 Hz)",
        "3.33",
    ),
    *("3.33 (s, H2O)", "1.56 (s, H2O)", "4.79", "3.31 (CD3OD)", "2.05", "5.32 (CH2Cl2)", "0.00 (TMS)"),
]
BEFORE = [
    *("Yellow oil (85 %). ", "White solid; mp 128.5–129.3 °C; ", "Rf = 0.35 (hexane/EtOAc 4:1); ", "(3a): "),
    *(
        "[α]D25 = −15.4 (c 1.0, CHCl3); ",
        "IR (KBr): 3345, 1720.5, 1650 cm−1; ",
        "Compound 12b. ",
        "2-(4-Bromophenyl)-1H-indole: ",
    ),
]
AFTER = [
    " HRMS m/z calcd for C10H12N2O [M+H]+ 177.1022, found 177.1030.",
    " 19F NMR (376 MHz, CDCl3) δ -112.3, -63.5 (s).",
    " MS (EI) m/z (%): 328.1 (100), 121.2 (25).",
    " Anal. Calcd for C15H14O3: C, 74.36; H, 5.82.",
    " IR (KBr) 1720.5, 1650.1.",
    " 31P NMR (162 MHz): 24.5.",
    " See Table 2 and Figure 3.",
]
PIECES = [
    *("(", ")", "[", "δ", "δH ", "δC ", "J = ", " Hz", "13C NMR ", "1H NMR ", "–", "-", ", ", "; ", ".", "0"),
    *(
        "3H",
        "2 × C",
        " ppm",
        " and ",
        "between ",
        "nan",
        "′",
        "^{13}",
        "<sup>",
        "MS ",
        "…",
        "日",
        "1300",
        "I",
    ),
]
FIXED = [
    *(
        "155.4, 151.7, 148.6",
        "155,4; 151,7; 148,6",
        "27,4, 106,1, 112,5",
        "135. 4, 133.1, 126.2",
        "174, 155, 21",
    ),
    *(
        "155.4 151.7 148.6",
        "δ 174.2, 73,9, 55.1, 21.0",
        "168.78. 161.96, 160.64",
        "155,4,151,7",
        "7.26, 3.2",
        "NaN",
    ),
    "C-1: 105.2, C-2: 75.3; C-3 (70.2), OCH3 55.1",
    "Cq: δ = 168.6, 154.0; CH: 130.2; CH3: 20.8 ppm",
    "δ 155.4 / 154.2, 128.9 x 2, 127.1 (×3), 2 × 126.1",
    "δ 14.3 (CH3), [23.0, 26.2 (CH2, overlapping)], 50.5 (CH)",
    "a ketone (δC 200.2), two methyls (δC 13.4 and 19.5; δH 1.2)",
    "six olefinic methines (δH 6.81, 6.87 and 7.18) in the 1H NMR, two methylenes (δC 25.2; 29.7)",
    "13C NMR: aromatic carbons are found between 110 and 150 ppm, with peaks at δ 155.4 and 151.7",
    "13C NMR δ 166.7, 128.5, 125.6, 123.3, 119, 21, 35.3, 21.2, 19.8",
    "1H NMR δ 7.65 d (J3',4' = 8.2 Hz, 1H), 5.43 s (3H)",
    "1H NMR δ 7.65 (d, J = 8.2 Hz, 1H, 5.43 (s, 3H)",
    "1H NMR δ 7.65, d, J = 8.2 Hz, 1H; 5.43, s, 3H",
    "1H and 13C NMR data, see Table 1",
    "δ ١٢٨.٥, २०.१",
    "",
]


def nmr_lines(modality: str, n: int, seed: int) -> list[str]:
    """n lines: three in five well printed, the others with misprints, or of several kinds at once."""
    rng = random.Random(seed)
    lines = list(FIXED)
    while len(lines) < n:
        kind = rng.random()
        line = _line(modality, rng)
        if kind > 0.6:
            line = _misprinted(line, lines, rng)
        if kind > 0.93:
            other = "h_nmr" if modality == "c_nmr" else "c_nmr"
            line = f"{_line(other, rng)} {line}"
        lines.append(line.replace("\n", " ").replace("\r", " "))
    return lines[:n]


def _line(modality: str, rng: random.Random) -> str:
    head = rng.choice(HEADS[modality]).format(f=rng.choice(FIELDS[modality]), s=rng.choice(SOLVENTS))
    separator, dash = rng.choice(SEPARATORS), rng.choice(DASHES)
    one = _carbon if modality == "c_nmr" else _proton
    style = (dash, rng.choice(HERTZ), rng.random() < 0.5, rng.random() < 0.25, rng.random() < 0.08)
    peaks = [one(rng, *style) for _ in range(rng.randint(1, 16))]
    body = separator.join(peaks)
    if rng.random() < 0.15 and len(peaks) > 1:
        body = separator.join(peaks[:-1]) + " and " + peaks[-1]
    before = rng.choice(BEFORE) if rng.random() < 0.15 else ""
    after = rng.choice(AFTER) if rng.random() < 0.2 else ""
    return f"{before}{head}{body}{rng.choice(CLOSES)}{after}"


def _number(value: float, decimals: int, comma: bool) -> str:
    text = f"{abs(value):.{decimals}f}"
    return ("−" if value < 0 else "") + (text.replace(".", ",") if comma else text)


def _carbon(rng: random.Random, dash: str, hertz: str, label: bool, notes: bool, comma: bool) -> str:
    value = rng.choice([77.16, 77.2, 77.0, 39.5, 49.0]) if rng.random() < 0.06 else rng.uniform(-5, 215)
    shift = _number(value, rng.choice([1, 1, 1, 2, 0]), comma)
    if rng.random() < 0.03:
        shift = f"{shift}{dash}{_number(value - rng.uniform(0.1, 3), 1, comma)}"
    if rng.random() < 0.05:
        return f"{shift} (d, {hertz.format(f'{rng.uniform(2, 270):.1f}')})"
    note = rng.choice(CARBON_NOTES) if label else ""
    return f"{shift}{' ' if note else ''}{note}"


def _proton(rng: random.Random, dash: str, hertz: str, label: bool, notes: bool, comma: bool) -> str:
    if rng.random() < 0.06:  # of the solvent, or of water in it
        return rng.choice(SOLVENT_PEAKS)
    value = rng.choice([7.26, 2.50, 3.33, 1.56]) if rng.random() < 0.03 else rng.uniform(-0.5, 13)
    decimals = rng.choice([2, 2, 2, 1, 3])
    couplings = [f"{rng.uniform(0.5, 18):.1f}" for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
    multiplicity = rng.choice(MULTIPLICITIES[len(couplings)])
    shift = _number(value, decimals, comma)
    if multiplicity == "m" and rng.random() < 0.8:
        shift = f"{_number(value + rng.uniform(0.02, 0.3), decimals, comma)}{dash}{shift}"
    count = f"{rng.randint(1, 12)}{' ' if label else ''}H"
    parts = [multiplicity]
    if couplings:
        parts.append(hertz.format(", ".join(couplings)))
    parts.insert(0 if notes else len(parts), count)
    if label and (note := rng.choice(PROTON_NOTES)):
        parts.append(note)
    opening, closing = rng.choice([(" (", ")")] * 6 + [(", (", ")"), (" [", "]"), (", ", ""), ("(", ")")])
    return f"{shift}{opening}{', '.join(parts)}{closing}"


def _misprinted(text: str, others: list[str], rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        to = min(at + rng.randint(0, 6), len(text))
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:at] + text[to:]
        elif kind == 1:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif kind == 2:
            text = text[:at] + text[at:to] * rng.choice((2, 3)) + text[to:]
        elif kind == 3:
            other = rng.choice(others)
            cut = rng.randrange(len(other) + 1)
            text = text[:at] + other[cut : cut + 60]
        else:
            sign = rng.randrange(32, 127) if rng.random() < 0.7 else rng.randrange(0x2010, 0x2020)
            text = text[:at] + chr(sign) + text[to:]
    return text
