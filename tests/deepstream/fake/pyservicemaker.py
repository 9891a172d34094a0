"""A fake of the documented part of pyservicemaker that plays recordings through the probes.

It has the manners the sources describe. `*_items` are iterators that hand out one wrapper again and again,
metadata dies with its batch and its tensors' memory is used again, tensors say they lie on the GPU, object
metadata has no names beyond the documented ones, and a probe on a sink is refused. Every queue and every
nvinfer is a thread of its own, so that buffers are under way while messages come: those are told by a main
loop, which also reads keys from standard input. The tracker overwrites boxes, nvinfer rounds rectangles,
leaves out small ones and puts a batch's outputs side by side. A start that fails is told to nobody.

A recording is a list of steps, each a batch (`Batch`), a message (`Message`) or something that happens
(`Wait`, `Die`, `Fail`, `Stop`), pickled.
"""

from __future__ import annotations

import ctypes
import enum
import os
import pickle
import queue
import select
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CUDA = 2
UNTRACKED = 0xFFFF_FFFF_FFFF_FFFF
KEYS_EVERY_S = 0.04
CONNECT_S = 0.05
"""A camera that was added has to connect before it sends a frame."""

POSE = (192, 256)
"""Width and height of the pose network's input; its heatmaps are a quarter of that."""


@dataclass
class Person:
    object_id: int
    confidence: float
    rect: list[float]
    """left, top, width, height in pixels of the muxed frame, as detected; of a shadow, as predicted."""
    tensors: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Layers by the element that makes them. Joints are given in pixels of the muxed frame."""
    tracked: list[float] | None = None
    """The tracker's box where it differs."""
    seen_by: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """What each element cut out; filled while playing."""
    given: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The rectangle each element was given; filled while playing."""
    outputs: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """What encoders attached; filled while playing."""
    border: int = 3
    text: str = ""


@dataclass
class Frame:
    pad_index: int
    frame_number: int
    pts: int
    ntp: int
    size: tuple[int, int]
    muxed: tuple[int, int]
    persons: list[Person]


@dataclass
class Batch:
    frames: list[Frame]
    alive: bool = True
    detected: bool = False
    is_tracked: bool = False
    passed: set[str] = field(default_factory=set)

    def people(self, frame: Frame) -> list[Person]:
        """Who is in a frame's metadata at this point of the graph."""
        if not self.detected:
            return []
        return frame.persons if self.is_tracked else [p for p in frame.persons if p.confidence >= 0]


@dataclass
class Message:
    """A camera gets (`added`) or loses a pad."""

    added: bool
    source_id: int
    sensor_id: str


@dataclass
class Wait:
    """Let wall-clock time pass."""

    seconds: float


@dataclass
class Die:
    """End the process as an error inside DeepStream would."""

    code: int


@dataclass
class Fail:
    """First in a recording: the pipeline reaches PAUSED (`prepare`) or PLAYING (`activate`) not."""

    at: str
    tells: bool = False
    """`prepare` returns -1; the bindings of 9.2 drop it."""


@dataclass
class Stop:
    """The main loop ends without an end of stream, as after some errors."""


class DynamicSourceMessage:
    def __init__(self, message: Message) -> None:
        self.source_added = message.added
        self.source_id = message.source_id
        self.sensor_id = message.sensor_id
        self.sensor_name = message.sensor_id
        self.uri = ""


class PipelineState(enum.Enum):
    READY = 2
    PAUSED = 3
    PLAYING = 4


class StateTransitionMessage:
    def __init__(self, origin: str, old_state: PipelineState, new_state: PipelineState) -> None:
        self.origin, self.old_state, self.new_state = origin, old_state, new_state


class EOSMessage:
    pass


class BatchMetadataOperator:
    def __init__(self) -> None:
        self.ready = True

    def handle_metadata(self, batch_meta: Any) -> None:
        raise NotImplementedError


class Probe:
    def __init__(self, name: str, operator: BatchMetadataOperator) -> None:
        if not operator.ready:  # what a forgotten super().__init__() does in C++
            raise TypeError("the operator was not initialised")
        self.name, self.operator = name, operator


class Tensor:
    def __init__(self, array: np.ndarray, batch: Batch, device: int) -> None:
        self._array, self._batch, self._device = array, batch, device

    def __dlpack__(self) -> object:
        _require(self._batch)
        capsule = self._array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        kind = ctypes.c_int32.from_address(pointer(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p))
        kind.value = self._device
        return capsule


class _Output:
    def __init__(self, layers: dict[str, Tensor]) -> None:
        self._layers = layers

    def get_layers(self) -> dict[str, Tensor]:
        return dict(self._layers)


class _UserMeta:
    def __init__(self, layers: dict[str, Tensor]) -> None:
        self._layers = layers

    def as_tensor_output(self) -> _Output:
        return _Output(self._layers)


class _Rect:
    __slots__ = ("_person", "_rect")

    _person: Person
    _rect: list[float]

    def __init__(self, person: Person, rect: list[float]) -> None:
        object.__setattr__(self, "_person", person)
        object.__setattr__(self, "_rect", rect)

    def __getattr__(self, name: str) -> float:
        if name == "border_width":
            return self._person.border
        return self._rect[("left", "top", "width", "height").index(name)]

    def __setattr__(self, name: str, value: float) -> None:
        if name == "border_width":
            assert isinstance(value, int)
            assert 0 <= value < 2**32
            self._person.border = value
        else:
            self._rect[("left", "top", "width", "height").index(name)] = float(value)


class _Text:
    __slots__ = ("_person",)

    _person: Person

    def __init__(self, person: Person) -> None:
        object.__setattr__(self, "_person", person)

    def __setattr__(self, name: str, value: str) -> None:
        assert name == "display_text"
        self._person.text = value


class _ObjectMeta:
    """One wrapper for all objects of an iteration."""

    __slots__ = ("_batch", "_pipeline", "person")

    person: Person

    def __init__(self, batch: Batch, pipeline: Pipeline) -> None:
        self._batch, self._pipeline = batch, pipeline

    def _now(self) -> Person:
        _require(self._batch)
        return self.person

    object_id = property(lambda self: self._now().object_id if self._batch.is_tracked else UNTRACKED)
    class_id = property(lambda self: 0)
    confidence = property(lambda self: self._now().confidence)
    tracker_confidence = property(lambda self: 1.0)
    rect_params = property(lambda self: _Rect(self._now(), self._now().rect))
    text_params = property(lambda self: _Text(self._now()))

    @property
    def tensor_items(self) -> Iterator[_UserMeta]:
        for layers in self._now().outputs.values():
            yield _UserMeta({n: Tensor(a, self._batch, self._pipeline.device) for n, a in layers.items()})


class _FrameMeta:
    __slots__ = ("_batch", "_pipeline", "frame")

    frame: Frame

    def __init__(self, batch: Batch, pipeline: Pipeline) -> None:
        self._batch, self._pipeline = batch, pipeline

    def _now(self) -> Frame:
        _require(self._batch)
        return self.frame

    pad_index = property(lambda self: self._now().pad_index)
    source_id = property(lambda self: self._now().pad_index)
    batch_id = property(lambda self: self._batch.frames.index(self._now()))
    frame_number = property(lambda self: self._now().frame_number)
    buffer_pts = property(lambda self: self._now().pts)
    ntp_timestamp = property(lambda self: self._now().ntp)
    source_width = property(lambda self: self._now().size[0])
    source_height = property(lambda self: self._now().size[1])
    pipeline_width = property(lambda self: self._now().muxed[0])
    pipeline_height = property(lambda self: self._now().muxed[1])

    @property
    def object_items(self) -> Iterator[_ObjectMeta]:
        meta = _ObjectMeta(self._batch, self._pipeline)
        for person in self._batch.people(self._now()):
            meta.person = person
            yield meta


class _BatchMeta:
    __slots__ = ("_batch", "_pipeline")

    def __init__(self, batch: Batch, pipeline: Pipeline) -> None:
        self._batch, self._pipeline = batch, pipeline

    @property
    def frame_items(self) -> Iterator[_FrameMeta]:
        _require(self._batch)
        meta = _FrameMeta(self._batch, self._pipeline)
        for frame in self._batch.frames:
            meta.frame = frame
            yield meta


class _Node:
    def __init__(self, name: str, kind: str, properties: dict[str, Any]) -> None:
        self.name, self.kind, self.properties = name, kind, dict(properties)

    def set(self, properties: dict[str, Any]) -> None:
        self.properties.update(properties)


class Pipeline:
    """Plays what `recording` holds, or the file that GAITSTREAM_FAKE_RECORDING names."""

    recording: list[Any] | None = None
    device = CUDA
    last: Pipeline | None = None
    busy_s = 0.0
    """What an nvinfer takes for a buffer."""
    smallest_px = 16
    """Sides under which encoders leave a person out: `input-object-min-width` and `-height`."""

    def __init__(self, name: str, config_file: str | None = None) -> None:
        self.name = name
        self.nodes: dict[str, _Node] = {}
        self.links: list[tuple[Any, ...]] = []
        self.probes: dict[str, list[Probe]] = {}
        self.threads: dict[str, set[int]] = {}
        """Which threads ran each element's probes."""
        self._on_message: Callable[[Any], None] = lambda message: None
        self._posted: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._steps: list[Any] = []
        self._failed = False
        self._loop: threading.Thread | None = None
        self._stopped = threading.Event()
        self._first_border: int | None = None
        Pipeline.last = self

    def __getitem__(self, name: str) -> _Node:
        return self.nodes[name]

    def add(self, element_type: str, name: str, properties: dict[str, Any] | None = None) -> Pipeline:
        assert name not in self.nodes
        self.nodes[name] = _Node(name, element_type, properties or {})
        return self

    def link(self, *names: Any) -> Pipeline:
        pair = names[0] if isinstance(names[0], tuple) else names
        assert all(name in self.nodes for name in pair)
        self.links.append(names)
        return self

    def attach(self, target: str, what: Probe, name: str = "", tips: str = "") -> Pipeline:
        if self.nodes[target].kind.endswith("sink"):
            raise RuntimeError("Probe failure")
        self.probes.setdefault(target, []).append(what)
        return self

    def prepare(self, on_message: Callable[[Any], None]) -> Any:
        self._on_message = on_message
        self._steps = self.recording or []
        if self.recording is None:
            self._steps = pickle.loads(Path(os.environ["GAITSTREAM_FAKE_RECORDING"]).read_bytes())
            Pipeline.device = 1
        loaded = os.environ.get("GAITSTREAM_FAKE_LOADED")
        if loaded is not None and not Path(loaded).exists():
            self._failed = True  # an engine with an operator that nobody registered is not read
        if self._steps and type(self._steps[0]).__name__ == "Fail":
            self._failed = True
            if self._steps[0].at == "prepare" and self._steps[0].tells:
                return -1
        return self

    def activate(self) -> Pipeline:
        self._loop = threading.Thread(target=self._main_loop, daemon=True)
        self._loop.start()
        return self

    def wait(self) -> None:
        assert self._loop is not None
        self._loop.join()

    def stop(self) -> Pipeline:
        """Send the end of stream, which a muxer for live cameras swallows."""
        self._stopped.set()
        return self

    # The main loop.

    def _main_loop(self) -> None:
        """Tells messages and looks for keys; does not even begin when PLAYING is not reached."""
        if self._failed:
            return
        for origin in (*self.nodes, self.name):
            self._on_message(StateTransitionMessage(origin, PipelineState.PAUSED, PipelineState.PLAYING))
        threading.Thread(target=self._play, args=(self._build(),), daemon=True).start()
        reads, due_s = True, 0.0
        while True:
            if reads and time.monotonic() >= due_s:
                reads, due_s = _look_for_keys(), time.monotonic() + KEYS_EVERY_S
            try:
                if not self._posted.get(timeout=KEYS_EVERY_S / 4)():
                    return
            except queue.Empty:
                continue

    def post(self, message: Message) -> None:
        """Put a message on the bus."""

        def tell() -> bool:
            self._on_message(DynamicSourceMessage(message))
            return True

        self._posted.put(tell)

    def _tell_end(self) -> bool:
        self._on_message(EOSMessage())
        return False

    # The flow.

    def _build(self) -> queue.Queue[Batch | None]:
        """A thread for each stretch between two elements that have one; the first one's queue."""
        first: queue.Queue[Batch | None] = queue.Queue(1)
        source, stretch = first, list[_Node]()
        for node in self.nodes.values():
            if node.kind in ("queue", "nvinfer"):
                target: queue.Queue[Batch | None] = queue.Queue(4)
                self._start(source, stretch, target)
                source, stretch = target, []
            stretch.append(node)
        self._start(source, stretch, None)
        return first

    def _start(self, source: Any, stretch: list[_Node], target: Any) -> None:
        threading.Thread(target=self._flow, args=(source, stretch, target), daemon=True).start()

    def _flow(self, source: Any, stretch: list[_Node], target: Any) -> None:
        try:
            self._pass_on(source, stretch, target)
        except Exception:  # noqa: BLE001
            traceback.print_exc()
            self._posted.put(lambda: False)  # an element that fails ends the loop without an end of stream
            while source.get() is not None:
                pass

    def _pass_on(self, source: Any, stretch: list[_Node], target: Any) -> None:
        while (batch := source.get()) is not None:
            for node in stretch:
                self._work(node, batch)
                for probe in self.probes.get(node.name, []):
                    self.threads.setdefault(node.name, set()).add(threading.get_ident())
                    probe.operator.handle_metadata(_BatchMeta(batch, self))
            if target is None:
                _end_batch(batch)
            else:
                target.put(batch)
        if target is not None:
            target.put(None)
        else:
            self._posted.put(self._tell_end)

    def _play(self, first: queue.Queue[Batch | None]) -> None:
        live = any(node.properties.get("drop-pipeline-eos") for node in self.nodes.values())
        for step in self._steps:
            if self._stopped.is_set():
                break
            kind = type(step).__name__  # a pickled step may come from another import of this file
            if kind == "Message":
                self.post(step)
                time.sleep(CONNECT_S if step.added else 0)
            elif kind == "Wait":
                time.sleep(step.seconds)
            elif kind == "Die":
                os._exit(step.code)
            elif kind == "Stop":
                self._posted.put(lambda: False)
                return
            else:
                first.put(step)
        if self._stopped.is_set() and live:
            return
        first.put(None)

    def _work(self, node: _Node, batch: Batch) -> None:
        if node.kind == "nvtracker":
            self._track(batch)
        if node.kind != "nvinfer":
            return
        time.sleep(self.busy_s)
        people = [(frame, person) for frame in batch.frames for person in batch.people(frame)]
        if not batch.detected:
            batch.detected = True
            for frame in batch.frames:
                for person in batch.people(frame):
                    person.seen_by[node.name] = tuple(person.rect)
            return
        found = []
        for frame, person in people:
            person.given[node.name] = tuple(person.rect)
            if min(person.rect[2:]) >= self.smallest_px:
                person.seen_by[node.name] = _rounded(person.rect, frame.muxed)
                found.append(person)
        size = int(node.properties["batch-size"])
        for start in range(0, len(found), size):
            _encode(node.name, found[start : start + size])

    def _track(self, batch: Batch) -> None:
        """Give ids, overwrite boxes; what was predicted gets the fields of the first detection ever."""
        batch.is_tracked = True
        for frame in batch.frames:
            for person in frame.persons:
                if self._first_border is None:
                    self._first_border = person.border
                if person.confidence < 0:
                    person.border = self._first_border
                if person.tracked is not None:
                    person.rect[:] = person.tracked


def _encode(element: str, people: list[Person]) -> None:
    """One batch: each layer's outputs lie side by side."""
    with_layers = [person for person in people if element in person.tensors]
    names = {name for person in with_layers for name in person.tensors[element]}
    for name in names:
        rows = [_seen(person, element, name) for person in with_layers]
        block = np.stack(rows)
        for row, person in zip(block, with_layers, strict=True):
            person.outputs.setdefault(element, {})[name] = row


def _seen(person: Person, element: str, name: str) -> np.ndarray:
    """A layer; joints in heatmap pixels of what was cut out."""
    values = person.tensors[element][name]
    if not name.endswith("_keypoints"):
        return values
    left, top, width, height = person.seen_by[element]
    if POSE[0] * height / width <= POSE[1]:
        fitted = (POSE[0], int(POSE[0] * height / width))
    else:
        fitted = (int(POSE[1] * width / height), POSE[1])
    moved = values.copy()
    for axis, (start, side) in enumerate(((left, width), (top, height))):
        margin = (POSE[axis] - fitted[axis]) // 2
        inside = (values[:, axis] + 0.5 - start) * fitted[axis] / side + margin
        moved[:, axis] = inside / 4 - 0.5
    return moved


def _rounded(rect: list[float], muxed: tuple[int, int]) -> tuple[float, ...]:
    """As gstnvinfer.cpp rounds what it cuts; what it does not check is checked here."""
    left, top, width, height = rect
    if not (left >= 0 and top >= 0 and left + width <= muxed[0] and top + height <= muxed[1]):
        raise RuntimeError(f"{rect} leaves the frame of {muxed}: nvinfer would read other memory")
    start = [int(left) + int(left) % 2, int(top) + int(top) % 2]
    return (*map(float, start), float(int(width) // 2 * 2), float(int(height) // 2 * 2))


def _end_batch(batch: Batch) -> None:
    batch.alive = False
    for person in (person for frame in batch.frames for person in frame.persons):
        for layers in person.outputs.values():
            for array in layers.values():
                array.fill(0)  # the next buffer's, as far as anybody who still looks here can tell


def _look_for_keys() -> bool:
    """As service-maker's main loop: returns whether to look again."""
    if not select.select([0], [], [], 0)[0]:
        return True
    library = ctypes.CDLL(None)
    library.fgetc.argtypes = [ctypes.c_void_p]
    return int(library.fgetc(ctypes.c_void_p.in_dll(library, "stdin"))) >= 0


def _require(batch: Batch) -> None:
    if not batch.alive:
        raise RuntimeError("metadata was used after its batch was gone")
