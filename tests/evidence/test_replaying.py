"""A decision made again from what is kept of it is the one that was made, whatever it was."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.data import Embedding, Person, Reason, Tracklet
from gaitstream.evidence.replaying import decide_again
from gaitstream.evidence.tracks import keep_decision
from gaitstream.gallery.matching import Matcher
from gaitstream.pipeline.identify import Identifier
from gaitstream.pipeline.known import DecisionLimits, KnownPeople
from gaitstream.pipeline.ranking import ScoreScale

PARTS, DIM = 4, 8
MODELS = ("biggait", "gaitheat")


def person(track: int, second: int, rejected: Reason | None, height: float) -> Person:
    return Person("gate", track, second, second, np.array([0, 0, 20, height], np.float32), 0.9, rejected)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    people=st.integers(0, 12),
    tracks=st.integers(1, 4),
    models=st.integers(1, 2),
    threshold=st.one_of(st.none(), st.floats(0.05, 6)),
    margin=st.floats(0, 0.5),
    rejected=st.one_of(st.none(), st.sampled_from([Reason.TRUNCATED, Reason.STANDING])),
    height=st.floats(20, 200),
)
def test_any_decision_is_made_again(
    seed: int, people: int, tracks: int, models: int, threshold: float | None, margin: float,
    rejected: Reason | None, height: float,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    gallery = {f"p{n}": rng.normal(size=(2, PARTS, DIM)).astype(np.float32) for n in range(people)}
    matchers = {model: Matcher.build(list(gallery.items())) for model in MODELS[:models] if gallery}
    scales = {model: ScoreScale(1.0 + n, 1.0 + n) for n, model in enumerate(MODELS[:models])}
    known = KnownPeople.of(matchers, scales)
    identifier = Identifier("gate", known, DecisionLimits(threshold, margin))
    used: dict[int, list[tuple[str, np.ndarray]]] = {}
    for track in range(tracks):
        for second in range(3):
            identifier.observe([person(track, second, None, height), person(track, second, rejected, height)])
        for model in MODELS[:models] if track else MODELS[:1]:
            near = next(iter(gallery.values()), np.zeros((1, PARTS, DIM)))[0]
            parts = (near + 0.1 * rng.normal(size=(PARTS, DIM))).astype(np.float32)
            tracklet = Tracklet(model, "gate", track, 0, 2, 3, parts, False)
            [window] = known.match([Embedding(tracklet, parts, "print")])
            identifier.add(Embedding(tracklet, parts, "print"), window)
            used.setdefault(track, []).append((model, parts))
    templates = {(name, model): parts for name, parts in gallery.items() for model in MODELS[:models]}
    for track in range(tracks):
        state = identifier.tracks[track]
        basis = identifier.basis(state, identifier.decide(track))
        numbers, first = {}, 0
        for model, held in basis.windows.items():
            numbers[model] = list(range(first, first + len(held)))
            first += len(held)
        kept = keep_decision(basis, numbers)
        for at_hand in (templates, {}):
            done = decide_again(kept, used[track], at_hand)
            assert done.same, done.values
            assert done.computed == (len(kept.nearest) * len(used[track]) if at_hand else 0)


def test_a_track_without_a_window_says_again_why() -> None:
    identifier = Identifier("gate", KnownPeople(), DecisionLimits(1.0))
    for second in range(4):
        identifier.observe([person(1, second, Reason.TRUNCATED if second else None, 100.0)])
    state = identifier.tracks[1]
    kept = keep_decision(identifier.basis(state, identifier.decide(1)), {})
    assert kept.reason == "truncated"
    assert decide_again(kept, [], {}).same


def test_a_run_without_a_model_says_again_that_it_had_none() -> None:
    identifier = Identifier("gate", KnownPeople(), DecisionLimits(1.0), has_models=False)
    identifier.observe([person(1, 0, Reason.TRUNCATED, 100.0)])
    kept = keep_decision(identifier.basis(identifier.tracks[1], identifier.decide(1)), {})
    assert kept.reason == "no_recognizer"
    assert decide_again(kept, [], {}, has_models=False).same
    assert not decide_again(kept, [], {}).same


@pytest.mark.parametrize("change", [{"threshold": 0.01}, {"least_margin": 9.0}, {"taken": ("p0",)}])
def test_another_rule_gives_another_decision(change: dict[str, object]) -> None:
    rng = np.random.default_rng(3)
    gallery = [(f"p{n}", rng.normal(size=(1, PARTS, DIM)).astype(np.float32)) for n in range(3)]
    known = KnownPeople.of({"gaitheat": Matcher.build(gallery)})
    identifier = Identifier("gate", known, DecisionLimits(1.0))
    identifier.observe([person(1, 0, None, 100.0)])
    parts = gallery[0][1][0] + np.float32(0.05)
    embedding = Embedding(Tracklet("gaitheat", "gate", 1, 0, 1, 3, parts, False), parts, "print")
    identifier.add(embedding, known.match([embedding])[0])
    decision = identifier.decide(1)
    assert decision.person == "p0"
    kept = keep_decision(identifier.basis(identifier.tracks[1], decision), {"gaitheat": [0]})
    assert decide_again(kept, [("gaitheat", parts)], {}).same
    assert not decide_again(msgspec.structs.replace(kept, **change), [("gaitheat", parts)], {}).same
