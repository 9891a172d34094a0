"""The application: pages, the REST interface, static files, and what every request goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from gaitstream import __version__
from gaitstream.console.api import UPLOADS, add_api
from gaitstream.console.faults import add_fault_handlers
from gaitstream.console.guards import Guards
from gaitstream.console.pages import ROUTERS
from gaitstream.console.rendering import STATIC
from gaitstream.console.site import Site


def create_app(site: Site) -> FastAPI:
    """The application of one console, which it starts and closes with itself.

    Args:
        site: opened and not started.
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
        openapi_url="/api/v1/openapi.json",
        lifespan=lifespan,
    )
    app.state.site = site
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in ROUTERS:
        app.include_router(router, include_in_schema=False)
    add_api(app)
    add_fault_handlers(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=site.options.allowed_names)
    app.add_middleware(Guards, secure=site.options.secure, uploads=UPLOADS)
    return app
