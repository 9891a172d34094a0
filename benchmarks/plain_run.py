"""Frames a second of a revision's own pipeline in bf16, nobody enrolled; run with that revision's code.

    python benchmarks/plain_run.py SECONDS WARMUP_S FPS VIDEO...

Prints frames, and people encoded a frame, as JSON. `benchmarks.gating --before` calls it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from gaitstream.bench import drive


def main() -> None:
    """Play the videos as fast as they are taken, over and over."""
    seconds, warmup_s, fps, *videos = sys.argv[1:]
    cameras: list[Any] = [  # as plain data: the class of an entry has not always been where it is
        {"id": f"cam{index}", "url": video, "fps": float(fps), "loop": True}
        for index, video in enumerate(videos)
    ]
    config = drive.build_config(cameras, "demo")
    runtime = config.runtime.model_copy(update={"precision": "bf16"})
    config = config.model_copy(update={"runtime": runtime})
    with tempfile.TemporaryDirectory() as journal:
        load = drive.measure(
            config, Path(journal), seconds=float(seconds), warmup_s=float(warmup_s), realtime=False
        )
    print(json.dumps({"frames": load.fps, "encoded": load.persons / load.frames}))


if __name__ == "__main__":
    main()
