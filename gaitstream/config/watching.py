"""What changed between two configurations, and noticing that the file changed."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError

PATIENCE_S = 0.5
"""How long a poll waits for a file to be read: one of some megabytes, there by mistake, takes a minute."""


@dataclass(frozen=True)
class Changes:
    """What a running pipeline has to do to get from one configuration to the next.

    Camera ids stand in the order of the new file; those in no tuple are left alone.
    """

    added: tuple[str, ...]
    """Start these: new, or enabled again."""
    removed: tuple[str, ...]
    """Stop these: gone, or disabled."""
    reopened: tuple[str, ...]
    """Stop and start these: what they read, or how, changed."""
    adjusted: tuple[str, ...]
    """Apply new thresholds, regions or rates to these while they run."""
    restart_needed: tuple[str, ...]
    """Sections, or keys of them, that changed and take effect at the next start only."""
    settings: tuple[str, ...] = ()
    """Keys of no camera that changed and take effect at once."""

    def __bool__(self) -> bool:
        return any(
            (self.added, self.removed, self.reopened, self.adjusted, self.restart_needed, self.settings)
        )

    def __str__(self) -> str:
        parts = [
            f"{name} {', '.join(cameras)}"
            for name in ("added", "removed", "reopened", "adjusted")
            if (cameras := getattr(self, name))
        ]
        if self.settings:
            parts.append(f"set {', '.join(self.settings)}")
        if self.restart_needed:
            parts.append(f"{', '.join(self.restart_needed)} take effect at the next start only")
        return "; ".join(parts)


_SOURCE_KEYS = (
    "url",
    "transport",
    "decoder",
    "max_height",
    "pixel_aspect",
    "interlaced",
    "loop",
    "start_time",
)
_LIMITS = ("threshold", "margin", "threshold_gain")
_SETTINGS = {
    "tracklets": ("every", "settled_after", "settled_every"),
    "runtime": ("latency_ms",),
    "events": ("stats_every_s",),
}
_FOLLOWED = {"gallery": _LIMITS, **_SETTINGS}
"""Keys that are taken over while running, by section; those of `cameras` and `quality` all are."""
_FIXED = {
    section: tuple(key for key in field.annotation.model_fields if key not in _FOLLOWED.get(section, ()))
    for section, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and section != "quality"
}
"""Keys that take effect at the next start only, by section."""


def compare(old: Config, new: Config) -> Changes:
    """Compare two configurations.

    A change of `quality`, or of what the gallery is decided with, adjusts every camera it reaches.
    """
    before = {camera.id: camera for camera in old.cameras if camera.enabled}
    after = {camera.id: camera for camera in new.cameras if camera.enabled}
    shared = [camera for camera in after if camera in before]
    reopened = [c for c in shared if any(getattr(before[c], k) != getattr(after[c], k) for k in _SOURCE_KEYS)]
    everywhere = old.quality != new.quality or any(
        getattr(old.gallery, key) != getattr(new.gallery, key) for key in _LIMITS
    )
    adjusted = [c for c in shared if c not in reopened and (everywhere or before[c] != after[c])]
    return Changes(
        added=tuple(camera for camera in after if camera not in before),
        removed=tuple(camera for camera in before if camera not in after),
        reopened=tuple(reopened),
        adjusted=tuple(adjusted),
        restart_needed=tuple(
            section if section not in _FOLLOWED else f"{section}.{key}"
            for section, keys in _FIXED.items()
            for key in _differing(old, new, section, keys)[: None if section in _FOLLOWED else 1]
        ),
        settings=tuple(
            f"{section}.{key}"
            for section, keys in _SETTINGS.items()
            for key in _differing(old, new, section, keys)
        ),
    )


def follow(old: Config, new: Config) -> Config:
    """What runs after `old` once the file says `new`: what takes effect at the next start only stays.

    Raises:
        ConfigError: the one does not go with the other.
    """
    kept = {}
    for section in _FIXED:
        taken = {key: getattr(getattr(new, section), key) for key in _FOLLOWED.get(section, ())}
        kept[section] = getattr(old, section).model_copy(update=taken)
    followed = new.model_copy(update=kept)
    for key, text in followed.too_sparse():
        raise ConfigError(
            f"tracklets.{key}: {text}, since another max_gap_s takes effect at the next start only; what "
            "runs goes on as it is: start it again"
        )
    return followed


def _differing(old: Config, new: Config, section: str, keys: tuple[str, ...]) -> list[str]:
    before, after = getattr(old, section), getattr(new, section)
    return [key for key in keys if getattr(before, key) != getattr(after, key)]


class Watcher(Protocol):
    """Notices that a configuration changed; the runner calls `poll` about once a second.

    Attributes:
        config: what runs by the last one that was right.
    """

    config: Config

    def poll(self) -> tuple[Config, Changes] | None:
        """What is to run now and what changed, or None when nothing did; see `follow`.

        Raises:
            ConfigError: it changed and is wrong; raised once.
        """


class ConfigWatcher:
    """Notices new content of the file; the runner calls `poll` about once a second.

    A file that is wrong changes nothing: the error is reported once, the old configuration stays. It is read
    in a thread of its own, so that a file that takes long holds nobody up.

    Args:
        path: the file.
        config: what was read from it.
        stale: it may have changed since; then the first `poll` reads it in any case.

    Attributes:
        path: the watched file.
        config: what runs by the last one that was right.
    """

    def __init__(self, path: str | Path, config: Config, *, stale: bool = False) -> None:
        self.path = Path(path)
        self.config = config
        self._stamp = (0, 0, 0) if stale else self._read_stamp()
        self._reading: Future[Config] | None = None

    def poll(self) -> tuple[Config, Changes] | None:
        """See `Watcher`.

        Raises:
            ConfigError: the file changed and is wrong or gone; raised once for each state of the file.
        """
        if self._reading is None:
            stamp = self._read_stamp()
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            if stamp is None:
                raise ConfigError(f"{self.path}: no such file any more; the running configuration stays")
            self._reading = _read(self.path)
            wait([self._reading], PATIENCE_S)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        new = reading.result()
        changes = compare(self.config, new)
        try:
            self.config = follow(self.config, new)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from None
        return (self.config, changes) if changes else None

    def _read_stamp(self) -> tuple[int, int, int] | None:
        """Identity of the file's content: editors replace the file, so the inode belongs to it."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):  # reading a pipe may never end
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> Future[Config]:
    """What `load_config` gives or raises, from a thread that no end of the process waits for."""
    reading: Future[Config] = Future()

    def read() -> None:
        try:
            reading.set_result(load_config(path))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
            reading.set_exception(error)

    threading.Thread(target=read, name="gaitstream-cams-file", daemon=True).start()
    return reading
