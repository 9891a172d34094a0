"""Which box is whom: motion and clothes together, so that people who pass each other keep their tracks.

One cost for every track and box, and one assignment for all: how far a box is from where the person should
be, in standard deviations, and how unlike their clothes what is seen of it. Somebody behind somebody else is
waited for longer than somebody who is simply gone. Written here because the library's trackers go by boxes
alone: in a crowd these pass from one person to the next.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.assignment import assign
from gaitstream.config.track_sections import Tracking
from gaitstream.data import Detections, Floats, Image, overlaps
from gaitstream.pipeline.clothes import (
    CELLS,
    Cells,
    Clothes,
    are_clear,
    cell_colours,
    take_in,
    uncovered,
    unlikeness,
)
from gaitstream.pipeline.motion import BoxMotion
from gaitstream.pipeline.returning import LOOKS, Leavers, Track

Array = NDArray[np.float64]

TYPICAL = 12.0
"""By how much one person's clothes differ from frame to frame, and what of somebody hidden is taken for."""
CLOTHES = 0.6
"""What their difference counts, in halves of squared standard deviations."""
UNSURE = 5.0
"""What a detection's lack of score counts."""
NEW = 3.0
GROWN = 15
"""What tracks that were just started yield to others, less with every sighting up to this many."""
DOUBLE = 0.3
"""Overlap with somebody who is followed from which on a further box is nobody new."""
FAR = 16.0
"""Squared standard deviations beyond which a box is not the person's; three times that out of sight."""
MOST = 9.0
"""Cost beyond which a box is nobody's. Clothes count `WORN` at most for it: light may change for all."""
WORN = 4.0
UNLIKE = 28.0
"""Difference of clothes beyond which somebody out of sight has not come back."""
BEHIND = 0.15
"""Overlap with somebody who is seen from which on somebody who is not seen may be behind."""
HIDDEN = 3.0
"""How many times `lost_s` somebody is waited for who may be behind somebody else."""
DOUBT = 2.0
"""A box that could as well be somebody else's, at so little more cost for all, is shown as nobody's."""
EMPTY = 3.0
"""What it costs then at most that whoever has a box now goes without."""
_NEVER = 1e6


@dataclass(frozen=True, slots=True)
class Followed:
    """A frame's boxes with the numbers of the tracks they belong to.

    Attributes:
        boxes: xyxy pixels `[n, 4]`.
        scores: `[n]`.
        ids: -1 where a box belongs to no track that is shown, `[n]`.
        joined: tracks that were found to go on with an earlier one, and that one.
    """

    boxes: Floats
    scores: Floats
    ids: NDArray[Any]
    joined: Mapping[int, int] = field(default_factory=dict)


class AppearanceTracker:
    """Follows the people of one camera by motion and clothes. Touches no clock; one thread at a time.

    Args:
        tracking: limits.
        fps: detections per second that are meant.

    Attributes:
        tracks: everybody followed, lost ones among them.
        joined: tracks that were found in the last frame to go on with an earlier one, and that.
    """

    def __init__(self, tracking: Tracking, fps: float = 25.0) -> None:
        self.tracks: list[Track] = []
        self.joined: dict[int, int] = {}
        self._left = Leavers()
        self._tracking = tracking
        self._longest_s = max(HIDDEN * tracking.lost_s, 2 / fps)
        self._motion = BoxMotion()
        self._next_id = itertools.count()
        self._now_s = 0.0

    def follow(self, found: Detections, image: Image | None, time_s: float) -> Followed:
        """Take in the detections of a frame; times rise. Without its picture motion alone counts."""
        colours = None if image is None else cell_colours(image, found.boxes)
        ids = self.update(found, colours, time_s)
        return Followed(found.boxes, found.scores, ids, dict(self.joined))

    def update(self, found: Detections, colours: Floats | None, time_s: float) -> NDArray[np.int64]:
        """Take in the detections of a frame.

        Args:
            found: boxes and scores.
            colours: `cell_colours` of the boxes; None where there is no picture.
            time_s: capture time, later than the last.

        Returns:
            Each detection's id, -1 where it has none, `[n]`.
        """
        elapsed_s, self._now_s = time_s - self._now_s, time_s
        self.joined.clear()
        if elapsed_s > self._longest_s:  # no picture came: whoever stands there now is another
            self._keep(np.zeros(len(self.tracks), bool))
        if not self.tracks and not len(found.boxes):
            self._left.forget(time_s)
            return np.empty(0, np.int64)
        if colours is None:
            colours = np.zeros((len(found.boxes), CELLS, 3), np.float32)
            cells = np.zeros((len(found.boxes), CELLS), bool)
        else:
            cells = uncovered(found.boxes)
        rows, columns, unlike, doubtful = self._go_on(found, colours, cells, elapsed_s)
        cells[doubtful] = False  # nobody's clothes are learned from them
        clear = are_clear(cells).tolist()
        owners = list(zip(columns.tolist(), rows.tolist(), unlike.tolist(), strict=True))
        owners += [(index, row, np.nan) for index, row in self._start(found, columns).items()]
        shown = [self.tracks[row].see(clear[index], alike, time_s) for index, row, alike in owners]
        of = [index for index, _, _ in owners]
        take_in(shown, colours[of], cells[of])
        ids = np.full(len(found.boxes), -1, np.int64)
        ids[of] = [self._name(row, clothes) for (_, row, _), clothes in zip(owners, shown, strict=True)]
        ids[doubtful] = -1
        for index, row, _ in owners:
            self.tracks[row].shown |= bool(ids[index] >= 0)
        self._recognise()
        self._drop(found.boxes)
        return ids

    def _go_on(
        self, found: Detections, colours: Floats, cells: Cells, elapsed_s: float
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, NDArray[np.intp]]:
        """Tracks and the detections that they go on with.

        Then how unlike each other's clothes the two are, and which of the detections may be another's.
        """
        nobody = np.empty(0, np.intp)
        if not self.tracks:
            return nobody, nobody, np.empty(0, np.float32), nobody
        lost = np.array([self._now_s - track.seen_s > 1.5 * elapsed_s for track in self.tracks])
        self._motion.predict(elapsed_s, lost)
        unlike = unlikeness([track.clothes for track in self.tracks], colours, cells)
        cost = self._costs(found, unlike, lost)
        rows, columns = assign(cost)
        taken = cost[rows, columns] < _NEVER
        rows, columns = rows[taken], columns[taken]
        self._motion.correct(rows, found.boxes[columns])
        doubtful = columns[margins(cost, rows, columns) < DOUBT]
        return rows, columns, unlike[rows, columns], doubtful

    def _costs(self, found: Detections, unlike: Floats, lost: NDArray[np.bool_]) -> Array:
        """What it costs to go on with each box, `[tracks, n]`; `_NEVER` where it is somebody else's."""
        far = self._motion.distances(found.boxes)
        unlike = np.where(np.isnan(unlike), TYPICAL, unlike)
        overlap = overlaps(self._motion.boxes(), found.boxes)
        away = lost[:, None]
        never = far > np.where(away, 3 * FAR, FAR)
        never |= np.where(away, unlike > UNLIKE, overlap < self._tracking.iou)
        worn, cost = CLOTHES * (unlike - TYPICAL), far / 2 + UNSURE * (1 - found.scores)
        never |= cost + np.minimum(worn, WORN) > MOST
        young = np.array([max(0.0, 1 - track.hits / GROWN) for track in self.tracks])
        return np.where(never, _NEVER, cost + worn + NEW * young[:, None])

    def _start(self, found: Detections, taken: NDArray[np.intp]) -> dict[int, int]:
        """Tracks for sure boxes that are nobody's: their places by detection."""
        sure = found.scores >= self._tracking.new_track_score
        sure[taken] = False
        free = np.flatnonzero(sure)
        if len(free) and len(taken):
            free = free[overlaps(found.boxes[free], found.boxes[taken]).max(axis=1) < DOUBLE]
        if not len(free):
            return {}
        self._motion.add(found.boxes[free])
        first = len(self.tracks)
        self.tracks += [Track(self._now_s, self._now_s) for _ in free]
        return {index: first + place for place, index in enumerate(free.tolist())}

    def _name(self, row: int, clothes: Clothes) -> int:
        """A track's id, if it is shown, now that the clothes were seen; one that shows another ends."""
        track = self.tracks[row]
        if clothes is track.stranger and track.changed:
            self.tracks[row] = track.split(next(self._next_id))
            self._left.add([track])
        elif track.tracker_id < 0 and track.hits >= self._tracking.min_hits:
            track.tracker_id = track.person = next(self._next_id)
        return self.tracks[row].tracker_id

    def _recognise(self) -> None:
        """Look for the earlier tracks of those who are new here, by what they wear."""
        for track in self.tracks:
            is_new = track.shown and track.person == track.tracker_id
            if is_new and track.seen_s == self._now_s and track.clothes.clear in LOOKS:
                earlier = self._left.find(track, [one for one in self.tracks if one is not track])
                if earlier is not None:
                    track.person = earlier.person
                    self.joined[track.tracker_id] = earlier.tracker_id

    def _drop(self, boxes: Floats) -> None:
        """Forget tracks that were never shown and are not seen, and those that are lost for too long."""
        self._left.forget(self._now_s)
        away_s = np.array([self._now_s - track.seen_s for track in self.tracks])
        if not away_s.any():
            return
        shown = np.array([track.tracker_id >= 0 for track in self.tracks], bool)
        limit_s = np.full(len(self.tracks), self._tracking.lost_s)
        if (away_s > limit_s).any():
            behind = (overlaps(self._motion.boxes(), boxes) > BEHIND).any(axis=1)
            limit_s[behind] *= HIDDEN
        self._keep((away_s == 0) | (shown & (away_s <= limit_s)))

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        gone = list(itertools.compress(self.tracks, ~kept))
        if gone:
            self._left.add(gone)
            self._motion.keep(kept)
            self.tracks = list(itertools.compress(self.tracks, kept))


def margins(cost: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """How much more it would cost all if each box were another track's, `[k]`.

    The track that has the box now then takes that of the other one, if any, or goes without.

    Args:
        cost: `[tracks, n]`.
        rows: tracks of the best assignment `[k]`,
        columns: and their boxes, `[k]`.
    """
    if len(cost) < 2:
        return np.full(len(rows), _NEVER)
    own = cost[rows, columns]
    more = cost[:, columns] - own
    instead = np.minimum(cost[np.ix_(rows, columns)], own[:, None] + EMPTY)
    more[rows] += (instead - own).T
    more[rows, np.arange(len(rows))] = _NEVER
    return np.asarray(more.min(axis=0, initial=_NEVER))
