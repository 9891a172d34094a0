"""Writes evidence in a thread of its own: encodes pictures, gathers tracks, puts them into the folder.

The pipeline never waits for it. What there was no room for, in memory or on the disk, is counted by reason in
the run's counters; a fault is told once, and what comes later is tried again.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from gaitstream.config.output_sections import Evidence
from gaitstream.data import Image, Person
from gaitstream.errors import GalleryError
from gaitstream.evidence.desk import Desk
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.pictures import Views, encode_crop
from gaitstream.evidence.recent import RecentPieces
from gaitstream.evidence.records import RecentFrame, TrackKey
from gaitstream.evidence.tracks import GatheredTrack, Origin, TakenPicture
from gaitstream.gallery.retention import ClockWatch
from gaitstream.gallery.upstream import Upstream
from gaitstream.pipeline.basis import Basis
from gaitstream.telemetry.stats import Counts

log = logging.getLogger(__name__)

WAITING = 4096
WAITING_BYTES = 96 * 2**20
"""What may wait for the writer: decisions hold next to nothing, pictures fill the second bound first."""
RETRY_S = 5.0
"""Pause between looks for a gallery that is not there yet or cannot be opened."""
SWEEP_S = 600.0
"""Between looks at what is past its time."""
CLOSE_S = 10.0
"""How long the end of a run waits for what is still to be written."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The run: its id, the recognizers' fingerprints, and what it is configured with."""

    run: str
    models: Mapping[str, str]
    config_hash: str
    upstream: Mapping[str, Upstream] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configured:
    """The configuration was changed."""

    config_hash: str


@dataclass(frozen=True, slots=True)
class Crop:
    """A picture of a person, BGR, and what the models looked at."""

    person: Person
    image: Image
    views: Views


@dataclass(frozen=True, slots=True)
class Whole:
    """A picture of a whole camera, BGR."""

    camera: str
    image: Image
    record: RecentFrame


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision was published."""

    basis: Basis


@dataclass(frozen=True, slots=True)
class Ended:
    """A track is over."""

    camera: str
    track: int


Item = Configured | Crop | Whole | Decided | Ended


class EvidenceWriter:
    """The thread that writes evidence.

    Args:
        open_folder: gives the folder and what seals it; None while there is no gallery.
        section: what is kept for how long.
        most: pictures of a track, of frames that were evidence and of others.
    """

    def __init__(
        self, open_folder: Callable[[], SealedFolder | None], section: Evidence, most: Mapping[bool, int]
    ) -> None:
        self._open_folder = open_folder
        self._section = section
        self._most = dict(most)
        self._desk: Desk[Item] = Desk(WAITING, WAITING_BYTES)
        self._counts: Counts = Counter()
        self._begin = Begin("", {}, "")
        self._folder: SealedFolder | None = None
        self._recent = RecentPieces(section.minutes)
        self._tracks: dict[tuple[str, int], GatheredTrack] = {}
        self._look_s = self._sweep_s = 0.0
        self._clock = ClockWatch()
        self._faults: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)

    def start(self, begin: Begin, counts: Counts) -> None:
        """Begin to write; `counts` takes what is kept and what is not, by reason."""
        self._begin, self._counts = begin, counts
        self._thread.start()

    def put(self, item: Item, nbytes: int = 0) -> None:
        """Leave something to be kept; returns at once, and counts it where there is no room."""
        if not self._desk.put(item, nbytes):
            self._counts["queue_full"] += 1

    def close(self) -> None:
        """Write what waits, for a while; then end."""
        self._stop.set()
        if self._thread.ident is None:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("evidence that was still waiting after %g s is lost", CLOSE_S)
            self._counts["too_late"] += 1

    def _run(self) -> None:
        while True:
            item = self._desk.take(0.2)
            if item is None and self._stop.is_set():
                return
            try:
                if item is not None:
                    self._take(item)
                self._sweep()
            except Exception:  # a fault here must not end what is being kept
                log.exception("evidence is not kept")
                self._counts["fault"] += 1

    def _take(self, item: Item) -> None:
        match item:
            case Crop():
                self._add_crop(item)
            case Decided():
                self._add_decision(item.basis)
            case Whole():
                self._add_whole(item)
            case Ended():
                self._tracks.pop((item.camera, item.track), None)
            case Configured():
                self._begin = replace(self._begin, config_hash=item.config_hash)

    def _track(self, camera: str, track: int) -> GatheredTrack:
        key = (camera, track)
        found = self._tracks.get(key)
        if found is None:
            found = self._tracks[key] = GatheredTrack(self._most)
        return found

    def _add_crop(self, item: Crop) -> None:
        views = {"crop": encode_crop(item.image), **item.views.encode()}
        self._track(item.person.camera, item.person.track).add_picture(TakenPicture(item.person, views))

    def _add_decision(self, basis: Basis) -> None:
        decision = basis.decision
        key = TrackKey(decision.camera, self._begin.run, decision.track)
        folder = self._find_folder()
        if folder is None:
            self._counts["no_gallery"] += 1
            return
        track = self._track(decision.camera, decision.track)
        if track.written and not folder.folder.track_file(key).exists():  # it was erased: that stays so
            track = self._tracks[decision.camera, decision.track] = GatheredTrack(self._most)
        track.add_decision(basis)
        track.complete = decision.final
        if self._write(folder, key, track):
            track.written = True
            self._counts["kept"] += 1

    def _write(self, folder: SealedFolder, key: TrackKey, track: GatheredTrack) -> bool:
        begin = self._begin
        origin = Origin(folder.gallery, begin.models, begin.config_hash, begin.upstream)
        return self._try(
            "tracks", lambda: folder.write(track.record(key, origin), track.embeddings(), track.pictures())
        )

    def _add_whole(self, item: Whole) -> None:
        folder = self._find_folder()
        if folder is None:
            self._counts["no_gallery"] += 1
            return
        if self._try("minutes", lambda: self._recent.add(folder, item.camera, item.image, item.record)):
            self._counts["pictures"] += 1

    def _try(self, what: str, write: Callable[[], None]) -> bool:
        """Write something; a fault of the disk is counted, and told when it is a new one."""
        try:
            write()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            self._counts["no_space" if full else "disk_fault"] += 1
            self._complain(what, f"evidence ({what}) is not kept: {error.strerror}; later it is tried again")
            return False
        if what in self._faults:
            self._faults.discard(what)
            log.info("evidence (%s) is kept again", what)
        return True

    def _complain(self, what: str, text: str) -> None:
        if what not in self._faults:
            self._faults.add(what)
            log.error("%s", text)

    def _find_folder(self) -> SealedFolder | None:
        if self._folder is None and time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + RETRY_S
            try:
                self._folder = self._open_folder()
            except GalleryError as error:
                self._complain("gallery", f"evidence is not kept yet: {error}")
        return self._folder

    def _sweep(self) -> None:
        """Delete what is past its time, now and then."""
        now_s = time.monotonic()
        if now_s < self._sweep_s or not self._clock.trusted():
            return
        folder = self._find_folder()
        if folder is None:
            return
        self._sweep_s = now_s + SWEEP_S
        tell_swept(folder.folder.sweep(self._section))


def tell_swept(gone: int) -> None:
    """Log what retention deleted."""
    if gone:
        log.info("retention deleted the evidence of %d tracks", gone)
