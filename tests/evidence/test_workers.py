"""Workers keep evidence and show their cameras live, each its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gaitstream.config.reading import load_config
from gaitstream.events import IdentityFinal, RunStopped
from gaitstream.evidence.live_client import cameras, watch
from gaitstream.evidence.live_server import live_folder
from gaitstream.evidence.reading import EvidenceReader
from gaitstream.gallery import Gallery
from tests.pipeline.tiny import tiny_bundle
from tests.runners.running import Run, Site, hear, of

pytestmark = pytest.mark.slow


def test_two_workers_keep_and_show_their_cameras(tmp_path: Path, runtime: Path) -> None:
    site = Site(tmp_path, tiny_bundle(tmp_path / "tiny", "biggait").root)
    Gallery(tmp_path / "people.gallery", create=True).close()
    keep = {"keep": True, "live": True, "minutes": 1}
    site.write("left", "right", gallery={"path": "people.gallery"}, evidence=keep)
    run = Run(site, "--workers", "2")
    try:
        with site.subscribe() as subscriber:
            events = []
            for camera in ("left", "right"):
                events += of(hear(subscriber, IdentityFinal, camera=camera), IdentityFinal)
            folder = live_folder(tmp_path / "cams.evidence")
            sockets = asyncio.run(cameras(folder))
            assert set(sockets) == {"left", "right"}
            assert sockets["left"] != sockets["right"]
            assert asyncio.run(first_picture(folder, "right")).startswith(b"\xff\xd8")
            run.terminate()
            events += of(hear(subscriber, RunStopped), IdentityFinal)
        reader = EvidenceReader.open(load_config(site.path), site.path)
        assert {event.camera for event in events} == {"left", "right"}
        for event in events:
            evidence = reader.of(event)
            assert evidence is not None
            assert evidence.decision_of(event) is not None
        assert len(reader.recent("left")) > 1
        assert list(folder.glob("*.sock")) == []
    finally:
        run.close()


async def first_picture(folder: Path, camera: str) -> bytes:
    async with asyncio.timeout(30):
        async for picture in watch(folder, camera):
            return picture
    raise AssertionError("no picture")
