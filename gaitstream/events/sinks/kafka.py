"""A Kafka topic: one message for each event, keyed by camera, so that a camera's events stay in order."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.events.schema import Event
from gaitstream.events.segment import Record
from gaitstream.events.sinks.base import NotNowError, RefusedError, SinkError, StoppedError, body_of

if TYPE_CHECKING:
    from confluent_kafka import Producer

TIMEOUT_S = 30.0
OURS = frozenset(
    {
        "default.topic.config", "error_cb", "logger", "oauth_cb", "on_delivery", "stats_cb", "throttle_cb",
        "transactional.id",
    }
)  # fmt: skip
"""What takes more than a plain value, or other calls than these."""
STEP_S = 0.2
"""Signals are handled so often while the brokers are waited for."""


class Kafka:
    """Produces with idempotence and waits for all replicas in sync.

    Args:
        bootstrap: brokers, separated by commas.
        topic: where to.
        settings: of librdkafka, as `{"security.protocol": "SASL_SSL"}`.

    Raises:
        ConfigError: a setting is none.
        MissingExtraError: confluent-kafka is not installed.
    """

    def __init__(self, bootstrap: str, topic: str, settings: Mapping[str, Any] | None = None) -> None:
        try:
            from confluent_kafka import KafkaError, KafkaException, Producer
        except ImportError as error:
            raise MissingExtraError("confluent-kafka", "kafka", "the Kafka sink") from error
        self._error = KafkaError
        self._too_large = KafkaError.MSG_SIZE_TOO_LARGE
        self._errors = KafkaException, BufferError
        self._topic = _checked(topic)
        self._bootstrap = bootstrap
        self._stopping = False
        for name in settings or {}:
            if name in OURS:
                raise ConfigError(
                    f"--set: {name} cannot be set here; give settings of librdkafka with plain values"
                )
        self._settings = {
            "bootstrap.servers": bootstrap,
            "client.id": "gaitstream",
            "enable.idempotence": True,
            "delivery.timeout.ms": int(TIMEOUT_S * 1000),
            "linger.ms": 5,
            **(settings or {}),
        }
        self._new_producer: Callable[[], Producer] = lambda: Producer(self._settings)
        try:
            self._producer = self._new_producer()
        except KafkaException as error:
            raise ConfigError(f"--set: {error}; see librdkafka's CONFIGURATION.md") from error

    def send(self, events: Sequence[tuple[Record, Event]]) -> None:
        """Produce events and wait until the brokers have them.

        Raises:
            NotNowError: the brokers are away, or did not confirm all.
            RefusedError: the first event is larger than the brokers take.
        """
        failed: list[Any] = []
        confirmed: set[int] = set()

        def note(number: int, error: object, _: object) -> None:
            if error is not None:
                failed.append(error)
            else:
                confirmed.add(number)

        try:
            for number, (record, event) in enumerate(events):
                self._producer.produce(
                    self._topic,
                    body_of(record, event),
                    key=record.topic.partition("/")[2] or record.topic,
                    headers={"type": event.type, "event_id": event.event_id, "topic": record.topic},
                    on_delivery=partial(note, number),
                )
            left = self._flush(TIMEOUT_S + 5)
        except self._errors as error:
            self._producer.purge()
            if isinstance(error, self._errors[0]) and error.args[0].code() == self._too_large:
                self._producer.flush(1.0)
                self._send_single(events, str(error))
                return
            self._mend(error.args[0])
            raise NotNowError(f"{self._bootstrap}: {error}") from error
        if left:
            self._producer.purge()
            self._producer.flush(1.0)
            unsure = (
                StoppedError()
                if self._stopping
                else NotNowError(f"{self._bootstrap}: {left} events are not confirmed")
            )
            unsure.taken = next((n for n in range(len(events)) if n not in confirmed), len(events))
            raise unsure
        if failed and any(error.code() == self._too_large for error in failed):
            self._send_single(events, str(failed[0]))
        elif failed:
            self._mend(*failed)
            raise NotNowError(f"{self._bootstrap}: {failed[0]}")

    def stop(self) -> None:
        """Wait no longer for brokers that confirm nothing."""
        self._stopping = True

    def _mend(self, *errors: Any) -> None:
        """After an error that librdkafka calls fatal a producer takes nothing more: another one goes on."""
        if any(isinstance(error, self._error) and error.code() == self._error._FATAL for error in errors):
            self._producer = self._new_producer()

    def _flush(self, wait_s: float) -> int:
        """Wait until the brokers have all, so long at most or until `stop`; how many they have not."""
        deadline_s = time.monotonic() + wait_s
        while (left := self._producer.flush(STEP_S)) and time.monotonic() < deadline_s and not self._stopping:
            pass
        return left

    def _send_single(self, events: Sequence[tuple[Record, Event]], why: str) -> None:
        """One by one, to find the event that is too large."""
        if len(events) == 1:
            raise RefusedError(f"{self._bootstrap}: {why}")
        for taken, pair in enumerate(events):
            try:
                self.send([pair])
            except SinkError as error:
                error.taken = taken
                raise

    def close(self) -> None:
        """Nothing waits: `send` returns when all is confirmed."""
        self._producer.flush(1.0)


def _checked(topic: str) -> str:
    """A topic that brokers take."""
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic) or topic in (".", ".."):
        raise ConfigError(
            f"--kafka-topic: {topic!r} is no topic; give 1 to 249 letters of ASCII, digits, '.', '_' and '-'"
        )
    return topic
