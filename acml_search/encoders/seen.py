"""Earlier name of `encoders.training_molecules`."""

from acml_search.encoders.training_molecules import FILE, training_list, write_training_list  # shim
from acml_search.encoders.training_molecules import TrainingMolecules as SeenList  # shim

__all__ = ["FILE", "SeenList", "training_list", "write_training_list"]  # shim
