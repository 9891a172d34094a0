"""A threshold to begin with: from a gallery, from the packaged model, from what is sure about the walks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitstream import zoo
from gaitstream.gallery import Gallery
from gaitstream.gallery.gallery import Enrolment
from gaitstream.tune.finding import Finding
from gaitstream.tune.seen import SiteSeen, WindowSeen
from gaitstream.tune.thresholds import ENOUGH_TRACKS, advise_thresholds, searches_of
from tests.tune.sites import site

MODELS = {"recognizers": {"gait": "demo"}}
SECOND = 10**9


def windows(spread: float, *, pairs: int = ENOUGH_TRACKS, company: bool = True) -> list[WindowSeen]:
    """Pairs of people, two windows each; `spread`: of the windows of a walk beside that of people."""
    rng = np.random.default_rng(0)
    found = []
    for pair in range(pairs):
        for number in range(2):
            person = rng.normal(size=(4, 32))
            begin = (10 * pair + (0 if company else 5 * number)) * SECOND
            for window in range(2):
                parts = (person + spread * rng.normal(size=(4, 32))).astype(np.float32)
                first = begin + 2 * window * SECOND
                found.append(WindowSeen("gate", 2 * pair + number, first, first + SECOND, parts))
    return found


def seen(walks: list[WindowSeen], **values: object) -> SiteSeen:
    one = site(models=MODELS, **values)
    one.windows["gait"] = walks
    one.fingerprints["gait"] = "of a bundle of the user's own"
    return one


def settings(found: list[Finding]) -> dict[object, object]:
    return {one.at[-1]: one.value for one in found if one.value is not None}


def test_walks_give_a_threshold_between_one_person_and_two() -> None:
    walks = windows(0.2)
    found = settings(list(advise_thresholds(seen(walks))))
    searches = searches_of(walks)
    assert len(searches) == 2 * ENOUGH_TRACKS
    assert all(len(one.others) == 1 for one in searches)  # the one who is there at the same time
    assert isinstance(found["threshold"], float)
    assert max(one.genuine or 0.0 for one in searches) < found["threshold"]
    assert found["threshold"] < min(one.others[0][0] for one in searches)


@pytest.mark.parametrize(
    ("walks", "said"),
    [
        (windows(0.2, pairs=3), "6 tracks with two windows apart and 6 with company are too few"),
        (windows(0.2, company=False), "20 tracks with two windows apart and 0 with company are too few"),
        (windows(3.0), "about as far apart"),
        ([], "0 tracks with two windows apart"),
    ],
)
def test_nothing_is_set_by_too_little(walks: list[WindowSeen], said: str) -> None:
    [one] = advise_thresholds(seen(walks))
    assert one.value is None
    assert said in one.said


def test_the_packaged_model_brings_its_own() -> None:
    one = seen(windows(0.2))
    one.fingerprints["gait"] = zoo.advice().fingerprint
    said = settings(list(advise_thresholds(one)))
    assert said["threshold"] == round(zoo.advice().threshold, 4)
    assert said["threshold_gain"] == zoo.advice().gain > 0


def test_a_gallery_decides_by_its_own(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    rng = np.random.default_rng(1)
    with Gallery(path, create=True) as gallery:
        for name in ("Ada", "Ben"):
            parts = rng.normal(size=(2, 4, 32)).astype(np.float32)
            gallery.enroll_many([Enrolment(name, "gait", "print", parts, "test")])
    [one] = advise_thresholds(seen(windows(0.2), gallery={"path": str(path)}))
    assert one.value is None
    assert "the gallery has its own" in one.said


def test_what_the_file_says_stays_and_fused_models_get_none() -> None:
    [own] = advise_thresholds(seen(windows(0.2), gallery={"threshold": 0.4}))
    assert (own.value, own.said) == (None, "threshold: the file's own stays")
    two = site(models={"recognizers": {"a": "demo", "b": "demo"}})
    assert "2 models are fused" in next(iter(advise_thresholds(two))).said
    assert "no recognizer" in next(iter(advise_thresholds(site()))).said
