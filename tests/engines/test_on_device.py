"""TensorRT's engine code over the simulated device: order, counts, shapes, and what is refused."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gaitstream.engines import cuda, open_engine
from gaitstream.engines.base import TensorSpec
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.device import Arena, DeviceArray, number_of
from gaitstream.engines.pycuda_device import import_pycuda
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.engines.simulated_tensorrt import Program, SimulatedTensorRt, open_simulated
from gaitstream.engines.tensorrt import TENSORRT, TensorRt, import_library
from gaitstream.errors import EngineError, MissingExtraError, NoRoomError, RefusedEngineError
from tests.engines.fake_pycuda import FakePyCuda
from tests.engines.small_graphs import small_graph, small_reference
from tests.kernels.kernel_cases import placed


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    made = SimulatedDevice(seed=3, delay_s=2e-3)
    yield made
    made.close()


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


def test_host_arrays_go_through_slots_in_turn(device: SimulatedDevice, tmp_path: Path) -> None:
    """Nine inferences over two slots, all under way before the first is asked for."""
    with open_simulated(small_graph(tmp_path / "g.onnx"), device) as engine:
        feeds = [images(1 + seed % 5, seed) for seed in range(9)]
        pending = [engine.submit({"images": feed}) for feed in feeds]
        for feed, one in zip(feeds, pending, strict=True):
            np.testing.assert_allclose(one.result()["features"], small_reference(feed), atol=1e-4)
        assert device.traffic.uploads == device.traffic.downloads == len(feeds)
        assert device.traffic.upload_bytes == sum(feed.nbytes for feed in feeds)
    assert device.traffic.memory_bytes == 0


def test_threads_share_an_engine(device: SimulatedDevice, tmp_path: Path) -> None:
    with open_simulated(small_graph(tmp_path / "g.onnx"), device) as engine:
        wrong: list[int] = []

        def work(seed: int) -> None:
            for turn in range(4):
                feed = images(3, 10 * seed + turn)
                found = engine.infer({"images": feed})["features"]
                if not np.allclose(found, small_reference(feed), atol=1e-4):
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_device_arrays_stay_on_the_device(device: SimulatedDevice, tmp_path: Path) -> None:
    with open_simulated(small_graph(tmp_path / "g.onnx"), device) as engine:
        feed = images(4)
        given = placed(device, feed)
        before = device.traffic.uploads, device.traffic.downloads
        found = engine.infer_on_device({"images": given})["features"]
        again = engine.infer_on_device({"images": given.rows(1, 3)})["features"]
        assert (device.traffic.uploads, device.traffic.downloads) == before
        assert found.ready is not None
        found.ready.synchronize()
        np.testing.assert_allclose(found.to_host(), small_reference(feed), atol=1e-4)
        np.testing.assert_allclose(again.to_host(), small_reference(feed[1:3]), atol=1e-4)
        held = device.traffic.memory_bytes
        del found, again
        assert device.traffic.memory_bytes < held  # given back when nobody holds the outputs


def test_an_input_that_its_owner_lets_go_of_is_still_read(device: SimulatedDevice, tmp_path: Path) -> None:
    """As a torch tensor's memory, which goes to the next tensor at once: its allocator asks no stream."""

    class Tensor:
        """Memory that is overwritten when nobody holds it any more."""

        def __init__(self, array: DeviceArray) -> None:
            self.array = array

        def __del__(self) -> None:
            device.view(self.array.pointer, self.array.nbytes)[:] = 255

    with open_simulated(small_graph(tmp_path / "g.onnx"), device) as engine:
        for seed in range(8):
            given = placed(device, images(2, seed))
            found = engine.infer_on_device({"images": replace(given, owner=Tensor(given))})["features"]
            np.testing.assert_allclose(found.to_host(), small_reference(images(2, seed)), atol=1e-4)


def test_an_engine_waits_for_the_event_of_its_input(device: SimulatedDevice, tmp_path: Path) -> None:
    """One engine's output is another's input, on streams that dawdle: without the event it would be NaN."""
    spec = TensorSpec("features", (-1, 8), "float32")
    double = Program({"features": spec}, {"twice": TensorSpec("twice", (-1, 8), "float32")}, twice)
    with (
        open_simulated(small_graph(tmp_path / "g.onnx"), device) as first,
        open_simulated(double, device) as second,
    ):
        for seed in range(12):
            feed = images(2, seed)
            middle = first.infer_on_device({"images": placed(device, feed)})
            found = second.infer_on_device({"features": middle["features"]})["twice"]
            np.testing.assert_allclose(found.to_host(), 2 * small_reference(feed), atol=1e-4)


def twice(feeds: object) -> dict[str, np.ndarray]:
    assert isinstance(feeds, dict)
    return {"twice": 2 * feeds["features"]}


def test_a_missing_wait_is_caught(device: SimulatedDevice) -> None:
    """The device's purpose: what is read too early is not a number."""
    arena = Arena(device, {"x": ((1000,), "float32")})
    stream, other = device.stream(), device.stream()
    host = device.pinned(1000, "float32")
    host[:] = 1.0
    early = device.pinned(1000, "float32")
    device.upload(arena.arrays["x"].pointer, host, stream)
    device.download(early, arena.arrays["x"].pointer, stream)
    assert np.isnan(early).all()  # not waited for
    stream.synchronize()
    assert (early == 1).all()
    caught = 0
    for value in range(2, 40):
        host[:] = value
        device.upload(arena.arrays["x"].pointer, host, stream)
        device.download(early, arena.arrays["x"].pointer, other)  # does not wait for the other stream
        other.synchronize()
        caught += early[0] != value
        stream.synchronize()
    assert caught > 5


def test_work_may_be_the_last_to_hold_memory() -> None:
    """What is freed on a stream must not wait for the stream."""
    device = SimulatedDevice(delay_s=1e-3)
    stream = device.stream()
    for _ in range(20):
        arena = Arena(device, {"x": ((4,), "float32")})
        array = arena.arrays["x"]
        stream.queue(lambda array=array: device.view(array.pointer, 16).fill(0))  # type: ignore[misc]
        del arena, array
    stream.synchronize()
    assert device.traffic.memory_bytes == 0
    device.close()


def test_the_host_cannot_touch_device_memory(device: SimulatedDevice) -> None:
    """A handle is no address of this process: a copy outside it fails as on a GPU, at the next wait."""
    stream = device.stream()
    memory = device.allocate(16)
    device.download(device.pinned(5, "float32"), memory.pointer, stream)
    with pytest.raises(EngineError, match="illegal access of 20 bytes"):
        stream.synchronize()
    ranges = Path("/proc/self/maps").read_text().split("\n")
    limits = [[int(edge, 16) for edge in line.split(" ")[0].split("-")] for line in ranges if line]
    assert not any(low <= memory.pointer < high for low, high in limits)


def test_outputs_that_depend_on_data_are_refused(device: SimulatedDevice) -> None:
    """Their room cannot be known: the largest batch's would be overrun."""
    inputs = {"boxes": TensorSpec("boxes", (-1, 4), "float32")}
    for shape in ((-1, -1), (4, -1)):
        program = Program(inputs, {"kept": TensorSpec("kept", shape, "int64")}, lambda _: {})
        with pytest.raises(EngineError, match=r"output 'kept' has shape .*depends on the data"):
            open_simulated(program, device)


def test_wrong_inputs_are_named(device: SimulatedDevice, tmp_path: Path) -> None:
    with open_simulated(small_graph(tmp_path / "g.onnx"), device, batch=4) as engine:
        with pytest.raises(EngineError, match=r"takes inputs \['images'\], got \['pictures'\]"):
            engine.infer_on_device({"pictures": placed(device, images(1))})
        with pytest.raises(EngineError, match=r"takes uint8 \[-1, 3, 16, 16\], got float32"):
            engine.infer_on_device({"images": placed(device, images(1).astype(np.float32))})
        with pytest.raises(EngineError, match="batch 5, the engine was compiled for at most 4"):
            engine.infer({"images": images(5)})


X = TensorSpec("x", (-1, 8), "float32")
Y = TensorSpec("y", (-1, 8), "float32")


def test_closing_waits_for_what_runs(device: SimulatedDevice) -> None:
    """A context that is destroyed while its inference runs takes the memory it works in with it."""
    gate = threading.Event()

    def slowly(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        gate.wait(60)
        return {"y": 2 * feeds["x"]}

    engine = open_simulated(Program({"x": X}, {"y": Y}, slowly), device)
    given = placed(device, np.ones((3, 8), np.float32))
    found = [engine.infer_on_device({"x": given}, stream) for stream in (None, device.stream())]
    closing = threading.Thread(target=engine.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    gate.set()
    closing.join(60)
    assert not closing.is_alive()
    for outputs in found:
        np.testing.assert_array_equal(outputs["y"].to_host(), np.full((3, 8), 2, np.float32))


def test_arrays_of_another_gpu_are_refused(device: SimulatedDevice) -> None:
    """There the address is nobody's, or somebody else's."""

    class Tensor:
        """As torch's, on the second GPU."""

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 1

        @property
        def __cuda_array_interface__(self) -> dict[str, object]:
            return replace(given, device=other).__cuda_array_interface__

    other = SimulatedDevice(index=1)
    with open_simulated(Program({"x": X}, {"y": Y}, twice), device) as engine:
        given = placed(other, np.ones((3, 8), np.float32))
        with pytest.raises(EngineError, match="input 'x' lies on GPU 1, the engine on GPU 0: copy it"):
            engine.infer_on_device({"x": given})
    other.close()


def test_what_tensorrt_says_is_passed_on(device: SimulatedDevice) -> None:
    with open_simulated(Program({"x": X}, {"y": Y}, twice), device, batch=4) as engine:
        given = placed(device, np.ones((5, 8), np.float32))
        with pytest.raises(EngineError, match=r"not compiled for x \[5, 8\]: x does not satisfy the profile"):
            engine.infer_on_device({"x": given})
        with pytest.raises(EngineError, match="could not start the inference: no reason given"):
            engine.execution().enqueue({}, {}, device.stream())  # said once: the last error is not this one's


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 1024 bytes.)", NoRoomError),
        ("Error Code 1: Cuda Runtime (out of memory)", NoRoomError),
        ("The engine plan file is not compatible with this version", RefusedEngineError),
    ],
)
def test_a_full_gpu_is_told_from_a_foreign_engine(
    said: str, kind: type[EngineError], device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: SimulatedTensorRt, blob: bytes) -> None:
        self._logger.log(self.ILogger.Severity.ERROR, said)

    monkeypatch.setattr(SimulatedTensorRt, "deserialize_cuda_engine", refuse)
    with pytest.raises(kind, match="cannot load the engine of") as raised:
        open_simulated(Program({"x": X}, {"y": Y}, twice), device)
    assert type(raised.value) is kind
    assert said in str(raised.value)


def test_executions_of_one_stream_may_share_their_memory(device: SimulatedDevice) -> None:
    def doubled(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": 2 * feeds["x"]}

    program = Program({"x": X}, {"y": Y}, doubled, scratch_bytes=4096)
    with open_simulated(program, device) as engine:
        assert engine.scratch_bytes == 4096
        arena = Arena(device, {"scratch": ((4096,), "uint8"), "y": ((3, 8), "float32")})
        before = device.traffic.memory_bytes
        shared = [engine.execution(arena.arrays["scratch"]) for _ in range(2)]
        assert device.traffic.memory_bytes == before
        stream, given, target = (
            device.stream(),
            placed(device, np.ones((3, 8), np.float32)),
            arena.arrays["y"],
        )
        for execution in shared:
            execution.enqueue({"x": given}, {"y": target}, stream)
        stream.synchronize()
        np.testing.assert_array_equal(target.to_host(), np.full((3, 8), 2, np.float32))
        with pytest.raises(EngineError, match="16 bytes to work in; the engine needs 4096"):
            engine.execution(DeviceArray(arena.arrays["scratch"].pointer, (16,), "uint8", device))


def test_sharing_memory_at_the_same_time_is_caught(device: SimulatedDevice) -> None:
    """The simulation's purpose, again: what GPUs would compute wrongly shows."""
    both = threading.Barrier(2)

    def meet(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        both.wait(60)
        return {"y": feeds["x"]}

    with open_simulated(Program({"x": X}, {"y": Y}, meet, scratch_bytes=4096), device) as engine:
        arena = Arena(
            device, {"scratch": ((4096,), "uint8"), "a": ((3, 8), "float32"), "b": ((3, 8), "float32")}
        )
        given, streams = placed(device, np.ones((3, 8), np.float32)), [device.stream(), device.stream()]
        for name, stream in zip("ab", streams, strict=True):
            engine.execution(arena.arrays["scratch"]).enqueue({"x": given}, {"y": arena.arrays[name]}, stream)
        said = []
        for stream in streams:
            try:
                stream.synchronize()
            except EngineError as error:
                said.append(str(error))
        assert said
        assert all("worked in this one's memory" in one for one in said)


def test_runtimes_of_the_host_say_so(tmp_path: Path) -> None:
    with open_engine(small_graph(tmp_path / "g.onnx"), "openvino", "fp32") as engine:
        assert engine.on_device is None
        with pytest.raises(EngineError, match="openvino on cpu takes host arrays"):
            engine.infer_on_device({"images": images(1)})
        with pytest.raises(EngineError, match="takes host arrays"):
            engine.execution()


def test_device_arrays_speak_the_protocols(device: SimulatedDevice) -> None:
    stream, event = device.stream(), device.event()
    array = DeviceArray(4096, (2, 3), "float16", device, stream, event)
    interface = array.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["data"]) == ((2, 3), "<f2", (4096, False))
    assert interface["stream"] == stream.handle
    assert DeviceArray(4096, (2, 3), "float16", device).__cuda_array_interface__["stream"] is None
    assert array.__dlpack_device__() == (2, 0)
    assert array.rows(1, 2).pointer == 4096 + 6


@pytest.mark.parametrize(("text", "number"), [(None, 0), ("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_gpus_are_named_by_number(text: str | None, number: int) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "cuda:²", "cpu"])
def test_what_is_no_gpu_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="is no GPU: use 'cuda'"):
        number_of(text)


def test_the_second_gpu_is_probed_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [cuda.CudaDeviceInfo(0, "small", "sm_75"), cuda.CudaDeviceInfo(1, "large", "sm_90")]
    monkeypatch.setattr(cuda, "devices", lambda: gpus)
    library = SimpleNamespace(__version__="10.16", Builder=object)
    monkeypatch.setattr(importlib, "import_module", lambda _: library)
    fake = FakePyCuda()
    monkeypatch.setitem(sys.modules, "pycuda", fake.package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake.driver)
    runtime = TensorRt(TENSORRT)
    assert runtime.probe("cuda:1").device == "sm_90:large"
    assert runtime.probe().description == "small"
    with pytest.raises(EngineError, match="there is no GPU 2: this machine has 2"):
        runtime.probe("cuda:2")


def test_pycuda_is_looked_for_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is needed to run an engine, not to compile one: DeepStream's run without it."""
    monkeypatch.setattr(cuda, "devices", lambda: [cuda.CudaDeviceInfo(0, "small", "sm_75")])
    monkeypatch.setattr(
        importlib, "import_module", lambda _: SimpleNamespace(__version__="1", Builder=object)
    )
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setattr(TensorRt, "build", lambda *_: pytest.fail("it is compiled"))
    with pytest.raises(MissingExtraError, match=r"Running a tensorrt engine needs pycuda"):
        open_engine(small_graph(tmp_path / "g.onnx"), "tensorrt", cache=EngineCache(tmp_path / "cache"))
    assert TensorRt(TENSORRT).probe(to_run=False).device == "sm_75:small"


def test_a_pycuda_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("pycuda")
    package.__path__ = []

    class Broken(MetaPathFinder, Loader):
        """As PyCUDA compiled against a CUDA that is not there."""

        def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
            return ModuleSpec(name, self) if name == "pycuda.driver" else None

        def exec_module(self, module: ModuleType) -> None:
            raise ImportError("libcurand.so.10: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.delitem(sys.modules, "pycuda.driver", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(EngineError, match=r"pycuda does not load \(libcurand.so.10.*compile it against"):
        import_pycuda("Running")


def test_bindings_without_the_name_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tensorrt-cu13-bindings` holds `tensorrt_bindings` alone."""
    bindings = SimpleNamespace(Builder=object)

    def only_bindings(name: str) -> object:
        if name == "tensorrt_bindings":
            return bindings
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", only_bindings)
    assert import_library(TENSORRT) is bindings


def test_bindings_without_libraries_are_told_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> object:
        raise ModuleNotFoundError(name)

    def no_libraries(name: str) -> object:
        if name == "tensorrt":
            raise ModuleNotFoundError(name)
        raise ImportError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(MissingExtraError):
        import_library(TENSORRT)
    monkeypatch.setattr(importlib, "import_module", no_libraries)
    with pytest.raises(EngineError, match=r"libnvinfer.so.10.*of the bindings' version"):
        import_library(TENSORRT)
