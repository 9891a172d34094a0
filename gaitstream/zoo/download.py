"""One file over HTTP: resumed where it broke off, and never longer than it should be.

What is on disk is trusted for nothing but its length: whoever calls compares the sum afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import http
import http.client
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gaitstream import __version__
from gaitstream.errors import ZooError

log = logging.getLogger(__name__)

Report = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be, None where nobody says."""
CHUNK_BYTES = 1 << 18
TIMEOUT_S = 30.0
VALIDATOR, ORIGIN = ".etag", ".origin"
"""Beside the file that grows: its version, and the address it comes from."""
TRIES = 5
"""Attempts in a row that brought nothing, after which it is given up."""
DRIPS, LEAST_BYTES = 50, 1 << 14
"""Attempts that brought less than so much together: a server might send a byte each time for ever."""
SPARE_BYTES = 64 << 20
"""Room left on the disk."""
MOST_BYTES = 8 << 30
"""Where nobody says how long the file is."""
AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""


_COUNT = r"[0-9]{1,18}"
"""Bytes, as headers say them."""


class _BrokenOffError(Exception):
    """The connection failed; what came before it is kept."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """What to fetch, and where to.

    Attributes:
        url: http or https.
        part: the file that grows; it stays when a download is given up, and the next one goes on from there.
        size: bytes it must have; None takes the server's word.
        sizes: where `size` is None, those that the server may name; any where there are none.
        report: told how far it is.
        say: told in words where it is fetched from, and what is tried again.
        pause: waits so many seconds between attempts.
    """

    url: str
    part: Path
    size: int | None = None
    sizes: tuple[int, ...] = ()
    report: Report = lambda _done, _total: None
    say: Callable[[str], None] = log.info
    pause: Callable[[float], None] = time.sleep

    def run(self) -> None:
        """Fetch the file; `part` is complete afterwards. What another address sent is begun anew.

        Raises:
            ZooError: the server refuses, sends another length than it should, or breaks off again and again;
                or the file cannot be written.
        """
        self._begin()
        kept = self._length()
        self.say(f"fetching {self._shown}" + f", going on after {kept / 1e6:.1f} MB" * (kept > 0))
        fruitless, drips = 0, 0
        furthest = counted = self._length()
        while True:
            try:
                self._attempt()
                return
            except _BrokenOffError as error:
                # Bytes that were thrown away and came again are no progress.
                fruitless = 0 if self._length() > furthest else fruitless + 1
                furthest = max(furthest, self._length())
                drips, counted = (0, furthest) if furthest >= counted + LEAST_BYTES else (drips + 1, counted)
                if fruitless == TRIES or drips == DRIPS:
                    times = f"{max(fruitless, drips)} times within {LEAST_BYTES >> 10} KiB"
                    raise ZooError(f"{self._shown} broke off {times} ({error}): {self._advice}") from error
                wait_s = 2.0**fruitless / 2
                self.say(f"broke off ({error}): trying again in {wait_s:g} s")
                self.pause(wait_s)

    def _begin(self) -> None:
        """Let go of what another address sent: no sum may be known that tells a mixture of two files."""
        origin = self.part.with_name(f"{self.part.name}{ORIGIN}")
        mine = hashlib.sha256(self.url.encode()).hexdigest()  # addresses may hold a key
        if origin.is_file() and origin.read_text(encoding="ascii", errors="replace") != mine:
            self._discard()
        origin.write_text(mine, encoding="ascii")

    def _attempt(self) -> None:
        """One request; returns when the file is complete."""
        have = self._length()
        if self.size is not None and have == self.size:
            return
        if self.size is not None and have > self.size:
            self._discard()
            have = 0
        with self._open(have) as response:
            start, total = self._extent(response, have)
            self._check(response, start, total)
            self._keep_validator(response)
            self._write(response, start, total)

    def _open(self, have: int) -> contextlib.AbstractContextManager[http.client.HTTPResponse]:
        headers = {"User-Agent": f"gaitstream/{__version__}", "Accept-Encoding": "identity"}
        validator = self._validator()
        if have and validator:
            # A server whose file has changed meanwhile sends the whole new one.
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        elif have:
            headers |= {"Range": f"bytes={have}-"}
        try:
            request = urllib.request.Request(self.url, headers=headers)
            found: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            self._refused(error, have)
        except (OSError, http.client.HTTPException) as error:
            # As `ssl.SSLCertVerificationError` has it: a Python may be built without `ssl`.
            if hasattr(getattr(error, "reason", None), "verify_message"):
                raise ZooError(
                    f"{self._shown} shows a certificate that is not trusted here ({plain(error)}): "
                    "nothing was taken. Where a proxy of yours stands between, name its certificates in "
                    "SSL_CERT_FILE; or give the file with --from"
                ) from error
            raise _BrokenOffError(plain(error)) from error
        except ValueError as error:  # of a redirection, which may name anything
            raise ZooError(
                f"{self._shown} leads to an address that is none ({plain(error)}): give another with --url"
            ) from error
        return found

    def _refused(self, error: urllib.error.HTTPError, have: int) -> NoReturn:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            self._discard()
            raise _BrokenOffError("the server has no more than is here") from error
        if error.code in AGAIN:
            raise _BrokenOffError(f"answer {error.code}") from error
        raise ZooError(
            f"{self._shown} answers {error.code} {plain(error.reason)}: see whether the address still "
            "holds, or give another with --url, or the file with --from"
        ) from error

    def _extent(self, response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
        """Where the answer begins, and the length of the whole file if the server says it."""
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            length = response.headers.get("Content-Length", "")
            return 0, int(length) if re.fullmatch(_COUNT, length) else None
        said = response.headers.get("Content-Range", "")
        found = re.fullmatch(rf"bytes ({_COUNT})-{_COUNT}/({_COUNT}|\*)", said.strip())
        if found is None or int(found[1]) != have:
            self._discard()
            sent = plain(said)[:60] or "no range"
            raise _BrokenOffError(f"asked to go on at {have}, the server sends {sent}")
        return have, None if found[2] == "*" else int(found[2])

    def _check(self, response: http.client.HTTPResponse, start: int, total: int | None) -> None:
        """Look at what the server announces before anything is taken."""
        if self.url.startswith("https:") and not response.url.startswith("https:"):
            raise ZooError(
                f"{self._shown} leads to {plain(without_query(response.url))}, which is not encrypted: "
                "nothing was taken"
            )
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            self._discard()
            raise ZooError(
                f"{self._shown} sends the file packed ({plain(coding)[:20]}), which was not asked for: give "
                "another address with --url, or the file with --from"
            )
        sizes = self.sizes if self.size is None else (self.size,)
        expected = " or ".join(map(str, sizes))
        if sizes and total not in (None, *sizes):
            self._discard()
            raise ZooError(
                f"{self._shown} has {total} bytes where {expected} are expected: it is another file, or a "
                "page in its place; nothing was kept"
            )
        missing = (self.size or total or 0) - start
        if missing + SPARE_BYTES > shutil.disk_usage(self.part.parent).free:
            raise ZooError(
                f"{self.part.parent} has no room for {missing / 1e6:.0f} MB: make room, or set "
                "GAITSTREAM_CACHE to a folder that has it"
            )

    def _write(self, response: http.client.HTTPResponse, start: int, total: int | None) -> None:
        expected = self.size if self.size is not None else total
        most = MOST_BYTES if expected is None else expected
        done = start
        try:
            with self.part.open("ab" if start else "wb") as file:
                while chunk := _read(response):
                    done += len(chunk)
                    if done > most:
                        break
                    file.write(chunk)
                    self.report(done, expected)
        except OSError as error:
            raise ZooError(f"{self.part} cannot be written: {error}") from error
        if done > most:
            self._discard()
            raise ZooError(
                f"{self._shown} sends more than {most} bytes: it is another file; nothing was kept"
            )
        if expected is not None and done < expected:
            raise _BrokenOffError(f"ended after {done} of {expected} bytes")
        if not done:
            self._discard()
            raise ZooError(f"{self._shown} sends an empty file: give another address with --url")

    def _length(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _validator(self) -> str:
        path = self._validator_path
        return path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""

    def _keep_validator(self, response: http.client.HTTPResponse) -> None:
        """Remember which version of the file this is; weak tags do not promise equal bytes."""
        tag = response.headers.get("ETag", "")
        if tag and tag.isascii() and not tag.startswith("W/"):
            self._validator_path.write_text(tag, encoding="ascii")
        else:
            self._validator_path.unlink(missing_ok=True)

    @property
    def _advice(self) -> str:
        if self._length():
            return "what came is kept, the same command goes on from there"
        return (
            "nothing came. See whether this machine reaches it (https_proxy names a proxy), give another "
            "with --url, or the file with --from"
        )

    @property
    def _shown(self) -> str:
        return without_query(self.url)

    @property
    def _validator_path(self) -> Path:
        return self.part.with_name(f"{self.part.name}{VALIDATOR}")

    def _discard(self) -> None:
        discard(self.part)


def without_query(url: str) -> str:
    """An address as it may be shown and kept: what follows a question mark may be a key."""
    return url.partition("?")[0]


def plain(said: object) -> str:
    """What a server or an error says, in one line that a terminal can show."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(said))
    shown = " ".join(text.split())[:200]
    return shown or (type(said).__name__ if isinstance(said, Exception) else "")


def discard(part: Path) -> None:
    """Remove what a download has left."""
    for suffix in ("", VALIDATOR, ORIGIN):
        part.with_name(f"{part.name}{suffix}").unlink(missing_ok=True)


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)  # what came, so that a slow download is seen and kept
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(plain(error)) from error
