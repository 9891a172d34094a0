"""One HTTP POST for each event, signed, tried again until it is taken.

The body is the event's JSON. Headers: `X-Gaitstream-Event` (its type), `X-Gaitstream-Id` (its id, the same
however often it comes), and with a secret `X-Gaitstream-Timestamp` (seconds) and `X-Gaitstream-Signature`:
`sha256=` and the HMAC-SHA-256 of timestamp, a full stop and the body, in hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import ssl
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, urlsplit

from gaitstream.errors import ConfigError
from gaitstream.events.schema import Event
from gaitstream.events.segment import Record
from gaitstream.events.sinks.base import NotNowError, RefusedError, SinkError, StoppedError, body_of

LATER = frozenset({401, 403, 404, 405, 407, 408, 409, 421, 425, 429})
"""Answers below 500 after which the same request may succeed: they are about the address, the right to post
there, or the moment, and not about the event."""
LONGEST_WAIT_S = 3600.0
_AS_THEY_ARE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""All of ASCII but letters, digits, spaces and controls: who wrote a `%` meant it."""


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
        parts, self._port = _split(url)
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._path = quote(path, safe=_AS_THEY_ARE)
        self._secret = secret
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._stopping = False

    def send(self, events: Sequence[tuple[Record, Event]]) -> None:
        """Post events one after the other.

        Raises:
            NotNowError: the other side is away or asks to wait; those before were taken and do not come
            again.
            RefusedError: it will never take this one.
        """
        for taken, (record, event) in enumerate(events):
            try:
                if self._stopping:
                    raise StoppedError
                self._post(record, event)
            except SinkError as error:
                error.taken = taken
                raise

    def stop(self) -> None:
        """Post nothing more."""
        self._stopping = True

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, record: Record, event: Event) -> None:
        body = body_of(record, event)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "gaitstream",
            "X-Gaitstream-Event": _header(event.type),
            "X-Gaitstream-Id": _header(event.event_id),
            "X-Gaitstream-Timestamp": timestamp,
        }
        if self._secret:
            headers["X-Gaitstream-Signature"] = sign(self._secret, timestamp, body)
        kept = self._connection is not None
        try:
            try:
                answer = self._request(body, headers)
            except ConnectionError:
                if not kept:
                    raise
                self.close()  # the other side closes connections on which nothing comes
                answer = self._request(body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NotNowError(f"{self._host}: {error!r}") from error
        if answer.will_close or not answer.isclosed():
            self.close()
        self._judge(answer)

    def _request(self, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        connection = self._connection or self._connect()
        self._connection = connection
        connection.request("POST", self._path, body, headers)
        answer = connection.getresponse()
        answer.read(65536)
        return answer

    def _judge(self, answer: http.client.HTTPResponse) -> None:
        if 200 <= answer.status < 300:
            return
        told = f"{self._host} answered {answer.status} {answer.reason}"
        if 300 <= answer.status < 400:
            told += "; give --url the address that it leads to"
        if answer.status >= 500 or answer.status < 400 or answer.status in LATER:
            raise NotNowError(told, _retry_after(answer.getheader("Retry-After")))
        raise RefusedError(told)

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)


def _split(url: str) -> tuple[SplitResult, int | None]:
    """An address and its port.

    Raises:
        ConfigError: it is none; the message has nothing of its path and query, where a token may stand.
    """
    if not url.isprintable() or " " in url:
        raise ConfigError("--url: it has a space or a control character; write %20 for a space")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("--url: it is no address; give one as https://host/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ConfigError(
            f"--url: {parts.scheme or 'nothing'}:// is no address; give http:// or https:// and no user"
        )
    try:
        parts.hostname.encode("idna")
    except UnicodeError as error:
        raise ConfigError(f"--url: {parts.hostname!r} is no host; give one as https://host/path") from error
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ConfigError(
            f"--url: {parts.netloc!r} has no port from 1 to 65535; give one, or none for the usual one"
        )
    return parts, port


def _header(text: str) -> str:
    """Text of an event that any program may have published, in a header's letters."""
    return re.sub(r"[^\x21-\x7e]", "?", text)[:200]


def _retry_after(header: str | None) -> float | None:
    """Seconds it asked for; dates are not read, the usual pause does for them."""
    if header is None or not (header.strip().isascii() and header.strip().isdigit()):
        return None
    return min(float(header), LONGEST_WAIT_S)
