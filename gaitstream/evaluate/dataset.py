"""Data sets in OpenGait's layout: `id/type/view/*.pkl`, or with a video in the place of the pickles.

A sequence's pickles are read in the order of their names, as the published loader does; each holds one array
with a row per frame. Pickles are data from outside: they are read as numbers and bytes, of which arrays are
made here; nothing that they name is called.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import SourceError

Array = NDArray[Any]
VIDEOS = (
    ".mp4", ".mkv", ".avi", ".mov", ".webm", ".ts", ".m4v", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv",
    ".3gp",
)  # fmt: skip


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


def scan(
    root: Path, identities: Sequence[str] | None = None, patterns: Sequence[str] = ()
) -> list[WalkingSequence]:
    """The sequences of a data set, sorted.

    Args:
        root: its folder.
        identities: those of the test set; all when None.
        patterns: of the names of the pickles that are read, such as `*Sils_aligned*`; all without any.

    Raises:
        SourceError: there is no such folder, or nothing in the layout, or an identity is missing, or a link
            leads nowhere, or there are two videos of one name, or no pickle is called as asked for.
    """
    if not root.is_dir():
        raise SourceError(f"there is no data set {root}: give the folder that holds id/type/view/*.pkl")
    found: dict[str, WalkingSequence] = {}
    others: list[Path] = []
    places = (view for one in _visible(root) for condition in _visible(one) for view in _visible(condition))
    for view in places:
        identity, condition, name = view.relative_to(root).parts
        every = _files(view)
        files = tuple(one for one in every if one.suffix != ".pkl" or _is_named(one, patterns))
        if not files:
            others += every if identities is None or identity in identities else ()
            continue
        one = WalkingSequence(identity, condition, Path(name).stem if view.is_file() else name, files)
        if (other := found.setdefault(one.name, one)) is not one:
            raise SourceError(
                f"{other.files[0]} and {files[0]} are both the sequence {one.name}: take one of them out"
            )
    if others:
        raise SourceError(
            f"{others[0].parent} holds no pickle that is called {' or '.join(patterns)}, but "
            f"{', '.join(one.name for one in others if one.parent == others[0].parent)}: correct --files"
        )
    if not found:
        raise SourceError(
            f"{root} holds no sequences: expected id/type/view/*.pkl, as OpenGait's pretreatment writes "
            f"them, or a video ({', '.join(VIDEOS)}) as id/type/view.mp4 or in such a folder"
        )
    if identities is None:
        return list(found.values())
    wanted = set(identities)
    missing = sorted(wanted - {one.identity for one in found.values()})
    if missing:
        raise SourceError(
            f"{root} lacks {len(missing)} identities of the test set, such as {', '.join(missing[:3])}"
        )
    return [one for one in found.values() if one.identity in wanted]


def _is_named(file: Path, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(file.name, pattern) for pattern in patterns)


def _visible(folder: Path) -> Iterator[Path]:
    """What is in a folder, sorted, but for what systems keep beside it, as `._walk.mp4`.

    Raises:
        SourceError: a link leads nowhere.
    """
    for path in sorted(folder.glob("*")):
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not path.exists():
            raise SourceError(
                f"{path} is a link to {path.readlink()}, which is not there: mount or remove it"
            )
        yield path


def _files(view: Path) -> tuple[Path, ...]:
    """A sequence's pickles in order, or its video.

    Raises:
        SourceError: a folder holds several videos, a link leads nowhere, or a video's name is not UTF-8.
    """
    if view.is_file():
        return (_readable(view),) if view.suffix.lower() in VIDEOS else ()
    inside = list(_visible(view))
    pickles = [one for one in inside if one.suffix == ".pkl"]
    videos = [one for one in inside if one.suffix.lower() in VIDEOS]
    if not pickles and len(videos) > 1:
        raise SourceError(f"{view} holds {len(videos)} videos: a sequence is one, id/type/view.mp4")
    return tuple(pickles or map(_readable, videos))


def _readable(video: Path) -> Path:
    """The same, where what decodes videos can be told its name.

    Raises:
        SourceError: it is not UTF-8.
    """
    try:
        str(video).encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"{str(video)!r}: videos need names in UTF-8: rename it, or the folder it lies in"
        ) from error
    return video


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


class _Type:
    """Stands for `numpy.dtype`: the type of plain numbers, which says nothing but its kind, size and order.

    numpy's own takes flags and fields from a pickle, with which bytes pass for addresses of objects.
    """

    def __init__(self, name: Any, *_: Any) -> None:
        self.plain = np.dtype(str(name))
        if self.plain.kind not in "biufcSU":
            raise SourceError(f"it holds {self.plain}, which are no numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.plain = self.plain.newbyteorder(state[1])


class _Stored:
    """Stands for `numpy.ndarray`: an array of the bytes that lie in the pickle."""

    def __init__(self, array: Array | None = None) -> None:
        self.array: Array = np.empty(0) if array is None else array

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, content = state
        self.array = _array(content, kind, shape, "F" if columns_first else "C").array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.array, dtype, copy=copy)


def _array(
    content: Any,
    kind: _Type,
    shape: tuple[int, ...],
    order: Literal["C", "F", "K"] = "C",
    axes: Sequence[int] | None = None,
) -> _Stored:
    flat = np.frombuffer(content, kind.plain).astype(kind.plain.newbyteorder("="))
    if order == "K":
        return _Stored(flat.reshape(shape).transpose(axes))
    return _Stored(flat.reshape(shape, order=order))


def _number(kind: _Type, content: bytes) -> Any:
    return np.frombuffer(content, kind.plain)[0]


def _nothing_yet(*_: Any) -> _Stored:
    """Stands for what makes an empty array, whose state follows."""
    return _Stored()


def _bytes(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, which old pickles write bytes with."""
    if encoding != "latin1":
        raise SourceError(f"it has bytes written as {encoding}")
    return text.encode("latin1")


STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Stored,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _bytes,
}
"""What a pickle of arrays names, and what is called in its place."""
for _module in ("numpy.core", "numpy._core"):
    STAND_INS[f"{_module}.multiarray", "_reconstruct"] = _nothing_yet
    STAND_INS[f"{_module}.multiarray", "scalar"] = _number
    STAND_INS[f"{_module}.numeric", "_frombuffer"] = _array


class _ArrayUnpickler(pickle.Unpickler):
    """Makes arrays of what numpy arrays are pickled as."""

    def find_class(self, module: str, name: str) -> Any:
        found = STAND_INS.get((module, name))
        if found is None:
            raise SourceError(
                f"a pickle asks for {module}.{name}, which is not needed for an array: not read"
            )
        return found
