"""A synthetic camera that gives pictures with their ground truth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gaitstream.synth.address import Address, parse_address
from gaitstream.synth.background import Scenery
from gaitstream.synth.cameras import Array, PinholeCamera
from gaitstream.synth.identity import WalkKind
from gaitstream.synth.render import Renderer
from gaitstream.synth.truth import Truth
from gaitstream.synth.world import Site, World, find_site

CHUNK = 32
"""Pictures whose joints are computed at once; kinematics cost little more for many times than for one."""

SET_BACK_S = 1.0
"""A live camera follows a clock that is set back by more than this, and waits otherwise."""


class SyntheticCamera:
    """Pictures of one camera, one after the other, as fast as they are asked for.

    Unless the address says `live=1` it does not wait: whoever wants the pace of a camera paces the reading by
    the time stamps. A live one gives each picture when it is due and leaves out those that were not read in
    time; its world time is the clock's, so that all live cameras of a world agree, also across processes.

    Args:
        address: what to show.
        clock: UTC nanoseconds, for live cameras.
        sleep: waits for seconds, for live cameras.

    Attributes:
        address: what is shown.
        live: whether pictures come by the clock.
        camera: the pinhole camera.
        world: the people.
        fps: pictures per second of world time.
        width, height: of the pictures in pixels.
    """

    def __init__(
        self,
        address: Address,
        *,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        site = find_site(address.site)
        self.address = address
        self.live = address.live
        self._clock, self._sleep = clock, sleep
        self.camera = _mounted(site, address)
        self.world = _world(site, address.people, address.seed, address.day, address.only, address.walk)
        self.fps, self.width, self.height = address.fps, address.width, address.height
        self._looks = [walker.appearance for walker in self.world.walkers]
        self._renderer = Renderer(
            self.camera, scenery(site), address.day, address.quality or None, address.noise
        )
        self._end = None if address.seconds is None else max(1, round(address.seconds * address.fps))
        self._next = 0
        self._chunk: tuple[int, Array, Array] | None = None

    def read(self) -> tuple[int, NDArray[np.uint8], Truth] | None:
        """The next picture.

        Returns:
            Capture time (UTC nanoseconds), image (BGR uint8 `[height, width, 3]`) and ground truth; None
            when the address' `seconds` are over.
        """
        index = self._take()
        return None if index is None else (self.time_ns(index), self.image(index), self.truth(index))

    def look(self) -> tuple[int, NDArray[np.uint8]] | None:
        """The next picture, likewise, for those who do not ask who is on it."""
        index = self._take()
        return None if index is None else (self.time_ns(index), self.image(index))

    def time_ns(self, index: int) -> int:
        """Capture time of picture `index` in UTC nanoseconds."""
        return self.address.epoch_ns + round((self.address.start + index / self.fps) * 1e9)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Picture `index`, BGR uint8 `[height, width, 3]`."""
        joints, _ = self._moment(index)
        return self._renderer.picture(joints, self.world.stature, self.world.girth, self._looks, index)

    def truth(self, index: int) -> Truth:
        """Ground truth of picture `index`."""
        joints, standing = self._moment(index)
        return self.world.truth(self.camera, joints, standing, self.time_ns(index))

    def _take(self) -> int | None:
        """Number of the next picture; None at the end."""
        index = self._due() if self.live else self._next
        if self._end is not None and index >= self._end:
            return None
        self._next = index + 1
        return index

    def _due(self) -> int:
        """Wait for the next picture of a live camera; its number."""
        first_ns = self.time_ns(0)
        now = math.ceil((self._clock() - first_ns) / 1e9 * self.fps)
        if now < self._next - self.fps * SET_BACK_S:
            self._next = max(0, now)  # the clock was set back; waiting until it caught up would be no camera
        index = max(self._next, now)
        if self._end is not None:
            index = min(index, self._end)
        wait_ns = self.time_ns(index) - self._clock()
        if wait_ns > 0:
            self._sleep(wait_ns / 1e9)
        return index

    def _moment(self, index: int) -> tuple[Array, Array]:
        first = index - index % CHUNK
        if self._chunk is None or self._chunk[0] != first:
            times = self.address.start + np.arange(first, first + CHUNK) / self.fps
            self._chunk = (first, *self.world.joints(times))
        _, joints, standing = self._chunk
        return joints[index - first], standing[index - first]


def open_synthetic(url: str) -> SyntheticCamera:
    """Open a synthetic camera by its `synth://` address; see `Address` for the parameters.

    Cameras with the same site, people, seed and day show the same people at the same world time.

    Raises:
        ConfigError: the address is wrong.
        SourceError: there is no such site.
    """
    return SyntheticCamera(parse_address(url))


def scenery(site: Site) -> Scenery:
    """What surrounds the people of a site."""
    return Scenery(site.floor, site.backdrop, site.width, site.depth)


def _mounted(site: Site, address: Address) -> PinholeCamera:
    wanted = {
        "width": address.width, "height": address.height, "fps": address.fps, "tilt_deg": address.tilt,
        "fov_deg": address.fov,
    }  # fmt: skip
    changes = {name: value for name, value in wanted.items() if value is not None}
    return site.camera(address.camera, mount=address.mount, **changes)


@lru_cache(maxsize=8)
def _world(
    site: Site, people: int, seed: int, day: int, only: tuple[int, ...] | None, walk: WalkKind
) -> World:
    return World(site, people, seed, day, only, walk)
