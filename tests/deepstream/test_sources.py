"""Cameras that come and go while frames are under way, and changes that DeepStream refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaitstream.deepstream.cameras import CameraChanges, RestClient
from gaitstream.deepstream.records import unpack
from gaitstream.deepstream.sources import MUXER_BUFFERS, PadSources
from gaitstream.deepstream.spec import Command
from gaitstream.errors import SourceError
from tests.deepstream import site, videos
from tests.deepstream.fake import pyservicemaker as fake
from tests.deepstream.rest_server import RestServer


def new_sources(*cameras: str) -> PadSources:
    sources = PadSources(1.0, 1)
    for pad, camera in enumerate(cameras):
        sources.attach(pad, camera, None)
    return sources


def owner(sources: PadSources, pad: int, number: int) -> str | None:
    """Whose frame comes out next on a pad; the number is remembered as the probe does."""
    source = sources.source(pad, number)
    if source is None:
        return None
    sources.restarted(source, number, number)
    return source.camera


def test_frames_under_way_stay_their_cameras() -> None:
    sources = new_sources("a", "b")
    for _ in range(10):
        sources.leave_muxer()
    for number in range(4):
        sources.come_out()
        assert owner(sources, 0, number) == "a"
    sources.leave("a")
    assert not sources.is_attached("a")
    for number in range(4, 10):
        sources.come_out()
        assert owner(sources, 0, number) == "a"
        assert sources.take_gone() == []
    for _ in range(MUXER_BUFFERS):
        sources.leave_muxer()
        sources.come_out()
        assert sources.take_gone() == []
    sources.leave_muxer()
    sources.come_out()
    assert sources.take_gone() == ["a"]
    assert owner(sources, 0, 11) is None


def test_a_pad_that_is_given_away_changes_hands_at_the_right_buffer() -> None:
    """Also when the message overtakes ten buffers, and nobody said that the first camera left."""
    sources = new_sources("a")
    for _ in range(10):
        sources.leave_muxer()
    sources.attach(0, "b", None)
    for number in range(10):
        sources.come_out()
        assert owner(sources, 0, number) == "a"
    for _ in range(3):
        sources.leave_muxer()
    sources.come_out()
    assert owner(sources, 0, 0) == "b"  # its stream begins anew
    assert sources.take_gone() == ["a"]
    sources.come_out()
    assert owner(sources, 0, 1) == "b"


def test_a_camera_that_comes_back_elsewhere_is_told_gone_before_its_first_frame() -> None:
    sources = new_sources("a", "b")
    sources.leave_muxer()
    sources.come_out()
    assert owner(sources, 0, 0) == "a"
    sources.leave("a")
    sources.attach(2, "a", None)
    sources.leave_muxer()
    sources.come_out()
    assert owner(sources, 2, 0) == "a"
    assert sources.take_gone() == ["a"]
    for _ in range(2 * MUXER_BUFFERS):
        sources.leave_muxer()
        sources.come_out()
    assert sources.take_gone() == []
    assert sources.is_attached("a")


def test_a_removal_that_is_told_late_does_not_hit_the_next_camera() -> None:
    sources = new_sources("a")
    sources.attach(0, "b", None)
    sources.leave_pad(0, "a")
    assert sources.is_attached("b")


@pytest.mark.parametrize("announced", [True, False])
def test_the_end_of_a_file_is_kept_though_its_removal_is_told_first(
    announced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepStream tells of the removal while the last batches wait in the queues."""
    monkeypatch.setattr(fake.Pipeline, "busy_s", 0.01)
    steps: list[Any] = videos.walk(30)
    if announced:
        steps += [fake.Message(False, 0, "north"), fake.Message(False, 1, "south")]
    messages, _ = site.play(videos.make_config(tmp_path), videos.make_plan(), steps, site.HostCopier())
    batches = [unpack([bytes(part) for part in parts])[0] for parts in messages]
    frames = [frame for batch in batches for frame in batch.frames]
    assert [frame.index for frame in frames] == list(range(30))
    assert {person.track for frame in frames for person in frame.persons} == {1}
    assert not [batch for batch in batches if "unknown_source" in batch.counters.get("", {})]


def test_two_frames_of_a_camera_in_one_batch_are_two_frames(tmp_path: Path) -> None:
    steps: list[Any] = videos.walk(20)
    pairs = [fake.Batch([*a.frames, *b.frames]) for a, b in zip(steps[::2], steps[1::2], strict=True)]
    boxes = [batch.frames[0].persons[0].rect[0] for batch in steps]
    messages, _ = site.play(videos.make_config(tmp_path), videos.make_plan(), pairs, site.HostCopier())
    batches = [unpack([bytes(part) for part in parts]) for parts in messages]
    frames = [frame for batch, _ in batches for frame in batch.frames]
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.persons[0].box[0] for frame in frames] == pytest.approx([box / 2 for box in boxes])
    assert all(len(arrays[0]) == 2 for _, arrays in batches)
    assert all("id_resets" not in batch.counters.get("north", {}) for batch, _ in batches)


def test_probes_run_on_threads_of_their_own_and_copying_holds_no_encoder(tmp_path: Path) -> None:
    site.play(videos.make_config(tmp_path), videos.make_plan(), videos.walk(5), site.HostCopier())
    assert fake.Pipeline.last is not None
    threads = fake.Pipeline.last.threads
    assert all(len(one) == 1 for one in threads.values())
    assert threads["queue-copy"] != threads["tracker"] != threads["cameras"]
    encoder = [name for name in fake.Pipeline.last.nodes if name.startswith("encoder")]
    assert "copy-queue-copy" in [probe.name for probe in fake.Pipeline.last.probes["queue-copy"]]
    assert not any(name in fake.Pipeline.last.probes for name in encoder[-1:])


# Changes through the REST server.


class Site:
    """A server, who listens to its messages, and the changes under test; buffers flow all the time."""

    def __init__(self, *cameras: str, room: int = 8) -> None:
        self.sources = new_sources(*cameras)
        uris = {camera: f"rtsp://h/{camera}" for camera in cameras}
        self.server = RestServer(self.tell, uris, room)
        self.given_up: list[str] = []
        self.rates: dict[str, float | None] = {}
        self.late: list[threading.Timer] = []
        self.changes = CameraChanges(
            RestClient(self.server.address),
            self.sources,
            uris,
            self.rates,
            self.given_up.append,
            sleep=lambda seconds: None,
        )
        self.over = threading.Event()

    def tell(self, added: bool, pad: int, camera: str) -> None:
        """From another thread, and later than the answer to the call."""

        def later() -> None:
            if added:
                self.sources.attach(pad, camera, self.rates.get(camera))
            else:
                self.sources.leave_pad(pad, camera)

        timer = threading.Timer(0.05, later)
        timer.start()
        self.late.append(timer)

    def flow(self) -> None:
        while not self.over.wait(0.002):
            self.sources.leave_muxer()
            self.sources.come_out()


@pytest.fixture
def running() -> Iterator[Any]:
    sites: list[Site] = []

    def start(*cameras: str, room: int = 8) -> Site:
        one = Site(*cameras, room=room)
        one.server.__enter__()
        threading.Thread(target=one.flow, daemon=True).start()
        sites.append(one)
        return one

    yield start
    for one in sites:
        one.over.set()
        for timer in one.late:
            timer.join()
        one.server.__exit__()


def add(camera: str, uri: str = "", fps: float | None = None) -> Command:
    return Command(do="add", camera=camera, uri=uri or f"rtsp://h/{camera}", fps=fps)


def remove(camera: str) -> Command:
    return Command(do="remove", camera=camera, uri="rtsp://h/other")


def test_cameras_are_added_and_removed_one_after_the_other(running: Any) -> None:
    here = running("a", "b", room=2)
    here.changes.change(remove("b"))
    assert not here.sources.is_attached("b")
    here.changes.change(add("c", fps=5.0))
    assert here.sources.is_attached("c")
    assert here.rates == {"c": 5.0}
    assert [camera for camera, _ in here.server.pads.values()] == ["a", "c"]
    assert here.given_up == []


def test_a_camera_that_moves_is_removed_by_the_url_it_was_added_with(running: Any) -> None:
    here = running("a")
    for uri in ("rtsp://h/new", "rtsp://h/newer"):
        here.changes.change(remove("a"))
        here.changes.change(add("a", uri))
        assert list(here.server.pads.values()) == [("a", uri)]
    assert here.given_up == []


@pytest.mark.parametrize(("path", "times"), [("remove", 2), ("add", 3)])
def test_refusals_are_tried_again(path: str, times: int, running: Any) -> None:
    here = running("a", "b")
    here.server.refuse[f"/api/v1/stream/{path}"] = times
    here.changes.change(remove("a"))
    here.changes.change(add("a"))
    assert here.sources.is_attached("a")
    assert here.given_up == []


def test_a_camera_that_cannot_be_removed_keeps_its_pad_and_asks_for_another_process(running: Any) -> None:
    here = running("a", "b")
    here.server.refuse["/api/v1/stream/remove"] = 100
    here.changes.change(remove("a"))
    assert here.sources.is_attached("a")
    assert owner(here.sources, 0, 0) == "a"
    assert len(here.given_up) == 1
    assert here.sources.take_counters()["a"]["remove_failed"] == 1


def test_a_camera_that_left_by_itself_can_be_brought_back(running: Any) -> None:
    here = running("a", "b")
    del here.server.pads[0]
    here.sources.leave_pad(0, "a")
    here.changes.change(remove("a"))
    here.changes.change(add("a"))
    assert here.sources.is_attached("a")
    assert here.given_up == []


def test_a_removal_is_done_when_the_last_frame_has_come_out() -> None:
    """DeepStream gives the pad away at the next addition: frames under way would be the next camera's."""
    sources, uris = new_sources("a", "b"), {"a": "rtsp://h/a", "b": "rtsp://h/b"}
    with RestServer(lambda *_: None, uris) as server:
        changes = CameraChanges(RestClient(server.address), sources, uris, {}, list[str]().append)
        for _ in range(3):
            sources.leave_muxer()
        removing = threading.Thread(target=changes.change, args=(remove("b"),))
        removing.start()
        while sources.is_attached("b"):
            removing.join(0.01)
        for number in range(3 + MUXER_BUFFERS):
            sources.leave_muxer()
            sources.come_out()
            assert owner(sources, 1, number) == "b"
            assert removing.is_alive()
        for _ in range(2):
            sources.come_out()
        removing.join(2.5)
        assert not removing.is_alive()
        assert owner(sources, 1, 20) is None


def test_without_a_server_another_process_is_asked_for() -> None:
    given_up: list[str] = []
    changes = CameraChanges(
        RestClient("127.0.0.1:1"), new_sources("a"), {}, {}, given_up.append, sleep=lambda seconds: None
    )
    changes.change(add("d"))
    assert len(given_up) == 1


def test_the_client_tells_no_password() -> None:
    with RestServer(lambda *_: None, {"door": "rtsp://u:hunter2@h/1"}) as server:
        client = RestClient(server.address)
        client.remove("door", "rtsp://u:hunter2@h/1")
        client.add("door", "rtsp://u:hunter2@h/1")
        (gone, removed), (came, added) = server.calls
        assert (gone, came) == ("/api/v1/stream/remove", "/api/v1/stream/add")
        assert added["key"] == "sensor"
        assert added["value"]["camera_id"] == "door"
        assert "add" in added["value"]["change"]
        assert "remove" in removed["value"]["change"]
        with pytest.raises(SourceError, match="status 500") as refused:
            client.add("door", "rtsp://u:hunter2@h/1")
        assert "hunter2" not in str(refused.value)
    with pytest.raises(SourceError, match="door"):
        RestClient("127.0.0.1:1").add("door", "rtsp://h/1")
