"""A folder of images as a camera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gaitstream.config.camera_sections import Camera
from gaitstream.config.fields import aspect_ratio
from gaitstream.data import Image
from gaitstream.errors import SourceError
from gaitstream.pipeline.source.base import Picture, shown_size
from gaitstream.pipeline.source.clock import SECOND_NS, file_start_ns

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
RATE_FPS = 25.0
"""Frame rate of a folder, which says nothing about it."""


class ImageFolderSource:
    """Images in the order of their names, numbers by value, at 25 frames per second.

    Attributes:
        live: False.
        corrupt: files that could not be decoded.
    """

    def __init__(self, camera: Camera) -> None:
        self.live = False
        self.corrupt = 0
        self._camera = camera
        self._root = Path(camera.url.reveal())
        self._paths: list[Path] = []
        self._pictures: Iterator[Picture] = iter(())
        self._shown = False

    def open(self) -> None:
        """List the folder; raises SourceError when it cannot be read or holds no image."""
        url = self._camera.url
        try:
            paths = [path for path in self._root.iterdir() if path.suffix.lower() in SUFFIXES]
        except OSError as error:
            raise SourceError(f"{url}: cannot be read: {error.strerror}") from None
        if not paths:
            raise SourceError(f"{url}: holds no image; known are {', '.join(SUFFIXES)}")
        self._paths = sorted(paths, key=lambda path: _natural(path.name))
        self._pictures = self._decode()
        self._shown = False

    def read(self) -> Picture | None:
        """The next picture that can be decoded; None after the last. Raises SourceError when none can be."""
        picture = next(self._pictures, None)
        if picture is None and self._paths and not self._shown:
            count = len(self._paths)
            raise SourceError(
                f"{self._camera.url}: none of its {count} images can be decoded; try one in a viewer"
            )
        self._shown = True
        return picture

    def close(self) -> None:
        """Forget the list."""
        self._paths = []
        self._pictures = iter(())

    def _decode(self) -> Iterator[Picture]:
        import cv2

        start_ns, aspect = self._start_ns(), self._camera.pixel_aspect
        for index, path in enumerate(self._paths):
            try:
                data = np.fromfile(path, np.uint8)
                image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            except (OSError, cv2.error):
                image = None
            if image is None:
                self.corrupt += 1
                continue
            if aspect is not None:
                size = shown_size(image.shape[1], image.shape[0], aspect_ratio(aspect))
                image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            yield _picture(start_ns + int(index * SECOND_NS / RATE_FPS), np.asarray(image, np.uint8))

    def _start_ns(self) -> int:
        return file_start_ns(self._paths[0], self._camera.start_time, otherwise_ns=0)


def _picture(time_ns: int, image: Image) -> Picture:
    return Picture(time_ns, image.shape[1], image.shape[0], lambda: image)


def _natural(name: str) -> list[tuple[int, str]]:
    """Key that sorts `frame10` behind `frame9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
