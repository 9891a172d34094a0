"""Who has gone silent, and what to do about it. A pure core: every time is an argument.

DeepStream's errors do not reach Python, and its own reconnection works on one camera every three seconds
and gives up silently in some cases. So frames are watched here: a camera that stays silent is told as
offline, later taken out and put in again, and when all of them stay silent the process is started anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Act(StrEnum):
    """What has to be done."""

    OFFLINE = "offline"
    ONLINE = "online"
    REVIVE = "revive"
    """Remove the camera and add it again."""
    RESTART = "restart"
    """End the process and start another."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do; `camera` is empty for RESTART."""

    act: Act
    camera: str = ""
    reason: str = ""


@dataclass(slots=True)
class _Watch:
    last_s: float
    revive_s: float
    online: bool = False
    next_revival_s: float | None = None


class Watchdog:
    """Watches the cameras of one process.

    Args:
        stall_s: silence after which a camera is offline.
        restart_s: silence of all cameras after which the process is started anew.
        start_s: as `restart_s`, for a process that does not play yet: engines may be loading.
    """

    def __init__(self, stall_s: float, restart_s: float, start_s: float) -> None:
        self._stall_s = stall_s
        self._restart_s = restart_s
        self._start_s = start_s
        self._cameras: dict[str, _Watch] = {}
        self._started_s = 0.0
        self._last_s: float | None = None

    def start(self, cameras: Mapping[str, float], now_s: float) -> list[Action]:
        """A process was started; cameras that were online are not any more.

        Args:
            cameras: by id, the silence after which one is removed and added again, once and again.
            now_s: the time.
        """
        lost = [Action(Act.OFFLINE, c, "the process ended") for c, w in self._cameras.items() if w.online]
        self._cameras = {camera: _Watch(now_s, revive_s) for camera, revive_s in cameras.items()}
        self._started_s, self._last_s = now_s, None
        return lost

    @property
    def plays(self) -> bool:
        """Whether the process plays, by its word or its frames."""
        return self._last_s is not None

    def play(self, now_s: float) -> None:
        """The process plays: engines are loaded, and cameras connect from now on."""
        self._last_s = now_s
        for watch in self._cameras.values():
            watch.last_s = max(watch.last_s, now_s)

    def add(self, camera: str, revive_s: float, now_s: float) -> None:
        """A camera was added; arguments as for `start`."""
        self._cameras[camera] = _Watch(now_s, revive_s)

    def remove(self, camera: str) -> None:
        """A camera was removed."""
        self._cameras.pop(camera, None)

    def frame(self, camera: str, now_s: float) -> list[Action]:
        """A frame of a camera arrived."""
        self._last_s = now_s
        watch = self._cameras.get(camera)
        if watch is None:
            return []
        watch.last_s, watch.next_revival_s = now_s, None
        if watch.online:
            return []
        watch.online = True
        return [Action(Act.ONLINE, camera)]

    def check(self, now_s: float) -> list[Action]:
        """What is due; call it about once a second."""
        actions: list[Action] = []
        for camera, watch in self._cameras.items():
            silent_s = now_s - watch.last_s
            if watch.online and silent_s > self._stall_s:
                watch.online = False
                actions.append(Action(Act.OFFLINE, camera, f"no frame for {silent_s:.0f} s"))
            due_s = watch.next_revival_s or watch.last_s + watch.revive_s
            if self._last_s is not None and now_s > due_s:
                watch.next_revival_s = now_s + watch.revive_s
                actions.append(Action(Act.REVIVE, camera, f"no frame for {silent_s:.0f} s"))
        since_s = self._started_s if self._last_s is None else self._last_s
        limit_s = self._start_s if self._last_s is None else self._restart_s
        if self._cameras and now_s - since_s > limit_s:
            return [a for a in actions if a.act is Act.OFFLINE] + [
                Action(Act.RESTART, reason=f"no frame of any camera for {now_s - since_s:.0f} s")
            ]
        return actions
