"""Plans: the shipped ones are read, and a mistake is named with its file and key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from acml_search.cli import train as cli
from acml_search.core.errors import ConfigError
from acml_search.core.toml import check_table
from acml_search.training import config
from acml_search.training.config import AlignPlan, HardNegativesPlan, MemoryPlan, plan_of, read_plan
from acml_search.training.pretrain import METHODS, pretrain

SHIPPED = Path(config.__file__).parent / "configs"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_plan_is_read_as_it_is_written(path: Path) -> None:
    data = tomllib.loads(path.read_text())
    if path.stem.startswith("corpus"):
        check_table(data, config.CorpusRecipe, path)
        return
    kinds = [METHODS[data["method"]][0]] if "method" in data else [AlignPlan, HardNegativesPlan, MemoryPlan]
    fitting = []
    for kind in kinds:
        try:
            fitting.append(read_plan(path, kind))
        except ConfigError:
            continue
    assert len(fitting) == 1
    assert fitting[0].written() == data
    assert (fitting[0].root_folder / "pyproject.toml").is_file()


def test_mistakes_are_named() -> None:
    path = SHIPPED / "smiles-pretrain.toml"
    kind = METHODS["views"][0]
    data = tomllib.loads(path.read_text())
    cases = {
        "unknown key 'trainig'": data | {"trainig": 1},
        "unknown key 'training.batches'": data | {"training": data["training"] | {"batches": 3}},
        "unknown key 'corpus.dir'": data | {"corpus": data["corpus"] | {"dir": "x"}},
        "missing key 'seed'": {k: v for k, v in data.items() if k != "seed"},
        "training.lr: input should be a valid number": data | {"training": data["training"] | {"lr": "a"}},
        "training.epochs: input should be greater than 0": data
        | {"training": data["training"] | {"epochs": 0}},
    }
    for message, wrong in cases.items():
        with pytest.raises(ConfigError, match=message) as caught:
            plan_of(wrong, kind, path)
        assert str(caught.value).startswith(f"{path}: ")


def test_files_that_are_no_plans_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such plan"):
        read_plan(tmp_path / "absent.toml", AlignPlan)
    (tmp_path / "broken.toml").write_text("root = ")
    with pytest.raises(ConfigError, match="not TOML"):
        read_plan(tmp_path / "broken.toml", AlignPlan)
    (tmp_path / "odd.toml").write_text('method = "dreams"')
    with pytest.raises(ConfigError, match="unknown method 'dreams'"):
        pretrain(tmp_path / "odd.toml")


def test_an_installed_plan_asks_for_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a checkout the shipped plans' `root` leads nowhere."""
    package = tmp_path / "site-packages" / "acml_search"
    plans = package / "training" / "configs"
    plans.mkdir(parents=True)
    (plans / "shifts.toml").write_text((SHIPPED / "shifts.toml").read_text())
    monkeypatch.setattr(config, "_PACKAGE", package)
    kind = METHODS["shifts"][0]
    with pytest.raises(ConfigError, match="name the folder that holds your data and runs with --root"):
        read_plan(plans / "shifts.toml", kind)
    plan = read_plan(plans / "shifts.toml", kind, tmp_path)
    assert plan.out_folder == tmp_path / "runs" / "shifts"


def test_commands_take_a_root_and_a_device(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["--help"])
    for command in ("pretrain", "align", "hard-negatives", "memory"):
        assert command in result.stdout
    plan = str(SHIPPED / "shifts.toml")
    found = CliRunner().invoke(cli.app, ["pretrain", plan, "--root", str(tmp_path), "--device", "abacus"])
    assert isinstance(found.exception, ConfigError)
    assert "abacus" in str(found.exception)
