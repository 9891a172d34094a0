"""How a bundle comes to its place: whole or not at all, and what lies there is kept until then."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gaitstream.errors import ExportError
from gaitstream.models.bundle import MANIFEST

UNPROVED = ".unproved-"
"""How folders in the bundle's begin that hold what is not proved yet; a killed export leaves its own."""


def check_destination(out: Path, *, overwrite: bool) -> None:
    """See that nothing lies at a bundle's place that may not be replaced.

    Raises:
        ExportError: something does.
    """
    if not out.exists() or (out.is_dir() and not _inside(out)):
        return
    if not (out / MANIFEST).is_file():
        raise ExportError(f"{out} exists and is not a bundle: choose another --out")
    if not overwrite:
        raise ExportError(
            f"{out} holds a bundle already: choose another --out, or replace it with --overwrite"
        )


def check_sources(out: Path, sources: Iterable[Path]) -> None:
    """See that what a bundle is made of does not lie where it replaces everything.

    Raises:
        ExportError: a file does.
    """
    for path in sources:
        if path.resolve().is_relative_to(out) and path.is_file():
            raise ExportError(
                f"{path} lies in {out}, of which everything is replaced: move it, or choose another --out"
            )


@contextmanager
def unproved(out: Path) -> Iterator[Path]:
    """A folder for what is not proved yet, on the disk that it will lie on.

    Raises:
        ExportError: nothing can be written there, or not everything.
    """
    # A folder that is there may be a disk of its own.
    where, prefix = (out, UNPROVED) if out.is_dir() else (out.parent, f".{out.name}-")
    try:
        where.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=where, ignore_cleanup_errors=True)
    except OSError as error:
        raise ExportError(
            f"nothing can be written to {where}: {error.strerror or error}; choose another --out"
        ) from error
    with folder as name:
        root = Path(name) / "bundle"
        try:
            root.mkdir()
            yield root
        except OSError as error:
            raise ExportError(
                f"{out} was not made: {error}; see that its disk has room, or choose another --out"
            ) from error


def put(root: Path, out: Path, *, overwrite: bool) -> None:
    """Move what was proved to its place, where it replaces what lies there.

    The folder that is there stays: it may be a disk of its own, a link's, or the one somebody works in.

    Raises:
        ExportError: something has come to lie there meanwhile.
        OSError: it cannot be moved; everything is as it was.
    """
    check_destination(out, overwrite=overwrite)
    if not out.exists():
        root.rename(out)
        return
    old = root.with_name("old")
    old.mkdir()
    moved: list[tuple[Path, Path]] = []
    # The manifest makes a bundle of them, so it comes last.
    new = sorted(root.iterdir(), key=lambda path: path.name == MANIFEST)
    plan = [(path, old / path.name) for path in _inside(out)] + [(path, out / path.name) for path in new]
    try:
        for path, place in plan:
            moved.append((path, place))
            path.rename(place)
    except BaseException:
        for path, place in reversed(moved):
            if place.exists() and not path.exists():
                place.rename(path)
        raise


def _inside(out: Path) -> list[Path]:
    return [path for path in out.iterdir() if not path.name.startswith(UNPROVED)]
