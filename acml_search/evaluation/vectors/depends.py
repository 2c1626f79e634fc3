# fmt: off
# ruff: noqa
# mypy: ignore-errors
def side_key(card, space: str, side: str) -> str:  # type: ignore  # shim
    return f"{card.digest}:{space}:{side}"  # shim
def what_runs(source: str) -> str:  # shim
    return source  # shim
