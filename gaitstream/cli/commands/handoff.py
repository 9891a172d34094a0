"""`gaitstream handoff`."""

from __future__ import annotations

import argparse
import logging
import signal

from gaitstream.addresses import DEFAULT_ENDPOINT
from gaitstream.cli.commands.events import check_keys, one_or_all, tell
from gaitstream.cli.commands.journals import publish_from
from gaitstream.errors import ConfigError
from gaitstream.events import Subscriber
from gaitstream.fleet.handoff import HandOffRules
from gaitstream.fleet.handoff_service import TOPICS, HandOffService


def _local(endpoint: str) -> str:
    return endpoint.replace("//localhost:", "//127.0.0.1:")


def handoff(args: argparse.Namespace) -> int:
    """Follow people from camera to camera until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    check_keys(args)
    endpoints = args.endpoint or [DEFAULT_ENDPOINT]
    if not args.fleet and _local(args.publish) in map(_local, endpoints):
        raise ConfigError(
            f"--publish {args.publish}: hand-off listens there, by --endpoint, and would hear itself; give "
            "another port"
        )
    state = args.state or args.journal.with_name(f"{args.journal.name}.transit")

    def listen(since_ns: int) -> Subscriber:
        return Subscriber(
            endpoints, args.replay, topics=TOPICS, since=since_ns, fleet=args.fleet,
            key=args.key, server_key=one_or_all(args.server_key), on_notice=tell,
        )  # fmt: skip

    with publish_from(args, args.publish) as publisher:
        service = HandOffService(listen, publisher, HandOffRules(args.horizon, args.lost), state)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        logging.info(
            "following %s; events at %s",
            "the fleet's workers" if args.fleet else ", ".join(endpoints),
            publisher.endpoint,
        )
        service.run()
    logging.info("%d events taken in, %d published", service.taken, service.told)
    return 0
