"""Shards of a gallery as Ray actors: named, detached, started again for ever, each in several replicas.

Only distances and ids go between machines, and probes: embeddings of people in view. No template does.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from gaitstream.errors import GalleryError
from gaitstream.gallery.ray_loading import TOKEN_HELP, load_ray, refuse_open_nodes
from gaitstream.gallery.shards import Answer, ShardedPeople
from gaitstream.gallery.shards_server import ShardPlace, ShardServer

log = logging.getLogger(__name__)

NAMESPACE = "gaitstream"
PATIENCE_S = 30.0
"""How long a shard may be without a replica before a search fails; an actor is started again by then."""
LOAD_S = 3600.0
"""How long a shard may take to load its people: a million of them take minutes."""
LATE_S = 5.0
"""When a replica has not answered for so long, another one is asked, too: a machine may hang, and not die."""
DOUBTED_S = 60.0
"""How long a replica that was late is asked after all others."""
_PAUSE_S = 0.2


def connect(address: str) -> None:
    """Join a Ray cluster, if this process has not joined one.

    Args:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`.

    Raises:
        MissingExtraError: Ray is not installed.
        GalleryError: nobody answers there, or a node asks for no token.
    """
    ray = _ray()
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise GalleryError(
            f"no Ray cluster lets this process in at {address} ({str(error).splitlines()[0]}); {TOKEN_HELP}"
        ) from error
    refuse_open_nodes(ray, GalleryError)


def start_shards(places: Sequence[ShardPlace], replicas: int = 1) -> ShardedPeople:
    """Start what is missing of a gallery's shards in the Ray cluster this process is connected to.

    Args:
        places: all shards of one gallery.
        replicas: of each, on different nodes where there are as many.

    Raises:
        MissingExtraError: Ray is not installed.
        GalleryError: a shard does not start.
    """
    ray = _ray()
    remote = ray.remote(ShardServer)
    started = [[_start(remote, place, number) for number in range(replicas)] for place in places]
    for place, actors in zip(places, started, strict=True):
        for actor in actors:
            with suppress(AttributeError):  # of an older release
                actor.adjust.remote(place.rules)  # one that was there goes by the rules of whoever started it
        _await_loaded(place, actors)
    return ShardedPeople.over([RayShard(actors) for actors in started])


def stop_shards(places: Sequence[ShardPlace], replicas: int = 1) -> None:
    """End the actors of a gallery's shards."""
    ray = _ray()
    for place in places:
        for number in range(replicas):
            try:
                actor = ray.get_actor(_name(place, number), namespace=NAMESPACE)
            except ValueError:
                continue
            ray.kill(actor)


class RayShard:
    """The replicas of one shard.

    Args:
        replicas: handles of the actors.
    """

    def __init__(self, replicas: Sequence[Any]) -> None:
        self.replicas = list(replicas)
        self._turn = count()
        self._teller = 0
        self._doubted_s = [0.0] * len(self.replicas)

    def ask(self, method: str, *arguments: Any) -> Answer:
        """Call a method of the next replica; news are asked of one, which remembers what it told."""
        return _RayAnswer(self, self._teller if method == "news" else next(self._turn), method, arguments)

    def order(self, first: int) -> list[int]:
        """Numbers of the replicas in which they are asked; those that were late lately come last."""
        turns = [(first + step) % len(self.replicas) for step in range(len(self.replicas))]
        now_s = time.monotonic()
        return sorted(turns, key=lambda one: self._doubted_s[one] > now_s)

    def doubt(self, replica: int) -> None:
        """A replica does not answer, and does not die."""
        self._doubted_s[replica] = time.monotonic() + DOUBTED_S

    def answered(self, replica: int, method: str) -> None:
        """A replica answered; who told news is asked for the next."""
        if method == "news":
            self._teller = replica


class _RayAnswer:
    """An answer on its way; asked of other replicas when those that were asked die, or are late."""

    def __init__(self, shard: RayShard, first: int, method: str, arguments: tuple[Any, ...]) -> None:
        self._shard = shard
        self._method = method
        self._arguments = arguments
        self._order = shard.order(first)
        self._sent = 0
        self._waiting: dict[Any, int] = {}
        self._late_s = 0.0
        self._deadline_s = time.monotonic() + PATIENCE_S
        self._send()

    def ready(self) -> bool:
        """See `Answer`; true, too, when there is nothing more to be waited for."""
        if self._done(0.0) or time.monotonic() >= self._deadline_s:
            return True
        self._hurry()
        return False

    def get(self) -> Any:
        """See `Answer`."""
        ray = _ray()
        said = "every replica that was asked is silent"
        if self._done(0.0):  # whoever died long ago, while nobody waited, is given the time to come back
            self._deadline_s = max(self._deadline_s, time.monotonic() + PATIENCE_S)
        while True:
            for reference in self._done(max(0.0, min(self._late_s, self._deadline_s) - time.monotonic())):
                replica = self._waiting.pop(reference)
                try:
                    found = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                except ray.exceptions.RayActorError as error:
                    said = str(error).splitlines()[0]
                else:
                    self._shard.answered(replica, self._method)
                    return found
            if time.monotonic() >= self._deadline_s:
                raise GalleryError(
                    f"no replica of a shard of the gallery has answered for {PATIENCE_S:g} s ({said}); "
                    "see 'ray status' and 'ray list actors'"
                )
            if not self._waiting:
                if self._sent % len(self._order) == 0:
                    time.sleep(_PAUSE_S)
                self._send()
            self._hurry()

    def _done(self, seconds: float) -> list[Any]:
        """What is answered, or failed, within this time."""
        done, _ = _ray().wait(list(self._waiting), timeout=seconds)
        return list(done)

    def _hurry(self) -> None:
        """Ask another replica, too, when those that were asked are late."""
        if time.monotonic() < self._late_s:
            return
        for replica in self._waiting.values():
            self._shard.doubt(replica)
        if len(self._waiting) < len(self._order):
            self._send()
        else:
            self._late_s = self._deadline_s

    def _send(self) -> None:
        """Ask the next replica that is not being asked."""
        while (replica := self._order[self._sent % len(self._order)]) in self._waiting.values():
            self._sent += 1
        self._sent += 1
        self._late_s = time.monotonic() + LATE_S
        reference = getattr(self._shard.replicas[replica], self._method).remote(*self._arguments)
        self._waiting[reference] = replica


def _await_loaded(place: ShardPlace, actors: Sequence[Any]) -> None:
    """Wait until a replica of a shard has its people, or all that are left have failed."""
    ray = _ray()
    waiting = [actor.__ray_ready__.remote() for actor in actors]
    deadline_s = time.monotonic() + LOAD_S
    while waiting and time.monotonic() < deadline_s:
        done, waiting = ray.wait(waiting, timeout=PATIENCE_S)
        if not done:
            log.info("waiting for shard %d of %d of the gallery to load", place.number + 1, place.shards)
        for reference in done:
            with suppress(ray.exceptions.RayError):  # it is told when the shard is asked for something
                ray.get(reference)
                return


def _start(remote: Any, place: ShardPlace, number: int) -> Any:
    return remote.options(
        name=_name(place, number),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        num_cpus=0,
        scheduling_strategy="SPREAD",
    ).remote(place)


def _name(place: ShardPlace, number: int) -> str:
    """Of a replica; galleries beside each other have actors of their own."""
    gallery = zlib.crc32(repr((str(place.where), place.models)).encode())
    return f"shard-{gallery:08x}-{place.number}-of-{place.shards}-{number}"


def _ray() -> Any:
    return load_ray("a gallery in shards", GalleryError)
