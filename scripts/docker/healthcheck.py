#!/usr/bin/env python3
"""Health check of a container: the event bus answers and, with $GAITSTREAM_METRICS_URL, the metrics do too.

Exit code 0 when healthy, 1 when not; one line says which. $GAITSTREAM_EVENTS and $GAITSTREAM_REPLAY name
other addresses than the defaults of `cams.yaml`.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request

from gaitstream.addresses import DEFAULT_ENDPOINT, DEFAULT_REPLAY
from gaitstream.events import Subscriber

TIMEOUT_S = 4.0


def bus_answers(endpoint: str, replay: str) -> bool:
    """Whether the publisher answers a request within the time allowed."""
    deadline = time.monotonic() + TIMEOUT_S
    with Subscriber(endpoint, replay) as subscriber:
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
    if not bus_answers(endpoint, replay):
        print(f"unhealthy: no answer from the event bus at {replay}")
        return 1
    if url and not metrics_answer(url):
        print(f"unhealthy: no metrics at {url}")
        return 1
    print("healthy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
