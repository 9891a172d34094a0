"""Receives the run's events over ZeroMQ, as any subscriber would, and counts them."""

from __future__ import annotations

import threading

from gaitstream.events import Event, Publisher, RunStopped, Subscriber, VisitorNamed, VisitorSeen


class EventCounter:
    """A subscriber in a thread of its own.

    Args:
        publisher: whose events; all since the beginning of its journal.

    Attributes:
        received: events received.
        visits: those about visitors.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.received = 0
        self.visits: list[Event] = []
        self._subscriber = Subscriber(publisher.endpoint, publisher.replay, since="beginning")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="demo-events", daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float) -> int:
        """Wait until the run's last event came, at most `timeout_s`; events received."""
        self._thread.join(timeout_s)
        self._over.set()
        self._thread.join()
        self._subscriber.close()
        return self.received

    def _listen(self) -> None:
        while not self._over.is_set():
            got = self._subscriber.receive(0.2)
            if got is not None:
                self.received += 1
                if isinstance(got.event, VisitorSeen | VisitorNamed):
                    self.visits.append(got.event)
                if isinstance(got.event, RunStopped):
                    return
