"""What decoding costs when only some of a camera's frames are analysed, and what leaving pictures out saves.

    python -m benchmarks.decoding --out out/decoding.json

A synthetic scene is encoded as H.264, 1920 x 1080 at 30 frames a second, once as recorders do, with three
pictures between those that others are made from, and once as most cameras do, without. Each is decoded at
several analysis rates, every picture and only those that may be needed; frames that are due are converted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np

from benchmarks.rows_file import write_rows
from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.secret_url import SecretUrl
from gaitstream.pipeline.source.clock import RateGate
from gaitstream.pipeline.source.video import VideoSource
from gaitstream.synth import open_synthetic

FRAMES, FPS = 150, 30
SIZE = 1920, 1080
RATES = (15.0, 10.0, 5.0)
REPEATS = 3


class Row(msgspec.Struct, frozen=True):
    """One video at one analysis rate.

    Attributes:
        between: pictures between those that others are made from.
        fps: analysed.
        left_out: percent of the pictures that are not decoded.
        every_ms: CPU time of one thread for a picture of the video, all of them decoded.
        needed_ms: the same where only what may be needed is.
    """

    between: int
    fps: float
    left_out: float
    every_ms: float
    needed_ms: float


def main() -> None:
    """Measure both videos at every rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="rows as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gaitstream-decoding-") as folder:
        rows = list(measure(Path(folder)))
    write_rows(rows, args.out)


def measure(folder: Path) -> Iterator[Row]:
    """A row for each video and rate, printed as it comes."""
    for between in (3, 0):
        video = write(folder / f"{between}.mp4", between)
        for fps in RATES:
            turns = [
                [decode(video, fps, sparing=sparing) for sparing in (False, True)] for _ in range(REPEATS)
            ]
            every, needed = (statistics.median(turn[i][0] for turn in turns) for i in range(2))
            row = Row(between, fps, 100 * turns[0][1][1] / FRAMES, every, needed)
            print(msgspec.json.encode(row).decode(), flush=True)
            yield row


def write(path: Path, between: int) -> Path:
    """A video of the synthetic world."""
    camera = open_synthetic("synth://plaza?camera=1&people=4&seed=3")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"bf": str(between), "preset": "fast"}
        for number in range(FRAMES):
            seen = camera.read()
            assert seen is not None  # noqa: S101 - the world has no end
            image = np.asarray(cv2.resize(seen[1], SIZE), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode(path: Path, fps: float, *, sparing: bool) -> tuple[float, int]:
    """Milliseconds a picture, and how many were left out."""
    gate = RateGate(fps)
    source = VideoSource(Camera(id="decoding", url=SecretUrl(str(path)), fps=fps), Sources())
    if sparing:
        source.needed = gate.may_be_due
    source.open()
    started = time.thread_time()
    while (picture := source.read()) is not None:
        if gate.due(picture.time_ns):
            picture.to_image()
    elapsed_s = time.thread_time() - started
    source.close()
    return 1e3 * elapsed_s / FRAMES, source.passed


if __name__ == "__main__":
    main()
