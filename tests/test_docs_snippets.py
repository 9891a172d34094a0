"""Every snippet of README and docs/ runs as it stands, with the packaged models; every command line is one.

A page's Python blocks run in order and share their names, in a folder with the files they speak of.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gaitstream.cli import build_parser
from gaitstream.config.reading import load_config
from gaitstream.events import IdentityDecided, Journal, Publisher
from gaitstream.models.bundle import Bundle
from gaitstream.synth import open_synthetic
from tests.models.test_segmenter import bright_parts

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SITE = """\
cameras: [{id: gate, url: 'synth://plaza?camera=1&seconds=2&width=320&height=180'}]
models: {detector: demo, pose: demo, gaitheat: demo}
"""


def blocks(page: Path, *kinds: str) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind in kinds]


PYTHON = {page.name: blocks(page, "python") for page in PAGES if blocks(page, "python")}
SUBSCRIBERS = ("README.md", "events.md")
"""Pages whose snippets listen for ever."""
GPU = re.compile(r"\bstream\.cuda_stream\b|\binfer_on_device\b")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the snippets speak of."""
    monkeypatch.chdir(tmp_path)
    shot = open_synthetic("synth://plaza?camera=1&people=6&seed=3&start=6&width=640&height=360").read()
    assert shot is not None
    cv2.imwrite("frame.png", shot[1])
    Path("cams.yaml").write_text(SITE)
    return tmp_path


def names_of(page: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a page takes for granted: arrays that came from somewhere else."""
    rng = np.random.default_rng(0)
    if page == "evaluation.md":
        people, types = (
            ["001", "002", "003"],
            ["nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06", "bg-01", "cl-01"],
        )
        rows = [(who, kind, view) for who in people for kind in types for view in ("000", "090")]
        ids, kinds, views = map(list, zip(*rows, strict=True))
        return {"embeddings": rng.random((len(rows), 2, 4)), "ids": ids, "types": kinds, "views": views}
    if page == "parity.md":
        return {
            "np": np, "crops": np.zeros((4, 3, 256, 128), np.uint8), "ratios": np.ones(4, np.float32),
            "sequence": np.arange(4), "label": np.arange(4),
        }  # fmt: skip
    if page == "kernels.md":
        return {
            "heatmaps": rng.random((2, 17, 64, 48), np.float32),
            "keypoints": rng.random((2, 17, 3), np.float32) * 40,
        }
    if page == "python-api.md":
        bundle: Bundle = request.getfixturevalue("biggait_bundle")
        Path("biggait.bundle").symlink_to(bundle.root)
        bright_parts(Path("pphumanseg.onnx"), "probability")
    if page == "checkpoints.md":
        checkpoint: Path = request.getfixturevalue("gaitheat_checkpoint")
        Path("GaitHeat-60000.pt").symlink_to(checkpoint)
    return {}


SLOW = ("checkpoints.md",)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])
        for page in PYTHON
        if page not in SUBSCRIBERS
    ],
)
@pytest.mark.usefixtures("here")
def test_the_python_of_a_page_runs(page: str, request: pytest.FixtureRequest) -> None:
    names = names_of(page, request)
    for number, text in enumerate(PYTHON[page], 1):
        if GPU.search(text):
            compile(text, f"{page} #{number}", "exec")  # needs a GPU: read, not run
            continue
        exec(compile(text, f"{page} #{number}", "exec"), names)


@pytest.mark.parametrize("page", SUBSCRIBERS)
def test_a_subscriber_of_the_documentation_hears_events(page: str, here: Path) -> None:
    """The default addresses are replaced by free ones; nothing else is changed."""
    with Publisher(Journal(here / "journal"), "tcp://127.0.0.1:*", "tcp://127.0.0.1:*") as publisher:
        for track in range(3):
            publisher.publish(
                IdentityDecided(time_ns=1, camera="gate", track=track, status="known", person="Ada")
            )
        where = f'"{publisher.endpoint}", "{publisher.replay}", '
        for text in PYTHON[page]:
            assert "Subscriber(" in text
            code = re.sub(r"(?<!import )\bSubscriber\((?=[a-z])", f"Subscriber({where}", text)
            process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            heard = [process.stdout.readline() for _ in range(3)]
            process.kill()
            process.wait()
            process.stdout.close()
            assert all("identity" in line or "known" in line for line in heard), heard


def command_lines() -> list[str]:
    found = []
    for page in PAGES:
        for text in blocks(page, "sh", "console"):
            lines = (line.strip().removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines())
            found += [line for line in lines if line.startswith("gaitstream ")]
    return found


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_is_one(line: str) -> None:
    build_parser().parse_args(shlex.split(line, comments=True)[1:])


def site_yaml() -> list[tuple[str, str]]:
    return [
        (page.name, text)
        for page in PAGES
        for text in blocks(page, "yaml")
        if re.search(r"^cameras:", text, re.M)
    ]


@pytest.mark.parametrize(("page", "text"), site_yaml())
def test_every_cams_yaml_is_right(page: str, text: str, here: Path) -> None:
    path = here / "site.yaml"
    path.write_text(text)
    for model in re.findall(r"[\w/]+\.onnx|bundles/\w+", text):
        (here / model).parent.mkdir(parents=True, exist_ok=True)
        (here / model).touch()
    load_config(path, {"RTSP_PASSWORD": "secret"})
