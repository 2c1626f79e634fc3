"""Pictures of several structures."""

from __future__ import annotations

from PIL import Image
from rdkit import Chem

from acml_search.ocsr.depict import draw

PARACETAMOL, ASPIRIN = "CC(=O)Nc1ccc(O)cc1", "CC(=O)Oc1ccccc1C(=O)O"


def drawn(smiles: str) -> Image.Image:
    return draw(Chem.MolFromSmiles(smiles)).image.convert("RGB")


def page(*smiles: str, gap: int = 60) -> Image.Image:
    """Structures from left to right."""
    images = [drawn(one) for one in smiles]
    high = max(image.height for image in images)
    out = Image.new("RGB", (sum(image.width + gap for image in images), high + 80), "white")
    x = 0
    for image in images:
        out.paste(image, (x, (high - image.height) // 2))
        x += image.width + gap
    return out
