"""In watch-list mode what matches nobody is never stored: no events, no pictures, no video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Frame, Person, Status
from gaitstream.errors import ConfigError
from gaitstream.events import Event
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.decide import Decider
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.publish import RunEvents
from gaitstream.pipeline.saving import TrackletSaver, make_observers
from gaitstream.telemetry.stats import Stats

BOX = np.array([10, 10, 60, 110], np.float32)
PERSON = Person("gate", 1, 0, 1, BOX, 0.9)


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)


def site(*, watchlist_only: bool) -> Config:
    camera = {"id": "gate", "url": "synth://?seed=1"}
    return Config.model_validate({"cameras": [camera], "gallery": {"watchlist_only": watchlist_only}})


def decided(person: str | None) -> Decision:
    status = Status.KNOWN if person else Status.UNKNOWN
    return Decision(
        "gate", 1, 1, 1, status, person, 0.1, None, 0.5, 30, 1, False, False, None, BOX,
        person_id=person and "u1",
    )  # fmt: skip


def heard(config: Config, *people: str | None) -> list[str]:
    """Types of the events of one track about which this is said, one after the other."""
    sink, stats = Heard(), Stats()
    decider = Decider(config, {}, RunEvents("run", {}, sink, stats), stats)
    decider.take([("gate", [PERSON])], [])
    for person in people:
        decider._publish(decided(person))
    decider.end_all("shutdown")
    decider.close()
    assert not decider._matched
    return [str(type(event).__struct_config__.tag) for event in sink.events]


def test_a_stranger_leaves_no_event() -> None:
    assert heard(site(watchlist_only=True), None, None) == []
    assert "track.ended" in heard(site(watchlist_only=False), None)


def test_somebody_on_the_list_is_told_and_taken_back_when_it_was_wrong() -> None:
    told = heard(site(watchlist_only=True), None, "Ada", None)
    assert told == ["identity.decided", "identity.revised", "identity.final", "track.ended"]


def test_only_tracks_of_the_known_are_saved(tmp_path: Path) -> None:
    saver = TrackletSaver(tmp_path, known_only=True)
    image = np.zeros((120, 160, 3), np.uint8)
    for track, person in ((1, None), (2, "Ada")):
        saver.on_frame(Frame("gate", 0, 1, image), [replace(PERSON, track=track)], {})
        saver.on_track_ended(
            TrackState("gate", track, 1, 2, BOX), replace(decided(person), track=track), "lost"
        )
    assert [path.parent.name for path in tmp_path.rglob("*.jpg")] == ["00002-known-Ada"]
    assert len(list(tmp_path.rglob("decision.json"))) == 1


def test_video_of_everybody_is_refused(tmp_path: Path) -> None:
    options = RunOptions(config=tmp_path / "cams.yaml", save_video=tmp_path / "video")
    with pytest.raises(ConfigError, match="watchlist_only forbids"):
        make_observers(options, site(watchlist_only=True))
    make_observers(options, site(watchlist_only=False))
