"""`gaitstream demo --console`: the demo's world in the console, with the report's figures as a page of it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.console.embedded import tell_first_password
from gaitstream.console.feed import Bus
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.serving import address_of, free_port, serve
from gaitstream.demo.figures_page import figures_page
from gaitstream.demo.live_view import open_browser
from gaitstream.demo.plan import SITE
from gaitstream.demo.record import DemoRecord
from gaitstream.events import Journal, Publisher


def open_console(root: Path, record: DemoRecord, port: int, console: Console) -> None:
    """Serve the console on what the demo has left, until Ctrl-C.

    Args:
        root: folder of the demo's cams.yaml, gallery, journal and evidence.
        record: of the demo, for the page of its figures.
        port: of the console; 0 takes a free one.
        console: the terminal.

    Raises:
        ConsoleError: the port is taken.
    """
    state = root / "console"
    with Publisher(Journal(root / "journal"), FREE_ENDPOINT, FREE_ENDPOINT) as publisher:
        options = ConsoleOptions(
            state,
            bus=Bus((publisher.endpoint,), (publisher.replay,), cursor=root / "cursor"),
            cameras=root / SITE,
            journals=(root / "journal",),
            port=port or free_port(),
        )
        tell_first_password(state)
        address = address_of(options)
        opened = "" if open_browser(address) else "; open it in a browser"
        console.print(f"Console: {address}{opened}. Ctrl-C ends it, and the demo's world with it.")
        serve(options, (figures_page(record),))
