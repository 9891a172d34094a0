"""Watching live pictures that a run on this machine offers: finds the process of a camera, and follows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gaitstream.errors import EvidenceError, MissingEvidenceError
from gaitstream.evidence.live_server import check_private

PATIENCE_S = 5.0
MOST_BYTES = 16 * 2**20
"""Of one picture."""
_GONE = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError)


async def cameras(folder: Path) -> dict[str, Path]:
    """Which cameras are live now, with the socket of the process that has each.

    Args:
        folder: of the sockets, see `live_server.live_folder`.

    Raises:
        EvidenceError: others may put sockets there.
    """
    found: dict[str, Path] = {}
    try:
        check_private(folder)
    except FileNotFoundError:
        return found
    except OSError as error:
        raise EvidenceError(f"live pictures are not looked for in {folder}: {error}") from error
    for path in sorted(folder.glob("*.sock")):
        try:
            async with asyncio.timeout(PATIENCE_S), _asked(path, "cameras") as (reader, length):
                found |= dict.fromkeys(json.loads(await reader.readexactly(length)), path)
        except ConnectionRefusedError:  # a process that was killed
            path.unlink(missing_ok=True)
        except _GONE:
            continue
    return found


async def watch(folder: Path, camera: str) -> AsyncIterator[bytes]:
    """Pictures of a camera as JPEG, the newest each time, until the run ends.

    Raises:
        MissingEvidenceError: no run on this machine offers the camera.
        EvidenceError: the process of the camera broke off.
    """
    path = (await cameras(folder)).get(camera)
    if path is None:
        raise MissingEvidenceError(
            f"no run on this machine offers live pictures of camera {camera[:64]!r}: set 'evidence: "
            "{live: true}' in its cams.yaml and start it as this user"
        )
    try:
        async with _asked(path, camera) as (reader, _):
            while head := await _head(reader):
                yield await reader.readexactly(_length(head))
                await reader.readexactly(2)
    except _GONE as error:
        raise EvidenceError(f"the live pictures of camera {camera} broke off ({error})") from error


@asynccontextmanager
async def _asked(path: Path, what: str) -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """An answer's body and its length, 0 where it has none."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(f"GET /{what} HTTP/1.0\r\n\r\n".encode())
        await writer.drain()
        head = await _head(reader)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ValueError(head.partition(b"\r\n")[0].decode("latin-1"))
        yield reader, _length(head) if b"content-length:" in head.lower() else 0
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Header lines up to the empty one; nothing at the end of the stream."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and 0 <= int(value) <= MOST_BYTES:
            return int(value)
    raise ValueError("a part without a length")
