"""The modalities: one file each, found by being here."""

from acml_search.modalities.base import Modality, get, names, register

__all__ = ["Modality", "get", "names", "register"]
