"""A site for the browser: a gallery, cameras, a bus with a day's events, and a console that listens to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitstream.console.feed import Bus
from gaitstream.console.history import EventFilter
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.serving import make_server
from gaitstream.console.site import ConsoleSite
from gaitstream.events import (
    CameraOffline,
    CameraOnline,
    CameraStats,
    Event,
    IdentityDecided,
    IdentityFinal,
    Journal,
    PipelineStats,
    Publisher,
    RunStarted,
    TrackEnded,
)
from gaitstream.gallery import Gallery
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.sightings import KeptWindows, Sighting, TrackRef
from gaitstream.gallery.visiting import VisitorBook
from tests.console.kept import FINGERPRINT, MODEL, S_NS, Floats, keep_evidence, keep_minutes

PASSWORD = "correct horse battery"
USERS = {"vera": Role.VIEWER, "ines": Role.OPERATOR, "omar": Role.OPERATOR, "root": Role.ADMINISTRATOR}
SCRIPT = "<script>alert(1)</script>"
PEOPLE = ("Ada Brandt", "Jonas Iversen", "Mei Tanaka", "Lucía Ortega", SCRIPT)
CAMERAS = ("lobby", "gate-north", "loading-dock", "yard", "stairwell-2")
RUN = "3f7a91c2"
THRESHOLD = 0.84
LOOPBACK = "tcp://127.0.0.1:*"
PATIENCE_S = 90.0
"""With a machine that others use, too."""


@dataclass
class World:
    """A console and what it listens to.

    Attributes:
        address: of the console.
        site: of the console.
        publisher: of the bus.
        gallery: the file.
        cameras: the cams.yaml.
        people: ids in the gallery by name.
    """

    address: str
    site: ConsoleSite
    publisher: Publisher
    gallery: Path
    cameras: Path
    people: dict[str, str]
    track: int = 1000

    def publish(self, *events: Event) -> None:
        """Tell the bus, and wait until the console has heard it."""
        for event in events:
            self.publisher.publish(event)
        for event in events:
            self.wait_for(event)

    def publish_stats(self) -> None:
        """Say how the run is, so that its cameras are not taken for silent."""
        stats = {camera: CameraStats(state="online", fps=15.0, people=0, frames=51_400) for camera in CAMERAS}
        stats["stairwell-2"] = CameraStats(state="offline", frames=49_120)
        now_ns = time.time_ns()  # as a run of its own each: nothing is expected in the same rhythm again
        said = PipelineStats(run=f"{RUN}-{now_ns}", time_ns=now_ns, uptime_s=3700.0, cameras=stats)
        before = self.site.health.events
        self.publisher.publish(said)
        while self.site.health.events == before:
            time.sleep(0.01)

    def wait_for(self, event: Event) -> None:
        """Until the console's history has an event."""
        asked = EventFilter(kinds=(event.type,), since_ns=event.time_ns, until_ns=event.time_ns + 1)
        end_s = time.monotonic() + PATIENCE_S
        while not self.site.history.page(asked, 1).events:
            assert time.monotonic() < end_s, f"the console does not hear of {event}"
            time.sleep(0.01)

    def final(self, camera: str, person: str = "", **fields: object) -> IdentityFinal:
        """The last word on a new track, now: a person, or a stranger."""
        self.track += 1
        return final(self.people, camera, self.track, time.time_ns(), person, **fields)

    def note_visitor(self, person: int, cameras: Sequence[str]) -> str:
        """Let a stranger walk past some cameras; what the visitor is called."""
        name = ""
        with Gallery(self.gallery, key="none") as gallery:
            book = VisitorBook(gallery, {MODEL: FINGERPRINT}, LinkRule({MODEL: THRESHOLD}))
            for number, camera in enumerate(cameras):
                event = self.final(camera)
                self.publish(event)
                windows = walk(person, 2 + number)
                keep_evidence(self.cameras, event, windows)
                track = TrackRef(RUN, camera, event.track, event.time_ns)
                kept = {MODEL: KeptWindows.of(list(windows), FINGERPRINT)}
                noted = book.note(
                    [Sighting(track=track, first_ns=event.first_ns, windows=kept, distance=1.1)]
                )
                name = noted[0].visitor
        return name

    def newest_id(self, camera: str) -> str:
        """Id of the newest final event of a camera."""
        wanted = EventFilter(cameras=frozenset([camera]), kinds=("identity.final",))
        return self.site.history.page(wanted, 1).events[0].event_id


def walk(person: int, count: int = 1, spread: float = 0.02) -> Floats:
    """Windows of somebody `[count, parts, dim]`, each near the others of the same person."""
    centre = np.random.default_rng(person).normal(size=(16, 32))
    noise = np.random.default_rng((person, count)).normal(scale=spread, size=(count, 16, 32))
    return (centre / 8 + noise).astype(np.float32)


def make_gallery(path: Path) -> dict[str, str]:
    """Enrol everybody; ids by name."""
    with Gallery(path, create=True, key="none") as gallery:
        for number, name in enumerate(PEOPLE):
            gallery.enroll(name, MODEL, FINGERPRINT, walk(number, 6 + 3 * number), source="enrolment.mp4 #1")
        return {entry.name: entry.uid for entry in gallery.persons()}


def final(
    people: dict[str, str], camera: str, track: int, time_ns: int, person: str = "", **fields: object
) -> IdentityFinal:
    """The last word on a track: a person; without one a stranger, or what `fields` say."""
    names = sorted(people, key=lambda name: (name != person, hash((name, track)) % 97))
    distances = [0.52 + 0.01 * (track % 9) if person else 1.02 + 0.01 * (track % 17)]
    distances += [round(distances[0] + 0.24 + 0.09 * step, 3) for step in range(len(names) - 1)]
    values: dict[str, object] = {
        "run": RUN,
        "time_ns": time_ns,
        "first_ns": time_ns - (5 + track % 6) * S_NS,
        "camera": camera,
        "track": track,
        "status": "known" if person else "unknown",
        "person": person or None,
        "person_id": people[person] if person else None,
        "reason": None if person else "below_threshold",
        "distance": distances[0],
        "margin": distances[1] - distances[0],
        "threshold": THRESHOLD,
        "frames": 40 + 7 * (track % 11),
        "windows": 1 + track % 4,
        "rejections": {"occluded": 3 + track % 5, "truncated": track % 3},
        "candidates": tuple(zip(names, distances, strict=True)),
        "candidate_ids": tuple(people[name] for name in names),
        "latency_ms": {
            "decide": 180.0 + 9 * (track % 13),
            "detect": 10.0 + track % 7,
            "track": 1.0 + 0.1 * (track % 5),
            "encode": 17.0 + track % 9,
            "embed": 6.0 + 0.3 * (track % 8),
        },
        "models": {MODEL: FINGERPRINT},
    }
    return IdentityFinal(**(values | fields))  # type: ignore[arg-type]


def day(people: dict[str, str]) -> Iterator[Event]:
    """An hour of a site, up to now."""
    now_ns = time.time_ns()
    yield RunStarted(run=RUN, time_ns=now_ns - 3600 * S_NS, version="0.1.0", cameras=CAMERAS)
    for camera in CAMERAS:
        yield CameraOnline(
            run=RUN, time_ns=now_ns - 3600 * S_NS, camera=camera, width=1280, height=720, fps=15
        )
    for track in range(1, 90):
        time_ns = now_ns - (90 - track) * 38 * S_NS
        yield from _walk_by(people, track, time_ns)
    stats = {camera: CameraStats(state="online", fps=15.0, people=index % 3, frames=51_300 + 17 * index)
             for index, camera in enumerate(CAMERAS)}  # fmt: skip
    stats["stairwell-2"] = CameraStats(state="offline", frames=49_120, dropped={"queue_full": 214})
    yield PipelineStats(run=RUN, time_ns=now_ns, uptime_s=3600.0, rss_bytes=1_980_000_000, cameras=stats)
    yield CameraOffline(
        run=RUN, time_ns=now_ns - 60 * S_NS, camera="stairwell-2", cause="error",
        detail="rtsp://10.0.0.9/stream1: connection refused; is the camera powered, and the port right?",
    )  # fmt: skip


def _walk_by(people: dict[str, str], track: int, time_ns: int) -> Iterator[Event]:
    camera = CAMERAS[track * 7 % 5]
    names = list(people)
    if track % 5 == 0 or (camera == "loading-dock" and track % 3):
        reason = "truncated" if camera == "loading-dock" else "too_short"
        event = final(
            people, camera, track, time_ns, status="insufficient_evidence", reason=reason, distance=None,
            margin=None, windows=0, candidates=(), candidate_ids=(), frames=9 + track % 8,
        )  # fmt: skip
    elif track % 11 == 0:
        event = final(
            people, camera, track, time_ns, status="ambiguous", reason="ambiguous", distance=0.8, margin=0.01
        )
    else:
        event = final(
            people, camera, track, time_ns, "" if track % 4 == 0 else names[track // 2 % len(names)]
        )
    if event.windows:
        shared = {
            name: getattr(event, name) for name in ("run", "camera", "track", "status", "person", "person_id")
        }
        yield IdentityDecided(
            **shared, time_ns=time_ns - 3 * S_NS, first_ns=event.first_ns, frames=16,
            distance=event.distance, threshold=THRESHOLD, provisional=True, candidates=event.candidates,
            candidate_ids=event.candidate_ids,
        )  # fmt: skip
    yield event
    yield TrackEnded(
        run=RUN, time_ns=time_ns, camera=camera, track=track, cause="lost", first_ns=event.first_ns,
        seen=event.frames + 12, accepted=event.frames, outcome=event.status, person=event.person,
        person_id=event.person_id, reason=event.reason,
    )  # fmt: skip


CAMS = """# Kept by the site's owner.
cameras:
{cameras}
models: {{gaitheat: demo}}
gallery: {{path: people.gallery, key: none, visitors: {{enabled: true}}}}
events: {{journal: journal}}
evidence: {{keep: true, live: true, minutes: 5}}
"""


@contextmanager
def world(folder: Path, users: Sequence[str] = tuple(USERS)) -> Iterator[World]:
    """Everything, running."""
    gallery, cameras = folder / "people.gallery", folder / "cams.yaml"
    people = make_gallery(gallery)
    lines = [f"  - {{id: {camera}, url: 'rtsp://10.0.0.{index + 5}/stream1'}}  # door {index}"
             for index, camera in enumerate(CAMERAS)]  # fmt: skip
    cameras.write_text(CAMS.format(cameras="\n".join(lines)), encoding="utf-8")
    with Publisher(Journal(folder / "journal"), LOOPBACK, LOOPBACK) as publisher:
        for event in (events := list(day(people))):
            publisher.publish(event)
            if isinstance(event, IdentityFinal) and event.windows and event.track > 60:
                keep_evidence(cameras, event, walk(event.track, event.windows))
        keep_minutes(cameras, "stairwell-2", people["Ada Brandt"], time.time_ns() - 90 * S_NS)
        bus = Bus((publisher.endpoint,), (publisher.replay,), cursor=folder / "cursor")
        options = ConsoleOptions(folder / "console", bus=bus, cameras=cameras, port=0)
        with console(options, users) as (address, site):
            made = World(address, site, publisher, gallery, cameras, people)
            made.wait_for(events[-1])
            yield made


@contextmanager
def console(options: ConsoleOptions, users: Sequence[str]) -> Iterator[tuple[str, ConsoleSite]]:
    """A console with users, served from a thread; its address."""
    site = ConsoleSite.open(options)
    for name in users:
        site.accounts.add(name, PASSWORD, USERS[name])
    server = make_server(site)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"{'https' if options.certificate else 'http'}://localhost:{port}", site
    finally:
        server.should_exit = True
        thread.join()
