"""The hook that keeps evidence: takes what is due in the pipeline's thread, leaves the rest to the writer."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Frame, Person
from gaitstream.evidence.pictures import Views
from gaitstream.evidence.records import RecentFrame, RecentPerson
from gaitstream.evidence.tracks import Strip, box_px
from gaitstream.evidence.writer import Begin, Configured, Crop, Decided, Ended, EvidenceWriter, Whole
from gaitstream.pipeline.annotate import cut
from gaitstream.pipeline.basis import Basis
from gaitstream.pipeline.gather import Looks
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.pipeline.upstream import upstream_of
from gaitstream.telemetry.stats import Stats

REJECTED_SHARE = 4
"""One in so many pictures may be of a frame that was no evidence."""
MOST_ENDED = 4096
"""Tracks that may end in one batch: their frames come after them."""
_Row = tuple[Looks, int]


class EvidenceKeeper(Observer):
    """Keeps evidence of a run; used by the pipeline's thread.

    Args:
        config: what is kept.
        writer: writes it; closed with this.
    """

    def __init__(self, config: Config, writer: EvidenceWriter) -> None:
        self._section = config.evidence
        self._writer = writer
        self._most = strip_lengths(config.evidence.pictures)
        self._run = ""
        self._strips: dict[tuple[str, int], dict[bool, Strip]] = {}
        self._rows: dict[tuple[str, int, int], _Row] = {}
        self._due_ns: dict[str, int] = {}
        self._ended: deque[tuple[str, int]] = deque(maxlen=MOST_ENDED)
        self._over: frozenset[tuple[str, int]] = frozenset()
        """Tracks that have ended with the batch whose frames come now."""

    def on_begin(self, run: str, models: Mapping[str, str], config: Config, stats: Stats) -> None:
        """Start the writer."""
        self._run = run
        self._writer.start(Begin(run, models, hash_config(config), upstream_of(config)), stats.now.evidence)

    def on_config(self, config: Config) -> None:
        """Decisions rest on another configuration from now on."""
        self._writer.put(Configured(hash_config(config)))

    def on_looks(self, looks: Sequence[Looks]) -> None:
        """Remember what the models looked at until the frames come."""
        self._over = frozenset(self._ended)
        self._ended.clear()
        if self._section.keep:
            self._rows = {
                (person.camera, person.frame_index, person.track): (one, row)
                for one in looks
                if one.inputs
                for row, person in enumerate(one.persons)
            }

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """Take the pictures that are due."""
        if self._section.keep:
            for person in persons:
                if (person.camera, person.track) not in self._over and self._is_due(person):
                    self._take(frame, person)
        if self._section.minutes is not None and self._is_new_second(frame):
            height, width = frame.image.shape[:2]
            people = tuple(_recent(person, labels.get(person.track)) for person in persons)
            record = RecentFrame(frame.time_ns, width, height, people, self._run)
            self._writer.put(Whole(frame.camera, frame.image, record), frame.image.nbytes)

    def on_basis(self, basis: Basis) -> None:
        """A decision: the track's evidence is written now."""
        if self._section.keep:
            self._writer.put(Decided(basis))

    def on_track_ended(self, state: TrackState, _decision: Decision, _cause: str) -> None:
        """Nothing more comes of the track."""
        if self._section.keep:
            self._strips.pop((state.camera, state.track), None)
            self._ended.append((state.camera, state.track))
            self._writer.put(Ended(state.camera, state.track))

    def close(self) -> None:
        """Write what is waiting."""
        self._writer.close()

    def _is_due(self, person: Person) -> bool:
        strips = self._strips.setdefault(
            (person.camera, person.track), {used: Strip(most) for used, most in self._most.items()}
        )
        return strips[person.rejected is None].is_due()

    def _take(self, frame: Frame, person: Person) -> None:
        crop = cut(frame.image, person)
        if not crop.size:
            return
        views = self._views(person)
        self._writer.put(Crop(person, crop.copy(), views), crop.nbytes + views.nbytes)

    def _views(self, person: Person) -> Views:
        looks, row = self._rows.get((person.camera, person.frame_index, person.track), (None, 0))
        if looks is None or person.rejected is not None:
            return Views({})
        return Views({name: rows[row].copy() for name, rows in looks.inputs.items()}, looks.alignment)

    def _is_new_second(self, frame: Frame) -> bool:
        due_ns = self._due_ns.get(frame.camera, 0)
        if due_ns - SECOND_NS <= frame.time_ns < due_ns:
            return False
        self._due_ns[frame.camera] = frame.time_ns + SECOND_NS
        return True


def strip_lengths(pictures: int) -> dict[bool, int]:
    """Most pictures of a track: of frames that were evidence, and of those that were not."""
    return {True: pictures, False: max(1, pictures // REJECTED_SHARE)}


def hash_config(config: Config) -> str:
    """SHA-256 of a configuration as JSON, its secrets masked."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def _recent(person: Person, decision: Decision | None) -> RecentPerson:
    rejected = person.rejected.value if person.rejected else None
    if decision is None:
        return RecentPerson(person.track, box_px(person), rejected=rejected)
    return RecentPerson(
        person.track,
        box_px(person),
        decision.status.value,
        decision.person_id,
        decision.reason.value if decision.reason else None,
        rejected,
    )
