"""Readers of damaged files: nothing but a sentence may come out, nothing may get lost, in bounded time.

    python -m benchmarks.fuzz --reader msp --n 100000

Seeds are the files of `tests/cases`. Another reader registers by `@reader(name, seeds)`: a function that
reads one file and raises AssertionError for what must not be; AcmlSearchError is a refusal, any other error a
finding.
"""

from __future__ import annotations

import argparse
import gzip
import math
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from acml_search.core.errors import AcmlSearchError

CASES = Path(__file__).parents[1] / "tests" / "cases"
SLOW = 2.0
"""seconds of processor time that no file may take"""
PIECES = [
    b"", b"\n", b"\r\n", b"\0", b"-", b"nan", b"1e999", b"=", b":", b";", b",", b"(", b")", b"[", b"]", b"{",
    b"}", b"<", b">", b"&", b'"', b"\\", b"#", b"\xff", "δ".encode(), b"0", b"9" * 30, b"1,5", b"END IONS\n",
    b"BEGIN IONS\n", b"Num Peaks: 3\n", b"Name: b\n", b"//\n", b"MSLEVEL=1\n", b"CHARGE=9-9\n",
    b"PEPMASS=1 2 3\n", b"</spectrum>", b"<cvParam/>", b"</scan>", b"J = ", b" Hz", b"13C NMR ", b"##",
    b"$$", b"##END=\n", b"##TITLE=b\n", b"##XYDATA=(X++(Y..Y))\n1 @A%J\n", b"##DATA TYPE=NMR SPECTRUM\n",
    b"##XFACTOR=nan\n", b"##PAGE=N=3\n", b"@", b"%", b"S9", b"e308", b"|", b"M  END\n", b"$$$$\n", b"../",
]  # fmt: skip


class Reader(NamedTuple):
    """How a kind of file is read and checked. `packed`: some are gzipped, and cut off."""

    seeds: Callable[[], list[tuple[str, bytes]]]
    """names, which the damaged files get, and contents"""
    check: Callable[[Path], None]
    packed: bool = False


READERS: dict[str, Reader] = {}


def reader(
    name: str, seeds: Callable[[], list[tuple[str, bytes]]], packed: bool = False
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Decorator that registers what checks one file."""

    def add(check: Callable[[Path], None]) -> Callable[[Path], None]:
        READERS[name] = Reader(seeds, check, packed)
        return check

    return add


def files(folder: str, *patterns: str) -> Callable[[], list[tuple[str, bytes]]]:
    """The files of a folder of `tests/cases`, as seeds."""
    found = CASES / folder
    return lambda: [(path.name, path.read_bytes()) for one in patterns for path in sorted(found.glob(one))]


def mutated(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A file with one to six damages: bytes, lines, pieces of other files, an end cut off."""
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(content) + 1)
        to = min(at + rng.randint(0, 40), len(content))
        match rng.randrange(8):
            case 0:
                content = content[:at] + content[to:]
            case 1:
                content = content[:at] + rng.choice(PIECES) * rng.choice((1, 1, 1, 2, 50)) + content[at:]
            case 2:
                content = content[:at] + content[at:to] * rng.choice((2, 3, 40)) + content[to:]
            case 3:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                content = content[:at] + other[start : start + rng.randint(1, 300)] + content[to:]
            case 4:
                content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
            case 5:
                lines = content.split(b"\n")
                rng.shuffle(lines) if rng.random() < 0.1 else lines.insert(
                    rng.randrange(len(lines)), rng.choice(lines)
                )
                content = b"\n".join(lines)
            case 6:
                content = content[:at] + rng.randbytes(rng.randint(1, 300)) + content[to:]
            case _:
                content = content[:at] if rng.random() < 0.2 else content
    return content[:200_000]


def run(name: str, n: int, seed: int = 0) -> Iterator[str]:
    """The findings among n damaged files of one reader, a line each."""
    one = READERS[name]
    seeds = one.seeds()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n):
            called, content = rng.choice(seeds)
            path = Path(folder) / called
            damaged = mutated(content, rng, [other for _, other in seeds])
            if one.packed and rng.random() < 0.1:
                damaged = gzip.compress(damaged)[: -rng.randint(0, 20) or None]
                path = path.with_name(f"{called}.gz")
            path.write_bytes(damaged)
            started = time.process_time()
            try:
                one.check(path)
            except AcmlSearchError as error:
                if not 0 < len(str(error)) < 1_500 or "\n" in str(error):
                    yield f"{name} {i}: the refusal {str(error)!r} is no sentence: {damaged[:300]!r}"
            except Exception as error:
                yield f"{name} {i}: {type(error).__name__}: {error}: {damaged[:2000]!r}"
            if (taken := time.process_time() - started) > SLOW:
                yield f"{name} {i}: {taken:.1f} s: {damaged[:300]!r}"


# ---- mass spectra

_MARKS = {
    ".mgf": re.compile(rb"^[ \t]*BEGIN[ \t]+IONS[ \t]*\r?$", re.M | re.I),
    ".msp": re.compile(rb"^[ \t]*num peaks:", re.M | re.I),
}
"""of a line that every spectrum has"""


def spectra(path: Path) -> None:
    """Every spectrum is read, refused or of another kind, and those that are read hold sound peaks."""
    from acml_search.modalities import get
    from acml_search.ms.io import BadSpectrum, read_spectra, read_spectrum

    for modality in ("lc_ms", "gc_ms"):
        for numbered in (str(path), f"{path}#2"):
            with suppress(AcmlSearchError):
                assert len(read_spectrum(numbered, modality)), "an empty list"
        found = list(read_spectra(path, modality, on_error="yield"))
        numbers = [one.number for one in found if one.number is not None]
        assert numbers == list(range(1, len(numbers) + 1)), "a spectrum is lost"
        mark = _MARKS.get(path.suffix.lower())
        if mark is not None and b"\r" not in (content := path.read_bytes()):
            assert len(found) >= len(mark.findall(content)), "fewer spectra than the file has"
        for one in found:
            if isinstance(one, BadSpectrum):
                assert "\n" not in str(one), "more than one line"
                continue
            assert len(one), "an empty list"
            assert one.file == path, "of another file"
            assert all(math.isfinite(peak.position) and peak.position > 0 for peak in one), (
                "an m/z that cannot be"
            )
            assert all((peak.intensity or 0.0) >= 0 for peak in one), "a negative intensity"
            assert one.precursor_mz is None or 0 < one.precursor_mz < math.inf, "a precursor that cannot be"
            try:
                understood = get(modality).observe_peaks(one, str(path))
            except AcmlSearchError:
                continue
            assert all(0 < mass < math.inf for mass in understood.masses.values()), "a mass that cannot be"


for _name, _patterns in {
    "msp": ("*.msp",),
    "mgf": ("*.mgf", "*.MGF"),
    "mzml": ("*.mzML", "*.MZML"),
    "mzxml": ("*.mzXML",),
    "ms-json": ("*.json",),
    "massbank": ("massbank.txt",),
    "two-columns": ("two-columns*",),
}.items():
    reader(_name, files("ms", *_patterns), packed=True)(spectra)


# ---- NMR


def nmr_spectrum(path: Path) -> None:
    """Shifts that can be, whatever the file is."""
    from acml_search.modalities import get
    from acml_search.nmr.sources import nmr_peaks

    for modality, low, high in (("c_nmr", -50, 350), ("h_nmr", -40, 40)):
        for numbered in (str(path), f"{path}#2"):
            refusal, found = "", None
            try:
                found = nmr_peaks(numbered, modality)
                get(modality).read(found.record())
            except AcmlSearchError as error:
                refusal = str(error)
            assert "\n" not in refusal, "more than one line"
            assert len(refusal) < 1_500, "no sentence"
            if found is None or refusal:
                continue
            assert len(found), "an empty list"
            assert all(low <= peak.position <= high for peak in found), "a shift that cannot be"


for _name, _patterns in {
    "nmr-tables": ("*.txt", "*.csv", "*.md"),
    "nmr-jcamp": ("*.jdx",),
    "nmr-sdf": ("*.sdf",),
    "nmr-nmrml": ("*.nmrML",),
    "nmr-zip": ("*.zip",),
}.items():
    reader(_name, files("nmr", *_patterns))(nmr_spectrum)

_LINES = (
    "1H NMR (600 MHz, CDCl3): δ 9.21 (dd, J = 4.3, 1.7 Hz, 1H), 7.66 – 7.51 (m, 7H), 3.93 (s, 3H).",
    "13C NMR (151 MHz, CDCl3) δ 176.0, 85.8 (CH), 128.5 (d, J = 245.1 Hz), 126.4 (2C), 77.16, −5.4",
    "six olefinic methines (δH 6.81, 6.87 and 7.18) in the 1H NMR, two methylenes (δC 25.2; 29.7)",
    "155,4; 151,7; 148,6",
)


@reader("nmr-text", lambda: [("line.txt", line.encode()) for line in _LINES])
def nmr_text(path: Path) -> None:
    """Shifts and couplings that can be, however the line is read."""
    from acml_search.core.errors import InvalidRecord
    from acml_search.nmr.parser import peak_lists, read_nmr_text
    from acml_search.nmr.solvents import without_solvent

    text = path.read_bytes().decode("utf-8", "replace")[:20_000]
    for modality in ("c_nmr", "h_nmr", None):
        refusal = "refused"
        try:
            peaks = read_nmr_text(text, modality)
        except InvalidRecord as error:
            refusal = error.reason
            continue
        finally:
            assert refusal, "an empty sentence"
            assert "\n" not in refusal, "more than one line"
        low, high = (-50, 350) if peaks.modality == "c_nmr" else (-40, 40)
        assert len(peaks), "an empty list"
        assert all(low <= peak.position <= high for peak in peaks), "a shift that cannot be"
        assert all(0 <= coupling <= 2000 for peak in peaks for coupling in peak.couplings), "such a coupling"
        assert len(without_solvent(peaks)) <= len(peaks), "more peaks without the solvent"
    peak_lists(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reader", choices=[*READERS, "all"], default="all")
    parser.add_argument("--n", type=int, default=10_000, help="damaged files of each reader")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    total = 0
    for name in READERS if asked.reader == "all" else [asked.reader]:
        started, findings = time.process_time(), 0
        for finding in run(name, asked.n, asked.seed):
            findings += 1
            print(finding, flush=True)
        spent = time.process_time() - started
        print(
            f"{name}: {asked.n:,} files, {findings:,} findings, seed {asked.seed}, {spent:.0f} s", flush=True
        )
        total += findings
    sys.exit(bool(total))


if __name__ == "__main__":
    main()
