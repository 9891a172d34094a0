"""A gallery store of a package that gaitstream does not know, from enrolment over identification to a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitstream.cli import main
from gaitstream.config.reading import load_config
from gaitstream.events import Event, IdentityFinal
from gaitstream.gallery import Gallery
from gaitstream.gallery.keys import make_key_file
from gaitstream.pipeline.enroll import watch_video
from gaitstream.pipeline.runner import Pipeline
from tests.pipeline.tiny import tiny_bundle
from tests.pipeline.walkers import camera, walkers, write_cams


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)


def test_enrol_identify_and_run_with_a_stranger_s_store(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_key_file(tmp_path / "key")
    monkeypatch.setenv("GALLERY_KEY", (tmp_path / "key").read_text())
    url = f"memory:{tmp_path}"
    where = {"url": url, "key": "env:GALLERY_KEY", "threshold": 0.5, "margin": 0.0}
    bundle = tiny_bundle(tmp_path)
    path = write_cams(tmp_path, shared, bundle.root, [camera(shared, fps=6)], gallery=where)
    config = load_config(path)
    first = next(walk.track for walk in watch_video(config, walkers(shared), match=False) if walk.usable)

    video = ["--video", str(walkers(shared)), "--cameras", str(path)]
    assert main(["enroll", "--person", "Ada", "--track", str(first), *video]) == 0
    assert f"in {url}" in capsys.readouterr().out
    assert main(["identify", *video]) == 0
    assert "Ada" in capsys.readouterr().out
    heard = Heard()
    with Pipeline(config, sink=heard) as pipeline:
        pipeline.run()
    assert {event.person for event in heard.events if isinstance(event, IdentityFinal)} == {"Ada", None}
    with Gallery(url, key="env:GALLERY_KEY") as gallery:
        assert [entry.name for entry in gallery.persons()] == ["Ada"]
        assert gallery.encrypted
