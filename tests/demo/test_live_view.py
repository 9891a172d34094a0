"""The live page, asked by a real HTTP client."""

import socket
import threading
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from gaitstream.data import Frame, Status
from gaitstream.demo.live_view import Viewer, open_browser
from gaitstream.errors import ConfigError


def frame(index: int) -> Frame:
    return Frame("cam1", index, index, np.full((90, 160, 3), 40 + index, np.uint8))


def test_the_page_shows_every_camera_and_streams_pictures() -> None:
    with Viewer(["cam1", "cam2"]) as viewer:
        assert viewer.url.startswith("http://127.0.0.1:")
        page = urllib.request.urlopen(viewer.url, timeout=10).read().decode()
        assert 'src="/cam1"' in page
        assert 'src="/cam2"' in page
        assert "b.unknown { background: rgb(127 171 245); }" in page
        for status in Status:
            assert f'<b class="{status.value}">' in page
        with urllib.request.urlopen(viewer.url + "cam1", timeout=10) as stream:
            assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
            stop = threading.Event()

            def feed() -> None:
                index = 0
                while not stop.wait(0.02):
                    index += 1
                    viewer.on_frame(frame(index), (), {})

            feeder = threading.Thread(target=feed)
            feeder.start()
            try:
                for _ in range(2):
                    assert stream.readline() == b"--frame\r\n"
                    assert stream.readline() == b"Content-Type: image/jpeg\r\n"
                    size = int(stream.readline().split(b":")[1])
                    stream.readline()
                    data = stream.read(size)
                    picture = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
                    assert picture is not None
                    assert picture.shape == (90, 160, 3)
                    stream.readline()
            finally:
                stop.set()
                feeder.join()


def test_the_server_looks_up_no_name_and_ends_with_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str = "") -> str:
        raise AssertionError(f"looked up {name}")

    monkeypatch.setattr(socket, "getfqdn", refuse)
    with Viewer(["cam1"]) as viewer:
        assert urllib.request.urlopen(viewer.url + "running", timeout=10).status == 204
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(viewer.url, timeout=10)


@pytest.mark.parametrize("port", [0, 70000])
def test_a_port_that_cannot_be_had_is_explained(port: int) -> None:
    with Viewer(["cam1"]) as first:
        taken = port or int(first.url.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(ConfigError, match=f"port {taken}.*--port"):
            Viewer(["cam1"], taken)


def test_without_a_display_no_browser_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def note(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", note)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not open_browser("http://127.0.0.1:1/")
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_browser("http://127.0.0.1:1/")
    assert opened == ["http://127.0.0.1:1/"]


def test_an_unknown_camera_is_not_found() -> None:
    with Viewer(["cam1"]) as viewer, pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(viewer.url + "cam9", timeout=10)
    assert error.value.code == 404


def test_nothing_is_drawn_for_nobody() -> None:
    with Viewer(["cam1"]) as viewer:
        viewer.on_frame(frame(1), (), {})
        assert viewer._frames._moments == {}
