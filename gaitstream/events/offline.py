"""An event put into a journal while no run writes to it."""

from __future__ import annotations

import time
from pathlib import Path

from gaitstream.errors import EventError
from gaitstream.events.codec import Stamp
from gaitstream.events.journal import Journal
from gaitstream.events.schema import Event


def append_offline(folder: Path, event: Event) -> bool:
    """Put an event in a journal, where subscribers find it by replay.

    Returns:
        False when there is no such journal, or a run writes to it: nothing was put in.

    Raises:
        JournalWriteError: there is no room.
    """
    if not folder.is_dir():
        return False
    try:
        journal = Journal(folder)
    except EventError:  # the run that has it tells of what changed itself
        return False
    try:
        now_ns = time.time_ns()
        stamp = Stamp(journal.id.hex(), journal.epoch)
        journal.append(event.topic, stamp.encode(event, journal.head + 1, now_ns), now_ns)
    finally:
        journal.close()
    return True
