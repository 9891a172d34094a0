"""The files an ONNX graph consists of, for large weights may lie in files of their own, and what it makes.

Both are read straight from the protobuf's fields: `onnx` is no part of a plain install, and a graph of
gigabytes is not to be loaded to learn what it refers to.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path

from gaitstream.engines.cache import file_sha256, replace_file
from gaitstream.errors import ConfigError, EngineError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MESSAGES = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
    "Entry": {},
}
"""Field numbers of onnx.proto that lead to external data: message by field."""
_GRAPH, _OUTPUT, _NAME, _TYPE, _TENSOR, _SHAPE, _DIM = 7, 12, 1, 2, 1, 2, 1
"""Field numbers that lead from a model to its outputs, and from one of those to its name and dimensions."""
_DIM_VALUE = b"\x08"
"""How a dimension begins that is a number."""

Data = bytes | mmap.mmap
GraphState = tuple[tuple[str, int, int], ...]
"""Name, size in bytes and time of change of each file."""


def graph_sha256(graph: Path) -> str:
    """Hash of a graph with all its weights: of the file itself where these are in it.

    Raises:
        EngineError: a file it refers to is missing or lies outside its folder.
    """
    own = file_sha256(graph)
    names = weight_files(graph)
    if not names:
        return own
    digest = hashlib.sha256(own.encode())
    for name in names:
        digest.update(f"\n{name}={file_sha256(graph.parent / name)}".encode())
    return digest.hexdigest()


def weight_files(graph: Path) -> list[str]:
    """`external_files`, all of which are there.

    Raises:
        EngineError: one is missing or lies outside the graph's folder.
    """
    names = external_files(graph)
    for name in names:
        path = graph.parent / name
        if not path.resolve().is_relative_to(graph.parent.resolve()):
            raise EngineError(f"{graph} takes weights from {name!r}, outside its folder; export it again")
        if not path.is_file():
            raise EngineError(f"{graph} takes weights from {name!r}, which is missing; copy it beside it")
    return names


def graph_state(graph: Path) -> GraphState:
    """By which a change of a graph's files shows; of those that are there."""
    names = external_files(graph) if graph.is_file() else []
    files = [graph, *(graph.parent / name for name in names)]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((str(file), state.st_size, state.st_mtime_ns) for file, state in found)


def keep_graph(path: Path, content: bytes, what: str) -> Path:
    """Write a graph that is made of others, for the processes to come as well.

    Args:
        path: in the cache, named after what it is made of.
        content: of the file.
        what: it is, for the message.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise ConfigError(
            f"{path.parent}: {what} cannot be written ({error.strerror or error}); "
            "set GAITSTREAM_CACHE to another folder"
        ) from error
    return path


def external_files(graph: Path) -> list[str]:
    """Names of the files a graph takes weights from, relative to its folder; sorted, each once.

    None of a file that is no ONNX graph: the runtime that opens it says so.
    """
    if graph.stat().st_size == 0:
        return []
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"location") < 0:  # as with nearly all of them: what follows takes a tenth of a second
            return []
        try:
            return sorted(set(_locations(data, "Model", 0, len(data))))
        except (IndexError, ValueError, RecursionError):
            return []


def output_shapes(graph: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a graph's outputs by name, as the file declares them: -1 where open, `()` where not said.

    None of a file that is no ONNX graph: the runtime that opens it says so.
    """
    if graph.stat().st_size == 0:
        return {}
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            found = [_output(data, *at) for at in _inside(data, (0, len(data)), _GRAPH, _OUTPUT)]
        except (IndexError, ValueError):
            return {}
    return dict(found)


def _output(data: Data, begin: int, end: int) -> tuple[str, tuple[int, ...]]:
    """Name and shape of a declared value."""
    name = b"".join(data[first:last] for first, last in _inside(data, (begin, end), _NAME))
    dims = _inside(data, (begin, end), _TYPE, _TENSOR, _SHAPE, _DIM)
    return name.decode(), tuple(_size(data[first:last]) for first, last in dims)


def _size(dim: bytes) -> int:
    return _varint(dim, 1)[0] if dim[:1] == _DIM_VALUE else -1


def _inside(data: Data, message: tuple[int, int], *path: int) -> Iterator[tuple[int, int]]:
    """Begin and end of what lies under a path of field numbers in a message."""
    for number, first, last in _fields(data, *message):
        if number == path[0]:
            yield from _inside(data, (first, last), *path[1:]) if path[1:] else [(first, last)]


def _locations(data: Data, message: str, begin: int, end: int) -> Iterator[str]:
    """Locations of external data in a message."""
    if message == "Entry":
        fields = {number: data[first:last] for number, first, last in _fields(data, begin, end)}
        if fields.get(1) == b"location":
            yield bytes(fields.get(2, b"")).decode()
        return
    inner = _MESSAGES[message]
    for number, first, last in _fields(data, begin, end):
        if number in inner:
            yield from _locations(data, inner[number], first, last)


def _fields(data: Data, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each length-delimited field of a message; others are passed over."""
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("a field reaches beyond its message")
            yield tag >> 3, at, at + size
            at += size
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: Data, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
