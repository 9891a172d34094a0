"""Decisions: fusion of windows and models, thresholds, margins, one person in one place."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.data import Embedding, Person, Reason, Status, Tracklet
from gaitstream.gallery.matching import Matcher
from gaitstream.gallery.people import Nearest
from gaitstream.pipeline.identify import Identifier
from gaitstream.pipeline.known import DecisionLimits, KnownPeople
from gaitstream.pipeline.ranking import ComparedWindow, ScoreScale

Floats = NDArray[np.float32]
SECOND = 1_000_000_000


def at(*values: float) -> Floats:
    """An embedding of two parts on the line: distances between such are differences of their values."""
    return np.array([[value, 0] for value in (values * 2)[:2]], np.float32)


ADA, BOB = at(0), at(10)
KNOWN = KnownPeople.of({"gaitheat": Matcher.build([("Ada", ADA[None]), ("Bob", BOB[None])])})


def person(track: int, time_ns: int = 0, rejected: Reason | None = None) -> Person:
    return Person("gate", track, 0, time_ns, np.array([0, 0, 10, 30], np.float32), 0.9, rejected)


def window(
    track: int,
    parts: Floats,
    *,
    provisional: bool = False,
    model: str = "gaitheat",
    times_ns: tuple[int, int] = (1, 2),
) -> Embedding:
    empty = np.empty((0, 0, 0), np.float32)
    return Embedding(Tracklet(model, "gate", track, *times_ns, 30, empty, provisional), parts, "print")


def add(identifier: Identifier, embedding: Embedding) -> None:
    [compared] = identifier.known.match([embedding])
    identifier.add(embedding, compared)


def identifier(threshold: float | None = 3.0, margin: float = 1.0, known: KnownPeople = KNOWN) -> Identifier:
    identifier = Identifier("gate", known, DecisionLimits(threshold, margin))
    identifier.observe([person(1), person(2)])
    return identifier


@pytest.mark.parametrize(
    ("value", "threshold", "status", "who", "reason"),
    [
        (1.0, 3.0, Status.KNOWN, "Ada", None),
        (9.0, 3.0, Status.KNOWN, "Bob", None),
        (4.0, 3.0, Status.UNKNOWN, None, Reason.BELOW_THRESHOLD),
        (3.0, 3.0, Status.KNOWN, "Ada", None),
        (4.8, 6.0, Status.AMBIGUOUS, None, Reason.AMBIGUOUS),
        (0.0, None, Status.UNKNOWN, None, Reason.BELOW_THRESHOLD),
    ],
)
def test_threshold_and_margin(
    value: float, threshold: float | None, status: Status, who: str | None, reason: Reason | None
) -> None:
    one = identifier(threshold)
    add(one, window(1, at(value)))
    decision = one.decide(1)
    assert (decision.status, decision.person, decision.reason) == (status, who, reason)
    assert decision.distance == pytest.approx(min(value, 10 - value))
    assert [name for name, _ in decision.candidates] == (["Ada", "Bob"] if value < 5 else ["Bob", "Ada"])


@pytest.mark.parametrize(
    ("starts", "threshold"),
    [((0,), 3.0), ((0, 1), 3.0), ((0, 2), 3.3), ((0, 1, 2), 3.3), ((0, 2, 4), 3.4), (tuple(range(7)), 3.45)],
)
def test_windows_that_share_no_frame_may_be_further(starts: tuple[int, ...], threshold: float) -> None:
    """Windows of two seconds; those that begin within one before it add nothing."""
    one = Identifier("gate", KNOWN, DecisionLimits(3.0, 0.0, gain=0.2))
    one.observe([person(1)])
    for start in starts:
        add(one, window(1, at(3.25), times_ns=(start * SECOND, (start + 2) * SECOND - 1)))
    decision = one.decide(1)
    assert decision.threshold == pytest.approx(threshold)
    assert decision.person == ("Ada" if threshold > 3.25 else None)
    assert one.basis(one.tracks[1], decision).limits.threshold == decision.threshold


def test_what_an_ended_track_claims_depends_on_its_own_evidence() -> None:
    one = Identifier("gate", KNOWN, DecisionLimits(3.0, 0.0, gain=0.2))
    one.observe([person(1), person(2)])
    for start in (0, 2):
        add(one, window(1, at(3.1), times_ns=(start, start + 1)))
    add(one, window(2, at(3.15)))
    assert one.decide(2).status is Status.UNKNOWN
    assert one.end(1)[1].person == "Ada"
    for start in (10, 12):
        add(one, window(2, at(3.15), times_ns=(start, start + 1)))
    assert one.decide(2).status is Status.AMBIGUOUS
    one.limits = DecisionLimits(3.0, 0.0)
    one.use(KNOWN)
    assert one.decide(2).status is Status.UNKNOWN


def test_a_suspected_switch_gives_up_the_wider_threshold() -> None:
    one = Identifier("gate", KNOWN, DecisionLimits(3.0, 0.0, gain=0.2))
    one.observe([person(1)])
    for start in (0, 2):
        add(one, window(1, at(1), times_ns=(start, start + 1)))
    one.suspect(1)
    add(one, window(1, at(3.2), times_ns=(4, 5)))
    assert one.decide(1).status is Status.UNKNOWN


def test_nobody_enrolled_says_no_gallery() -> None:
    one = identifier(known=KnownPeople())
    add(one, window(1, at(0)))
    assert one.decide(1).reason is Reason.NO_GALLERY


@pytest.mark.parametrize(
    ("value", "status", "who", "reason"),
    [
        (2.0, Status.UNKNOWN, None, Reason.REJECTED),
        (1.2, Status.AMBIGUOUS, None, Reason.AMBIGUOUS),
        (0.4, Status.KNOWN, "Ada", None),
        (9.0, Status.KNOWN, "Bob", None),
    ],
)
def test_who_is_nearer_to_a_rejected_visitor_is_not_the_person(
    value: float, status: Status, who: str | None, reason: Reason | None
) -> None:
    matcher = Matcher.build([("Ada", ADA[None]), ("Bob", BOB[None]), ("visitor-1", at(2)[None])])
    known = KnownPeople.of({"gaitheat": matcher})
    [visitor] = [index for index, name in known.people.names.items() if name == "visitor-1"]
    known.people.visitors.add(visitor)
    one = identifier(known=known)
    add(one, window(1, at(value)))
    decision = one.decide(1)
    assert (decision.status, decision.person, decision.reason) == (status, who, reason)


def test_windows_are_averaged_and_provisional_ones_replaced() -> None:
    one = identifier()
    add(one, window(1, at(9), provisional=True))
    assert one.decide(1).person == "Bob"
    assert one.decide(1).provisional
    add(one, window(1, at(1)))
    assert one.decide(1).person == "Ada"
    assert one.decide(1).distance == pytest.approx(1)
    add(one, window(1, at(2)))
    assert one.decide(1).distance == pytest.approx(1.5)
    assert (one.decide(1).windows, one.decide(1).provisional) == (2, False)


def test_one_person_is_not_in_two_places_at_once() -> None:
    one = identifier(threshold=6.0, margin=0.0)
    add(one, window(1, at(1)))
    add(one, window(2, at(0.5)))
    assert one.decide(2).person == "Ada"
    first = one.decide(1)
    assert (first.status, first.person, first.reason) == (Status.AMBIGUOUS, None, Reason.AMBIGUOUS)
    add(one, window(1, at(8)))  # the mean of both windows is 4.5 from Ada and 5.5 from Bob
    assert one.decide(1).person == "Bob"


def test_the_claim_of_a_track_that_ended_holds_against_those_it_was_seen_with() -> None:
    one = identifier(threshold=6.0, margin=0.0)
    add(one, window(1, at(0.5)))
    add(one, window(2, at(1)))
    assert one.end(1)[1].person == "Ada"
    assert one.end(2)[1].status is Status.AMBIGUOUS
    one.observe([person(3)])
    add(one, window(3, at(1)))
    assert one.decide(3).person == "Ada"


def test_a_claim_outlives_a_change_of_the_gallery_as_long_as_its_person() -> None:
    one = identifier(threshold=6.0, margin=0.0)
    add(one, window(1, at(0.5)))
    add(one, window(2, at(1)))
    one.end(1)
    people = [("Aaron", at(90)[None]), ("Ada", ADA[None])]
    one.use(KnownPeople.of({"gaitheat": Matcher.build(people)}))
    assert one.decide(2).status is Status.AMBIGUOUS
    one.use(KnownPeople.of({"gaitheat": Matcher.build([("Eve", at(2)[None])])}))
    assert one.decide(2).person == "Eve"


def test_passers_by_beside_a_track_that_stays_cost_next_to_nothing() -> None:
    one = Identifier("gate", KNOWN, DecisionLimits(3.0, 0.0))
    rng = np.random.default_rng(3)

    def pass_by(track: int) -> None:
        one.observe([person(1, track * SECOND), person(track, track * SECOND)])
        for _ in range(4):
            parts = rng.uniform(0, 1, (16, 256)).astype(np.float32)
            low, high = np.sort(rng.uniform(0, 20, (2, 2)).astype(np.float32), axis=0)
            exact = {0: low[0], 1: low[1]}
            nearest = Nearest(np.arange(2), low, high, np.inf)
            one.add(window(track, parts), ComparedWindow(parts, nearest, exact))
        one.end(track)

    for track in range(2, 52):
        pass_by(track)
    tracemalloc.start()
    for track in range(52, 1552):
        pass_by(track)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 20, f"{held / 2**20:.1f} MiB for 1,500 tracks"


def test_tracks_that_never_met_may_be_the_same_person() -> None:
    one = Identifier("gate", KNOWN, DecisionLimits(3.0))
    one.observe([person(1, 0)])
    add(one, window(1, at(1)))
    one.observe([person(2, SECOND)])
    add(one, window(2, at(0.5)))
    assert one.decide(1).person == one.decide(2).person == "Ada"


def test_models_are_fused_by_weight_in_units_of_their_own() -> None:
    matchers = {
        "biggait": Matcher.build([("Ada", at(0)[None]), ("Bob", at(100)[None])]),
        "gaitheat": Matcher.build([("Ada", at(0)[None]), ("Bob", at(1)[None])]),
    }
    known = KnownPeople.of(matchers, {"biggait": ScoreScale(3.0, 50.0), "gaitheat": ScoreScale(1.0, 0.5)})
    one = identifier(threshold=1.0, margin=0.0, known=known)
    add(one, window(1, at(20), model="biggait"))
    assert one.decide(1).distance == pytest.approx(0.4)
    add(one, window(1, at(0.9), model="gaitheat"))
    assert one.decide(1).distance == pytest.approx((3 * 0.4 + 1 * 1.8) / 4)


def test_a_suspected_switch_forgets_the_evidence() -> None:
    one = identifier()
    add(one, window(1, at(0)))
    one.suspect(1)
    assert one.decide(1).status is Status.INSUFFICIENT
    add(one, window(1, at(10)))
    assert one.decide(1).person == "Bob"


def test_a_new_snapshot_compares_the_evidence_again() -> None:
    one = identifier()
    add(one, window(1, at(5)))
    assert one.decide(1).status is Status.UNKNOWN
    one.use(KnownPeople.of({"gaitheat": Matcher.build([("Eve", at(5)[None])])}))
    assert one.decide(1).person == "Eve"


@pytest.mark.parametrize(
    ("rejected", "reason"),
    [
        ([None] * 5, Reason.TOO_SHORT),
        ([Reason.STANDING] * 5, Reason.STANDING),
        ([None] * 4 + [Reason.OCCLUDED] * 2, Reason.TOO_SHORT),
        ([Reason.TOO_SMALL, Reason.TOO_SMALL, Reason.BLURRED, None], Reason.TOO_SMALL),
    ],
)
def test_a_track_without_a_window_says_why(rejected: list[Reason | None], reason: Reason) -> None:
    one = Identifier("gate", KNOWN, DecisionLimits(3.0))
    for index, why in enumerate(rejected):
        one.observe([person(7, index, why)])
    state, decision = one.end(7)
    assert (decision.status, decision.reason, decision.final) == (Status.INSUFFICIENT, reason, True)
    assert state.seen == len(rejected)
    assert 7 not in one.tracks


def test_news_is_told_once() -> None:
    one = identifier()
    assert not one.is_news(one.decide(1))
    add(one, window(1, at(1)))
    assert one.is_news(one.decide(1))
    assert not one.is_news(one.decide(1))
    add(one, window(1, at(40)))
    assert one.is_news(one.decide(1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=6), st.floats(0.5, 12))
def test_no_two_visible_tracks_ever_share_a_person(values: list[float], threshold: float) -> None:
    one = Identifier("gate", KNOWN, DecisionLimits(threshold))
    one.observe([person(track) for track in range(len(values))])
    for track, value in enumerate(values):
        add(one, window(track, at(value)))
    named = [name for track in range(len(values)) if (name := one.decide(track).person)]
    assert len(named) == len(set(named))
