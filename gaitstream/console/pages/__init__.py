"""The pages, one module each: a router, a dataclass of what its template shows, and a template of its name.

A handler asks for `CurrentSite` and for an actor with a permission (`gaitstream.console.access`), and
answers with `gaitstream.console.rendering.render`. Handlers that touch the history or the gallery are plain
functions, not coroutines: they run beside the loop.
"""

from __future__ import annotations

from gaitstream.console.pages import events, login, stream

ROUTERS = (login.router, stream.router, events.router)
