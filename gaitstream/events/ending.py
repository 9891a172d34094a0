"""The end of a ZeroMQ context, which is not waited for without limit."""

from __future__ import annotations

import logging
import threading

import zmq

log = logging.getLogger(__name__)

MOST_END_S = 5.0
"""How long ZeroMQ is waited for when everything of ours is closed."""


def end(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """End a context whose sockets are closed; one that does not let go holds up nobody.

    It was seen once to wait for ever with nothing of ours open.
    """
    ending = threading.Thread(target=context.term, name="gaitstream-zmq-end", daemon=True)
    ending.start()
    ending.join(MOST_END_S)
    if ending.is_alive():
        log.warning("ZeroMQ has not ended within %g s after all sockets were closed: going on", MOST_END_S)
