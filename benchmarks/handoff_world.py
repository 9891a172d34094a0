"""Records what six cameras that do not overlap say of the people of the synthetic terminal, with the truth.

    python -m benchmarks.handoff_world --out out/handoff.json

The real pipeline with the demo's weights runs over rendered pictures, one stretch after the other; in the
second one the cameras stand further apart, so that every way takes longer. `benchmarks.handoff` evaluates the
record.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import msgspec

from benchmarks.handoff_record import Heard, Record, Shown
from gaitstream import zoo
from gaitstream.config.schema import Config
from gaitstream.demo.enrolment import enrol, pose_of
from gaitstream.demo.ground_truth import GroundTruthObserver
from gaitstream.demo.plan import FPS, DemoPlan
from gaitstream.demo.score import PURE
from gaitstream.events import Event, IdentityFinal, TrackEnded, encode
from gaitstream.events.schema import Identity
from gaitstream.gallery import Gallery
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.runner import Pipeline, load_detector
from gaitstream.synth import SyntheticCamera
from gaitstream.synth.address import EPOCH_NS, Address, to_url

S = 1_000_000_000
SITE = "terminal"
LOST_S, IOU = 0.3, 0.5
"""Tracks that end early rather than pass from one person to the next."""
NEAR, FAR = (1, 3, 5, 7, 9, 11), (1, 4, 7, 10, 13, 16)
"""Cameras of the row, 10 m between neighbours: every second one, and every third one."""
ENROL_S = 25.0
"""How long everybody who is enrolled walks before a camera."""
DECIDED_S = 0.2
"""From the last frame of a window to the decision."""


class Collected:
    """Keeps events in the order they were made."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/handoff.json"))
    parser.add_argument("--people", type=int, default=18)
    parser.add_argument("--enrolled", type=int, default=14)
    parser.add_argument("--minutes", type=float, default=2.0, help="of each of the two stretches")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    plan = DemoPlan(
        seed=args.seed, people=args.people, enrolled=args.enrolled, enrol_seconds=ENROL_S, cameras=(1,)
    )
    with tempfile.TemporaryDirectory(prefix="gaitstream-handoff-") as folder:
        gallery = Path(folder) / "gallery"
        config = _config({}, gallery)
        detector, encoder = load_detector(config), Encoder.load(config)
        enrol(plan, gallery, detector, encoder, lambda: None)
        record = Record(enrolled=list(plan.names[: plan.enrolled]))
        for number, cameras in enumerate((NEAR, FAR)):
            start_s = number * args.minutes * 60
            print(f"stretch {number + 1}: cameras {cameras}", flush=True)
            addresses = {
                f"cam{place}": Address(
                    site=SITE, camera=camera, people=plan.people, seed=plan.seed, fps=FPS,
                    start=start_s, seconds=args.minutes * 60,
                )
                for place, camera in enumerate(cameras, 1)
            }  # fmt: skip
            _run(addresses, gallery, detector, encoder, record)
            args.out.write_bytes(msgspec.json.encode(record))
    print(f"{args.out}: {len(record.events)} events of {len(record.shown)} tracks")


def _run(addresses, gallery, detector, encoder, record) -> None:  # type: ignore[no-untyped-def]
    """One stretch; adds to the record."""
    sink = Collected()
    truths = {camera: SyntheticCamera(address) for camera, address in addresses.items()}
    with Gallery(gallery) as known:
        matchers = {
            name: known.matcher(name, recognizer.fingerprint)
            for name, recognizer in encoder.recognizers.items()
        }
    observer = GroundTruthObserver(truths, EPOCH_NS, matchers, pose_of(encoder))
    config = _config(addresses, gallery)
    with Pipeline(config, sink=sink, observers=[observer], detector=detector, encoder=encoder) as pipeline:
        pipeline.run()
    run = sink.events[0].run
    record.events += sorted(_heard(sink.events), key=lambda heard: heard.arrived_ns)
    for track in observer.tracks:
        truth = track.truth if track.purity >= PURE else None
        record.shown.append(
            Shown(run=run, camera=track.camera, track=track.track, truth=truth, frames=track.seen)
        )


def _heard(events: list[Event]) -> list[Heard]:
    """When each event would have come from live cameras: the run does not wait for the clock."""
    last = {(one.camera, one.track): one.time_ns for one in events if isinstance(one, TrackEnded)}
    heard = []
    for event in events:
        arrived_ns = event.time_ns
        if isinstance(event, IdentityFinal | TrackEnded):
            arrived_ns = last[event.camera, event.track] + round(LOST_S * S)
        elif isinstance(event, Identity):
            arrived_ns += round(DECIDED_S * S)
        heard.append(Heard(arrived_ns=arrived_ns, event=msgspec.Raw(encode(event))))
    return heard


def _config(addresses: dict[str, Address], gallery: Path) -> Config:
    advice = zoo.advice()
    cameras = [{"id": camera, "url": to_url(one), "fps": None} for camera, one in addresses.items()]
    return Config.model_validate(
        {
            "cameras": cameras or [{"id": "none", "url": "synth://plaza"}],
            "models": {zoo.demo_family(): "demo"},
            "tracking": {"algorithm": "bytetrack", "lost_s": LOST_S, "iou": IOU},
            "gallery": {"path": str(gallery), "threshold": advice.threshold, "margin": advice.margin},
        }
    )


if __name__ == "__main__":
    main()
