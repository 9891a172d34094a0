r"""The DeepStream graph as data: elements with properties, links, and where probes hang.

    cameras -> detector -> tracker -> encoder(s) -> sink
                                         \-> tiler -> overlay -> viewers     (with a view)

Nothing here imports DeepStream: the same value is checked against the table, written to files, drawn, and
handed to pyservicemaker.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from gaitstream.config.camera_sections import Camera
from gaitstream.config.deepstream_section import MOST_CAMERAS, DeepStream
from gaitstream.config.fields import share_port
from gaitstream.config.schema import Config
from gaitstream.deepstream.elements import Graph, Node, PadLink, queue
from gaitstream.deepstream.plan import Plan
from gaitstream.deepstream.table import Value
from gaitstream.deepstream.view import view_branches
from gaitstream.errors import ConfigError

TRACKER_LIBRARY = "/opt/nvidia/deepstream/deepstream/lib/libnvds_nvmultiobjecttracker.so"
TRACKER_FILE = "tracker.yml"
SOURCE = "cameras"
TRACKER = "tracker"
DETECTOR = "detector"
DETECTED = "queue-tracker"
COPY = "queue-copy"

DETECTOR_ID = 1
FIRST_ENCODER_ID = 2

_URLS = ("rtsp", "rtsps", "http", "https")
_SCHEMES = (*_URLS, "file")


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
                f"camera {camera.id}: the GPU front end reads video files and {', '.join(_URLS)} URLs, "
                f"not {str(camera.url)!r}; use --frontend native for devices and folders"
            )
        text = path.resolve().as_uri()
    elif camera.url.scheme not in _SCHEMES:
        raise ConfigError(
            f"camera {camera.id}: the GPU front end cannot read {camera.url.scheme}:// "
            f"({', '.join(_URLS)} and paths of video files are possible); use --frontend native"
        )
    else:  # a scheme has no case, which whoever compares letters does not know
        text = camera.url.scheme + text[len(camera.url.scheme) :]
    if "," in text:
        raise ConfigError(
            f"camera {camera.id}: a comma in the URL separates cameras in DeepStream; write %2C"
        )
    return text


def enabled(config: Config) -> list[Camera]:
    """The cameras to read, in the order of the file."""
    return [camera for camera in config.cameras if camera.enabled]


def require_cameras(config: Config) -> None:
    """See that a camera is enabled.

    Raises:
        ConfigError: none is.
    """
    if not enabled(config):
        raise ConfigError("no camera is enabled: set enabled: true on one")


def is_file(camera: Camera) -> bool:
    """Whether a camera is a file, which ends."""
    return camera.url.scheme in ("", "file")


def loops(cameras: Sequence[Camera]) -> bool:
    """Whether files start again at their ends: all of a process, or none."""
    return all(camera.loop and is_file(camera) for camera in cameras)


def reconnects(camera: Camera) -> bool:
    """Whether DeepStream connects a camera again: nvurisrcbin knows `rtsp://` alone (its `change_state`)."""
    return camera.url.scheme == "rtsp"


def room_for_cameras(config: Config) -> int:
    """How many cameras the muxer has room for; fixed for the life of the pipeline.

    It is the size of its batches, too: those of a live muxer that are never full wait for their timeout.
    """
    count = len(enabled(config))
    room = config.deepstream.max_cameras
    if count > MOST_CAMERAS:
        raise ConfigError(
            f"{count} cameras are enabled, and one process of DeepStream takes {MOST_CAMERAS} at most; run "
            "the others in a second one, by a cams.yaml of their own"
        )
    if room is None:
        return count
    if room < count:
        raise ConfigError(f"deepstream.max_cameras is {room}, but {count} cameras are enabled; raise it")
    return room


def check_cameras(config: Config) -> None:
    """See whether one process of DeepStream can read all enabled cameras.

    Raises:
        ConfigError: it cannot read one of them, or there is no room for all.
    """
    for camera in enabled(config):
        uri_of(camera)
    room_for_cameras(config)


def check_ports(config: Config, *, view: bool) -> None:
    """See that DeepStream listens where nothing else of the run does.

    Args:
        config: the site.
        view: the annotated pictures are offered, too.

    Raises:
        ConfigError: two things are to listen at one port.
    """
    options, metrics = config.deepstream, config.metrics
    places = {f"events.{key}": address for key, address in config.events.listens_at.items()}
    if metrics.port is not None:
        places["metrics.port"] = f"{metrics.host}:{metrics.port}"
    if view:
        places["deepstream.view_port"] = f"{options.view_address}:{options.view_port}"
    if options.rest is not None:
        places["deepstream.rest"] = options.rest
    for (one, here), (other, there) in itertools.combinations(places.items(), 2):
        if other.startswith("deepstream.") and share_port(here, there):
            raise ConfigError(f"{other}: {there.rpartition(':')[2]} is the port of {one}; give another one")


def build_graph(config: Config, plan: Plan, folder: Path, *, view: bool = False) -> Graph:
    """Derive the graph.

    Args:
        config: the site.
        plan: its models.
        folder: where the configuration files of nvinfer and the tracker will lie.
        view: add the annotated pictures.

    Raises:
        ConfigError: something cannot be run on DeepStream, or a value is outside what it accepts.
    """
    require_cameras(config)
    check_ports(config, view=view)
    gpu = config.deepstream.gpu
    names = [encoder_name(encoder.name) for encoder in plan.encoders]
    chain = [
        Node("nvmultiurisrcbin", SOURCE, _source(config)),
        queue("queue-detector"),
        _nvinfer(DETECTOR, folder, DETECTOR_ID, plan.detector.batch, gpu),
        queue(DETECTED),
        Node("nvtracker", TRACKER, _tracker(config, folder)),
    ]
    for number, (name, encoder) in enumerate(zip(names, plan.encoders, strict=True)):
        chain += [
            queue(f"queue-{name}"),
            _nvinfer(name, folder, FIRST_ENCODER_ID + number, encoder.batch, gpu),
        ]
    sink = Node(
        "fakesink", "sink", {"sync": False, "async": False, "qos": False, "enable-last-sample": False}
    )
    # Features are copied out in this queue's thread: the last encoder's goes on meanwhile.
    chain.append(queue(COPY))
    if not view:
        chain.append(sink)
    links = [PadLink(a.name, b.name) for a, b in itertools.pairwise(chain)]
    nodes = list(chain)
    if view:
        more, branches = view_branches(config, chain[-1].name, sink, room_for_cameras(config))
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
        "max-batch-size": room_for_cameras(config),
        "port": options.rest or "0",
        "gpu-id": options.gpu,
        "width": options.width,
        "height": options.height,
        "live-source": not files,
        "batched-push-timeout": _push_timeout_us(config),
        "drop-pipeline-eos": not files,
        "async-handling": True,
        "attach-sys-ts": options.clock == "arrival",
        "drop-frame-interval": _keep_every(config),
        "select-rtp-protocol": 4 if tcp_only else 7,
        "latency": options.latency_ms,
        "rtsp-reconnect-interval": options.reconnect_s,
        "init-rtsp-reconnect-interval": options.reconnect_s,
        "rtsp-reconnect-attempts": -1,
        "file-loop": loops(cameras),
        "disable-audio": True,
    }


def _fastest(config: Config) -> float:
    """Highest rate at which a camera is analysed; a camera without one counts with what it sends."""
    return max(camera.fps or config.deepstream.source_fps for camera in enabled(config))


def _keep_every(config: Config) -> int:
    """The decoder hands on every n-th frame; what a slower camera still has too many is skipped later."""
    every = int(config.deepstream.source_fps / _fastest(config) + 1e-6)
    return 0 if every < 2 else min(every, 30)


def _push_timeout_us(config: Config) -> int:
    """How long a batch waits for a camera that is late: a quarter of the time between decoded frames."""
    decoded_fps = config.deepstream.source_fps / max(_keep_every(config), 1)
    return max(int(1e6 / decoded_fps / 4), 1)


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
