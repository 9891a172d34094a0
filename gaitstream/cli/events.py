"""Commands of the event bus."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    events = commands.add_parser("events", help="listen to the event bus")
    actions = events.add_subparsers(dest="action", metavar="ACTION", required=True)
    tail = actions.add_parser("tail", help="print events as they come, one JSON object per line")
    tail.add_argument(
        "--endpoint", metavar="ADDRESS", help="of the publisher (default: tcp://127.0.0.1:5556)"
    )
    tail.add_argument("--replay", metavar="ADDRESS", help="of its replay socket (default: the next port)")
    tail.add_argument("--topic", action="append", metavar="PREFIX", help="only these: identity/, camera/gate")
    tail.add_argument("--beginning", action="store_true", help="begin with all that the journal keeps")
    tail.add_argument("--count", type=int, metavar="N", help="stop after N events")
    tail.set_defaults(handler=_tail)


def _tail(args: argparse.Namespace) -> int:
    from gaitstream.events import Subscriber
    from gaitstream.events.wire import DEFAULT_ENDPOINT, next_endpoint

    endpoint = args.endpoint or DEFAULT_ENDPOINT
    replay = args.replay or next_endpoint(endpoint)
    topics = args.topic or ("",)
    since: Literal["now", "beginning"] = "beginning" if args.beginning else "now"
    with Subscriber(endpoint, replay, topics=topics, since=since) as subscriber:
        subscriber.wait_connected(5.0)
        for number, received in enumerate(subscriber, 1):
            print(received.payload.decode(), flush=True)
            if number == args.count:
                break
    return 0
