"""Synthetic videos for the benchmarks: every machine measures the same pixels."""

from __future__ import annotations

from pathlib import Path

from gaitstream.config.camera_sections import Camera
from gaitstream.config.secret_url import SecretUrl
from gaitstream.synth.address import Address
from gaitstream.synth.dataset import write_dataset

FPS = 15.0
SITE = "plaza"
VIEWS = 2
"""Different cameras per world; more pipeline cameras play these again."""


def make_clips(folder: Path, people: int, size: tuple[int, int], seconds: float) -> list[Path]:
    """Render the views of one world, unless they are there already.

    Args:
        folder: where they are kept, a directory per setting.
        people: walkers in the world; not all of them are in view at all times.
        size: width and height.
        seconds: length; the clips are played in a loop.

    Returns:
        The videos.
    """
    width, height = size
    root = folder / f"{SITE}-{people}-{width}x{height}-{seconds:g}s"
    if not (root / "cams.yaml").is_file():
        addresses = [
            Address(
                site=SITE,
                camera=view,
                people=people,
                fps=FPS,
                width=width,
                height=height,
                seconds=seconds,
                start=5.0,
            )
            for view in range(1, VIEWS + 1)
        ]
        write_dataset(addresses, root)
    return [root / f"cam{view}.mp4" for view in range(1, VIEWS + 1)]


def cameras_on(clips: list[Path], count: int, fps: float, *, loop: bool) -> list[Camera]:
    """Pipeline cameras that play the clips, each in turn."""
    return [
        Camera(id=f"cam{index:03d}", url=SecretUrl(str(clips[index % len(clips)])), fps=fps, loop=loop)
        for index in range(count)
    ]
