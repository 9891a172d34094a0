"""Where the operator's key comes from: a file, the environment, or a command that prints it.

`file:PATH`, `env:NAME`, `command:WORDS`, or `none` for a gallery that is not encrypted. Without any of them a
gallery in a file has its key in `<file>.key` beside it; a gallery elsewhere needs one that is named.
"""

from __future__ import annotations

import base64
import binascii
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gaitstream.errors import GalleryKeyError
from gaitstream.gallery.room import no_room
from gaitstream.gallery.sealing import KEY_BYTES

NONE = "none"
COMMAND_S = 30.0
NOTICE = (
    "the gallery is encrypted with the key in {path}: keep a copy of it elsewhere. Without it nobody can "
    "read the gallery again, and nobody can make another"
)


def default_source(file: Path) -> str:
    """The key of a gallery in a file, where none was named."""
    return f"file:{file}.key"


def read_key(source: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """The operator's key, 32 bytes.

    Args:
        source: `file:PATH`, `env:NAME` or `command:WORDS`.
        environment: for `env:`.

    Raises:
        GalleryKeyError: there is none, or it is no key; what was found is not shown.
    """
    kind, _, rest = source.partition(":")
    if kind == "file":
        text = _from_file(Path(rest).expanduser())
    elif kind == "env":
        text = environment.get(rest, "")
    elif kind == "command":
        text = _from_command(rest)
    else:
        raise GalleryKeyError(
            f"gallery.key names no source: give file:PATH, env:NAME, command:WORDS or {NONE}"
        )
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise GalleryKeyError(
            f"{kind}:{rest if kind != 'command' else '...'} holds no key: {KEY_BYTES} bytes in base64 are "
            "needed; 'gaitstream gallery key FILE' makes one"
        )
    return key


def make_key_file(path: Path) -> None:
    """Write a new random key, for the owner alone; never over a file that is there.

    Raises:
        GalleryKeyError: there is one, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise GalleryKeyError(f"{path} is there already: a key is never written over") from error
    except OSError as error:
        why = no_room(error, path.parent) or error.strerror
        raise GalleryKeyError(f"the key file {path} cannot be made ({why})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        why = no_room(error, path.parent) or error.strerror
        raise GalleryKeyError(f"the key file {path} cannot be made ({why})") from error


def _from_file(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise GalleryKeyError(
            f"the gallery's key cannot be read from {path} ({error.strerror}); put it there, or set "
            "gallery.key"
        ) from error


def _from_command(command: str) -> str:
    try:
        words = shlex.split(command)
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=True)
    except (OSError, IndexError, ValueError, subprocess.SubprocessError) as error:
        raise GalleryKeyError(
            f"the command of gallery.key failed ({type(error).__name__}); it prints the key in base64"
        ) from error
    return done.stdout
