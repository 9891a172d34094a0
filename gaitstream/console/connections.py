"""Connections of the server: whoever says too little, reads too little or opens too many is hung up on."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import suppress

from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from gaitstream.console.throttle import network_of

REQUEST_S = 10.0
"""In which the head of a request has to be there, from its first byte or from the connection's beginning."""
STALLED_S = 20.0
"""In which some of what waits to be read has to be read."""
LOOK_S = 5.0
"""How often that is looked at."""
TLS_CLOSES_S = 40.0
"""In which a closed connection of TLS has to be over; asyncio itself waits 30 s for the other side's part."""
MOST, MOST_OF_ONE = 600, 200
"""Connections in all, at most half the files that may be open; and those of one address."""
SEND_BUFFER_BYTES = 64 * 1024
"""That the system holds for each: little, so that it shows soon whether somebody reads."""
_WORDS = b"too many connections are open; close some pages, or try again in a moment\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(_WORDS), _WORDS)
)


class PromptConnection(H11Protocol):
    """A connection that is closed when no request begins on it, or no answer is read from it, in time.

    Only in the loop's thread.
    """

    _waiting: asyncio.TimerHandle | None = None
    _looking: asyncio.TimerHandle | None = None
    _socket: socket.socket
    _network = ""
    _left_bytes = 0
    """That waited to be read at the last look."""
    _read_s = 0.0
    """When something was read, or nothing had to be."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._network = network_of(self.client[0]) if self.client else ""
        self._read_s = self.loop.time()
        self._socket = transport.get_extra_info("socket")
        if self._is_one_too_many():
            transport.write(_FULL)
            transport.close()
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            self._watch()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take what came; it may have made a request whole."""
        super().data_received(data)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or no body of one: what was being answered gets no other answer."""
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except LocalProtocolError:  # its answer is under way, or over
            self.transport.close()

    def resume_writing(self) -> None:
        """Go on with an answer of which enough was read."""
        super().resume_writing()
        self._read_s = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._stop_waiting()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _is_one_too_many(self) -> bool:
        """Behind a proxy, which limits them itself, all come from one address."""
        of_one = sum(getattr(other, "_network", "") == self._network for other in self.connections)
        return len(self.connections) > most() or (of_one > MOST_OF_ONE and not self.config.proxy_headers)

    def _watch(self) -> None:
        if self._is_answering():
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(REQUEST_S, self._hang_up)

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _hang_up(self) -> None:
        self._waiting = None
        if not self._is_answering():
            self.transport.close()

    def _look(self) -> None:
        """Hang up, and forget what is left, when nothing of a held up or last answer is read."""
        if self.transport.is_closing() and self.scheme == "https":
            self._looking = self.loop.call_later(TLS_CLOSES_S, self._cut)
            return
        left_bytes, now_s = self.transport.get_write_buffer_size(), self.loop.time()
        is_held_up = self.flow.write_paused or self.transport.is_closing()
        if not is_held_up or left_bytes < self._left_bytes:
            self._read_s = now_s
        self._left_bytes = left_bytes
        if now_s - self._read_s >= STALLED_S:
            self.transport.abort()
        else:
            self._looking = self.loop.call_later(LOOK_S, self._look)

    def _cut(self) -> None:
        """End a connection of TLS that was closed: its transport tells and does nothing any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def most() -> int:
    """Connections that are taken at once."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files // 2)
