"""Data sets in OpenGait's layout: `id/type/view/*.pkl`, or with a video in the place of the pickles.

A sequence's pickles are read in the order of their names, as the published loader does; each holds one array
with a row per frame. Pickles are data from outside: only numpy arrays are let in, nothing in them is run.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import SourceError

Array = NDArray[Any]
VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".ts")
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
"""What a pickle of arrays names; of `_codecs` the one function that turns text into bytes."""


@dataclass(frozen=True, order=True, slots=True)
class WalkingSequence:
    """One sequence of a data set.

    Attributes:
        identity: whose.
        condition: type of the walk, such as `nm-01`.
        view: angle or camera.
        files: of its data, in order; or one video.
    """

    identity: str
    condition: str
    view: str
    files: tuple[Path, ...]

    @property
    def video(self) -> Path | None:
        """The video that it is, where it is no data."""
        return None if self.files[0].suffix == ".pkl" else self.files[0]

    @property
    def name(self) -> str:
        """`id/type/view`."""
        return f"{self.identity}/{self.condition}/{self.view}"


def scan(root: Path, identities: Sequence[str] | None = None) -> list[WalkingSequence]:
    """The sequences of a data set, sorted.

    Args:
        root: its folder.
        identities: those of the test set; all when None.

    Raises:
        SourceError: there is no such folder, or nothing in the layout, or an identity is missing.
    """
    if not root.is_dir():
        raise SourceError(f"there is no data set {root}: give the folder that holds id/type/view/*.pkl")
    found = []
    for view in sorted(root.glob("*/*/*")):
        identity, condition, name = view.relative_to(root).parts
        files = _files(view)
        if files:
            found.append(
                WalkingSequence(identity, condition, Path(name).stem if view.is_file() else name, files)
            )
    if not found:
        raise SourceError(
            f"{root} holds no sequences: expected id/type/view/*.pkl, as OpenGait's pretreatment writes "
            f"them, or a video ({', '.join(VIDEOS)}) as id/type/view.mp4 or in such a folder"
        )
    if identities is None:
        return found
    wanted = set(identities)
    missing = sorted(wanted - {one.identity for one in found})
    if missing:
        raise SourceError(
            f"{root} lacks {len(missing)} identities of the test set, such as {', '.join(missing[:3])}"
        )
    return [one for one in found if one.identity in wanted]


def _files(view: Path) -> tuple[Path, ...]:
    """A sequence's pickles in order, or its video.

    Raises:
        SourceError: a folder holds several videos.
    """
    if view.is_file():
        return (view,) if view.suffix.lower() in VIDEOS else ()
    pickles = sorted(view.glob("*.pkl"))
    videos = [one for one in sorted(view.glob("*")) if one.suffix.lower() in VIDEOS]
    if not pickles and len(videos) > 1:
        raise SourceError(f"{view} holds {len(videos)} videos: a sequence is one, id/type/view.mp4")
    return tuple(pickles or videos)


def read_partition(path: Path) -> tuple[str, ...]:
    """Identities of the test set from OpenGait's partition file.

    Raises:
        SourceError: it cannot be read, or has no list of identities as `TEST_SET`.
    """
    try:
        found = json.loads(path.read_text())["TEST_SET"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is no partition file with a TEST_SET: {error}") from error
    if not isinstance(found, list) or not found:
        raise SourceError(
            f"the TEST_SET of {path} is {json.dumps(found)[:60]}: expected is a list of identities, "
            '{"TEST_SET": ["001", "002"]}'
        )
    return tuple(map(str, found))


def load(sequence: WalkingSequence) -> list[Array]:
    """A sequence's arrays, one per pickle.

    Raises:
        SourceError: a file is no pickle of an array, is empty, or they differ in length.
    """
    arrays = [read_pickle(path) for path in sequence.files]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise SourceError(
            f"{sequence.name}: its files have {sorted(lengths)} frames, which should be one number"
        )
    if not arrays or 0 in lengths:
        raise SourceError(f"{sequence.name} has no frames")
    return arrays


def read_pickle(path: Path) -> Array:
    """The array in a pickle; nothing else is let in.

    Raises:
        SourceError: it is damaged, or holds something else.
    """
    try:
        found = _ArrayUnpickler(io.BytesIO(path.read_bytes())).load()
        array = np.asarray(found)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error
    except Exception as error:  # damaged pickles raise anything at all
        raise SourceError(f"{path} is no pickle of an array: {type(error).__name__}: {error}") from error
    if array.dtype == object or array.ndim < 1:
        raise SourceError(f"{path} holds {array.dtype} of shape {list(array.shape)}, not frames")
    return array


class _ArrayUnpickler(pickle.Unpickler):
    """Lets in what numpy arrays are made of."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise SourceError(
                f"a pickle asks for {module}.{name}, which is not needed for an array: not read"
            )
        return super().find_class(module, name)
