"""An MQTT broker, and Home Assistant's discovery on it.

Below the prefix, `gaitstream` by default:

- `events/<topic>`: every event as JSON, as `events/identity/gate`;
- `camera/<camera>`: retained: the last identity there, with `online`;
- `person/<id>`: retained: where that person was seen last, and when;
- `status`: retained: `online`, and `offline` by the broker when this process is gone.

With discovery each camera becomes a device with two entities, and each person seen one. Who is removed from
the gallery is removed from the broker's memory too.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.events.schema import CameraOffline, CameraOnline, Event, GalleryChanged, Identity
from gaitstream.events.segment import Record
from gaitstream.events.sinks.base import NotNowError, body_of

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

log = logging.getLogger("gaitstream.sink")

TIMEOUT_S = 10.0
QOS = 1

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
        self._online: dict[str, bool] = {}
        self._last: dict[str, dict[str, Any]] = {}

    @property
    def status(self) -> str:
        """Where it is told that this process runs."""
        return f"{self._prefix}/status"

    def messages(self, record: Record, event: Event) -> list[Message]:
        """What to publish for an event, in order."""
        topic = f"{self._prefix}/events/{_level(record.topic)}"
        out: list[Message] = [(topic, body_of(record, event), False)]
        if isinstance(event, Identity):
            out += self._identity(event)
        elif isinstance(event, CameraOnline | CameraOffline):
            self._online[event.camera] = isinstance(event, CameraOnline)
            out += self._camera(event.camera)
        elif isinstance(event, GalleryChanged):
            out += [message for person in event.gone for message in self._forget(person)]
        return out

    def forget_announcements(self) -> None:
        """After a new connection: everything is announced again."""
        self._announced.clear()

    def _identity(self, event: Identity) -> list[Message]:
        said = {
            "person": event.person, "status": event.status, "reason": event.reason, "track": event.track,
            "distance": event.distance, "provisional": event.provisional, "at": event.captured_at,
        }  # fmt: skip
        self._last[event.camera] = said
        self._online.setdefault(event.camera, True)
        out = self._camera(event.camera)
        if event.person is not None and not event.provisional:
            out += self._person(event.person_id or event.person, event)
        return out

    def _camera(self, camera: str) -> list[Message]:
        topic = f"{self._prefix}/camera/{_level(camera)}"
        state = {"online": self._online.get(camera, False), **self._last.get(camera, {})}
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
        self._client: Client = Client(CallbackAPIVersion.VERSION2, clean_session=True)
        self._client.enable_logger(logging.getLogger("gaitstream.sink.paho"))
        if user is not None:
            self._client.username_pw_set(user, password)
        if tls:
            self._client.tls_set()
        self._client.will_set(topics.status, b"offline", QOS, retain=True)
        self._client.max_inflight_messages_set(100)

    def send(self, events: Sequence[tuple[Record, Event]]) -> None:
        """Publish events and wait until the broker has them.

        Raises:
            NotNowError: the broker is away, or did not answer in time.
        """
        self._connect()
        try:
            waiting: list[MQTTMessageInfo] = []
            for record, event in events:
                for topic, payload, retain in self._topics.messages(record, event):
                    waiting.append(self._client.publish(topic, payload, QOS, retain))
            for info in waiting:
                info.wait_for_publish(TIMEOUT_S)
                if not info.is_published():
                    raise NotNowError(f"{self._broker} does not confirm")
        except (ValueError, RuntimeError, OSError) as error:
            self._drop()
            raise NotNowError(f"{self._broker}: {error}") from error
        except NotNowError:
            self._drop()
            raise

    def close(self) -> None:
        """Say that this process goes, and disconnect."""
        if self._client.is_connected():
            info = self._client.publish(self._topics.status, b"offline", QOS, retain=True)
            try:
                info.wait_for_publish(1.0)
            except (ValueError, RuntimeError):
                log.debug("the broker is gone")
        self._drop()

    def _connect(self) -> None:
        if self._client.is_connected():
            return
        self._drop()
        try:
            self._client.connect(self._host, self._port, keepalive=30)
        except (OSError, ValueError) as error:
            raise NotNowError(f"{self._broker}: {error}") from error
        self._client.loop_start()
        info = self._client.publish(self._topics.status, b"online", QOS, retain=True)
        try:
            info.wait_for_publish(TIMEOUT_S)
        except (ValueError, RuntimeError) as error:
            self._drop()
            raise NotNowError(f"{self._broker}: {error}") from error
        if not info.is_published():
            self._drop()
            raise NotNowError(f"{self._broker} does not let this client in, or does not answer")
        self._topics.forget_announcements()

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
