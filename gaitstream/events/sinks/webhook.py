"""One HTTP POST for each event, signed, tried again until it is taken.

The body is the event's JSON. Headers: `X-Gaitstream-Event` (its type), `X-Gaitstream-Id` (its id, the same
however often it comes), and with a secret `X-Gaitstream-Timestamp` (seconds) and `X-Gaitstream-Signature`:
`sha256=` and the HMAC-SHA-256 of timestamp, a full stop and the body, in hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from gaitstream.errors import ConfigError
from gaitstream.events.codec import encode
from gaitstream.events.schema import Event
from gaitstream.events.segment import Record
from gaitstream.events.sinks.base import NotNowError, RefusedError, SinkError

LATER = frozenset({408, 409, 425, 429})
"""Answers below 500 after which the same request may succeed."""
LONGEST_WAIT_S = 3600.0


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature's header; compare with `hmac.compare_digest`."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """Posts to one address over a connection that is kept.

    Args:
        url: http or https; a token may stand in its query, a user and password may not.
        secret: signs; empty: unsigned.
        timeout_s: for connecting and for each answer.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(self, url: str, secret: bytes = b"", timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ConfigError(
                f"--url: {parts.scheme or 'nothing'}:// is no address; give http:// or https:// and no user"
            )
        self._host, self._port = parts.hostname, parts.port
        self._secure = parts.scheme == "https"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secret = secret
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def send(self, events: Sequence[tuple[Record, Event]]) -> None:
        """Post events one after the other.

        Raises:
            NotNowError: the other side is away or asks to wait; those before were taken and do not come
            again.
            RefusedError: it will never take this one.
        """
        for taken, (_, event) in enumerate(events):
            try:
                self._post(event)
            except SinkError as error:
                error.taken = taken
                raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, event: Event) -> None:
        body = encode(event)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "gaitstream",
            "X-Gaitstream-Event": event.type,
            "X-Gaitstream-Id": event.event_id,
            "X-Gaitstream-Timestamp": timestamp,
        }
        if self._secret:
            headers["X-Gaitstream-Signature"] = sign(self._secret, timestamp, body)
        try:
            connection = self._connection or self._connect()
            self._connection = connection
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            answer.read(65536)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NotNowError(f"{self._host}: {error!r}") from error
        if answer.will_close or answer.length:
            self.close()
        self._judge(answer)

    def _judge(self, answer: http.client.HTTPResponse) -> None:
        if 200 <= answer.status < 300:
            return
        told = f"{self._host} answered {answer.status} {answer.reason}"
        if answer.status >= 500 or answer.status in LATER:
            raise NotNowError(told, _retry_after(answer.getheader("Retry-After")))
        raise RefusedError(told)

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)


def _retry_after(header: str | None) -> float | None:
    """Seconds it asked for; dates are not read, the usual pause does for them."""
    if header is None or not header.strip().isdigit():
        return None
    return min(float(header), LONGEST_WAIT_S)
