"""What `auto` picks and why, and trying runtimes for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaitstream.engines import cuda
from gaitstream.engines.base import Probe
from gaitstream.engines.registry import RUNTIMES, RuntimeFinding, candidates, choose, ranked
from gaitstream.engines.trial import GRAPH, INPUT, OUTPUT, try_all, try_runtime
from gaitstream.errors import EngineError


def probe(accelerator: bool) -> Probe:
    return Probe("1", "d", "D", accelerator, ("fp32",))


def test_a_gpu_comes_before_any_cpu() -> None:
    findings = [
        RuntimeFinding("tensorrt", None, EngineError("no device")),
        RuntimeFinding("openvino", probe(False), None),
        RuntimeFinding("onnxruntime", probe(True), None),
    ]
    assert [name for name, _ in ranked(findings)] == ["onnxruntime", "openvino"]


def test_precision_follows_the_device_and_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        """A runtime whose probe is given."""

        name = "openvino"
        found = Probe("1", "cpu", "CPU", False, ("fp32", "bf16"))

        def probe(self, device: str | None = None) -> Probe:
            return self.found

    monkeypatch.setitem(RUNTIMES, "openvino", Fixed)
    assert choose("openvino").precision == "fp32"
    assert "does not allow bf16" in choose("openvino").reason
    assert choose("openvino", allowed=("fp32", "bf16")).precision == "bf16"
    Fixed.found = Probe("1", "cpu", "CPU", False, ("fp32",))
    assert "no native bf16" in choose("openvino", allowed=("fp32", "bf16")).reason
    Fixed.found = Probe("1", "gpu", "GPU", True, ("fp32", "fp16"))
    assert choose("openvino", allowed=("fp32", "fp16")).precision == "fp32"
    assert choose("openvino", allowed=("fp32", "fp16"), stored=("fp32", "fp16")).precision == "fp16"
    assert choose("openvino", "fp16").precision == "fp16"
    with pytest.raises(EngineError, match="no precision 'fp4'"):
        choose("openvino", "fp4")


def test_the_small_graph_is_what_it_says() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(GRAPH)
    onnx.checker.check_model(model)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_array_equal(np.maximum(INPUT @ weight, 0), OUTPUT)


def test_runtimes_are_tried() -> None:
    trials = {trial.name: trial for trial in try_all()}
    assert list(trials) == list(RUNTIMES)
    assert trials["openvino"].error is None
    assert trials["openvino"].probe is not None
    for trial in trials.values():
        assert (trial.error is None) == (trial.probe is not None and trial.installed)


def test_wrong_numbers_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitstream.engines.trial.OUTPUT", OUTPUT + 1)
    trial = try_runtime("openvino")
    assert trial.installed
    assert "computes wrong numbers" in str(trial.error)


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    trial = try_runtime("onnxruntime")
    assert not trial.installed


@pytest.mark.parametrize("runtime", list(RUNTIMES))
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("raise OSError('libx.so.1: cannot open shared object file')", "libx.so.1: cannot open"),
        ("raise ImportError('libx.so.1: cannot open shared object file')", "libx.so.1: cannot open"),
        ("import no_such_module", "no_such_module"),
        ("raise AttributeError('_ARRAY_API not found')", "_ARRAY_API not found"),
        ("", "holds no libraries"),
    ],
)
def test_a_library_that_does_not_load_says_why_and_the_others_are_tried(
    runtime: str, content: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = runtime.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(content)
    (tmp_path / "tensorrt_bindings.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in (name, "tensorrt_bindings"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    trial = try_runtime(runtime)
    assert trial.installed
    assert isinstance(trial.error, EngineError)
    assert f"{name} does not load" in str(trial.error)
    assert says in str(trial.error)
    for module in (name, "tensorrt_bindings"):
        sys.modules.pop(module, None)


@pytest.mark.skipif(bool(cuda.devices()), reason="a GPU is here, and all that can use it is tried")
def test_without_a_gpu_nothing_is_loaded_that_needs_one() -> None:
    code = (
        "import sys\n"
        "from gaitstream.engines.registry import candidates\n"
        "print(next(candidates()), *{'tensorrt', 'tensorrt_rtx', 'onnxruntime'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["openvino"]


def test_with_a_gpu_all_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fast:
        """A runtime on a GPU."""

        def probe(self, device: str | None = None) -> Probe:
            return probe(accelerator=True)

    monkeypatch.setattr(cuda, "devices", lambda: [cuda.CudaDeviceInfo(0, "G", "sm_89")])
    monkeypatch.setitem(RUNTIMES, "tensorrt", Fast)
    names = list(candidates())
    assert names[0] == "tensorrt"
    assert "openvino" in names
    assert list(candidates("onnxruntime")) == ["onnxruntime"]
