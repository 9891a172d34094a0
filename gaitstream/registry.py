"""Doors: names that lead to objects, the package's own and those that other packages bring.

A door's own entries are given as `module:attribute`, so that nothing is imported before it is asked for.
Another package adds to a door by an entry point of the door's group, in its `pyproject.toml`:

    [project.entry-points."gaitstream.models"]
    toy = "toy_gait.spec:TOY"
"""

from __future__ import annotations

import difflib
import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from gaitstream.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")
OWN = "gaitstream"


@dataclass(frozen=True)
class Entry:
    """One name of a door.

    Attributes:
        name: what users write.
        target: `module:attribute` of the object.
        package: which distribution brings it, for messages.
    """

    name: str
    target: str
    package: str

    def load(self) -> Any:
        """Import the object.

        Raises:
            ConfigError: its module or attribute cannot be imported, for whatever reason where another package
                brings it; the message names who does.
        """
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            expected = isinstance(error, (ImportError, AttributeError))
            if self.package == OWN and not expected:
                raise
            why = str(error) if expected else f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"{self.name!r} of the package {self.package} cannot be loaded from {self.target}: {why}"
            ) from error


class Registry(Generic[T]):
    """What one door offers, by name.

    Attributes:
        kind: what an entry is, for messages: `model family`.
        group: the group of entry points by which other packages add to it.
        is_a: the type of an entry, as `isinstance` takes it.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        own: Mapping[str, str],
        *,
        is_a: Any = object,
        installed: Callable[[str], Iterable[EntryPoint]] = lambda group: entry_points(group=group),
    ) -> None:
        """Open a door.

        Args:
            kind: see above.
            group: see above.
            own: `module:attribute` by name, for what the package itself brings.
            is_a: see above.
            installed: gives the entry points of a group; the interpreter's own by default.
        """
        self.kind = kind
        self.group = group
        self.is_a = is_a
        self._own = own
        self._installed = installed
        self._found: dict[str, list[Entry]] | None = None
        self._told: set[str] = set()

    def names(self) -> tuple[str, ...]:
        """All names: the package's own in their order, then others' in alphabetical order."""
        return tuple(self._entries())

    def get(self, name: str) -> T:
        """The object of this name, imported now.

        Raises:
            ConfigError: there is no such name, two packages bring it, it cannot be imported, or it is
                something else.
        """
        entries = self._entries().get(name)
        if entries is None:
            raise ConfigError(f"there is no {self.kind} {name!r}{self._near(name)}: {self._known()}")
        if len(entries) > 1:
            packages = " and ".join(entry.package for entry in entries)
            raise ConfigError(f"the {self.kind} {name!r} is brought by {packages}: uninstall one of them")
        (entry,) = entries
        found: T = entry.load()
        if not isinstance(found, self.is_a):
            raise ConfigError(
                f"{name!r} of the package {entry.package} is no {self.kind}: {entry.target} is of type "
                f"{type(found).__name__}, and has to be {self.is_a.__name__}"
            )
        return found

    def usable(self) -> Iterator[tuple[str, T]]:
        """All that can be had, by name; of the rest is warned: a broken package must not hide the others."""
        for name in self.names():
            try:
                yield name, self.get(name)
            except ConfigError as error:
                self.tell(str(error))

    def tell(self, said: str) -> None:
        """Warn of something that another package brings, once."""
        if said not in self._told:
            self._told.add(said)
            log.warning("%s", said)

    @contextmanager
    def own_only(self) -> Iterator[None]:
        """For a while, as if no other package had added anything: documentation is written so."""
        before, installed = self._found, self._installed
        self._found, self._installed = None, lambda _group: ()
        try:
            yield
        finally:
            self._found, self._installed = before, installed

    def _entries(self) -> dict[str, list[Entry]]:
        """Entries by name; more than one where packages disagree."""
        if self._found is None:
            found = {name: [Entry(name, target, OWN)] for name, target in self._own.items()}
            for point in sorted(self._installed(self.group), key=lambda point: point.name):
                package = point.dist.name if point.dist is not None else point.module
                entry = Entry(point.name, point.value.replace(" ", ""), package)
                if entry not in found.setdefault(point.name, []):
                    found[point.name].append(entry)
            self._found = found
        return self._found

    def _near(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._entries(), 1)
        return f" (nearest: {close[0]})" if close else ""

    def _known(self) -> str:
        return f"known are {', '.join(self.names())}" if self.names() else "none is installed"
