"""Live pictures: one upstream per camera, however many browsers look, and only while one does."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from gaitstream.config.places import evidence_folder
from gaitstream.config.reading import load_config
from gaitstream.errors import EvidenceError, MissingEvidenceError
from gaitstream.evidence.live_client import watch
from gaitstream.evidence.live_server import live_folder

log = logging.getLogger(__name__)
IDLE_S = 5.0
"""How long a camera is watched after the last browser has asked for a picture."""


@dataclass(frozen=True)
class LivePicture:
    """The newest picture of a camera.

    Attributes:
        number: rises with each.
        data: JPEG.
    """

    number: int
    data: bytes


@dataclass
class _Channel:
    """One camera that is watched now; only in the loop's thread."""

    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    picture: LivePicture | None = None
    asked_s: float = 0.0
    over: bool = False
    task: asyncio.Task[None] | None = None


class LivePictures:
    """Hands out the newest picture of each camera.

    Args:
        cameras: the cams.yaml; None where the console knows none.

    Attributes:
        on: whether the site offers live pictures.
    """

    def __init__(self, cameras: Path | None) -> None:
        self.on = False
        self._folder: Path | None = None
        self._channels: dict[str, _Channel] = {}
        if cameras is not None:
            config = load_config(cameras)
            self.on = config.evidence.live
            self._folder = live_folder(evidence_folder(config, cameras))

    async def next(self, camera: str, after: int = 0, wait_s: float = 2.0) -> LivePicture | None:
        """The newest picture of a camera, if its number is above one; None when none comes in this time."""
        if not self.on or self._folder is None:
            return None
        channel = self._channel(self._folder, camera)
        channel.asked_s = asyncio.get_running_loop().time()

        def is_there() -> bool:
            return channel.over or (channel.picture is not None and channel.picture.number > after)

        try:
            async with asyncio.timeout(wait_s), channel.changed:
                await channel.changed.wait_for(is_there)
        except TimeoutError:
            return None
        picture = channel.picture
        return picture if picture is not None and picture.number > after else None

    def _channel(self, folder: Path, camera: str) -> _Channel:
        channel = self._channels.get(camera)
        if channel is None or channel.over:
            channel = self._channels[camera] = _Channel()
            channel.task = asyncio.get_running_loop().create_task(_watch(folder, camera, channel))
        return channel


async def _watch(folder: Path, camera: str, channel: _Channel) -> None:
    """Take pictures until nobody has asked for a while, or the run ends."""
    loop = asyncio.get_running_loop()
    number = 0
    try:
        async for data in watch(folder, camera):
            number += 1
            async with channel.changed:
                channel.picture = LivePicture(number, data)
                channel.changed.notify_all()
            if loop.time() - channel.asked_s > IDLE_S:
                break
    except (EvidenceError, MissingEvidenceError) as error:
        log.debug("no live picture of %s: %s", camera, error)
    finally:
        async with channel.changed:
            channel.over = True
            channel.changed.notify_all()
