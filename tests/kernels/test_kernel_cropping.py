"""Crops from one source against the CPU pipeline's own, which use OpenCV.

Tolerances: OpenCV interpolates in fixed point, so a value may differ by one of 255; NV12 is converted by its
own fixed-point formula first, which makes it two.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.errors import KernelError
from gaitstream.kernels.cropping import check_windows, crop, pad_windows, picture, pose_windows
from gaitstream.kernels.cuda import Launcher
from gaitstream.kernels.driver import Driver
from tests.kernels.kernel_cases import as_device, padded_empty

WIDTH, HEIGHT = 320, 180
Bytes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def image() -> Bytes:
    """Noise: every pixel is an edge."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def boxes() -> NDArray[np.float32]:
    """Inside, over each border, far outside, one pixel, wider than high, and up- as well as downscaled."""
    random = np.random.default_rng(1)
    corners = random.uniform([-40, -40], [WIDTH, HEIGHT], (24, 2))
    sizes = random.uniform(1, 200, (24, 2))
    special = [[-90, -90, -10, -10], [5, 5, 6, 6], [0, 0, WIDTH, HEIGHT], [10, 20, 10, 80], [40, 30, 77, 130]]
    return np.concatenate([np.hstack([corners, corners + sizes]), special]).astype(np.float32)


def as_nv12(image: Bytes) -> Bytes:
    import cv2

    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    luma, chroma = planes[: WIDTH * HEIGHT], planes[WIDTH * HEIGHT :].reshape(2, -1)
    return np.concatenate([luma, chroma.T.reshape(-1)]).reshape(HEIGHT * 3 // 2, WIDTH).astype(np.uint8)


def reference_pad(image: Bytes, boxes: Any) -> tuple[Bytes, NDArray[np.float32]]:
    from gaitstream.models.crops import crop_resized

    return crop_resized(image, boxes, 256, 128)


def test_padded_crops_equal_the_recognizers(image: Bytes, boxes: NDArray[np.float32]) -> None:
    windows, ratios = pad_windows(boxes, width=WIDTH, height=HEIGHT)
    expected, expected_ratios = reference_pad(image, boxes)
    crops = crop([picture(image)], windows, (256, 128))
    assert np.abs(crops.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(ratios, expected_ratios)


def test_pose_crops_equal_the_pose_models(image: Bytes, boxes: NDArray[np.float32]) -> None:
    from gaitstream.models.crops import crop_warped

    windows = pose_windows(boxes, width=WIDTH, height=HEIGHT)
    expected = crop_warped(image, boxes, (256, 192))
    difference = np.abs(crop([picture(image)], windows, (256, 192)).astype(int) - expected)
    assert (difference > 1).mean() < 1e-3
    assert difference.max() <= 8  # older OpenCV rounds source positions to 1/32 pixel


def test_nv12_equals_conversion_before_cropping(image: Bytes, boxes: NDArray[np.float32]) -> None:
    import cv2

    packed = as_nv12(image)
    windows, _ = pad_windows(boxes, width=WIDTH, height=HEIGHT)
    expected, _ = reference_pad(cv2.cvtColor(packed, cv2.COLOR_YUV2BGR_NV12).astype(np.uint8), boxes)
    crops = crop([picture(packed, "nv12", "bt601")], windows, (256, 128))
    assert np.abs(crops.astype(int) - expected).max() <= 2


def test_channel_order_and_half_output(image: Bytes, boxes: NDArray[np.float32]) -> None:
    windows, _ = pad_windows(boxes, width=WIDTH, height=HEIGHT)
    crops = crop([picture(image)], windows, (256, 128))
    flipped = np.ascontiguousarray(image[:, :, ::-1])
    np.testing.assert_array_equal(crop([picture(flipped, "rgb")], windows, (256, 128)), crops)
    gain, bias = (1 / 58.4, 1 / 57.1, 1 / 57.4), (-2.1, -2.0, -1.8)
    half = crop([picture(image)], windows, (256, 128), half=True, gain=gain, bias=bias)
    expected = crops * np.reshape(gain, (3, 1, 1)) + np.reshape(bias, (3, 1, 1))
    assert half.dtype == np.float16
    assert np.abs(half - expected).max() <= 0.5 * max(gain) + 2e-3


def test_windows_choose_among_pictures(image: Bytes) -> None:
    other = 255 - image
    box = [[10, 10, 60, 110]] * 2
    windows, _ = pad_windows(box, width=WIDTH, height=HEIGHT, picture=[1, 0])
    crops = crop([picture(image), picture(other)], windows, (256, 128))
    inside = slice(int(windows["first"][0]), int(windows["last"][0]))
    assert np.abs(crops[0].astype(int) + crops[1] - 255)[:, :, inside].max() <= 1


@pytest.mark.parametrize("size", [(256, 192), (64, 77), (32, 6)])
def test_nothing_of_the_memory_shows_and_threads_change_nothing(
    image: Bytes, boxes: NDArray[np.float32], size: tuple[int, int]
) -> None:
    for windows in (
        pose_windows(boxes, width=WIDTH, height=HEIGHT, crop=size),
        pad_windows(boxes, width=WIDTH, height=HEIGHT, crop=size)[0],
    ):
        crops = [
            crop(
                [picture(image)],
                windows,
                size,
                out=np.full((len(boxes), 3, *size), fill, np.uint8),
                threads=threads,
            )
            for fill, threads in ((0, 1), (255, 1), (7, 3))
        ]
        np.testing.assert_array_equal(crops[0], crops[1])
        np.testing.assert_array_equal(crops[0], crops[2])


@pytest.mark.parametrize("pixel_format", ["bgr", "nv12"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("rule", ["pad", "pose"])
def test_cuda_kernel_equals_the_cpu(
    emulator: ctypes.CDLL, image: Bytes, boxes: NDArray[np.float32], rule: str, half: bool, pixel_format: Any
) -> None:
    pixels = as_nv12(image) if pixel_format == "nv12" else image
    source = picture(pixels, pixel_format)
    size = (64, 32) if rule == "pad" else (64, 48)
    kept = boxes[::4]
    windows = (
        pad_windows(kept, width=WIDTH, height=HEIGHT, crop=size)[0]
        if rule == "pad"
        else pose_windows(kept, width=WIDTH, height=HEIGHT, crop=size)
    )
    gain, bias = (0.01, 0.02, 0.03), (-1.0, 0.0, 1.0)
    expected = crop([source], windows, size, half=half, gain=gain, bias=bias)
    crops = padded_empty(expected.shape, expected.dtype)
    Launcher(Driver(), b"emulated").crop(
        as_device(source.reshape(1).view(np.uint8)),
        as_device(windows.view(np.uint8)),
        as_device(crops),
        gain=gain,
        bias=bias,
    )
    # Two compilers may round a converted colour differently: one level, times the gain.
    tolerance = (0.035 if pixel_format == "nv12" else 4e-3) if half else 1
    assert np.abs(crops.astype(np.float32) - expected.astype(np.float32)).max() <= tolerance


def test_structs_that_a_gpu_cannot_read_are_refused(emulator: ctypes.CDLL, image: Bytes) -> None:
    """There a misaligned address ends every later call of the process, too."""
    memory = padded_empty((200,), np.uint8)
    launcher, crops = Launcher(Driver(), b"emulated"), as_device(padded_empty((1, 3, 4, 4), np.uint8))
    for pictures, windows, says in (
        (memory[1:41], memory[96:144], "pictures lie at .*: the address must be a multiple of 8"),
        (memory[:40], memory[98:146], "windows lie at .*: the address must be a multiple of 4"),
    ):
        with pytest.raises(KernelError, match=says):
            launcher.crop(as_device(pictures), as_device(windows), crops)
    with pytest.raises(KernelError, match="65536 crops; a launch makes 65535"):
        launcher.crop(
            as_device(memory[:40]), as_device(padded_empty((48 * 65_536,), np.uint8)),
            as_device(padded_empty((65_536, 3, 1, 1), np.uint8)),
        )  # fmt: skip


def test_wrong_pictures_and_windows_are_named(image: Bytes) -> None:
    with pytest.raises(KernelError, match=r"nv12 picture is uint8 \[height \* 3 / 2, width\]"):
        picture(image, "nv12")
    with pytest.raises(KernelError, match="'yuyv'"):
        picture(image, "yuyv")  # type: ignore[arg-type]
    with pytest.raises(KernelError, match="bgr picture"):
        picture(image[:, ::2])
    table = np.array([picture(image)])
    with pytest.raises(KernelError, match="names picture 3; there are 1"):
        check_windows(pad_windows([[0, 0, 5, 5]], width=WIDTH, height=HEIGHT, picture=3)[0], table)
    with pytest.raises(KernelError, match="window 0 reaches over its picture of 320 x 180"):
        check_windows(pad_windows([[0, 0, 500, 500]], width=1920, height=1080)[0], table)
    assert (
        crop([picture(image)], pad_windows(np.empty((0, 4)), width=1, height=1)[0], (256, 128)).shape[0] == 0
    )
