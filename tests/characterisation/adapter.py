"""The only place where these tests reach into the package, apart from its command line and public names."""

from __future__ import annotations

import contextlib
import io
import os
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PLACES = {"acml-research": str(Path(__file__).parents[2] / "weights" / "acml-research" / "acml_research")}
"""where models are that are packages of their own and need not be installed"""


class Outcome(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    stdout: str
    stderr: str


def run_command(arguments: Sequence[str], folder: Path) -> Outcome:
    """Run `acml-search ARGUMENTS` in this process, in `folder`."""
    from acml_search.cli import main

    status = 0
    with (
        working_in(folder),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            main([PLACES.get(one, one) for one in arguments])
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else int(left.code is not None)
        except Exception:
            status = -1
            traceback.print_exc()
    return Outcome(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def encode_records(model: str, modality: str, records: Sequence[Any]) -> np.ndarray:
    """Record side of one space: (n, d) float32."""
    from acml_search.encoders.checkpoint import load_model

    return load_model(PLACES.get(model, model)).encode_records(modality, records)


def predicted_shifts(model: str, modality: str, smiles: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """For each molecule the predicted peaks: `atoms`, `position`, `spread`, `present`."""
    from acml_search.chem.molecule import parse
    from acml_search.encoders.checkpoint import load_model

    loaded = load_model(PLACES.get(model, model))
    graphs = [loaded.featurise(parse(text)[0]) for text in smiles]
    return [one._asdict() for one in loaded.predicted_peaks(modality, graphs)]
