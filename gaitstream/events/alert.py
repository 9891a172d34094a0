"""Wakes a thread that waits in a poll."""

from __future__ import annotations

import contextlib
import os


class Alert:
    """Wakes the thread that polls `fd`; raising it again before it was lowered costs nothing.

    Attributes:
        raised: the thread looks at what there is to do before it waits again.
    """

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.raised = False

    def raise_(self) -> None:
        """Wake it."""
        if not self.raised:
            self.raised = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._write, b"\0")

    def hold(self) -> None:
        """The thread is awake anyway: nobody needs to wake it until `lower`."""
        self.raised = True

    def lower(self) -> None:
        """Before looking at what there is to do."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        self.raised = False

    def close(self) -> None:
        """Close both ends."""
        os.close(self.fd)
        os.close(self._write)
