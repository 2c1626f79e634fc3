"""A toy spectral library, for tests of libraries and indexes that hold measured records."""

from __future__ import annotations

SPECTRA: list[tuple[str | None, str, list[tuple[float, float]]]] = [
    ("CCO", "ethanol, soft", [(29.04, 10.0), (31.02, 99.0), (45.03, 50.0)]),
    ("CCN", "ethylamine", [(28.02, 5.0), (30.03, 99.0)]),
    ("OCC", "ethanol, hard", [(27.02, 80.0), (29.04, 20.0)]),
    (None, "of nobody knows what", [(50.0, 1.0)]),
    ("C1CC", "a ring left open", [(50.0, 1.0)]),
    ("CCCC", "silent", [(50.0, 0.0)]),
    ("c1ccccc1O", "phenol", [(39.02, 10.0), (65.04, 30.0), (94.04, 99.0)]),
    ("CCO", "ethanol, again", [(31.02, 50.0), (45.03, 99.0)]),
]
"""SMILES, title and peaks of eight spectra: four molecules, three spectra of one; three cannot be used."""


def msp(spectra: list[tuple[str | None, str, list[tuple[float, float]]]]) -> str:
    """Spectra as an MSP file, each with a precursor and a collision energy of its own."""
    blocks = []
    for n, (smiles, title, peaks) in enumerate(spectra):
        lines = [f"Name: {title}", "Precursor_type: [M+H]+", f"PrecursorMZ: {100 + n}.5"]
        lines += [f"SMILES: {smiles}"] if smiles is not None else []
        lines += [f"Collision_energy: {10 * n} eV", f"DB#: X{n:03d}", f"Num Peaks: {len(peaks)}"]
        blocks.append("\n".join([*lines, *(f"{mz} {height}" for mz, height in peaks)]))
    return "\n\n".join(blocks) + "\n"
