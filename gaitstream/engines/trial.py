"""Trying runtimes for real: a product of two small matrices, compiled and run."""

from __future__ import annotations

import base64
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitstream.engines.base import Probe
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.opening import open_engine
from gaitstream.engines.registry import RUNTIMES, runtime_named
from gaitstream.errors import EngineError, GaitstreamError, MissingExtraError

GRAPH = base64.b64decode(
    "CAgSADqBAQoRCgF4CgF3EgFtIgZNYXRNdWwKDAoBbRIBeSIEUmVsdRIFdHJpYWwqKwgECAIQAUIBd0ogAACAPwAAAEAAAEBAAACAQAAAoEAAAMBA"
    "AADgQAAAAEFaFAoBeBIPCg0IARIJCgMSAW4KAggEYhQKAXkSDwoNCAESCQoDEgFuCgIIAkIECgAQFA=="
)
"""ONNX: `y [n, 2] = relu(x [n, 4] @ w)` with `w = [[1, 2], [3, 4], [5, 6], [7, 8]]`."""
INPUT = np.array([[1, 0, 0, 0], [0, 0, -1, 1], [-1, 0, 0, 0]], np.float32)
OUTPUT = np.array([[1, 2], [2, 2], [0, 0]], np.float32)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying one runtime.

    Attributes:
        name: the runtime.
        probe: its version and device, where it is installed and has one.
        error: why it cannot be used; None when it computed the right numbers.
        seconds: how long compiling, loading and running took.
    """

    name: str
    probe: Probe | None
    error: GaitstreamError | None
    seconds: float

    @property
    def installed(self) -> bool:
        """Whether the library is there, whatever became of it."""
        return not isinstance(self.error, MissingExtraError)


def try_runtime(name: str) -> Trial:
    """Probe a runtime, then compile and run a small graph on it."""
    started = time.monotonic()
    probe: Probe | None = None
    error: GaitstreamError | None = None
    try:
        probe = runtime_named(name).probe()
        with tempfile.TemporaryDirectory(prefix="gaitstream-") as folder:
            graph = Path(folder) / "trial.onnx"
            graph.write_bytes(GRAPH)
            with open_engine(graph, name, "fp32", cache=EngineCache(Path(folder) / "cache")) as engine:
                found = engine.infer({"x": INPUT})["y"]
        if not np.allclose(found, OUTPUT, rtol=1e-2):
            error = EngineError(f"{name} computes wrong numbers: {found.tolist()}, not {OUTPUT.tolist()}")
    except GaitstreamError as failure:
        error = failure
    return Trial(name, probe, error, time.monotonic() - started)


def try_all() -> list[Trial]:
    """Try every runtime, in the order `auto` prefers them on one kind of device."""
    return [try_runtime(name) for name in RUNTIMES]
