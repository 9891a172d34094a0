"""Keys of publisher and subscribers: CURVE (Curve25519), as ZeroMQ has it built in.

A folder holds the publisher's pair, `server.key` and `server.pub`, and `allowed`, the public keys that may
connect, one a line with a name. A subscriber has a pair of its own and the publisher's public key. Keys are
40 characters of Z85; a `.key` file holds both halves and is readable by its owner alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import zmq
from zmq.utils import z85

from gaitstream.errors import EventError

SERVER = "server"
ALLOWED = "allowed"
KEY_CHARACTERS = 40

Prepare = Callable[[zmq.Socket[bytes]], None]
"""Sets the options of a socket before it connects."""


class Pair(msgspec.Struct, frozen=True):
    """Both halves of a key, in Z85."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"Pair(public={self.public!r})"


class Allowed(NamedTuple):
    """One line of the list."""

    public: str
    name: str


def secure(
    count: int, key: str | Path | None, server_key: str | Path | Sequence[str | Path] | None
) -> list[Prepare]:
    """What sets the keys of the sockets to each of `count` publishers.

    Raises:
        EventError: only one half was given, a key cannot be read, or there are not as many as publishers.
    """
    if key is None and server_key is None:
        return [no_keys] * count
    if key is None or server_key is None:
        raise EventError("a publisher with keys needs both: key='alerts.key' and server_key='server.pub'")
    pair = read_pair(key)
    given = [server_key] * count if isinstance(server_key, str | Path) else list(server_key)
    if len(given) != count:
        raise EventError(
            f"{count} publishers and {len(given)} public keys; give one for each, or one for all"
        )
    return [_use(pair, read_public(one)) for one in given]


def no_keys(_: zmq.Socket[bytes]) -> None:
    """The publisher asks for none."""


def _use(pair: Pair, server: str) -> Prepare:
    def prepare(socket: zmq.Socket[bytes]) -> None:
        socket.curve_secretkey = pair.secret.encode()
        socket.curve_publickey = pair.public.encode()
        socket.curve_serverkey = server.encode()

    return prepare


def new_pair(folder: str | Path, name: str) -> Path:
    """Make `NAME.key` and `NAME.pub`; the path of the first.

    Raises:
        EventError: the name cannot be a file's, the files exist, or the folder cannot be written.
    """
    if not _is_name(name) or name != Path(name).name or name.startswith("."):
        raise EventError(f"{name!r} cannot be the name of a key; give one word, as alerts or server")
    public, secret = (half.decode() for half in zmq.curve_keypair())
    path = Path(folder) / f"{name}.key"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        for target, text, mode in (
            (path, msgspec.json.encode(Pair(public, secret)).decode(), 0o600),
            (path.with_suffix(".pub"), public, 0o644),
        ):
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(fd, "w") as file:
                file.write(text + "\n")
    except FileExistsError as error:
        raise EventError(f"{error.filename} exists; delete it first, or take another name") from error
    except OSError as error:
        raise EventError(f"{path}: the key cannot be written ({error})") from error
    return path


def read_pair(path: str | Path) -> Pair:
    """A `.key` file.

    Raises:
        EventError: it cannot be read, or is none.
    """
    try:
        pair = msgspec.json.decode(Path(path).read_bytes(), type=Pair)
        if zmq.curve_public(pair.secret.encode()).decode() != pair.public:
            raise ValueError("the halves do not belong together")
    except OSError as error:
        raise EventError(
            f"{path}: the key cannot be read ({error}); 'gaitstream keys new' makes one"
        ) from error
    except (ValueError, RecursionError, zmq.ZMQError) as error:
        raise EventError(f"{path} is no key ({error}); 'gaitstream keys new' makes one") from error
    return pair


def read_public(key: str | Path) -> str:
    """A public key: the 40 characters themselves, or a `.pub` file with them.

    Raises:
        EventError: it is neither.
    """
    if isinstance(key, str) and _is_key(key):
        return key
    try:
        text = Path(key).read_text(errors="replace").strip()
    except (OSError, ValueError) as error:
        raise EventError(f"{key}: the public key cannot be read ({error})") from error
    if not _is_key(text):
        raise EventError(
            f"{key} is no public key: {KEY_CHARACTERS} characters were expected; give a .pub file"
        )
    return text


def read_allowed(folder: str | Path) -> list[Allowed]:
    """Who may connect; empty without a list.

    Raises:
        EventError: the list cannot be read.
    """
    path = Path(folder) / ALLOWED
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EventError(f"{path}: the list cannot be read ({error})") from error
    words = [line.split(maxsplit=1) for line in lines if line.strip()]
    return [Allowed(word[0], word[1].strip() if len(word) > 1 else "") for word in words if _is_key(word[0])]


def allow(folder: str | Path, public: str, name: str) -> None:
    """Let a key in from now on.

    Raises:
        EventError: the list cannot be written, or the name cannot stand in it or is taken by another key.
    """
    if not _is_name(name):
        raise EventError(
            f"{name!r} cannot be a name in the list; give words with one space between them, with --name"
        )
    entries = read_allowed(folder)
    taken = [entry for entry in entries if entry.name == name and entry.public != public]
    if taken:
        raise EventError(f"{name!r} is taken by another key; revoke it first, or give --name")
    _write(folder, [entry for entry in entries if entry.public != public] + [Allowed(public, name)])


def revoke(folder: str | Path, who: str) -> Allowed:
    """Let a key, given itself or by its name, in no more; connections it has are closed within a second.

    Raises:
        EventError: the list has no such key.
    """
    entries = read_allowed(folder)
    found = next((entry for entry in entries if who in (entry.public, entry.name)), None)
    if found is None:
        names = ", ".join(entry.name for entry in entries[:20]) or "nobody"
        raise EventError(f"{who!r} is not in {Path(folder) / ALLOWED}; it has {names}")
    _write(folder, [entry for entry in entries if entry != found])
    return found


def _write(folder: str | Path, entries: list[Allowed]) -> None:
    path = Path(folder) / ALLOWED
    beside = path.with_name(f".{ALLOWED}.{os.getpid()}")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        beside.write_text("".join(f"{entry.public} {entry.name}\n" for entry in entries))
        beside.chmod(0o600)
        beside.replace(path)
    except OSError as error:
        raise EventError(f"{path}: the list cannot be written ({error})") from error


def _is_name(text: str) -> bool:
    """Whether a name reads back from its line as it is."""
    return bool(text) and text.isprintable() and text == " ".join(text.split())


def _is_key(text: str) -> bool:
    if len(text) != KEY_CHARACTERS or not text.isascii():
        return False
    try:
        return len(z85.decode(text.encode())) == 32
    except (KeyError, ValueError, OverflowError):
        return False
