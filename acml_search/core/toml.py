"""TOML files checked against pydantic models, and what is wrong with them as one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from acml_search.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T", bound="BaseModel")
MAX_ERRORS = 5  # that one message names


def read_toml(path: Path, what: str = "file") -> dict[str, Any]:
    """The tables of a file. Raises ConfigError, which calls it `what`, where it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such {what}") from None
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error


def check_table(data: Mapping[str, Any], kind: type[T], where: object) -> T:
    """`data` as the pydantic model `kind`. Raises ConfigError that names `where` and the keys."""
    from pydantic import ValidationError

    try:
        return kind.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        told = "; ".join(_sentence(one) for one in found[:MAX_ERRORS])
        more = f"; and {len(found) - MAX_ERRORS} more" if len(found) > MAX_ERRORS else ""
        raise ConfigError(f"{where}: {told}{more}") from error


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if not str(part).startswith("<"))
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    if error["type"] == "missing":
        return f"missing key {key!r}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}" if key else message
