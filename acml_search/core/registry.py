"""Registries of plug-ins by name: the modules of a package, and entry points of installed packages."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Generic, TypeVar

from acml_search.core.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects registered under a name when their module is imported.

    package: all its modules are imported at the first look-up. group: entry points (`name = "module"` or
    `"module:object"`) that are loaded then too, so that another distribution can register more.
    """

    def __init__(self, what: str, package: str, group: str | None = None) -> None:
        self.what = what
        self._package, self._group = package, group
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers an object. Raises ConfigError when the name is taken."""

        def add(entry: T) -> T:
            if self._entries.get(name, entry) is not entry:
                raise ConfigError(f"the {self.what} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._entries)

    def get(self, name: str) -> T | None:
        """The entry called `name`, or None."""
        self._discover()
        return self._entries.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._entries

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package: ModuleType = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self._group) if self._group else ():
            point.load()
