"""How a command ends that is told to."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn


@contextlib.contextmanager
def tidy_at_the_end() -> Iterator[None]:
    """Let SIGTERM end what is made meanwhile as Ctrl-C does: nothing unproved, perhaps gigabytes, is left."""
    if threading.current_thread() is not threading.main_thread():  # which alone has signals
        yield
        return

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
