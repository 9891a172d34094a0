"""The annotated pictures: on loopback unless told otherwise, and what serves them is the real thing."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaitstream.deepstream import table
from gaitstream.deepstream.elements import Graph
from gaitstream.deepstream.graph import build_graph

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).parent / "gst_view.py"
STOCK = ("h264parse", "mpegtsmux", "tcpserversink")
"""Elements of the view that are GStreamer's own."""


@pytest.fixture(scope="module")
def gstreamer() -> None:
    check = 'import gi; gi.require_version("Gst", "1.0")'
    if subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True).returncode:
        pytest.skip("GStreamer's Python is not here (python3-gi, gir1.2-gst-rtsp-server-1.0)")


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def viewed(site: Any, plan: Any, **options: Any) -> Graph:
    return build_graph(site(deepstream=options), plan, Path("/out"), view=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::"])
def test_viewers_reach_one_address(address: str, site: Any, plan: Any) -> None:
    given = {} if address == "127.0.0.1" else {"view_address": address}
    graph = viewed(site, plan, view_port=8600, **given)
    view = graph.node("view").properties
    assert (view["host"], view["port"]) == (address, 8600)
    # Nothing else listens: these take no address and listen everywhere.
    assert not {node.kind for node in graph.nodes} & {"nvrtspoutsinkbin", "udpsink", "rtspclientsink"}


@pytest.mark.parametrize("address", ["localhost; rm", "8554", "", "999.1.1.1", ":::"])
def test_an_address_is_an_address(address: str, site: Any) -> None:
    with pytest.raises(ValueError, match="view_address"):
        site(deepstream={"view_address": address})


def test_labels_are_written_before_the_picture_is_drawn(site: Any, plan: Any) -> None:
    """The probe that writes them hangs on the queue in front of the tee."""
    graph = viewed(site, plan)
    assert ("queue-copy", "copy") in graph.probes
    assert [link.target for link in graph.links if link.source == "queue-copy"] == ["tee"]


def test_the_table_says_what_gstreamer_says(gstreamer: None) -> None:
    found = json.loads(subprocess.check_output([SYSTEM_PYTHON, SCRIPT, "list", *STOCK], text=True))
    for kind in STOCK:
        own = table.load()["elements"][kind]
        assert set(own["pads"]) <= set(found[kind]["pads"])
        for key, rule in own["properties"].items():
            assert {k: found[kind]["properties"][key].get(k) for k in rule} == rule, f"{kind}.{key}"


@pytest.fixture
def served(gstreamer: None, port: int, site: Any, plan: Any) -> Iterator[int]:
    graph = viewed(site, plan, view_port=port)
    nodes = [(n.kind, n.name, n.properties) for n in graph.nodes if n.kind in STOCK]
    assert len(nodes) == len(STOCK)
    command = [SYSTEM_PYTHON, str(SCRIPT), "play", json.dumps(nodes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield port
        process.kill()


def test_a_player_sees_pictures_and_others_reach_nothing(served: int) -> None:
    import av

    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    places = {line.split()[1] for line in listening.splitlines() if line.split()[3] == "0A"}
    assert [place for place in places if place.endswith(f":{served:04X}")] == [f"0100007F:{served:04X}"]
    with av.open(f"tcp://127.0.0.1:{served}", timeout=10) as stream:
        frames = [frame for _, frame in zip(range(10), stream.decode(video=0), strict=False)]
    assert [(frame.width, frame.height) for frame in frames] == [(320, 240)] * 10


def test_a_viewer_who_stops_looking_holds_nobody_up(served: int) -> None:
    """A second one, who reads, is served on."""
    import av

    with socket.create_connection(("127.0.0.1", served)):
        time.sleep(1)
        with av.open(f"tcp://127.0.0.1:{served}", timeout=10) as stream:
            assert len([1 for _ in zip(range(30), stream.decode(video=0), strict=False)]) == 30
