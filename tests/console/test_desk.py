"""The gallery as the console has it open."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from gaitstream.console.desk import GalleryDesk
from gaitstream.gallery import Gallery
from gaitstream.gallery.rekeying import rekey
from tests.gallery.filled import fill


def test_a_gallery_that_has_got_another_key_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    with Gallery(path, create=True) as gallery, closing(GalleryDesk(path)) as desk:
        fill(gallery)
        before = dict(desk.people())
        rekey(gallery, f"file:{path}.key")  # the operator's stays, the gallery's own is another
        desk.note("ann", "searched")
        assert dict(desk.people()) == before
        assert desk.problem() == ""
