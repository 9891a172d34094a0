"""All that follows from what was seen of a site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gaitstream.tune.detectors import advise_detector, detectors_here, try_detectors
from gaitstream.tune.finding import Finding
from gaitstream.tune.load import measured_load
from gaitstream.tune.people import advise_people
from gaitstream.tune.places import advise_regions
from gaitstream.tune.rates import advise_rates
from gaitstream.tune.seen import SiteSeen
from gaitstream.tune.thresholds import advise_thresholds

PACKAGED = "demo"
"""Name of the models that ship with the package."""


def advise(site: SiteSeen, detectors: Sequence[str] = ()) -> list[Finding]:
    """What to set and what to know, the cameras' first.

    Args:
        site: what was seen.
        detectors: files or names of detectors to try beside those at hand.
    """
    load = measured_load(site)
    tried, faults = try_detectors(site, detectors_here(site.config, detectors))
    return [
        *_absent(site),
        *_synthetic(site),
        *advise_people(site),
        *advise_regions(site),
        *advise_rates(site, load),
        *faults,
        *advise_detector(
            tried, load, unfit=site.config.models.detector.model == PACKAGED and bool(_real(site))
        ),
        *advise_thresholds(site),
    ]


def _synthetic(site: SiteSeen) -> Iterator[Finding]:
    """Packaged models before real cameras: they know the synthetic world alone."""
    models = site.config.models
    networks = {"detector": models.detector.model, "pose": models.pose.model if models.pose else ""}
    recognizers = {name: one.model for name, one in models.recognizers.items()}
    packaged = [name for name, model in {**networks, **recognizers}.items() if model == PACKAGED]
    real = _real(site)
    if packaged and real:
        yield Finding(
            ("models",),
            f"the packaged {', '.join(packaged)} know the synthetic world alone, and {', '.join(real)} may "
            "show people: 'gaitstream models list' has others",
        )


def _real(site: SiteSeen) -> list[str]:
    """Cameras that may show people: video of the synthetic world looks like any other."""
    return [name for name, seen in site.cameras.items() if seen.camera.url.scheme != "synth"]


def _absent(site: SiteSeen) -> Iterator[Finding]:
    """Cameras of which nothing can be said."""
    for index, camera in enumerate(site.config.cameras):
        seen = site.cameras.get(camera.id)
        if seen is None:
            yield Finding(("cameras", index), "not enabled: not watched, nothing is set")
        elif seen.size is None:
            why = seen.counters.reason or "none came in the time"
            yield Finding(("cameras", index), f"gave no picture, nothing is set: {why}")
