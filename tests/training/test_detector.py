"""Training of the OCSR detector at toy size: truth that stays with its picture, learning, what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem
from safetensors.torch import load_file, save_file

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.encoders.checkpoint import Tower
from acml_search.networks import Projection, tensors
from acml_search.ocsr.assemble import SYMBOLS
from acml_search.ocsr.depict import draw
from acml_search.ocsr.detector import BOND, SHARP, BondLengthEstimator, Detector
from acml_search.ocsr.styles import Style
from acml_search.training.detector import (
    CANVAS,
    DetectorModel,
    Sample,
    at_scale,
    detector_loss,
    mutated,
    packed,
    ruler_loss,
    same_molecule,
    sample_of,
    shift_prior,
    start_from,
    symbol_shares,
)
from acml_search.training.picture_styles import training_style
from acml_search.training.pretrain import pretrain

TOWER = {"width": 8, "hidden": 8, "layers": 2, "fine": 8, "coarse": 8, "blocks": 1, "ruler": 8}
PLAN = """
root = "."
corpus = { file = "corpus.toml" }
out = "pictures"
method = "detector"
modality = "image"
smiles_encoder = "smiles"
seed = 7
head = { hidden = 8, d = 8 }
tower = { width = 8, hidden = 8, layers = 2, fine = 8, coarse = 8, blocks = 1, ruler = 8 }
[training]
epochs = 2
epoch_size = 8
batch_size = 4
pages = 1
lr = 1e-3
weight_decay = 1e-4
spectral_sources = ["toy"]
repeat_spectral = 1
repeat_rare = 1
dev_molecules = 2
"""


CORPUS = """
directory = "corpus"
views = 1
seed = 7
source = [{ name = "toy", path = "library.parquet" }]
"""


def samples(*smiles: str, style: Style | None = None) -> list[Sample]:
    rng = np.random.default_rng(7)
    drawn = [draw(Chem.MolFromSmiles(s), style or Style(bond=20.0)) for s in smiles]
    found = [sample_of(drawing, (), rng) for drawing in drawn]
    assert None not in found
    return [sample for sample in found if sample is not None]


def test_packed_pictures_keep_their_truth() -> None:
    rng = np.random.default_rng(7)
    waiting = [at_scale(s, rng) for s in samples("CC(=O)Nc1ccc(O)cc1", "OCCCl", "c1ccncc1")]
    pages = packed(waiting, 1, rng)
    assert waiting == []
    assert pages.pictures.shape == (1, 1, SHARP * CANVAS, SHARP * CANVAS)
    labels = sorted(SYMBOLS[i] for i in pages.labels[:, 0].tolist() if i)
    assert labels == ["Cl", "N", "N", "O", "O", "O"]
    bonded = pages.pairs[pages.orders > 0]
    assert len(bonded) == 11 + 3 + 6
    lengths = (pages.xy[bonded[:, 0]] - pages.xy[bonded[:, 1]]).norm(dim=1)
    assert float(lengths.median()) == pytest.approx(BOND, rel=0.35)
    # Half-way along every bond there is ink.
    middle = (pages.xy[bonded[:, 0]] + pages.xy[bonded[:, 1]]) / 2 * SHARP
    for x, y in middle.long().tolist():
        assert float(pages.pictures[0, 0, y - 6 : y + 7, x - 6 : x + 7].max()) > 0.3


@pytest.mark.parametrize("mirror", [False, True])
def test_wedges_are_known_from_either_end(mirror: bool) -> None:
    rng = np.random.default_rng(7)
    some = samples("C[C@H](F)Cl", "F[C@@H](C)Cl", style=Style(bond=20.0, mirror=mirror))
    pages = packed([at_scale(s, rng) for s in some], 1, rng)
    centre = torch.bincount(pages.pairs[pages.orders > 0].flatten()) == 3
    narrow = {1: 0, 2: 1, 3: 0, 4: 1}
    drawn = [
        (pair, narrow[int(kind)])
        for pair, kind in zip(pages.pairs, pages.wedges, strict=True)
        if int(kind) in narrow
    ]
    assert len(drawn) == 2
    assert all(centre[pair[end]] for pair, end in drawn)


def test_what_finds_no_room_waits() -> None:
    rng = np.random.default_rng(7)
    waiting = [at_scale(s, rng) for s in samples(*["c1ccc2c(c1)cccc2CCCCCCO"] * 12)]
    pages = packed(waiting, 1, rng)
    atoms = len(samples("c1ccc2c(c1)cccc2CCCCCCO")[0].xy)
    assert len(waiting) == 12 - len(pages.xy) // atoms
    assert 0 < len(waiting) < 12


def test_large_pictures_are_cut_with_their_truth() -> None:
    rng = np.random.default_rng(7)
    whole = samples("C" * 60)[0]
    cut = at_scale(whole, rng)
    assert max(cut.ink.shape) <= SHARP * CANVAS
    assert 2 < len(cut.xy) < 60
    assert len(cut.bonds) == len(cut.xy) - 1
    assert cut.bonds.max() < len(cut.xy)


def test_mutated_molecules_bring_rare_letters_and_keep_their_bonds() -> None:
    rng = np.random.default_rng(7)
    mol = Chem.MolFromSmiles("CC(C)CC(=O)N(CCC)c1ccc(CC(C)C)cc1")
    seen: set[str] = set()
    for _ in range(40):
        new = mutated(mol, rng)
        drawing = draw(new, Style(bond=20.0))
        seen |= set(drawing.symbols)
        assert len(drawing.bonds) >= mol.GetNumBonds()
        # Rings are left as they are.
        assert [b.GetBondType() for b in new.GetBonds()][: mol.GetNumBonds()] == [
            b.GetBondType() for b in mol.GetBonds()
        ]
    assert len(seen & set(SYMBOLS)) > 20
    assert seen <= set(SYMBOLS)


def test_both_networks_learn() -> None:
    rng = np.random.default_rng(7)
    torch.manual_seed(7)
    style = training_style(rng)
    some = samples("CC(=O)Nc1ccc(O)cc1", "OC[C@H](C)Cl", style=Style(bond=18.0, line=style.line))
    pages = packed([at_scale(s, rng) for s in some], 1, rng)
    reader, ruler = Detector(8, 8, 1), BondLengthEstimator(8)
    optimiser = torch.optim.AdamW([*reader.parameters(), *ruler.parameters()], lr=5e-3)
    losses = []
    for _ in range(25):
        terms = detector_loss(reader, pages) | {"ruler": ruler_loss(ruler, some, rng)}
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append({name: float(term.detach()) for name, term in terms.items()})
    for name in ("points", "offsets", "symbols", "bonds", "wedges", "ruler"):
        assert losses[-1][name] < 0.8 * losses[0][name], name


def test_same_molecule_looks_past_configuration() -> None:
    assert same_molecule("CC(N)C(=O)O", "C[C@H](N)C(=O)O")
    assert not same_molecule("CC(N)C(=O)O", "C[C@H](N)C(=O)OC")
    assert not same_molecule("", "C")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    smiles = [
        f"{'C' * n}{end}"
        for n in range(1, 13)
        for end in ("O", "N", "c1ccccc1", "C(=O)O", "Cl", "[N+](C)(C)C")
    ]
    pq.write_table(pa.table({"smiles": smiles}), root / "library.parquet")
    (root / "corpus.toml").write_text(CORPUS)
    (root / "image.toml").write_text(PLAN)
    with pytest.raises(ConfigError, match="pretrain the SMILES encoder first"):
        pretrain(root / "image.toml")
    torch.manual_seed(7)
    behind = modalities.get("smiles").encoder(width=8, hidden=8, layers=2)
    weights = {f"encoder.{k}": v for k, v in behind.state_dict().items()}
    weights |= {f"projection.{k}": v for k, v in Projection(16, 8, 8).state_dict().items()}
    (root / "smiles").mkdir()
    save_file(weights, root / "smiles" / "encoder.safetensors")
    return pretrain(root / "image.toml", device="cpu")


def test_what_is_kept_is_a_tower_with_the_smiles_encoder_in_it(trained: Path) -> None:
    weights = load_file(trained / "encoder.safetensors")
    behind = load_file(trained.parent / "smiles" / "encoder.safetensors")
    for name, value in behind.items():
        assert torch.equal(weights[name.replace("encoder.", "encoder.smiles.", 1)], value)
    tower = Tower("image", TOWER, {"hidden": 8, "d": 8}).eval()
    tower.load_state_dict(weights)
    image = modalities.get("image")
    items = [image.read(image.derive(smiles)) for smiles in ("CCO", "c1ccccc1Cl")]
    with torch.inference_mode():
        vectors = tower(tensors(image.collate(items)))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
    assert (trained / "config.json").exists()


def test_a_run_begins_with_what_an_earlier_one_left(trained: Path) -> None:
    reader = DetectorModel(TOWER)
    start_from(reader, trained)
    weights = load_file(trained / "encoder.safetensors")
    for name, value in reader.state_dict().items():
        assert torch.equal(value, weights[f"encoder.{name}"]), name
    with pytest.raises(ConfigError, match="earlier result"):
        start_from(reader, trained / "nowhere")


@torch.inference_mode()
def test_a_larger_reader_begins_as_the_smaller_one() -> None:
    torch.manual_seed(0)
    small, large = Detector(8, 8, 1, refine=0).eval(), Detector(8, 8, 3, refine=2).eval()
    left = large.load_state_dict(small.state_dict(), strict=False)
    assert left.missing_keys
    picture = torch.rand(1, 1, 64, 96)
    for one, other in zip(small(picture), large(picture), strict=True):
        assert torch.equal(one, other)


def test_a_reader_of_other_dimensions_is_no_start(trained: Path) -> None:
    with pytest.raises(ConfigError, match="other dimensions"):
        start_from(DetectorModel({**TOWER, "fine": 16}), trained)


def test_symbols_that_training_made_frequent_lose_what_they_gained() -> None:
    network = Detector(8, 8, 1)
    points = torch.zeros(3, 24)
    before = network.symbol(points).softmax(dim=1).detach().numpy()
    trained, met = np.full(len(SYMBOLS), 1.0), np.full(len(SYMBOLS), 1.0)
    trained[SYMBOLS.index("Se")] = 20.0
    trained, met = trained / trained.sum(), met / met.sum()
    shift_prior(network, trained, met)
    after = network.symbol(points).softmax(dim=1).detach().numpy()
    expected = before * (met / trained)
    assert after == pytest.approx(expected / expected.sum(axis=1, keepdims=True), rel=1e-4)


def test_shares_count_what_is_drawn() -> None:
    drawings = [draw(Chem.MolFromSmiles(s), Style(bond=20.0)) for s in ("CCO", "CCN")]
    found = symbol_shares(drawings)
    assert found.sum() == pytest.approx(1.0)
    assert found[SYMBOLS.index("")] == pytest.approx(5 / (len(SYMBOLS) + 6))  # four corners and one
    assert found[SYMBOLS.index("O")] == found[SYMBOLS.index("N")] == pytest.approx(2 / (len(SYMBOLS) + 6))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_cuda(trained: Path) -> None:
    (trained.parent / "cuda.toml").write_text(PLAN.replace('out = "pictures"', 'out = "cuda"'))
    assert (pretrain(trained.parent / "cuda.toml", device="cuda") / "encoder.safetensors").exists()
