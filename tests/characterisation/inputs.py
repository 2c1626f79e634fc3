"""Molecules, spectra and pictures that the characterisation tests search for and in, written as files."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rdkit import Chem, RDConfig
from rdkit.Chem import Crippen, rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D
from spectrum_files import C13, CURVE, H1, mzml, scan

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

MOLECULES = {
    "ethanol": "CCO",
    "ethylamine": "CCN",
    "acetic acid": "CC(=O)O",
    "ethyl acetate": "CCOC(C)=O",
    "butanone": "CCC(C)=O",
    "diethyl ether": "CCOCC",
    "L-alanine": "C[C@H](N)C(=O)O",
    "D-alanine": "C[C@@H](N)C(=O)O",
    "lactic acid": "CC(O)C(=O)O",
    "benzene": "c1ccccc1",
    "toluene": "Cc1ccccc1",
    "phenol": "Oc1ccccc1",
    "aniline": "Nc1ccccc1",
    "anisole": "COc1ccccc1",
    "benzoic acid": "OC(=O)c1ccccc1",
    "salicylic acid": "OC(=O)c1ccccc1O",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "phenacetin": "CCOc1ccc(NC(C)=O)cc1",
    "ibuprofen": "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "naproxen": "COc1ccc2cc(ccc2c1)[C@H](C)C(=O)O",
    "caffeine": "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "theobromine": "Cn1cnc2c1c(=O)[nH]c(=O)n2C",
    "theophylline": "Cn1c2nc[nH]c2c(=O)n(C)c1=O",
    "nicotine": "CN1CCC[C@H]1c1cccnc1",
    "vanillin": "COc1cc(C=O)ccc1O",
    "isovanillin": "COc1ccc(C=O)cc1O",
    "o-vanillin": "COc1cccc(C=O)c1O",
    "methylparaben": "COC(=O)c1ccc(O)cc1",
    "mandelic acid": "OC(C(=O)O)c1ccccc1",
    "phenoxyacetic acid": "O=C(O)COc1ccccc1",
    "menthol": "CC(C)[C@@H]1CC[C@@H](C)C[C@H]1O",
    "camphor": "CC1(C)C2CCC1(C)C(=O)C2",
    "limonene": "CC1=CCC(CC1)C(C)=C",
    "coumarin": "O=c1ccc2ccccc2o1",
    "indole": "c1ccc2[nH]ccc2c1",
    "tryptophan": "N[C@@H](Cc1c[nH]c2ccccc12)C(=O)O",
    "phenylalanine": "N[C@@H](Cc1ccccc1)C(=O)O",
    "glucose": "OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O",
    "bromobenzene": "Brc1ccccc1",
    "4-bromopyridine": "Brc1ccncc1",
    "chlorpromazine": "CN(C)CCCN1c2ccccc2Sc2ccc(Cl)cc21",
    "sulfanilamide": "Nc1ccc(cc1)S(N)(=O)=O",
    "fluoxetine": "CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1",
    "choline chloride": "C[N+](C)(C)CCO.[Cl-]",
    "lidocaine": "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "quinine": "COc1ccc2nccc([C@@H](O)[C@@H]3C[C@@H]4CC[N@]3C[C@@H]4C=C)c2c1",
}
BROKEN = ["nonsense", "C1CC", ""]

PARACETAMOL_C = "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
VANILLIN_C = "13C NMR (151 MHz, CDCl3) δ 190.9, 151.7, 147.1, 129.9, 127.5, 114.4, 108.7, 77.16, 56.1."
VANILLIN_H = (
    "1H NMR (600 MHz, CDCl3): δ 9.83 (s, 1H), 7.45 – 7.40 (m, 2H), 7.04 (d, J = 8.5 Hz, 1H), "
    "6.21 (br s, 1H), 3.96 (s, 3H)."
)
DEPT = "170.3 (C), 60.4 (CH2), 21.0 (CH3), 14.2 (CH3)"

Peaks = list[tuple[float, float]]
TANDEM: list[tuple[str | None, float, str, str, Peaks]] = [
    ("caffeine", 195.0877, "[M+H]+", "HCD 30", [(110.0713, 12.5), (138.0662, 100.0), (195.0877, 40.25)]),
    ("paracetamol", 152.0706, "[M+H]+", "20 eV", [(65.0386, 20.0), (93.0335, 10.0), (110.0600, 100.0)]),
    (
        "nicotine",
        163.1230,
        "[M+H]+",
        "35",
        [(84.0808, 20.0), (106.0651, 30.0), (117.0573, 35.0), (130.0651, 100.0), (132.0808, 60.0)],
    ),
    ("salicylic acid", 137.0244, "[M-H]-", "15 eV", [(65.0397, 8.0), (93.0346, 100.0), (137.0244, 30.0)]),
    (
        "caffeine",
        195.0877,
        "[M+H]+",
        "60 eV",
        [(42.0338, 30.0), (69.0447, 55.0), (83.0604, 30.0), (110.0713, 100.0), (138.0662, 45.0)],
    ),
    (None, 180.1019, "[M+H]+", "20 eV", [(138.0913, 70.0), (110.0600, 100.0)]),
    (
        "vanillin",
        153.0546,
        "[M+H]+",
        "20 eV",
        [(65.0386, 42.0), (93.0335, 100.0), (111.0441, 23.0), (125.0597, 71.0), (153.0546, 38.0)],
    ),
    ("ibuprofen", 205.1234, "[M-H]-", "10 eV", [(159.1179, 30.0), (161.1336, 100.0)]),
    ("lidocaine", 235.1805, "[M+H]+", "30 eV", [(58.0651, 15.0), (86.0964, 100.0)]),
    (
        "tryptophan",
        205.0972,
        "[M+H]+",
        "20 eV",
        [(118.0651, 25.0), (132.0808, 20.0), (146.0600, 70.0), (170.0600, 10.0), (188.0706, 100.0)],
    ),
]
ELECTRON_IMPACT: list[tuple[str, Peaks]] = [
    ("ethanol", [(15, 52), (27, 220), (29, 301), (30, 62), (31, 999), (45, 514), (46, 216)]),
    ("ethylamine", [(28, 120), (30, 999), (44, 200), (45, 190)]),
    ("toluene", [(39, 110), (51, 60), (65, 120), (91, 999), (92, 620)]),
    ("phenol", [(39, 110), (65, 300), (66, 320), (94, 999)]),
    ("anisole", [(39, 120), (51, 80), (65, 560), (78, 640), (93, 140), (108, 999)]),
    ("ethyl acetate", [(29, 140), (43, 999), (45, 140), (61, 130), (70, 100), (88, 40)]),
    ("butanone", [(29, 180), (43, 999), (57, 60), (72, 170)]),
    ("caffeine", [(55, 250), (67, 330), (82, 220), (109, 600), (194, 999)]),
    ("vanillin", [(81, 120), (109, 150), (123, 120), (151, 999), (152, 970)]),
    ("benzoic acid", [(50, 200), (51, 330), (77, 700), (105, 999), (122, 850)]),
]
CARBON: dict[str, list[float]] = {
    "paracetamol": [169.0, 153.1, 130.9, 121.3, 115.0, 23.8],
    "vanillin": [191.0, 151.7, 147.2, 129.8, 127.5, 114.4, 108.8, 56.1],
    "caffeine": [155.4, 151.7, 148.7, 141.4, 107.6, 33.6, 29.7, 27.9],
    "ethyl acetate": [171.1, 60.4, 21.0, 14.2],
    "camphor": [219.7, 57.7, 46.8, 43.3, 43.1, 29.9, 27.1, 19.8, 19.1, 9.2],
    "coumarin": [160.7, 154.1, 143.4, 131.8, 127.8, 124.4, 118.8, 116.9, 116.7],
    "ibuprofen": [181.0, 140.8, 136.9, 129.3, 127.3, 45.0, 44.9, 30.1, 22.3, 18.1],
    "toluene": [137.8, 129.0, 128.2, 125.3, 21.4],
    "indole": [135.8, 127.9, 124.2, 122.0, 120.8, 119.9, 111.1, 102.6],
    "menthol": [71.5, 50.1, 45.0, 34.5, 31.6, 25.8, 23.1, 22.2, 21.0, 16.1],
}
PROTON: dict[str, list[tuple[float, int, str]]] = {
    "paracetamol": [(9.64, 1, "s"), (9.14, 1, "s"), (7.34, 2, "d"), (6.68, 2, "d"), (1.98, 3, "s")],
    "vanillin": [(9.83, 1, "s"), (7.42, 2, "m"), (7.04, 1, "d"), (6.21, 1, "br s"), (3.96, 3, "s")],
    "caffeine": [(7.51, 1, "s"), (3.99, 3, "s"), (3.58, 3, "s"), (3.40, 3, "s")],
    "ethyl acetate": [(4.12, 2, "q"), (2.04, 3, "s"), (1.26, 3, "t")],
    "ethanol": [(3.69, 2, "q"), (2.61, 1, "s"), (1.23, 3, "t")],
    "toluene": [(7.24, 2, "t"), (7.16, 3, "m"), (2.35, 3, "s")],
    "anisole": [(7.29, 2, "t"), (6.95, 1, "t"), (6.90, 2, "d"), (3.80, 3, "s")],
    "ibuprofen": [
        (7.22, 2, "d"),
        (7.10, 2, "d"),
        (3.71, 1, "q"),
        (2.44, 2, "d"),
        (1.85, 1, "m"),
        (1.50, 3, "d"),
        (0.90, 6, "d"),
    ],
    "butanone": [(2.45, 2, "q"), (2.14, 3, "s"), (1.06, 3, "t")],
    "phenacetin": [
        (7.37, 2, "d"),
        (7.10, 1, "br s"),
        (6.84, 2, "d"),
        (4.01, 2, "q"),
        (2.14, 3, "s"),
        (1.40, 3, "t"),
    ],
}
DRAWN = ["vanillin", "caffeine", "aspirin", "lidocaine", "4-bromopyridine"]

EI_JCAMP = """##TITLE=ETHANOL
##JCAMP-DX=4.24
##DATA TYPE=MASS SPECTRUM
##ORIGIN=made by hand $$ with a comment
##MOLFORM=C2 H6 O
##XUNITS=M/Z
##YUNITS=RELATIVE INTENSITY
##XFACTOR=1
##YFACTOR=0.1
##NPOINTS=4
##PEAK TABLE=(XY..XY)
27,2200 29,3010
31,9990 45,5140
##END=
"""


def rdkit_smiles(n: int, *, least: int = 1, most: int = 60) -> list[str]:
    """The first n molecules of RDKit's NCI file with `least` to `most` heavy atoms in one fragment."""
    found: list[str] = []
    with open(Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi", encoding="utf-8") as lines:
        for line in lines:
            text = line.split()[0]
            mol = Chem.MolFromSmiles(text) if "." not in text else None
            if mol is not None and least <= mol.GetNumHeavyAtoms() <= most:
                found.append(text)
                if len(found) == n:
                    break
    return found


def screening_smiles(n: int) -> list[str]:
    """The first n molecules of RDKit's WEHI file."""
    path = Path(RDConfig.RDDataDir) / "Pains" / "test_data" / "wehi_mols.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [row[0] for row in csv.reader(lines) if row]
    return [text for text in rows if Chem.MolFromSmiles(text) is not None][:n]


def picture(smiles: str, width: int = 300, height: int = 220) -> bytes:
    """A PNG file, drawn by RDKit."""
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    drawer = rdMolDraw2D.MolDraw2DCairo(width, height)
    drawer.drawOptions().useBWAtomPalette()
    drawer.DrawMolecule(rdMolDraw2D.PrepareMolForDrawing(mol))
    drawer.FinishDrawing()
    return drawer.GetDrawingText()


def write_inputs(folder: Path) -> None:
    """Every file that the command lines name, under its name there."""
    names = list(MOLECULES)
    rows = [[MOLECULES[name], name, f"{1.5 * i:g}", f"V{i % 3}"] for i, name in enumerate(names)]
    rows += [["OCC", "ethanol again", "3", "V9"], *([text, "broken", "1", "V9"] for text in BROKEN)]
    _csv(folder / "library.csv", ["smiles", "name", "price", "vendor"], rows)
    _csv(folder / "renamed.csv", ["id", "structure"], [["1", "CCO"], ["2", "C1CC"], ["3", "Cc1ccccc1"]])
    (folder / "few.smi").write_text("CCO a\nOCC b\nC1CC c\nCC(=O)Oc1ccccc1C(=O)O d\nCCCCCCCC e\n")
    (folder / "more.smi").write_text("CCCCCCO hexanol\nCCO ethanol\nCOC ether\nbad one\n")
    (folder / "bad.smi").write_text("C1CC b\n")
    (folder / "empty.smi").write_text("")
    writer = Chem.SDWriter(str(folder / "library.sdf"))
    for name in ("phenol", "caffeine", "L-alanine"):
        mol = Chem.MolFromSmiles(MOLECULES[name])
        rdDepictor.Compute2DCoords(mol)
        mol.SetProp("_Name", name)
        mol.SetProp("supplier", "by hand")
        writer.write(mol)
    writer.close()
    _mass_spectra(folder)
    _nmr(folder)
    for name in DRAWN:
        (folder / f"{name}.png").write_bytes(picture(MOLECULES[name]))
    (folder / "no-picture.png").write_bytes(b"this is no picture")
    labels = rdkit_smiles(120, least=6, most=25)
    values = [Crippen.MolLogP(Chem.MolFromSmiles(text)) for text in labels]
    rows = [[text, f"{value:.3f}", str(int(value > 1.5))] for text, value in zip(labels, values, strict=True)]
    rows += [["C1CC", "1", "0"], ["CCCCCO", "", ""]]
    _csv(folder / "labels.csv", ["smiles", "logp", "greasy"], rows)
    for name in ("v1-flat", "v1-ivf"):
        shutil.copytree(GOLDEN / name, folder / name)


def write_bench(folder: Path, queries: dict[str, list[dict[str, Any]]]) -> None:
    """The pool of `bench` and its queries, a file for each modality, as stored: made by the predictions of
    the weights then.
    """
    pool = rdkit_smiles(400, least=8, most=30)
    (folder / "pool.smi").write_text("\n".join(pool) + "\n")
    for modality, rows in queries.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"ask-{modality}.parquet")


def _csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


def _mass_spectra(folder: Path) -> None:
    blocks, ions, scans, rows = [], [], [], []
    for n, (name, precursor, adduct, energy, peaks) in enumerate(TANDEM, 1):
        smiles = None if name is None else MOLECULES[name]
        lines = [f"Name: {name or 'unknown'}", f"Precursor_type: {adduct}", f"PrecursorMZ: {precursor}"]
        lines += [f"Ion_mode: {'P' if adduct.endswith('+') else 'N'}", f"Collision_energy: {energy}"]
        lines += [f"SMILES: {smiles}"] if smiles else []
        body = [f"{mz:.4f} {height:g}" for mz, height in peaks]
        blocks.append("\n".join([*lines, f"Num Peaks: {len(peaks)}", *body]))
        head = ["BEGIN IONS", f"TITLE=spectrum {n}", f"PEPMASS={precursor}"]
        head += [f"ADDUCT={adduct}"] if n % 2 else [f"CHARGE=1{adduct[-1]}"]
        ions.append("\n".join([*head, *body, "END IONS"]))
        mzs, intensities = (list(column) for column in zip(*peaks, strict=True))
        scans.append(scan(mzs, intensities, precursor=precursor, number=n))
        rows.append({"smiles": smiles, "mzs": mzs, "intensities": intensities, "precursor_mz": precursor,
                     "adduct": adduct, "collision_energy": energy})  # fmt: skip
    (folder / "tandem.msp").write_text("\n\n".join(blocks) + "\n")
    (folder / "tandem.mgf").write_text("\n\n".join(ions) + "\n")
    (folder / "tandem.mzML").write_text(mzml(*scans))
    pq.write_table(pa.Table.from_pylist([row for row in rows if row["smiles"]]), folder / "tandem.parquet")
    (folder / "coarse.mgf").write_text("BEGIN IONS\nPEPMASS=152.1\n65.0 20\n93.0 10\n110.1 100\nEND IONS\n")
    (folder / "bad-adduct.mgf").write_text(
        "BEGIN IONS\nPEPMASS=152.0706\nADDUCT=[M+Foo]+\n65.04 20\n110.06 100\nEND IONS\n"
    )
    (folder / "silent.mgf").write_text("BEGIN IONS\nPEPMASS=152.0706\nEND IONS\n")
    blocks = [
        "\n".join([f"NAME: {name}", f"SMILES: {MOLECULES[name]}", f"Num Peaks: {len(peaks)}",
                   *(f"{mz} {height}" for mz, height in peaks)])
        for name, peaks in ELECTRON_IMPACT
    ]  # fmt: skip
    (folder / "impact.msp").write_text("\n\n".join(blocks) + "\n")
    (folder / "impact.jdx").write_text(EI_JCAMP)


def _nmr(folder: Path) -> None:
    rows = [{"smiles": MOLECULES[name], "shifts": shifts} for name, shifts in CARBON.items()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "carbon.parquet")
    broken = [*rows[:3], {"smiles": "CCO", "shifts": []}, {"smiles": "CCO", "shifts": [2000.0]}]
    pq.write_table(pa.Table.from_pylist(broken), folder / "carbon-broken.parquet")
    rows = [
        {
            "smiles": MOLECULES[name],
            "shifts": [peak[0] for peak in peaks],
            "multiplicity": [peak[2] for peak in peaks],
        }
        for name, peaks in PROTON.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "proton.parquet")
    (folder / "carbon.txt").write_text(f"{VANILLIN_C}\n", encoding="utf-8")
    (folder / "proton.txt").write_text(f"{VANILLIN_H}\n", encoding="utf-8")
    (folder / "carbon.csv").write_text("ppm,intensity\n169.81,0.34\n151.20,0.22\n20.90,0.9\n")
    (folder / "carbon.jdx").write_text(C13)
    (folder / "proton.jdx").write_text(H1)
    (folder / "curve.jdx").write_text(CURVE)
    lines = [VANILLIN_C, PARACETAMOL_C, DEPT, "", "no peaks here", VANILLIN_H, "155,4; 151,7; 148,6"]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
