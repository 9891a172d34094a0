"""A publisher in a process of its own, to be killed: events numbered from the journal's head onwards."""

from __future__ import annotations

import sys
import time

from gaitstream.events import CameraOnline, Journal, Publisher


def main(folder: str, port: int, count: int, pause_s: float) -> None:
    journal = Journal(folder, sync="never")
    start = journal.head
    publisher = Publisher(journal, f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}")
    print("ready", flush=True)  # noqa: T201
    for number in range(start + 1, start + count + 1):
        publisher.publish(CameraOnline(time_ns=number, camera="a"))
        time.sleep(pause_s)
    print("done", flush=True)  # noqa: T201
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
