"""Which atoms of a molecule a score comes from, as numbers and as a picture.

A score is linear in what the network gives for a molecule: a linear probe, or the cosine with another
molecule's vector. An atom's attribution is by occlusion (Zeiler and Fergus 2014): the score minus the score
with the atom's first-layer embedding, which holds its element, degree, charge, hydrogens and ring, set to
zero, its bonds still there.

Positive: the atom raises the score. Atoms do not add up to the score, and this is no claim about chemistry,
only about what the network looks at.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.extras import require
from acml_search.core.io import atomic, write_json
from acml_search.core.typing import Bools, Float32s, Floats
from acml_search.interpret.concepts import CONCEPTS, concept_called, label
from acml_search.interpret.probe import fit_probes, scaffold_groups
from acml_search.interpret.sample import MoleculeSample, check_space, read_sample
from acml_search.properties.features import TRUNK, embed_parts, embeddings, environments_of

if TYPE_CHECKING:
    from rdkit import Chem
    from torch import Tensor

    from acml_search.chem.graph import MolGraph
    from acml_search.encoders.checkpoint import Model
    from acml_search.networks import TensorBatch

ENDINGS = (".png", ".svg", ".json")
PROBE_MOLECULES = 2_000
"""that a probe is fitted on"""
_BATCH = 64
_PANEL = (440, 330)
"""size of a molecule in the picture, pixels at 100 dpi"""
LOWERS, RAISES = (0.84, 0.37, 0.0), (0.0, 0.45, 0.70)
"""red, green, blue of 0..1: vermilion and blue, which colour-blind readers tell apart (Okabe and Ito 2008)"""


@dataclass(frozen=True)
class Score:
    """`bias + v @ weights` of the parts v of a molecule's embedding, side by side.

    parts: `trunk`, `maxima`, `environments` and names of spaces: f features in all. weights: (f,) float32.
    cosine: v is divided by its length first.
    """

    name: str
    unit: str
    """of its values: cosine, logit, or the concept's own unit"""
    parts: tuple[str, ...]
    weights: Float32s
    bias: float = 0.0
    cosine: bool = False

    def of(self, model: Model, batch: TensorBatch) -> Tensor:
        """(b,) float32, one for each graph of the batch."""
        import torch
        from torch.nn import functional

        v = torch.cat(embed_parts(model, batch, self.parts), dim=1)
        if self.cosine:
            v = functional.normalize(v, dim=1)
        total: Tensor = v @ torch.from_numpy(self.weights).to(v) + self.bias
        return total


def similarity(model: Model, mol: Chem.Mol, part: str, name: str) -> Score:
    """Cosine with a molecule in a space, or of the pooled trunks."""
    check_space(model, part)
    (other,) = embeddings(model, [mol], [part])
    unit = (other / np.linalg.norm(other)).astype(np.float32)
    return Score(f"similarity to {name} in {part}", "cosine", (part,), unit, cosine=True)


def probe_score(sample: MoleculeSample, concept: str, part: str, *, seed: int) -> Score:
    """The linear probe of a concept, fitted on all molecules of the sample: a number in its own unit, or the
    logit of a group. Raises ConfigError for a concept that is unknown or that the sample lacks.
    """
    check_space(sample.model, part)
    found = concept_called(concept)
    if found is None:
        raise ConfigError(f"there is no concept {concept!r}; there are {', '.join(c.name for c in CONCEPTS)}")
    labels = label(sample.mols, [found])
    if labels.left_out:
        reason = labels.left_out[0]
        raise ConfigError(
            f"{found.name} cannot be learned from {sample.source}: {reason['why']} ({reason['molecules']} of "
            f"{reason['of']} molecules); fit on a larger library"
        )
    group = found.kind == "group"
    x, groups = embeddings(sample.model, sample.mols, [part]), scaffold_groups(sample.mols)
    probes = fit_probes(x, labels.values, np.array([group]), groups, seed=seed)
    # for features as they are
    slope = probes.weights[:, 0].astype(np.float64) / probes.scale
    weights, bias = slope.astype(np.float32), float(probes.bias[0]) - float(probes.mean @ slope)
    unit = "logit" if group else found.about
    return Score(f"{found.name}, by a linear probe of {part}", unit, (part,), weights, bias)


def occlusion(model: Model, score: Score, graphs: Sequence[MolGraph]) -> list[Floats]:
    """Per molecule (n atoms,) float64: its score minus the score without the atom's features."""
    sizes = [len(graph.x) for graph in graphs]
    repeated = [graph for graph, size in zip(graphs, sizes, strict=True) for _ in range(size)]
    masks = [mask for size in sizes for mask in ~np.eye(size, dtype=bool)]
    without = np.split(evaluate(model, score, repeated, masks), np.cumsum(sizes)[:-1])
    whole = evaluate(model, score, graphs)
    return [full - part for full, part in zip(whole, without, strict=True)]


def evaluate(
    model: Model, score: Score, graphs: Sequence[MolGraph], masks: Sequence[Bools] | None = None
) -> Floats:
    """(n,) scores of molecules. masks: per molecule which atoms (n atoms,) keep their features; the
    first-layer embedding of the others is set to zero, their bonds stay.
    """
    import torch

    environments_of(model)  # are made by the trunk as it is
    found = []
    with torch.no_grad():
        for start in range(0, len(graphs), _BATCH):
            batch = model.graph_batch(graphs[start : start + _BATCH])
            if masks is None:
                found.append(score.of(model, batch))
                continue
            mask = torch.from_numpy(np.concatenate(masks[start : start + _BATCH])).unsqueeze(1)
            hook = model.network.trunk.embed.register_forward_hook(
                lambda module, inputs, x, mask=mask: x * mask.to(x)
            )
            try:
                found.append(score.of(model, batch))
            finally:
                hook.remove()
    return np.concatenate([x.double().cpu().numpy() for x in found]) if found else np.empty(0)


class Panel(NamedTuple):
    """A molecule and the attributions of its atoms."""

    mol: Chem.Mol
    shares: Floats
    caption: str = ""


def explain(
    smiles: str,
    out: Path,
    *,
    to: str | None = None,
    probe: str | None = None,
    space: str = TRUNK,
    fit_on: Path | None = None,
    model: str | None = None,
    seed: int = 0,
    command: str = "",
) -> dict[str, Any]:
    """Work the attributions out and write them; the JSON document.

    One of to (a SMILES) and probe (a concept) is required. space: of the similarity or of the probe; fit_on:
    index or library that a probe is fitted on.

    `molecules`: [{smiles, score, atoms: [{index, symbol, attribution}]}], two of them for a similarity.
    Raises InvalidMolecule, and ConfigError for options that do not fit together or a missing package.
    """
    from rdkit import Chem

    from acml_search.encoders.card import DEFAULT_MODEL
    from acml_search.encoders.checkpoint import load_model

    ending = out.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(f"{out}: attributions are written as {', '.join(ENDINGS)}; choose one of these")
    if (to is None) == (probe is None):
        raise ConfigError("say what to explain: either --to SMILES or --probe CONCEPT")
    if ending != ".json":
        require("matplotlib")
    mol = _molecule(smiles)
    if to is not None:
        other, loaded = _molecule(to), load_model(model or DEFAULT_MODEL)
        scored = [
            (mol, "the molecule", similarity(loaded, other, space, to)),
            (other, "the other", similarity(loaded, mol, space, smiles)),
        ]
    else:
        assert probe is not None
        require("sklearn", extra="maps")
        sample = read_sample(fit_on, n=PROBE_MOLECULES, seed=seed, model=model)
        loaded, scored = sample.model, [(mol, "", probe_score(sample, probe, space, seed=seed))]
    molecules, panels = [], []
    for mol, caption, score in scored:
        graph = loaded.featurise(mol)
        (shares,) = occlusion(loaded, score, [graph])
        atoms = [
            {"index": atom.GetIdx(), "symbol": atom.GetSymbol(), "attribution": float(share)}
            for atom, share in zip(mol.GetAtoms(), shares, strict=True)
        ]
        value = float(evaluate(loaded, score, [graph])[0])
        molecules.append({"smiles": Chem.MolToSmiles(mol), "score": value, "atoms": atoms})
        panels.append(Panel(mol, shares, caption))
    score = scored[0][2]
    document = {
        "kind": "attribution",
        "score": score.name,
        "unit": score.unit,
        "method": "occlusion",
        "model": {"name": loaded.card.name, "digest": loaded.card.digest},
        "molecules": molecules,
        "command": command,
    }
    if ending == ".json":
        write_json(document, out)
    else:
        title = f"{score.name[0].upper()}{score.name[1:]}: {molecules[0]['score']:.3g} {score.unit}".rstrip()
        note = f"change of the score when the atom's features are left out; {loaded.card.name}"
        write_picture(panels, title, note, out)
    return document


def _molecule(smiles: str) -> Chem.Mol:
    from acml_search.chem.molecule import parse

    mol, _ = parse(smiles)
    if mol.GetNumAtoms() < 2:
        raise InvalidMolecule(
            "one atom alone cannot be compared with its parts; give a larger molecule", smiles=smiles
        )
    return mol


def write_picture(panels: Sequence[Panel], title: str, note: str, path: Path) -> None:
    """PNG or SVG of all panels: RDKit's similarity maps (Riniker and Landrum 2013), one scale of colours."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure
    from PIL import Image

    largest = max(float(np.abs(panel.shares).max()) for panel in panels) or 1.0
    size = max(620, len(panels) * _PANEL[0]) / 100, (_PANEL[1] + 110) / 100
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(literal(title), x=0.02, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        axes.imshow(Image.open(io.BytesIO(_similarity_map(panel, largest))), interpolation="antialiased")
        axes.set_title(literal(panel.caption), fontsize=9, y=-0.06)
        axes.set_axis_off()
    colours = LinearSegmentedColormap.from_list("attribution", [LOWERS, (1, 1, 1), RAISES])
    scale = ScalarMappable(Normalize(-largest, largest), colours)
    bar = figure.colorbar(scale, ax=list(grid), orientation="horizontal", shrink=0.4, aspect=24, pad=0.08)
    bar.set_label(literal(note), fontsize=8)
    bar.set_ticks([-largest, 0, largest])
    bar.set_ticklabels([f"lowers it by {largest:.3g}", "", f"raises it by {largest:.3g}"], fontsize=8)
    with atomic(path) as temporary, matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=200)


def _similarity_map(panel: Panel, largest: float) -> bytes:
    """One molecule as PNG. RDKit colours by a molecule's own largest value; a weaker one gets paler ends."""
    from rdkit import Chem
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import SimilarityMaps, rdMolDraw2D

    mol = Chem.Mol(panel.mol)
    rdDepictor.Compute2DCoords(mol)
    rdDepictor.StraightenDepiction(mol)
    drawer = rdMolDraw2D.MolDraw2DCairo(2 * _PANEL[0], 2 * _PANEL[1])
    drawer.drawOptions().useBWAtomPalette()
    own = float(np.abs(panel.shares).max())
    lowers, raises = (tuple(1 + (c - 1) * own / largest for c in end) for end in (LOWERS, RAISES))
    SimilarityMaps.GetSimilarityMapFromWeights(
        mol,
        panel.shares.tolist() if own else [1e-9] * mol.GetNumAtoms(),
        drawer,
        colorMap=[lowers, (1.0, 1.0, 1.0), raises],
        contourLines=0,
        extraGridPadding=0.9,
        useFillThreshold=True,
        fillThreshold=0.015,
    )
    # the map leaves its own thin line behind; the bonds are drawn over it once more
    drawer.SetLineWidth(3)
    drawer.DrawMolecule(rdMolDraw2D.PrepareMolForDrawing(mol, addChiralHs=False))
    drawer.FinishDrawing()
    return bytes(drawer.GetDrawingText())


def literal(text: str, longest: int = 120) -> str:
    """`text` as matplotlib shows it letter by letter: a dollar sign would begin a formula."""
    printable = "".join(c if c.isprintable() else " " for c in text)[:longest]
    return printable.replace("$", r"\$")
