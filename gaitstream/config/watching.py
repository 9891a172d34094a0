"""What changed between two configurations, and noticing that the file changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError


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
    """Sections that changed and take effect at the next start only."""

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.reopened, self.adjusted, self.restart_needed))

    def __str__(self) -> str:
        parts = [
            f"{name} {', '.join(cameras)}"
            for name in ("added", "removed", "reopened", "adjusted")
            if (cameras := getattr(self, name))
        ]
        if self.restart_needed:
            parts.append(f"{', '.join(self.restart_needed)} take effect at the next start only")
        return "; ".join(parts)


_SOURCE_KEYS = ("url", "transport", "decoder", "max_height", "loop", "start_time")
_LIMITS = ("threshold", "margin", "threshold_gain")
_FIXED_GALLERY = ("path", "url", "key", "retention", "watchlist_only")
_FIXED_SECTIONS = tuple(key for key in Config.model_fields if key not in ("cameras", "quality", "gallery"))


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
    fixed = [section for section in _FIXED_SECTIONS if getattr(old, section) != getattr(new, section)]
    fixed += [
        f"gallery.{key}" for key in _FIXED_GALLERY if getattr(old.gallery, key) != getattr(new.gallery, key)
    ]
    return Changes(
        added=tuple(camera for camera in after if camera not in before),
        removed=tuple(camera for camera in before if camera not in after),
        reopened=tuple(reopened),
        adjusted=tuple(adjusted),
        restart_needed=tuple(fixed),
    )


class Watcher(Protocol):
    """Notices that a configuration changed; the runner calls `poll` about once a second.

    Attributes:
        config: the last configuration that was right.
    """

    config: Config

    def poll(self) -> tuple[Config, Changes] | None:
        """The new configuration and what changed, or None when nothing did.

        Raises:
            ConfigError: it changed and is wrong; raised once.
        """


class ConfigWatcher:
    """Notices new content of the file; the runner calls `poll` about once a second.

    A file that is wrong changes nothing: the error is reported once, the old configuration stays.

    Args:
        path: the file.
        config: what was read from it.
        stale: it may have changed since; then the first `poll` reads it in any case.

    Attributes:
        path: the watched file.
        config: the last configuration that was right.
    """

    def __init__(self, path: str | Path, config: Config, *, stale: bool = False) -> None:
        self.path = Path(path)
        self.config = config
        self._stamp = (0, 0, 0) if stale else self._read_stamp()

    def poll(self) -> tuple[Config, Changes] | None:
        """The new configuration and what changed, or None when nothing did.

        Raises:
            ConfigError: the file changed and is wrong or gone; raised once for each state of the file.
        """
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        if stamp is None:
            raise ConfigError(f"{self.path}: no such file any more; the running configuration stays")
        new = load_config(self.path)
        changes = compare(self.config, new)
        self.config = new
        return (new, changes) if changes else None

    def _read_stamp(self) -> tuple[int, int, int] | None:
        """Identity of the file's content: editors replace the file, so the inode belongs to it."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
