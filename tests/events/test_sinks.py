"""Events on their way out: a real MQTT broker, an HTTP server that fails, librdkafka's own cluster."""

from __future__ import annotations

import ctypes
import hmac
import http.server
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gaitstream.errors import ConfigError
from gaitstream.events import (
    CameraOffline,
    CameraOnline,
    Event,
    GalleryChanged,
    IdentityDecided,
    Journal,
    decode,
)
from gaitstream.events.follower import Follower
from gaitstream.events.segment import Record
from gaitstream.events.sinks.base import NotNowError, Pump
from gaitstream.events.sinks.kafka import Kafka
from gaitstream.events.sinks.mqtt import Mqtt, Topics
from gaitstream.events.sinks.webhook import Webhook, sign
from tests.events.wiring import bus, online


def known(number: int, person: str = "Ada", camera: str = "gate") -> IdentityDecided:
    return IdentityDecided(
        time_ns=number, camera=camera, track=number, status="known", person=person, person_id=f"p-{person}",
        distance=0.5,
    )  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    folder = tmp_path / "journal"
    publish(folder, [online(1, "gate"), *[known(number) for number in range(2, 12)]])
    return folder


def publish(folder: Path, events: list[Event]) -> None:
    with bus(folder, sync="never") as publisher:
        for event in events:
            publisher.publish(event)


RETRY_AFTER = {429: "7", 504: "0"}


class Server(http.server.ThreadingHTTPServer):
    """Answers with the next of `answers`, then with 200; keeps what was posted."""

    def __init__(self, answers: list[int | str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.taken: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.asked = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?token=t"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer == "slow":
            self.server.asked.set()
            answer = 200
            time.sleep(0.5)
        if answer == "in pieces":
            self.server.taken.append(msgspec.json.decode(body))
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (100_000, bytes(100_000)))
            return
        if answer == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if answer == 200:
            self.server.taken.append(msgspec.json.decode(body))
            self.server.headers.append(self.headers)
            self.server.paths.append(self.path)
            self.server.bodies.append(body)
        self.send_response(int(answer))
        if answer in RETRY_AFTER:
            self.send_header("Retry-After", RETRY_AFTER[answer])
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def start(*answers: int | str) -> Server:
        server = Server(list(answers))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_webhook_gets_every_event_once_in_order_and_signed(journal: Path, serve: Any) -> None:
    server = serve()
    pump = Pump(Follower(journal), Webhook(server.url, b"secret"))
    pump.run(once=True)
    assert [event["time_ns"] for event in server.taken] == list(range(1, 12))
    for headers, body in zip(server.headers, server.bodies, strict=True):
        expected = sign(b"secret", headers["X-Gaitstream-Timestamp"], body)
        assert hmac.compare_digest(headers["X-Gaitstream-Signature"], expected)
        assert headers["X-Gaitstream-Id"] == msgspec.json.decode(body)["event_id"]
    assert sign(b"other", "1", b"{}") != sign(b"secret", "1", b"{}")


def test_a_webhook_that_fails_is_tried_again_and_what_it_refuses_is_left_out(
    journal: Path, serve: Any, tmp_path: Path
) -> None:
    server = serve(200, 500, "hang up", "hang up", 503, 200, 429, 200, 400, 200)
    pauses: list[float] = []
    cursor = tmp_path / "cursor"
    pump = Pump(Follower(journal, cursor=cursor), Webhook(server.url), pause=pauses.append)
    pump.run(once=True)
    assert [event["time_ns"] for event in server.taken] == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert (pump.passed, pump.refused, pump.retries) == (10, 1, 4)
    assert 7.0 in pauses
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1.0 <= pauses[2] <= 2.0
    Pump(Follower(journal, cursor=cursor), Webhook(server.url)).run(once=True)
    assert len(server.taken) == 10


def test_a_webhook_that_is_away_keeps_its_place(journal: Path, serve: Any, tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        pump = Pump(
            Follower(journal, cursor=cursor), Webhook(f"http://127.0.0.1:{nobody.getsockname()[1]}/"),
            pause=lambda _: pump.stop(),
        )  # fmt: skip
        pump.run()
    assert pump.passed == 0
    server = serve()
    Pump(Follower(journal, cursor=cursor), Webhook(server.url)).run(once=True)
    assert len(server.taken) == 11


def test_a_slow_webhook_is_left_within_one_answer_and_gets_nothing_again(
    journal: Path, serve: Any, tmp_path: Path
) -> None:
    server = serve(*["slow"] * 20)
    cursor = tmp_path / "cursor"
    follower = Follower(journal, cursor=cursor, exclusive=True)
    pump = Pump(follower, Webhook(server.url))
    running = threading.Thread(target=pump.run)
    running.start()
    assert server.asked.wait(10)
    pump.stop()
    running.join(2)
    assert not running.is_alive()
    follower.close()
    assert 1 <= pump.passed <= 2
    server.answers.clear()
    Pump(Follower(journal, cursor=cursor, exclusive=True), Webhook(server.url)).run(once=True)
    assert [event["time_ns"] for event in server.taken] == list(range(1, 12))


def test_what_a_webhook_took_before_it_failed_does_not_come_again_after_a_stop(
    journal: Path, serve: Any, tmp_path: Path
) -> None:
    server = serve(200, 200, 200, 500)
    cursor = tmp_path / "cursor"
    pump = Pump(Follower(journal, cursor=cursor), Webhook(server.url), pause=lambda _: pump.stop())
    pump.run()
    assert (pump.passed, pump.retries) == (3, 1)
    Pump(Follower(journal, cursor=cursor), Webhook(server.url)).run(once=True)
    assert [event["time_ns"] for event in server.taken] == list(range(1, 12))


@pytest.mark.parametrize("answer", [301, 307, 401, 403, 404, 405, 407])
def test_an_answer_about_the_address_loses_no_event(journal: Path, serve: Any, answer: int) -> None:
    server = serve(200, answer, answer)
    pump = Pump(Follower(journal), Webhook(server.url), pause=lambda _: None)
    pump.run(once=True)
    assert [event["time_ns"] for event in server.taken] == list(range(1, 12))
    assert (pump.refused, pump.retries) == (0, 2)


def test_after_a_long_answer_in_pieces_nothing_comes_twice(journal: Path, serve: Any) -> None:
    server = serve(*["in pieces"] * 20)
    pump = Pump(Follower(journal), Webhook(server.url), pause=lambda _: None)
    pump.run(once=True)
    assert [event["time_ns"] for event in server.taken] == list(range(1, 12))
    assert pump.retries == 0


def test_a_place_that_cannot_be_kept_is_no_reason_to_stop_passing_on(
    journal: Path, serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    cursor = tmp_path / "cursor"
    follower = Follower(journal, cursor=cursor)
    full = tmp_path / f"cursor.{os.getpid()}.new"
    full.mkdir()  # where the next place would be written
    Pump(follower, Webhook(server.url), batch=3).run(once=True)
    assert len(server.taken) == 11
    assert caplog.text.count("passing on goes on") == 1
    full.rmdir()
    Pump(follower, Webhook(server.url)).run(once=True)
    publish(journal, [known(19)])
    pump = Pump(follower, Webhook(server.url))
    pump.run(once=True)
    Pump(Follower(journal, cursor=cursor), Webhook(server.url)).run(once=True)
    assert len(server.taken) == 12


def test_a_webhook_that_wants_no_pause_gets_one(journal: Path, serve: Any) -> None:
    server = serve(504, 504, 200)
    pauses: list[float] = []
    Pump(Follower(journal), Webhook(server.url), pause=pauses.append).run(once=True)
    assert len(server.taken) == 11
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1.0


def test_a_webhook_that_closed_an_idle_connection_is_tried_at_once(journal: Path, serve: Any) -> None:
    server = serve(200, "hang up", 200, "hang up")
    pauses: list[float] = []
    pump = Pump(Follower(journal), Webhook(server.url), pause=pauses.append)
    pump.run(once=True)
    assert (len(server.taken), pump.retries, pauses) == (11, 0, [])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/", "host", "http://", "http://me:secret@host/", "http://host/hook?token=secret x",
        "http://host/hook?token=secret\n", "http://host/\udcff?secret", "http://127.0.0.1:99999/?secret",
        "http://host:0/?secret", "http://host:²/?secret", "http://[::1", "http://me:secret@ho\u2100st/",
        f"http://{'a' * 70}/?secret",
    ],
)  # fmt: skip
def test_what_is_no_address_is_an_error_without_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--url: ") as error:
        Webhook(url)
    assert "secret" not in str(error.value)


def test_letters_in_an_address_are_quoted(journal: Path, serve: Any) -> None:
    server = serve()
    url = server.url.replace("/hook?token=t", "/h%20ook/é?token=ü&b='c'")
    Pump(Follower(journal), Webhook(url)).run(once=True)
    assert len(server.taken) == 11
    assert set(server.paths) == {"/h%20ook/%C3%A9?token=%C3%BC&b='c'"}


STRANGE = {"type": "identity.guessed", "schema": 2, "time_ns": 1, "camera": "gate", "wish": [1, None]}
NEWER = {"type": "identity.final", "schema": 9, "event_id": "x\ny", "time_ns": 1, "camera": "gate"}


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """Events that this version does not know, as JSON and as msgpack."""
    folder = tmp_path / "unknown"
    journal = Journal(folder, sync="never")
    for data in (STRANGE, NEWER):
        journal.append("identity/gate", msgspec.json.encode(data))
        journal.append("identity/gate", msgspec.msgpack.encode(data | {"x": msgspec.msgpack.Ext(5, b"zz")}))
    journal.close()
    return folder


UNKNOWN = [STRANGE, STRANGE | {"x": "eno="}, NEWER, NEWER | {"x": "eno="}]


def test_a_webhook_gets_what_this_version_does_not_know_as_it_is(unknown: Path, serve: Any) -> None:
    server = serve()
    Pump(Follower(unknown), Webhook(server.url)).run(once=True)
    assert server.taken == UNKNOWN
    assert [headers["X-Gaitstream-Event"] for headers in server.headers] == [
        *["identity.guessed"] * 2,
        *["identity.final"] * 2,
    ]
    assert server.headers[2]["X-Gaitstream-Id"] == "x?y"


def test_a_broker_gets_what_this_version_does_not_know_as_it_is(unknown: Path) -> None:
    [first, *_] = Follower(unknown).read().records
    [(topic, payload, retained)] = Topics().messages(first, decode(first.payload))
    assert (topic, msgspec.json.decode(payload), retained) == (
        "gaitstream/events/identity/gate",
        STRANGE,
        False,
    )


class Broker:
    """Debian's mosquitto on a port of its own, with a listener to everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = ""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nuser root\n{self.settings}"
        )
        command = [
            str(shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")),
            "-c",
            str(config),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("mosquitto did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("mosquitto is not installed; scripts/setup.sh installs it")
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    broker.start()
    yield broker
    broker.stop()


def listen(broker: Broker, topic: str = "#") -> tuple[Any, queue.Queue[tuple[str, bytes, bool]]]:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    heard: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _u, m: heard.put((m.topic, bytes(m.payload), m.retain))
    client.on_subscribe = lambda *_: ready.set()
    client.on_connect = lambda c, *_: c.subscribe(topic, 1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert ready.wait(60)
    return client, heard


def drain(heard: queue.Queue[tuple[str, bytes, bool]], quiet_s: float = 0.5) -> list[tuple[str, bytes, bool]]:
    out = []
    while True:
        try:
            out.append(heard.get(timeout=quiet_s))
        except queue.Empty:
            return out


def retained(broker: Broker) -> dict[str, Any]:
    """What the broker remembers."""
    client, heard = listen(broker)
    found = {topic: payload for topic, payload, retain in drain(heard) if retain}
    client.disconnect()
    client.loop_stop()
    return {topic: _decoded(payload) for topic, payload in found.items()}


def _decoded(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload.decode()


def test_mqtt_gets_every_event_and_home_assistant_its_entities(journal: Path, broker: Broker) -> None:
    pytest.importorskip("paho.mqtt")
    client, heard = listen(broker, "gaitstream/events/#")
    sink = Mqtt(broker.address, Topics())
    Pump(Follower(journal), sink).run(once=True)
    events = [msgspec.json.decode(payload) for _, payload, _ in drain(heard)]
    client.loop_stop()
    assert [event["time_ns"] for event in events] == list(range(1, 12))
    kept = retained(broker)
    assert kept["gaitstream/status"] == "online"
    assert kept["gaitstream/camera/gate"]["online"] is True
    assert kept["gaitstream/camera/gate"]["person"] == "Ada"
    assert (kept["gaitstream/person/p-Ada"]["name"], kept["gaitstream/person/p-Ada"]["camera"]) == (
        "Ada",
        "gate",
    )
    sensor = kept["homeassistant/sensor/gaitstream/person_p-Ada/config"]
    assert sensor["state_topic"] == "gaitstream/person/p-Ada"
    assert sensor["availability_topic"] == "gaitstream/status"
    assert {"unique_id", "name", "device"} <= set(sensor)
    connected = kept["homeassistant/binary_sensor/gaitstream/camera_gate/config"]
    assert connected["device_class"] == "connectivity"
    sink.close()
    assert retained(broker)["gaitstream/status"] == "offline"


def test_who_leaves_the_gallery_leaves_the_broker(journal: Path, broker: Broker) -> None:
    pytest.importorskip("paho.mqtt")
    publish(journal, [GalleryChanged(time_ns=20, people=0, removed=("p-Ada",))])
    sink = Mqtt(broker.address, Topics())
    Pump(Follower(journal), sink).run(once=True)
    sink.close()
    kept = retained(broker)
    assert "gaitstream/person/p-Ada" not in kept
    assert "homeassistant/sensor/gaitstream/person_p-Ada/config" not in kept


@pytest.mark.parametrize("restarted", [False, True])
def test_a_camera_does_not_keep_the_name_of_who_left(
    journal: Path, broker: Broker, tmp_path: Path, restarted: bool
) -> None:
    pytest.importorskip("paho.mqtt")
    cursor = tmp_path / "cursor"
    publish(journal, [known(19, "Bob", "yard")])
    sink = Mqtt(broker.address, Topics())
    Pump(Follower(journal, cursor=cursor), sink).run(once=True)
    assert retained(broker)["gaitstream/camera/gate"]["person"] == "Ada"
    if restarted:
        sink.close()
        sink = Mqtt(broker.address, Topics())
    publish(journal, [GalleryChanged(time_ns=20, people=1, removed=("p-Ada",))])
    Pump(Follower(journal, cursor=cursor), sink).run(once=True)
    sink.close()
    kept = retained(broker)
    assert "Ada" not in str(kept)
    assert (kept["gaitstream/camera/gate"]["person"], kept["gaitstream/camera/gate"]["track"]) == (None, 11)
    assert kept["gaitstream/camera/gate"]["online"] is True
    assert kept["gaitstream/camera/yard"]["person"] == "Bob"


def test_a_name_that_an_older_version_left_without_an_id_goes(journal: Path, broker: Broker) -> None:
    pytest.importorskip("paho.mqtt")
    client, _ = listen(broker)
    left = b'{"online":true,"person":"Cyd","status":"known"}'
    client.publish("gaitstream/camera/old", left, 1, retain=True).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()
    sink = Mqtt(broker.address, Topics())
    Pump(Follower(journal), sink).run(once=True)
    sink.close()
    assert retained(broker)["gaitstream/camera/old"]["person"] is None


def test_after_the_broker_was_away_the_entities_are_available_without_any_event(
    journal: Path, broker: Broker
) -> None:
    pytest.importorskip("paho.mqtt")
    sink = Mqtt(broker.address, Topics())
    Pump(Follower(journal), sink).run(once=True)
    broker.stop()
    for path in broker.folder.glob("*.db"):
        path.unlink()  # a broker without a memory: all is told again
    broker.start()
    deadline_s = time.monotonic() + 15
    while (kept := retained(broker)).get("gaitstream/status") != "online" and time.monotonic() < deadline_s:
        time.sleep(0.2)
    sink.close()
    assert kept["gaitstream/status"] == "online"
    assert kept["gaitstream/camera/gate"]["online"] is True
    assert "homeassistant/binary_sensor/gaitstream/camera_gate/config" in kept


def test_a_broker_that_dies_gets_the_rest_when_it_is_back(
    journal: Path, broker: Broker, tmp_path: Path
) -> None:
    pytest.importorskip("paho.mqtt")
    cursor = tmp_path / "cursor"
    sink = Mqtt(broker.address, Topics())
    Pump(Follower(journal, cursor=cursor), sink).run(once=True)
    broker.stop()
    publish(journal, [known(number, "Bob") for number in range(20, 25)])
    tried: list[float] = []

    def pause(seconds: float) -> None:
        tried.append(seconds)
        if len(tried) == 2:
            broker.start()

    pump = Pump(Follower(journal, cursor=cursor), sink, pause=pause)
    pump.run(once=True)
    sink.close()
    assert (pump.passed, pump.retries) == (5, 2)
    assert retained(broker)["gaitstream/person/p-Bob"]["track"] == 24


def test_a_broker_that_is_killed_marks_nothing_online(journal: Path, broker: Broker) -> None:
    pytest.importorskip("paho.mqtt")
    broker.stop()
    with pytest.raises(NotNowError):
        Mqtt(broker.address, Topics()).send([(Record("t", 1, b""), known(1))])


def test_an_event_larger_than_a_broker_takes_is_left_out_and_what_it_means_is_not(
    journal: Path, broker: Broker, tmp_path: Path
) -> None:
    pytest.importorskip("paho.mqtt")
    broker.stop()
    broker.settings = "max_packet_size 20000\n"
    broker.start()
    large = GalleryChanged(time_ns=20, people=0, removed=("p-Ada", *[f"p-{n:030}" for n in range(1000)]))
    publish(journal, [large, known(21, "Bob")])
    client, heard = listen(broker, "gaitstream/events/#")
    sink = Mqtt(broker.address, Topics())
    pump = Pump(Follower(journal), sink, pause=lambda _: None)
    pump.run(once=True)
    sink.close()
    times = [msgspec.json.decode(payload)["time_ns"] for _, payload, _ in drain(heard)]
    client.disconnect()
    client.loop_stop()
    assert list(dict.fromkeys(times)) == [*range(1, 12), 21]
    assert (pump.passed, pump.refused) == (12, 1)
    kept = retained(broker)
    assert "Ada" not in str(kept)
    assert kept["gaitstream/person/p-Bob"]["track"] == 21


class Silent:
    """Lets clients in and confirms nothing; counts what each connection brought."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.brought: list[int] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1024)
                connection.sendall(b"\x20\x02\x00\x00")
                self.brought.append(0)
                while piece := connection.recv(65536):
                    self.brought[-1] += len(piece)


def test_what_a_broker_does_not_confirm_does_not_pile_up(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("paho.mqtt")
    monkeypatch.setattr("gaitstream.events.sinks.mqtt.TIMEOUT_S", 0.5)
    monkeypatch.setattr("gaitstream.events.sinks.mqtt.READ_BACK_S", 0.5)
    broker = Silent()
    tried: list[float] = []

    def pause(wait_s: float) -> None:
        tried.append(wait_s)
        if len(tried) == 4:
            pump.stop()

    sink = Mqtt(broker.address, Topics())
    pump = Pump(Follower(journal), sink, pause=pause)
    pump.run()
    sink.close()
    broker.server.close()
    assert len(broker.brought) == 4
    assert max(broker.brought[1:]) < 1.5 * broker.brought[0]


def test_a_broker_that_asks_for_a_password_says_so_at_once(journal: Path, broker: Broker) -> None:
    pytest.importorskip("paho.mqtt")
    broker.stop()
    broker.settings = "allow_anonymous false\n"
    broker.start()
    sink = Mqtt(broker.address, Topics())
    begun_s = time.monotonic()
    with pytest.raises(NotNowError, match=r"let this client in \(.*uthori.*GAITSTREAM_MQTT_PASSWORD"):
        sink.send([(Record("t", 1, b""), known(1))])
    assert time.monotonic() - begun_s < 5
    sink.close()


def test_names_make_no_topics_of_their_own() -> None:
    topics = Topics()
    event = known(1, person="+/#\n", camera="a/b+#$c")
    for topic, _, _ in topics.messages(Record("identity/a/b+#$c", 1, b""), event):
        assert not set(topic) & set("+#\n$")
    two = {Topics()._config_topic("sensor", "person", name) for name in ("a b", "a_b", "a.b")}
    assert len(two) == 3


def test_offline_cameras_are_told() -> None:
    topics = Topics(discovery="")
    topics.messages(Record("camera/gate", 1, b""), CameraOnline(time_ns=1, camera="gate"))
    event = CameraOffline(time_ns=2, camera="gate", cause="error")
    states = {topic: payload for topic, payload, _ in topics.messages(Record("camera/gate", 2, b""), event)}
    assert msgspec.json.decode(states["gaitstream/camera/gate"])["online"] is False


@pytest.mark.parametrize("prefix", ["a/#", "ha/+", "a\x00b", "$SYS/a", "\udcff"])
def test_a_prefix_can_be_published_to(prefix: str) -> None:
    for options in ({"prefix": prefix}, {"discovery": prefix}):
        with pytest.raises(ConfigError, match=f"^--{next(iter(options))}: .*give words and slashes"):
            Topics(**options)


@pytest.mark.parametrize("address", ["host", ":1883", "host:0", "host:mqtt", "host:²", "host:65536"])
def test_a_broker_has_a_port(address: str) -> None:
    pytest.importorskip("paho.mqtt")
    with pytest.raises(ConfigError, match="give HOST:PORT"):
        Mqtt(address, Topics())


def test_kafka_gets_every_event_keyed_by_camera(journal: Path) -> None:
    got = through_kafka(journal, 11)
    assert [msgspec.json.decode(m.value())["time_ns"] for m in got] == list(range(1, 12))
    assert {m.key() for m in got} == {b"gate"}
    assert dict(got[0].headers())["type"] == b"camera.online"


def test_kafka_gets_what_this_version_does_not_know_as_it_is(unknown: Path) -> None:
    got = through_kafka(unknown, 4)
    assert [msgspec.json.decode(m.value()) for m in got] == UNKNOWN
    assert {m.key() for m in got} == {b"gate"}


def test_after_a_fatal_error_a_new_producer_goes_on(journal: Path) -> None:
    pytest.importorskip("confluent_kafka")
    sink = Kafka("", "walks", {"test.mock.num.brokers": 1})
    mapped = Path("/proc/self/maps").read_text().splitlines()
    loaded = {line.split()[-1] for line in mapped if "librdkafka" in line}
    fatal = ctypes.CDLL(loaded.pop()).rd_kafka_test_fatal_error
    fatal.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    handle = ctypes.c_void_p.from_address(id(sink._producer) + object.__basicsize__)
    assert fatal(handle, 45, b"out of order") == 0
    pauses: list[float] = []

    def pause(wait_s: float) -> None:
        pauses.append(wait_s)
        if len(pauses) > 2:
            pump.stop()

    pump = Pump(Follower(journal), sink, pause=pause)
    pump.run(once=True)
    sink.close()
    assert (pump.passed, pump.retries) == (11, 1)


@pytest.mark.parametrize(
    "name",
    ["error_cb", "logger", "default.topic.config", "transactional.id", "stats_cb", "no.such", "on_delivery"],
)
def test_a_setting_that_is_none_of_librdkafkas_is_an_error(name: str) -> None:
    pytest.importorskip("confluent_kafka")
    with pytest.raises(ConfigError, match=f"^--set: .*{name}"):
        Kafka("", "walks", {name: "x"})


@pytest.mark.parametrize("topic", ["", ".", "a b", "é", "walks/gate", "w" * 250, "walks\n"])
def test_a_kafka_topic_is_one_that_brokers_take(topic: str) -> None:
    pytest.importorskip("confluent_kafka")
    with pytest.raises(ConfigError, match=r"^--kafka-topic: .*1 to 249"):
        Kafka("", topic)


def test_brokers_that_do_not_answer_are_left_at_once(journal: Path) -> None:
    pytest.importorskip("confluent_kafka")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        pump = Pump(Follower(journal), Kafka(f"127.0.0.1:{silent.getsockname()[1]}", "walks"))
        running = threading.Thread(target=pump.run)
        running.start()
        time.sleep(1)
        pump.stop()
        running.join(5)
        assert not running.is_alive()
    assert (pump.passed, pump.retries) == (0, 0)


def through_kafka(journal: Path, count: int) -> list[Any]:
    """Through the brokers that librdkafka brings for tests; they speak the protocol, and are no Kafka."""
    kafka = pytest.importorskip("confluent_kafka")
    sink = Kafka("", "walks", {"test.mock.num.brokers": 1})
    Pump(Follower(journal), sink).run(once=True)
    brokers = sink._producer.list_topics(timeout=5).brokers.values()
    consumer = kafka.Consumer(
        {
            "bootstrap.servers": ",".join(f"{one.host}:{one.port}" for one in brokers),
            "group.id": "test",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["walks"])
    got: list[Any] = []
    deadline = time.monotonic() + 20
    while len(got) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            got.append(message)
    consumer.close()
    sink.close()
    return got
