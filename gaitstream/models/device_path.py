"""From crops to features without leaving the device: pose, joints, alignment and frame graph on one stream.

Of every person the crop goes up, as bytes, and the joints come down; heatmaps, parts and features stay. A
lane is a stream with memory and execution contexts of its own, so that one batch computes while the next
one's crops are cut and copied. A batch holds its lane until nothing refers to its features any more;
`device_pool` takes them from there.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines import Engine
from gaitstream.engines.base import Execution
from gaitstream.engines.device import Arena, Device
from gaitstream.errors import EngineError
from gaitstream.kernels.contract import HEIGHT, JOINTS, WIDTH, AlignmentOptions
from gaitstream.kernels.cuda import Outputs
from gaitstream.kernels.host import Kernels

log = logging.getLogger(__name__)

PEOPLE = 32
"""Crops in a lane: fills a GPU, and what a lane holds of them takes about 30 MB.

What its networks work in comes on top, 110 MB with the demo's, for the largest batch they were compiled for.
"""
LANES = 64
"""So many batches whose features nobody pools are a fault of whoever holds them."""

FLOATS = ("float32", "float16")
"""What the kernels read and write parts and features in."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Stage:
    """One recognizer behind the pose model.

    Attributes:
        engine: of its frame graph: `parts` to `features`.
        options: how heatmaps are turned into parts.
    """

    engine: Engine
    options: AlignmentOptions

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Of one person."""
        return self.engine.outputs["features"].shape[1:]

    @property
    def half(self) -> bool:
        """Whether features lie in half precision."""
        return self.engine.outputs["features"].dtype == "float16"


class DeviceFeature(NamedTuple):
    """One person's features, on the device.

    Attributes:
        batch: keeps them there.
        pointer: device address.
        pool: where they are merged.
    """

    batch: DeviceBatch
    pointer: int
    pool: Any = None


class DevicePath:
    """Pose model and frame graphs of one device.

    Args:
        pose: of the pose model; takes crops as bytes.
        stages: by recognizer.
        people: crops in a batch at most.

    Attributes:
        device: where.
        kernels: launches its kernels.
        stages: as given.
        people: crops in a batch at most.

    Raises:
        EngineError: an engine is not on a device, on another one, takes one batch size only, or floats.
    """

    def __init__(self, pose: Engine, stages: Mapping[str, Stage], *, people: int = PEOPLE) -> None:
        device = pose.on_device
        if device is None:
            raise EngineError(f"{pose.runtime} on {pose.device} takes host arrays")
        if any(stage.engine.on_device is not device for stage in stages.values()):
            raise EngineError("pose model and frame graphs lie on different devices")
        (source,), (target,) = pose.inputs.values(), pose.outputs.values()
        if source.dtype != "uint8":
            raise EngineError(f"the pose model takes {source.dtype}, not bytes: build it again")
        self.device: Device = device
        self.kernels: Kernels = device.kernels()
        self.pose, self.stages = pose, dict(stages)
        self.source, self.target = source, target
        engines = (pose, *(stage.engine for stage in stages.values()))
        for spec in (spec for engine in engines for spec in engine.inputs.values()):
            if spec.shape[0] != -1:
                raise EngineError(f"{spec.name!r} takes {list(spec.shape)}: a graph for any batch is needed")
        for stage in stages.values():
            for spec in (stage.engine.inputs["parts"], stage.engine.outputs["features"]):
                if spec.dtype not in FLOATS:
                    raise EngineError(
                        f"{spec.name!r} is {spec.dtype}; the device takes {' or '.join(FLOATS)}"
                    )
        self.people = min(people, *(engine.max_batch or people for engine in engines))
        self.before_growing: list[Callable[[], None]] = []
        """Asked to let go of features before another lane is made."""
        self._free: deque[Lane] = deque()
        self._lanes: list[Lane] = []

    def begin(self, count: int) -> DeviceBatch:
        """A batch of so many people, whose crops are to be written into `crops`, then started.

        Raises:
            EngineError: more than `people`, or nobody lets go of earlier batches.
        """
        if not 0 < count <= self.people:
            raise EngineError(f"{count} people in a batch; give 1 to {self.people}")
        lane = self._lane()
        lane.ready.synchronize()  # the last batch's crops have been read
        batch = DeviceBatch(self, lane, count)
        weakref.finalize(batch, self._free.append, lane)
        return batch

    def lots(self, count: int) -> Iterator[int]:
        """Sizes of the batches for so many people."""
        while count > 0:
            yield min(count, self.people)
            count -= self.people

    def close(self) -> None:
        """Wait for what runs, then free the lanes; the engines are their owners'."""
        for lane in self._lanes:
            lane.free()
        self._lanes.clear()
        self._free.clear()

    def _lane(self) -> Lane:
        if not self._free:
            for let_go in self.before_growing:
                let_go()
        if self._free:
            return self._free.popleft()
        if len(self._lanes) == LANES:
            raise EngineError(f"{LANES} batches of features are held on the device and none is pooled")
        lane = Lane(self)
        self._lanes.append(lane)
        return lane


class Lane:
    """A stream, its memory and its execution contexts."""

    def __init__(self, path: DevicePath) -> None:
        device, people = path.device, path.people
        self.stream = device.stream()
        engines = (path.pose, *(stage.engine for stage in path.stages.values()))
        arrays: dict[str, tuple[tuple[int, ...], str]] = {
            "crops": ((people, *path.source.shape[1:]), "uint8"),
            "heatmaps": ((people, *path.target.shape[1:]), path.target.dtype),
            "joints": ((people, JOINTS, 3), "float32"),
            # One after the other on the stream, the networks work in the same memory.
            "scratch": ((max(engine.scratch_bytes for engine in engines),), "uint8"),
        }
        for name, stage in path.stages.items():
            arrays |= {
                f"{name}/parts": (
                    (people, 1 + len(stage.options.groups), HEIGHT, WIDTH),
                    stage.engine.inputs["parts"].dtype,
                ),
                f"{name}/angle": ((people,), "float32"),
                f"{name}/aligned": ((people,), "uint8"),
                f"{name}/neck": ((people, 2), "float32"),
                f"{name}/hip": ((people, 2), "float32"),
                f"{name}/score": ((people,), "float32"),
                f"{name}/features": ((people, *stage.feature_shape), stage.engine.outputs["features"].dtype),
            }
        self.arena = Arena(device, arrays)
        scratch = self.arena.arrays["scratch"]
        self.pose: Execution = path.pose.execution(scratch)
        self.frames = {name: stage.engine.execution(scratch) for name, stage in path.stages.items()}
        self.places = {
            name: (
                self.arena.take(f"{name}/features", 1).pointer,
                self.arena.take(f"{name}/features", 1).nbytes,
            )
            for name in path.stages
        }
        """Where a recognizer's features begin, and bytes of one person's."""
        crops, joints = arrays["crops"][0], arrays["joints"][0]
        self.crops = device.pinned(prod(crops), "uint8").reshape(crops)
        self.joints = device.pinned(prod(joints), "float32").reshape(joints)
        self.ready, self.done = device.event(), device.event()
        """Joints are on the host; features are computed."""
        self.pooled = {name: device.event() for name in path.stages}
        """Whoever pools a recognizer's features has read them."""

    def free(self) -> None:
        """Wait, then give everything back."""
        self.stream.synchronize()
        for pooled in self.pooled.values():
            pooled.synchronize()
        for execution in (self.pose, *self.frames.values()):
            execution.free()
        self.arena.free()
        del self.crops, self.joints


class DeviceBatch:
    """People on their way through one lane.

    Attributes:
        crops: to be filled before `start`, uint8 `[n, 3, 256, 192]`, in page-locked memory.
        count: people.
        lane: where.
    """

    def __init__(self, path: DevicePath, lane: Lane, count: int) -> None:
        self._path = path
        self.lane = lane
        self.count = count
        self.crops: Bytes = lane.crops[:count]
        self._joints: Floats | None = None

    def start(self) -> None:
        """Queue everything; returns at once.

        Raises:
            EngineError: the runtime refuses.
        """
        path, lane, count = self._path, self.lane, self.count
        device, stream, take = path.device, lane.stream, lane.arena.take
        with device.active():
            for pooled in lane.pooled.values():  # the features of the batch before are being read
                stream.wait(pooled)
            crops, heatmaps, joints = take("crops", count), take("heatmaps", count), take("joints", count)
            device.upload(crops.pointer, self.crops, stream)
            lane.pose.enqueue({path.source.name: crops}, {path.target.name: heatmaps}, stream)
            path.kernels.peaks(heatmaps, joints, stream=stream.handle)
            device.download(lane.joints[:count], joints.pointer, stream)
            stream.record(lane.ready)
            for name, stage in path.stages.items():
                parts = take(f"{name}/parts", count)
                rest = [
                    take(f"{name}/{what}", count) for what in ("angle", "aligned", "neck", "hip", "score")
                ]
                path.kernels.align(
                    heatmaps, Outputs(parts, *rest), stage.options, keypoints=joints, stream=stream.handle
                )
                features = take(f"{name}/features", count)
                lane.frames[name].enqueue({"parts": parts}, {"features": features}, stream)
            stream.record(lane.done)

    def joints(self) -> Floats:
        """Joints float32 `[n, 17, 3]` in heatmap pixels; waits for them, not for the features.

        Raises:
            EngineError: the device failed.
        """
        if self._joints is None:
            self.lane.ready.synchronize()
            self._joints = self.lane.joints[: self.count].copy()
        return self._joints

    def feature(self, name: str, index: int) -> DeviceFeature:
        """One person's features of a recognizer."""
        first, row = self.lane.places[name]
        return DeviceFeature(self, first + index * row)


class DeviceRows:
    """People of one or more batches, in order; what heatmaps are on the host.

    Args:
        places: batch and place in it, per person.
    """

    def __init__(self, places: Sequence[tuple[DeviceBatch, int]]) -> None:
        self._places = list(places)

    @classmethod
    def of(cls, batches: Sequence[DeviceBatch]) -> DeviceRows:
        """Everybody of some batches."""
        return cls([(batch, index) for batch in batches for index in range(batch.count)])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, chosen: Sequence[int]) -> DeviceRows:
        """Some of them, as an array is indexed by a list."""
        return DeviceRows([self._places[index] for index in chosen])

    def features(self, name: str) -> list[DeviceFeature]:
        """Features of a recognizer, per person."""
        return [batch.feature(name, index) for batch, index in self._places]
