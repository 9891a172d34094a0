"""The annotated pictures beside the analysis, for `--view`: encoded once, served over TCP.

Whoever connects sees the pictures, so the server listens on the loopback interface unless the configuration
says otherwise: nvrtspoutsinkbin and service-maker's own RTSP server take no address and listen on all of
them. Over a tunnel (`ssh -L 8554:127.0.0.1:8554 box`) any player opens `tcp://127.0.0.1:8554`.
"""

from __future__ import annotations

from math import ceil, sqrt

from gaitstream.config.schema import Config
from gaitstream.deepstream.elements import Node, PadLink, queue
from gaitstream.deepstream.table import Value

TILED = (1920, 1080)
"""Width and height of the picture that holds all cameras."""

BITRATE = 4_000_000
"""Bits per second."""

KEY_FRAMES = 30
"""A picture in so many can be looked at by itself: a viewer who connects waits for it."""

_NEXT_KEY_FRAME = 1
_KEY_FRAME = 3


def view_branches(config: Config, last: str, sink: Node, room: int) -> tuple[list[Node], list[PadLink]]:
    """The elements from the last one of the chain to the sink and to the viewers.

    Args:
        config: the site.
        last: name of the chain's last element.
        sink: where buffers end that nobody looks at.
        room: how many cameras there can be.

    Returns:
        The elements and their links. A slow viewer loses pictures, never the analysis.
    """
    gpu = config.deepstream.gpu
    leaky: dict[str, Value] = {"max-size-buffers": 2, "max-size-bytes": 0, "max-size-time": 0, "leaky": 2}
    columns = ceil(sqrt(room))
    tiler: dict[str, Value] = {
        "rows": ceil(room / columns),
        "columns": columns,
        "width": TILED[0],
        "height": TILED[1],
        "gpu-id": gpu,
    }
    encoder: dict[str, Value] = {
        "bitrate": BITRATE,
        "iframeinterval": KEY_FRAMES,
        "insert-sps-pps": True,
        "gpu-id": gpu,
    }
    server: dict[str, Value] = {
        "host": config.deepstream.view_address,
        "port": config.deepstream.view_port,
        "sync": False,
        "async": False,
        "sync-method": _NEXT_KEY_FRAME,
        "recover-policy": _KEY_FRAME,
    }
    viewed = [
        Node("queue", "queue-view", leaky),
        Node("nvmultistreamtiler", "tiler", tiler),
        Node("nvdsosd", "overlay", {"gpu-id": gpu, "process-mode": 1, "display-text": True}),
        Node("nvvideoconvert", "convert", {"gpu-id": gpu}),
        Node("nvv4l2h264enc", "encoder", encoder),
        Node("h264parse", "parser", {"config-interval": -1}),
        Node("mpegtsmux", "stream"),
        Node("tcpserversink", "view", server),
    ]
    links = [
        PadLink(last, "tee"),
        PadLink("tee", "queue-sink", "src_%u"),
        PadLink("queue-sink", sink.name),
        PadLink("tee", "queue-view", "src_%u"),
        PadLink("queue-view", "tiler"),
        PadLink("tiler", "overlay"),
        PadLink("overlay", "convert"),
        PadLink("convert", "encoder"),
        PadLink("encoder", "parser"),
        PadLink("parser", "stream", target_pad="sink_%d"),
        PadLink("stream", "view"),
    ]
    return [Node("tee", "tee"), queue("queue-sink"), sink, *viewed], links
