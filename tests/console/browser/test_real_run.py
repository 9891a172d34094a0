"""The console on a real run: synthetic cameras, the packaged models, real decisions, and a real Chromium."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="needs Playwright (dependency group test)")
pytest.importorskip("fastapi", reason="needs the extra [console]")

from playwright.sync_api import Page, expect

from gaitstream import zoo
from gaitstream.config.reading import load_config
from gaitstream.console.feed import Bus
from gaitstream.console.options import ConsoleOptions
from gaitstream.events import Journal, Publisher
from gaitstream.evidence.observing import open_observers
from gaitstream.gallery import Gallery
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.runner import Pipeline, load_detector
from gaitstream.synth.address import parse_address
from gaitstream.synth.dataset import write_dataset
from tests.console.browser.conftest import LogIn, follow, settle
from tests.console.making import write_clip
from tests.console.world import LOOPBACK, USERS, console

WALK = (
    "synth://plaza?people=8&seed=7&only={person}&camera={side}&fps=15&start={start}&seconds={seconds}"
    f"&epoch_ns={time.time_ns() - 60 * 10**9}"
)
CAMS = """\
# Kept by the site's owner.
cameras:
  - {{id: gate, url: "{gate}", fps: null}}
  - {{id: yard, url: "{yard}", fps: null}}
models: {{gaitheat: demo}}
gallery:
  path: people.gallery
  key: none
  threshold: {threshold}
  margin: {margin}
  visitors: {{enabled: true}}
evidence: {{keep: true}}
"""
PERSON, SOMEBODY_ELSE = 6, 3


@dataclass
class RealSite:
    """A site whose cameras can be run one after the other, with its console.

    Attributes:
        address: of the console.
        cameras: the cams.yaml.
        publisher: of the bus.
        detector: open.
        encoder: open.
    """

    address: str
    cameras: Path
    publisher: Publisher
    detector: DetectorModel
    encoder: Encoder

    def run(self, camera: str) -> None:
        """Run a camera from its first picture to its last, as `gaitstream run` does."""
        config = load_config(self.cameras)
        observers = open_observers(RunOptions(self.cameras), config)
        with Pipeline(
            config, sink=self.publisher, observers=observers, cameras=lambda one: one == camera,
            detector=self.detector, encoder=self.encoder,
        ) as pipeline:  # fmt: skip
            pipeline.run()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    """Two cameras that the same person walks past, of which one has run, an empty gallery, and a console."""
    folder = tmp_path_factory.mktemp("site")
    cameras, advice = folder / "cams.yaml", zoo.advice()
    gate, yard = (WALK.format(person=PERSON, side=side, start=0, seconds=13) for side in (1, 3))
    cameras.write_text(CAMS.format(gate=gate, yard=yard, threshold=advice.threshold, margin=advice.margin))
    Gallery(folder / "people.gallery", create=True, key="none").close()
    config = load_config(cameras)
    with ExitStack() as stack:
        detector, encoder = load_detector(config), Encoder.load(config)
        stack.callback(detector.close)
        stack.callback(encoder.close)
        publisher = stack.enter_context(Publisher(Journal(folder / "journal"), LOOPBACK, LOOPBACK))
        bus = Bus((publisher.endpoint,), (publisher.replay,), cursor=folder / "cursor")
        options = ConsoleOptions(folder / "console", bus=bus, cameras=cameras, port=0)
        address, _ = stack.enter_context(console(options, tuple(USERS)))
        made = RealSite(address, cameras, publisher, detector, encoder)
        made.run("gate")
        yield made


@pytest.mark.slow
def test_whoever_is_enrolled_from_an_event_is_recognised_on_another_camera(
    log_in: LogIn, site: RealSite
) -> None:
    """By the run's own pictures, embeddings and decisions, from the enrolment's click on."""
    page = log_in("ines")
    page.goto("/events?camera=gate&status=unknown")
    follow(page.get_by_role("row", name="gate #2").get_by_role("link"))  # the longest walk
    expect(page.locator("#pictures figure").first).to_be_visible()
    page.get_by_role("button", name="Enrol from here").click()
    page.get_by_label("Name").fill("Nora Feld")
    page.get_by_role("button", name="Enrol", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nora Feld")
    expect(page.get_by_alt_text("Nora Feld, picture 1", exact=True)).to_be_visible()
    page.goto("/events?camera=yard")
    expect(page.locator("[data-link]").last).to_have_text("connected")
    site.run("yard")
    expect(page.locator("#rows tr[data-event]").first).to_contain_text("Nora Feld")
    page.goto("/people")
    expect(page.get_by_role("row", name="Nora Feld")).to_contain_text("yard")


def open_picture(page: Page, address: str) -> None:
    """Look through a new camera."""
    page.goto("/cameras/new")
    page.get_by_label("Name").fill("hall")
    page.get_by_label("Address").fill(address)
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_alt_text("Picture of the camera, 640 by 360 pixels")).to_be_visible()
    expect(page.get_by_text("Person 1 would count")).to_be_visible()
    settle(page)


@pytest.mark.slow
def test_regions_are_drawn_with_a_pointer_and_by_keys(log_in: LogIn, site: RealSite) -> None:
    page = log_in("root")
    open_picture(page, WALK.format(person=PERSON, side=1, start=4, seconds=5))
    outside = page.get_by_text("Person 1 would not count: outside the region.")
    drawing = page.get_by_role("application")
    expect(outside).to_be_hidden()
    page.get_by_role("button", name="Draw a region").click()
    box = drawing.bounding_box()
    assert box is not None
    for x, y in ((0.02, 0.02), (0.2, 0.02), (0.2, 0.1), (0.02, 0.02)):  # a corner of the sky; closed
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(drawing.locator("polygon")).to_have_count(1)
    expect(outside).to_be_visible()
    page.get_by_role("button", name="Draw a region").focus()
    page.keyboard.press("Enter")
    expect(drawing).to_be_focused()
    draw_by_keys(page)
    expect(drawing.locator("polygon")).to_have_count(2)
    expect(outside).to_be_hidden()
    page.get_by_role("button", name="Save").press("Enter")
    page.wait_for_url("**/cameras")
    saved = load_config(site.cameras).camera("hall")
    assert (saved.region_size, [len(region) for region in saved.regions]) == ((640, 360), [3, 4])
    assert saved.regions[0][0] == pytest.approx((13, 7), abs=2)
    assert "# Kept by the site's owner." in site.cameras.read_text(encoding="utf-8")
    page.goto("/cameras/hall")
    page.get_by_role("button", name="Test").click()
    expect(drawing.locator("polygon")).to_have_count(2)
    page.get_by_role("button", name="Everywhere").click()
    expect(drawing.locator("polygon")).to_have_count(0)
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/cameras")
    assert not load_config(site.cameras).camera("hall").regions


def draw_by_keys(page: Page) -> None:
    """Nearly the whole picture, from its middle on."""
    for keys in (("ArrowLeft", "ArrowUp"), ("ArrowRight",), ("ArrowDown",), ("ArrowLeft",)):
        for key in keys:
            for _ in range(60):
                page.keyboard.press(key)
        page.keyboard.press("Space")
    page.keyboard.press("Enter")


def record(person: int, side: int, seconds: float, folder: Path) -> Path:
    """What a camera sees of somebody, as a video."""
    write_dataset([parse_address(WALK.format(person=person, side=side, start=0, seconds=seconds))], folder)
    return folder / f"cam{side}.mp4"


def send(page: Page, where: str, clip: Path, button: str) -> None:
    """Choose a clip on a page and send it, by keys alone."""
    page.goto(where)
    page.locator("input[type=file]").set_input_files(clip)
    page.get_by_role("button", name=button).last.press("Enter")


@pytest.mark.slow
def test_a_clip_enrols_with_pictures_and_is_found_and_named(
    log_in: LogIn, site: RealSite, tmp_path: Path
) -> None:
    page = log_in("ines")
    clip = record(SOMEBODY_ELSE, 3, 6.0, tmp_path / "walk")
    page.goto("/enrol")
    page.get_by_label("Name").last.fill("Ada Brandt")
    page.locator("input[type=file]").set_input_files(clip)
    page.get_by_role("button", name="Enrol", exact=True).press("Enter")
    expect(page.locator("#clip")).to_contain_text("templates were enrolled")
    follow(page.get_by_role("link", name="To the people"))
    follow(page.get_by_role("link", name="Ada Brandt"))
    pictures = page.get_by_role("group", name="Pictures of Ada Brandt").get_by_role("img")
    assert pictures.count() > 2
    assert page.request.get(pictures.first.get_attribute("src") or "").ok
    expect(page.locator("tbody .thumb[src]").first).to_be_visible()
    send(page, "/search", clip, "Say who it is")
    expect(page.locator("#found h2").first).to_have_text("Ada Brandt")
    seen = record(PERSON, 3, 5.0, tmp_path / "seen")
    send(page, "/search", seen, "Search")
    expect(page.locator("#found tbody tr").first).to_contain_text("gate #2")  # of two walks the nearer
    expect(page.locator("#found tbody tr").first.locator("img")).to_be_visible()


def bad_clips(folder: Path) -> Iterator[tuple[Path, str]]:
    """Clips that nobody can use, and what is said of each; more are in `test_clips.py`."""
    contents = {
        "empty.mp4": (b"", "there is no clip"),
        "bomb.mkv": (b"PK\x03\x04" + zlib.compress(bytes(10**7)), "no video that is taken"),
    }
    for name, (data, said) in contents.items():
        (folder / name).write_bytes(data)
        yield folder / name, said
    yield write_clip(folder / "huge.mp4", 1, width=8160, height=4096), "8160 x 4096"


@pytest.mark.slow
def test_why_a_clip_is_not_taken_is_told_where_it_was_sent_from(
    log_in: LogIn, site: RealSite, tmp_path: Path
) -> None:
    page = log_in("ines")
    for clip, said in bad_clips(tmp_path):
        send(page, "/search", clip, "Search")
        told = page.locator("#found [role=alert], #search-clip [role=alert]").filter(has_text=said)
        expect(told).to_be_visible()
        expect(page.get_by_role("button", name="Search").last).to_be_enabled()
