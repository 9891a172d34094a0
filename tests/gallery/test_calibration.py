"""The threshold does for fresh strangers what the calibration says it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.cli import main
from gaitstream.errors import GalleryError
from gaitstream.gallery import Enrolment, Gallery, Matcher
from gaitstream.gallery.calibration import AIM, ENOUGH, Calibration, calibrate, conclude, describe
from gaitstream.gallery.searches import search_all

Floats = NDArray[np.float32]
SHAPE = (2, 6)
STRANGERS = 1000


def people(rng: np.random.Generator, count: int, walks: int) -> Floats:
    """Embeddings `[count, walks, *SHAPE]`: people lie as N(0, 1), their walks as N(0, 0.3) around them."""
    centres = rng.normal(size=(count, 1, *SHAPE))
    return (centres + rng.normal(0, 0.3, (count, walks, *SHAPE))).astype(np.float32)


def enrolled(rng: np.random.Generator, count: int, walks: int) -> Matcher:
    return Matcher.build([(f"p{i}", maps) for i, maps in enumerate(people(rng, count, walks))])


def false_positive_rate(matcher: Matcher, threshold: float, rng: np.random.Generator) -> float:
    """Share of fresh strangers who are nearer to somebody than the threshold."""
    strangers = people(rng, STRANGERS, 1)[:, 0]
    return float(np.mean([matcher.distances(probe).min() <= threshold for probe in strangers]))


@pytest.mark.parametrize(("persons", "walks", "galleries"), [(ENOUGH, 1, 4), (60, 3, 8)])
def test_fresh_strangers_stay_within_the_stated_range(persons: int, walks: int, galleries: int) -> None:
    rates, inside = [], 0
    for seed in range(galleries):
        rng = np.random.default_rng(seed)
        matcher = enrolled(rng, persons, walks)
        found = calibrate(matcher)
        assert found is not None
        rates.append(false_positive_rate(matcher, found.threshold, rng))
        low, high = found.fpir_range
        inside += low <= rates[-1] <= high
    assert inside == galleries
    if persons >= ENOUGH:
        assert AIM / 3 < np.mean(rates) < AIM * 2


def test_enough_people_aim_for_the_rate_and_fewer_say_that_they_do_not() -> None:
    rng = np.random.default_rng(1)
    few, many = calibrate(enrolled(rng, ENOUGH - 1, 1)), calibrate(enrolled(rng, ENOUGH, 2))
    assert few is not None
    assert many is not None
    assert few.aim is None
    assert few.fpir is not None
    assert many.aim == AIM
    assert many.fpir is not None
    assert AIM / 2 < many.fpir <= AIM
    assert many.persons == ENOUGH
    assert f"rule of thumb; from {ENOUGH} people on" in describe(few)[0]
    assert describe(many)[0] == "chosen for a false positive rate (FPIR) of 1.0% of strangers' searches"
    assert f"from {many.impostor} searches of {ENOUGH} people" in describe(many)[1]


def test_a_person_enrolled_under_two_names_does_not_set_the_threshold() -> None:
    templates = people(np.random.default_rng(2), ENOUGH, 1)
    clean = calibrate(Matcher.build([(f"p{i}", maps) for i, maps in enumerate(templates)]))
    templates[1] = templates[0] + 1e-4
    doubled = calibrate(Matcher.build([(f"p{i}", maps) for i, maps in enumerate(templates)]))
    assert clean is not None
    assert doubled is not None
    assert doubled.threshold > 0.8 * clean.threshold


def test_a_person_with_many_templates_weighs_as_one_with_few() -> None:
    rng = np.random.default_rng(3)
    near = np.zeros((1, *SHAPE), np.float32)
    many = (100 + rng.normal(size=(98, *SHAPE))).astype(np.float32)
    found = calibrate(Matcher.build([("a", near), ("b", near + 0.1), ("many", many)]))
    assert found is not None
    assert found.persons == 3
    assert found.fpir == pytest.approx(2 / 3)  # a is taken for b, and b for a


def test_a_target_is_held_by_fresh_strangers_as_stated() -> None:
    """The held-out rate lies in the stated interval in at least 90% of 50 galleries, and near the target."""
    inside, rates = 0, []
    for seed in range(50):
        rng = np.random.default_rng(1000 + seed)
        matcher = enrolled(rng, 150, 2)
        found = conclude(search_all(matcher, range(len(matcher.templates))).found, 0.05)
        assert found is not None
        assert found.aim == 0.05
        strangers = people(rng, 400, 1)[:, 0]
        each = np.stack([matcher.distances(probe) for probe in strangers]).min(axis=1)
        rates.append(float((each <= found.threshold).mean()))
        low, high = found.fpir_range
        inside += low <= rates[-1] <= high
    assert inside >= 45
    assert 0.03 < np.mean(rates) < 0.08


def test_what_may_be_aimed_for_instead_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three people a third is 33.34% as it is said: 33.33% would be refused once more."""
    walks = people(np.random.default_rng(6), 3, 2)
    for count in (1, 2, 3):
        path = tmp_path / f"{count}.gallery"
        with Gallery(path, create=True) as gallery:
            gallery.enroll_many(
                Enrolment(f"p{i}", "biggait", "b" * 64, maps) for i, maps in enumerate(walks[:count])
            )
        words = ["gallery", "calibrate", "--gallery", str(path), "--target-fpir"]
        assert main([*words, "0.01"]) == 1
        _, _, instead = capsys.readouterr().err.strip().partition("enrol 101")
        assert instead == (", or aim for 33.34% or more" if count == 3 else "")
    assert main([*words, "0.3334"]) == 0


def test_a_gallery_keeps_aiming_for_its_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "people.gallery"
    walks = people(np.random.default_rng(6), 60, 2)
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(
            Enrolment(f"p{i}", "biggait", "b" * 64, maps) for i, maps in enumerate(walks[:50])
        )
        usual = gallery.calibration("biggait")
        with pytest.raises(
            GalleryError, match="cannot be told from none with 50 people of biggait: enrol 101"
        ):
            gallery.calibrate("biggait", 0.01)
        assert gallery.calibration("biggait") == usual
        before = gallery.mark()
        assert main(["gallery", "calibrate", "--gallery", str(path), "--target-fpir", "0.1"]) == 0
        assert "chosen for a false positive rate (FPIR) of 10.0%" in capsys.readouterr().out
        assert gallery.mark() != before
        gallery.enroll_many(
            Enrolment(f"q{i}", "biggait", "b" * 64, maps) for i, maps in enumerate(walks[50:])
        )
        kept = gallery.calibration("biggait")
        assert kept is not None
        assert kept.aim == 0.1
        assert kept.fpir is not None
        assert 0.05 < kept.fpir <= 0.1
        gallery.calibrate("biggait")
        assert gallery.calibration("biggait") == calibrate(gallery.matcher("biggait", "b" * 64))
    assert main(["gallery", "calibrate", "--gallery", str(path), "--target-fpir", "2"]) == 2


def test_one_person_gives_a_threshold_and_no_rate() -> None:
    found = calibrate(enrolled(np.random.default_rng(4), 1, 3))
    assert found is not None
    assert (found.fpir, found.fpir_range, found.impostor) == (None, (0.0, 1.0), 0)
    assert describe(found)[1] == "FPIR unknown: it takes a second person"


def test_info_says_what_the_threshold_aims_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "people.gallery"
    walks = people(np.random.default_rng(5), 3, 2)
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(Enrolment(f"p{i}", "biggait", "b" * 64, maps) for i, maps in enumerate(walks))
        found = gallery.calibration("biggait")
    assert isinstance(found, Calibration)
    assert main(["gallery", "info", "--gallery", str(path)]) == 0
    said = capsys.readouterr().out
    assert "3 people" in said
    assert "biggait bbbbbbbbbbbb: 6 templates" in said
    assert all(line in said for line in describe(found))
