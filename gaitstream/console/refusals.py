"""Why a request is not granted; each kind has its status (`gaitstream.console.faults`)."""

from __future__ import annotations

from gaitstream.errors import ConsoleError


class UnauthorisedError(ConsoleError):
    """Nobody is logged in, or the token is not known."""


class ForbiddenError(ConsoleError):
    """The actor may not do this."""


class NotFoundError(ConsoleError):
    """There is no such thing, or the actor may not know of it."""


class BusyError(ConsoleError):
    """Too much of this goes on already.

    Attributes:
        retry_s: when to try again.
    """

    def __init__(self, message: str, retry_s: float) -> None:
        super().__init__(message)
        self.retry_s = retry_s
