"""A program that does one thing with a gallery over and over, to be killed at any moment.

    python -m tests.gallery.crashing ACTION URL KEY FOLDER

It prints a line before and after everything it does.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.editing import keep_until
from gaitstream.gallery.rekeying import rekey
from gaitstream.gallery.retention import DAY_NS, RetentionRules, sweep
from gaitstream.gallery.transfer import copy, export
from gaitstream.gallery.visitors import promote
from gaitstream.pipeline.forget import Places, forget
from tests.gallery.filled import MODEL, PRINT, walks
from tests.gallery.walking import note, sighting


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def enrol(gallery: Gallery, round_: int) -> None:
    gallery.enroll_many(
        Enrolment(f"new {round_} {index}", MODEL, PRINT, walks(100 + round_)) for index in range(2)
    )


class Stranger:
    """Somebody nobody knows walks by, once."""

    def __init__(self, gallery: Gallery, round_: int) -> None:
        [noted] = note(gallery, sighting(round_, round_, at_s=1))
        self.visitor = noted.visitor


def work(action: str, url: str, key: str, folder: Path) -> None:
    gallery = Gallery(url, key=key)
    say("ready")
    for round_ in itertools.count(int(time.time() * 1000) % 10**9):
        say(f"begin {round_}")
        if action == "enrol":
            enrol(gallery, round_)
        elif action == "import":
            with Gallery(folder / "carried", key=key) as source:
                copy(source, gallery, "imported")
            for name in ("Xan", "Yve"):
                gallery.remove(name)
        elif action == "copy":
            with Gallery(folder / f"copy {round_}", create=True, key=key) as target:
                copy(gallery, target)
            export(gallery, folder / f"export {round_}", key)
        elif action == "rekey":
            rekey(gallery, key)
        elif action == "forget":
            enrol(gallery, round_)
            forget(gallery, f"new {round_} 0", Places())
            forget(gallery, f"new {round_} 1", Places())
        elif action == "promote":
            stranger = Stranger(gallery, round_)
            promote(gallery, stranger.visitor, f"new {round_} 0")
        elif action == "sweep":
            enrol(gallery, round_)
            Stranger(gallery, round_)
            for index in range(2):
                keep_until(gallery, f"new {round_} {index}", 1)
            sweep(gallery, RetentionRules(sighting_days=1), 2 * DAY_NS)
        say(f"end {round_}")


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
