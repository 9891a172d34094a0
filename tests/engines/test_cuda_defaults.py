"""What the GPU runtimes do by default and must not: TF32 in references, a CPU session under a GPU's name."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream import zoo
from gaitstream.engines import onnxruntime as ours
from gaitstream.engines import opening, tensorrt_build, timing
from gaitstream.engines.base import Batch, BuildRequest, Built, Pixels, Progress, no_progress
from gaitstream.engines.bytes_in import graph_on_bytes
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.openvino import OpenVino
from gaitstream.engines.timing import Timings
from gaitstream.errors import EngineError
from tests.engines.small_graphs import onnx, small_graph

trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")


def float_graph(path: Path, kind: int, batch: int | str = 1) -> Path:
    """`y = conv(x)` of `[batch, 3, 16, 16]` in floating point."""
    dtype = np.float32 if kind == onnx.TensorProto.FLOAT else np.float16
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(dtype)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "conv",
        [value("x", kind, [batch, 3, 16, 16])],
        [value("y", kind, [batch, 8, 16, 16])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), path
    )
    return path


def request_for(path: Path, precision: str = "fp32", **options: Any) -> BuildRequest:
    return BuildRequest(path, precision, "sm_89", Batch(1, 4, 8), **options)


def parsed(request: BuildRequest) -> tuple[Any, Any]:
    """Network and configuration, as a build makes them."""
    logger = tensorrt_build.make_logger(trt)
    builder = trt.Builder(logger)
    network, parser = tensorrt_build.parse(trt, builder, logger, request)
    config = tensorrt_build.configure(trt, builder, network, request, None)
    return (network, builder, parser), config


@pytest.mark.parametrize("device", [None, "cuda:0"])
def test_an_engine_for_the_gpu_at_hand_is_compiled_for_that_one(device: str | None, tmp_path: Path) -> None:
    """Told nothing, TensorRT-RTX leaves out capabilities that it runs on, such as 7.5 and 8.0."""
    graph = float_graph(tmp_path / "g.onnx", onnx.TensorProto.FLOAT)
    _, here = parsed(dataclasses.replace(request_for(graph), device=device))
    assert here.num_compute_capabilities == 1
    assert here.get_compute_capability(0) == trt.ComputeCapability.CURRENT
    _, named = parsed(request_for(graph))
    assert named.get_compute_capability(0) == trt.ComputeCapability.SM89


def test_fp32_is_not_tf32(tmp_path: Path) -> None:
    full = float_graph(tmp_path / "full.onnx", onnx.TensorProto.FLOAT)
    half = float_graph(tmp_path / "half.onnx", onnx.TensorProto.FLOAT16)
    assert not parsed(request_for(full))[1].get_flag(trt.BuilderFlag.TF32)
    assert parsed(request_for(half, "fp16"))[1].get_flag(trt.BuilderFlag.TF32)


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("kind", "precision"), [("FLOAT", "fp32"), ("FLOAT16", "fp16")])
def test_pictures_come_as_bytes(
    kind: str, precision: str, interleaved: bool, batch: int | str, tmp_path: Path
) -> None:
    graph = float_graph(tmp_path / "g.onnx", getattr(onnx.TensorProto, kind), batch)
    pixels = Pixels(255.0, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), interleaved, swap=True)
    request = request_for(graph, precision, pixels=pixels, free_batch=True)
    (network, _, _), _ = parsed(request)
    assert network.num_inputs == 1
    source = network.get_input(0)
    assert (source.name, source.dtype) == ("x", trt.uint8)
    assert tuple(source.shape) == ((-1, 16, 16, 3) if interleaved else (-1, 3, 16, 16))
    assert tuple(network.get_output(0).shape) == (-1, 8, 16, 16)
    assert tensorrt_build.build(trt, request, no_progress).blob


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16"])
def test_bytes_are_made_the_floats_that_the_graph_takes(
    kind: str, swap: bool, interleaved: bool, tmp_path: Path
) -> None:
    """Weights that lie in a file of their own stay there."""
    graph = float_graph(tmp_path / "g.onnx", getattr(onnx.TensorProto, kind), "n")
    onnx.save(
        onnx.load(graph), tmp_path / "far.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    pixels = Pixels(255.0, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), interleaved, swap)
    (tmp_path / "bytes.onnx").write_bytes(graph_on_bytes(tmp_path / "far.onnx", pixels))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    mean, std = (np.reshape(one, (3, 1, 1)) for one in (pixels.mean, pixels.std))
    floats = ((pictures / 255 - mean) / std).astype(np.float32 if kind == "FLOAT" else np.float16)
    given = pictures[:, ::-1] if swap else pictures
    given = np.ascontiguousarray(given.transpose(0, 2, 3, 1) if interleaved else given)
    session = ours._module().InferenceSession
    (expected,) = session(graph, providers=[ours.CPU]).run(None, {"x": floats})
    (found,) = session(tmp_path / "bytes.onnx", providers=[ours.CPU]).run(None, {"x": given})
    np.testing.assert_allclose(found, expected, atol=1e-4 if kind == "FLOAT" else 0.1)
    assert tensorrt_build.build(
        trt, request_for(tmp_path / "far.onnx", "fp32", pixels=pixels, free_batch=True), no_progress
    ).blob


def test_values_seen_inside_a_branch_are_renamed_there(tmp_path: Path) -> None:
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    picture = ["n", 3, 4, 4]
    branches = [
        onnx.helper.make_graph([node(kind, ["x"], [kind])], kind, [], [value(kind, 1, picture)])
        for kind in ("Relu", "Neg")
    ]
    choice = node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    inputs = [value("x", 1, picture), value("c", onnx.TensorProto.BOOL, [])]
    graph = onnx.helper.make_graph([choice], "g", inputs, [value("y", 1, picture)])
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "g.onnx")
    model = onnx.load_from_string(graph_on_bytes(tmp_path / "g.onnx", Pixels(2.0)))
    session = ours._module().InferenceSession(model.SerializeToString(), providers=[ours.CPU])
    picture_bytes = np.full((1, 3, 4, 4), 10, np.uint8)
    for chosen, expected in ((True, 5.0), (False, -5.0)):
        (found,) = session.run(None, {"x": picture_bytes, "c": np.array(chosen)})
        assert (found == expected).all()


@pytest.mark.parametrize("name", ["detector.onnx", "detector.int8.onnx", "segmenter.onnx"])
def test_the_demos_models_are_built_as_they_are_opened(name: str) -> None:
    """With an input for any batch, which takes bytes."""
    request = request_for(
        Path(zoo.__file__).parent / "demo" / name,
        "int8" if "int8" in name else "fp32",
        pixels=Pixels(255.0, interleaved=True, swap=True),
        free_batch=True,
    )
    assert tensorrt_build.build(trt, request, no_progress).blob


def test_a_picture_that_is_bytes_already_stays(tmp_path: Path) -> None:
    graph = small_graph(tmp_path / "g.onnx")
    (network, _, _), _ = parsed(request_for(graph, pixels=Pixels(interleaved=True)))
    assert tuple(network.get_input(0).shape) == (-1, 3, 16, 16)


INTERRUPTED = """
import signal, sys
from pathlib import Path
import tensorrt_rtx as trt
from gaitstream.engines import tensorrt_build
from gaitstream.engines.base import BuildRequest

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this may ignore it
where, graph = sys.argv[1], Path(sys.argv[2])
make_logger, came = tensorrt_build.make_logger, []

def interrupt(asked):
    if asked and not came:
        came.append(True)
        signal.raise_signal(signal.SIGINT)

def make(library):
    class Interrupted(type(make_logger(library))):
        def log(self, severity, message):
            interrupt(where == "logger")
            super().log(severity, message)
    return Interrupted()

def progress(phase, done):
    interrupt(where == "monitor")
    return True

tensorrt_build.make_logger = make
try:
    tensorrt_build.build(trt, BuildRequest(graph, "fp32", "sm_89"), progress)
except KeyboardInterrupt:
    print("interrupted")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
came.clear()
signal.signal(signal.SIGINT, lambda number, _: print("noted"))
print(bool(tensorrt_build.build(trt, BuildRequest(graph, "fp32", "sm_89"), progress).blob))
"""
"""In a process of its own: what is to be seen is what a signal does to it."""


@pytest.mark.parametrize("where", ["monitor", "logger"])
def test_an_interrupt_ends_a_build(where: str, tmp_path: Path) -> None:
    """TensorRT prints what is raised in a call to Python, and goes on compiling, for minutes.

    A handler that only takes note, as that of a run, ends no build.
    """
    command = [sys.executable, "-c", INTERRUPTED, where, str(small_graph(tmp_path / "g.onnx"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["interrupted", "True", "noted", "True"], done.stdout + done.stderr


def test_timings_grow_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path))
    request = request_for(small_graph(tmp_path / "g.onnx"))
    with timing.kept("library 1.2:GPU name") as timings:
        assert timings.content == b""
        with warnings.catch_warnings():  # TensorRT-RTX measures nothing any more, and says so
            warnings.simplefilter("ignore", DeprecationWarning)
            tensorrt_build.build(trt, request, no_progress, timings=timings)
        assert timings.content
        measured = timings.content
    with timing.kept("library 1.2:GPU name") as timings:
        assert timings.content == measured
    with timing.kept("library 1.3:GPU name") as timings:
        assert timings.content == b""


def test_timings_that_cannot_be_kept_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "file"))
    with timing.kept("k") as timings:
        timings.content = b"measured"
    assert "cannot be kept" in caplog.text
    assert Timings().content == b""


class Inspected:
    """An engine for any batch, whose inspector tells a layer's types once it knows the shapes."""

    num_layers = 1
    num_io_tensors = 2

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.execution_context: Inspected | None = None

    def create_engine_inspector(self) -> Inspected:
        return self

    def create_execution_context(self) -> Inspected:
        return Inspected()

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> object:
        return trt.TensorIOMode.INPUT if name == "x" else trt.TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3)

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(1, 3), (4, 3), (8, 3)]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def get_layer_information(self, index: int, kind: object) -> str:
        known = self.execution_context is not None and self.execution_context.shapes == {"x": (4, 3)}
        return layer_line("Half" if known else tensorrt_build.NOT_SAID)

    def deserialize_cuda_engine(self, plan: bytes) -> Inspected:
        return self


def layer_line(datatype: str) -> str:
    """A layer's line with that said of its tensors."""
    tensor = f"[ {{ Name: t, Dimensions: [-1,3], Format/Datatype: {datatype} }}]"
    return f"Name: conv, LayerType: CaskConvolution, Inputs: {tensor}, Outputs: {tensor}, StreamId: 0"


@pytest.mark.parametrize(("device", "layers"), [(None, 1), ("cuda", 1), ("cuda:1", 1), ("sm_89", 0)])
@pytest.mark.parametrize("logged", [[], [layer_line(tensorrt_build.NOT_SAID)]])
def test_the_inspector_is_asked_wherever_the_engine_can_run(
    device: str | None, layers: int, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is logged of the types; only an engine for a GPU that is not here cannot be opened."""
    monkeypatch.setattr(trt, "Runtime", lambda _: Inspected())
    logger = tensorrt_build.make_logger(trt)
    logger.layers += logged
    proof = tensorrt_build.read_proof(trt, logger, b"plan", device)
    assert sum(proof.layers.values()) == layers
    assert not layers or proof.half_share == 1


def test_a_cpu_session_is_not_called_cuda(tmp_path: Path) -> None:
    """ONNX Runtime leaves out a provider that does not start, and runs on the CPU."""
    graph = small_graph(tmp_path / "g.onnx")
    if ours.CUDA in ours._module().get_available_providers():
        pytest.skip("this ONNX Runtime has the CUDA provider")
    with pytest.raises(EngineError, match=r"could not start CUDAExecutionProvider .* fell back to CPU"):
        ours.OnnxRuntimeEngine(BuildRequest(graph, "fp32", "cuda"), ours.CUDA)


class Session:
    """Takes what `InferenceSession` takes, and starts every provider."""

    given: list[Any] = []  # noqa: RUF012 - of the one test below

    def __init__(self, graph: Path, options: object, providers: list[Any]) -> None:
        Session.given = providers

    def get_providers(self) -> list[str]:
        return [one if isinstance(one, str) else one[0] for one in Session.given]


@pytest.mark.parametrize(("device", "precision"), [("cuda", "fp32"), ("cuda:1", "fp16")])
def test_cuda_sessions_name_their_gpu_and_compute_in_fp32(
    device: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Mapping[str, object]] = []
    module = ours._module()
    monkeypatch.setattr(module, "InferenceSession", Session)
    monkeypatch.setattr(module, "preload_dlls", lambda **words: loaded.append(words))
    ours._load_cuda_libraries.cache_clear()
    ours._session(BuildRequest(small_graph(tmp_path / "g.onnx"), precision, device), ours.CUDA)
    (name, options), _ = Session.given
    assert name == ours.CUDA
    assert options["device_id"] == ("1" if device == "cuda:1" else "0")
    assert options.get("use_tf32") == ("0" if precision == "fp32" else None)
    assert len(loaded) == 1


def test_a_graph_that_cannot_be_opened_for_batches_stays_on_its_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pose model exported for one picture must not send the whole of it to the next runtime, the CPU."""
    tried: list[bool] = []

    class Stubborn(OpenVino):
        def build(self, request: BuildRequest, progress: Progress = no_progress) -> Built:
            tried.append(request.free_batch)
            if request.free_batch:
                raise EngineError("a layer has its batch written into it")
            return super().build(request, progress)

    monkeypatch.setattr(opening, "runtime_named", lambda _: Stubborn())
    graph = small_graph(tmp_path / "g.onnx", batch=1)
    with opening.open_engine(
        graph, "openvino", "fp32", free_batch=True, cache=EngineCache(tmp_path / "cache")
    ) as engine:
        assert engine.inputs["images"].shape[0] == 1
    assert tried == [True, False]
