"""Which front end a run uses."""

from __future__ import annotations

import importlib.util
import logging

from gaitstream.config.schema import Config
from gaitstream.deepstream.api import MissingDeepStreamError
from gaitstream.deepstream.graph import enabled, uri_of
from gaitstream.deepstream.models import make_plan
from gaitstream.errors import ConfigError, GaitstreamError
from gaitstream.pipeline.base import FrontEnd

log = logging.getLogger(__name__)


def uses_deepstream(frontend: FrontEnd, config: Config) -> bool:
    """Whether to run on DeepStream; `auto` takes it where it is installed and everything can run on it.

    Raises:
        MissingExtraError: DeepStream was asked for and is not installed.
    """
    installed = importlib.util.find_spec("pyservicemaker") is not None
    if frontend == "deepstream" and not installed:
        raise MissingDeepStreamError("no module pyservicemaker")
    if frontend != "auto" or not installed:
        return frontend == "deepstream"
    try:
        make_plan(config)
        for camera in enabled(config):
            uri_of(camera)
    except GaitstreamError as error:
        log.warning("the native front end is used: %s", error)
        return False
    return True


def refuse_pictures(*options: object) -> None:
    """Stop a run on DeepStream that asks for what needs pictures or several processes.

    Raises:
        ConfigError: one of the options is set.
    """
    if any(options):
        raise ConfigError(
            "--save-video, --save-tracklets, --realtime and --workers need the native front end: no pictures "
            "leave the GPU, and one process feeds it; add --frontend native, or look at --view"
        )
