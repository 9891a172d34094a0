"""TensorRT-RTX compiles without a GPU, through the code that TensorRT uses on one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from gaitstream.engines import cuda
from gaitstream.engines.base import Batch, BuildRequest
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.opening import build_engine, open_engine
from gaitstream.engines.registry import candidates, runtime_named
from gaitstream.engines.tensorrt_build import parse_layer
from gaitstream.errors import EngineError
from gaitstream.models.bundle import Bundle
from tests.engines.small_graphs import small_graph

trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")

GPUS = ("sm_86", "sm_89", "sm_120")
GRAPHS: list[tuple[str, Literal["frame", "head"], int]] = [
    ("biggait", "frame", 60),
    ("biggait", "head", 1),
    ("gaitheat", "frame", 19),
    ("gaitheat", "head", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize(("model", "role", "products"), GRAPHS)
def test_compiles_the_models_in_fp16(
    gpu: str,
    model: str,
    role: Literal["frame", "head"],
    products: int,
    request: pytest.FixtureRequest,
    cache: EngineCache,
) -> None:
    bundle: Bundle = request.getfixturevalue(f"{model}_bundle")
    phases: list[float] = []

    def report(phase: str, done: float) -> bool:
        phases.append(done)
        return True

    wanted = BuildRequest(bundle.graph(role, "fp16"), "fp16", gpu, Batch(1, 16, 64))
    found = build_engine(wanted, "tensorrt-rtx", cache=cache, progress=report)
    proof = found.built.proof
    assert found.built.blob is not None
    # Half-precision weights fill the plan: an fp32 one would be about twice the size of the fp16 file.
    assert len(found.built.blob) < 1.5 * wanted.graph.stat().st_size + 2**20
    assert sum(proof.matrix_layers.values()) >= products
    assert proof.matrix_half_share >= 0.9
    assert proof.half_share >= 0.5
    assert phases == sorted(phases)
    assert phases[-1] > 0.5
    assert build_engine(wanted, "tensorrt-rtx", cache=cache).reason == ""


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_fp32_graph_is_not_passed_off_as_half(precision: str, graph: Path, cache: EngineCache) -> None:
    with pytest.raises(
        EngineError, match=rf"was to be built in {precision} and came out otherwise \(1 in fp32"
    ):
        build_engine(BuildRequest(graph, precision, "sm_89"), "tensorrt-rtx", cache=cache)
    assert not list(cache.root.glob("*.engine"))


def test_proof_tells_fp32_from_fp16(graph: Path, half_graph: Path, cache: EngineCache) -> None:
    full = build_engine(BuildRequest(graph, "fp32", "sm_89"), "tensorrt-rtx", cache=cache).built.proof
    half = build_engine(BuildRequest(half_graph, "fp16", "sm_89"), "tensorrt-rtx", cache=cache).built.proof
    assert (full.half_share, full.matrix_layers) == (0, {"fp32": 1})
    assert half.matrix_layers == {"fp16": 1}
    assert "half precision" in half.summary()
    assert half.to_dict()["matrix_half_share"] == 1


def test_engine_of_another_gpu_is_not_taken(half_graph: Path, cache: EngineCache) -> None:
    build_engine(BuildRequest(half_graph, "fp16", "sm_86"), "tensorrt-rtx", cache=cache)
    found = build_engine(BuildRequest(half_graph, "fp16", "sm_89"), "tensorrt-rtx", cache=cache)
    assert "device is 'sm_86', needed is 'sm_89'" in found.reason


def test_threads_of_the_cpu_are_no_reason_to_compile_again(half_graph: Path, cache: EngineCache) -> None:
    """`gaitstream build` knows nothing of `runtime.threads` in `cams.yaml`."""
    reasons = [
        build_engine(
            BuildRequest(half_graph, "fp16", "sm_89", threads=threads), "tensorrt-rtx", cache=cache
        ).reason
        for threads in (None, 4)
    ]
    assert reasons == ["there is none yet", ""]


@pytest.mark.parametrize(
    ("capability", "runs"),
    [("sm_75", True), ("sm_89", True), ("sm_90", False), ("sm_100", False), ("sm_130", True)],
)
def test_a_gpu_that_it_does_not_take_is_told_before_compiling(
    capability: str, runs: bool, half_graph: Path, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its builder compiles for a Hopper that is at hand, and its runtime refuses to load what it made."""
    monkeypatch.setattr(cuda, "devices", lambda: [cuda.CudaDeviceInfo(0, "the GPU", capability)])
    runtime = runtime_named("tensorrt-rtx")
    if runs:
        assert runtime.probe(to_run=False).device == f"{capability}:the GPU"
        return
    for device in (None, "cuda"):
        with pytest.raises(
            EngineError, match=rf"does not run on the GPU \({capability}\): it takes sm_75, .* use"
        ):
            runtime.probe(device, to_run=False)
    assert "tensorrt-rtx" not in set(candidates())
    with pytest.raises(EngineError, match=f"cannot compile for '{capability}' here"):
        build_engine(BuildRequest(half_graph, "fp16", capability), "tensorrt-rtx", cache=cache)


def test_unknown_target_and_no_gpu_are_said(half_graph: Path, cache: EngineCache) -> None:
    with pytest.raises(EngineError, match="cannot compile for 'sm_90' here: it compiles for sm_75"):
        build_engine(BuildRequest(half_graph, "fp16", "sm_90"), "tensorrt-rtx", cache=cache)
    if not cuda.devices():
        with pytest.raises(EngineError, match="there is no CUDA device; it can compile for sm_75"):
            open_engine(half_graph, "tensorrt-rtx", cache=cache)


@pytest.mark.parametrize("device", ["sm_75", "sm_80", "sm_86"])
def test_fp8_is_for_gpus_that_have_it(device: str, graph: Path, cache: EngineCache) -> None:
    with pytest.raises(EngineError, match=f"in fp8 for target {device}: .* from sm_89 on; use int8 or fp16"):
        build_engine(BuildRequest(graph, "fp8", device), "tensorrt-rtx", cache=cache)


def test_graph_it_cannot_read(tmp_path: Path, cache: EngineCache) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nonsense")
    with pytest.raises(EngineError, match=r"cannot read .*broken\.onnx"):
        build_engine(BuildRequest(broken, "fp16", "sm_89"), "tensorrt-rtx", cache=cache)


def test_open_dimension_other_than_the_batch(tmp_path: Path, cache: EngineCache) -> None:
    import onnx

    model = onnx.load(small_graph(tmp_path / "small.onnx"))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"size{axis}"
    onnx.save(model, tmp_path / "open.onnx")
    with pytest.raises(EngineError, match="only the first dimension may be open"):
        build_engine(BuildRequest(tmp_path / "open.onnx", "fp32", "sm_89"), "tensorrt-rtx", cache=cache)


def test_layer_lines() -> None:
    tensor = "{{ Name: t, Dimensions: [1], Datatype: {}, Format: x }}"
    line = (
        f"Name: conv, LayerType: correlation, Inputs: [ {tensor.format('Half')}], "
        f"Constants: [ {tensor.format('Float')}], Outputs: [ {tensor.format('Float')}], "
        "TacticName: , StreamId: 0"
    )
    layer = parse_layer(line)
    assert layer is not None
    assert (layer.name, layer.precision, layer.matrix) == ("conv", "fp16", True)
    shape = "Name: s, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: "
    assert parse_layer(shape) is None
    assert parse_layer("Engine generation completed in 1 s") is None


NOT_SAID = "N/A due to dynamic shapes"
"""What TensorRT, unlike TensorRT-RTX, says of the tensors of an engine for any batch."""


@pytest.mark.parametrize(
    ("kind", "tensor", "more", "precision", "matrix"),
    [
        ("CaskConvolution", NOT_SAID, 'Weights: {"Type": "Half", "Count": 864}', "fp16", True),
        ("CaskConvolution", NOT_SAID, 'Weights: {"Type": "Int8", "Count": 864}', "int8", True),
        ("CaskGemmMatrixMultiply", NOT_SAID, "TacticName: sm80_xmma_gemm_f16f16_f16f32_nn_n", "fp16", True),
        ("MatrixMultiply", "Float", "", "fp32", True),
        ("CaskConvolution", "Row major linear FP32", "", "fp32", True),
        ("CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format", "", "int8", True),
        ("CaskPooling", "Channel major FP16 format where channel % 8 == 0", "", "fp16", False),
        ("CaskPooling", "Half(64,1:8,4096,64)", "", "fp16", False),
        ("kgen", "Half", "", "fp16", False),
    ],
)  # fmt: skip
def test_layers_as_tensorrt_reports_them(
    kind: str, tensor: str, more: str, precision: str, matrix: bool
) -> None:
    io = f"[ {{ Name: t, Location: Device, Dimensions: [-1,3,64,48], Format/Datatype: {tensor} }}]"
    layer = parse_layer(f"Name: a, LayerType: {kind}, Inputs: {io}, Outputs: {io}, {more}, StreamId: 0")
    assert layer is not None
    assert (layer.precision, layer.matrix) == (precision, matrix)


def test_a_layer_that_does_not_say_its_type_is_not_counted() -> None:
    io = f"[ {{ Name: t, Dimensions: [-1], Format/Datatype: {NOT_SAID} }}]"
    assert parse_layer(f"Name: a, LayerType: CaskPooling, Inputs: {io}, Outputs: {io}, StreamId: 0") is None
