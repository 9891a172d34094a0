"""Pictures of evidence: crops as JPEG, what the models looked at as grey PNG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Image
from gaitstream.models.alignment import HeatmapAligner
from gaitstream.models.manifest import AlignmentContract

CROP_PX = 256
"""Height of a kept crop at most: the models look at no more."""
FRAME_PX = 640
"""Width of a kept picture of a whole camera at most."""
QUALITY = 85
WHITE = 255.0
VIEWS = ("heatmaps", "silhouettes", "skeleton_maps")
"""What is kept of what the models looked at, by the name of the input."""


@dataclass(frozen=True, slots=True)
class Views:
    """What the models looked at for one person, a row each of `VIEWS`, and what turns heatmaps upright.

    Attributes:
        rows: by name; `keypoints` beside `heatmaps`.
        alignment: of the recognizer that looks at the heatmaps; None leaves them as they are.
    """

    rows: Mapping[str, NDArray[Any]]
    alignment: AlignmentContract | None = None

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return sum(row.nbytes for row in self.rows.values())

    def encode(self) -> dict[str, bytes]:
        """PNG by view."""
        return {name: _png(self._grey(name)) for name in VIEWS if name in self.rows}

    def _grey(self, name: str) -> NDArray[np.uint8]:
        row = self.rows[name]
        if name == "heatmaps":
            peak = self._upright(row).max(axis=0)
            return np.asarray(np.clip(peak, 0.0, 1.0) * WHITE, np.uint8)
        return np.asarray(row.max(axis=0), np.uint8)  # channels are limbs and joints, or one mask

    def _upright(self, heatmaps: NDArray[Any]) -> NDArray[Any]:
        if self.alignment is None:
            return heatmaps
        aligner = HeatmapAligner(self.alignment)
        upright: NDArray[Any] = aligner.align(heatmaps[None], self.rows["keypoints"][None])[0]
        return upright


def encode_crop(crop: Image) -> bytes:
    """A person's picture, BGR, as JPEG of at most `CROP_PX` in height."""
    return encode_jpeg(shrink(crop, CROP_PX / max(crop.shape[0], 1)))


def shrink(image: Image, scale: float) -> Image:
    """A picture made smaller; itself when it is small enough."""
    import cv2

    if scale >= 1.0:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(image: Image, quality: int = QUALITY) -> bytes:
    """A picture, BGR, as JPEG."""
    import cv2

    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _png(grey: NDArray[np.uint8]) -> bytes:
    import cv2

    _, data = cv2.imencode(".png", grey)
    return data.tobytes()
