#!/usr/bin/env python3
"""Health check of a container: the event bus answers and, with $GAITSTREAM_METRICS_URL, the metrics do too.

Exit code 0 when healthy, 1 when not; one line says which. $GAITSTREAM_EVENTS and $GAITSTREAM_REPLAY name
other addresses than the defaults of `cams.yaml`. Where `events.keys` is set, $GAITSTREAM_EVENTS_KEY and
$GAITSTREAM_EVENTS_SERVER_KEY name the files of a key that is allowed, and of the publisher's public one.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request

from gaitstream.addresses import DEFAULT_ENDPOINT, DEFAULT_REPLAY
from gaitstream.errors import EventError
from gaitstream.events import Subscriber

TIMEOUT_S = 4.0


def bus_answers(endpoint: str, replay: str) -> bool:
    """Whether the publisher answers a request within the time allowed."""
    deadline = time.monotonic() + TIMEOUT_S
    key, server_key = map(os.environ.get, ("GAITSTREAM_EVENTS_KEY", "GAITSTREAM_EVENTS_SERVER_KEY"))
    with Subscriber(endpoint, replay, key=key, server_key=server_key) as subscriber:
        while not subscriber.connected and time.monotonic() < deadline:
            subscriber.receive(0.1)
        return subscriber.connected


def metrics_answer(url: str) -> bool:
    """Whether the metrics page is served."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """Check and say what was found."""
    endpoint = os.environ.get("GAITSTREAM_EVENTS", DEFAULT_ENDPOINT)
    replay = os.environ.get("GAITSTREAM_REPLAY", DEFAULT_REPLAY)
    url = os.environ.get("GAITSTREAM_METRICS_URL")
    try:
        answers = bus_answers(endpoint, replay)
    except EventError as error:
        print(f"unhealthy: {error}")
        return 1
    if not answers:
        print(f"unhealthy: no answer from the event bus at {replay}; does it ask for a key?")
        return 1
    if url and not metrics_answer(url):
        print(f"unhealthy: no metrics at {url}")
        return 1
    print("healthy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
