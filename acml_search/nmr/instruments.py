"""NMR data as spectrometers store them: folders of Bruker and Varian, nmrML, and ZIP archives of these.

A folder or archive may hold many experiments; each is one entry, in the order of their names. Of Bruker's,
the processed spectrum is used where there is one, else the FID, else the list of picked peaks.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from acml_search.chem.peaks import Peak, PeakList
from acml_search.ms.io.base import Entry, Format, OtherKind, Unreadable, damage, open_bytes
from acml_search.ms.io.jcamp import number_of
from acml_search.nmr.jcamp import JCAMP_NMR, check_nucleus
from acml_search.nmr.sdf import SD

MAX_DEPTH = 6
MAX_FOLDERS = 20_000
MAX_EXPERIMENTS = 2_000
MAX_FILE = 128 << 20
"""bytes of one file of an experiment"""
MAX_ARCHIVE = 512 << 20
"""bytes of all files of an archive, unpacked"""
MAX_MEMBERS = 100_000
_WANTED = (
    "acqus", "acqu2s", "procs", "fid", "ser", "1r", "2rr", "title", "peaklist.xml", "procpar", "text",
)  # fmt: skip
_FILES = (".jdx", ".dx", ".jcamp", ".nmrml", ".sdf")
_UNREAD = {
    ".jdf": "JEOL", ".mnova": "MestReNova", ".ft": "NMRPipe", ".ft1": "NMRPipe", ".ft2": "NMRPipe",
    ".1d": "Magritek",
}  # fmt: skip
INSIDE = ("acqus", "acqu", "procs", "proc", "fid", "ser", "1r", "1i", "procpar")
"""names of files that belong to an experiment and are read with it"""


def is_experiment(folder: Path) -> bool:
    """Whether a folder is one experiment or one processing of Bruker or Varian."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return bool(names & {"acqus", "procs"}) or {"fid", "procpar"} <= names


def _entries_below(root: Path, modality: str, what: str = "a folder") -> Iterator[Entry]:
    """Every experiment and every file of NMR data below a folder. Raises Unreadable where there is none."""
    found = 0
    unread: set[str] = set()
    for place, names in _walk(root):
        inside = str(place.relative_to(root)) if place != root else ""
        reader = _reader(place, names)
        if reader is not None:
            yield Entry(None, partial(_read_experiment, reader, place, inside, modality))
            found += 1
        for name in names:
            ending = Path(name).suffix.lower()
            if ending in _UNREAD:
                unread.add(_UNREAD[ending])
            format = None if reader is not None else _format(place / name, ending)
            if format is not None:
                for entry in format.entries(place / name, modality):
                    yield Entry(None, partial(_read_file, entry, f"{inside}/{name}".lstrip("/")))
                    found += 1
        if found > MAX_EXPERIMENTS:
            raise Unreadable(f"it holds more than {MAX_EXPERIMENTS:,} spectra; give one experiment of them")
    if not found:
        also = (
            f"; data of {' and '.join(sorted(unread))} are not read, save them as JCAMP-DX" if unread else ""
        )
        raise Unreadable(
            f"it is {what} without NMR data (Bruker: acqus with fid or pdata/1/1r; Varian: procpar with fid; "
            f"JCAMP-DX; nmrML){also}"
        )


def _format(path: Path, ending: str) -> Format | None:
    if ending == ".sdf":
        return SD if b"<NMREDATA_" in _bytes(path) else None
    return NMRML if ending == ".nmrml" else JCAMP_NMR if ending in _FILES else None


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders with the names of their files, in the order of the numbers in them; not below experiments."""
    depth = len(folder.parts)
    for n, (place, folders, names) in enumerate(os.walk(folder)):
        if n >= MAX_FOLDERS:
            raise Unreadable(f"it has more than {MAX_FOLDERS:,} folders; give one experiment of them")
        here = Path(place)
        folders[:] = sorted((one for one in folders if one != "__MACOSX"), key=_natural)
        if len(here.parts) - depth >= MAX_DEPTH or "acqus" in names or "procpar" in names:
            folders.clear()
        yield here, sorted(names, key=_natural)


def _natural(name: str) -> list[Any]:
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d{1,9})", name)
        if part
    ]


def _reader(place: Path, names: list[str]) -> Any:
    if "acqus" in names or ("procs" in names and "1r" in names):
        return _bruker
    return _varian if {"procpar", "fid"} <= set(names) else None


def _read_experiment(reader: Any, place: Path, inside: str, modality: str) -> PeakList:
    try:
        return _placed(reader(place, modality), inside)
    except OSError as error:
        raise Unreadable(f"{inside or place.name} cannot be read ({damage(error)}); copy it again") from error
    except Unreadable as error:
        if not inside:
            raise
        raise type(error)(f"{inside}: {error.reason}") from error


def _read_file(entry: Entry, inside: str) -> PeakList:
    try:
        return _placed(entry.read(), inside)
    except Unreadable as error:
        raise type(error)(f"{inside}: {error.reason}") from error


def _placed(peaks: PeakList, inside: str) -> PeakList:
    if inside:
        peaks.about["place"] = inside
        peaks.about.setdefault("notes", []).insert(0, f"read from {inside}")
    return peaks


def _bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_FILE:
        raise Unreadable(f"its file {path.name} has {size:,} bytes, more than {MAX_FILE:,}; check it")
    return path.read_bytes()


# ---- Bruker

_ABOUT = ("NUC1", "PULPROG", "SOLVENT", "NS", "TE", "SF", "BF1", "OFFSET", "SW_h", "SI", "LB")
_PARAMETER = re.compile(r"^##\$(\w+)=[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)


def _parameters(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return dict(_PARAMETER.findall(_bytes(path)[: 4 << 20].decode("utf-8", "replace")))


def _bruker(place: Path, modality: str) -> PeakList:
    from acml_search.nmr.curves import Curve, Fid, picked, transformed

    processed = _processings(place)
    procs = _parameters(processed[0] / "procs") if processed else {}
    top = place if (place / "acqus").is_file() else place.parent.parent
    acqus = _parameters(top / "acqus")
    check_nucleus((acqus.get("NUC1") or procs.get("AXNUC", "")).strip("<> "), modality)
    if (
        (top / "ser").exists()
        or (top / "acqu2s").exists()
        or any((one / "2rr").exists() for one in processed)
    ):
        raise OtherKind("it has two dimensions; give a spectrum of one")
    title = processed[0] / "title" if processed else place / "title"
    said = {**acqus, **procs}
    about: dict[str, Any] = {name: said[name].strip("<> ") for name in _ABOUT if name in said}
    if title.is_file():
        about["TITLE"] = _bytes(title).decode("utf-8", "replace").strip()
    common: dict[str, Any] = {
        "solvent": acqus.get("SOLVENT", "").strip("<> ") or None,
        "pulse_sequence": acqus.get("PULPROG", "").strip("<> "),
    }
    if processed and (processed[0] / "1r").is_file():
        offset, width, sf = (_number(procs, name, "procs") for name in ("OFFSET", "SW_p", "SF"))
        heights = _values(processed[0] / "1r", procs, "DTYPP", "BYTORDP")
        size = number_of(procs.get("SI", ""))
        if size is not None and len(heights) != size:
            raise Unreadable(
                f"its 1r has {len(heights):,} points, and procs states {size:,.0f}; copy it again"
            )
        if not sf > 0 or not width > 0:
            raise Unreadable("its procs states no frequency or no width; process it again")
        notes: tuple[str, ...] = ()
        if len(processed) > 1:
            names = ", ".join(one.name for one in processed)
            notes = (f"it was processed more than once (pdata/{names}); pdata/{processed[0].name} is used",)
        last = offset - width / sf * (1 - 1 / max(len(heights), 1))
        return picked(Curve(offset, last, heights, sf, notes=notes, **common), modality, about)
    if (top / "fid").is_file():
        if number_of(acqus.get("AQ_mod", "3")) not in (1, 3):
            raise Unreadable("its FID was not recorded in quadrature; process it in TopSpin")
        base, o1, width = (_number(acqus, name, "acqus") for name in ("BF1", "O1", "SW_h"))
        sf = number_of(procs.get("SF", "")) or base
        raw = _values(top / "fid", acqus, "DTYPA", "BYTORDA")
        if not sf > 0:
            raise Unreadable("its acqus states no frequency; copy it again")
        pairs = raw[: len(raw) // 2 * 2].reshape(-1, 2)
        decim, version, delay = (number_of(acqus.get(name, "")) for name in ("DECIM", "DSPFVS", "GRPDLY"))
        digital = decim is not None and version is not None and number_of(acqus.get("DIGMOD", "1")) != 0
        fid = Fid(
            pairs[:, 0] + 1j * pairs[:, 1],
            width_hz=width,
            left_ppm=(base - sf + o1 / 1e6) * 1e6 / sf + width / sf / 2,
            field_mhz=sf,
            filter=(decim, version, delay or 0.0) if digital and decim and version else None,
            referenced="SF" in procs,
            **common,
        )
        return picked(transformed(fid, modality), modality, about)
    if processed and (processed[0] / "peaklist.xml").is_file():
        return _peak_list(processed[0] / "peaklist.xml", common["solvent"], acqus, about, modality)
    raise Unreadable("it has neither a spectrum (pdata/1/1r) nor an FID; copy the whole folder")


def _processings(place: Path) -> list[Path]:
    """The folders of processed data of an experiment, those with a spectrum first."""
    if not (place / "acqus").is_file():
        return [place]
    folders = [one for one in (place / "pdata").glob("*") if one.is_dir() and one.name.isdecimal()]
    with_spectrum = [one for one in folders if (one / "1r").is_file()]
    return sorted(with_spectrum or folders, key=lambda one: int(one.name))


def _number(parameters: dict[str, str], name: str, file: str) -> float:
    value = number_of(parameters.get(name, ""))
    if value is None:
        raise Unreadable(f"its {file} states no {name}; copy the whole folder")
    return value


def _values(path: Path, parameters: dict[str, str], kind: str, order: str) -> Any:
    """(n,) float64 of a binary file of Bruker."""
    import numpy as np

    data = _bytes(path)
    name = ("<" if number_of(parameters.get(order, "0")) == 0 else ">") + (
        "f8" if number_of(parameters.get(kind, "0")) == 2 else "i4"
    )
    size = np.dtype(name).itemsize
    with np.errstate(invalid="ignore"):  # what is not finite is refused later
        return np.frombuffer(data[: len(data) // size * size], name).astype(np.float64)


def _peak_list(
    path: Path, solvent: str | None, acqus: dict[str, str], about: dict[str, Any], modality: str
) -> PeakList:
    """Peaks that were picked in TopSpin, where neither spectrum nor FID is left."""
    shifts = re.findall(
        r'<Peak1D\b[^>]*?\bF1="([^"]*)"(?:[^>]*?\bintensity="([^"]*)")?',
        _bytes(path).decode("utf-8", "replace"),
    )
    peaks = [Peak(x, intensity=number_of(y)) for text, y in shifts if (x := number_of(text)) is not None]
    if not peaks:
        raise Unreadable("its peaklist.xml has no peaks; pick them, or copy the spectrum as well")
    about["notes"] = ["the peaks are those of peaklist.xml, as the folder has neither spectrum nor FID"]
    return PeakList(
        modality, tuple(peaks), solvent=solvent, field_mhz=number_of(acqus.get("BF1", "")), about=about
    )


# ---- Varian


_VALUE = re.compile(r'^(\w+)(?: [-+.\w]+){4,}[ \t]*\r?\n\d+ +"?([^"\r\n]*?)"? *\r?$', re.MULTILINE)


def _varian(place: Path, modality: str) -> PeakList:
    from acml_search.nmr.curves import Fid, picked, transformed

    parameters = dict(_VALUE.findall(_bytes(place / "procpar").decode("utf-8", "replace")))
    check_nucleus(parameters.get("tn", ""), modality)
    values = _varian_fid(_bytes(place / "fid"))
    width = _number(parameters, "sw", "procpar")
    field = number_of(parameters.get("reffrq", "")) or _number(parameters, "sfrq", "procpar")
    rfl, rfp = (number_of(parameters.get(name, "")) for name in ("rfl", "rfp"))
    if rfl is None or rfp is None or not field > 0:
        raise Unreadable("its procpar states no reference (rfl, rfp); process it and save the spectrum")
    fid = Fid(
        values,
        width_hz=width,
        left_ppm=(width - rfl + rfp) / field,
        field_mhz=field,
        solvent=parameters.get("solvent") or None,
        pulse_sequence=parameters.get("seqfil", ""),
        reversed=False,
    )
    return picked(transformed(fid, modality), modality)


def _varian_fid(data: bytes) -> Any:
    """(n,) complex values of an FID file of one trace: 32 bytes of header, 28 of the block's, pairs."""
    import numpy as np

    if len(data) < 60:
        raise Unreadable("its fid is cut off; copy it again")
    blocks, traces, points = np.frombuffer(data[:12], ">i4").tolist()
    status = int(np.frombuffer(data[26:28], ">i2")[0])
    if blocks != 1 or traces != 1:
        raise OtherKind("it has several FIDs; give a spectrum of one dimension")
    name = ">f4" if status & 0x8 else ">i4" if status & 0x4 else ">i2"
    size = np.dtype(name).itemsize
    if not 0 < points * size <= len(data) - 60:
        raise Unreadable(f"its fid states {points:,} numbers and holds fewer; copy it again")
    with np.errstate(invalid="ignore"):  # what is not finite is refused later
        pairs = np.frombuffer(data, name, points // 2 * 2, 60).astype(np.float64).reshape(-1, 2)
    return pairs[:, 0] + 1j * pairs[:, 1]


# ---- nmrML

_BYTES = {
    "float32": "<f4", "float64": "<f8", "complex64": "<c8", "complex128": "<c16",
    "integer32": "<i4", "int32": "<i4", "integer64": "<i8", "int64": "<i8",
}  # fmt: skip


def _nmrml_entries(path: Path, modality: str) -> Iterator[Entry]:
    from lxml import etree

    with open_bytes(path) as stream:
        data = stream.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise Unreadable(f"it has more than {MAX_FILE:,} bytes; check the file")
    if re.search(rb"<!(?:DOCTYPE|ENTITY)", data[:1_000_000]):
        raise Unreadable("it has a document type, which nmrML has not; remove it")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"it is no sound XML ({damage(error)[:80]}); copy it again") from error
    yield Entry(None, partial(_nmrml, root, modality))


def _find(root: Any, name: str) -> Any:
    return next(root.iter(f"{{*}}{name}"), None)


def _value(root: Any, name: str) -> float | None:
    found = _find(root, name)
    return None if found is None else number_of(found.get("value", ""))


def _nmrml(root: Any, modality: str) -> PeakList:
    import numpy as np

    from acml_search.nmr.curves import Curve, Fid, picked, transformed

    nucleus = _find(root, "acquisitionNucleus")
    check_nucleus("" if nucleus is None else nucleus.get("name", ""), modality)
    if _find(root, "acquisitionMultiD") is not None or _find(root, "spectrumMultiD") is not None:
        raise OtherKind("it has two dimensions; give a spectrum of one")
    named = [
        one for one in root.iter() if isinstance(one.tag, str) and "olvent" in one.tag.rpartition("}")[2]
    ]
    solvent = next((one.get("name") for one in named if one.get("name")), None)
    field = _value(root, "effectiveExcitationField") or _value(root, "irradiationFrequency")
    pulse = next(
        (one.get("value", "") for one in root.iter("{*}userParam") if "Pulse" in one.get("name", "")), ""
    )
    common: dict[str, Any] = {"field_mhz": field, "solvent": solvent, "pulse_sequence": pulse}
    spectrum, axis = _find(root, "spectrumDataArray"), _find(root, "xAxis")
    if spectrum is not None and axis is not None:
        first, last = number_of(axis.get("startValue", "")), number_of(axis.get("endValue", ""))
        if first is None or last is None:
            raise Unreadable("its spectrum has no ends of its axis in ppm; save it again")
        return picked(Curve(first, last, np.real(_array(spectrum)), **common), modality)
    data = _find(root, "fidData")
    if data is None:
        raise Unreadable("it holds neither a spectrum nor an FID; save it again")
    values = _array(data)
    if not np.iscomplexobj(values):
        values = values[: len(values) // 2 * 2].reshape(-1, 2) @ np.array([1, 1j])
    width, carrier = _value(root, "sweepWidth"), _value(root, "irradiationFrequency")
    if width is None or carrier is None or not field:
        raise Unreadable("its FID lacks its width or its frequencies; process it and save the spectrum")
    unit = _find(root, "sweepWidth").get("unitName", "hertz").lower()
    width = width * field if "million" in unit or "ppm" in unit else width
    delay = _value(root, "groupDelay") or 0.0
    bruker = "bruker" in " ".join(one.get("name", "") for one in root.iter("{*}cvParam")).lower()
    fid = Fid(
        values,
        width_hz=width,
        left_ppm=(carrier - field) * 1e6 / field + width / field / 2,
        filter=(0.0, 0.0, delay) if delay > 0 else None,
        reversed=bruker,
        referenced=False,
        **common,
    )
    return picked(transformed(fid, modality), modality)


def _array(element: Any) -> Any:
    """The numbers of a base64 array, compressed or not. Raises Unreadable for damaged ones."""
    import numpy as np

    kind = element.get("byteFormat", "").lower()
    name = _BYTES.get(kind) or ("<i4" if "integer" in kind else None)
    if name is None:
        raise Unreadable(f"its data are of the type {kind[:30]!r}; save them as Complex128 or Float64")
    try:
        data = base64.b64decode("".join((element.text or "").split()), validate=True)
        if element.get("compressed", "").lower() in ("true", "zlib"):
            data = zlib.decompressobj().decompress(data, MAX_FILE)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise Unreadable(f"its data are damaged ({damage(error)[:60]}); copy it again") from error
    size = np.dtype(name).itemsize
    return np.frombuffer(data[: len(data) // size * size], name)


# ---- ZIP archives


def _zip_entries(path: Path, modality: str) -> Iterator[Entry]:
    """The experiments in an archive, unpacked to a temporary folder as far as they are needed."""
    with tempfile.TemporaryDirectory(prefix="acml-nmr-") as temporary:
        root = Path(temporary)
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, root)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise Unreadable(f"the archive is damaged ({damage(error)[:80]}); copy it again") from error
        yield from _entries_below(root, modality, "an archive")


def _unpack(archive: zipfile.ZipFile, root: Path) -> None:
    members = [one for one in archive.infolist() if not one.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise Unreadable(f"the archive has more than {MAX_MEMBERS:,} files; give one experiment of them")
    names = {member.filename for member in members}
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise Unreadable("this is a document or sheet of an office program; save it as text or CSV")
    total = 0
    for member in members:
        place = PurePosixPath(member.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
            raise Unreadable(
                f"the archive has a file outside itself, {member.filename[:60]!r}; it is not opened"
            )
        ending = place.suffix.lower()
        if "__MACOSX" in place.parts or place.name.startswith("._"):
            continue
        if place.name not in _WANTED and ending not in (*_FILES, *_UNREAD):
            continue
        if member.flag_bits & 1:
            raise Unreadable("the archive has a password; unpack it first")
        target = root.joinpath(*place.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("wb") as out:
            size = 0
            while chunk := source.read(1 << 20):
                size, total = size + len(chunk), total + len(chunk)
                if size > MAX_FILE or total > MAX_ARCHIVE:
                    raise Unreadable(
                        "the archive unpacks to more than spectra take; give one experiment of it"
                    )
                if ending not in _UNREAD:
                    out.write(chunk)


FOLDER = Format("a folder of NMR data", ("c_nmr", "h_nmr"), _entries_below, checked=False)
NMRML = Format("nmrML", ("c_nmr", "h_nmr"), _nmrml_entries, checked=False)
ZIP = Format("a ZIP archive", ("c_nmr", "h_nmr"), _zip_entries, checked=False)
