"""The pages, one module each: a router, a dataclass of what its template shows, and a template of its name.

A handler asks for `CurrentSite` and for an actor with a permission (`gaitstream.console.access`), and
answers with `gaitstream.console.rendering.render`. Handlers that touch the history or the gallery are plain
functions, not coroutines: they run beside the loop.
"""

from __future__ import annotations

from gaitstream.console.pages import (
    account,
    audit,
    calibration,
    cameras,
    enrol,
    event,
    events,
    health,
    jobs,
    live,
    login,
    people,
    person,
    pictures,
    recent,
    review,
    search,
    stream,
    users,
    visitors,
)

ROUTERS = (
    login.router,
    stream.router,
    live.router,
    recent.router,
    events.router,
    event.router,
    pictures.router,
    enrol.router,
    review.router,
    people.router,
    person.router,
    visitors.router,
    search.router,
    cameras.router,
    jobs.router,
    health.router,
    calibration.router,
    audit.router,
    account.router,
    users.router,
)
"""In the order in which addresses are looked for: `/events/rows` before `/events/{event_id}`."""
