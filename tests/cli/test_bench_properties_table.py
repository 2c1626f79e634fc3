"""The table that `bench properties` prints."""

from __future__ import annotations

from typing import Any

from benchmarks.cli_properties import _table


def test_a_set_of_before_knows_nothing_of_a_system_named_since() -> None:
    def about(name: str, **systems: dict[str, Any]) -> dict[str, Any]:
        return {"set": name, "metric": "rmse", "n": 3, "systems": systems}

    old, later = {"mean": 1.0, "sd": 0.1}, {"mean": 2.0, "sd": 0.2}
    result = {
        "sets": [about("first", acml=old), about("second", acml=old, new=later, gone={"why_not": "no"})],
        "groups": {},
        "wins": {},
        "left": 0,
    }
    lines = _table(result).splitlines()
    assert lines[0].split() == ["set", "metric", "n", "acml", "new"]
    assert lines[1].split() == ["first", "rmse", "3", "1.000±0.100", "-"]
    assert lines[2].split() == ["second", "rmse", "3", "1.000±0.100", "2.000±0.200"]
