"""An MQTT broker, and Home Assistant's discovery on it.

Below the prefix, `gaitstream` by default:

- `events/<topic>`: every event as JSON, as `events/identity/gate`;
- `camera/<camera>`: retained: the last identity there, with `online`;
- `person/<id>`: retained: where that person was seen last, and when;
- `status`: retained: `online`, and `offline` by the broker when this process is gone.

With discovery each camera becomes a device with two entities, and each person seen one. Who is removed from
the gallery is removed from the broker's memory too: what an earlier process left there is read back first.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.events.schema import CameraOffline, CameraOnline, Event, GalleryChanged, Identity
from gaitstream.events.segment import Record
from gaitstream.events.sinks.base import NotNowError, RefusedError, SinkError, StoppedError, body_of

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo

log = logging.getLogger("gaitstream.sink")

TIMEOUT_S = 10.0
READ_BACK_S = 3.0
RECONNECT_S = 30
"""Longest pause before a broken connection is made anew."""
STEP_S = 0.1
QOS = 1
LARGE_BYTES = 8192
"""A broker that ends the connection at more may do so for the size; ordinary events have about 700."""
BREAKS = 3
"""So often must it do that when the event was sent alone."""

Message = tuple[str, bytes, bool]
"""Topic, payload, retained."""


class Topics:
    """What the broker is told of each event. No connection and no clock.

    Args:
        prefix: of all topics but discovery's.
        discovery: Home Assistant's prefix; empty announces nothing.

    Raises:
        ConfigError: one of them cannot be published to.
    """

    def __init__(self, prefix: str = "gaitstream", discovery: str = "homeassistant") -> None:
        self._prefix = _checked("--prefix", prefix)
        self._discovery = _checked("--discovery", discovery)
        self._announced: set[str] = set()
        self._cameras: dict[str, str] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._gone: set[str] = set()

    @property
    def status(self) -> str:
        """Where it is told that this process runs."""
        return f"{self._prefix}/status"

    @property
    def states(self) -> str:
        """Filter of the cameras' retained states."""
        return f"{self._prefix}/camera/#"

    def messages(self, record: Record, event: Event) -> list[Message]:
        """What to publish for an event, in order."""
        topic = f"{self._prefix}/events/{_level(record.topic)}"
        out: list[Message] = [(topic, body_of(record, event), False)]
        if isinstance(event, Identity):
            out += self._identity(event)
        elif isinstance(event, CameraOnline | CameraOffline):
            out += self._camera(event.camera, {"online": isinstance(event, CameraOnline)})
        elif isinstance(event, GalleryChanged):
            self._gone.update(event.gone)
            self._gone.difference_update(event.added)
            out += [message for person in event.gone for message in self._forget(person)]
            out += [message for topic in self._states for message in self._without_gone(topic)]
        return out

    def again(self) -> list[Message]:
        """After a new connection: the cameras are announced and told again, people with their next event."""
        self._announced.clear()
        return [message for camera in self._cameras.values() for message in self._camera(camera, {})]

    def read_back(self, topic: str, payload: bytes) -> list[Message]:
        """Take over a camera's state as an earlier process left it; what to publish in its place."""
        if topic in self._states or not payload:
            return []
        try:
            state = msgspec.json.decode(payload, type=dict[str, Any])
        except ValueError:
            return []
        self._states[topic] = state
        return self._without_gone(topic)

    def _identity(self, event: Identity) -> list[Message]:
        said = {
            "person": event.person, "person_id": event.person_id, "status": event.status,
            "reason": event.reason, "track": event.track,
            "distance": event.distance, "provisional": event.provisional, "at": event.captured_at,
        }  # fmt: skip
        out = self._camera(event.camera, said)
        if event.person is not None and not event.provisional:
            out += self._person(event.person_id or event.person, event)
        return out

    def _camera(self, camera: str, news: dict[str, Any]) -> list[Message]:
        topic = f"{self._prefix}/camera/{_level(camera)}"
        state = {"online": True, **self._states.get(topic, {}), **news}
        self._cameras[topic], self._states[topic] = camera, state
        return [
            *self._announce(camera, "sensor", "last identity", "camera", topic, {
                "value_template": "{{ value_json.person or value_json.status or 'nobody' }}",
                "json_attributes_topic": topic, "icon": "mdi:walk",
            }),
            *self._announce(camera, "binary_sensor", "connected", "camera", topic, {
                "value_template": "{{ 'ON' if value_json.online else 'OFF' }}",
                "device_class": "connectivity",
            }),
            (topic, msgspec.json.encode(state), True),
        ]  # fmt: skip

    def _person(self, person: str, event: Identity) -> list[Message]:
        topic = f"{self._prefix}/person/{_level(person)}"
        state = {
            "name": event.person, "camera": event.camera, "track": event.track, "at": event.captured_at,
            "distance": event.distance,
        }  # fmt: skip
        return [
            *self._announce(person, "sensor", str(event.person), "person", topic, {
                "value_template": "{{ value_json.camera }}", "json_attributes_topic": topic,
                "icon": "mdi:account",
            }),
            (topic, msgspec.json.encode(state), True),
        ]  # fmt: skip

    def _without_gone(self, topic: str) -> list[Message]:
        """A camera's state without who left the gallery, or whose id an older version did not keep."""
        state = self._states[topic]
        person, person_id = state.get("person"), state.get("person_id")
        if person is None or (person_id is not None and person_id not in self._gone):
            return []
        self._states[topic] = {**state, "person": None, "person_id": None}
        return [(topic, msgspec.json.encode(self._states[topic]), True)]

    def _forget(self, person: str) -> list[Message]:
        """Empty retained messages: the broker forgets them."""
        out: list[Message] = [(f"{self._prefix}/person/{_level(person)}", b"", True)]
        config = self._config_topic("sensor", "person", person)
        if config:
            out.append((config, b"", True))
            self._announced.discard(config)
        return out

    def _announce(
        self, of: str, component: str, name: str, group: str, topic: str, more: dict[str, Any]
    ) -> list[Message]:
        """Tell Home Assistant of an entity, once a connection."""
        config = self._config_topic(component, group, of)
        if not config or config in self._announced:
            return []
        self._announced.add(config)
        device = f"{self._prefix}_{group}_{_slug(of)}" if group == "camera" else f"{self._prefix}_people"
        body = {
            "name": name,
            "unique_id": f"{self._prefix}_{group}_{component}_{_slug(of)}",
            "state_topic": topic,
            "availability_topic": self.status,
            "device": {
                "identifiers": [device],
                "name": of if group == "camera" else "gaitstream people",
                "manufacturer": "gaitstream",
            },
            **more,
        }
        return [(config, msgspec.json.encode(body), True)]

    def _config_topic(self, component: str, group: str, of: str) -> str:
        if not self._discovery:
            return ""
        return f"{self._discovery}/{component}/{_slug(self._prefix)}/{group}_{_slug(of)}/config"


class Mqtt:
    """Publishes to a broker with quality of service 1.

    Args:
        broker: host and port.
        topics: what is told.
        user: and its password, where the broker asks for them.
        password: of the user.
        tls: with the system's certificates.

    Raises:
        ConfigError: the broker is no address.
        MissingExtraError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        broker: str,
        topics: Topics,
        *,
        user: str | None = None,
        password: str | None = None,
        tls: bool = False,
    ) -> None:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingExtraError("paho-mqtt", "mqtt", "the MQTT sink") from error
        host, _, port = broker.rpartition(":")
        if not host or not _is_port(port):
            raise ConfigError(f"--broker: {broker!r} is no address; give HOST:PORT, as 10.0.0.2:1883")
        self._broker, self._host, self._port = broker, host.strip("[]"), int(port)
        self._topics = topics
        self._guard = threading.Lock()
        """Over the topics and the order of their messages: paho has a thread of its own."""
        self._connected = threading.Event()
        """Or refused: then the reason is in `_refusal`."""
        self._refusal = ""
        self._read_back = threading.Event()
        self._broken = threading.Event()
        self._one_by_one = False
        self._broke = (0, 0)
        """The event at which the connection ended, and how often it did when that was sent alone."""
        self._stopping = False

        def new_client() -> Client:
            client = Client(CallbackAPIVersion.VERSION2, clean_session=True)
            client.enable_logger(logging.getLogger("gaitstream.sink.paho"))
            if user is not None:
                client.username_pw_set(user, password)
            if tls:
                client.tls_set()
            client.will_set(topics.status, b"offline", QOS, retain=True)
            client.max_inflight_messages_set(100)
            client.reconnect_delay_set(1, RECONNECT_S)
            client.on_connect = self._on_connect
            client.on_disconnect = self._on_disconnect
            client.on_subscribe = self._on_subscribe
            client.on_message = self._on_message
            return client

        self._new_client: Callable[[], Client] = new_client
        self._client = new_client()

    def send(self, events: Sequence[tuple[Record, Event]]) -> None:
        """Publish events and wait until the broker has them.

        Raises:
            NotNowError: the broker is away, or did not answer in time.
            RefusedError: the broker ends the connection at an event, and that is large.
        """
        self._connect()
        if not self._one_by_one:
            self._send(events)
            return
        for taken, (record, event) in enumerate(events):
            large = self._broke == (record.seq, BREAKS) and len(record.payload) > LARGE_BYTES
            try:
                self._send([(record, event)], whole=not large)
                if large:
                    raise RefusedError(
                        f"{self._broker} ends the connection at its {len(record.payload)} bytes; raise the "
                        "size of a packet that the broker takes"
                    )
            except SinkError as error:
                error.taken = taken
                raise
        self._one_by_one = False

    def stop(self) -> None:
        """Wait no longer for a broker that confirms nothing."""
        self._stopping = True

    def close(self) -> None:
        """Say that this process goes, and disconnect."""
        if self._client.is_connected():
            info = self._client.publish(self._topics.status, b"offline", QOS, retain=True)
            try:
                info.wait_for_publish(1.0)
            except (ValueError, RuntimeError):
                log.debug("the broker is gone")
        self._drop()

    def _send(self, events: Sequence[tuple[Record, Event]], *, whole: bool = True) -> None:
        """Events at once; without `whole` what they mean for what is retained, and not themselves."""
        self._broken.clear()
        taken = 0
        try:
            waiting: list[list[MQTTMessageInfo]] = []
            for record, event in events:
                with self._guard:
                    messages = self._topics.messages(record, event)
                    waiting.append(self._publish(messages if whole else messages[1:]))
            for infos in waiting:
                for info in infos:
                    self._confirm(info)
                taken += 1
        except (ValueError, RuntimeError, OSError, NotNowError) as error:
            if self._broken.is_set():
                self._note_broken(events[taken:])
            self._drop()
            told = error if isinstance(error, NotNowError) else NotNowError(f"{self._broker}: {error}")
            told.taken = taken
            raise told from error

    def _confirm(self, info: MQTTMessageInfo) -> None:
        """Wait until the broker has a message."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not info.is_published():
            if self._stopping:
                raise StoppedError
            if self._broken.is_set():
                raise NotNowError(f"{self._broker} ended the connection")
            if time.monotonic() > deadline_s:
                raise NotNowError(f"{self._broker} does not confirm")
            info.wait_for_publish(STEP_S)

    def _note_broken(self, events: Sequence[tuple[Record, Event]]) -> None:
        """The connection ended; one by one it shows which event does that."""
        seq = events[0][0].seq
        times = self._broke[1] + 1 if self._broke[0] == seq else 1
        self._broke = (seq, min(times, BREAKS) if self._one_by_one else 0)
        self._one_by_one = True

    def _wait(self, event: threading.Event, wait_s: float) -> bool:
        """For what paho's thread does; false where it does not in time."""
        deadline_s = time.monotonic() + wait_s
        while not event.wait(STEP_S):
            if self._stopping:
                self._drop()
                raise StoppedError
            if time.monotonic() > deadline_s:
                return False
        return True

    def _connect(self) -> None:
        if self._client.is_connected():
            return
        self._drop()
        self._client = self._new_client()  # the last one would send what it has not got rid of
        self._refusal = ""
        self._connected.clear()
        self._read_back.clear()
        try:
            self._client.connect(self._host, self._port, keepalive=30)
        except (OSError, ValueError) as error:
            raise NotNowError(f"{self._broker}: {error}") from error
        self._client.loop_start()
        if not self._wait(self._connected, TIMEOUT_S):
            self._drop()
            raise NotNowError(f"{self._broker} does not answer as a broker does; is it one for --tls?")
        if self._refusal:
            self._drop()
            raise NotNowError(
                f"{self._broker} does not let this client in ({self._refusal}); --user names one, and "
                "GAITSTREAM_MQTT_PASSWORD has the password"
            )
        if not self._wait(self._read_back, READ_BACK_S):
            log.warning(
                "%s does not let this client read %s: names of removed people may stay there; allow it",
                self._broker, self._topics.states,
            )  # fmt: skip

    def _publish(self, messages: Sequence[Message]) -> list[MQTTMessageInfo]:
        return [self._client.publish(topic, payload, QOS, retain) for topic, payload, retain in messages]

    def _on_connect(self, client: Client, _: object, _flags: object, reason: Any, _more: object) -> None:
        """Also after paho made a broken connection anew by itself: the broker said `offline` meanwhile."""
        if reason.is_failure:
            self._refusal = str(reason)
            self._connected.set()
            return
        with self._guard:
            client.subscribe([(self._topics.states, 0), (self._topics.status, 0)])
            self._publish([(self._topics.status, b"online", True), *self._topics.again()])
        self._connected.set()

    def _on_disconnect(self, *_: object) -> None:
        self._broken.set()

    def _on_subscribe(
        self, _client: Client, _: object, _number: int, reasons: Sequence[Any], _more: object
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            log.warning(
                "%s does not let this client read %s: names of removed people may stay there; allow it",
                self._broker, self._topics.states,
            )  # fmt: skip
            self._read_back.set()

    def _on_message(self, _client: Client, _: object, message: MQTTMessage) -> None:
        if message.topic == self._topics.status:
            if not message.retain:  # our own: what the broker had kept came before it
                self._read_back.set()
        elif message.retain:
            with self._guard:
                self._publish(self._topics.read_back(message.topic, bytes(message.payload)))

    def _drop(self) -> None:
        """Disconnect; what was not confirmed is not sent again by itself, but by the journal."""
        self._client.disconnect()
        self._client.loop_stop()


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def _checked(option: str, topic: str) -> str:
    """A prefix of topics, without slashes around it."""
    if not topic.isprintable() or set(topic) & set("+#") or topic.startswith("$"):
        raise ConfigError(
            f"{option}: {topic!r} is no topic to publish to; give words and slashes, as home/gait, without "
            "+, #, control characters and $ at the start"
        )
    return topic.strip("/")


def _level(text: str) -> str:
    """A topic without wildcards and control characters; slashes stay levels."""
    return re.sub(r"[+#\x00-\x1f\x7f$]", "_", text)


def _slug(text: str) -> str:
    """Letters, digits and underscores, as discovery asks for; different texts stay different."""
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", text)
    return plain if plain == text else f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
