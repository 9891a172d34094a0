"""From the thread that reads the bus to every browser that looks: bounded, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from gaitstream.console.history import StoredEvent
from gaitstream.console.permissions import Actor

WAITING = 1000
"""Events kept for one browser; when it is slower, the oldest are dropped and it is told."""


class StreamViewer:
    """One open stream: what it has not taken yet.

    Attributes:
        dropped: events it was too slow for since it last asked.
    """

    def __init__(self, cameras: frozenset[str] | None) -> None:
        self._cameras = cameras
        self._events: list[StoredEvent] = []
        self._woken = asyncio.Event()
        self.dropped = 0

    def put(self, events: Iterable[StoredEvent]) -> None:
        """Add what may be seen; only in the loop's thread."""
        self._events += [event for event in events if self._cameras is None or event.camera in self._cameras]
        surplus = len(self._events) - WAITING
        if surplus > 0:
            del self._events[:surplus]
            self.dropped += surplus
        if self._events:
            self._woken.set()

    async def take(self, timeout_s: float) -> Sequence[StoredEvent]:
        """What has come, oldest first; nothing when nothing comes in this time."""
        try:
            await asyncio.wait_for(self._woken.wait(), timeout_s)
        except TimeoutError:
            return ()
        taken, self._events = self._events, []
        self._woken.clear()
        return taken


class Hub:
    """Hands new events to all viewers."""

    def __init__(self) -> None:
        self._viewers: set[StreamViewer] = set()
        self._texts: dict[str, str] = {}
        self._making = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def watched(self) -> int:
        """How many streams are open."""
        return len(self._viewers)

    def text(self, event: StoredEvent, make: Callable[[StoredEvent], str]) -> str:
        """An event as a stream sends it, made once for all who watch; any thread."""
        with self._making:
            known = self._texts.get(event.event_id)
            if known is None:
                known = self._texts[event.event_id] = make(event)
                while len(self._texts) > WAITING:
                    del self._texts[next(iter(self._texts))]
            return known

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Hand events out; from any thread, never waits."""
        loop = self._loop
        if events and self._viewers and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._put, events)

    @asynccontextmanager
    async def watching(
        self, actor: Actor, cameras: frozenset[str] | None = None
    ) -> AsyncIterator[StreamViewer]:
        """A stream of what an actor may see.

        Args:
            actor: whose eyes.
            cameras: only these; None for all that the actor may see.
        """
        self._loop = asyncio.get_running_loop()
        viewer = StreamViewer(narrow(actor, cameras))
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def _put(self, events: Sequence[StoredEvent]) -> None:
        for viewer in self._viewers:
            viewer.put(events)


def narrow(actor: Actor, cameras: Iterable[str] | None) -> frozenset[str] | None:
    """Cameras that are asked for and may be seen; None for all there are."""
    if cameras is None:
        return actor.cameras
    asked = frozenset(cameras)
    return asked if actor.cameras is None else asked & actor.cameras
