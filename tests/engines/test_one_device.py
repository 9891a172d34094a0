"""One device for all engines of a GPU, current while they are built; other threads lose nothing of it."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.engines import cuda, pycuda_device, tensorrt
from gaitstream.engines.base import Batch, BuildRequest, Built, Probe, TensorSpec
from gaitstream.engines.proof import Proof
from gaitstream.engines.pycuda_device import cuda_device
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.engines.simulated_tensorrt import Program, SimulatedTensorRt, open_simulated
from gaitstream.engines.tensorrt_run import HostSlot, TensorRtEngine
from gaitstream.errors import EngineError
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.models.device_path import DevicePath, Stage
from tests.engines.fake_pycuda import FakePyCuda

PROOF = Proof(source="nothing", layers={}, matrix_layers={})


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> FakePyCuda:
    fake = FakePyCuda()
    monkeypatch.setitem(sys.modules, "pycuda", fake.package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake.driver)
    monkeypatch.setattr(pycuda_device, "_devices", {})
    return fake


def opened(simulated: SimulatedDevice, inputs: TensorSpec, output: TensorSpec, device: str) -> TensorRtEngine:
    """An engine as the runtime opens it: no device is handed in."""
    program = Program({inputs.name: inputs}, {output.name: output}, lambda feeds: {})
    request = BuildRequest(Path("graph.onnx"), "fp32", device, Batch(1, 16, 32))
    library = SimulatedTensorRt(simulated, {b"engine": program})
    return TensorRtEngine(library, "tensorrt", request, Built(b"engine", PROOF))


@pytest.mark.usefixtures("pycuda")
def test_engines_of_one_gpu_share_their_device(
    simulated: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device path needs pose model and frame graph on one, and took all pairs for different ones."""
    pose = TensorSpec("crops", (-1, 3, 256, 192), "uint8"), TensorSpec("maps", (-1, 17, 64, 48), "float32")
    frame = (
        TensorSpec("parts", (-1, 3, 64, 48), "float32"),
        TensorSpec("features", (-1, 8, 16, 12), "float32"),
    )
    monkeypatch.setattr(pycuda_device, "launcher", lambda: None)
    first, second = opened(simulated, *pose, "cuda"), opened(simulated, *frame, "cuda:0")
    other = opened(simulated, *frame, "cuda:1")
    groups = AlignmentOptions((tuple(range(5)), tuple(range(5, 17))))
    assert DevicePath(first, {"gait": Stage(second, groups)}).device is first.on_device
    with pytest.raises(EngineError, match="different devices"):
        DevicePath(first, {"gait": Stage(other, groups)})


@pytest.mark.usefixtures("pycuda")
def test_threads_get_the_same_device() -> None:
    found: list[object] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(cuda_device(1))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in found}) == 1


def test_what_is_dropped_in_another_thread_is_freed_all_the_same(pycuda: FakePyCuda) -> None:
    device = cuda_device()
    held: list[Any] = [device.stream(), device.event(), device.pinned(6, "float32").reshape(2, 3)[1:]]
    assert held[2].shape == (1, 3)
    held[2][...] = 7
    assert (pycuda.freed, pycuda.leaked) == (0, 0)  # a piece of an array keeps it
    assert (held[2] == 7).all()
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert (pycuda.freed, pycuda.leaked) == (3, 0)


@pytest.mark.parametrize("where", ["push", "pop"])
def test_a_device_that_has_failed_says_so_in_our_words(
    where: str, pycuda: FakePyCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An illegal address is told by every later call, that which makes the device current among them."""
    device = cuda_device()

    def refused(_: object) -> None:
        raise pycuda.driver.Error("an illegal memory access was encountered")

    monkeypatch.setattr(type(device._context), where, refused)
    with pytest.raises(EngineError, match="CUDA failed: an illegal memory access"), device.active():
        pass


def test_the_builder_works_on_the_gpu_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[int] = []
    built_on: list[list[int]] = []

    @contextlib.contextmanager
    def on(index: int) -> Iterator[None]:
        current.append(index)
        yield
        current.pop()

    def build(*_: object, **__: object) -> Built:
        built_on.append(list(current))
        return Built(b"", PROOF)

    runtime = tensorrt.tensorrt()
    monkeypatch.setattr(cuda, "current", on)
    monkeypatch.setattr(tensorrt, "build", build)
    monkeypatch.setattr(type(runtime), "module", lambda self: None)
    monkeypatch.setattr(
        type(runtime), "probe", lambda self, device, to_run=True: Probe("11", "gpu", "GPU", True, ("fp32",))
    )
    for device in (None, "cuda", "cuda:1", "sm_89"):
        runtime.build(BuildRequest(Path("graph.onnx"), "fp32", device))
    assert built_on == [[0], [0], [1], []]


def test_a_gpu_is_made_current_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Driver:
        def __getattr__(self, name: str) -> Any:
            def answer(*arguments: object) -> int:
                calls.append(name)
                if name == "cuDeviceGet":
                    return 101 if arguments[1] == 9 else 0
                return 0

            return answer

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    cuda._primary.cache_clear()
    try:
        for _ in range(2):
            with pytest.raises(ValueError, match="inside"), cuda.current(1):
                raise ValueError("inside")
        around = ["cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"]
        assert calls == ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", *around, *around]
        with pytest.raises(EngineError, match="cuDeviceGet says 101"), cuda.current(9):
            pass
    finally:
        cuda._primary.cache_clear()


@pytest.mark.parametrize("frames", [3, 30, 90])
@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_windows_of_any_length_fit_the_profile(simulated: SimulatedDevice, count: int, frames: int) -> None:
    """A graph over whole windows has two open dimensions, and the profile bounds both."""
    asked = TensorSpec("silhouettes", (-1, 1, -1, 64, 44), "float32")
    given = TensorSpec("embedding", (-1, 16, 4), "float32")
    program = Program(
        {asked.name: asked},
        {given.name: given},
        lambda feeds: {"embedding": np.full((len(feeds["silhouettes"]), 16, 4), feeds["silhouettes"].mean())},
    )
    with open_simulated(program, simulated, batch=64) as engine:
        found = engine.infer({"silhouettes": np.full((count, 1, frames, 64, 44), 0.5, np.float32)})
    assert found["embedding"].shape == (count, 16, 4)
    with (
        open_simulated(program, simulated, batch=64) as engine,
        pytest.raises(EngineError, match="not compiled"),
    ):
        engine.infer({"silhouettes": np.zeros((1, 1, 91, 64, 44), np.float32)})


def test_two_threads_make_one_pool_of_slots(
    simulated: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[HostSlot] = []
    begin = HostSlot.__init__

    def slowly(self: HostSlot, *arguments: Any) -> None:
        made.append(self)
        threading.Event().wait(0.02)
        begin(self, *arguments)

    monkeypatch.setattr(HostSlot, "__init__", slowly)
    spec = TensorSpec("x", (-1, 8), "float32")
    program = Program({"x": spec}, {"y": spec}, lambda feeds: {"y": feeds["x"]})
    barrier = threading.Barrier(2)
    with open_simulated(program, simulated) as engine:

        def go() -> None:
            barrier.wait()
            engine.infer({"x": np.zeros((1, 8), np.float32)})

        threads = [threading.Thread(target=go) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 2
