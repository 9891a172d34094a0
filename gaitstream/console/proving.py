"""Whether somebody knows a password, with waits for whoever guesses: by address, and by name."""

from __future__ import annotations

from fastapi import Request

from gaitstream.console.accounts import User
from gaitstream.console.refusals import BusyError
from gaitstream.console.site import ConsoleSite
from gaitstream.console.throttle import network_of


def prove(site: ConsoleSite, request: Request, name: str, password: str) -> User | None:
    """The user of a name and a password; None where they do not belong together.

    Raises:
        BusyError: too many were wrong, from this address or for this name.
    """
    address = network_of(request.client.host if request.client else "")
    _begin(site.tries.begin(address, name))
    _begin(site.tries_by_name.begin(name))
    user = site.accounts.check(name, password)
    if user is not None:
        site.tries.passed(address, name)
        site.tries_by_name.passed(name)
    return user


def _begin(wait_s: float) -> None:
    if wait_s > 0:
        raise BusyError(f"too many wrong passwords; wait {wait_s:.0f} seconds", wait_s)
