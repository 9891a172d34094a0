"""Running a pipeline for so long and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gaitstream.pipeline.runner import Pipeline


@contextmanager
def stopping_after(pipeline: Pipeline, seconds: float, patience_s: float) -> Iterator[None]:
    """Stop a pipeline some time after the first picture of any camera, or when none came for long.

    Args:
        pipeline: which; run it within the context.
        seconds: from the first picture on.
        patience_s: how long the first picture may take.
    """
    over = threading.Event()

    def stop() -> None:
        started_s, first_s = time.monotonic(), None
        while not over.wait(0.1):
            now_s = time.monotonic()
            if first_s is None and any(one.analysed for one in list(pipeline.stats.now.cameras.values())):
                first_s = now_s
            if now_s - (first_s or started_s) > (seconds if first_s else patience_s):
                pipeline.stop("shutdown")
                return

    thread = threading.Thread(target=stop, name="gaitstream-enough", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
