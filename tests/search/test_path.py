"""How far one has to read to follow a query: the files of the package whose functions run."""

import subprocess
import sys
from pathlib import Path

MAX_FILES = 25
"""60 in version 0.1"""
TRACE = """
import sys
from pathlib import Path
import acml_search
from acml_search.cli import main

root, files, importing = str(Path(acml_search.__file__).parent), set(), 0

def profile(frame, event, argument):
    global importing
    code = frame.f_code
    if code.co_name == "<module>":
        importing += {"call": 1, "return": -1}.get(event, 0)
    elif event == "call" and not importing and code.co_flags & 1 and code.co_filename.startswith(root):
        files.add(code.co_filename)

sys.setprofile(profile)
try:
    main(sys.argv[1:])
except SystemExit as left:
    assert not left.code
finally:
    sys.setprofile(None)
print(*sorted(files), sep="\\n", file=sys.stderr)
"""


def test_a_query_passes_few_files(spectral_index: Path, reranked_model: Path) -> None:
    command = ["query", str(spectral_index), "--c-nmr", "13C NMR (151 MHz, DMSO-d6) δ 167.6, 130.2, 24.1"]
    command += ["-k", "3", "--model", str(reranked_model)]
    done = subprocess.run([sys.executable, "-c", TRACE, *command], capture_output=True, text=True, check=True)
    files = [line for line in done.stderr.splitlines() if line.endswith(".py")]
    assert 20 < len(files) <= MAX_FILES, "\n".join(files)
