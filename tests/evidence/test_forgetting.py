"""Somebody who is forgotten leaves no picture: not in kept tracks, not in the last minutes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gaitstream.cli import main
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.forgetting import KeptEvidence, places_of
from gaitstream.evidence.records import TrackKey
from gaitstream.pipeline.forget import Places, forget
from tests.evidence.conftest import Told


def test_forgetting_deletes_what_shows_the_person_and_leaves_the_others(
    told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = told.site
    hers = [event for event in site.finals() if event.person_id == told.ada]
    others = [
        event
        for event in site.finals()
        if event.person_id is None and told.ada not in site.evidence(event).about
    ]
    assert hers
    assert others
    report = tmp_path / "report.json"
    command = ["gallery", "forget", "Ada Lovelace", "--cameras", str(site.path), "--report", str(report)]
    assert main([*command, "--journal", str(site.folder / "cams.journal")]) == 0
    said = capsys.readouterr().out
    assert f"evidence of {len({event.track for event in hers})} tracks" in said
    for event in hers:
        assert site.reader.of(event) is None
    for event in others:
        assert site.reader.of(event) is not None
    people = [person for frame in site.reader.recent("gate") for person in frame.people]
    assert told.ada not in {person.person_id for person in people}
    check = [
        "gallery",
        "verify",
        "--gallery",
        str(site.folder / "people.gallery"),
        "--forgotten",
        str(report),
    ]
    assert main([*check, "--name", "Ada Lovelace"]) == 0


def test_what_cannot_be_opened_is_said_to_remain(told: Told) -> None:
    files = list(told.site.reader.files.track_files())
    files[0].write_bytes(b"GSEVID1\n" + b"\x05\0\0\0wrong")
    with told.site.gallery() as gallery:
        report = forget(gallery, "Ada Lovelace", Places(evidence=places_of(told.site.config, told.site.path)))
    assert [line for line in report.remains if "cannot be opened" in line] == [
        f"{files[0]}: cannot be opened"
    ]
    assert str(told.site.folder / "cams.evidence") in report.places


def test_a_person_who_was_near_enough_is_taken_for_the_one_in_the_pictures(told: Told) -> None:
    [event, *_] = told.site.finals(person="Ada Lovelace")
    with told.site.gallery() as gallery:
        folder = SealedFolder.of(told.site.folder / "cams.evidence", gallery)
        key = TrackKey(event.camera, event.run, event.track)
        evidence, embeddings, pictures = folder.read_all(key)
        doubtful = tuple(
            msgspec.structs.replace(one, status="ambiguous", person_id=None) for one in evidence.decisions
        )
        folder.write(msgspec.structs.replace(evidence, decisions=doubtful), embeddings, pictures)
        count, remains = KeptEvidence(folder.folder.path).forget(gallery, told.ada)
    assert remains == []
    assert count >= 1
    assert told.site.reader.of(event) is None
