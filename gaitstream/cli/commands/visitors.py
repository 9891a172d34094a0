"""What the commands about strangers do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from gaitstream.cli.commands.events import read_time
from gaitstream.cli.commands.gallery import moment, open_gallery
from gaitstream.cli.commands.people import load_site
from gaitstream.cli.commands.tables import table_console
from gaitstream.config.places import journal_folder
from gaitstream.config.reading import load_config
from gaitstream.errors import GalleryError
from gaitstream.events.erasing import only_ids
from gaitstream.events.finding import find_event
from gaitstream.events.offline import append_offline
from gaitstream.events.schema import Identity
from gaitstream.gallery import Gallery
from gaitstream.gallery.appearances import appearances, describe_appearance, like_track, like_visitor
from gaitstream.gallery.confirming import clean_event_id
from gaitstream.gallery.confirming import confirm as confirm_match
from gaitstream.gallery.confirming import reject as reject_match
from gaitstream.gallery.searches import Floats
from gaitstream.gallery.sightings import TrackRef
from gaitstream.gallery.visitors import keep_apart, reject_track
from gaitstream.gallery.visitors import promote as promote_visitor
from gaitstream.gallery.visitors import visitors as list_visitors
from gaitstream.pipeline.enroll import choose, video_camera, watch
from gaitstream.pipeline.publish import visitor_named
from gaitstream.pipeline.visits import site_rule
from gaitstream.runners.launch import signals


def visitors(args: argparse.Namespace) -> int:
    """`gallery visitors`."""
    with open_gallery(args) as gallery:
        table = Table("visitor", "first", "last", "walks", "cameras", "is not", box=None)
        for entry in list_visitors(gallery):
            cameras = ", ".join(f"{camera} {count}" for camera, count in sorted(entry.cameras.items()))
            times = (moment(entry.first_ns), moment(entry.last_ns))
            table.add_row(
                entry.name, *times, str(entry.tracks), escape(cameras), escape(", ".join(entry.apart))
            )
        table_console().print(table)
    return 0


def promote(args: argparse.Namespace) -> int:
    """`gallery promote`."""
    with open_gallery(args) as gallery:
        done = promote_visitor(gallery, args.visitor, args.person)
        with gallery.store.reading() as reading:
            _, record = gallery.person(reading, done.person)
    if record.expires_ns is not None:
        print(
            f"{done.person} is kept until {moment(record.expires_ns)}; 'gaitstream gallery keep' changes it"
        )
    walks = f"are {len(done.tracks)} earlier walks" if len(done.tracks) != 1 else "is one earlier walk"
    print(f"{done.visitor} is {done.person} now, as {walks}:")
    for track in done.tracks:
        print(f"  {track}  {moment(track.time_ns)}")
    if journal := _journal(args):
        event = visitor_named(done, "promotion")
        named = args.cameras is None or load_config(args.cameras).events.names
        told = append_offline(journal, event if named else only_ids(event))
        print(f"{journal}: " + ("visitor.named is published" if told else "the run that writes it tells"))
    return 0


def apart(args: argparse.Namespace) -> int:
    """`gallery apart`."""
    with open_gallery(args) as gallery:
        keep_apart(gallery, args.visitor, args.other)
    print(f"{args.visitor} is never taken for {args.other} again")
    return 0


def confirm(args: argparse.Namespace) -> int:
    """`gallery confirm`."""
    _find_match(args)
    with open_gallery(args) as gallery:
        print(f"event {args.event} is {confirm_match(gallery, args.event, args.by).value}")
    return 0


def reject(args: argparse.Namespace) -> int:
    """`gallery reject`."""
    event = _find_match(args)
    with open_gallery(args) as gallery:
        state = reject_match(gallery, args.event, args.by)
        print(f"event {args.event} is {state.value}")
        if event is not None and event.person_id is not None:
            track = TrackRef(event.run, event.camera, event.track)
            name = reject_track(gallery, track, event.person_id, args.by)
            print(
                f"{track} was {name}, not {event.person or event.person_id}: that pair never fires again"
                if name is not None
                else f"nothing is kept of {track} to tell the two apart by: set gallery.visitors"
            )
    return 0


def search(args: argparse.Namespace) -> int:
    """`search`."""
    config = load_site(args.cameras)
    since_ns = read_time(args.since)
    args.gallery, args.key = None, None
    with open_gallery(args) as gallery:
        like = _like(gallery, args)
        if like is None:
            return 2
        rule = site_rule(config, {model: gallery.thresholds(model)[0] for model in gallery.models()})
        found = appearances(gallery, like, rule, since_ns, args.most)
    if args.json:
        for one in found:
            print(json.dumps(describe_appearance(one)))
        return 0
    table = Table("distance", "when", "camera", "who", "track", box=None)
    for one in found:
        near = f"{one.distance:.2f}" + ("" if one.same else " (another)")
        track = one.sighting.track
        table.add_row(near, moment(track.time_ns), escape(track.camera), escape(one.who), escape(str(track)))
    table_console().print(table)
    return 0


def _like(gallery: Gallery, args: argparse.Namespace) -> Mapping[str, Floats] | None:
    """The windows to search for; None when it has to be said which track of a video is meant."""
    if not Path(args.like).exists():
        try:
            return like_track(gallery, TrackRef.parse(args.like))
        except GalleryError:
            return like_visitor(gallery, args.like)
    config = load_site(args.cameras)
    watched = watch(
        config, video_camera(config, args.like), match=False, seconds=args.seconds, interrupt=signals
    )
    walk = choose(watched.walks, args.track)
    if walk is None:
        tracks = ", ".join(str(one.track) for one in watched.walks if one.usable) or watched.why_none
        print(f"{args.like} shows no single person; say which track is meant with --track: {tracks}")
        return None
    return {model: np.stack(windows) for model, windows in walk.embeddings.items()}


def _find_match(args: argparse.Namespace) -> Identity | None:
    """The event that is confirmed or rejected; None where no journal is known to look it up in.

    Raises:
        GalleryError: that is no event_id, or the event is not about who somebody is.
        EventError: the journal has no such event.
    """
    args.event = clean_event_id(args.event)
    journal = _journal(args)
    if journal is None:
        return None
    event = find_event(journal, args.event)
    if not isinstance(event, Identity):
        raise GalleryError(f"event {args.event} is {event.topic}, and says of nobody who it is")
    return event


def _journal(args: argparse.Namespace) -> Path | None:
    """The journal that `--journal` names, or else the configuration."""
    if args.journal is not None or args.cameras is None:
        return Path(args.journal) if args.journal is not None else None
    return journal_folder(load_config(args.cameras), args.cameras)
