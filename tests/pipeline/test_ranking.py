"""The ranking is that of a full comparison, bit for bit, however near the ties and many the people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.gallery import people as people_module
from gaitstream.gallery.matching import Matcher
from gaitstream.gallery.people import People
from gaitstream.pipeline import ranking
from gaitstream.pipeline.known import KnownPeople
from gaitstream.pipeline.ranking import ComparedWindow, ScoreScale, rank

Floats = NDArray[np.float32]
SHAPE = (4, 64)
Full = dict[str, np.float32]


def full_comparison(
    matchers: dict[str, Matcher], scales: dict[str, ScoreScale], windows: dict[str, list[Floats]]
) -> list[tuple[np.float32, str]]:
    """Everybody's fused distance, computed for everybody, nearest first; ties by name."""
    names = sorted({name for matcher in matchers.values() for name in matcher.names})
    rows = []
    for model, probes in windows.items():
        each = np.full((len(probes), len(names)), np.nan, np.float32)
        columns = [names.index(name) for name in matchers[model].names]
        for row, probe in zip(each, probes, strict=True):
            row[columns] = matchers[model].distances(probe)
        rows.append(np.mean(list(each), axis=0, dtype=np.float32) / scales[model].unit)
    stacked = np.stack(rows)
    weights = np.array([scales[model].weight for model in windows], np.float32)[:, None]
    total = (weights * ~np.isnan(stacked)).sum(axis=0)
    fused = np.nansum(stacked * weights, axis=0) / np.where(total > 0, total, np.nan)
    return sorted((distance, name) for distance, name in zip(fused.astype(np.float32), names, strict=True))


def crowd(rng: np.random.Generator, count: int, nearness: float, walks: int) -> Matcher:
    """People whose distances to a probe near zero differ by about `nearness`."""
    base = rng.normal(size=SHAPE)
    persons = []
    for number in range(count):
        templates = base + nearness * rng.normal(size=(rng.integers(1, walks + 1), *SHAPE))
        persons.append((f"p{number:04}", templates.astype(np.float32)))
    if count > 2:  # two that no comparison can tell apart
        persons[1] = ("p0001", persons[0][1])
    return Matcher.build(persons)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.sampled_from([1.0, 1e-2, 1e-5, 1e-7]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([0, people_module.FEW]),
    st.integers(0, 10**6),
)
def test_it_is_that_of_a_full_comparison(
    count: int, nearness: float, windows: int, walks: int, wanted: int, few: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matchers = {
        "biggait": crowd(rng, count, nearness, walks),
        "gaitheat": crowd(rng, max(1, count // 2), nearness, walks),
    }
    scales = {"biggait": ScoreScale(3.0, 1.7), "gaitheat": ScoreScale(1.0, 0.6)}
    models = list(matchers)[: int(rng.integers(1, 3))]
    probes = {
        model: [
            (matchers[model].templates[0] + nearness * rng.normal(size=SHAPE)).astype(np.float32)
            for _ in range(windows)
        ]
        for model in models
    }
    chosen = {model: matchers[model] for model in models}
    expected = full_comparison(chosen, scales, probes)
    known = KnownPeople(People.of(chosen), {model: scales[model] for model in models})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "LISTED", 4)
        patched.setattr(people_module, "FEW", few)
        held = {model: [ComparedWindow(one) for one in each] for model, each in probes.items()}
        found = known.rank(held, count=wanted)
    got = [
        (distance, known.people.names[person])
        for distance, person in zip(found.distances, found.persons, strict=True)
    ]
    assert len(got) >= min(wanted, len(expected))
    assert got == expected[: len(got)]
    assert found.everybody <= (len(got) == len(expected))


def test_all_within_a_threshold_are_found_up_to_a_limit() -> None:
    rng = np.random.default_rng(1)
    matcher = crowd(rng, 200, 0.1, 1)
    probe = matcher.templates[0]
    people, scales = People.of({"gaitheat": matcher}), {"gaitheat": ScoreScale()}
    expected = full_comparison({"gaitheat": matcher}, scales, {"gaitheat": [probe]})
    threshold = float(expected[19][0])

    def found(most: int) -> list[str]:
        ranked = rank(
            people, scales, {"gaitheat": [ComparedWindow(probe)]}, count=5, threshold=threshold, most=most
        )
        return [people.names[person] for person in ranked.persons]

    names = [name for _, name in expected]
    assert found(100) == names[:20]
    assert found(12) == names[:12]
    assert found(0) == names[:5]


def test_nobody_known_is_an_empty_ranking() -> None:
    ranked = rank(People(), {"gaitheat": ScoreScale()}, {"gaitheat": []}, count=5)
    assert (ranked.persons, ranked.everybody) == ((), True)


def test_few_people_are_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands of people only those who may be among the nearest cost an exact comparison."""
    rng = np.random.default_rng(4)
    matcher = Matcher.build([(f"p{i}", rng.normal(size=(2, *SHAPE)).astype(np.float32)) for i in range(3000)])
    people = People.of({"gaitheat": matcher})
    compared: list[int] = []
    original = People.exact

    def counted(self: People, model: str, probe: Floats, persons: list[int]) -> Floats:
        compared.extend(persons)
        return original(self, model, probe, persons)

    monkeypatch.setattr(people_module.People, "exact", counted)
    probe = rng.normal(size=SHAPE).astype(np.float32)
    ranked = rank(people, {"gaitheat": ScoreScale()}, {"gaitheat": [ComparedWindow(probe)]}, count=5)
    assert len(ranked.persons) == 5
    assert len(compared) <= 24
