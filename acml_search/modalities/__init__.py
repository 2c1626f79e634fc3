"""The modalities: one file each, found by being here or by an entry point of `acml_search.modalities`."""

from acml_search.modalities.base import Modality, Observation, Option, get, names, register

__all__ = ["Modality", "Observation", "Option", "get", "names", "register"]
