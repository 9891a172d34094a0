"""From a URL to the store behind it; the only place that knows which stores there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gaitstream.gallery.base import Store
from gaitstream.registry import Registry


class StoreOpener(Protocol):
    """What a store is registered as: a function, or a class whose constructor takes these."""

    def __call__(self, url: str, *, create: bool) -> Store:
        """Open the store of a URL.

        Args:
            url: with its scheme.
            create: make it when missing.

        Raises:
            MissingGalleryError: there is none, and `create` is False.
            GalleryError: it cannot be reached, or is no gallery of this version.
        """


STORES: Registry[StoreOpener] = Registry(
    "gallery store",
    "gaitstream.galleries",
    {
        "sqlite": "gaitstream.gallery.sqlite:SqliteStore",
        "postgresql": "gaitstream.gallery.postgresql:PostgresStore",
    },
    is_a=Callable,
)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):")


def scheme_of(url: str) -> str:
    """The store a URL asks for: what stands before the colon; a path is `sqlite`.

    >>> scheme_of("people.gallery"), scheme_of("postgresql://db/gait")
    ('sqlite', 'postgresql')
    """
    match = _SCHEME.match(url)
    return match[1] if match else "sqlite"


def file_of(url: str) -> Path | None:
    """The file of a `sqlite:` URL or of a path; None for a store that is no file."""
    if scheme_of(url) != "sqlite":
        return None
    return Path(re.sub(r"^sqlite:(?://(?=/))?", "", url))


def open_store(url: str | Path, *, create: bool = False) -> Store:
    """Open the store of a URL, or of a path; see `StoreOpener`.

    Raises:
        ConfigError: no store of that scheme is installed.
        MissingGalleryError: there is none, and `create` is False.
        GalleryError: it cannot be reached, or is no gallery of this version.
    """
    text = f"sqlite:{url}" if isinstance(url, Path) else url
    return STORES.get(scheme_of(text))(text, create=create)
