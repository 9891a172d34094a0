"""The application: pages, the REST interface, static files, and what every request goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from gaitstream import __version__
from gaitstream.console.api import UPLOADS, add_api
from gaitstream.console.faults import add_fault_handlers
from gaitstream.console.further import FurtherPage
from gaitstream.console.guards import Guards
from gaitstream.console.pages import ROUTERS
from gaitstream.console.rendering import LOADER, STATIC
from gaitstream.console.site import ConsoleSite


def create_app(site: ConsoleSite, further: Sequence[FurtherPage] = ()) -> FastAPI:
    """The application of one console, which it starts and closes with itself.

    Args:
        site: opened and not started.
        further: pages beside its own.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        site.start()
        try:
            yield
        finally:
            site.close()

    app = FastAPI(
        title="gaitstream console",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.state.site = site
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.state.further = [page.menu for page in further]
    for router in (*ROUTERS, *(page.router for page in further)):
        app.include_router(router, include_in_schema=False)
    for page in further:
        LOADER.searchpath.append(str(page.templates))
    add_api(app)
    add_fault_handlers(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=site.options.allowed_names)
    app.add_middleware(Guards, secure=site.options.secure, uploads=UPLOADS)
    return app
