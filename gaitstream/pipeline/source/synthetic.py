"""The synthetic world as a camera."""

from __future__ import annotations

from gaitstream.config.camera_sections import Camera
from gaitstream.pipeline.source.base import Picture
from gaitstream.synth import SyntheticCamera, open_synthetic


class SyntheticSource:
    """A camera of the synthetic world, which can end.

    Attributes:
        live: with `live=1` in the address it gives pictures by the clock; otherwise it waits for its reader
            like a file, and `--realtime` paces it.
        corrupt: always 0.
    """

    def __init__(self, camera: Camera) -> None:
        self.live = False
        self.corrupt = 0
        self._url = camera.url.reveal()
        self._camera: SyntheticCamera | None = None

    def open(self) -> None:
        """Build the world; raises ConfigError for a wrong URL."""
        self._camera = open_synthetic(self._url)
        self.live = self._camera.live

    def read(self) -> Picture | None:
        """Render the next picture; None when the world has ended."""
        if self._camera is None:
            return None
        shot = self._camera.look()
        if shot is None:
            return None
        time_ns, image = shot
        return Picture(time_ns, image.shape[1], image.shape[0], lambda: image)

    def close(self) -> None:
        """Forget the world."""
        self._camera = None
