"""What leaves the DeepStream process: features, ids, boxes, times, and counters. No pixels.

One message is one muxed buffer: a header in MessagePack and, per encoder, one block of feature maps (and of
joints, in pixels of the camera's frame) of all its persons.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

END = b""
"""The message that follows the last one."""

NOTHING = -1
"""In place of a row: this encoder gave no tensor for this person."""


class TrackedBox(msgspec.Struct, array_like=True, frozen=True):
    """One tracked person in one frame."""

    track: int
    """Unique per camera and run."""
    box: tuple[float, float, float, float]
    """xyxy pixels of the camera's own frame."""
    score: float
    """Of the detector; of the track's last detection when `predicted`."""
    predicted: bool
    """The tracker carried the box over a frame in which the detector rested."""
    rows: tuple[int, ...]
    """Row of each encoder's block, in the encoders' order; NOTHING when missing."""


class FrameRecord(msgspec.Struct, array_like=True, frozen=True):
    """One analysed frame of one camera."""

    camera: str
    index: int
    time_ns: int
    """UTC of capture."""
    width: int
    height: int
    persons: tuple[TrackedBox, ...]


class Gone(msgspec.Struct, array_like=True, frozen=True):
    """A camera left: its tracks have ended."""

    camera: str


class BufferRecord(msgspec.Struct, array_like=True, frozen=True):
    """One muxed buffer."""

    frames: tuple[FrameRecord, ...]
    gone: tuple[Gone, ...]
    counters: dict[str, dict[str, int]]
    """Counts since the last message, by camera (empty name: none) and what."""
    blocks: tuple[tuple[str, tuple[int, ...]], ...]
    """Type and shape of the arrays that follow, two per encoder: maps, joints."""
    plays: bool = False
    """In place of a buffer: the pipeline plays now, its engines are loaded."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BufferRecord)


def pack(
    frames: list[FrameRecord],
    gone: list[Gone],
    counters: dict[str, dict[str, int]],
    arrays: list[NDArray[Any]],
    plays: bool = False,
) -> list[bytes | memoryview]:
    """The parts of a message; arrays are not copied."""
    blocks = tuple((array.dtype.str, array.shape) for array in arrays)
    header = _encoder.encode(BufferRecord(tuple(frames), tuple(gone), counters, blocks, plays))
    return [header, *(np.ascontiguousarray(array).data if array.size else b"" for array in arrays)]


def unpack(parts: list[Any]) -> tuple[BufferRecord, list[NDArray[Any]]]:
    """The batch and its arrays, which share the parts' memory."""
    batch = _decoder.decode(parts[0])
    arrays = [
        np.frombuffer(part, dtype=np.dtype(kind)).reshape(shape)
        for part, (kind, shape) in zip(parts[1:], batch.blocks, strict=True)
    ]
    return batch, arrays
