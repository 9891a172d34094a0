"""Launch the kernels on device memory, on a given stream, without a round trip to the host.

    from gaitstream.kernels.cuda import launcher

    launcher().align(heatmaps, outputs, options, stream=stream.handle)

Arrays are anything `borrow` understands: torch tensors, cupy and pycuda arrays, engine outputs. Memory is
the caller's; nothing is allocated or synchronised here.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import KernelError, MissingExtraError
from gaitstream.kernels.arguments import LAUNCH_GROUPS, CropParams, PghaParams, rules
from gaitstream.kernels.build import gpu_images
from gaitstream.kernels.contract import (
    HEIGHT,
    MAX_CHANNELS,
    SPINE,
    WIDTH,
    Aligned,
    AlignmentOptions,
    Floats,
    check_options,
    check_shapes,
)
from gaitstream.kernels.cropping import WINDOW
from gaitstream.kernels.dlpack import Borrowed, borrow
from gaitstream.kernels.driver import Driver, open_driver
from gaitstream.kernels.pooling import Merge, pool_params, rounds
from gaitstream.kernels.scan import DeviceScan, scan_form, scan_params

log = logging.getLogger(__name__)

THREADS = 384
RANGE_THREADS = 256
CROP_THREADS = 256
PEAK_THREADS = 256
POOL_THREADS = 256
POOL_BLOCKS = 64
"""Blocks that share a row: a few rows fill the GPU as well as many."""
SCAN_THREADS = 128
SCAN_ROWS = 128
"""Templates of a block: four threads share one, and have four each."""
STAGES = 4
PAD = 64
FEW_GROUPS = 2
POINTER_BYTES, NUMBER_BYTES = 8, 4
"""At whose multiples structs lie that hold pointers, and those that hold numbers alone."""
MOST_CROPS = 65_535
"""Blocks of a grid's second dimension."""
ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Outputs:
    """Device arrays the kernel writes, shapes as in `Aligned`; `parts` in float32 or float16."""

    parts: Any
    angle_deg: Any
    aligned: Any
    neck_xy: Any
    hip_xy: Any
    score: Any


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel call of an alignment."""

    kernel: str
    first_part: int
    masks: tuple[int, ...]
    shared_bytes: int


def plan_launches(options: AlignmentOptions, half: bool) -> list[Launch]:
    """Kernel calls for these options: one, unless there are more than four part groups.

    The fast kernels hold two groups and sample in float32; the general one does everything, four groups at
    a time.
    """
    value_bytes = 2 if half else 4
    slot = HEIGHT * WIDTH + PAD
    shared = STAGES * slot * value_bytes + slot * 4
    name = "pgha_f16_" if half else "pgha_f32_"
    masks = options.masks
    if len(masks) <= FEW_GROUPS and options.sampling == "f32":
        form = "fixed" if options.normalization == "fixed" else "affine"
        return [Launch(name + form, 1, masks, shared)]
    return [
        Launch(name + "general", 1 + start, masks[start : start + LAUNCH_GROUPS], shared)
        for start in range(0, len(masks), LAUNCH_GROUPS)
    ]


def reading_order(channels: int, spine_first: bool) -> list[int]:
    """Channels as a block reads them; without keypoints it needs the spine's first."""
    others = [channel for channel in range(channels) if not (spine_first and channel in SPINE)]
    return [*(SPINE if spine_first else ()), *others]


class Launcher:
    """The kernels, loaded into the context that was current at construction.

    Not for use under another context; `launcher()` keeps one per context.
    """

    def __init__(self, driver: Driver | None = None, image: bytes | None = None) -> None:
        self.driver = driver or open_driver()
        images = iter([image]) if image else gpu_images(self.driver.capability())
        self._module = _load_first(self.driver, images)
        self._functions: dict[str, Any] = {}
        self._shared_limit = self.driver.shared_limit()

    def align(
        self,
        heatmaps: Any,
        outputs: Outputs,
        options: AlignmentOptions,
        *,
        keypoints: Any = None,
        segments: Any = None,
        ranges: Any = None,
        stream: int = 0,
    ) -> None:
        """Queue an alignment; meaning as `gaitstream.kernels.align`, every array in device memory.

        Args:
            heatmaps: `[n, c, 64, 48]` float32 or float16.
            outputs: where the results go.
            options: see `Options`.
            keypoints: `[n, 17, 3]` float32, or None for the arg-max of the spine's maps.
            segments: int32 `[n]`, tracklets counted from 0, for `tracklet`; None for one tracklet.
            ranges: uint32 `[tracklets, 2]` of scratch memory, needed for `tracklet` only. Its use costs a
                second reading of the heatmaps.
            stream: CUDA stream handle.

        Raises:
            KernelError: a shape, dtype, option or address is wrong, or the driver refuses.
        """
        maps = _on_device("heatmaps", heatmaps, stream)
        joints = None if keypoints is None else _on_device("keypoints", keypoints, stream)
        tracklets = None if segments is None else _on_device("segments", segments, stream)
        n, channels = check_shapes(maps, joints, tracklets)
        check_options(options, channels)
        _check_dtype("heatmaps", maps, ("float32", "float16"))
        if n == 0:
            return
        params = self._describe(maps, outputs, options, joints, tracklets, stream)
        if options.normalization == "tracklet":
            params.ranges = self._find_ranges(maps, tracklets, ranges, stream)
        for launch in plan_launches(options, maps.dtype == np.float16):
            params.groups = (ctypes.c_uint64 * LAUNCH_GROUPS)(*launch.masks)
            params.group_count, params.first_part = len(launch.masks), launch.first_part
            function = self._function(launch.kernel, launch.shared_bytes)
            self.driver.launch(function, (n, 1), THREADS, launch.shared_bytes, stream, params)

    def peaks(self, heatmaps: Any, joints: Any, *, stream: int = 0) -> None:
        """Queue the finding of joints; the rule is that of `gaitstream.kernels.peaks.find_peaks`.

        Args:
            heatmaps: `[n, joints, 64, 48]` float32 or float16.
            joints: float32 `[n, joints, 3]` to fill.
            stream: CUDA stream handle.

        Raises:
            KernelError: a shape, dtype or address is wrong, or the driver refuses.
        """
        maps, target = _on_device("heatmaps", heatmaps, stream), _on_device("joints", joints, stream)
        _check_dtype("heatmaps", maps, ("float32", "float16"))
        _check_dtype("joints", target, ("float32",))
        if len(maps.shape) != 4 or maps.shape[2:] != (HEIGHT, WIDTH):
            raise KernelError(f"heatmaps have shape {maps.shape}; give [n, joints, {HEIGHT}, {WIDTH}]")
        _check_shape("joints", target, (*maps.shape[:2], 3))
        _check_alignment("heatmaps", maps.pointer)
        count = maps.shape[0] * maps.shape[1]
        if not count:
            return
        function = self._function("peaks_f16" if maps.dtype == np.float16 else "peaks_f32")
        self.driver.launch(
            function,
            (-(-count // (PEAK_THREADS // 32)), 1),
            PEAK_THREADS,
            0,
            stream,
            ctypes.c_void_p(maps.pointer),
            ctypes.c_void_p(target.pointer),
            ctypes.c_int32(count),
        )

    def pool(self, merges: Sequence[Merge], size: int, *, half_rows: bool, stream: int = 0) -> None:
        """Queue rows of features into running maxima.

        Args:
            merges: device addresses; each slot's in the order of time.
            size: values of a row.
            half_rows: rows are float16; slots are always float32.
            stream: CUDA stream handle.

        Raises:
            KernelError: the driver refuses.
        """
        function = self._function("pool_f16" if half_rows else "pool_f32")
        for few in rounds(merges):
            params = pool_params(few, size, half_rows=half_rows)
            blocks = min(-(-size // POOL_THREADS), POOL_BLOCKS)
            self.driver.launch(function, (blocks, len(few)), POOL_THREADS, 0, stream, params)

    def scan(self, job: DeviceScan, *, stream: int = 0) -> None:
        """Queue lower bounds of the distances of a few probes to all templates of a gallery.

        Args:
            job: where everything lies.
            stream: CUDA stream handle.

        Raises:
            KernelError: a size does not fit, or the driver refuses.
        """
        form = scan_form(job)
        if not job.rows or not job.probes.count:
            return
        shared = 2 * form * job.record.width
        function = self._function(f"scan_{form}", shared)
        blocks = -(-job.rows // SCAN_ROWS)
        self.driver.launch(function, (blocks, 1), SCAN_THREADS, shared, stream, scan_params(job))

    def crop(
        self,
        pictures: Any,
        windows: Any,
        crops: Any,
        *,
        gain: Sequence[float] = (1.0, 1.0, 1.0),
        bias: Sequence[float] = (0.0, 0.0, 0.0),
        stream: int = 0,
    ) -> None:
        """Queue the cutting of person windows out of pictures that lie in device memory.

        Args:
            pictures: `PICTURE` structs in device memory as bytes, uint8 `[k * 40]`, with device addresses.
            windows: `WINDOW` structs likewise, uint8 `[n * 48]`, checked with `check_windows` on the host.
            crops: `[n, 3, height, width]` to fill: uint8 RGB, or float16 as value * gain + bias.
            gain: per channel R, G, B; float16 only.
            bias: per channel R, G, B; float16 only.
            stream: CUDA stream handle.

        Raises:
            KernelError: a shape or dtype is wrong, or the driver refuses.
        """
        table, asked = _on_device("pictures", pictures, stream), _on_device("windows", windows, stream)
        target = _on_device("crops", crops, stream)
        _check_dtype("crops", target, ("uint8", "float16"))
        if len(target.shape) != 4 or target.shape[1] != 3:
            raise KernelError(f"crops have shape {target.shape}; give [n, 3, height, width]")
        n, _, height, width = target.shape
        _check_dtype("windows", asked, ("uint8",))
        _check_shape("windows", asked, (n * WINDOW.itemsize,))
        _check_alignment("pictures", table.pointer, POINTER_BYTES)
        _check_alignment("windows", asked.pointer, NUMBER_BYTES)
        if n == 0:
            return
        if n > MOST_CROPS:
            raise KernelError(f"{n} crops; a launch makes {MOST_CROPS}: give them in parts")
        params = CropParams(
            pictures=table.pointer,
            windows=asked.pointer,
            crops=target.pointer,
            gain=(ctypes.c_float * 3)(*gain),
            bias=(ctypes.c_float * 3)(*bias),
            height=height,
            width=width,
        )
        function = self._function("crop_f16" if target.dtype == np.float16 else "crop_u8")
        blocks = -(-height * width // CROP_THREADS)
        self.driver.launch(function, (blocks, n), CROP_THREADS, 0, stream, params)

    def _function(self, name: str, shared_bytes: int = 0) -> Any:
        if shared_bytes > self._shared_limit:
            raise KernelError(
                f"{name} needs {shared_bytes} bytes of shared memory in a block, this GPU allows "
                f"{self._shared_limit}: give float16 heatmaps"
            )
        if name not in self._functions:
            self._functions[name] = self.driver.function(self._module, name, shared_bytes)
        return self._functions[name]

    def _describe(
        self,
        maps: Borrowed,
        outputs: Outputs,
        options: AlignmentOptions,
        joints: Borrowed | None,
        tracklets: Borrowed | None,
        stream: int,
    ) -> PghaParams:
        n, channels = maps.shape[:2]
        total = 1 + len(options.groups)
        parts = _on_device("parts", outputs.parts, stream)
        _check_dtype("parts", parts, ("float32", "float16"))
        _check_shape("parts", parts, (n, total, HEIGHT, WIDTH))

        def output(name: str, shape: tuple[int, ...], *dtypes: str) -> int:
            array = _on_device(name, getattr(outputs, name), stream)
            _check_dtype(name, array, dtypes)
            _check_shape(name, array, shape)
            return array.pointer

        if joints is not None:
            _check_dtype("keypoints", joints, ("float32",))
        if tracklets is not None:
            _check_dtype("segments", tracklets, ("int32",))
        for name, array in (("heatmaps", maps), ("parts", parts)):
            _check_alignment(name, array.pointer)
        return PghaParams(
            heatmaps=maps.pointer,
            keypoints=joints.pointer if joints else None,
            segments=tracklets.pointer if tracklets else None,
            parts=parts.pointer,
            angle_deg=output("angle_deg", (n,), "float32"),
            aligned=output("aligned", (n,), "uint8", "bool"),
            neck=output("neck_xy", (n, 2), "float32"),
            hip=output("hip_xy", (n, 2), "float32"),
            score=output("score", (n,), "float32"),
            n=n,
            channels=channels,
            total_parts=total,
            half_parts=int(parts.dtype == np.float16),
            order=(ctypes.c_uint8 * MAX_CHANNELS)(*reading_order(channels, joints is None)),
            **rules(options),
        )

    def _find_ranges(self, maps: Borrowed, tracklets: Borrowed | None, ranges: Any, stream: int) -> int:
        if ranges is None:
            raise KernelError("normalization 'tracklet' needs ranges: uint32 [tracklets, 2] of device memory")
        scratch = _on_device("ranges", ranges, stream)
        _check_dtype("ranges", scratch, ("uint32", "int32"))
        if len(scratch.shape) != 2 or scratch.shape[1] != 2:
            raise KernelError(f"ranges have shape {scratch.shape}; give [tracklets, 2]")
        self.driver.fill(scratch.pointer, 0xFF, scratch.shape[0] * 8, stream)
        self.driver.launch(
            self._function("pgha_range_f16" if maps.dtype == np.float16 else "pgha_range_f32"),
            (maps.shape[0], 1),
            RANGE_THREADS,
            0,
            stream,
            ctypes.c_void_p(maps.pointer),
            ctypes.c_void_p(tracklets.pointer if tracklets else None),
            ctypes.c_int32(maps.shape[1]),
            ctypes.c_void_p(scratch.pointer),
        )
        return scratch.pointer


def _load_first(driver: Driver, images: Iterator[bytes]) -> Any:
    """The first image that the driver takes."""
    refused: KernelError | None = None
    while True:
        try:
            image = next(images)
        except StopIteration:
            raise refused or KernelError("there are no GPU kernels to load") from refused
        except KernelError as error:  # nothing can be compiled: what the driver said of the first says more
            raise KernelError(f"{refused}; {error}" if refused else str(error)) from error
        try:
            return driver.load(image)
        except KernelError as error:
            if "context" in str(error):
                raise
            log.info("the driver does not take an image of the kernels, trying the next: %s", error)
            refused = error


def _on_device(name: str, array: Any, stream: int) -> Borrowed:
    borrowed = borrow(array, stream)
    if not borrowed.on_device:
        raise KernelError(
            f"{name} lie in host memory: copy them to the GPU, or call gaitstream.kernels.align"
        )
    return borrowed


def _check_dtype(name: str, array: Borrowed, allowed: tuple[str, ...]) -> None:
    if array.dtype.name not in allowed:
        raise KernelError(f"{name} are {array.dtype.name}; the kernel takes {' or '.join(allowed)}")


def _check_alignment(name: str, pointer: int, least: int = ALIGNMENT) -> None:
    if pointer % least:
        raise KernelError(f"{name} lie at {pointer:#x}: the address must be a multiple of {least}")


def _check_shape(name: str, array: Borrowed, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise KernelError(f"{name} have shape {array.shape}; give {shape}")


_launchers: dict[int, Launcher] = {}


def launcher() -> Launcher:
    """The launcher of the current CUDA context; kernels are found or compiled at the first call.

    Raises:
        KernelError: no driver, no context, a GPU that is too old, or nothing to compile with.
    """
    context = open_driver().context()
    if context not in _launchers:
        _launchers[context] = Launcher()
    return _launchers[context]


def align_cuda(
    heatmaps: NDArray[Any],
    keypoints: Floats | None,
    options: AlignmentOptions,
    segments: NDArray[np.int32] | None,
) -> Aligned:
    """Align host arrays on the first GPU: copied there and back, through pycuda; from any thread.

    Raises:
        MissingExtraError: pycuda is not installed.
        KernelError: see `launcher`, or CUDA failed.
    """
    n = len(heatmaps)
    if n == 0:
        return Aligned.empty(0, len(options.groups))
    with _pycuda_memory() as (to_gpu, empty):
        outputs = Outputs(
            parts=empty((n, 1 + len(options.groups), HEIGHT, WIDTH), np.float32),
            angle_deg=empty((n,), np.float32),
            aligned=empty((n,), np.uint8),
            neck_xy=empty((n, 2), np.float32),
            hip_xy=empty((n, 2), np.float32),
            score=empty((n,), np.float32),
        )
        tracklets = 1 if segments is None else int(segments.max()) + 1
        launcher().align(
            to_gpu(heatmaps),
            outputs,
            options,
            keypoints=None if keypoints is None else to_gpu(keypoints),
            segments=None if segments is None else to_gpu(segments),
            ranges=empty((tracklets, 2), np.uint32) if options.normalization == "tracklet" else None,
        )
        return Aligned(
            outputs.parts.get(),
            outputs.angle_deg.get(),
            outputs.aligned.get().astype(np.bool_),
            outputs.neck_xy.get(),
            outputs.hip_xy.get(),
            outputs.score.get(),
        )


@contextmanager
def _pycuda_memory() -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """What copies an array to the GPU and what makes one there; all of it is freed in the end.

    Its context is current meanwhile, and no longer: one that `pycuda.autoprimaryctx` makes is current in the
    first thread alone, and a thread that ends with it ends the process.
    """
    open_driver()  # first, so that a machine without a driver hears of that and not of a package
    try:
        import pycuda.driver as cuda  # type: ignore[import-not-found,import-untyped,unused-ignore]
        from pycuda import gpuarray
    except ImportError as error:
        raise MissingExtraError("pycuda", "gpu", "Alignment of host arrays on the GPU") from error
    made: list[Any] = []

    def kept(make: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            made.append(make(*arguments))
            return made[-1]

        return call

    try:
        context = _first_context(cuda)
        context.push()
        try:
            yield kept(gpuarray.to_gpu), kept(gpuarray.empty)
        finally:
            try:
                for array in made:  # here: with no context current nothing is freed
                    array.gpudata.free()
            finally:
                context.pop()
    except cuda.Error as error:
        raise KernelError(f"CUDA failed: {error}") from error


@functools.cache
def _first_context(cuda: Any) -> Any:
    """The primary context of the first GPU, kept until the process ends."""
    cuda.init()
    return cuda.Device(0).retain_primary_context()
