"""What became of the demo's strangers: visitors, one of whom gets a name when all is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gaitstream.demo.record import TrackRecord, VisitorsRecord
from gaitstream.demo.score import PURE
from gaitstream.events import Event, VisitorNamed, VisitorSeen
from gaitstream.gallery import Gallery
from gaitstream.gallery.sightings import TrackRef
from gaitstream.gallery.visitors import promote, show_visitor, visitors

Truth = dict[tuple[str, int], str]


def name_one(
    tracks: Sequence[TrackRecord], events: Sequence[Event], enrolled: Sequence[str], path: Path
) -> VisitorsRecord | None:
    """Count the visitors against the truth, and promote the one seen most who is not enrolled.

    Args:
        tracks: of the run, with their truth.
        events: of the run, those about visitors among them.
        enrolled: names of the people who were enrolled.
        path: the gallery.

    Returns:
        None when there was no visitor.

    Raises:
        GalleryError: the gallery cannot be written.
    """
    truth: Truth = {
        (one.camera, one.track): one.truth for one in tracks if one.truth is not None and one.purity >= PURE
    }
    with Gallery(path) as gallery:
        whose = {
            entry.name: Counter(_whose(truth, [one.track for one in show_visitor(gallery, entry.name)[1]]))
            for entry in visitors(gallery)
        }
        strangers = {name: who for name, who in whose.items() if who and _most(who) not in enrolled}
        if not strangers:
            return None
        chosen = max(strangers, key=lambda name: strangers[name].total())
        done = promote(gallery, chosen, _most(strangers[chosen]))
        right, wrong = _through_visitors(truth, tracks, events)
        return VisitorsRecord(
            walks=sum(who.total() for who in whose.values()),
            visitors=sum(bool(who) for who in whose.values()),
            people=len(set[str]().union(*whose.values())),
            pure_walks=sum(max(who.values()) for who in whose.values() if who),
            promoted=done.visitor,
            name=done.person,
            told=len(done.tracks),
            told_right=sum(one == done.person for one in _whose(truth, done.tracks)),
            named_right=right,
            named_wrong=wrong,
        )


def in_words(record: VisitorsRecord) -> str:
    """One sentence for the terminal."""
    return (
        f"Visitors: {record.walks} walks of {record.people} people without a name became {record.visitors} "
        f"visitors; {record.promoted} was promoted to {record.name}, with {record.told} earlier tracks"
    )


def _through_visitors(
    truth: Truth, tracks: Sequence[TrackRecord], events: Sequence[Event]
) -> tuple[int, int]:
    """How many tracks without a name got one through their visitor: the right one, and a wrong one."""
    names: dict[tuple[str, int], str] = {}
    for event in events:
        if isinstance(event, VisitorNamed) and event.person is not None:
            names |= {(camera, track): event.person for _, camera, track, _ in event.tracks}
        elif isinstance(event, VisitorSeen) and event.person is not None:
            names[event.camera, event.track] = event.person
    open_tracks = {(one.camera, one.track) for one in tracks if one.person is None}
    judged = [truth[key] == name for key, name in names.items() if key in truth and key in open_tracks]
    return sum(judged), len(judged) - sum(judged)


def _whose(truth: Truth, tracks: Sequence[TrackRef]) -> list[str]:
    return [truth[one.camera, one.track] for one in tracks if (one.camera, one.track) in truth]


def _most(who: Counter[str]) -> str:
    return who.most_common(1)[0][0]
