"""Which runners there are, and which of them a run takes.

Another package adds one by an entry point, and `--runner NAME` takes it; see CONTRIBUTING.md, "I want to add
a runner":

    [project.entry-points."gaitstream.runners"]
    fleet = "my_fleet.runner:FLEET"
"""

from __future__ import annotations

from gaitstream.config.schema import Config
from gaitstream.pipeline.base import RunnerSpec, RunOptions
from gaitstream.registry import Registry

RUNNERS: Registry[RunnerSpec] = Registry(
    "runner",
    "gaitstream.runners",
    {
        "deepstream": "gaitstream.deepstream.choose:DEEPSTREAM",
        "fleet": "gaitstream.fleet.runner:FLEET",
        "workers": "gaitstream.pipeline.workers:WORKERS",
        "native": "gaitstream.pipeline.runner:NATIVE",
    },
    is_a=RunnerSpec,
)

AUTOMATIC = ("fleet", "deepstream", "workers", "native")
"""Those that `auto` asks, in this order; the last runs any site."""


def choose_runner(options: RunOptions, config: Config) -> RunnerSpec:
    """The runner named, or with `auto` the first that says it suits.

    Raises:
        ConfigError: no runner has this name, or it cannot be imported.
        GaitstreamError: a runner was asked for by its own options and cannot be had.
    """
    if options.runner != "auto":
        return RUNNERS.get(options.runner)
    return next(spec for spec in map(RUNNERS.get, AUTOMATIC) if spec.suits(options, config))
