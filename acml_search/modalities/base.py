"""What a modality is, and the registry that finds them.

A modality is one file in this package: it says how a record is read, how records are batched, what network
reads the batch, and how an example is made. `register` files it under its name; nothing else is edited.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from acml_search.core.errors import ConfigError, UnknownModality

if TYPE_CHECKING:
    from torch import nn

_NOT_MODALITIES = {"base", "shift_list"}
_registry: dict[str, type[Modality]] = {}


class Modality(ABC):
    """One representation of a molecule: records in, batches for its tower out."""

    name: ClassVar[str]
    derived: ClassVar[bool] = False
    """whether a record can be made from a structure alone (`derive`)"""
    columns: ClassVar[tuple[str, ...]] = ()
    """columns of a row that its record is read from; none where it is derived"""
    optional: ClassVar[tuple[str, ...]] = ()
    """further columns that are used where they are there"""
    toy: ClassVar[dict[str, Any]] = {"width": 16, "hidden": 16, "layers": 2}
    """hyper-parameters of the smallest tower, for tests"""

    @abstractmethod
    def read(self, record: Any) -> Any:
        """Arrays of one record. Raises `InvalidRecord` when it cannot be used."""

    def augment(self, item: Any, rng: np.random.Generator) -> Any:
        """A variation of what `read` gave, as another measurement might be; used in training only."""
        return item

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Any:
        """NumPy batch of several `read` records."""

    @abstractmethod
    def tower(self, **hyper: Any) -> nn.Module:
        """The unimodal encoder, rebuilt from its hyper-parameters: `blocks.tensors` of a `collate` batch ->
        (n, width) float32.

        Its attribute `width` is the length of the vectors it gives. One that may take a record for several
        things is a `blocks.Undecided`. Torch is imported here, not above.
        """

    def head(self, trunk: nn.Module, tower: nn.Module, **hyper: Any) -> nn.Module:
        """The graph side of the space, a `blocks.Head`, rebuilt from its hyper-parameters."""
        from acml_search.networks import PooledHead, width_of

        return PooledHead(width_of(trunk), **hyper)

    @abstractmethod
    def example(self, rng: np.random.Generator) -> Any:
        """A valid synthetic record."""

    def derive(self, smiles: str, rng: np.random.Generator | None = None) -> Any:
        """The record of a structure given as canonical SMILES; with `rng`, a randomly varied one."""
        raise ConfigError(f"records of {self.name} are measured; they cannot be made from a structure")


def register(name: str) -> Callable[[type[Modality]], type[Modality]]:
    """Class decorator that files a modality under `name`. Raises `ConfigError` when the name is taken."""

    def file(cls: type[Modality]) -> type[Modality]:
        if name in _registry:
            raise ConfigError(f"the modality name {name!r} is taken by {_registry[name].__qualname__}")
        cls.name = name
        _registry[name] = cls
        return cls

    return file


def names() -> list[str]:
    """Names of all modalities, sorted."""
    _discover()
    return sorted(_registry)


def get(name: str) -> Modality:
    """The modality called `name`. Raises `UnknownModality`, listing those there are."""
    _discover()
    if name not in _registry:
        raise UnknownModality(name, _registry)
    return _registry[name]()


@cache
def _discover() -> None:
    import acml_search.modalities as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _NOT_MODALITIES:
            importlib.import_module(f"{package.__name__}.{module.name}")
