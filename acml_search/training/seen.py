"""The list of molecules that an alignment sees, worked out from its configuration and corpus.

What a model starts from (another alignment, pretrained encoders) has learned from the same corpus and the
same rows, or fewer: the configurations that made the shipped weights see to that, so the last one names all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from acml_search.encoders.card import ModelCard
from acml_search.encoders.seen import SeenList, write_training_list
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import Corpus
from acml_search.training.observations import Observations, read_observations
from acml_search.training.shifts import Assigned, read_assigned


def run(path: Path | str, model: Path | None = None) -> ModelCard:
    """Write the list of an alignment beside its model, or beside the weights in `model`; returns the card.

    Raises ConfigError for a configuration that cannot be followed, CheckpointError where there is no model.
    """
    config = read_config(path, ("name", "corpus", "space"))
    corpus = config.corpus()
    spaces = {name: space for name, space in config.data["space"].items() if "records" in space}
    observed = {
        name: read_observations(name, space["records"], corpus, config.root) for name, space in spaces.items()
    }
    entry = config.data.get("assigned")
    assigned = read_assigned(config.root / entry["path"], entry["where"], corpus) if entry else {}
    seen = seen_by(corpus, observed, assigned)
    return write_training_list(model or config.out / "model", seen, command(config))


def command(config: TrainingConfig) -> str:
    """How the list of a configuration is made."""
    return f"acml-search train seen {config.path.name}"


def seen_by(
    corpus: Corpus, observed: Mapping[str, Observations], assigned: Mapping[str, Assigned]
) -> SeenList:
    """All molecules that a training step may see, and by modality those whose records it may.

    Shifts assigned to atoms count as records of the modality they teach. The inner part is in no step.
    """
    table = pq.read_table(corpus.directory / "molecules.parquet", columns=["inchikey14"])
    blocks = np.array(table["inchikey14"].to_pylist(), np.str_)
    learned = corpus.learned
    rows = {name: one.molecules for name, one in observed.items()}
    for name, taught in assigned.items():
        more = np.fromiter(taught.of, np.int64, len(taught.of))
        rows[name] = np.union1d(rows.get(name, np.zeros(0, np.int64)), more)
    records = {name: blocks[np.intersect1d(of, learned)].tolist() for name, of in rows.items()}
    return SeenList.of(blocks[learned].tolist(), records)
