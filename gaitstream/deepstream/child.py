"""The DeepStream process: builds the pipeline with pyservicemaker, hangs the probes, sends what they copy.

`python -m gaitstream.deepstream.child` reads its Spec and then Commands from standard input, one
JSON document a line; the end of input stops it. It is a process of its own because an error inside
DeepStream may end it, `wait()` blocks, and CUDA does not survive a fork.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from numpy.typing import NDArray

from gaitstream.deepstream.api import BatchMeta, Pipeline, ServiceMaker, load_service_maker
from gaitstream.deepstream.boxes import OriginalBoxes
from gaitstream.deepstream.dlpack import CopyFromDevice, cuda_copier
from gaitstream.deepstream.probes import CopyProbe, CropProbe, NextProbe
from gaitstream.deepstream.records import END, FrameRecord, Gone, pack
from gaitstream.deepstream.rest import RestClient
from gaitstream.deepstream.slots import Slots
from gaitstream.deepstream.spec import Command, Spec, decode_spec
from gaitstream.errors import GaitstreamError, SourceError

log = logging.getLogger(__name__)

WAIT_S = 120.0
"""How long a process whose streams have ended waits for its parent to take everything."""

KILL_AFTER_S = 5.0
"""`stop` waits for an end of stream that a live pipeline may swallow."""

Handle = Callable[[BatchMeta], None]


class Outbox:
    """Messages on their way to the parent: the probe puts, one thread sends.

    When the parent is slow the oldest message of live cameras is dropped and counted; files wait. Cameras
    that left and counters are kept: they go with the next one.
    """

    CAPACITY = 64

    def __init__(self, send: Callable[[list[Any]], object], *, wait: bool = False) -> None:
        self._send = send
        self._wait = wait
        self._waiting: deque[tuple[list[FrameRecord], list[Gone], dict[str, dict[str, int]], list[Any]]] = (
            deque()
        )
        self._ready = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(
        self,
        frames: list[FrameRecord],
        gone: list[Gone],
        counters: dict[str, dict[str, int]],
        arrays: list[NDArray[Any]],
    ) -> None:
        """Queue a message; blocks for files alone."""
        with self._ready:
            while self._wait and len(self._waiting) >= self.CAPACITY:
                self._ready.wait()
            if len(self._waiting) >= self.CAPACITY:
                old_frames, old_gone, old_counters, _ = self._waiting.popleft()
                gone = [*old_gone, *gone]
                counters = _added(old_counters, counters)
                for record in old_frames:
                    counters = _added(counters, {record.camera: {"frames_dropped": 1}})
            self._waiting.append((frames, gone, counters, arrays))
            self._ready.notify_all()

    def close(self) -> None:
        """Send what waits, then end."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        self._thread.join(timeout=WAIT_S if self._wait else KILL_AFTER_S)

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._waiting and not self._closed:
                    self._ready.wait()
                if not self._waiting:
                    return
                message = self._waiting.popleft()
                self._ready.notify_all()
            self._send(list(pack(*message)))


def run(
    spec: Spec,
    commands: Iterable[Command],
    send: Callable[[list[Any]], object],
    *,
    maker: ServiceMaker,
    copy: CopyFromDevice,
    now_ns: Callable[[], int] = time.time_ns,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Run the pipeline until all streams have ended or a command stops it.

    Args:
        spec: what to run.
        commands: read in a thread of its own.
        send: takes the parts of a message; called from one thread.
        maker: pyservicemaker.
        copy: from the GPU.
        now_ns: the wall clock.
        on_stop: called before the pipeline is told to stop.
    """
    boxes = OriginalBoxes()
    slots = Slots(spec.lost_s, spec.probation, spec.first_tracks)
    outbox = Outbox(send, wait=spec.starts.keys() == spec.rates.keys())
    labels = _Labels()
    last = CopyProbe(
        boxes,
        slots,
        spec.encoders,
        predictions=spec.predictions,
        copy=copy,
        emit=outbox.put,
        now_ns=now_ns,
        camera_clock=spec.camera_clock,
        starts=spec.starts,
        label=labels.get,
    )
    rates = dict(spec.rates)
    for number, (camera, fps) in enumerate(rates.items()):
        last.occupy(number, camera, fps)
    pipeline = _assemble(spec, maker, boxes, last, slots)
    pipeline.prepare(lambda message: _on_message(message, maker, last, rates))
    pipeline.activate()
    arguments = (commands, spec, pipeline, last, slots, rates, labels, on_stop)
    threading.Thread(target=_obey, args=arguments, name="commands", daemon=True).start()
    pipeline.wait()
    outbox.close()


def _assemble(
    spec: Spec, maker: ServiceMaker, boxes: OriginalBoxes, last: CopyProbe, slots: Slots
) -> Pipeline:
    pipeline = maker.Pipeline("gaitstream")
    for node in spec.graph.nodes:
        pipeline.add(node.kind, node.name, node.properties)
    for link in spec.graph.links:
        if link.source_pad or link.target_pad:
            pipeline.link((link.source, link.target), (link.source_pad, link.target_pad))
        else:
            pipeline.link(link.source, link.target)
    kinds = iter(encoder.kind for encoder in spec.encoders)
    for target, role in spec.graph.probes:
        handle: Handle
        if role == "copy":
            handle = last.handle
        else:
            handle = (CropProbe if role == "crop" else NextProbe)(boxes, next(kinds)).handle
        pipeline.attach(target, maker.Probe(f"{role}-{target}", _operator(maker, handle, slots)))
    return pipeline


def _operator(maker: ServiceMaker, handle: Handle, slots: Slots) -> Any:
    """A probe as pyservicemaker takes it: an exception that left it could end the process."""

    class Operator(maker.BatchMetadataOperator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()

        def handle_metadata(self, batch_meta: BatchMeta) -> None:
            try:
                handle(batch_meta)
            except Exception:  # DeepStream calls from C++, which knows no Python errors
                if "probe_errors" not in slots.counters.get("", Counter()):
                    log.exception("a probe failed; the frame is lost")
                slots.count("", "probe_errors")

    return Operator()


def _on_message(message: Any, maker: ServiceMaker, last: CopyProbe, rates: dict[str, float | None]) -> None:
    if not isinstance(message, maker.DynamicSourceMessage):
        return
    if message.source_added:
        last.occupy(message.source_id, message.sensor_id, rates.get(message.sensor_id))
    else:
        last.vacate(message.source_id)


def _obey(
    commands: Iterable[Command],
    spec: Spec,
    pipeline: Pipeline,
    last: CopyProbe,
    slots: Slots,
    rates: dict[str, float | None],
    labels: _Labels,
    on_stop: Callable[[], None],
) -> None:
    rest = RestClient(spec.rest) if spec.rest else None
    for command in commands:
        if command.do == "stop":
            break
        if command.do == "label":
            labels.set(command.camera, command.track, command.text)
        elif command.do == "retune":
            rates[command.camera] = command.fps
            slots.retune(command.camera, command.fps)
        elif rest is not None:
            _change(command, rest, slots, last, rates)
    on_stop()
    pipeline.stop()


def _change(
    command: Command, rest: RestClient, slots: Slots, last: CopyProbe, rates: dict[str, float | None]
) -> None:
    try:
        if command.do == "add":
            rates[command.camera] = command.fps
            rest.add(command.camera, command.uri)
        else:
            # Before the message says so: the slot may have its next camera by then.
            for number in slots.numbers_of(command.camera):
                last.vacate(number)
            rest.remove(command.camera, command.uri)
    except SourceError as error:
        slots.count(command.camera, f"{command.do}_failed")
        log.error("%s", error)


class _Labels:
    """What the overlay writes, by camera and track; the newest few hundred."""

    CAPACITY = 1000

    def __init__(self) -> None:
        self._texts: dict[tuple[str, int], str] = {}

    def set(self, camera: str, track: int, text: str) -> None:
        self._texts.pop((camera, track), None)
        self._texts[camera, track] = text
        while len(self._texts) > self.CAPACITY:
            del self._texts[next(iter(self._texts))]

    def get(self, camera: str, track: int) -> str | None:
        return self._texts.get((camera, track))


def _added(a: dict[str, dict[str, int]], b: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    total = {camera: dict(counts) for camera, counts in a.items()}
    for camera, counts in b.items():
        own = total.setdefault(camera, {})
        for what, number in counts.items():
            own[what] = own.get(what, 0) + number
    return total


def _lines(file: int) -> Iterator[bytes]:
    """Lines as they come; a buffered reader's lock would abort the interpreter when it ends meanwhile."""
    rest = b""
    while chunk := os.read(file, 65536):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _exit_soon() -> None:
    """A pipeline that drops the end of its streams may never come back from `stop`."""
    timer = threading.Timer(KILL_AFTER_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


def main() -> int:
    """The process."""
    import zmq

    logging.basicConfig(level=logging.INFO, format="deepstream: %(message)s", stream=sys.stderr)
    lines = _lines(sys.stdin.fileno())
    spec = decode_spec(next(lines))
    decoder = msgspec.json.Decoder(Command)
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    # The queue with the counted drops is ours; ZeroMQ holds next to nothing.
    socket.sndhwm = 2
    socket.linger = 10_000
    socket.connect(spec.endpoint)
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        _exit_soon()

    try:
        maker = load_service_maker()
    except GaitstreamError as error:
        log.error("%s", error)
        return error.exit_code
    run(
        spec,
        (decoder.decode(line) for line in lines),
        lambda parts: socket.send_multipart(parts, copy=False),
        maker=maker,
        copy=cuda_copier(spec.gpu),
        on_stop=stop,
    )
    # What still lies in the socket would be lost with this process: the parent says when it has all.
    socket.send(END)
    stopped.wait(WAIT_S)
    socket.close()
    context.term()
    return 0


if __name__ == "__main__":
    sys.exit(main())
