"""A gallery in memory follows its store: what is added, changed and erased, and files that come and go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import read_audit, verify_audit
from gaitstream.gallery.editing import keep_until
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.matching import mean_part_distance
from gaitstream.gallery.people import People
from gaitstream.gallery.quantise import Layout
from gaitstream.gallery.retention import ClockWatch, RetentionRules
from gaitstream.gallery.table import TemplateTable

Floats = NDArray[np.float32]
PRINT = "a" * 64
MODEL = "gaitheat"


def walks(seed: int, count: int = 3) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, 16, 32)).astype(np.float32)


def enrol(path: Path, *people: tuple[str, int]) -> None:
    with Gallery(path, create=True) as gallery:
        for name, seed in people:
            gallery.enroll(name, MODEL, PRINT, walks(seed))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "people.gallery"
    enrol(found, ("Ada", 1), ("Bob", 2))
    return found


@pytest.fixture
def keeper(path: Path) -> Iterator[Keeper]:
    with Keeper(path, [MODEL]) as kept:
        kept.start()
        yield kept


def nearest(people: People, probe: Floats) -> dict[str, float]:
    """Exact distance to everybody by name."""
    [found] = people.search(MODEL, [probe])
    distances = people.exact(MODEL, probe, found.persons.tolist())
    assert (found.low <= distances).all()
    assert (distances <= found.high).all()
    return {
        people.names[person]: float(distance)
        for person, distance in zip(found.persons.tolist(), distances, strict=True)
    }


def within_a_second(people: People, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 1.0
    while not condition():
        assert time.monotonic() < deadline_s, people
        people.poll()
        time.sleep(0.01)


def test_everybody_is_as_near_as_in_a_full_comparison(keeper: Keeper) -> None:
    probe = walks(1)[1] + np.float32(0.01)
    found = nearest(keeper.people(), probe)
    assert found == {
        "Ada": mean_part_distance(probe, walks(1)).min(),
        "Bob": mean_part_distance(probe, walks(2)).min(),
    }


def test_changes_are_matched_against_within_a_second(path: Path, keeper: Keeper) -> None:
    people = keeper.people()
    probe = walks(3)[0]
    enrol(path, ("Cyd", 3))
    within_a_second(people, lambda: "Cyd" in people.names.values())
    assert nearest(people, probe)["Cyd"] == 0
    with Gallery(path) as gallery:
        gallery.remove("Ada")
    within_a_second(people, lambda: "Ada" not in people.names.values())
    assert set(nearest(people, walks(1)[0])) == {"Bob", "Cyd"}
    enrol(path, ("Bob", 4))
    within_a_second(people, lambda: nearest(people, walks(4)[2])["Bob"] == 0)
    assert nearest(people, walks(2)[0])["Bob"] == 0
    with Gallery(path) as gallery:
        limits = gallery.thresholds(MODEL)
    within_a_second(people, lambda: people.limits[MODEL] == limits)


def test_another_process_sees_the_same_memory(path: Path, keeper: Keeper) -> None:
    code = (
        "import sys, time\nfrom gaitstream.gallery.people import People\n"
        f"people = People.attach({keeper.feed.path!r})\n"
        "print(sorted(people.names.values()), people.tables['gaitheat'].count, flush=True)\n"
        "while 'Cyd' not in people.names.values():\n    people.poll()\n    time.sleep(0.01)\n"
        "import numpy as np\n"
        "probe = np.random.default_rng(3).normal(size=(3, 16, 32)).astype(np.float32)[1]\n"
        "[found] = people.search('gaitheat', [probe])\n"
        "print(people.exact('gaitheat', probe, found.persons.tolist()).min())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "['Ada', 'Bob'] 6\n"
        enrol(path, ("Cyd", 3))
        assert process.stdout.readline() == "0.0\n"


def test_what_is_erased_is_gone_from_memory_and_from_the_file(path: Path, keeper: Keeper) -> None:
    people = keeper.people()
    table = people.tables[MODEL]
    places = np.flatnonzero(table.owners[: table.count] == next(iter(people.names)))
    assert table.rows["high"][places].any()
    with Gallery(path) as gallery:
        gallery.remove("Ada")
    within_a_second(people, lambda: "Ada" not in people.names.values())
    for name in ("high", "scale", "norm", "fine"):
        assert not table.rows[name][places].any()
    assert not table.planes["low"][places].any()
    assert table.exact(places.tolist()) == [None] * len(places)
    assert b"Ada" not in keeper.feed._segment.read(0, int(keeper.feed._segment.header[0]))


def test_no_template_lies_in_a_file_that_has_a_name(path: Path, keeper: Keeper) -> None:
    """Shared memory and the exact values have no name; the latter are encrypted."""
    table = keeper.tables[MODEL]
    sealed = os.pread(table._exact, 1 << 20, 0)
    assert walks(1)[0].tobytes()[:32] not in sealed
    held = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            link = os.readlink(f"/proc/self/fd/{number}")
            held += [link] if "gaitstream-" in link else []
    assert held
    assert all("(deleted)" in link for link in held)


def test_a_file_that_was_replaced_is_followed(path: Path, keeper: Keeper, tmp_path: Path) -> None:
    people = keeper.people()
    other = tmp_path / "other.gallery"
    shutil.copy(f"{path}.key", f"{other}.key")
    enrol(other, ("Eve", 9))
    other.replace(path)
    within_a_second(people, lambda: set(people.names.values()) == {"Eve"})
    assert nearest(people, walks(9)[0]) == {"Eve": 0}


def test_a_file_that_was_copied_over_is_followed_or_told(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gallery"
    shutil.copy(f"{path}.key", f"{other}.key")
    enrol(other, ("Eve", 9))
    with Keeper(path, [MODEL]) as keeper:
        people = keeper.people()
        keeper.start()
        time.sleep(0.3)
        path.write_bytes(other.read_bytes())
        deadline_s = time.monotonic() + 60
        told = ""
        while not told and set(people.names.values()) != {"Eve"} and time.monotonic() < deadline_s:
            told = people.poll().problem or ""
            time.sleep(0.01)
        assert told or set(people.names.values()) == {"Eve"}


def test_a_file_that_was_deleted_is_told_and_comes_back(path: Path, keeper: Keeper, tmp_path: Path) -> None:
    people = keeper.people()
    aside = tmp_path / "aside"
    problems: list[str] = []

    def told(start: str) -> bool:
        problem = people.poll().problem
        if problem is not None:
            problems.append(problem)
        return bool(problems) and problems[-1].startswith(start) and (bool(start) or not problems[-1])

    path.rename(aside)
    within_a_second(people, lambda: told(f"{path} is gone: it was moved or deleted"))
    assert set(people.names.values()) == {"Ada", "Bob"}
    aside.rename(path)
    deadline_s = time.monotonic() + 60
    while not told("") and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert problems[-1] == ""


def test_a_gallery_that_is_not_there_yet_is_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "later.gallery"
    with Keeper(path, [MODEL]) as keeper:
        people = keeper.people()
        assert people.names == {}
        keeper.start()
        enrol(path, ("Ada", 1))
        within_a_second(people, lambda: set(people.names.values()) == {"Ada"})


def test_a_damaged_template_is_an_error_at_the_start(path: Path) -> None:
    plain = path.with_name("plain.gallery")
    with Gallery(plain, create=True, key="none") as gallery:
        gallery.enroll("Ada", MODEL, PRINT, walks(1))
    data = bytearray(plain.read_bytes())
    data[data.index(walks(1)[0].tobytes()) + 8] ^= 1
    plain.write_bytes(data)
    with pytest.raises(GalleryError, match="template 1 of 'Ada'"):
        Keeper(plain, [MODEL])


def test_rows_of_the_erased_are_used_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    table = TemplateTable.create(Layout(16, 32))
    places = table.add([1, 2, 3], [0, 0, 1], walks(1))
    table.drop(places[:2])
    assert table.add([4], [2], walks(2, 1)) == [3]
    monkeypatch.setattr("gaitstream.gallery.table.REUSE_S", 0.0)
    assert table.add([5, 6, 7], [2, 2, 2], walks(3)) == [0, 1, 4]
    found = table.exact([0, 1, 4])
    np.testing.assert_array_equal(np.stack([one for one in found if one is not None]), walks(3))


def test_probes_of_another_shape_are_an_error(keeper: Keeper) -> None:
    with pytest.raises(GalleryError, match="different models"):
        keeper.people().search(MODEL, [np.zeros((16, 31), np.float32)])


def test_a_keeper_that_is_gone_is_told() -> None:
    with pytest.raises(GalleryError, match="is gone"):
        People.attach("/proc/1/fd/99999")


def test_a_clock_that_is_set_erases_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitstream.gallery.keeper.SWEEP_S", 0.1)
    with Gallery(path) as gallery:
        keep_until(gallery, "Ada", time.time_ns() + 3600 * 10**9)
        with Keeper(path, [MODEL], rules=RetentionRules(person_days=365.0)) as keeper:
            keeper.start()
            time.sleep(1.0)
            real_ns, year_s = time.time_ns, 366 * 86_400
            monkeypatch.setattr(time, "time_ns", lambda: real_ns() + year_s * 10**9)
            time.sleep(1.5)
            monkeypatch.undo()
        assert [entry.name for entry in gallery.persons()] == ["Ada", "Bob"]


def test_a_clock_is_trusted_again_when_it_has_run_evenly() -> None:
    set_s = now_s = 0.0
    watch = ClockWatch(lambda: 1000.0 + now_s + set_s, lambda: now_s)
    now_s = 50_000.0
    assert watch.trusted()
    set_s = 59.0
    assert watch.trusted(), "clocks drift, and are corrected"
    set_s = -3600.0
    assert not watch.trusted()
    now_s += 599
    assert not watch.trusted()
    now_s += 1
    assert watch.trusted()


def test_a_run_erases_what_is_past_its_time_and_records_its_use(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.gallery.keeper.SWEEP_S", 0.1)
    with Gallery(path) as gallery:
        keep_until(gallery, "Ada", time.time_ns() + 10**9)
        with Keeper(path, [MODEL], rules=RetentionRules()) as keeper:
            people = keeper.people()
            keeper.start()
            assert sorted(people.names.values()) == ["Ada", "Bob"]
            deadline_s = time.monotonic() + 10
            while "Ada" in people.names.values() and time.monotonic() < deadline_s:
                people.poll()
                time.sleep(0.02)
            assert list(people.names.values()) == ["Bob"]
        assert [entry.name for entry in gallery.persons()] == ["Bob"]
        with gallery.store.reading() as reading:
            lines = [line for _, line in read_audit(reading, gallery.sealer)]
            assert verify_audit(reading, gallery.sealer) == []
        actions = [line.action for line in lines]
        assert actions == ["enrolled", "enrolled", "retention", "use.started", "expired", "use.ended"]
        assert lines[3].detail == f"gallery {gallery.id} at change 2"


def test_no_fault_ends_the_following_of_a_gallery(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitstream.gallery.keeper.RETRY_S", 0.1)
    with Gallery(path) as gallery, Keeper(path, [MODEL]) as keeper:
        keeper.start()
        people, problems = keeper.people(), set[str]()

        def failing(_: object) -> dict[str, str]:
            raise KeyError("a fault")

        def follow_until(holds: Callable[[], bool]) -> bool:
            deadline_s = time.monotonic() + 20
            while not holds() and time.monotonic() < deadline_s:
                problems.add(people.poll().problem or "")
                time.sleep(0.02)
            return holds()

        with monkeypatch.context() as patched:
            patched.setattr("gaitstream.gallery.keeper.read_merged", failing)
            gallery.remove("Ada")
            assert follow_until(lambda: any("KeyError" in problem for problem in problems))
        assert follow_until(lambda: list(people.names.values()) == ["Bob"])


def test_a_folder_that_cannot_be_written_is_an_error_of_the_gallery(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with Keeper(path, [MODEL]) as keeper, monkeypatch.context() as patched:
        patched.setattr("filelock.FileLock.acquire", denied)
        keeper.start()  # the use cannot be recorded, and is matched against all the same
        people = keeper.people()
        within_a_second(people, lambda: set(nearest(people, walks(1)[0])) == {"Ada", "Bob"})
        with Gallery(path) as gallery, pytest.raises(GalleryError, match="cannot be written"):
            gallery.enroll("Cyd", MODEL, PRINT, walks(3))
