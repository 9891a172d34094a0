"""Whatever a program does to a gallery when it is killed: it opens, is whole, and has nobody by half."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.verifying import verify
from tests.gallery.filled import MODEL, PEOPLE, PRINT, content, fill, key_in, walks

ROOT = Path(__file__).parents[2]
ACTIONS = ("enrol", "import", "copy", "rekey", "forget", "sweep", "promote")
KILLS = int(os.environ.get("GAITSTREAM_KILLS", "3"))
"""Of each action on each store; set the variable for a large run."""


def kill_while(action: str, url: str, key: str, folder: Path, after_s: float) -> list[str]:
    """Do something until it is killed; what it said until then."""
    command = [sys.executable, "-m", "tests.gallery.crashing", action, url, key, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        return process.stdout.read().splitlines()


def check(url: str, key: str) -> Gallery:
    """The gallery, whole; those who were there before are there with all they had."""
    gallery = Gallery(url, key=key)
    assert verify(gallery) == []
    people = content(gallery)
    for seed, name in enumerate(PEOPLE):
        assert people[name][0] == walks(seed).tobytes()
        assert len(people[name][1]) == 1
    for entry in gallery.persons():
        assert entry.templates == {MODEL: 3}, entry
    return gallery


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_kill_at_any_moment_leaves_a_whole_gallery(
    action: str, store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "people.gallery")
    if store == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    key = key_in(tmp_path)
    with Gallery(url, create=True, key=key) as gallery:
        fill(gallery)
    with Gallery(tmp_path / "carried", create=True, key=key) as carried:
        carried.enroll_many(
            Enrolment(name, MODEL, PRINT, walks(50 + n)) for n, name in enumerate(("Xan", "Yve"))
        )
    dice = random.Random(f"{action} {store}")
    finished: list[str] = []
    for _ in range(KILLS):
        said = kill_while(action, url, key, tmp_path, dice.uniform(0.0, 0.5))
        finished += [line.removeprefix("end ") for line in said if line.startswith("end ")]
        with check(url, key) as gallery:
            names = {entry.name for entry in gallery.persons()}
        if action == "enrol":  # both of a batch or none, and nobody whose end was told is missing
            assert {name.rsplit(" ", 1)[0] for name in names if name.endswith(" 0")} == {
                name.rsplit(" ", 1)[0] for name in names if name.endswith(" 1")
            }
            assert {f"new {round_} 0" for round_ in finished} <= names
        elif action in ("forget", "sweep"):
            assert not {f"new {round_} {index}" for round_ in finished for index in (0, 1)} & names
        elif action == "promote":
            assert {f"new {round_} 0" for round_ in finished} <= names
        elif action == "import":
            assert names - set(PEOPLE) <= {"Xan", "Yve"}
    for made in tmp_path.glob("export *"):
        if made.suffix == "":
            with Gallery(made, key=key) as exported:
                assert verify(exported) == []
                assert sorted(content(exported)) == list(PEOPLE)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_two_writers_lose_nothing(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = str(tmp_path / "people.gallery")
    if store == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    key = key_in(tmp_path)
    Gallery(url, create=True, key=key).close()
    failures: list[BaseException] = []

    def write(who: str) -> None:
        try:
            with Gallery(url, key=key) as gallery:
                for number in range(15):
                    gallery.enroll(f"{who} {number}", MODEL, PRINT, walks(number))
                    gallery.enroll("everybody's", MODEL, PRINT, walks(99, 1))
                    if number % 3 == 0:
                        gallery.remove(f"{who} {number}")
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(who,)) for who in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Gallery(url, key=key) as gallery:
        expected = {f"{who} {n}" for who in ("one", "two", "three") for n in range(15) if n % 3}
        assert {entry.name for entry in gallery.persons()} == expected | {"everybody's"}
        matcher = gallery.matcher(MODEL, PRINT)
        assert len(matcher.templates) == 3 * len(expected) + 45
        assert np.isfinite(matcher.templates).all()
        assert verify(gallery) == []
