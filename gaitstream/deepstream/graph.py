r"""The DeepStream graph as data: elements with properties, links, and where probes hang.

    cameras -> detector -> tracker -> encoder(s) -> sink
                                         \-> tiler -> overlay -> RTSP        (with a view)

Nothing here imports DeepStream: the same value is checked against the table, written to files, drawn, and
handed to pyservicemaker.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from math import ceil, sqrt
from pathlib import Path

from gaitstream.config.schema import Camera, Config, DeepStream
from gaitstream.deepstream.plan import Plan
from gaitstream.deepstream.table import Value, check_pad, check_property
from gaitstream.errors import ConfigError

TRACKER_LIBRARY = "/opt/nvidia/deepstream/deepstream/lib/libnvds_nvmultiobjecttracker.so"
TRACKER_FILE = "tracker.yml"
SOURCE = "cameras"
TRACKER = "tracker"
DETECTOR = "detector"
DETECTED = "queue-tracker"
COPY = "queue-copy"
VIEW_MOUNT = "/gaitstream"

DETECTOR_ID = 1
FIRST_ENCODER_ID = 2

_SCHEMES = ("rtsp", "rtsps", "http", "https", "file")
_TILED = (1920, 1080)


@dataclass(frozen=True)
class Node:
    """One element."""

    kind: str
    """Its GStreamer factory."""
    name: str
    properties: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """From one element to the next; a pad is named where it has to be requested."""

    source: str
    target: str
    source_pad: str = ""
    target_pad: str = ""


@dataclass(frozen=True)
class Graph:
    """Elements and links in order of flow."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    probes: tuple[tuple[str, str], ...]
    """Element name and what hangs on its source pad: `muxer`, `detection`, `crop`, `next`, `copy`."""

    def node(self, name: str) -> Node:
        """The element of that name."""
        return {node.name: node for node in self.nodes}[name]

    def problems(self) -> list[str]:
        """What DeepStream would not accept, or silently ignore; empty when nothing."""
        found = [p for n in self.nodes for k, v in n.properties.items() for p in check_property(n.kind, k, v)]
        kinds = {node.name: node.kind for node in self.nodes}
        for link in self.links:
            found += check_pad(kinds[link.source], link.source_pad) if link.source_pad else []
            found += check_pad(kinds[link.target], link.target_pad) if link.target_pad else []
        return found


def encoder_name(kind: str) -> str:
    """Name of an encoder's element."""
    return f"encoder-{kind}"


def nvinfer_file(name: str) -> str:
    """Name of an nvinfer element's configuration file."""
    return f"{name}.txt"


def uri_of(camera: Camera) -> str:
    """The camera's URL as DeepStream takes it, credentials included.

    Raises:
        ConfigError: DeepStream cannot read this source, or the URL has a comma, which separates URLs.
    """
    text = camera.url.reveal()
    if not camera.url.scheme:
        path = Path(text)
        if not path.is_file():
            raise ConfigError(
                f"camera {camera.id}: the GPU front end reads video files and {', '.join(_SCHEMES)} URLs, "
                f"not {str(camera.url)!r}; use --frontend native for devices and folders"
            )
        text = path.resolve().as_uri()
    elif camera.url.scheme not in _SCHEMES:
        raise ConfigError(
            f"camera {camera.id}: the GPU front end cannot read {camera.url.scheme}:// "
            f"({', '.join(_SCHEMES)} are possible); use --frontend native"
        )
    if "," in text:
        raise ConfigError(
            f"camera {camera.id}: a comma in the URL separates cameras in DeepStream; write %2C"
        )
    return text


def enabled(config: Config) -> list[Camera]:
    """The cameras to read, in the order of the file."""
    return [camera for camera in config.cameras if camera.enabled]


def slots_of(config: Config) -> int:
    """How many cameras the muxer has room for; fixed for the life of the pipeline."""
    count = len(enabled(config))
    room = config.deepstream.max_cameras
    if room is None:
        return max(2 * count, 4)
    if room < count:
        raise ConfigError(f"deepstream.max_cameras is {room}, but {count} cameras are enabled; raise it")
    return room


def build_graph(config: Config, plan: Plan, folder: Path, *, view: bool = False) -> Graph:
    """Derive the graph.

    Args:
        config: the site.
        plan: its models.
        folder: where the configuration files of nvinfer and the tracker will lie.
        view: add the annotated RTSP stream.

    Raises:
        ConfigError: something cannot be run on DeepStream, or a value is outside what it accepts.
    """
    gpu = config.deepstream.gpu
    names = [encoder_name(encoder.kind) for encoder in plan.encoders]
    chain = [
        Node("nvmultiurisrcbin", SOURCE, _source(config)),
        _queue("queue-detector"),
        _nvinfer(DETECTOR, folder, DETECTOR_ID, plan.detector.batch, gpu),
        _queue(DETECTED),
        Node("nvtracker", TRACKER, _tracker(config, folder)),
    ]
    for number, (name, encoder) in enumerate(zip(names, plan.encoders, strict=True)):
        chain += [
            _queue(f"queue-{encoder.kind}"),
            _nvinfer(name, folder, FIRST_ENCODER_ID + number, encoder.batch, gpu),
        ]
    sink = Node(
        "fakesink", "sink", {"sync": False, "async": False, "qos": False, "enable-last-sample": False}
    )
    # Features are copied out in this queue's thread: the last encoder's goes on meanwhile.
    chain.append(_queue(COPY))
    if not view:
        chain.append(sink)
    links = [Link(a.name, b.name) for a, b in itertools.pairwise(chain)]
    nodes = list(chain)
    if view:
        more, branches = _view(config, chain[-1].name, sink)
        nodes += more
        links += branches
    # Each probe sits on the source pad of the element before the one that is concerned.
    probes = [
        (SOURCE, "muxer"),
        (DETECTED, "detection"),
        (TRACKER, "crop"),
        *((name, "next") for name in names[:-1]),
        (COPY, "copy"),
    ]
    graph = Graph(tuple(nodes), tuple(links), tuple(probes))
    if problems := graph.problems():
        raise ConfigError("this configuration does not fit DeepStream 9.1:\n" + "\n".join(problems))
    return graph


def _source(config: Config) -> dict[str, Value]:
    options: DeepStream = config.deepstream
    cameras = enabled(config)
    files = all(uri_of(camera).startswith("file:") for camera in cameras)
    tcp_only = all(camera.transport == "tcp" for camera in cameras)
    return {
        "uri-list": ",".join(uri_of(camera) for camera in cameras),
        "sensor-id-list": ",".join(camera.id for camera in cameras),
        "sensor-name-list": ",".join(camera.id for camera in cameras),
        "max-batch-size": slots_of(config),
        "port": options.rest or "0",
        "gpu-id": options.gpu,
        "width": options.width,
        "height": options.height,
        # A live muxer never waits longer for a slow camera than one frame of the others.
        "live-source": not files,
        "batched-push-timeout": round(1e6 / min(options.source_fps, _fastest(config))),
        "drop-pipeline-eos": not files,
        "async-handling": True,
        "attach-sys-ts": options.clock == "arrival",
        "drop-frame-interval": _keep_every(config),
        "select-rtp-protocol": 4 if tcp_only else 7,
        "latency": options.latency_ms,
        "rtsp-reconnect-interval": options.reconnect_s,
        "init-rtsp-reconnect-interval": options.reconnect_s,
        "rtsp-reconnect-attempts": -1,
        "file-loop": files and all(camera.loop for camera in cameras),
        "disable-audio": True,
    }


def _fastest(config: Config) -> float:
    """Highest rate at which a camera is analysed; a camera without one counts with what it sends."""
    return max(camera.fps or config.deepstream.source_fps for camera in enabled(config))


def _keep_every(config: Config) -> int:
    """The decoder hands on every n-th frame; what a slower camera still has too many is skipped later."""
    every = int(config.deepstream.source_fps / _fastest(config) + 1e-6)
    return 0 if every < 2 else min(every, 30)


def _tracker(config: Config, folder: Path) -> dict[str, Value]:
    return {
        "ll-lib-file": TRACKER_LIBRARY,
        "ll-config-file": str(folder / TRACKER_FILE),
        "tracker-width": 960,
        "tracker-height": 544,
        "gpu-id": config.deepstream.gpu,
        # After a stream starts anew, its people get new ids: an old id never means somebody else.
        "tracking-id-reset-mode": 1,
        "display-tracking-id": False,
    }


def _nvinfer(name: str, folder: Path, number: int, batch: int, gpu: int) -> Node:
    properties: dict[str, Value] = {
        "config-file-path": str(folder / nvinfer_file(name)),
        "unique-id": number,
        "batch-size": batch,
        "gpu-id": gpu,
    }
    return Node("nvinfer", name, properties)


def _queue(name: str) -> Node:
    """A thread boundary that holds a few batches; by bytes and time there is no limit."""
    return Node("queue", name, {"max-size-buffers": 4, "max-size-bytes": 0, "max-size-time": 0})


def _view(config: Config, last: str, sink: Node) -> tuple[list[Node], list[Link]]:
    """The annotated stream beside the analysis; a slow viewer loses pictures, never the analysis."""
    gpu = config.deepstream.gpu
    columns = ceil(sqrt(slots_of(config)))
    leaky: dict[str, Value] = {"max-size-buffers": 2, "max-size-bytes": 0, "max-size-time": 0, "leaky": 2}
    tiler: dict[str, Value] = {
        "rows": ceil(slots_of(config) / columns),
        "columns": columns,
        "width": _TILED[0],
        "height": _TILED[1],
        "gpu-id": gpu,
    }
    rtsp: dict[str, Value] = {
        "rtsp-port": config.deepstream.view_port,
        "rtsp-mount-point": VIEW_MOUNT,
        "sync": False,
        "gpu-id": gpu,
    }
    branch = [
        Node("queue", "queue-view", leaky),
        Node("nvmultistreamtiler", "tiler", tiler),
        Node("nvdsosd", "overlay", {"gpu-id": gpu, "process-mode": 1, "display-text": True}),
        Node("nvrtspoutsinkbin", "view", rtsp),
    ]
    links = [
        Link(last, "tee"),
        Link("tee", "queue-sink", "src_%u"),
        Link("queue-sink", sink.name),
        Link("tee", "queue-view", "src_%u"),
        Link("queue-view", "tiler"),
        Link("tiler", "overlay"),
        Link("overlay", "view", target_pad="vsink"),
    ]
    return [Node("tee", "tee"), _queue("queue-sink"), sink, *branch], links
