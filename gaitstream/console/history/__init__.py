"""What was published, kept so that any part of it is found at once: an index of the events, without names."""

from __future__ import annotations

from gaitstream.console.history.base import EventCount, EventFilter, EventPage, History, StoredEvent
from gaitstream.console.history.opening import open_history

__all__ = ["EventCount", "EventFilter", "EventPage", "History", "StoredEvent", "open_history"]
