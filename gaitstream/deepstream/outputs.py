"""One encoder's outputs of all people of a buffer: found in the batch, then copied together."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.deepstream.api import Tensor
from gaitstream.deepstream.copying import Bytes, Copier, Transfer, merge
from gaitstream.deepstream.dlpack import Location, locate
from gaitstream.deepstream.geometry import Rect, Scale, joints_in_frame
from gaitstream.deepstream.plan import EncoderPlan
from gaitstream.models.pose_outputs import JOINTS

ALIGNMENT = 256
"""Bytes between the parts of a block of memory."""


class OutputBlock(NamedTuple):
    """Outputs on the host."""

    maps: NDArray[Any]
    """Feature maps `[n, c, h, w]`, half precision."""
    joints: NDArray[np.float32]
    """`[n, 17, 3]`: x and y in pixels of the camera's own frame, score; `[0, 0, 3]` without a pose model."""
    rows: Sequence[int]
    """Row of each person, by the number that `EncoderOutputs.take` gave."""


class EncoderOutputs:
    """Where one encoder's outputs lie.

    Args:
        encoder: its plan.
    """

    def __init__(self, encoder: EncoderPlan) -> None:
        self.encoder = encoder
        self._feature, self._joints = encoder.feature, encoder.keypoints
        self._shape = encoder.shape
        self._features: list[Location] = []
        self._points: list[Location] = []
        self._rects: list[Rect] = []
        self._scales: list[Scale] = []
        self._order: list[int] = []
        self._memory: Bytes = np.empty(0, np.uint8)

    def fits(self, layers: Mapping[str, Tensor]) -> bool:
        """Whether these are this encoder's layers."""
        return self._feature in layers

    def take(self, layers: Mapping[str, Tensor], rect: Rect, scale: Scale) -> int:
        """Remember a person's outputs.

        Args:
            layers: by name.
            rect: what the encoder was given.
            scale: from the muxed frame to the camera's own.

        Returns:
            The person's number.

        Raises:
            EngineError: a layer is not of the promised type or shape.
        """
        feature = locate(layers[self._feature], self._shape, np.float16)
        if self._joints is not None:
            self._points.append(locate(layers[self._joints], (JOINTS, 3), np.float32))
        self._features.append(feature)
        self._rects.append(rect)
        self._scales.append(scale)
        return len(self._features) - 1

    @property
    def is_on_device(self) -> bool:
        """Whether anything has to be copied from the GPU."""
        return any(one.on_device for one in (*self._features, *self._points))

    @property
    def size(self) -> int:
        """Bytes of memory that `place` needs."""
        return self._offset + sum(point.size for point in self._points)

    def place(self, memory: Bytes) -> list[tuple[int, Location]]:
        """Where everything goes: target address and source, in the order in which it lies on the device."""
        self._order = sorted(range(len(self._features)), key=lambda number: self._features[number].address)
        self._memory = memory
        return [
            *self._targets(self._features, memory),
            *self._targets(self._points, memory[self._offset :]),
        ]

    def block(self) -> OutputBlock:
        """The outputs, once they have been copied to where `place` said."""
        count = len(self._order)
        length = prod(self._shape) * 2
        maps = self._memory[: count * length].view(np.float16).reshape(count, *self._shape)
        joints = np.empty((0, 0, 3), np.float32)
        if self._points:
            raw = self._memory[self._offset : self.size].view(np.float32).reshape(count, JOINTS, 3)
            rects = np.array([self._rects[number] for number in self._order])
            scales = np.array([self._scales[number] for number in self._order])
            joints = joints_in_frame(raw, rects)
            joints[:, :, :2] = (joints[:, :, :2] + 0.5) * scales[:, None] - 0.5
        rows = [0] * count
        for row, number in enumerate(self._order):
            rows[number] = row
        return OutputBlock(maps, joints, rows)

    @property
    def _offset(self) -> int:
        features = sum(feature.size for feature in self._features)
        return -(-features // ALIGNMENT) * ALIGNMENT

    def _targets(self, locations: Sequence[Location], memory: Bytes) -> list[tuple[int, Location]]:
        if not locations:
            return []
        start, targets = memory.ctypes.data, []
        for number in self._order:
            targets.append((start, locations[number]))
            start += locations[number].size
        return targets


def copy_outputs(outputs: Sequence[EncoderOutputs], copier: Copier) -> list[OutputBlock]:
    """Copy the outputs of all encoders at once.

    Args:
        outputs: of one buffer.
        copier: from the GPU.

    Returns:
        A block for each encoder; they share memory, which is given back when all are gone.
    """
    sizes = [-(-one.size // ALIGNMENT) * ALIGNMENT for one in outputs]
    from_device = any(one.is_on_device for one in outputs)
    memory = copier.allocate(sum(sizes)) if from_device else np.empty(sum(sizes), np.uint8)
    transfers = []
    start = 0
    for one, size in zip(outputs, sizes, strict=True):
        for target, location in one.place(memory[start : start + size]):
            if location.on_device:
                transfers.append(Transfer(target, location.address, location.size))
            else:
                ctypes.memmove(target, location.address, location.size)
        start += size
    if transfers:
        copier.copy(merge(transfers))
    return [one.block() for one in outputs]
