"""Prints who is seen where; after a restart it goes on where it stopped.

python alerts.py [ENDPOINT [REPLAY]] [--cursor FILE]
"""

from __future__ import annotations

import argparse

from gaitstream.events import Notice, Subscriber
from gaitstream.events.schema import Identity


def tell(notice: Notice) -> None:
    """Something happened to the stream itself: lost events, a restart, a restored journal."""
    print(f"# {notice.kind}: {notice.detail}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5556")
    parser.add_argument("replay", nargs="?")
    parser.add_argument("--cursor", default="alerts.cursor", help="how far it came; made when missing")
    args = parser.parse_args()
    with Subscriber(
        args.endpoint,
        args.replay,
        topics=["identity/"],
        since="beginning",
        cursor=args.cursor,
        on_notice=tell,
    ) as subscriber:
        for received in subscriber:
            event = received.event
            # A provisional answer may still change: wait for `identity.confirmed` or `identity.revised`.
            if isinstance(event, Identity) and event.status == "known" and not event.provisional:
                print(f"{event.captured_at} {event.camera} {event.person} ({event.type})", flush=True)
            subscriber.commit()  # only now it counts as dealt with


if __name__ == "__main__":
    main()
