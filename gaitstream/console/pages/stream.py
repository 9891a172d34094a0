"""Events as they come, as server-sent events for the pages."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from gaitstream.console.access import CurrentSite, EventReader, still_holds
from gaitstream.console.permissions import Actor
from gaitstream.console.site import ConsoleSite

router = APIRouter()
BEAT_S = 10.0
"""A comment is sent this often where nothing happens, and whether the session still holds is looked at."""


@router.get("/stream")
async def stream(
    request: Request,
    site: CurrentSite,
    actor: EventReader,
    camera: Annotated[list[str] | None, Query()] = None,
) -> StreamingResponse:
    """All new events of the cameras that are asked for and may be seen."""
    site.streams.check(actor)
    wanted = frozenset(camera) if camera else None
    return StreamingResponse(
        messages(request, site, actor, wanted),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def messages(
    request: Request, site: ConsoleSite, actor: Actor, cameras: frozenset[str] | None
) -> AsyncIterator[str]:
    """The stream's messages, until the session is over.

    `event: <type>` with the event as JSON (`ShownEvent`) in `data:` and its id in `id:`; `event: dropped`
    with a number when the browser was too slow for so many.
    """
    looked_s = time.monotonic()
    with site.streams.holding(actor):
        async with site.hub.watching(actor, cameras) as viewer:
            yield "retry: 2000\n: welcome\n\n"  # not before: what comes after it is missed by nobody
            while True:
                texts = await viewer.take(BEAT_S)
                if viewer.dropped:
                    yield f"event: dropped\ndata: {viewer.dropped}\n\n"
                    viewer.dropped = 0
                yield "".join(texts) or ": beat\n\n"
                if time.monotonic() - looked_s >= BEAT_S:
                    looked_s = time.monotonic()
                    if not await run_in_threadpool(still_holds, request, actor):
                        return
