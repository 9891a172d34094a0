"""The gallery on disk: binding, erasure, calibration, a kill in the middle of writing."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.cli import main
from gaitstream.errors import GalleryError
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.calibration import calibrate
from gaitstream.gallery.matching import Matcher
from gaitstream.gallery.searches import Searches, search_all
from gaitstream.gallery.sqlite import SqliteStore

PRINT = "a" * 64


def walks(value: float, count: int = 3) -> NDArray[np.float32]:
    noise = np.random.default_rng(int(value)).normal(size=(count, 16, 8)) * 0.01
    return (noise + value).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.gallery"


def test_what_was_enrolled_is_there_after_reopening(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1), source="gate.mp4")
        gallery.enroll("Bob", "gaitheat", PRINT, walks(5, 2))
        gallery.enroll("Ada", "gaitheat", PRINT, walks(2, 1))
    with Gallery(path) as gallery:
        assert [(entry.name, entry.templates) for entry in gallery.persons()] == [
            ("Ada", {"gaitheat": 4}),
            ("Bob", {"gaitheat": 2}),
        ]
        matcher = gallery.matcher("gaitheat", PRINT)
        assert matcher.names == ("Ada", "Bob")
        np.testing.assert_array_equal(matcher.templates[:3], walks(1))
        assert gallery.matcher("biggait", "x").names == ()


def test_only_the_owner_may_read_it(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1))
        files = list(path.parent.glob("people.gallery*"))
        assert len(files) > 1
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_another_model_is_an_error_and_changes_nothing(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1))
        with pytest.raises(
            GalleryError, match="filled by gaitheat aaaaaaaaaaaa, this is gaitheat bbbbbbbbbbbb"
        ):
            gallery.matcher("gaitheat", "b" * 64)
        with pytest.raises(GalleryError, match="enrol into a new gallery"):
            gallery.enroll("Eve", "gaitheat", "b" * 64, walks(2))
        assert [entry.name for entry in gallery.persons()] == ["Ada"]
        gallery.enroll("Ada", "biggait", "c" * 64, walks(3))


def crowd(count: int) -> list[Enrolment]:
    return [Enrolment(f"p{value}", "gaitheat", PRINT, walks(value)) for value in range(count)]


def test_a_batch_is_calibrated_once_and_as_one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(matcher: Matcher, numbers: Sequence[int]) -> Searches:
        calls.append(len(matcher.names))
        return search_all(matcher, numbers)

    monkeypatch.setattr("gaitstream.gallery.tuning.search_all", counted)
    with Gallery(path, create=True) as gallery, Gallery(path.with_name("other"), create=True) as singly:
        assert gallery.enroll_many(crowd(6)) == 18
        assert calls == [6]
        for one in crowd(6):
            singly.enroll(one.person, one.model, one.fingerprint, one.templates)
        assert gallery.calibration("gaitheat") == singly.calibration("gaitheat") is not None


def test_a_batch_with_one_fault_adds_nobody(path: Path) -> None:
    broken = Enrolment("Eve", "gaitheat", PRINT, np.full((1, 16, 8), np.nan, np.float32))
    other = Enrolment("Eve", "gaitheat", PRINT, np.zeros((1, 16, 9), np.float32))
    with Gallery(path, create=True) as gallery:
        for fault, message in (
            (broken, "'Eve' have shape"),
            (other, r"\[16, 8\] in .*, these are \[16, 9\]"),
        ):
            with pytest.raises(GalleryError, match=message):
                gallery.enroll_many([*crowd(3), fault])
            assert gallery.persons() == []
            assert gallery.models() == {}


def test_templates_and_threshold_are_stored_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(matcher: Matcher, numbers: Sequence[int]) -> Searches:
        raise KeyboardInterrupt

    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(crowd(2))
        before = gallery.thresholds("gaitheat")
        monkeypatch.setattr("gaitstream.gallery.tuning.search_all", dies)
        with pytest.raises(KeyboardInterrupt):
            gallery.enroll("Ada", "gaitheat", PRINT, walks(9))
        with pytest.raises(KeyboardInterrupt):
            gallery.remove("p1")
    with Gallery(path) as gallery:
        assert [entry.name for entry in gallery.persons()] == ["p0", "p1"]
        assert gallery.thresholds("gaitheat") == before


def test_removal_erases_the_bytes(path: Path) -> None:
    marked = walks(77, 1)
    with Gallery(path, create=True, key="none") as gallery:
        gallery.enroll("Ada Lovelace", "gaitheat", PRINT, marked)
        gallery.enroll("Bob", "gaitheat", PRINT, walks(5))
        assert gallery.remove("Ada Lovelace") == 1
        files = b"".join(file.read_bytes() for file in path.parent.glob("people.gallery*"))
        assert marked[0, 0].tobytes() not in files
        assert b"Ada Lovelace" not in files
        with pytest.raises(GalleryError, match=r"'Bop' is not in .*; the nearest of 1 is 'Bob'"):
            gallery.remove("Bop")
        with pytest.raises(
            GalleryError, match=r"'Ada Lovelace' is not in .*; none of 1 is near it, and .*gallery list"
        ):
            gallery.remove("Ada Lovelace")


@pytest.mark.parametrize("shape", [(0, 16, 8), (16, 8), (1, 16, 0), (1, 0, 8)])
def test_templates_of_a_wrong_shape_are_refused(path: Path, shape: tuple[int, ...]) -> None:
    with Gallery(path, create=True) as gallery, pytest.raises(GalleryError, match="'Ada' have shape"):
        gallery.enroll("Ada", "gaitheat", PRINT, np.zeros(shape, np.float32))


def test_not_a_number_is_refused(path: Path) -> None:
    with Gallery(path, create=True) as gallery, pytest.raises(GalleryError, match="finite"):
        gallery.enroll("Ada", "gaitheat", PRINT, np.full((1, 16, 8), np.nan, np.float32))


@pytest.mark.parametrize(
    "templates",
    [np.full((1, 16, 8), 1e300), np.full((1, 16, 8), 3e38, np.float32), walks(1) + 1j, walks(1) > 0],
    ids=["double precision", "squares", "complex", "bools"],
)
def test_one_enrolment_does_not_spoil_the_gallery(path: Path, templates: NDArray[np.float32]) -> None:
    """In single precision these are no numbers, nor are their distances, nor were the threshold of all."""
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(crowd(3))
        before = gallery.calibration("gaitheat")
        with pytest.raises(GalleryError, match=r"'Eve' have shape .* finite numbers up to 1e\+12 are needed"):
            gallery.enroll("Eve", "gaitheat", PRINT, templates)
        assert gallery.calibration("gaitheat") == before


@pytest.mark.parametrize(("model", "fingerprint"), [("", PRINT), ("gaitheat", ""), ("gaitheat", None)])
def test_templates_of_no_model_are_refused(path: Path, model: str, fingerprint: str) -> None:
    with (
        Gallery(path, create=True) as gallery,
        pytest.raises(GalleryError, match="give the recognizer's name"),
    ):
        gallery.enroll("Ada", model, fingerprint, walks(1))


def test_what_makes_enrolments_may_look_into_the_gallery(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1))
        new = (
            Enrolment(name, "gaitheat", PRINT, walks(seed))
            for seed, name in enumerate(("Ada", "Bob", "Cyd"))
            if name not in {entry.name for entry in gallery.persons()}
        )
        assert gallery.enroll_many(new) == 6
        assert [entry.name for entry in gallery.persons()] == ["Ada", "Bob", "Cyd"]


@pytest.mark.parametrize("rate", [0.0, 1.0, float("nan"), -0.1])
def test_a_rate_that_is_none_is_not_aimed_for(path: Path, rate: float) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(crowd(3))
        before = gallery.calibration("gaitheat")
        with pytest.raises(GalleryError, match=r"give a share between 0 and 0\.5"):
            gallery.calibrate("gaitheat", rate)
        assert gallery.calibration("gaitheat") == before


def test_nobody_is_near_to_what_is_no_number(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1))
        matcher = gallery.matcher("gaitheat", PRINT)
        with pytest.raises(GalleryError, match="the probe holds NaN or infinity"):
            matcher.distances(np.full((16, 8), np.nan, np.float32))
        with pytest.raises(GalleryError, match="nearest is 0: average 1 or more"):
            gallery.matcher("gaitheat", PRINT, nearest=0)


def test_a_damaged_calibration_is_said_and_made_anew(path: Path) -> None:
    with Gallery(path, create=True, key="none") as gallery:
        gallery.enroll_many(crowd(3))
        before = gallery.calibration("gaitheat")
        with gallery.writing() as writing:
            row = next(iter(writing.models()))
            writing.put_model(replace(row, calibration=b'{"threshold": null}'))
        with pytest.raises(GalleryError, match=r"the calibration of gaitheat is damaged .*gallery calibrate"):
            gallery.calibration("gaitheat")
        gallery.calibrate("gaitheat")
        assert gallery.calibration("gaitheat") == before


def test_a_missing_file_and_a_wrong_one_are_errors(path: Path) -> None:
    with pytest.raises(GalleryError, match="no such gallery; make one with 'gaitstream enroll"):
        Gallery(path)
    with pytest.raises(GalleryError, match="is no file; give the gallery's file"):
        Gallery(path.parent, create=True)
    path.write_text("cameras: []" * 100)
    with pytest.raises(GalleryError, match="is no gallery"):
        Gallery(path)


def hurt(path: Path, template: NDArray[np.float32]) -> None:
    """Flip one bit in the middle of a template, in the file itself."""
    data = bytearray(path.read_bytes())
    at = data.index(template.tobytes()) + template.nbytes // 2
    data[at] ^= 1
    path.write_bytes(data)


def test_one_flipped_bit_of_a_template_is_noticed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Gallery(path, create=True, key="none") as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1), source="gate.mp4")
        gallery.enroll_many(Enrolment(f"p{n}", "gaitheat", PRINT, walks(n)) for n in (5, 6, 7))
    assert main(["gallery", "info", "--gallery", str(path)]) == 0
    hurt(path, walks(1)[2])
    hurt(path, walks(6)[0])
    said = r"template 3 of 'Ada' \(gaitheat, from gate.mp4\) is damaged; put a backup .*gallery remove"
    with Gallery(path) as gallery:
        with pytest.raises(GalleryError, match=said):
            gallery.matcher("gaitheat", PRINT)
        with pytest.raises(GalleryError, match=said):
            gallery.enroll("Eve", "gaitheat", PRINT, walks(9))
    capsys.readouterr()
    assert main(["gallery", "info", "--gallery", str(path)]) == 1
    out = capsys.readouterr().out
    assert "template 3 of 'Ada' (gaitheat, from gate.mp4) is damaged; put a backup" in out
    assert "template 7 of 'p6' (gaitheat) is damaged" in out
    for name in ("Ada", "p6"):
        assert main(["gallery", "remove", name, "--gallery", str(path)]) == 0
    assert main(["gallery", "info", "--gallery", str(path)]) == 0
    with Gallery(path) as gallery:
        matcher = gallery.matcher("gaitheat", PRINT)
        assert matcher.names == ("p5", "p7")
        assert gallery.calibration("gaitheat") == calibrate(matcher) is not None


def test_a_template_of_another_length_is_damaged(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1))
        with sqlite3.connect(path) as db:
            db.execute("UPDATE template SET data = x'00' WHERE id = 2")
        db.close()
        with pytest.raises(GalleryError, match="template 2 of 'Ada'"):
            gallery.matcher("gaitheat", PRINT)


def _read_all(path: Path) -> None:
    with Gallery(path) as gallery:
        gallery.persons()
        gallery.matcher("gaitheat", PRINT)


def test_a_damaged_gallery_says_so(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(crowd(40))
    whole = bytearray(path.read_bytes())
    whole[3 * 4096 :] = b"\xa5" * (len(whole) - 3 * 4096)
    path.write_bytes(whole)
    with pytest.raises(GalleryError, match=r"is damaged .*put a backup in its place"):
        _read_all(path)


def test_a_gallery_that_another_process_holds_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitstream.gallery.sqlite.BUSY_S", 0.05)
    with Gallery(path, create=True) as gallery, sqlite3.connect(path, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(GalleryError, match=r"cannot be used now .*locked.*; see that no other process"):
            gallery.enroll_many(crowd(1))
    db.close()


def test_a_reader_notices_that_another_process_wrote(path: Path) -> None:
    with Gallery(path, create=True) as writer, Gallery(path) as reader:
        before = reader.mark()
        assert reader.mark() == before
        writer.enroll("Ada", "gaitheat", PRINT, walks(1))
        assert reader.mark() != before
        assert reader.matcher("gaitheat", PRINT).names == ("Ada",)


def test_calibration_lies_between_genuine_and_impostor() -> None:
    result = calibrate(Matcher.build([("Ada", walks(1)), ("Bob", walks(5))]))
    assert result is not None
    genuine, impostor = 0.01 * np.sqrt(2 * 8), 4 * np.sqrt(8)
    assert genuine < result.threshold < impostor
    assert result.threshold == pytest.approx((genuine + impostor) / 2, rel=0.05)
    assert (result.genuine, result.impostor) == (6, 6)


@pytest.mark.parametrize(("persons", "known"), [([1.0], False), ([1.0, 5.0], True)])
def test_calibration_with_one_template_each(path: Path, persons: list[float], known: bool) -> None:
    with Gallery(path, create=True) as gallery:
        for value in persons:
            gallery.enroll(f"person {value}", "gaitheat", PRINT, walks(value, 1))
        threshold, _ = gallery.thresholds("gaitheat")
        assert (threshold is not None) == known


ENROLLING = """
import sys, numpy as np
from gaitstream.gallery import Enrolment, Gallery
gallery = Gallery(sys.argv[1], create=True)
print("ready", flush=True)
for number in range(10**6):
    values = [np.full((3, 16, 64), 2 * number + i, np.float32) for i in range(2)]
    gallery.enroll_many(
        Enrolment(f"p{2 * number + i}", "gaitheat", "f" * 64, value) for i, value in enumerate(values)
    )
    print(2 * number, 2 * number + 1, sep="\\n", flush=True)
"""


def test_a_kill_leaves_every_finished_enrolment_whole(path: Path) -> None:
    for _ in range(3):
        path.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", ENROLLING, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.15)
            process.send_signal(signal.SIGKILL)
            done = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        with Gallery(path) as gallery:
            entries = gallery.persons()
            assert len(entries) >= len(done)
            assert len(entries) % 2 == 0
            assert all(entry.templates == {"gaitheat": 3} for entry in entries)
            if entries:
                matcher = gallery.matcher("gaitheat", "f" * 64)
                for name, start in zip(matcher.names, matcher.starts, strict=True):
                    assert (matcher.templates[start : start + 3] == float(name[1:])).all()
                assert gallery.calibration("gaitheat") == calibrate(matcher)
        for extra in path.parent.glob("people.gallery-*"):
            extra.unlink()


def test_an_empty_file_is_no_new_gallery(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    path.touch()
    with pytest.raises(GalleryError, match="is empty: put a backup in its place, or remove it to begin anew"):
        Gallery(path)
    assert path.stat().st_size == 0
    assert [one.name for one in tmp_path.iterdir()] == ["people.gallery"]
    with Gallery(path, create=True) as gallery:  # somebody made the file first, with the mode they want
        gallery.enroll("Ada", "gaitheat", "a" * 64, walks(1))
    path.write_bytes(b"")
    for create in (False, True):
        with pytest.raises(GalleryError, match=r"people\.gallery\.key is there, so it held a gallery"):
            Gallery(path, create=create)
    assert path.stat().st_size == 0
    path.unlink()
    Gallery(path, create=True).close()


def test_a_gallery_that_was_not_finished_is_made_by_who_enrols(tmp_path: Path) -> None:
    SqliteStore(f"sqlite:{tmp_path}/people.gallery", create=True).close()
    with pytest.raises(GalleryError, match="is empty"):
        Gallery(tmp_path / "people.gallery")
    assert not (tmp_path / "people.gallery.key").exists()
    Gallery(tmp_path / "people.gallery", create=True).close()
    Gallery(tmp_path / "people.gallery").close()


def test_a_file_that_is_cut_off_in_use_is_not_made_new(path: Path) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", PRINT, walks(1))
        path.write_bytes(b"")
        with pytest.raises(GalleryError, match="is empty"):
            gallery.persons()
        with pytest.raises(GalleryError, match="is empty"):
            gallery.enroll("Bob", "gaitheat", PRINT, walks(5))
        assert path.stat().st_size == 0
