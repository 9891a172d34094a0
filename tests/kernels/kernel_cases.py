"""Heatmaps, joints and emulated memory for the kernel tests."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gaitstream.engines.device import Arena, Device, DeviceArray
from gaitstream.kernels import Aligned
from gaitstream.kernels.dlpack import Borrowed

Emulated = Callable[..., Aligned]
UPPER = tuple(range(11))
LOWER = tuple(range(11, 17))


def as_device(array: NDArray[Any]) -> Borrowed:
    """Pretend that an array lies on a GPU: the emulator's device memory is the host's."""
    return Borrowed(array.ctypes.data, array.shape, array.dtype, True, array)


def placed(device: Device, array: NDArray[Any]) -> DeviceArray:
    """An array copied to a device, ready there."""
    there = Arena(device, {"array": (array.shape, str(array.dtype))}).arrays["array"]
    stream = device.stream()
    device.upload(there.pointer, array, stream)
    stream.synchronize()
    return there


def padded_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised array at an address that is a multiple of 16."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 16, np.uint8)
    start = -memory.ctypes.data % 16
    return memory[start : start + size].view(dtype).reshape(shape)


def launches(emulator: ctypes.CDLL) -> int:
    """Kernel launches since the last set-up."""
    return int(emulator.emulator_launches())


def spine_keypoints(
    tilts_deg: NDArray[np.float64], centre: tuple[float, float] = (24.0, 30.0), length: float = 22.0
) -> NDArray[np.float32]:
    """Joints whose spine is tilted by these angles; the others lie on the centre with score 0.5."""
    points = np.full((len(tilts_deg), 17, 3), 0.5, np.float32)
    points[..., :2] = centre
    direction = np.radians(tilts_deg + 90)
    spine = length / 2 * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    across = np.stack([-spine[:, 1], spine[:, 0]], axis=1) / 4
    for joint, side in ((5, 1), (6, -1)):
        points[:, joint, :2] = centre - spine + side * across
    for joint, side in ((11, 1), (12, -1)):
        points[:, joint, :2] = centre + spine + side * across
    return points


def blobs(keypoints: NDArray[np.float32], sigma: float = 2.0) -> NDArray[np.float32]:
    """Gaussian heatmaps `[n, 17, 64, 48]` of joints."""
    rows, columns = np.mgrid[:64, :48].astype(np.float32)
    x, y, score = np.moveaxis(keypoints[..., None, None, :], -1, 0)
    maps: NDArray[np.float32] = (
        score * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / np.float32(2 * sigma**2))
    ).astype(np.float32)
    return maps


def hard_maps() -> NDArray[np.float32]:
    """Peaks in corners and on edges, plateaus, ties, -0, and what is not finite."""
    maps = np.random.default_rng(0).normal(size=(2, 17, 64, 48)).astype(np.float32)
    maps[0, 0] = 0
    maps[0, 1] = -1
    maps[0, 1, 63, 47] = -0.5
    maps[0, 2, 0, :] = 9
    maps[0, 3] = np.nan
    maps[0, 4] = -np.inf
    maps[0, 5, 10, 10], maps[0, 5, 10, 11], maps[0, 5, 9, 10] = 9, np.nan, np.inf
    maps[0, 6] = -0.0
    maps[0, 6, 5, 5] = 0.0
    maps[0, 7, 20, 20] = maps[0, 7, 40, 2] = 9
    maps[0, 8, 20, 20], maps[0, 8, 20, 19], maps[0, 8, 20, 21] = 9, 8, 8
    maps[0, 9, 0, 20], maps[0, 9, 0, 21] = 9, 8
    maps[0, 10] = 1e-30 * np.arange(3072, dtype=np.float32).reshape(64, 48)
    return maps
