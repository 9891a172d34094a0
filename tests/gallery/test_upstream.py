"""A gallery knows whose joints and masks its templates rest on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gaitstream.errors import GalleryError
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.sightings import KeptWindows
from gaitstream.gallery.transfer import copy
from gaitstream.gallery.upstream import Upstream, UpstreamModel, describe_upstream, other_upstream
from gaitstream.gallery.visiting import VisitorBook
from gaitstream.gallery.visitors import promote
from tests.gallery.filled import MODEL, PRINT, walks
from tests.gallery.walking import RULE, sighting

ONE: Upstream = (UpstreamModel("pose", "one", "1" * 12),)
TWO: Upstream = (UpstreamModel("pose", "two", "2" * 12),)
BOTH: Upstream = (*ONE, UpstreamModel("segmenter", "masks", "3" * 12))


def enrol(gallery: Gallery, name: str, upstream: Upstream = (), seed: int = 0) -> None:
    gallery.enroll_many([Enrolment(name, MODEL, PRINT, walks(seed), upstream=[upstream])])


def test_it_is_noted_once_for_each(tmp_path: Path) -> None:
    with Gallery(tmp_path / "p.gallery", create=True) as gallery:
        assert gallery.upstream(MODEL) == []
        for name, upstream in (("Ada", ONE), ("Bob", ONE), ("Cyd", TWO), ("Dan", ONE)):
            enrol(gallery, name, upstream)
        assert gallery.upstream(MODEL) == [ONE, TWO]
        assert gallery.upstream("gaitbase") == []


def test_templates_of_which_nobody_knows_are_told_apart(tmp_path: Path) -> None:
    """Those of an earlier version, and those that a program adds without saying."""
    with Gallery(tmp_path / "p.gallery", create=True) as gallery:
        enrol(gallery, "Ada")
        assert gallery.upstream(MODEL) == []
        enrol(gallery, "Bob", ONE)
        assert gallery.upstream(MODEL) == [(), ONE]
        enrol(gallery, "Cyd")
        assert gallery.upstream(MODEL) == [(), ONE]


def test_a_gallery_whose_people_are_all_gone_is_filled_anew(tmp_path: Path) -> None:
    with Gallery(tmp_path / "p.gallery", create=True) as gallery:
        enrol(gallery, "Ada", ONE)
        gallery.remove("Ada")
        enrol(gallery, "Ada", TWO)
        assert gallery.upstream(MODEL) == [TWO]


def test_a_copy_knows_it_too(tmp_path: Path) -> None:
    with (
        Gallery(tmp_path / "a.gallery", create=True) as source,
        Gallery(tmp_path / "b.gallery", create=True) as target,
        Gallery(tmp_path / "c.gallery", create=True) as unknown,
    ):
        enrol(source, "Ada", ONE)
        enrol(unknown, "Cyd", seed=2)
        copy(source, target)
        assert target.upstream(MODEL) == [ONE]
        enrol(source, "Bob", TWO, seed=1)
        copy(source, target)
        assert target.upstream(MODEL) == [ONE, TWO]
        copy(unknown, target)
        assert target.upstream(MODEL) == [ONE, TWO, ()]


def test_a_visitor_who_gets_a_name_brings_it_along(tmp_path: Path) -> None:
    with Gallery(tmp_path / "p.gallery", create=True) as gallery:
        seen = sighting(1, 1)
        held = seen.windows[MODEL].open()
        kept = {MODEL: KeptWindows.of(list(held), PRINT, TWO)}
        VisitorBook(gallery, {MODEL: PRINT}, RULE).note([msgspec.structs.replace(seen, windows=kept)])
        promote(gallery, "visitor-1", "Ada")
        assert gallery.upstream(MODEL) == [TWO]


def test_followers_hear_of_it_while_they_run(tmp_path: Path) -> None:
    path = tmp_path / "p.gallery"
    with Gallery(path, create=True) as gallery:
        enrol(gallery, "Ada", ONE)
        keeper = Keeper(path, [MODEL])
        try:
            people = keeper.people()
            assert people.upstream == {MODEL: (ONE,)}
            enrol(gallery, "Bob", TWO, seed=1)
            keeper.sync()
            people.poll()
            assert people.upstream == {MODEL: (ONE, TWO)}
            assert sorted(people.names.values()) == ["Ada", "Bob"]
            assert people.tables[MODEL].count == 6
        finally:
            keeper.close()


def test_damage_is_said_and_who_is_known_goes_on_to_be(tmp_path: Path) -> None:
    with Gallery(tmp_path / "p.gallery", create=True) as gallery:
        enrol(gallery, "Ada", ONE)
        with gallery.writing() as writing:
            writing.set(f"upstream/{MODEL}", b"[[[1]]]")
        with pytest.raises(GalleryError, match=f"what the templates of {MODEL} rest on is damaged"):
            gallery.upstream(MODEL)


def test_what_is_said_of_others() -> None:
    assert other_upstream("p.gallery", MODEL, [], ONE) == ""
    assert other_upstream("p.gallery", MODEL, [(), ONE], ONE) == ""
    assert other_upstream("p.gallery", MODEL, [ONE], ()) == ""
    renamed = (UpstreamModel("pose", "another name", ONE[0].digest),)
    assert other_upstream("p.gallery", MODEL, [ONE], renamed) == ""
    said = other_upstream("p.gallery", MODEL, [ONE, TWO], TWO)
    assert said.startswith(
        f"templates of {MODEL} in p.gallery rest on joints of one 111111111111, this runs two"
    )
    assert describe_upstream(BOTH) == "joints of one 111111111111 and masks of masks 333333333333"
    assert describe_upstream(()) == "models that nobody noted"
