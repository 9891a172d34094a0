"""Who walks where in the demo, and who is enrolled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gaitstream.models.manifest import InputKind
from gaitstream.models.resolve import find_bundle
from gaitstream.synth import sample_identity
from gaitstream.synth.address import Address
from gaitstream.zoo import advice, advised, demo_family

DEMO = "demo"
"""Name of all models of the package."""
ENROLMENT_DAY = 1
"""On the day of the enrolment everybody wears other clothes and walks other routes than in the live run."""
SITE, EVIDENCE = "cams.yaml", "evidence"
"""Names in the demo's folder: of its configuration, and of the folder with the kept pictures."""
FPS = 15.0


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """One demo.

    Attributes:
        seed: of the people and their routes.
        seconds: length of the live run.
        enrol_seconds: how long each enrolled person walks before the first camera: once around their route,
            so that they are seen from all sides.
        people: walkers in the world; the last ones are strangers.
        enrolled: how many of them are enrolled.
        cameras: numbers of the live cameras; the first is also the camera of the enrolment.
        site: where.
        live: pictures come by the clock and late ones are left out; otherwise the cameras wait for the
            pipeline, which makes the result independent of the machine's speed.
        gait: families of the recognizers, all packaged; several are fused.
    """

    seed: int = 7
    seconds: float = 40.0
    enrol_seconds: float = 46.0
    people: int = 8
    enrolled: int = 5
    cameras: tuple[int, ...] = (1, 2, 3)
    site: str = "plaza"
    live: bool = True
    gait: tuple[str, ...] = (demo_family(),)

    def models(self) -> dict[str, Any]:
        """The section `models` of the demo's configuration."""
        found: dict[str, Any] = {}
        names = {family: advised()[family].name for family in self.gait}
        for family, name in names.items():
            own = advice(family)
            found[family] = {"model": name, "threshold": own.threshold, "weight": own.weight}
        needs = [find_bundle(name, family=family).manifest.needs for family, name in names.items()]
        if any(InputKind.SILHOUETTE in one for one in needs):
            found["segmenter"] = DEMO
        # It judges frames, too, and its crops are the report's pictures.
        return {**found, "pose": DEMO}

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody in the world; the first `enrolled` of them are enrolled."""
        return tuple(sample_identity(self.seed, index).name for index in range(self.people))

    def enrolment(self, person: int, attempt: int = 0) -> Address:
        """The first camera, with one person alone; each attempt goes on where the one before ended."""
        return Address(
            site=self.site,
            camera=self.cameras[0],
            people=self.people,
            seed=self.seed,
            day=ENROLMENT_DAY,
            only=(person,),
            fps=FPS,
            start=attempt * self.enrol_seconds,
            seconds=self.enrol_seconds,
        )

    def camera(self, number: int, epoch_ns: int) -> Address:
        """A camera of the main run, whose world begins at `epoch_ns`."""
        return Address(
            site=self.site,
            camera=number,
            people=self.people,
            seed=self.seed,
            fps=FPS,
            live=self.live,
            seconds=self.seconds,
            epoch_ns=epoch_ns,
        )
