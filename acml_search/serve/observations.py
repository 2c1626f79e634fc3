"""What a request gives, as the readers take it.

Readers take a text or a path. A client's text never reaches them as such: it becomes a file in a folder of
the request's own, and that file is read, so that no path of a client's is ever opened. Records, as `parse`
returns them, are taken as they are.
"""

from __future__ import annotations

import base64
import binascii
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import AcmlSearchError, ConfigError, InvalidMolecule, InvalidRecord, shorten
from acml_search.modalities import Observation
from acml_search.search.request import read_observations
from acml_search.search.results import plain
from acml_search.serve.gate import Limits, Refused

_PATH = re.compile(r"\s*(?:file:|~?[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\])")
_FILE = re.compile(r"[^\s,;][^,;]{0,250}\.[A-Za-z][A-Za-z0-9]{0,6}(?:\.gz)?(?:#\d+)?\s*")
_ENDINGS = re.compile(r"\.[A-Za-z0-9]{1,7}")
_FLAG = re.compile(r"(?<!\S)--([a-z]+(?:-[a-z]+)*)")
_TEXT = "the text"


class Upload(NamedTuple):
    """A file that was sent. number: of the spectrum or structure in it, from 1."""

    name: str
    data: bytes
    number: int | None = None


class Given:
    """What one request gives. folder: an empty one, of the request's own."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._names: dict[str, str] = {}
        """what a sentence calls a file"""
        self._given: dict[str, str] = {}
        """what the client gave for it"""
        self._sent: dict[str, Upload] = {}

    def text(self, text: str) -> str:
        """A file that holds the text. Raises ConfigError for what is the name of a file."""
        if "\n" not in text.strip() and (_PATH.match(text) or _FILE.fullmatch(text)):
            named = f"{shorten(text.strip())!r} names a file"
            raise ConfigError(f"{named}, and files of the server are not read; send what it holds")
        return self._placed(text.encode("utf-8", "replace"), ".txt", _TEXT, text)

    def file(self, upload: Upload) -> str:
        """A file that holds what was sent; `FILE#n` where a number is named. Raises Refused for what unpacks
        to more than is allowed."""
        name, data = name_of(upload.name), upload.data
        ending = endings_of(name)
        if data.startswith(b"\x1f\x8b"):
            data = self._unpacked(data, name)
            ending = ending.removesuffix(".gz")
        elif data.startswith(b"PK"):
            self._check_archive(data, name)
        path = self._placed(data, ending, shorten(name), shorten(name))
        self._sent[path] = upload
        return path if upload.number is None else f"{path}#{upload.number}"

    def readable(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Observations of a request, by modality and by its details, as `read_observations` takes them."""
        out: dict[str, Any] = {}
        for name in observable():
            kind = modalities.get(name)
            if (given := asked.get(name)) is not None:
                numbers = isinstance(given, list) and all(isinstance(one, int | float) for one in given)
                several = given if isinstance(given, list) and not numbers else [given]
                if len(several) > self._limits.observations:
                    raise Refused(
                        422, f"there are {len(several)} of {name}; send {self._limits.observations}"
                    )
                out[name] = [self._value(one, kind, kind.option) for one in several]
            for detail, option in kind.details.items():
                if (given := asked.get(detail)) is not None:
                    out[detail] = self._value(given, kind, option)
        return out

    def read(self, readable: Mapping[str, Any], adduct: str | None = None) -> list[Observation]:
        """What `readable` returned, read as `read_observations` does."""
        try:
            read = read_observations(readable, adduct)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
            raise ConfigError(f"an observation is not as its modality writes it ({error})") from error
        return self._checked(read)

    def found(self, place: str, adduct: str | None = None, only: str | None = None) -> list[Observation]:
        """What a file shows, by the modalities that read it, the likeliest first.

        only: the modality that it is, where that is known. Raises InvalidRecord or ConfigError with what the
        readers say.
        """
        found: list[Observation] = []
        reasons: dict[str, str] = {}
        for name in observable() if only is None else [only]:
            kind = modalities.get(name)
            try:
                found += kind.read_parts(place, adduct if kind.has_precursor else None)
            except (InvalidRecord, ConfigError) as error:
                reason = str(getattr(error, "reason", error))
                reasons.setdefault(reason.removeprefix(f"{place.partition('#')[0]}: "), kind.title)
        if not found and only is not None:
            raise InvalidRecord(next(iter(reasons)), modality=only)
        if not found:
            shown = [(title, shorten(reason.partition("; ")[0], 120)) for reason, title in reasons.items()]
            why = "; ".join(f"as {title}, {reason}" for title, reason in shown)
            raise ConfigError(f"it is no structure, and no observation that is known: {why}")
        return self._checked(sorted(found, key=_unlikely))

    def named(self, one: Observation) -> Observation:
        """The observation with what the client gave in place of the file that was read."""
        path, _, number = one.given.partition("#")
        given = self._given.get(path, one.given) + (f"#{number}" if number else "")
        return replace(one, given=given, notes=self.said(one.notes))

    def said(self, document: Any) -> Any:
        """A sentence, or a document of them, that calls files by the names that the client gave, and options
        as the API does."""
        if isinstance(document, str):
            for path, name in self._names.items():
                document = document.replace(path, name)
            return _FLAG.sub(lambda found: found[1].replace("-", "_"), document)
        if isinstance(document, dict):
            return {name: self.said(value) for name, value in document.items()}
        return [self.said(one) for one in document] if isinstance(document, list) else document

    def sendable(self, one: Observation) -> Any:
        """What stands for an observation in a request: its record, or the file where it has none."""
        if isinstance(one.record, Mapping):
            isolation = one.peaks.isolation if one.peaks is not None else None
            return plain({**one.record, **({"isolation": isolation} if isolation else {})})
        path, _, number = one.given.partition("#")
        if path not in self._sent:
            return plain(one.record)
        name, data, _ = self._sent[path]
        encoded = base64.b64encode(data).decode("ascii")
        return {"file": encoded, "name": name, **({"number": int(number)} if number else {})}

    def _value(self, given: Any, kind: modalities.Modality, option: modalities.Option | None) -> Any:
        if isinstance(given, str):
            if option is not None and "TEXT" not in option.metavar and (data := _decoded(given)) is not None:
                return self.file(Upload("the file", data))
            return self.text(given)
        if isinstance(given, Mapping) and "file" in given:
            return self.file(upload_of(given, kind.name))
        if not isinstance(given, list | Mapping):
            raise InvalidRecord("send a text, a list of numbers, a record or a file", modality=kind.name)
        parts = given.values() if isinstance(given, Mapping) else [given]
        self._check_peaks(max((len(one) for one in parts if isinstance(one, list)), default=0), kind.name)
        return given

    def _checked(self, read: list[Observation]) -> list[Observation]:
        for one in read:
            self._check_peaks(len(one.peaks or ()), one.modality)
        return read

    def _check_peaks(self, n: int, modality: str) -> None:
        allowed = self._limits.signals if modalities.get(modality).unit == "ppm" else self._limits.peaks
        if n > allowed:
            most = f"more than {allowed:,}; send picked peaks"
            raise Refused(422, f"the {modality} observation has {n:,} peaks, {most}")

    def _placed(self, data: bytes, ending: str, name: str, given: str) -> str:
        path = self._folder / f"{len(self._names) + 1}{ending}"
        path.write_bytes(data)
        self._names[str(path)], self._given[str(path)] = name, given
        return str(path)

    def _unpacked(self, data: bytes, name: str) -> bytes:
        try:
            unpacker = zlib.decompressobj(31)
            found = unpacker.decompress(data, self._limits.unpacked)
            if unpacker.unconsumed_tail:
                raise self._too_large(name)
            return found
        except zlib.error as error:
            raise Refused(422, f"{shorten(name)} is a damaged gzip file ({error}); pack it again") from error

    def _check_archive(self, data: bytes, name: str) -> None:
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                size = sum(one.file_size for one in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            return  # its reader says what is wrong
        if size > self._limits.unpacked:
            raise self._too_large(name)

    def _too_large(self, name: str) -> Refused:
        most = f"more than {self._limits.unpacked >> 20} MB"
        return Refused(413, f"{shorten(name)} unpacks to {most}; send less of it")


def name_of(sent: str) -> str:
    """The name of a file without the folders that a client may name."""
    return re.split(r"[/\\]", sent)[-1] or "the file"


def endings_of(name: str) -> str:
    """The last two endings of a file's name, which tell how it is read, in lower case."""
    return "".join(_ENDINGS.findall(name.lower())[-2:])


def observable() -> list[str]:
    """The modalities that a user can observe."""
    return [name for name in modalities.names() if modalities.get(name).option is not None]


def chosen(found: Iterable[Observation]) -> dict[int, list[str]]:
    """Of readings of one source, the likeliest first, the places of those that are meant, and which other
    modalities read the same peaks of it: a text may hold two spectra, or one that is read in two ways."""
    kept: dict[int, tuple[str, set[float], list[str]]] = {}
    for place, one in enumerate(found):
        positions = {peak.position for peak in one.peaks or ()}
        same = [also for name, peaks, also in kept.values() if name != one.modality and peaks & positions]
        if same:
            same[0].append(one.modality)
        else:
            kept[place] = (one.modality, positions, [])
    return {place: also for place, (_, _, also) in kept.items()}


def molecule_of(text: str) -> str | None:
    """The canonical SMILES of a structure as text; None for other text."""
    if len(text.split()) > 1 and not re.match(r"\s*InChI=", text) and "M  END" not in text:
        return None
    from rdkit import Chem

    try:
        mol, _ = parse(text if "M  END" in text else text.strip())
    except InvalidMolecule:
        return None
    return str(Chem.MolToSmiles(mol))


def upload_of(given: Mapping[str, Any], modality: str) -> Upload:
    """A file as JSON has it. Raises InvalidRecord."""
    data = _decoded(given["file"]) if isinstance(given["file"], str) else None
    number, name = given.get("number"), given.get("name") or "the file"
    if data is None or not isinstance(name, str) or not isinstance(number, int | None):
        reason = 'a file is sent as {"file": BASE64, "name": TEXT, "number": N}'
        raise InvalidRecord(reason, modality=modality)
    return Upload(name, data, number)


def _decoded(text: str) -> bytes | None:
    """The bytes of base64, or of a data URL; None for other text."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.splitlines()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _unlikely(one: Observation) -> int:
    """How much of a reading speaks against it: parts that are left out, and peaks where few are."""
    typical = modalities.get(one.modality).typical
    peaks = one.peaks or ()
    odd = sum(not typical[0] <= peak.position <= typical[1] for peak in peaks) if typical else 0
    return odd + (len(one.peaks.left_out) if one.peaks is not None else 0)


def sentence(error: AcmlSearchError) -> dict[str, Any]:
    """An error as JSON."""
    notes = list(getattr(error, "__notes__", ()))
    return {"error": str(error), "kind": type(error).__name__, **({"notes": notes} if notes else {})}
