"""From the thread that reads the bus to every browser that looks: bounded, and nobody waits for anybody.

Whoever may see the same and asks for the same cameras is one audience: what it is sent is made once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from gaitstream.console.history import StoredEvent
from gaitstream.console.permissions import Actor, Rights

log = logging.getLogger(__name__)
WAITING = 1000
"""Events kept for one browser; when it is slower, the oldest are dropped and it is told."""
GATHER_S = 0.1
"""What comes within so long after something was sent is sent together: a browser draws it at once."""

TextMaker = Callable[[StoredEvent, Rights], str]
"""An event as a stream sends it to whoever has some rights."""


class StreamViewer:
    """One open stream: what it has not taken yet; only in the loop's thread.

    Attributes:
        dropped: events it was too slow for since it last asked.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._woken = asyncio.Event()
        self.dropped = 0

    def put(self, texts: Sequence[str]) -> None:
        """Add what is to be sent, a text for each event."""
        self._texts += texts
        self.dropped += _cut(self._texts)
        if self._texts:
            self._woken.set()

    async def take(self, timeout_s: float) -> Sequence[str]:
        """What has come, oldest first; nothing when nothing comes in this time."""
        try:
            await asyncio.wait_for(self._woken.wait(), timeout_s)
        except TimeoutError:
            return ()
        taken, self._texts = self._texts, []
        self._woken.clear()
        return taken


class Audience:
    """Viewers who are told the same; only in the loop's thread.

    Args:
        rights: of all of them.
        cameras: that they look at; None for all there are.
        make: makes the texts, in another thread.
    """

    def __init__(self, rights: Rights, cameras: frozenset[str] | None, make: TextMaker) -> None:
        self.viewers: set[StreamViewer] = set()
        self._rights = rights
        self._cameras = cameras
        self._make = make
        self._events: list[StoredEvent] = []
        self._woken = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def join(self, viewer: StreamViewer) -> None:
        """Tell somebody, too."""
        self.viewers.add(viewer)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    def leave(self, viewer: StreamViewer) -> None:
        """Tell somebody no more; with the last of them it is over."""
        self.viewers.discard(viewer)
        if not self.viewers and self._telling is not None:
            self._telling.cancel()

    def put(self, events: Iterable[StoredEvent]) -> None:
        """Add what may be seen."""
        self._events += [event for event in events if self._cameras is None or event.camera in self._cameras]
        self._drop(_cut(self._events))
        if self._events:
            self._woken.set()

    def _drop(self, events: int) -> None:
        for viewer in self.viewers:
            viewer.dropped += events

    async def _tell(self) -> None:
        """Hand on what comes, as long as somebody looks."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            events, self._events = self._events, []
            try:
                texts = await asyncio.to_thread(self._texts, events)
            except Exception:
                log.exception("%d events cannot be told", len(events))
                self._drop(len(events))
            else:
                for viewer in self.viewers:
                    viewer.put(texts)
            await asyncio.sleep(GATHER_S)

    def _texts(self, events: Sequence[StoredEvent]) -> list[str]:
        return [self._make(event, self._rights) for event in events]


class Hub:
    """Hands new events to all viewers.

    Args:
        make: makes what streams send.
    """

    def __init__(self, make: TextMaker) -> None:
        self._make = make
        self._audiences: dict[tuple[Rights, frozenset[str] | None], Audience] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def watched(self) -> int:
        """How many streams are open."""
        return sum(len(audience.viewers) for audience in list(self._audiences.values()))

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Hand events out; from any thread, never waits."""
        loop = self._loop
        if events and self._audiences and loop is not None and not loop.is_closed():
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
        key = actor.rights, narrow(actor, cameras)
        audience = self._audiences.setdefault(key, Audience(*key, self._make))
        viewer = StreamViewer()
        audience.join(viewer)
        try:
            yield viewer
        finally:
            audience.leave(viewer)
            if not audience.viewers:
                del self._audiences[key]

    def _put(self, events: Sequence[StoredEvent]) -> None:
        for audience in self._audiences.values():
            audience.put(events)


def narrow(rights: Rights, cameras: Iterable[str] | None) -> frozenset[str] | None:
    """Cameras that are asked for and may be seen; None for all there are."""
    if cameras is None:
        return rights.cameras
    asked = frozenset(cameras)
    return asked if rights.cameras is None else asked & rights.cameras


def _cut(waiting: list[StoredEvent] | list[str]) -> int:
    """Drop the oldest of more than may wait; how many."""
    surplus = max(len(waiting) - WAITING, 0)
    del waiting[:surplus]
    return surplus
