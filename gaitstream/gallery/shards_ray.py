"""Shards of a gallery as Ray actors: named, detached, started again for ever, each in several replicas.

Only distances and ids go between machines, and probes: embeddings of people in view. No template does.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from itertools import count
from typing import Any

from gaitstream.errors import GalleryError
from gaitstream.gallery.ray_loading import TOKEN_HELP, load_ray, refuse_open_nodes
from gaitstream.gallery.shards import Answer, ShardedPeople
from gaitstream.gallery.shards_server import ShardPlace, ShardServer

NAMESPACE = "gaitstream"
PATIENCE_S = 30.0
"""How long a shard may be without a replica before a search fails; an actor is started again by then."""
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

    def ask(self, method: str, *arguments: Any) -> Answer:
        """Call a method of the next replica; news are asked of the first, which remembers what it told."""
        first = 0 if method == "news" else next(self._turn) % len(self.replicas)
        return _RayAnswer(self, first, method, arguments)


class _RayAnswer:
    """An answer on its way; asked of another replica when the first one dies."""

    def __init__(self, shard: RayShard, first: int, method: str, arguments: tuple[Any, ...]) -> None:
        self._shard = shard
        self._at = first
        self._method = method
        self._arguments = arguments
        self._reference = self._send()

    def ready(self) -> bool:
        """See `Answer`."""
        done, _ = _ray().wait([self._reference], timeout=0)
        return bool(done)

    def get(self) -> Any:
        """See `Answer`."""
        ray = _ray()
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ray.get(self._reference, timeout=max(0.1, deadline_s - time.monotonic()))
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
                if time.monotonic() >= deadline_s:
                    raise GalleryError(
                        f"no replica of a shard of the gallery has answered for {PATIENCE_S:g} s "
                        f"({str(error).splitlines()[0]}); see 'ray status' and 'ray list actors'"
                    ) from error
            self._at += 1
            if self._at % len(self._shard.replicas) == 0:
                time.sleep(_PAUSE_S)
            self._reference = self._send()

    def _send(self) -> Any:
        actor = self._shard.replicas[self._at % len(self._shard.replicas)]
        return getattr(actor, self._method).remote(*self._arguments)


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
