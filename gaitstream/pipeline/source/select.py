"""Which source serves a URL."""

from __future__ import annotations

from pathlib import Path

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.paths import is_folder
from gaitstream.errors import ConfigError
from gaitstream.pipeline.source.base import Source
from gaitstream.pipeline.source.images import ImageFolderSource
from gaitstream.pipeline.source.synthetic import SyntheticSource
from gaitstream.pipeline.source.video import NETWORK, VideoSource, is_remote


def may_be_live(camera: Camera) -> bool:
    """Whether a camera's pictures may not wait until they are taken; some tell only once they are opened."""
    url = camera.url
    if url.scheme == "synth":
        return "live=1" in url.reveal()
    return is_remote(url)


def create_source(camera: Camera, sources: Sources) -> Source:
    """A source for a camera, not opened yet.

    Raises:
        ConfigError: the URL's scheme is none of the known.
    """
    scheme = camera.url.scheme
    if scheme == "synth":
        return SyntheticSource(camera)
    if not scheme and is_folder(Path(camera.url.reveal())):
        return ImageFolderSource(camera)
    if scheme and scheme not in NETWORK:
        raise ConfigError(
            f"camera {camera.id}: scheme {scheme!r} is unknown; allowed: synth, {', '.join(NETWORK)}, "
            "/dev/videoN, or the path of a file or folder"
        )
    return VideoSource(camera, sources)
