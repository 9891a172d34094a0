"""What a console holds while it runs: every handler of a page or of the API works with this."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.console.accounts import Accounts
from gaitstream.console.album import Album
from gaitstream.console.desk import GalleryDesk
from gaitstream.console.feed import Feed
from gaitstream.console.health import HealthBoard
from gaitstream.console.history import History, open_history
from gaitstream.console.hub import Hub
from gaitstream.console.jobs import JobDesk
from gaitstream.console.live import LivePictures
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.sessions import Sessions
from gaitstream.console.sharing import SharedParts
from gaitstream.console.showing import stream_text
from gaitstream.console.streams import OpenStreams
from gaitstream.console.throttle import Throttle
from gaitstream.console.verdicts import Verdicts
from gaitstream.errors import ConsoleError
from gaitstream.gallery.retention import DAY_NS

log = logging.getLogger(__name__)
PRUNE_EVERY_S = 3600.0
PRUNE_AGAIN_S = 60.0
TRIES, TRIES_FROM_ANYWHERE = 5, 50
"""Failed logins without a wait: from one address, and for one name from wherever."""


@dataclass
class ConsoleSite:
    """One console; any thread.

    Attributes:
        options: as it was started.
        accounts: users and tokens.
        sessions: of browsers.
        history: events that were.
        desk: the gallery.
        health: how the site is.
        hub: events as they come.
        album: pictures of tracks.
        live: pictures of now.
        jobs: work that takes a while.
        verdicts: what people said of matches.
        streams: that browsers have open.
        shared: parts of pages, made once for many.
        tries: failed logins by address.
        tries_by_name: failed logins by user, from wherever.
    """

    options: ConsoleOptions
    accounts: Accounts
    sessions: Sessions
    history: History
    desk: GalleryDesk
    health: HealthBoard
    hub: Hub
    album: Album
    live: LivePictures
    jobs: JobDesk
    verdicts: Verdicts
    streams: OpenStreams = field(default_factory=OpenStreams)
    shared: SharedParts = field(init=False)
    tries: Throttle = field(default_factory=lambda: Throttle(TRIES))
    tries_by_name: Throttle = field(default_factory=lambda: Throttle(TRIES_FROM_ANYWHERE))
    _feed: Feed | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.shared = SharedParts(self.desk, self.history, self.health)

    @classmethod
    def open(cls, options: ConsoleOptions) -> ConsoleSite:
        """Open everything a console needs.

        Raises:
            ConsoleError: what was asked for is not safe, or a file cannot be opened.
            ConfigError: cams.yaml is wrong.
            EventError: an address of the bus is none.
        """
        options.check()
        where, key = _gallery_of(options)
        accounts = Accounts(options.state)
        history = open_history(options.history or options.state / "history.db")
        desk, health = GalleryDesk(where, key), HealthBoard()
        hub = Hub(lambda event, rights: stream_text(event, desk, rights))
        return cls(
            options=options,
            accounts=accounts,
            sessions=Sessions(accounts),
            history=history,
            desk=desk,
            health=health,
            hub=hub,
            jobs=JobDesk(options.state / "jobs"),
            verdicts=Verdicts(desk, history),
            album=Album(options.cameras),
            live=LivePictures(options.cameras),
            _feed=(
                Feed(options.bus, history, health, hub.publish, desk.merged)
                if options.bus is not None
                else None
            ),
        )

    def start(self) -> None:
        """Begin to listen to the bus, and to delete what is past its time."""
        if self._feed is not None:
            self._feed.start()
        if self.desk.configured and (problem := self.desk.problem()):
            log.warning("%s", problem)
        if self.options.keep_days is not None:
            threading.Thread(target=self._prune, name="gaitstream-console-prune", daemon=True).start()

    def config(self) -> Config:
        """The site's configuration as the file says now.

        Raises:
            NotFoundError: the console was not told of one.
            ConfigError: it is wrong.
        """
        return load_config(self.config_path())

    def config_path(self) -> Path:
        """Where cams.yaml is.

        Raises:
            NotFoundError: the console was not told of one.
        """
        if self.options.cameras is None:
            raise NotFoundError("this console knows no cams.yaml; start it with --cameras FILE")
        return self.options.cameras

    def close(self) -> None:
        """Let go of everything; allowed more than once."""
        if self._over.is_set():
            return
        self._over.set()
        if self._feed is not None:
            self._feed.close()
        self.jobs.close()
        self.desk.close()
        self.history.close()
        self.accounts.close()

    def _prune(self) -> None:
        days = self.options.keep_days or 0.0
        while not self._over.is_set():
            now_ns = time.time_ns()
            try:
                count = self.history.prune(now_ns - int(days * DAY_NS), now_ns + DAY_NS)
            except ConsoleError as error:
                log.error("events past --keep-days stay in the history for now: %s", error)
                self._over.wait(PRUNE_AGAIN_S)
                continue
            if count:
                log.info("%d events are past --keep-days and left the history", count)
            self._over.wait(PRUNE_EVERY_S)


def _gallery_of(options: ConsoleOptions) -> tuple[str | Path | None, str | None]:
    """Where the gallery is, and its key: as the options say, or else cams.yaml."""
    if options.gallery is not None or options.cameras is None:
        return options.gallery, options.key
    section = load_config(options.cameras).gallery
    return section.where, options.key or section.key
