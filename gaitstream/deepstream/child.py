"""The DeepStream process: builds the pipeline with pyservicemaker, hangs the probes, sends what they copy.

`python -m gaitstream.deepstream.child` reads its Spec and then Commands from standard input, one
JSON document a line; the end of input stops it. It is a process of its own because an error inside
DeepStream may end it, `wait()` blocks, and CUDA does not survive a fork.

It ends with code 0 when it was told to, or after the end of all streams and the END message; everything else
is a failure, also a pipeline that would not start: pyservicemaker raises nothing then.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import zmq

from gaitstream.deepstream.api import BatchMeta, ServiceMaker, ServiceMakerPipeline, load_service_maker
from gaitstream.deepstream.boxes import Boxes
from gaitstream.deepstream.cameras import CameraChanges, RestClient
from gaitstream.deepstream.copy_probe import CopyProbe
from gaitstream.deepstream.copying import Copier, CudaCopier
from gaitstream.deepstream.labels import TrackLabels
from gaitstream.deepstream.outbox import Outbox
from gaitstream.deepstream.plan import EncoderPlan
from gaitstream.deepstream.probes import CropProbe, DetectionProbe, MuxerProbe, NextProbe
from gaitstream.deepstream.records import END
from gaitstream.deepstream.sources import PadSources
from gaitstream.deepstream.spec import Command, Spec, decode_spec
from gaitstream.errors import EngineError, GaitstreamError
from gaitstream.kernels import plugin_library

log = logging.getLogger(__name__)

WAIT_S = 120.0
"""How long a process whose streams have ended waits for its parent to take everything."""

KILL_AFTER_S = 5
"""`stop` waits for an end of stream that a live pipeline may swallow."""

PIPELINE = "gaitstream"

Handle = Callable[[BatchMeta], None]


class ChildPipeline:
    """One pipeline from its start to its end.

    Args:
        spec: what to run.
        send: takes the parts of a message; called from one thread.
        maker: pyservicemaker.
        copier: from the GPU.
        now_ns: the wall clock.
        on_stop: called before the pipeline is told to stop.

    Attributes:
        told_to_stop: by a command, or by the end of the input.
    """

    def __init__(
        self,
        spec: Spec,
        send: Callable[[list[Any]], object],
        *,
        maker: ServiceMaker,
        copier: Copier,
        now_ns: Callable[[], int] = time.time_ns,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec = spec
        self._maker = maker
        self._on_stop = on_stop
        self.told_to_stop = False
        self._ended = False
        self._failure = ""
        self._boxes = Boxes()
        self._sources = PadSources(spec.lost_s, spec.probation, spec.first_tracks, spec.aspects)
        self._outbox = Outbox(send, wait=spec.starts.keys() == spec.rates.keys())
        self._labels = TrackLabels()
        self._last = CopyProbe(
            self._boxes,
            self._sources,
            spec.encoders,
            predictions=spec.predictions,
            copier=copier,
            emit=self._outbox.put,
            now_ns=now_ns,
            camera_clock=spec.camera_clock,
            starts=spec.starts,
            label=self._labels.get,
        )
        self._rates = dict(spec.rates)
        for pad, (camera, fps) in enumerate(self._rates.items()):
            self._sources.attach(pad, camera, fps)
        self._pipeline = self._assemble()

    def __call__(self, commands: Iterable[Command]) -> None:
        """ChildPipeline until all streams have ended or a command stops it.

        Args:
            commands: read in a thread of its own.

        Raises:
            EngineError: the pipeline did not start, or stopped before the end of its streams.
        """
        try:
            prepared = self._pipeline.prepare(self._on_message)
            # The C++ method returns -1; bindings that drop it end in `wait` without an end of stream.
            if isinstance(prepared, int) and prepared < 0:
                raise EngineError("DeepStream could not prepare the pipeline; its own lines above say why")
            self._pipeline.activate()
            threading.Thread(target=self._obey, args=(commands,), name="commands", daemon=True).start()
            self._pipeline.wait()
        finally:
            sent = self._outbox.close(WAIT_S if self._ended else KILL_AFTER_S)
        if self._failure:
            raise EngineError(self._failure)
        if self.told_to_stop:
            return
        if not self._ended:
            raise EngineError(
                "DeepStream's pipeline stopped without the end of its streams: it did not start, or failed; "
                "its own lines above say why"
            )
        if not sent:
            raise EngineError(f"the pipeline did not take the last features within {WAIT_S:.0f} s")

    def _assemble(self) -> ServiceMakerPipeline:
        spec, maker = self._spec, self._maker
        pipeline = maker.Pipeline(PIPELINE)
        for node in spec.graph.nodes:
            pipeline.add(node.kind, node.name, node.properties)
        for link in spec.graph.links:
            if link.source_pad or link.target_pad:
                pipeline.link((link.source, link.target), (link.source_pad, link.target_pad))
            else:
                pipeline.link(link.source, link.target)
        encoders = iter(spec.encoders)
        for target, role in spec.graph.probes:
            handle = self._handle(role, encoders)
            pipeline.attach(target, maker.Probe(f"{role}-{target}", _operator(maker, handle, self._sources)))
        return pipeline

    def _handle(self, role: str, encoders: Iterator[EncoderPlan]) -> Handle:
        """What a probe does.

        Args:
            role: as the graph names it.
            encoders: those that have not been given rectangles yet.
        """
        if role == "muxer":
            return MuxerProbe(self._sources).handle
        if role == "detection":
            return DetectionProbe(self._boxes).handle
        if role == "crop":
            return CropProbe(self._boxes, next(encoders), self._sources).handle
        if role == "next":
            return NextProbe(self._boxes, next(encoders)).handle
        return self._last.handle

    def _on_message(self, message: Any) -> None:
        """Called from DeepStream's main loop."""
        if isinstance(message, self._maker.EOSMessage):
            self._ended = True
        elif isinstance(message, self._maker.StateTransitionMessage):
            if message.origin == PIPELINE and message.new_state == self._maker.PipelineState.PLAYING:
                self._outbox.put_plays()
        elif isinstance(message, self._maker.DynamicSourceMessage):
            pad, camera = message.source_id, message.sensor_id
            if message.source_added:
                self._sources.attach(pad, camera, self._rates.get(camera))
            else:
                self._sources.leave_pad(pad, camera)

    def _obey(self, commands: Iterable[Command]) -> None:
        changes = self._changes()
        for command in commands:
            if command.do == "stop":
                break
            if command.do == "label":
                self._labels.set(command.camera, command.track, command.text)
            elif command.do == "retune":
                self._rates[command.camera] = command.fps
                self._sources.retune(command.camera, command.fps)
            elif changes is not None:
                changes.ask(command)
        self.told_to_stop = True
        self._end()

    def _changes(self) -> CameraChanges | None:
        spec = self._spec
        if spec.rest is None:
            return None
        changes = CameraChanges(
            RestClient(spec.rest), self._sources, spec.uris, self._rates, give_up=self._give_up
        )
        threading.Thread(target=changes.run, name="cameras", daemon=True).start()
        return changes

    def _give_up(self, reason: str) -> None:
        """The parent starts another process, which begins with the cameras as they should be."""
        self._failure = reason
        self._end()

    def _end(self) -> None:
        self._on_stop()
        self._pipeline.stop()


def _operator(maker: ServiceMaker, handle: Handle, sources: PadSources) -> Any:
    """A probe as pyservicemaker takes it: an exception that left it could end the process."""
    failed = False

    class Operator(maker.BatchMetadataOperator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()

        def handle_metadata(self, batch_meta: BatchMeta) -> None:
            nonlocal failed
            try:
                handle(batch_meta)
            except Exception:  # DeepStream calls from C++, which knows no Python errors
                if not failed:
                    log.exception("a probe failed; the frame is lost")
                failed = True
                sources.count("", "probe_errors")

    return Operator()


def take_channel() -> int:
    """Take the command channel away from standard input, where DeepStream reads keys.

    service-maker's main loop looks at file descriptor 0 every 40 ms and reads a buffer of it with `fgetc`:
    it would swallow commands. It gets a pipe instead that stays open and empty; a closed one would be
    readable for ever. To be called before pyservicemaker is imported.

    Returns:
        The descriptor on which commands come.
    """
    channel = os.dup(0)
    keys, _never_written = os.pipe()
    os.dup2(keys, 0)
    os.close(keys)
    return channel


def _lines(file: int) -> Iterator[bytes]:
    """Lines as they come; a buffered reader's lock would abort the interpreter when it ends meanwhile."""
    rest = b""
    while chunk := os.read(file, 65536):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _exit_soon() -> None:
    """A pipeline that drops the end of its streams may never come back from `stop`.

    The kernel ends the process: `stop` may hold the interpreter while it waits for a probe that wants it.
    """
    signal.alarm(KILL_AFTER_S)


def main() -> int:
    """The process."""
    # Ctrl-C, a service manager's SIGTERM and a closed terminal reach the whole group: the parent decides.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="deepstream: %(message)s", stream=sys.stderr)
    lines = _lines(take_channel())
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
        if any(encoder.plugins for encoder in spec.encoders):
            # nvinfer opens libraries without asking them for their operators: they must be known before.
            plugin_library.load()
        run = ChildPipeline(
            spec,
            lambda parts: socket.send_multipart(parts, copy=False),
            maker=load_service_maker(),
            copier=CudaCopier(spec.gpu),
            on_stop=stop,
        )
        run(decoder.decode(line) for line in lines)
    except GaitstreamError as error:
        log.error("%s", error)
        _exit_soon()  # what DeepStream left running may not end by itself
        socket.close()
        context.term()
        os._exit(error.exit_code)
    if not run.told_to_stop:
        # What still lies in the socket would be lost with this process: the parent says when it has all.
        socket.send(END)
        stopped.wait(WAIT_S)
    socket.close()
    context.term()
    return 0


if __name__ == "__main__":
    sys.exit(main())
