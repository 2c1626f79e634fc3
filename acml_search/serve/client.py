"""A server asked from Python, as an open index is."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from acml_search.core import errors
from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.search.request import Conditions
from acml_search.search.results import plain


class Client:
    """A server of `acml-search serve`.

    url: such as "http://127.0.0.1:8000". token: where it wants one. index: the name of the one to ask, the
    first by default. timeout: seconds. Its methods are those of `Index`, and return the JSON documents of the
    command line. They raise what those of `Index` raise, and ConfigError for a server that does not answer.
    """

    def __init__(
        self, url: str, *, token: str | None = None, index: str | None = None, timeout: float = 120.0
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(f"{url!r} is no address of a server; give one like http://127.0.0.1:8000")
        self._url, self._token, self._index, self._timeout = url.rstrip("/"), token, index, timeout

    def search(
        self, smiles: str, *, k: int = 10, modality: str | None = None, **conditions: Unpack[Conditions]
    ) -> dict[str, Any]:
        """As `Index.search`."""
        return self._post("search", {"smiles": smiles, "k": k, "modality": modality, **conditions})

    def identify(
        self,
        observations: Mapping[str, Any],
        *,
        k: int = 10,
        adduct: str | None = None,
        rerank: bool = True,
        by_precursor: bool = True,
        min_probability: float = 0.0,
        **conditions: Unpack[Conditions],
    ) -> dict[str, Any]:
        """As `Index.identify`; files are read here and sent."""
        how: dict[str, Any] = {"k": k, "adduct": adduct, "rerank": rerank, "any_mass": not by_precursor}
        how["min_probability"] = min_probability
        return self._post("search", {**_sent(observations), **how, **conditions})

    def explain(
        self,
        observations: Mapping[str, Any],
        keys: Sequence[int],
        *,
        adduct: str | None = None,
        rerank: bool = True,
    ) -> dict[str, Any]:
        """As `Index.explain`."""
        how = {"keys": list(map(int, keys)), "adduct": adduct, "rerank": rerank}
        return self._post("explain", {**_sent(observations), **how})

    def check(
        self, smiles: str, *, alternatives: Sequence[str] = (), isomers: bool = False, **observations: Any
    ) -> dict[str, Any]:
        """As `acml_search.check`."""
        asked = {"smiles": smiles, "alternatives": list(alternatives), "isomers": isomers}
        return self._post("check", {**_sent(observations), **asked})

    def parse(self, observations: Mapping[str, Any], *, adduct: str | None = None) -> dict[str, Any]:
        """What is understood of observations; its `query` can be given to `identify`."""
        return self._post("parse", {**_sent(observations), "adduct": adduct})

    def molecules(self, keys: Sequence[int]) -> list[dict[str, Any]]:
        """As `Index.molecules`."""
        which = "" if self._index is None else f"?index={quote(self._index, safe='')}"
        return [self._answer(f"/api/molecules/{int(key)}.json{which}") for key in keys]

    def indexes(self) -> list[dict[str, Any]]:
        """The indexes of the server: name, number of molecules, modalities, columns."""
        return list(self._answer("/api/indexes")["indexes"])

    def _post(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in {"index": self._index, **body}.items() if value is not None}
        return dict(self._answer(f"/api/{what}", json.dumps(plain(given), allow_nan=False).encode()))

    def _answer(self, path: str, body: bytes | None = None) -> Any:
        headers = {"content-type": "application/json"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            with urlopen(Request(f"{self._url}{path}", body, headers), timeout=self._timeout) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise _error(error.read(), error.code) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise ConfigError(f"{self._url} does not answer ({reason}); is it running?") from error
        except ValueError as error:
            raise ConfigError(f"{self._url} is no server of acml-search ({error})") from error


def _error(body: bytes, status: int) -> AcmlSearchError:
    """The error that the server names, with its sentence and its notes."""
    try:
        document = json.loads(body)
        sentence = str(document["error"])
    except (ValueError, KeyError, TypeError):
        return ConfigError(f"the server answers {status}, and not as acml-search does")
    named = getattr(errors, str(document.get("kind")), None)
    kind = named if isinstance(named, type) and issubclass(named, AcmlSearchError) else ConfigError
    made = kind.__new__(kind, sentence)
    for note in document.get("notes", ()):
        made.add_note(note)
    return made


def _sent(observations: Mapping[str, Any]) -> dict[str, Any]:
    """Observations as the server takes them: what names a file of this machine becomes what it holds."""
    return {
        name: [_one(one) for one in given]
        if isinstance(given, list | tuple) and not all(isinstance(one, int | float) for one in given)
        else _one(given)
        for name, given in observations.items()
    }


def _one(given: Any) -> Any:
    if isinstance(given, bytes):
        return {"file": base64.b64encode(given).decode("ascii")}
    if not isinstance(given, str | Path):
        return given
    text = str(given)
    path, _, number = text.rpartition("#")
    if not (number.isascii() and number.isdecimal()) or _is_file(text):
        path, number = text, ""
    if not _is_file(path):
        if isinstance(given, Path):
            raise ConfigError(f"there is no file {given}")
        return text
    file = {"file": base64.b64encode(Path(path).read_bytes()).decode("ascii"), "name": Path(path).name}
    return {**file, "number": int(number)} if number else file


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL in it
        return False
