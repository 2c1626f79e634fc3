"""Properties: heads, splits, labels, and the two commands from end to end with a small untrained model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

from acml_search.cli import main
from acml_search.core.errors import CheckpointError, ConfigError, LibraryError
from acml_search.encoders.model import Model, load_model
from acml_search.properties import boosted, environments, features, kernel, metrics
from acml_search.properties.finetune import finetune
from acml_search.properties.heads import KINDS, fit_head, load_head
from acml_search.properties.labelled import read_labelled
from acml_search.properties.model import load
from acml_search.properties.run import fit, predict
from acml_search.properties.split import inner_split, scaffold_of

CHAINS = [f"{'C' * n}{end}" for n in range(1, 13) for end in ("O", "N", "C(=O)O", "c1ccccc1", "Cl")]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heavy atoms counted, and whether there is an oxygen, with what goes wrong in real files."""
    rows = ["smiles,size,oxygen,vendor"]
    for i, smiles in enumerate(CHAINS):
        mol = Chem.MolFromSmiles(smiles)
        size = "" if i == 4 else str(mol.GetNumHeavyAtoms())
        rows.append(f"{smiles},{size},{int('O' in smiles)},V{i % 3}")
    rows += ["C1CC,3,0,V0", "CCCCCCCCCCCCCCO,big,1,V0", "OCC,5,1,V1"]  # ring, text, a duplicate of CCO
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def toy(n: int, task: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 12)).astype(np.float32)
    y = x[:, :2] @ np.array([[1.0, 0.5], [-1.0, 2.0]]) + 0.05 * rng.standard_normal((n, 2))
    return x, (y > 0).astype(float) if task == "classification" else y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_head_learns_despite_missing_labels_and_comes_back_from_disk(
    kind: str, task: str, tmp_path: Path
) -> None:
    x, y = toy(400, task)
    y[::3, 0] = np.nan
    valid_x, valid_y = toy(120, task, seed=1)
    head = fit_head(kind, task, x, y, valid_x, valid_y, seed=0)
    assert head.valid_score > 0.85
    head.save(tmp_path)
    again = load_head(tmp_path)
    np.testing.assert_allclose(again.predict(valid_x), head.predict(valid_x), atol=1e-6)


def test_a_linear_head_finds_the_weights_that_made_the_labels() -> None:
    x, y = toy(2_000, "regression")
    head = fit_head("linear", "regression", x, y, *toy(200, "regression", seed=1), seed=0)
    np.testing.assert_allclose(
        head.predict(np.eye(12, dtype=np.float32)[:2]), [[1.0, 0.5], [-1.0, 2.0]], atol=0.02
    )


def test_a_target_of_one_class_is_answered_and_does_not_judge() -> None:
    x, y = toy(100, "classification")
    y[:, 1] = 1
    for kind in KINDS:
        head = fit_head(kind, "classification", x, y, x, y, seed=0)
        assert head.predict(x)[:, 1].min() > 0.9
        assert head.valid_score == pytest.approx(metrics.auroc(y[:, :1], head.predict(x)[:, :1]))


@pytest.mark.parametrize("kind", KINDS)
def test_class_weights_move_the_rare_class_up(kind: str) -> None:
    x, y = toy(600, "classification")
    keep = (y[:, 0] == 0) | (np.arange(600) % 10 == 0)
    x, y = x[keep], y[keep][:, :1]
    plain = fit_head(kind, "classification", x, y, x, y, 0).predict(x)
    weighed = fit_head(kind, "classification", x, y, x, y, 0, class_weight=True).predict(x)
    assert weighed.mean() > plain.mean()


def test_of_many_targets_some_choose_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = (np.sin(2 * x @ rng.normal(size=(3, 5))) > 0).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    asked = (x[:300], y[:300], x[300:], y[300:])
    by_all = kernel.Kernel.fit("classification", *asked, seed=0, class_weight=False)
    monkeypatch.setattr(kernel, "JUDGES", 2)
    by_some = kernel.Kernel.fit("classification", *asked, seed=0, class_weight=False)
    of_two = kernel.Kernel.fit(
        "classification", x[:300], y[:300][:, [0, 4]], x[300:], y[300:][:, [0, 4]], seed=0, class_weight=False
    )
    assert by_some.predict(x[300:]).shape == (100, 5)
    assert by_some.width == of_two.width
    assert np.allclose(by_some.predict(x[300:])[:, [0, 4]], of_two.predict(x[300:]), atol=0.02)
    assert by_some.valid_score == metrics.auroc(y[300:], by_some.predict(x[300:]))
    assert by_some.valid_score > 0.8
    assert by_some.valid_score > by_all.valid_score - 0.03


def test_a_kernel_head_finds_what_no_straight_line_does_and_stands_copies() -> None:
    x = toy(900, "classification")[0][:, :2]
    ring = (np.abs(x[:, :1]) + np.abs(x[:, 1:2]) > 1.2).astype(float)
    linear = fit_head("linear", "classification", x[:600], ring[:600], x[600:], ring[600:], 0)
    twice = np.concatenate([x[:600], x[:600]])
    bent = fit_head("kernel", "classification", twice, np.tile(ring[:600], (2, 1)), x[600:], ring[600:], 0)
    assert linear.valid_score < 0.7
    assert bent.valid_score > 0.97


def test_landmarks_hold_the_rare_class() -> None:
    y = np.zeros((4_000, 2))
    y[7::400, 0], y[11::500, 1] = 1, 1
    y[:2_000, 1] = np.nan
    chosen = kernel._landmarks("classification", y, seed=3)
    assert len(chosen) == len(set(chosen.tolist())) == kernel.LANDMARKS
    assert set(np.flatnonzero((y == 1).any(axis=1)).tolist()) <= set(chosen.tolist())
    assert len(kernel._landmarks("regression", y, seed=3)) == kernel.LANDMARKS
    assert kernel._landmarks("classification", y[:100], seed=3).tolist() == list(range(100))


def test_few_labels_get_several_forests_and_a_small_valid_part_does_not_stop_them_at_once() -> None:
    x, y = toy(boosted.FEW + 100, "classification")
    y[::2, 1] = np.nan
    valid_x, valid_y = toy(12, "classification", seed=1)  # AUROC is 1 after a few trees
    head = fit_head("boosted", "classification", x, y, valid_x, valid_y, seed=0)
    assert isinstance(head, boosted.Boosted)
    assert [len(forests) for forests in head.forests] == [1, boosted.DRAWS]
    assert min(forest.best_iteration for forests in head.forests for forest in forests) > 50
    first, second = head.forests[1][:2]
    assert not np.array_equal(first.predict(x), second.predict(x))


def test_metrics_by_hand() -> None:
    y = np.array([[0.0, 1.0], [1.0, np.nan], [1.0, 1.0]])
    p = np.array([[0.1, 3.0], [0.4, 9.0], [0.05, 1.0]])
    assert metrics.auroc(y, p) == 0.5  # of the first target; the second has one class only
    assert metrics.rmse(y[:, 1:], p[:, 1:]) == pytest.approx(np.sqrt(2.0))
    assert metrics.mae(y[:, 1:], p[:, 1:]) == 1.0
    assert np.isnan(metrics.auroc(y[:, 1:], p[:, 1:]))
    assert metrics.spearman(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 1))) == 0.0


def test_no_scaffold_stands_on_both_sides() -> None:
    smiles = [
        f"{'C' * n}{ring}" for n in range(1, 6) for ring in ("c1ccccc1", "c1ccncc1", "C1CCNC1", "C1CCCCC1")
    ]
    mols = [Chem.MolFromSmiles(s) for s in smiles * 3]
    valid = inner_split(mols, np.zeros((len(mols), 1)), "regression", seed=0)
    assert 0 < valid.sum() <= 0.15 * len(mols)
    more = [Chem.MolFromSmiles(s) for s in CHAINS]
    chosen = inner_split(more, np.zeros((len(more), 1)), "regression", seed=3)
    rings = [scaffold_of(mol) for mol in more]
    sides = {
        name: {bool(c) for r, c in zip(rings, chosen, strict=True) if r == name} for name in rings if name
    }
    assert all(len(side) == 1 for side in sides.values())


def test_labels_are_read_merged_and_rejected_with_reasons(labels: Path) -> None:
    found = read_labelled(labels, ["size"])
    assert found.task == "regression"
    assert found.n_merged == 1
    assert [one.row for one in found.rejected] == [60, 61]
    assert "'big' of size is no number" in found.rejected[1].reason
    assert found.y[found.smiles.index("CCO"), 0] == 4.0  # (3 + 5) / 2
    assert len(found.mols) == len(CHAINS) - 1
    assert read_labelled(labels, ["oxygen"]).task == "classification"


@pytest.mark.parametrize("values", [{"1"}, {"2.5"}])
def test_labels_that_are_all_the_same_teach_nothing(values: set[str], tmp_path: Path) -> None:
    path = tmp_path / "same.csv"
    (value,) = values
    path.write_text("smiles,y\n" + "\n".join(f"{'C' * n}O,{value}" for n in range(1, 30)))
    with pytest.raises(ConfigError, match=f"every label of y is {value}, so there is nothing to learn"):
        read_labelled(path, ["y"])


def test_a_wrong_column_or_class_is_named(labels: Path) -> None:
    with pytest.raises(
        LibraryError, match="no column 'weight' to predict; its columns are size, oxygen, vendor"
    ):
        read_labelled(labels, ["weight"])
    with pytest.raises(ConfigError, match="is no class"):
        read_labelled(labels, ["size"], "classification")


def test_one_molecule_in_two_classes_is_no_label(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text("smiles,y\n" + "".join(f"{s},{i % 2}\n" for i, s in enumerate(CHAINS)) + "CO,1\n")
    found = read_labelled(path, ["y"])
    assert "CO" not in found.smiles
    assert {one.row for one in found.rejected} == {0, 60}
    assert "different classes" in found.rejected[0].reason


def test_a_bad_label_costs_no_other_label_of_its_row(tmp_path: Path) -> None:
    path = tmp_path / "several.csv"
    rows = [f"{s},{i % 2},{i % 2}" for i, s in enumerate(CHAINS)]
    rows[CHAINS.index("CO")], rows[CHAINS.index("CCO")] = "CO,many,0", "CCO,1,0"
    path.write_text("\n".join(["smiles,y,z", *rows, "CCO,0,0"]) + "\n")
    found = read_labelled(path, ["y", "z"])
    methanol, ethanol = (found.y[found.smiles.index(text)] for text in ("CO", "CCO"))
    assert np.isnan(methanol[0])
    assert methanol[1] == 0
    assert np.isnan(ethanol[0])
    assert ethanol[1] == 0
    reasons = {one.row: one.reason for one in found.rejected}
    assert reasons[0] == "the label 'many' of y is no number; its 1 other label is used"
    assert reasons[60].endswith("are one molecule with different classes of y; its 1 other label is used")


def test_embeddings_are_the_parts_side_by_side(model: Model) -> None:
    mols = [Chem.MolFromSmiles(s) for s in CHAINS[:5]]
    whole = features.embeddings(model, mols)
    spaces = model.encode_molecules(mols)
    column = 2 * model.network.trunk.width + 2 * environments.NUMBER
    for vectors in spaces.values():
        np.testing.assert_allclose(whole[:, column : column + vectors.shape[1]], vectors, atol=1e-6)
        column += vectors.shape[1]
    assert whole.shape == (5, column)
    with pytest.raises(ConfigError, match="no part 'nose'"):
        features.embeddings(model, mols, ["nose"])


def test_maxima_are_the_greatest_of_the_atoms_states(model: Model) -> None:
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    mols = [Chem.MolFromSmiles(s) for s in CHAINS[:4]]
    found = features.embeddings(model, mols, [features.MAXIMA])
    for mol, row in zip(mols, found, strict=True):
        with torch.inference_mode():
            states = model.network.trunk.node_states(TensorBatch.of(collate([model.featurise(mol)])))
        np.testing.assert_allclose(row, torch.cat(states, dim=1).amax(dim=0).numpy(), atol=1e-4)


def test_finetuning_learns_more_than_the_mean(model: Model) -> None:
    mols = [Chem.MolFromSmiles(s) for s in CHAINS]
    y = np.array([[mol.GetNumHeavyAtoms()] for mol in mols], float)
    tuned = finetune(model, mols[::2], y[::2], mols[1::2], y[1::2], "regression", seed=0, epochs=25)
    assert tuned.valid_score > 0.5
    again = finetune(model, mols[::2], y[::2], mols[1::2], y[1::2], "regression", seed=0, epochs=25)
    np.testing.assert_array_equal(again.predict(mols), tuned.predict(mols))


@pytest.mark.parametrize("extra", [[], ["--finetune"]])
def test_fit_and_predict_from_the_command_line(
    extra: list[str], labels: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    arguments = ["--target", "size", "--target", "oxygen", "--task", "regression", "--model", str(tiny_model)]
    run(["properties", "fit", str(labels), *arguments, "--out", str(out), "--json", *extra])
    told = capsys.readouterr()
    card = json.loads(told.out)
    assert card["kind"] == ("finetuned" if extra else card["kind"])
    assert "2 of 63 rows are not used, or in part" in told.err
    library = tmp_path / "library.csv"
    library.write_text("smiles,price\nCCO,1\nC1CC,2\nCCCCN,3\n")
    run(["properties", "predict", str(out), str(library), "--out", str(tmp_path / "p.csv")])
    table = pacsv.read_csv(tmp_path / "p.csv").to_pydict()
    assert table["smiles"] == ["CCO", "C1CC", "CCCCN"]
    assert table["price"] == [1, 2, 3]
    assert table["size_prediction"][1] is None
    assert all(
        table[f"{t}_{what}"][0] is not None
        for t in ("size", "oxygen")
        for what in ("prediction", "uncertainty")
    )
    assert "unclosed ring" in (tmp_path / "p.csv.rejects.csv").read_text()
    spectra = tmp_path / "spectra.parquet"
    pq.write_table(pa.table({"smiles": ["CCO"], "shifts": [[18.0, 58.1]]}), spectra)
    run(["properties", "predict", str(out), str(spectra), "--out", str(tmp_path / "s.csv")])
    assert pacsv.read_csv(tmp_path / "s.csv").to_pydict()["shifts"] == ["[18.0, 58.1]"]
    with pytest.raises(ConfigError, match="the library itself"):
        predict(out, library, library)


def test_another_base_model_is_refused(labels: Path, tiny_model: Path, tmp_path: Path) -> None:
    fit(labels, ["size"], tmp_path / "m", model=str(tiny_model), head="linear")
    path = tmp_path / "m" / "card.json"
    path.write_text(path.read_text().replace(json.loads(path.read_text())["model_digest"], "0" * 64))
    with pytest.raises(CheckpointError, match="fitted on"):
        predict(tmp_path / "m", labels, tmp_path / "p.csv", model=str(tiny_model))


def test_a_folder_that_is_no_model_is_left_alone(labels: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        fit(labels, ["size"], tmp_path, model=str(tiny_model))
    with pytest.raises(CheckpointError, match="no property model"):
        predict(tmp_path, labels, tmp_path / "p.csv", model=str(tiny_model))


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def test_errors_are_as_large_as_the_uncertainty_says(tiny_model: Path, tmp_path: Path) -> None:
    """Numbers whose noise depends on the ring: the mean error is the mean uncertainty, by construction."""
    rng = np.random.default_rng(5)
    rows = ["smiles,y"]
    for smiles in (
        f"{'C' * n}{ring}" for n in range(1, 21) for ring in ("c1ccccc1", "C1CCNC1", "O", "N", "S", "F")
    ):
        rows.append(f"{smiles},{len(smiles) + 0.3 * rng.standard_normal():.3f}")
    path = tmp_path / "noisy.csv"
    path.write_text("\n".join(rows) + "\n")
    card = fit(path, ["y"], tmp_path / "m", model=str(tiny_model), head="linear")
    low, high = card["inner"]["ci95"]["rmse"]
    assert low <= card["inner"]["rmse"] <= high
    again = load(tmp_path / "m", load_model(tiny_model))
    found = read_labelled(path, ["y"])
    valid = inner_split(found.mols, found.y, "regression", 0)
    mean, uncertainty = again.predict([found.mols[i] for i in np.flatnonzero(valid)])
    error = np.sqrt(np.mean((mean - found.y[valid]) ** 2))
    assert np.sqrt(np.mean(uncertainty**2)) == pytest.approx(error, rel=1e-4)
    assert len(np.unique(uncertainty)) > 5
