"""Opening every camera of a configuration once, before it is put to work."""

from __future__ import annotations

from dataclasses import dataclass

from gaitstream.errors import GaitstreamError
from gaitstream.pipeline.config import Camera, Config, Sources
from gaitstream.pipeline.regions import Regions
from gaitstream.pipeline.source.select import create_source


@dataclass(frozen=True)
class Probe:
    """What one camera answered."""

    camera: str
    size: tuple[int, int] | None
    """Width and height, None when no picture came."""
    problem: str
    """Empty when all is well; never holds credentials."""


def probe(config: Config) -> list[Probe]:
    """Read one picture of every enabled camera and lay its regions on it."""
    return [_probe_one(camera, config.sources) for camera in config.cameras if camera.enabled]


def _probe_one(camera: Camera, sources: Sources) -> Probe:
    size = None
    source = None
    try:
        source = create_source(camera, sources)
        source.open()
        picture = source.read()
        if picture is not None:
            size = (picture.width, picture.height)
            Regions(camera, size)
    except GaitstreamError as error:
        return Probe(camera.id, size, camera.url.scrub(str(error)))
    finally:
        if source is not None:
            source.close()
    return Probe(camera.id, size, "" if size else f"{camera.url}: holds no picture")
