"""What a run keeps of its tracks and cameras, who may read it, and for how long."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.config.output_sections import Evidence
from gaitstream.config.reading import load_config
from gaitstream.errors import (
    ConfigError,
    EvidenceError,
    EvidenceForbiddenError,
    MissingEvidenceError,
)
from gaitstream.events import IdentityDecided
from gaitstream.evidence.observing import open_observers
from gaitstream.evidence.recent import RecentPieces
from gaitstream.evidence.records import RecentFrame, TrackKey
from gaitstream.gallery.rekeying import rekey
from gaitstream.pipeline.base import RunOptions
from gaitstream.telemetry.stats import Stats
from tests.evidence.conftest import Told
from tests.evidence.site import KeepingSite
from tests.gallery.filled import key_in

JPEG_START = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
"""Long enough not to occur by chance in what is sealed."""


def picture(data: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


def test_every_identity_event_finds_its_decision_with_pictures_windows_and_distances(told: Told) -> None:
    site, events = told.site, told.site.events()
    assert {type(event) for event in events} >= {IdentityDecided}
    for event in events:
        evidence = site.evidence(event)
        decision = evidence.decision_of(event)
        assert decision is not None
        assert evidence.models == event.models
        assert evidence.complete
        assert [person for person, _ in decision.nearest] == list(event.candidate_ids)
        assert [round(distance, 5) for _, distance in decision.nearest] == [d for _, d in event.candidates]
        assert decision.threshold == (0.2 if event.windows or event.provisional else decision.threshold)
        assert all(len(row) == len(decision.used) for row in decision.each)
        assert set(decision.used) <= {window.number for window in evidence.windows}
    assert told.snapshot.evidence["kept"] > 0
    assert set(told.snapshot.evidence) == {"kept", "pictures"}


def test_a_person_who_is_known_is_kept_by_id_and_the_name_is_nowhere(told: Told) -> None:
    [event, *_] = told.site.finals(person="Ada Lovelace")
    evidence = told.site.evidence(event)
    decision = evidence.decisions[-1]
    assert (decision.person_id, decision.status, decision.reason) == (told.ada, "known", None)
    assert decision.distance is not None
    assert 0 < decision.distance <= 0.2
    assert evidence.about == {told.ada}
    kept = [path for path in (told.site.folder / "cams.evidence").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        data = path.read_bytes()
        assert b"Lovelace" not in data
        assert JPEG_START not in data, "pictures are sealed"
        assert path.stat().st_mode & 0o077 == 0


def test_the_strip_shows_the_person_and_what_the_models_looked_at(told: Told) -> None:
    reader = told.site.reader
    evidence = max(
        (told.site.evidence(event) for event in told.site.finals()), key=lambda one: len(one.windows)
    )
    used = [shot for shot in evidence.shots if shot.rejected is None]
    assert 4 <= len(used) <= 8
    assert [shot.time_ns for shot in evidence.shots] == sorted(shot.time_ns for shot in evidence.shots)
    key = evidence.key
    for shot in used:
        crop = reader.picture(key.camera, key.run, key.track, shot.pictures["crop"])
        assert crop.media_type == "image/jpeg"
        assert crop.data.startswith(JPEG_START)
        height, width = picture(crop.data).shape[:2]
        x1, y1, x2, y2 = shot.box
        assert height <= 256
        assert width / height == pytest.approx((x2 - x1) / (y2 - y1), abs=0.25)
        heat = reader.picture(key.camera, key.run, key.track, shot.pictures["heatmaps"])
        assert heat.media_type == "image/png"
        assert picture(heat.data).shape == (64, 48)
        assert picture(heat.data).max() > 0
    with pytest.raises(MissingEvidenceError, match="no picture 999"):
        reader.picture(key.camera, key.run, key.track, 999)


def test_an_embedding_is_the_one_that_was_compared(told: Told) -> None:
    [event, *_] = told.site.finals(person="Ada Lovelace")
    evidence = told.site.evidence(event)
    decision = evidence.decisions[-1]
    with told.site.gallery() as gallery:
        matcher = gallery.matcher("gaitheat", evidence.models["gaitheat"])
    for column, number in enumerate(decision.used):
        distance = float(matcher.distances(told.site.reader.embedding(evidence, number))[0])
        assert decision.each[0][column] == pytest.approx(distance, abs=1e-6)


def test_a_camera_that_one_may_not_see_is_refused_and_so_is_a_way_out_of_the_folder(told: Told) -> None:
    [event, *_] = told.site.finals()
    reader = told.site.reader.only({"elsewhere"})
    for ask in (
        lambda: reader.of(event),
        lambda: reader.picture(event.camera, event.run, event.track, 0),
        lambda: reader.recent(event.camera),
        lambda: reader.recent_picture(event.camera, 1),
    ):
        with pytest.raises(EvidenceForbiddenError, match="may be seen"):
            ask()
    wider = reader.only({"gate", "elsewhere"})
    assert wider.cameras == frozenset({"elsewhere"}), "nobody gives more than they have"
    for camera, run in (
        ("..", event.run),
        ("gate", ".."),
        ("gate/../gate", event.run),
        ("gate", "a/b"),
        ("", ""),
    ):
        assert told.site.reader.find(camera, run, event.track) is None
    assert told.site.reader.find("gate", event.run, -1) is None


def test_what_was_changed_or_moved_does_not_open(told: Told) -> None:
    one, other = told.site.finals()[:2]
    folder = told.site.reader.files
    path = folder.track_file(TrackKey(one.camera, one.run, one.track))
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(EvidenceError, match="was changed"):
        told.site.reader.of(one)
    path.write_bytes(folder.track_file(TrackKey(other.camera, other.run, other.track)).read_bytes())
    with pytest.raises(EvidenceError, match="was changed"):
        told.site.reader.of(one)
    path.write_bytes(b"something else")
    with pytest.raises(EvidenceError, match="no file of evidence"):
        told.site.reader.of(one)


def test_the_last_minutes_of_a_camera_are_a_picture_a_second_with_who_is_in_it(told: Told) -> None:
    frames = told.site.reader.recent("gate")
    times = [frame.time_ns for frame in frames]
    assert len(times) >= 6
    assert times == sorted(times)
    assert {(frame.width, frame.height) for frame in frames} == {(640, 360)}
    people = [person for frame in frames for person in frame.people]
    assert told.ada in {person.person_id for person in people}
    shown = told.site.reader.recent_picture("gate", times[3])
    assert picture(shown.data).shape[:2] == (360, 640)
    assert [one.time_ns for one in told.site.reader.recent("gate", times[2], times[4])] == times[2:5]
    with pytest.raises(MissingEvidenceError):
        told.site.reader.recent_picture("gate", times[3] + 1)


def test_what_is_past_its_time_is_deleted(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    files = list(told.site.reader.files.track_files())
    old = time.time() - 40 * 86_400
    for path in files[:2]:
        os.utime(path, (old, old))
    assert main(["gallery", "sweep", "--cameras", str(told.site.path)]) == 0
    assert "deleted the evidence of 2 tracks" in capsys.readouterr().out
    assert set(told.site.reader.files.track_files()) == set(files[2:])
    assert told.site.reader.recent("gate") == [], "its minutes are over: the world's clock is long past"
    told.site.reader.files.sweep(Evidence(most_gib=1e-9))
    assert not list(told.site.reader.files.track_files())
    for _ in range(3):
        told.site.reader.files.sweep(Evidence(), clock=lambda: time.time() + 7200)
    assert not list((told.site.folder / "cams.evidence" / "tracks").iterdir()), "and no empty folder stays"


def test_a_sweep_without_the_sites_file_leaves_the_last_minutes(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    files, pieces, now_s = told.site.reader.files, RecentPieces(5.0), time.time()
    for camera, hours in (("yard", 1), ("hall", 25)):
        record = RecentFrame(int((now_s - hours * 3600) * 1e9), 640, 360, ())
        pieces.add(told.site.reader.folder, camera, np.zeros((360, 640, 3), np.uint8), record)
    where = ["--gallery", str(told.site.folder / "people.gallery"), "--evidence-days", "30"]
    assert main(["gallery", "sweep", *where, "--evidence", str(told.site.folder)]) == 2
    assert "is no folder of evidence" in capsys.readouterr().err
    assert main(["gallery", "sweep", *where, "--evidence", str(files.path)]) == 0
    assert (len(files.recent_files("yard")), files.recent_files("hall")) == (1, [])


def test_where_nothing_is_kept_any_more_what_was_kept_goes_in_its_time(told: Told) -> None:
    kept = told.site.reader.files
    files = list(kept.track_files())
    old = time.time() - 40 * 86_400
    for path in files[:2]:
        os.utime(path, (old, old))
    config = told.site.config.model_copy(update={"evidence": Evidence()})
    [sweeper] = open_observers(RunOptions(config=told.site.path), config)
    sweeper.on_begin("", {}, config, Stats())
    late_s = time.monotonic() + 10
    while (kept.recent_files("gate") or files[0].exists()) and time.monotonic() < late_s:
        time.sleep(0.02)
    sweeper.close()
    assert set(kept.track_files()) == set(files[2:])
    assert kept.recent_files("gate") == []


def test_pictures_of_a_recording_from_the_future_are_deleted_once_their_minutes_are_over(told: Told) -> None:
    files, pieces, now_s = told.site.reader.files, RecentPieces(5.0), time.time()
    for second in range(2):
        record = RecentFrame(int((now_s + 50 * 365 * 86_400 + second) * 1e9), 640, 360, ())
        pieces.add(told.site.reader.folder, "yard", np.zeros((360, 640, 3), np.uint8), record)
    files.sweep(Evidence(minutes=5), lambda: now_s + 4 * 60)
    assert len(files.recent_files("yard")) == 1
    files.sweep(Evidence(minutes=5), lambda: now_s + 6 * 60)
    assert files.recent_files("yard") == []


def test_evidence_is_read_after_the_gallery_has_another_key(told: Told, tmp_path: Path) -> None:
    [event, *_] = told.site.finals()
    before = told.site.evidence(event)
    with told.site.gallery() as gallery:
        rekey(gallery, key_in(tmp_path, "new"))
    text = told.site.path.read_text().replace(
        "path: people.gallery", f"path: people.gallery\n  key: file:{tmp_path}/new"
    )
    told.site.path.write_text(text)
    assert told.site.evidence(event) == before


def test_evidence_needs_a_gallery_and_a_watch_list_forbids_pictures_of_everybody(
    tmp_path: Path, bundle: Path
) -> None:
    site = KeepingSite(tmp_path, bundle)
    site.write(gallery={})
    with pytest.raises(ConfigError, match="sealed with the gallery's key"):
        load_config(site.path)
    site.write(gallery={"path": "people.gallery", "watchlist_only": True})
    with pytest.raises(ConfigError, match="watchlist_only forbids"):
        load_config(site.path)
