"""From labels to a saved model and from a library to predictions, with a small untrained base model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from rdkit import Chem
from rdkit.Chem import Descriptors

from acml_search.chem.splits import scaffold
from acml_search.cli import main
from acml_search.core.errors import CheckpointError, ConfigError, LibraryError
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.properties import model as models
from acml_search.properties.data import inner_split, read_labelled
from acml_search.properties.features import MAXIMA, TRUNK, descriptor_names
from acml_search.properties.finetune import finetune
from acml_search.properties.model import fit_file, load, predict_file
from tests.properties.conftest import CHAINS


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0


@pytest.fixture(scope="module")
def logp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """logP by Crippen's contributions, which a descriptor gives outright."""
    rows = [f"{smiles},{Descriptors.MolLogP(Chem.MolFromSmiles(smiles))}" for smiles in CHAINS]
    return write(tmp_path_factory.mktemp("labels") / "logp.csv", "smiles,logp", rows)


def test_no_scaffold_is_on_both_sides(mols: list[Chem.Mol]) -> None:
    rings = ("c1ccccc1", "c1ccncc1", "C1CCNC1", "C1CCCCC1")
    cyclic = [Chem.MolFromSmiles(f"{'C' * n}{ring}") for n in range(1, 6) for ring in rings] * 3
    valid = inner_split(cyclic, np.zeros((len(cyclic), 1)), "regression", seed=0)
    assert 0 < valid.sum() <= 0.15 * len(cyclic)
    valid = inner_split(mols, np.zeros((len(mols), 1)), "regression", seed=3)
    sides: dict[str, set[bool]] = {}
    for mol, side in zip(mols, valid.tolist(), strict=True):
        sides.setdefault(scaffold(mol), set()).add(side)
    assert all(len(of) == 1 for name, of in sides.items() if name)


def test_labels_are_read_merged_and_rejected_with_reasons(labels: Path) -> None:
    data = read_labelled(labels, ["size"])
    assert data.task == "regression"
    assert data.n_merged == 1
    assert [item.row for item in data.rejected] == [60, 61]
    assert "'big' of size is no number" in data.rejected[1].reason
    assert data.y[data.smiles.index("CCO"), 0] == 4.0  # (3 + 5) / 2
    assert len(data.mols) == len(CHAINS) - 1
    assert read_labelled(labels, ["oxygen"]).task == "classification"


@pytest.mark.parametrize("value", ["1", "2.5"])
def test_labels_that_are_all_the_same_teach_nothing(value: str, tmp_path: Path) -> None:
    path = write(tmp_path / "same.csv", "smiles,y", [f"{'C' * n}O,{value}" for n in range(1, 30)])
    with pytest.raises(ConfigError, match=f"every label of y is {value}, so there is nothing to learn"):
        read_labelled(path, ["y"])


def test_a_wrong_column_or_class_is_named(labels: Path) -> None:
    known = "size, oxygen, vendor"
    with pytest.raises(LibraryError, match=f"no column 'weight' to predict; its columns are {known}"):
        read_labelled(labels, ["weight"])
    with pytest.raises(ConfigError, match="is no class"):
        read_labelled(labels, ["size"], "classification")


def test_contradictory_and_bad_labels_cost_no_other_label_of_their_row(tmp_path: Path) -> None:
    rows = [f"{s},{i % 2},{i % 2}" for i, s in enumerate(CHAINS)]
    rows[CHAINS.index("CO")], rows[CHAINS.index("CCO")] = "CO,many,0", "CCO,1,0"
    path = write(tmp_path / "several.csv", "smiles,y,z", [*rows, "CCO,0,0"])
    data = read_labelled(path, ["y", "z"])
    for smiles in ("CO", "CCO"):
        y, z = data.y[data.smiles.index(smiles)]
        assert np.isnan(y)
        assert z == 0
    reasons = {item.row: item.reason for item in data.rejected}
    assert reasons[0] == "the label 'many' of y is no number; its 1 other label is used"
    assert reasons[60].endswith("are one molecule with different classes of y; its 1 other label is used")
    alone = read_labelled(path, ["y"])
    assert not {"CO", "CCO"} & set(alone.smiles)
    assert {item.row for item in alone.rejected} == {0, CHAINS.index("CCO"), 60}


def test_finetuning_learns_more_than_the_mean(model: Model, mols: list[Chem.Mol]) -> None:
    y = np.array([[mol.GetNumHeavyAtoms()] for mol in mols], float)
    tuned, again = (
        finetune(model, mols[::2], y[::2], mols[1::2], y[1::2], "regression", seed=0, epochs=25)
        for _ in range(2)
    )
    assert tuned.valid_score > 0.5
    np.testing.assert_array_equal(again.predict(mols), tuned.predict(mols))


@pytest.mark.parametrize("extra", [[], ["--finetune"]])
def test_fit_and_predict_from_the_command_line(
    extra: list[str], labels: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    arguments = ["--target", "size", "--target", "oxygen", "--task", "regression", "--model", str(tiny_model)]
    run(["properties", "fit", str(labels), *arguments, "--out", str(out), "--json", *extra])
    printed = capsys.readouterr()
    card = json.loads(printed.out)
    assert card["kind"] == ("finetuned" if extra else card["kind"])
    assert "2 of 63 rows are not used, or in part" in printed.err
    library = write(tmp_path / "library.csv", "smiles,price", ["CCO,1", "C1CC,2", "CCCCN,3"])
    run(["properties", "predict", str(out), str(library), "--out", str(tmp_path / "p.csv")])
    table = pacsv.read_csv(tmp_path / "p.csv").to_pydict()
    assert list(table)[2:] == [f"{t}_{w}" for t in ("size", "oxygen") for w in ("prediction", "uncertainty")]
    assert table["smiles"] == ["CCO", "C1CC", "CCCCN"]
    assert table["price"] == [1, 2, 3]
    for name in list(table)[2:]:
        assert [value is None for value in table[name]] == [False, True, False]
    assert "unclosed ring" in (tmp_path / "p.csv.rejects.csv").read_text()
    spectra = tmp_path / "spectra.parquet"
    pq.write_table(pa.table({"smiles": ["CCO"], "shifts": [[18.0, 58.1]]}), spectra)
    run(["properties", "predict", str(out), str(spectra), "--out", str(tmp_path / "s.csv")])
    assert pacsv.read_csv(tmp_path / "s.csv").to_pydict()["shifts"] == ["[18.0, 58.1]"]
    with pytest.raises(ConfigError, match="the library itself"):
        predict_file(out, library, library)
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        predict_file(out, library, tmp_path / "p.xlsx")


def test_another_base_model_is_refused(labels: Path, tiny_model: Path, tmp_path: Path) -> None:
    card = fit_file(labels, ["size"], tmp_path / "m", model=str(tiny_model), head="linear")
    (tmp_path / "m" / "card.json").write_text(json.dumps(card | {"model_digest": "0" * 64}))
    with pytest.raises(CheckpointError, match="fitted on"):
        predict_file(tmp_path / "m", labels, tmp_path / "p.csv", model=str(tiny_model))
    (tmp_path / "m" / "card.json").write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        predict_file(tmp_path / "m", labels, tmp_path / "p.csv", model=str(tiny_model))


def test_a_folder_that_is_no_model_is_left_alone(labels: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        fit_file(labels, ["size"], tmp_path, model=str(tiny_model))
    with pytest.raises(CheckpointError, match="no property model"):
        predict_file(tmp_path, labels, tmp_path / "p.csv", model=str(tiny_model))


def test_a_missing_package_is_named_with_its_extra(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "acml_search.core.extras.find_spec", lambda name: None if name == "sklearn" else find(name)
    )
    with pytest.raises(ConfigError, match=r'scikit-learn .* pip install "acml-search\[properties\]"'):
        fit_file(labels, ["size"], tmp_path / "m")


def test_errors_are_as_large_as_the_uncertainty_says(tiny_model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    ends = ("c1ccccc1", "C1CCNC1", "O", "N", "S", "F")
    smiles = [f"{'C' * n}{end}" for n in range(1, 21) for end in ends]
    rows = [f"{one},{len(one) + 0.3 * rng.standard_normal():.3f}" for one in smiles]
    path = write(tmp_path / "noisy.csv", "smiles,y", rows)
    card = fit_file(path, ["y"], tmp_path / "m", model=str(tiny_model), head="linear")
    low, high = card["inner"]["ci95"]["rmse"]
    assert low <= card["inner"]["rmse"] <= high
    data = read_labelled(path, ["y"])
    valid = np.flatnonzero(inner_split(data.mols, data.y, "regression", 0))
    again = load(tmp_path / "m", load_model(tiny_model))
    mean, uncertainty = again.predict([data.mols[i] for i in valid])
    error = np.sqrt(np.mean((mean - data.y[valid]) ** 2))
    assert np.sqrt(np.mean(uncertainty**2)) == pytest.approx(error, rel=1e-4)
    assert len(np.unique(uncertainty)) > 5


def test_a_head_that_reads_descriptors_learns_what_they_say_and_comes_back(
    logp: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options = {"head": "linear", "model": str(tiny_model)}
    without = fit_file(logp, ["logp"], tmp_path / "without", **options)
    card = fit_file(logp, ["logp"], tmp_path / "with", descriptors=True, **options)
    assert card["descriptors"] == descriptor_names()
    assert without["descriptors"] is None
    assert card["inner"]["rmse"] < 0.5 * without["inner"]["rmse"]
    again = load(tmp_path / "with", load_model(tiny_model))
    long = "C" * 40 + "O"  # far beyond what it was fitted on: clipped, it stays an answer
    mean, uncertainty = again.predict([Chem.MolFromSmiles(one) for one in ("CCCCO", long)])
    assert mean[0, 0] == pytest.approx(Descriptors.MolLogP(Chem.MolFromSmiles("CCCCO")), abs=0.3)
    assert np.isfinite(mean).all()
    assert np.isfinite(uncertainty).all()


def test_models_that_cannot_read_descriptors_say_so(logp: Path, tiny_model: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "m", {"descriptors": True, "model": str(tiny_model)}
    with pytest.raises(ConfigError, match="--finetune"):
        fit_file(logp, ["logp"], out, finetune=True, **options)
    card = fit_file(logp, ["logp"], out, head="linear", **options)
    (out / "card.json").write_text(json.dumps(card | {"descriptors": card["descriptors"][1:]}))
    with pytest.raises(CheckpointError, match="another version of RDKit"):
        load(out, load_model(tiny_model))
    (out / "card.json").write_text(json.dumps(card))
    (out / "descriptors.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="fit the model again"):
        load(out, load_model(tiny_model))


def test_a_model_of_before_the_environments_reads_what_it_was_fitted_on(
    labels: Path, model: Model, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [TRUNK, MAXIMA, *model.spaces]
    monkeypatch.setattr(models, "part_names", lambda _: parts)
    card = fit_file(labels, ["size"], tmp_path / "old", head="linear", model=str(tiny_model))
    assert card.pop("parts") == parts
    mols = [Chem.MolFromSmiles(smiles) for smiles in CHAINS[:3]]
    expected = load(tmp_path / "old", model).predict(mols)
    (tmp_path / "old" / "card.json").write_text(json.dumps(card | {"format": 1}))
    np.testing.assert_array_equal(load(tmp_path / "old", model).predict(mols), expected)
