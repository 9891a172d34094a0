"""Whether a run uses DeepStream, found out without importing what only such a run needs."""

from __future__ import annotations

import importlib.util
import logging

from gaitstream.config.schema import Config
from gaitstream.deepstream.api import MissingDeepStreamError
from gaitstream.errors import GaitstreamError
from gaitstream.events.publishing import Publishing
from gaitstream.pipeline.base import FrontEnd, Runner, RunnerSpec, RunOptions

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
    # Every other run starts faster without it.
    from gaitstream.deepstream.runner import check_site

    try:
        check_site(config)
    except GaitstreamError as error:
        log.warning("the native front end is used: %s", error)
        return False
    return True


def open_deepstream(options: RunOptions, config: Config, publisher: Publishing) -> Runner:
    """The runner behind DeepStream.

    Raises:
        ConfigError: an option needs pictures, or a source or model cannot run on DeepStream.
    """
    # Every other run starts faster without it.
    from gaitstream.deepstream.runner import open_runner

    return open_runner(options, config, publisher)


DEEPSTREAM = RunnerSpec(
    suits=lambda options, config: uses_deepstream(options.frontend, config),
    open=open_deepstream,
)
"""Runs a site on an NVIDIA GPU."""
