"""Sessions of browsers: a random value in a signed cookie, of which the server keeps the digest."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from gaitstream.console.accounts import Accounts, User, digest
from gaitstream.errors import ConsoleError

IDLE_S = 2 * 3600.0
"""A session nobody used for this long is over."""
LONGEST_S = 12 * 3600.0
"""And so is one this old."""
_NOTE_EVERY_S = 60.0


class Sessions:
    """Makes, finds and ends sessions; signs what browsers send back.

    Args:
        accounts: where they are kept.
        clock: seconds since the epoch.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._clock = clock
        self._secret = accounts.secret()

    def new_value(self) -> str:
        """A cookie's value that belongs to nobody yet, for the page with the login form."""
        token = secrets.token_urlsafe(32)
        return f"{token}.{self._sign('cookie', token)}"

    def start(self, user: User) -> str:
        """Begin a session; the value of its cookie, always a new one."""
        value, now_s = self.new_value(), self._clock()
        with self._accounts.database.writing() as db:
            db.execute("DELETE FROM session WHERE created_s < ? OR seen_s < ?", self._limits(now_s))
            db.execute(
                "INSERT INTO session (digest, user, created_s, seen_s) VALUES (?, ?, ?, ?)",
                (digest(value), user.name, now_s, now_s),
            )
        return value

    def find(self, value: str) -> User | None:
        """Whose session a cookie's value is; None when it is over, or was never one."""
        if not self.is_ours(value):
            return None
        now_s = self._clock()
        rows = self._accounts.database.rows(
            "SELECT user, created_s, seen_s FROM session WHERE digest = ?", (digest(value),)
        )
        oldest_s, idle_s = self._limits(now_s)
        if not rows or rows[0][1] < oldest_s or rows[0][2] < idle_s:
            return None
        user, _, seen_s = rows[0]
        if now_s - seen_s > _NOTE_EVERY_S:
            # Where that cannot be kept the session holds all the same, as long as it was last noted to.
            with suppress(ConsoleError), self._accounts.database.writing() as db:
                db.execute("UPDATE session SET seen_s = ? WHERE digest = ?", (now_s, digest(value)))
        return self._accounts.find(user)

    def end(self, value: str) -> None:
        """End a session."""
        with self._accounts.database.writing() as db:
            db.execute("DELETE FROM session WHERE digest = ?", (digest(value),))

    def is_ours(self, value: str) -> bool:
        """Whether this console made a cookie's value."""
        token, _, signature = value.partition(".")
        return hmac.compare_digest(signature.encode(), self._sign("cookie", token).encode())

    def csrf(self, value: str) -> str:
        """What forms of the pages of a cookie carry."""
        return self._sign("csrf", value)

    def csrf_holds(self, value: str, given: str) -> bool:
        """Whether a form came from such a page."""
        return hmac.compare_digest(given.encode(), self.csrf(value).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()

    def _limits(self, now_s: float) -> tuple[float, float]:
        return now_s - LONGEST_S, now_s - IDLE_S
