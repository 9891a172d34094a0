"""Live pictures as answers: the newest one, or all as they come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from gaitstream.console.access import still_holds
from gaitstream.console.asking import see_camera
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite

BOUNDARY = "picture"
LOOK_S = 10.0
"""How often an open stream is looked at: whether the session still holds."""


async def newest_picture(site: ConsoleSite, actor: Actor, camera: str, after: int) -> Response:
    """The newest picture of a camera as JPEG, with its number in `X-Picture`.

    Raises:
        NotFoundError: the actor may not see it, or no picture after that number comes.
    """
    see_camera(actor, camera)
    picture = await site.live.next(camera, after)
    if picture is None:
        raise NotFoundError(f"{camera} gives no live picture now")
    return Response(picture.data, media_type="image/jpeg", headers={"X-Picture": str(picture.number)})


def all_pictures(request: Request, site: ConsoleSite, actor: Actor, camera: str) -> Response:
    """All pictures of a camera as they come, as multipart JPEG.

    Raises:
        NotFoundError: the actor may not see it.
        BusyError: the actor has too many streams open.
    """
    see_camera(actor, camera)
    site.streams.check(actor)
    media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    return StreamingResponse(_parts(request, site, actor, camera), media_type=media_type)


async def _parts(request: Request, site: ConsoleSite, actor: Actor, camera: str) -> AsyncIterator[bytes]:
    """Parts of a multipart answer until the run ends, the browser goes, or the session is over."""
    number, looked_s = 0, time.monotonic()
    with site.streams.holding(actor):
        while picture := await site.live.next(camera, number):
            number = picture.number
            yield _part(picture.data)
            if time.monotonic() - looked_s >= LOOK_S:
                looked_s = time.monotonic()
                if not await run_in_threadpool(still_holds, request, actor):
                    return


def _part(jpeg: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"
