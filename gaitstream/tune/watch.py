"""Watching a site for some minutes, without a gallery, without events and without leaving a trace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from gaitstream.config.gallery_section import GallerySection
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError
from gaitstream.pipeline.base import Runner
from gaitstream.pipeline.enroll import is_live
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.timed import stopping_after
from gaitstream.telemetry.stats import CameraCounters
from gaitstream.tune.cores import CoresTaken
from gaitstream.tune.seen import CameraSeen, SightingCollector, SiteSeen

Around = Callable[[Runner], AbstractContextManager[None]]
"""A context for as long as a run lasts: signals that end it, a live table."""


def watch_site(config: Config, seconds: float, around: tuple[Around, ...] = ()) -> SiteSeen:
    """Run the enabled cameras through the configured models for a time; nobody is searched for or noted.

    Files are played at their own pace beside live cameras, else as fast as it goes, and once even if they are
    looped: who comes again in them is nobody new. A camera that cannot be read is tried to the end, as in a
    run.

    Args:
        config: the site's.
        seconds: how long, from the first picture on; files may end sooner.
        around: contexts around the run.

    Raises:
        ConfigError: no camera is enabled, or a model is missing.
    """
    cameras = [camera for camera in config.cameras if camera.enabled]
    if not cameras:
        raise ConfigError("no camera is enabled: set enabled: true on one")
    site = SiteSeen(config, {camera.id: CameraSeen(camera) for camera in cameras})
    once = [camera.model_copy(update={"loop": False}) for camera in config.cameras]
    own = config.model_copy(update={"gallery": GallerySection(), "cameras": once})
    with ExitStack() as stack:
        pipeline = stack.enter_context(
            Pipeline(own, observers=[SightingCollector(site)], realtime=any(map(is_live, cameras)))
        )
        for context in around:
            stack.enter_context(context(pipeline))
        stack.enter_context(stopping_after(pipeline, seconds, 2 * config.sources.connect_s))
        before = CoresTaken.now()
        pipeline.run()
        site.others = CoresTaken.now().others_since(before)
        site.counters = pipeline.snapshot()
    for name, seen in site.cameras.items():
        seen.counters = site.counters.cameras.get(name, CameraCounters())
    return site
