"""Who may connect to the publisher: everybody on this machine, or the keys of a list that may change.

ZeroMQ asks the door (ZAP, RFC 27) for every connection that speaks its protocol and, where there are keys,
has one. What fails before that, as a connection without a key or with another publisher's, is seen by
watching the sockets, and so is the end of every connection: there may be only so many at a time.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from pathlib import Path

import zmq
from zmq.utils import z85

from gaitstream.errors import EventError
from gaitstream.events.alert import Alert
from gaitstream.events.connections import hang_up, next_event
from gaitstream.events.keys import ALLOWED, SERVER, read_allowed, read_pair
from gaitstream.events.unfinished import Unfinished

log = logging.getLogger(__name__)

_ZAP = "inproc://zeromq.zap.01"
_DOMAIN = "gaitstream"
MAX_CONNECTIONS = 256
"""At the same time, to all guarded sockets together."""
LOOK_S = 0.05
"""Between looks at what connections have sent."""
TELL_AGAIN_S = 10.0
"""The same refusal of the same address is logged this often at most."""
_FAILED = (
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
)


class Door:
    """Checks keys and counts connections in a thread of its own.

    Args:
        context: of the sockets it guards.
        folder: with `server.key` and `allowed`; None asks nobody for a key.
        most: connections at the same time; further ones are refused.

    Attributes:
        refused: connections refused.
        unfinished: is to be told what is read from the guarded sockets.

    Raises:
        EventError: the publisher's key or the list cannot be read.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        folder: str | Path | None = None,
        *,
        most: int = MAX_CONNECTIONS,
    ) -> None:
        self.refused = 0
        self._folder = Path(folder) if folder is not None else None
        self._pair = read_pair(self._folder / f"{SERVER}.key") if self._folder is not None else None
        self._most = most
        self._state: tuple[int, int, int] | None = None
        self._names: dict[str, str] = {}
        self._told_s: dict[tuple[str, str], float] = {}
        self._addresses: dict[int, str] = {}
        self._endpoints: set[str] = set()
        self._look_s = 0.0
        self.unfinished = Unfinished()
        self._failing = False
        self._monitors: list[zmq.Socket[bytes]] = []
        self._guard = threading.Lock()
        self._revoked = threading.Event()
        self._read_list()
        self._zap: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(_ZAP)
        self._alert = Alert()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="gaitstream-door", daemon=True)
        self._thread.start()

    def prepare(self, guarded: zmq.Socket[bytes]) -> None:
        """Set a socket's options before it is bound."""
        if self._pair is not None:
            guarded.curve_server = True
            guarded.curve_secretkey = self._pair.secret.encode()
            guarded.curve_publickey = self._pair.public.encode()
        guarded.zap_domain = _DOMAIN.encode()
        guarded.handshake_ivl = 10_000
        monitor = guarded.get_monitor_socket(
            zmq.Event.ACCEPTED | zmq.Event.DISCONNECTED | zmq.Event.MONITOR_STOPPED | sum(_FAILED)
        )
        with self._guard:
            self._monitors.append(monitor)
        self._alert.raise_()

    def bound(self, endpoint: str) -> None:
        """A prepared socket was bound: only connections to addresses of such are ever closed."""
        self._endpoints.add(endpoint)

    @staticmethod
    def forget(guarded: zmq.Socket[bytes]) -> None:
        """Before a prepared socket is closed; the thread closes what it watched it by."""
        guarded.disable_monitor()

    def take_revoked(self) -> bool:
        """Whether a key left the list since the last call: open connections must be closed then."""
        self._read_list()
        if self._revoked.is_set():
            self._revoked.clear()
            return True
        return False

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._alert.raise_()
        self._thread.join()
        for watching in (self._zap, *self._monitors):
            watching.close(linger=0)
        self._alert.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except Exception:
                log.exception("a connection could not be judged; it is refused")

    def _turn(self) -> None:
        poller = zmq.Poller()
        poller.register(self._alert.fd, zmq.POLLIN)
        poller.register(self._zap, zmq.POLLIN)
        with self._guard:
            monitors = list(self._monitors)
        for monitor in monitors:
            poller.register(monitor, zmq.POLLIN)
        ready = dict(poller.poll(int(LOOK_S * 1000) if self._addresses else None))
        if self._alert.fd in ready:
            self._alert.lower()
        for monitor in monitors:  # before who comes: these tell who is there
            if monitor in ready:
                self._watch(monitor, *next_event(monitor))
        if self._zap in ready:
            self._judge(self._zap.recv_multipart())
        if time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + LOOK_S
            self._end_endless()

    def _end_endless(self) -> None:
        """Close connections that send and send what never becomes a message."""
        for connection in self.unfinished.greedy(time.monotonic()):
            address = self._addresses.get(connection[0], "an unknown address")
            if any(hang_up(connection, endpoint) for endpoint in self._endpoints):
                self._tell(address, "it sends what never becomes a message")

    def _judge(self, request: list[bytes]) -> None:
        """Answer ZeroMQ: version, sequence, domain, address, identity, mechanism, key."""
        version, sequence, _, address, _, mechanism, *rest = request
        why, name = "it could not be judged", ""
        try:
            why, name = self._refusal(mechanism, rest)
        finally:
            answer = (b"400", b"no", b"") if why else (b"200", b"OK", name.encode())
            self._zap.send_multipart((version, sequence, *answer, b""))
        if why:
            self._tell(address.decode(errors="replace"), why)

    def _refusal(self, mechanism: bytes, credentials: list[bytes]) -> tuple[str, str]:
        """Why a connection is refused, or nothing and whose it is."""
        if len(self._addresses) > self._most:
            self._addresses = {fd: address for fd, address in self._addresses.items() if _peer(fd) == address}
        if len(self._addresses) > self._most:
            return f"there are {self._most} connections already", ""
        if self._pair is None:
            return "", "anybody"
        if mechanism == b"CURVE" and credentials:
            self._read_list()
            name = self._names.get(z85.encode(credentials[0]).decode())
            if name is not None:
                return "", name or "key"
        return "its key is not allowed", ""

    def _watch(self, monitor: zmq.Socket[bytes], kind: int, value: int) -> None:
        """Log who fails before a key is judged: the failure names no address, the end after it does."""
        if kind == zmq.Event.MONITOR_STOPPED:
            with self._guard:
                self._monitors.remove(monitor)
            monitor.close(linger=0)
        elif kind == zmq.Event.ACCEPTED:
            self._addresses[value] = _peer(value)
            self.unfinished.accept(value)
        elif kind in _FAILED:
            self._failing = True
        elif kind == zmq.Event.DISCONNECTED:
            address = self._addresses.pop(value, "an unknown address")
            if self._failing and self._pair is not None:
                self._tell(address, "it has no key, or takes this for another publisher")
            elif self._failing:
                self._tell(address, "it does not speak ZeroMQ's protocol")
            self._failing = False

    def _tell(self, address: str, why: str) -> None:
        self.refused += 1
        if self._is_news(address.rpartition(":")[0] or address, why):
            log.warning("events: refused a connection from %s: %s", address, why)

    def _is_news(self, where: str, what: str) -> bool:
        """Whether something is worth a line in the log: it was not told lately."""
        now_s = time.monotonic()
        if now_s - self._told_s.get((where, what), -TELL_AGAIN_S) < TELL_AGAIN_S:
            return False
        if len(self._told_s) > 1000:
            self._told_s.clear()
        self._told_s[where, what] = now_s
        return True

    def _read_list(self) -> None:
        """Read the list again when its file changed; while it cannot be read, the old one counts."""
        if self._folder is None:
            return
        with self._guard:
            state = _state(self._folder / ALLOWED)
            if state == self._state:
                return
            try:
                names = {entry.public: entry.name for entry in read_allowed(self._folder)}
            except EventError as error:
                if self._is_news(ALLOWED, str(error)):
                    log.error("%s", error)
                return
            if self._state is not None:
                log.info("events: %d keys are allowed", len(names))
            self._state = state
            if set(self._names) - set(names):
                self._revoked.set()
            self._names = names


def is_local(endpoint: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if endpoint.startswith(("ipc://", "inproc://")):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    return host in ("localhost", "[::1]", "lo") or (host.startswith("127.") and host.count(".") == 3)


def _peer(descriptor: int) -> str:
    """Whose connection it is, if it is not closed already; ZeroMQ itself does not say."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as accepted:
            host, port = accepted.getpeername()[:2]
    except (OSError, ValueError):
        return "an unknown address"
    return f"{host}:{port}"


def _state(path: Path) -> tuple[int, int, int]:
    try:
        state = path.stat()
    except OSError:
        return (0, 0, 0)
    return (state.st_mtime_ns, state.st_ino, state.st_size)
